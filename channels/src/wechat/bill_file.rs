//! Reading the trade bill (protocol section 4.5): backticked values, a summary that must agree.

use crate::{
    bill::{
        BillFile, BillKind, BillLine, BillRefused, Columns, EachLine, Lines, fen, money, ungzipped, utf8,
    },
    clock,
};

const WANTED: [&str; 9] = [
    "交易时间",
    "商户号",
    "微信订单号",
    "商户订单号",
    "交易状态",
    "微信退款单号",
    "商户退款单号",
    "订单金额",
    "手续费",
];
const GIVEN_BACK: &str = "申请退款金额";
const KNOWN: [&str; 20] = [
    "公众账号ID",
    "特约商户号",
    "设备号",
    "用户标识",
    "交易类型",
    "付款银行",
    "货币种类",
    "应结订单金额",
    "代金券金额",
    "退款金额",
    "充值券退款金额",
    "退款类型",
    "退款状态",
    "商品名称",
    "商户数据包",
    "费率",
    "申请退款金额",
    "费率备注",
    "退款申请时间",
    "退款成功时间",
];
const TOTALS: &str = "总交易单数";

/// The values of a row: backticks stand for the beginning of each, commas inside are ordinary.
fn values(line: usize, row: &str) -> Result<Vec<&str>, BillRefused> {
    let row = row
        .strip_prefix('`')
        .ok_or_else(|| BillRefused::new(line, "a row that does not begin with a backtick"))?;
    Ok(row.split(",`").map(str::trim_end).collect())
}

/// Reads the file of kind `ALL`, plain or packed. `mchid` is whose it must be.
pub(crate) fn read(file: BillFile<'_>, mchid: &str, each: EachLine<'_>) -> Result<(), BillRefused> {
    ungzipped(file, |lines| table(lines, mchid, each))
}

/// The next line that is not empty.
fn next<R: std::io::Read>(lines: &mut Lines<R>) -> Result<Option<(usize, String)>, BillRefused> {
    while let Some((line, bytes)) = lines.next()? {
        let text = utf8(line, bytes)?;
        if !text.is_empty() {
            return Ok(Some((line, text.to_owned())));
        }
    }
    Ok(None)
}

fn table<R: std::io::Read>(mut lines: Lines<R>, mchid: &str, each: EachLine<'_>) -> Result<(), BillRefused> {
    let (first, header) = next(&mut lines)?.ok_or_else(|| BillRefused::new(1, "the file is empty"))?;
    let header: Vec<&str> = header.split(',').collect();
    let wanted: Vec<&str> = WANTED.iter().copied().chain([GIVEN_BACK]).collect();
    let columns = Columns::find(first, &header, &wanted, &KNOWN)?;
    let (mut count, mut paid, mut given_back) = (0_u64, 0_i64, 0_i64);
    while let Some((line, row)) = next(&mut lines)? {
        let row = row.as_str();
        if row.starts_with(TOTALS) {
            summary(next(&mut lines)?, row, line, (count, paid, given_back))?;
            // To the very end: a packed file vouches for itself there.
            return match next(&mut lines)? {
                Some((line, _)) => Err(BillRefused::new(line, "a row behind the summary")),
                None => Ok(()),
            };
        }
        let refused = |problem: String| BillRefused::new(line, problem);
        let [at, merchant, trade_no, number, state, refund_id, refund_no, total, fee, refunded] =
            columns.pick::<10>(line, &values(line, row)?)?;
        if merchant != mchid {
            return Err(refused(format!("it is merchant {merchant:?}'s")));
        }
        let at = clock::moment(at, clock::PLAIN).ok_or_else(|| refused(format!("{at:?} is not a time")))?;
        let fee_fen = fen(fee).ok_or_else(|| refused(format!("手续费 {fee:?} is not an amount")))?;
        let kind = match state {
            "SUCCESS" => BillKind::Payment,
            "REFUND" => BillKind::Refund,
            "REVOKED" => BillKind::Reversal,
            other => return Err(refused(format!("交易状态 {other:?} is not known"))),
        };
        let amount = match kind {
            BillKind::Refund => money(line, GIVEN_BACK, fen(refunded))?,
            BillKind::Payment | BillKind::Reversal => money(line, "订单金额", fen(total))?,
        };
        count += 1;
        match kind {
            BillKind::Payment => paid += amount.fen(),
            BillKind::Refund | BillKind::Reversal => given_back += amount.fen(),
        }
        let refund = kind == BillKind::Refund;
        each(BillLine {
            line,
            kind,
            channel_order_no: number.to_owned(),
            refund_no: refund.then(|| refund_no.to_owned()),
            trade_no: if refund { refund_id } else { trade_no }.to_owned(),
            amount,
            fee_fen,
            at,
        });
    }
    Err(BillRefused::new(lines.read, "the file is cut off: no summary at its end"))
}

fn summary(
    values_line: Option<(usize, String)>,
    header: &str,
    header_line: usize,
    (count, paid, given_back): (u64, i64, i64),
) -> Result<(), BillRefused> {
    let (line, row) = values_line
        .ok_or_else(|| BillRefused::new(header_line, "the file is cut off: the summary has no values"))?;
    let values = values(line, &row)?;
    let names: Vec<&str> = header.split(',').collect();
    let columns = Columns::find(
        header_line,
        &names,
        &["总交易单数", "订单总金额", "申请退款总金额"],
        &["应结订单总金额", "退款总金额", "充值券退款总金额", "手续费总金额"],
    )?;
    let [n, total, back] = columns.pick::<3>(line, &values)?;
    // The last value of the file: without its decimals it may have been cut off.
    if [total, back].iter().any(|sum| sum.split_once('.').is_none_or(|(_, decimals)| decimals.len() != 2)) {
        return Err(BillRefused::new(line, "the file is cut off in its summary"));
    }
    let n: Option<u64> = n.split('.').next().and_then(|n| n.parse().ok());
    if (n, fen(total), fen(back)) != (Some(count), Some(paid), Some(given_back)) {
        let problem = format!(
            "the summary says {} lines, {total} paid, {back} given back; the lines are {count}, {paid} fen, {given_back} fen",
            n.unwrap_or_default()
        );
        return Err(BillRefused::new(line, problem));
    }
    Ok(())
}
