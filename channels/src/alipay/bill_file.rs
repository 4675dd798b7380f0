//! Reading the trade bill (protocol section 3.4): a GBK table in a ZIP file, comments around it.

use crate::bill::{
    BillFile, BillKind, BillLine, BillRefused, Columns, EachLine, Lines, fen, gbk, money, unzipped,
};

use super::text::moment;

const WANTED: [&str; 8] = [
    "支付宝交易号",
    "商户订单号",
    "业务类型",
    "完成时间",
    "订单金额（元）",
    "退款批次号/请求号",
    "服务费（元）",
    "创建时间",
];
const KNOWN: [&str; 17] = [
    "商品名称",
    "门店编号",
    "门店名称",
    "操作员",
    "终端号",
    "对方账户",
    "商家实收（元）",
    "支付宝红包（元）",
    "集分宝（元）",
    "支付宝优惠（元）",
    "商家优惠（元）",
    "券核销金额（元）",
    "券名称",
    "商家红包消费金额（元）",
    "卡消费金额（元）",
    "分润（元）",
    "备注",
];
const ENDS: &str = "业务明细列表结束";

/// The totals' entry has this in its name, in GBK.
const TOTALS_NAME: [u8; 4] = [0xbb, 0xe3, 0xd7, 0xdc];

/// Reads the ZIP file of a day.
pub(crate) fn read(file: BillFile<'_>, each: EachLine<'_>) -> Result<(), BillRefused> {
    let detail = |name: &[u8]| {
        name.ends_with(b".csv") && !name.windows(TOTALS_NAME.len()).any(|part| part == TOTALS_NAME)
    };
    unzipped(file, detail, |lines| table(lines, each))
}

fn table<R: std::io::Read>(mut lines: Lines<R>, each: EachLine<'_>) -> Result<(), BillRefused> {
    let mut columns: Option<Columns> = None;
    let (mut counts, mut ended, mut last) = ([0_u64; 2], false, 0);
    while let Some((line, bytes)) = lines.next()? {
        let row = gbk(line, bytes)?;
        let row = row.as_ref();
        last = line;
        if row.starts_with('#') {
            ended |= row.contains(ENDS);
            agree(line, row, counts)?;
            continue;
        }
        if row.is_empty() {
            continue;
        }
        if ended {
            return Err(BillRefused::new(line, "a row behind the end of the list"));
        }
        let cells: Vec<&str> = row.split(',').map(|cell| cell.trim_matches(['\t', ' '])).collect();
        let Some(columns) = &columns else {
            columns = Some(Columns::find(line, &cells, &WANTED, &KNOWN)?);
            continue;
        };
        let refused = |problem: String| BillRefused::new(line, problem);
        let [trade_no, number, kind, done, total, refund_no, fee, _made] = columns.pick::<8>(line, &cells)?;
        let kind = match kind {
            "交易" => BillKind::Payment,
            "退款" => BillKind::Refund,
            other => return Err(refused(format!("业务类型 {other:?} is not known"))),
        };
        let at = moment(done).ok_or_else(|| refused(format!("{done:?} is not a time")))?;
        // The sign of refunds differs between sources; the direction is the kind's.
        let amount = money(line, "订单金额（元）", fen(total).map(i64::abs))?;
        let fee = fen(fee).ok_or_else(|| refused(format!("服务费 {fee:?} is not an amount")))?;
        let refund = kind == BillKind::Refund;
        if let Some(count) = counts.get_mut(usize::from(refund)) {
            *count += 1;
        }
        each(BillLine {
            line,
            kind,
            channel_order_no: number.to_owned(),
            refund_no: refund.then(|| refund_no.to_owned()),
            trade_no: trade_no.to_owned(),
            amount,
            // Charged fees are negative in the file.
            fee_fen: -fee,
            at,
        });
    }
    match (columns, ended) {
        (None, _) => Err(BillRefused::new(last, "no header: this is not a trade bill")),
        (Some(_), false) => Err(BillRefused::new(last, "the file is cut off: the list has no end")),
        (Some(_), true) => Ok(()),
    }
}

/// `#交易合计：2笔，…` and `#退款合计：1笔，…` must agree with the rows.
fn agree(line: usize, comment: &str, counts: [u64; 2]) -> Result<(), BillRefused> {
    for (name, count) in ["#交易合计：", "#退款合计："].into_iter().zip(counts) {
        if let Some(said) = comment
            .strip_prefix(name)
            .and_then(|rest| rest.split('笔').next())
            .and_then(|n| n.parse::<u64>().ok())
            && said != count
        {
            return Err(BillRefused::new(line, format!("{name}{said}, and the list has {count}")));
        }
    }
    Ok(())
}
