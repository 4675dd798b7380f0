//! Bills: trades and fund flow of a day, and where they are fetched (protocol sections 4.4 and 4.5).
//!
//! A bill is made when it is asked for and kept under a token for five minutes; the fetch is signed by the caller and
//! answered without a signature, so the hash in the first answer is all that vouches for the file.

use std::{collections::HashMap, io::Write as _};

use ::keys::sha1_hex;
use domain::Timestamp;
use flate2::{Compression, write::GzEncoder};
use serde_json::json;

use super::{Wechat, refusal::Refusal, respond::Done, trade::Trades};
use crate::{clock::written, fee::fee};

/// How long an address works.
const LIVES_S: i64 = 300;
/// Bills of a day exist from ten o'clock of the next; here from its start, for who works at night.
const PATH: &str = "/v3/billdownload/file";

const ALL: &str = "交易时间,公众账号ID,商户号,特约商户号,设备号,微信订单号,商户订单号,用户标识,交易类型,交易状态,付款银行,货币种类,应结订单金额,代金券金额,微信退款单号,商户退款单号,退款金额,充值券退款金额,退款类型,退款状态,商品名称,商户数据包,手续费,费率,订单金额,申请退款金额,费率备注";
const SUCCESS: &str = "交易时间,公众账号ID,商户号,特约商户号,设备号,微信订单号,商户订单号,用户标识,交易类型,交易状态,付款银行,货币种类,应结订单金额,代金券金额,商品名称,商户数据包,手续费,费率,订单金额,费率备注";
const REFUND: &str = "交易时间,公众账号ID,商户号,特约商户号,设备号,微信订单号,商户订单号,用户标识,交易类型,交易状态,付款银行,货币种类,应结订单金额,代金券金额,退款申请时间,退款成功时间,微信退款单号,商户退款单号,退款金额,充值券退款金额,退款类型,退款状态,商品名称,商户数据包,手续费,费率,订单金额,申请退款金额,费率备注";
const TOTALS: &str =
    "总交易单数,应结订单总金额,退款总金额,充值券退款总金额,手续费总金额,订单总金额,申请退款总金额";
const FLOW: &str = "记账时间,微信支付业务单号,资金流水单号,业务名称,业务类型,收支类型,收支金额(元),账户结余(元),资金变更提交申请人,备注,业务凭证号";
const FLOW_TOTALS: &str = "资金流水总笔数,收入笔数,收入金额,支出笔数,支出金额";
const SHARED: &str = "分账时间,分账发起方,分账方,微信订单号,微信分账/回退单号,分账明细单号,商户分账/回退单号,订单金额,分账接收方,分账金额,业务类型,处理状态,分账描述,备注";

/// Files under their tokens.
#[derive(Default)]
pub(crate) struct Files(HashMap<String, (Timestamp, Vec<u8>)>);

fn yuan(fen: i64) -> String {
    let sign = if fen < 0 { "-" } else { "" };
    format!("{sign}{}.{:02}", fen.abs() / 100, fen.abs() % 100)
}

fn time(at: Timestamp) -> String {
    written(at, "%Y-%m-%d %H:%M:%S")
}

fn day(at: Timestamp) -> String {
    written(at, "%Y-%m-%d")
}

/// A row: every value behind a backtick; line breaks inside are spelt out.
fn row(values: &[&str]) -> String {
    let plain = |v: &&str| format!("`{}", v.replace('\r', "\\r").replace('\n', "\\n"));
    values.iter().map(plain).collect::<Vec<_>>().join(",")
}

/// What the three kinds of calls have in common: the day, the packing, and an address.
pub(crate) fn made(
    me: &Wechat,
    query: impl Fn(&str) -> Option<String>,
    make: impl FnOnce(&Wechat, &str) -> Result<Option<Vec<String>>, Refusal>,
) -> Result<Done, Refusal> {
    let wanted = query("bill_date").ok_or_else(|| Refusal::place("/bill_date", "query", "缺少必填参数"))?;
    if jiff::civil::Date::strptime("%Y-%m-%d", &wanted).is_err() || wanted.len() != 10 {
        return Err(Refusal::place("/bill_date", "query", "格式应为yyyy-MM-dd"));
    }
    let gzip = match query("tar_type").as_deref() {
        None | Some("") => false,
        Some("GZIP") => true,
        Some(_) => return Err(Refusal::place("/tar_type", "query", "只支持GZIP")),
    };
    let now = me.world.clock.now();
    let faults = me.world.bill_faults(super::NAME);
    if (wanted == day(now) && !me.world.today_is_billed()) || faults.not_ready {
        return Err(Refusal::by_code("STATEMENT_CREATING", "账单生成中，请稍后再试"));
    }
    let none = || Refusal::by_code("NO_STATEMENT_EXIST", "账单文件不存在");
    if wanted > day(now) {
        return Err(none());
    }
    let text = make(me, &wanted)?.ok_or_else(none)?.join("\r\n") + "\r\n";
    let hash = if faults.wrong_hash { sha1_hex(b"another file") } else { sha1_hex(text.as_bytes()) };
    let bytes = if gzip {
        let mut packer = GzEncoder::new(Vec::new(), Compression::default());
        let packed = packer.write_all(text.as_bytes()).and_then(|()| packer.finish());
        packed.map_err(|_| Refusal::by_code("SYSTEM_ERROR", "系统错误"))?
    } else {
        text.into_bytes()
    };
    let token = crate::world::nonce();
    let mut files = me.files.lock();
    files.0.retain(|_, (made_at, _)| now.secs() - made_at.secs() <= LIVES_S);
    files.0.insert(token.clone(), (now, faults.cut(bytes)));
    let download_url = format!("{}{PATH}?token={token}", me.base_url);
    Ok(Done::Body(json!({ "hash_type": "SHA1", "hash_value": hash, "download_url": download_url })))
}

/// The file of a token that still lives.
pub(crate) fn fetch(me: &Wechat, token: Option<String>) -> Result<Done, Refusal> {
    let now = me.world.clock.now();
    let files = me.files.lock();
    let file =
        token.and_then(|token| files.0.get(&token)).filter(|(at, _)| now.secs() - at.secs() <= LIVES_S);
    let (_, bytes) = file.ok_or_else(|| Refusal::by_code("INVALID_REQUEST", "下载地址已失效，请重新获取"))?;
    Ok(Done::File(bytes.clone()))
}

/// `GET /v3/bill/tradebill`.
pub(crate) fn trades(me: &Wechat, kind: Option<&str>, wanted: &str) -> Result<Option<Vec<String>>, Refusal> {
    let (header, payments, refunds) = match kind {
        None | Some("" | "ALL") => (ALL, true, true),
        Some("SUCCESS") => (SUCCESS, true, false),
        Some("REFUND") => (REFUND, false, true),
        Some(_) => return Err(Refusal::place("/bill_type", "query", "只支持ALL、SUCCESS、REFUND")),
    };
    let faults = me.world.bill_faults(super::NAME);
    let all = me.trades.lock();
    let mut rows: Vec<(Timestamp, String)> = Vec::new();
    let [mut settled, mut given, mut fees] = [0; 3];
    for (trade, paid) in all.paid() {
        let name = trade.asked.get("description").and_then(|v| v.as_str()).unwrap_or_default();
        let attach = trade.attach.as_deref().unwrap_or_default();
        let device = trade.device_id.as_deref().unwrap_or_default();
        let line =
            |no: &str, at: &str, state: &str, amount: i64, middle: &[&str], fee: i64, asked: &[&str]| {
                let (amount, fee) = (yuan(amount), format!("{}000", yuan(fee)));
                let first = [
                    at,
                    &trade.appid,
                    &trade.mchid,
                    "0",
                    device,
                    &paid.transaction_id,
                    no,
                    &paid.openid,
                    trade.product.trade_type(),
                    state,
                    "OTHERS",
                    "CNY",
                    &amount,
                    "0.00",
                ];
                let last = [name, attach, fee.as_str(), "0.60%", &amount];
                row(&[&first[..], middle, &last[..], asked, &[""]].concat())
            };
        let at = me.world.bill_time(paid.at);
        if payments && day(at) == wanted {
            let full: &[&str] = &["0", "0", "0.00", "0.00", "", ""];
            let (middle, asked): (&[&str], &[&str]) = if refunds { (full, &["0.00"]) } else { (&[], &[]) };
            for shown in faults.shown(&trade.no, trade.total, fee(trade.total)) {
                settled += shown.amount;
                fees += shown.fee;
                let (no, when) = (&shown.number, time(at));
                rows.push((at, line(no, &when, "SUCCESS", shown.amount, middle, shown.fee, asked)));
                if faults.reverses(no) {
                    given += shown.amount;
                    fees -= shown.fee;
                    rows.push((at, line(no, &when, "REVOKED", shown.amount, middle, -shown.fee, asked)));
                }
            }
        }
        for refund in trade.refunds.iter().filter(|refund| refunds && refund.gives()) {
            let at = me.world.bill_time(refund.at);
            if day(at) != wanted {
                continue;
            }
            let (asked_at, done) = (time(at), time(me.world.bill_time(refund.done_at())));
            for shown in faults.shown(&refund.no, refund.amount, -fee(refund.amount)) {
                let amount = yuan(shown.amount);
                let common = [refund.id.as_str(), &shown.number, &amount, "0.00", "ORIGINAL", "SUCCESS"];
                let times = [asked_at.as_str(), &done];
                let middle: Vec<&str> = times.into_iter().filter(|_| !payments).chain(common).collect();
                given += shown.amount;
                fees += shown.fee;
                rows.push((
                    at,
                    line(&trade.no, &asked_at, "REFUND", 0, &middle, shown.fee, &[amount.as_str()]),
                ));
            }
        }
    }
    if rows.is_empty() {
        return Ok(None);
    }
    rows.sort();
    let count = rows.len().to_string();
    let totals = [
        yuan(settled),
        yuan(given),
        "0.00".to_owned(),
        format!("{}000", yuan(fees)),
        yuan(settled),
        yuan(given),
    ];
    let totals: Vec<&str> =
        std::iter::once(count.as_str()).chain(totals.iter().map(String::as_str)).collect();
    let lines = std::iter::once(header.to_owned()).chain(rows.into_iter().map(|(_, line)| line));
    Ok(Some(lines.chain([TOTALS.to_owned(), row(&totals)]).collect()))
}

/// `GET /v3/bill/fundflowbill`.
pub(crate) fn flow(me: &Wechat, account: Option<&str>, wanted: &str) -> Result<Option<Vec<String>>, Refusal> {
    match account {
        None | Some("" | "BASIC") => {}
        Some("OPERATION" | "FEES") => return Ok(None),
        Some(_) => return Err(Refusal::place("/account_type", "query", "只支持BASIC、OPERATION、FEES")),
    }
    let all = me.trades.lock();
    // What moved when, in the order of time; the balance is what all of it left so far.
    let mut moves: Vec<(Timestamp, String, String, &str, i64)> = Vec::new();
    for (trade, paid) in all.paid() {
        let (at, id) = (me.world.bill_time(paid.at), paid.transaction_id.clone());
        moves.push((at, id.clone(), trade.no.clone(), "交易", trade.total));
        moves.push((at, id, trade.no.clone(), "扣除交易手续费", -fee(trade.total)));
        for refund in trade.refunds.iter().filter(|refund| refund.gives()) {
            let at = me.world.bill_time(refund.at);
            moves.push((
                at,
                refund.id.clone(),
                refund.no.clone(),
                "退款",
                fee(refund.amount) - refund.amount,
            ));
        }
    }
    moves.sort();
    let (mut balance, mut lines) = (0, vec![FLOW.to_owned()]);
    let [mut n_in, mut sum_in, mut n_out, mut sum_out] = [0; 4];
    for (serial, (at, id, voucher, kind, amount)) in moves.iter().enumerate() {
        balance += amount;
        if day(*at) != wanted || *amount == 0 {
            continue;
        }
        let (direction, n, sum) = if *amount > 0 {
            ("收入", &mut n_in, &mut sum_in)
        } else {
            ("支出", &mut n_out, &mut sum_out)
        };
        *n += 1;
        *sum += amount.abs();
        let flow_no = format!("1{serial:019}");
        let (fen, left) = (yuan(amount.abs()), yuan(balance));
        lines.push(row(&[
            &time(*at),
            id,
            &flow_no,
            kind,
            kind,
            direction,
            &fen,
            &left,
            "system",
            "",
            voucher,
        ]));
    }
    if lines.len() == 1 {
        return Ok(None);
    }
    let totals =
        [(n_in + n_out).to_string(), n_in.to_string(), yuan(sum_in), n_out.to_string(), yuan(sum_out)];
    lines.extend([FLOW_TOTALS.to_owned(), row(&totals.each_ref().map(String::as_str))]);
    Ok(Some(lines))
}

/// `GET /v3/profitsharing/bills`.
pub(crate) fn shares(me: &Wechat, wanted: &str) -> Result<Option<Vec<String>>, Refusal> {
    let all: &Trades = &me.trades.lock();
    let mut lines = vec![SHARED.to_owned()];
    for (at, order, share) in all.sharing.done() {
        let at = me.world.bill_time(at);
        if day(at) == wanted {
            let (fen, total) = (yuan(share.amount), yuan(order.total));
            let (mchid, order_id) = (me.keys.mchid.as_str(), order.order_id.as_str());
            lines.push(row(&[
                &time(at),
                mchid,
                mchid,
                &order.transaction_id,
                order_id,
                &share.detail_id,
                &order.no,
                &total,
                &share.account,
                &fen,
                "分账",
                "分账成功",
                &share.description,
                "",
            ]));
        }
    }
    Ok(if lines.len() > 1 { Some(lines) } else { None })
}
