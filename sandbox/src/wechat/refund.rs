//! Refunds: accepted at once, done a moment later, told by a callback if an address was given.

use std::{sync::Arc, time::Duration};

use actix_web::web;
use domain::Timestamp;
use serde_json::{Value, json};

use super::{
    NAME, Wechat,
    callback::{self, Event},
    prepay::Fields,
    refusal::Refusal,
    request,
    respond::Done,
    trade::{State, Trade},
};
use crate::clock::beijing;

/// A refund arrives in the payer's wallet after this long.
const ARRIVES_AFTER_US: i64 = 300_000;
const WINDOW_S: i64 = 365 * 86_400;
const PARTS_MAX: usize = 50;

/// One refund.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct RefundRecord {
    pub(crate) no: String,
    pub(crate) id: String,
    pub(crate) amount: i64,
    pub(crate) at: Timestamp,
    /// How it ends: `SUCCESS`, `ABNORMAL` or `CLOSED`.
    pub(crate) outcome: &'static str,
}

impl RefundRecord {
    /// Whether money goes back to the payer.
    pub(crate) fn gives(&self) -> bool {
        self.outcome == "SUCCESS"
    }

    pub(crate) fn done_at(&self) -> Timestamp {
        Timestamp::from_micros(self.at.micros() + ARRIVES_AFTER_US)
    }

    /// The answer of the call and of its query.
    fn view(&self, trade: &Trade, now: Timestamp) -> Value {
        let done = now >= self.done_at();
        let mut view = json!({
            "refund_id": self.id, "out_refund_no": self.no, "out_trade_no": trade.no,
            "transaction_id": transaction_id(trade), "channel": "ORIGINAL",
            "user_received_account": "支付用户零钱", "create_time": beijing(self.at),
            "status": if done { self.outcome } else { "PROCESSING" }, "funds_account": "AVAILABLE",
            "amount": {
                "total": trade.total, "refund": self.amount, "from": [], "payer_total": trade.total,
                "payer_refund": self.amount, "settlement_refund": self.amount,
                "settlement_total": trade.total, "discount_refund": 0, "currency": "CNY", "refund_fee": 0,
            },
            "promotion_detail": [],
        });
        if let (true, Some(fields)) = (done && self.gives(), view.as_object_mut()) {
            fields.insert("success_time".to_owned(), beijing(self.done_at()).into());
        }
        view
    }

    /// The cleartext of its callback.
    pub(crate) fn notice(&self, trade: &Trade, amount: i64) -> Value {
        let mut notice = json!({
            "mchid": trade.mchid, "transaction_id": transaction_id(trade), "out_trade_no": trade.no,
            "refund_id": self.id, "out_refund_no": self.no, "refund_status": self.outcome,
            "user_received_account": "支付用户零钱",
            "amount": {
                "total": trade.total, "refund": amount, "payer_total": trade.total, "payer_refund": amount,
            },
        });
        if let (true, Some(fields)) = (self.gives(), notice.as_object_mut()) {
            fields.insert("success_time".to_owned(), beijing(self.done_at()).into());
        }
        notice
    }
}

fn transaction_id(trade: &Trade) -> &str {
    match &trade.state {
        State::Paid(paid) => &paid.transaction_id,
        State::NotPay | State::Closed => "",
    }
}

pub(crate) fn refund(me: &web::Data<Wechat>, body: &[u8]) -> Result<Done, Refusal> {
    let fields = request::json(body)?;
    let fields = Fields(&fields);
    let refund_no = fields.text("/out_refund_no", 1, 64)?;
    if !refund_no.bytes().all(|c| c.is_ascii_alphanumeric() || b"_-|*@".contains(&c)) {
        return Err(Refusal::field("/out_refund_no", "只能是数字、大小写字母_-|*@"));
    }
    fields.optional("/reason", 80)?;
    let notify_url = fields.optional("/notify_url", 256)?;
    let number = |pointer: &str| {
        let value = fields.at(pointer).and_then(Value::as_i64);
        value.ok_or_else(|| Refusal::field(pointer, "缺少必填参数或不是整数"))
    };
    let (amount, total) = (number("/amount/refund")?, number("/amount/total")?);
    if amount < 1 {
        return Err(Refusal::field("/amount/refund", "值低于最小值 1"));
    }
    if fields.text("/amount/currency", 1, 16)? != "CNY" {
        return Err(Refusal::field("/amount/currency", "只支持CNY"));
    }
    let now = me.world.clock.now();
    let mut trades = me.trades.lock();
    let order_no = match (fields.optional("/out_trade_no", 32)?, fields.optional("/transaction_id", 32)?) {
        (Some(no), None) => no,
        (_, Some(id)) => trades.by_transaction(&id).unwrap_or_default(),
        (None, None) => return Err(Refusal::field("/out_trade_no", "transaction_id和out_trade_no必填其一")),
    };
    if let Some(known) = trades.by_refund(&refund_no) {
        let record = known.refunds.iter().find(|r| r.no == refund_no);
        return match record {
            Some(record) if known.no == order_no && record.amount == amount && known.total == total => {
                Ok(Done::Body(record.view(known, now)))
            }
            _ => Err(Refusal::by_code("INVALID_REQUEST", "请求重入时，参数与首次请求时不一致")),
        };
    }
    let missing = || Refusal::by_code("RESOURCE_NOT_EXISTS", "订单不存在");
    let trade = trades.get_mut(&order_no).ok_or_else(missing)?;
    let State::Paid(paid) = &trade.state else {
        return Err(Refusal::by_code("RESOURCE_NOT_EXISTS", "订单未支付"));
    };
    if total != trade.total {
        return Err(Refusal::field("/amount/total", "订单金额不一致"));
    }
    if trade.refunded() + amount > trade.total {
        return Err(Refusal::by_code("INVALID_REQUEST", "申请退款金额大于订单可退金额"));
    }
    if now.secs() - paid.at.secs() > WINDOW_S {
        return Err(Refusal::by_code("TRADE_OVERDUE", "订单已超过可退款的最大期限"));
    }
    if trade.refunds.len() >= PARTS_MAX {
        return Err(Refusal::by_code("INVALID_REQUEST", "部分退款次数超过上限"));
    }
    let id = format!("50{:028}", me.world.next_serial());
    let outcome = match me.world.faults_of(NAME).refund_outcome.as_deref() {
        Some("ABNORMAL") => "ABNORMAL",
        Some("CLOSED") => "CLOSED",
        _ => "SUCCESS",
    };
    let record = RefundRecord { no: refund_no.clone(), id, amount, at: now, outcome };
    if record.gives() {
        me.world.books.refund(NAME, &trade.no, &record.no, amount, &record.id, now);
    }
    trade.refunds.push(record.clone());
    let (no, answer, told) = (trade.no.clone(), record.view(trade, now), trade.clone());
    trades.refund_under(&refund_no, &no);
    drop(trades);
    if let Some(url) = notify_url {
        let event = Event::Refund(record);
        let after = Duration::from_micros(u64::try_from(ARRIVES_AFTER_US).unwrap_or_default());
        callback::send(Arc::clone(me), told, event, url, after);
    }
    Ok(Done::Body(answer))
}

pub(crate) fn query(me: &Wechat, refund_no: &str) -> Result<Done, Refusal> {
    let trades = me.trades.lock();
    let missing = || Refusal::by_code("RESOURCE_NOT_EXISTS", "退款单不存在");
    let trade = trades.by_refund(refund_no).ok_or_else(missing)?;
    let record = trade.refunds.iter().find(|r| r.no == refund_no).ok_or_else(missing)?;
    Ok(Done::Body(record.view(trade, me.world.clock.now())))
}

/// `apply-abnormal-refund`: the money goes to another account after all. The path names WeChat's own number.
pub(crate) fn handle_abnormal(
    me: &web::Data<Wechat>,
    id: &str,
    serial: Option<&str>,
    body: &[u8],
) -> Result<Done, Refusal> {
    let fields = request::json(body)?;
    let fields = Fields(&fields);
    let refund_no = fields.text("/out_refund_no", 1, 64)?;
    match fields.text("/type", 1, 32)?.as_str() {
        "MERCHANT_BANK_CARD" => {}
        "USER_BANK_CARD" => {
            fields.text("/bank_type", 1, 16)?;
            for name in ["/bank_account", "/real_name"] {
                let sealed = fields.text(name, 1, 1_024)?;
                let open = me.keys.unseal(serial, &sealed);
                open.ok_or_else(|| Refusal::field(name, "解密失败，请使用Wechatpay-Serial对应的公钥加密"))?;
            }
        }
        _ => return Err(Refusal::field("/type", "只支持USER_BANK_CARD、MERCHANT_BANK_CARD")),
    }
    let now = me.world.clock.now();
    let mut trades = me.trades.lock();
    let missing = || Refusal::by_code("RESOURCE_NOT_EXISTS", "退款单不存在");
    let no = trades.by_refund(&refund_no).ok_or_else(missing)?.no.clone();
    let trade = trades.get_mut(&no).ok_or_else(missing)?;
    let record = trade.refunds.iter_mut().find(|r| r.no == refund_no && r.id == id).ok_or_else(missing)?;
    match record.outcome {
        "ABNORMAL" => {
            record.outcome = "SUCCESS";
            record.at = now;
            let (amount, id) = (record.amount, record.id.clone());
            me.world.books.refund(NAME, &no, &refund_no, amount, &id, now);
        }
        "SUCCESS" => {}
        _ => return Err(Refusal::by_code("INVALID_REQUEST", "退款单状态不是异常，不能发起异常退款")),
    }
    let record = record.clone();
    Ok(Done::Body(record.view(trade, now)))
}
