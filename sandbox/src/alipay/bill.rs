//! The trade bill: a signed answer names an address that lives thirty seconds; the file is a ZIP of GBK tables (3.4).

use std::{collections::HashMap, sync::Arc};

use actix_web::{HttpResponse, web};
use domain::Timestamp;
use encoding_rs::GBK;
use serde_json::{Value, json};

use super::{Alipay, refusal::Refusal, text, trade::State, wire::Call, zip};
use crate::fee::fee;

const LIVES_S: i64 = 30;
const COLUMNS: &str = "支付宝交易号,商户订单号,业务类型,商品名称,创建时间,完成时间,门店编号,门店名称,操作员,终端号,对方账户,订单金额（元）,商家实收（元）,支付宝红包（元）,集分宝（元）,支付宝优惠（元）,商家优惠（元）,券核销金额（元）,券名称,商家红包消费金额（元）,卡消费金额（元）,退款批次号/请求号,服务费（元）,分润（元）,备注";

/// Files under their tokens.
#[derive(Default)]
pub(crate) struct Files(HashMap<String, (Timestamp, Vec<u8>)>);

fn signed(fen: i64) -> String {
    if fen < 0 { format!("-{}", text::yuan(-fen)) } else { text::yuan(fen) }
}

struct Row {
    at: Timestamp,
    line: String,
    total: i64,
    fee: i64,
}

/// The rows of a span of time, named by how its days begin: `2026-01-01` or `2026-01`.
fn rows(me: &Alipay, wanted: &str) -> Vec<Row> {
    let faults = me.world.bill_faults(super::NAME);
    let in_span = |at: Timestamp| text::time(at).starts_with(wanted);
    let mut rows = Vec::new();
    for trade in me.ledger.lock().all() {
        let State::Paid(paid) = &trade.state else { continue };
        let mut add = |at: Timestamp, kind: &str, total: i64, (no, refund_no): (&str, &str), fee: i64| {
            let at = me.world.bill_time(at);
            if !in_span(at) {
                return;
            }
            let (amount, service) = (signed(total), signed(fee));
            let (made, done) = (text::time(me.world.bill_time(trade.created_at)), text::time(at));
            let values = [
                &trade.trade_no,
                no,
                kind,
                &trade.subject,
                &made,
                &done,
                "",
                "",
                "",
                "",
                &paid.buyer,
                &amount,
                &amount,
                "0.00",
                "0.00",
                "0.00",
                "0.00",
                "0.00",
                "",
                "0.00",
                "0.00",
                refund_no,
                &service,
                "0.00",
                "",
            ];
            // Every value has a tab behind it, so that spreadsheets leave long numbers alone.
            let line = values.map(|value| format!("{}\t", value.replace(',', "，"))).join(",");
            rows.push(Row { at, line, total, fee });
        };
        for shown in faults.shown(&trade.no, trade.total, fee(trade.total)) {
            add(paid.at, "交易", shown.amount, (&shown.number, ""), -shown.fee);
        }
        for refund in &trade.refunds {
            for shown in faults.shown(&refund.no, refund.amount, -fee(refund.amount)) {
                add(refund.at, "退款", -shown.amount, (&trade.no, &shown.number), -shown.fee);
            }
        }
    }
    rows.sort_by(|a, b| (a.at, &a.line).cmp(&(b.at, &b.line)));
    rows
}

fn file(me: &Alipay, wanted: &str, rows: &[Row]) -> Vec<u8> {
    let account = format!("{}0156", me.keys.seller_id);
    let head = |title: &str| {
        format!("#支付宝{title}\r\n#账号：[{account}]\r\n#起始日期：[{wanted}]   终止日期：[{wanted}]\r\n")
    };
    let bar = "-".repeat(41);
    let count = |kind: i64| rows.iter().filter(|row| row.total.signum() == kind).count();
    let sum =
        |kind: i64| rows.iter().filter(|row| row.total.signum() == kind).map(|row| row.total).sum::<i64>();
    let ends = format!(
        "#交易合计：{}笔，商家实收共{}元，商家优惠共0.00元\r\n#退款合计：{}笔，商家实收退款共{}元，商家优惠退款共0.00元\r\n",
        count(1),
        signed(sum(1)),
        count(-1),
        signed(sum(-1)),
    );
    let lines: String = rows.iter().map(|row| format!("{}\r\n", row.line)).collect();
    let detail = format!(
        "{}#{bar}业务明细列表{bar}\r\n{COLUMNS}\r\n{lines}#{bar}业务明细列表结束{bar}\r\n{ends}",
        head("业务明细查询")
    );
    let fees: i64 = rows.iter().map(|row| row.fee).sum();
    let totals = format!(
        "{}#{bar}业务汇总列表{bar}\r\n门店编号,门店名称,交易订单总笔数,退款订单总笔数,订单金额（元）,商家实收（元）,服务费（元）,实收净额（元）\r\n\
         合计\t,\t,{}\t,{}\t,{}\t,{}\t,{}\t,{}\t\r\n#{bar}业务汇总列表结束{bar}\r\n",
        head("业务汇总查询"),
        count(1),
        count(-1),
        signed(sum(1)),
        signed(sum(1) + sum(-1)),
        signed(fees),
        signed(sum(1) + sum(-1) + fees),
    );
    let day: String = wanted.chars().filter(char::is_ascii_digit).collect();
    let gbk = |text: &str| GBK.encode(text).0.into_owned();
    let name = |what: &str| gbk(&format!("{account}_{day}_{what}.csv"));
    zip::stored(&[(&name("业务明细"), &gbk(&detail)), (&name("业务明细(汇总)"), &gbk(&totals))])
}

/// `alipay.data.dataservice.bill.downloadurl.query`.
pub(crate) fn address(me: &Arc<Alipay>, call: &Call) -> Result<Value, Refusal> {
    let member = |name: &str| call.biz.get(name).and_then(Value::as_str).unwrap_or_default();
    let (kind, wanted) = (member("bill_type"), member("bill_date"));
    match kind {
        "trade" => {}
        "signcustomer" | "merchant_act" => {
            return Err(Refusal::business("TYPE_NOT_SUPPORTED", "沙箱只提供trade账单"));
        }
        _ => return Err(Refusal::business("INVAILID_ARGUMENTS", "bill_type不正确")),
    }
    let format = if wanted.len() == 7 { "%Y-%m-%d" } else { "%Y-%m-%d " };
    let whole = if wanted.len() == 7 { format!("{wanted}-01") } else { format!("{wanted} ") };
    if jiff::civil::Date::strptime(format, &whole).is_err() || !matches!(wanted.len(), 7 | 10) {
        return Err(Refusal::business("INVAILID_ARGUMENTS", "bill_date格式应为yyyy-MM-dd或yyyy-MM"));
    }
    let now = me.world.clock.now();
    let today: String = text::time(now).chars().take(wanted.len()).collect();
    let faults = me.world.bill_faults(super::NAME);
    let not_yet = wanted > today.as_str() || (wanted == today && !me.world.today_is_billed());
    if not_yet || faults.not_ready {
        return Err(Refusal::business("BILL_NOT_EXIST", "账单不存在或尚未生成"));
    }
    let rows = rows(me, wanted);
    let token = crate::world::nonce();
    let mut files = me.files.lock();
    files.0.retain(|_, (at, _)| now.secs() - at.secs() <= LIVES_S);
    files.0.insert(token.clone(), (now, faults.cut(file(me, wanted, &rows))));
    let url = format!("{}/bill/{token}.zip?downloadFileName={wanted}.csv.zip", me.origin);
    let mut answer = json!({ "bill_download_url": url });
    if let (true, Some(members)) = (rows.is_empty(), answer.as_object_mut()) {
        members.insert("bill_file_code".to_owned(), "EMPTY_DATA_WITH_BILL_FILE".into());
    }
    Ok(answer)
}

/// The file of an address that still lives.
pub(crate) async fn download(me: web::Data<Alipay>, token: web::Path<String>) -> HttpResponse {
    let now = me.world.clock.now();
    let token = token.strip_suffix(".zip").unwrap_or(&token);
    let files = me.files.lock();
    match files.0.get(token).filter(|(at, _)| now.secs() - at.secs() <= LIVES_S) {
        Some((_, bytes)) => HttpResponse::Ok().content_type("application/zip").body(bytes.clone()),
        None => HttpResponse::Forbidden().body("the address lives thirty seconds; ask for another"),
    }
}
