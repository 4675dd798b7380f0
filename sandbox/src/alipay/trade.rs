//! Trades: what exists, what state it is in, who paid; create, precreate, query and close (protocol sections 3.1, 3.3).

use std::{collections::HashMap, sync::Arc};

use domain::Timestamp;
use serde_json::{Map, Value, json};

use super::{Alipay, refund::Refund, refusal::Refusal, royalty::Royalty, text, wire::Call};

/// A trade that nobody limits lives fifteen days; an unscanned code two hours.
const LIVES_S: i64 = 15 * 86_400;
const CODE_LIVES_S: i64 = 2 * 3_600;

/// How the trade came to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Product {
    /// `alipay.trade.create`: exists at once.
    MiniProgram,
    /// `alipay.trade.precreate`: exists once the code was scanned.
    Code,
    /// `alipay.trade.wap.pay`: exists once the browser opened it.
    Wap,
    /// `alipay.trade.pay`: the merchant scanned the payer's code.
    BarCode,
}

/// Where a trade stands.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum State {
    Waits,
    Paid(Paid),
    /// Closed unpaid.
    Closed,
}

/// A payment.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Paid {
    pub(crate) buyer: String,
    pub(crate) fund: &'static str,
    pub(crate) at: Timestamp,
}

/// One trade.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Trade {
    pub(crate) no: String,
    pub(crate) trade_no: String,
    pub(crate) product: Product,
    /// Scanned or opened: before, the gateway knows of no trade.
    pub(crate) exists: bool,
    pub(crate) total: i64,
    pub(crate) subject: String,
    /// The request as it came, to recognise a repeat with other content.
    pub(crate) asked: Map<String, Value>,
    pub(crate) app_id: String,
    pub(crate) notify_url: Option<String>,
    pub(crate) return_url: Option<String>,
    pub(crate) created_at: Timestamp,
    pub(crate) pay_until: Timestamp,
    pub(crate) code_until: Timestamp,
    pub(crate) credential: String,
    pub(crate) state: State,
    pub(crate) refunds: Vec<Refund>,
}

impl Trade {
    /// Given back so far.
    pub(crate) fn refunded(&self) -> i64 {
        self.refunds.iter().map(|r| r.amount).sum()
    }

    /// `trade_status`.
    pub(crate) fn status(&self) -> &'static str {
        match &self.state {
            State::Waits => "WAIT_BUYER_PAY",
            State::Paid(_) if self.refunded() >= self.total => "TRADE_CLOSED",
            State::Paid(_) => "TRADE_SUCCESS",
            State::Closed => "TRADE_CLOSED",
        }
    }

    /// Closes an unpaid trade whose time is over.
    fn tick(&mut self, now: Timestamp) {
        if self.state == State::Waits && now > self.pay_until {
            self.state = State::Closed;
        }
    }

    /// A member of the request that the payer's client looks at: comma separated words.
    fn words(&self, member: &str) -> Option<Vec<&str>> {
        let list = self.asked.get(member).and_then(Value::as_str)?;
        Some(list.split(',').map(str::trim).collect())
    }

    /// Whether the payer's wallet offers a fund of this group.
    pub(crate) fn offers(&self, fund: &str, group: &str) -> bool {
        let names = |list: Vec<&str>| list.contains(&fund) || list.contains(&group);
        !self.words("disable_pay_channels").is_some_and(names)
            && self.words("enable_pay_channels").is_none_or(names)
    }

    fn view(&self) -> Value {
        let mut view = json!({
            "out_trade_no": self.no, "trade_no": self.trade_no, "trade_status": self.status(),
            "total_amount": text::yuan(self.total), "receipt_amount": "0.00", "buyer_pay_amount": "0.00",
            "point_amount": "0.00", "invoice_amount": "0.00",
        });
        if let (State::Paid(paid), Some(members)) = (&self.state, view.as_object_mut()) {
            let total = text::yuan(self.total);
            for name in ["receipt_amount", "buyer_pay_amount", "invoice_amount"] {
                members.insert(name.to_owned(), total.clone().into());
            }
            members.insert("send_pay_date".to_owned(), text::time(paid.at).into());
            members.insert("buyer_user_id".to_owned(), paid.buyer.clone().into());
            members.insert("buyer_logon_id".to_owned(), "stu***@sandbox".into());
            let fund = json!([{ "fund_channel": paid.fund, "amount": total }]);
            members.insert("fund_bill_list".to_owned(), fund);
        }
        view
    }
}

/// All trades.
#[derive(Default)]
pub(crate) struct Ledger {
    by_no: HashMap<String, Trade>,
    by_trade_no: HashMap<String, String>,
    by_credential: HashMap<String, String>,
    /// Receivers and settlements of frozen money.
    pub(crate) royalty: Royalty,
}

impl Ledger {
    pub(crate) fn put(&mut self, trade: Trade) {
        self.by_trade_no.insert(trade.trade_no.clone(), trade.no.clone());
        self.by_credential.insert(trade.credential.clone(), trade.no.clone());
        self.by_no.insert(trade.no.clone(), trade);
    }

    /// Every trade.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Trade> {
        self.by_no.values()
    }

    /// A trade by the merchant's number, present at `now`, whether or not it exists for the gateway yet.
    pub(crate) fn get(&mut self, no: &str, now: Timestamp) -> Option<&mut Trade> {
        let trade = self.by_no.get_mut(no)?;
        trade.tick(now);
        Some(trade)
    }

    /// A trade by what a payer holds: a code, or Alipay's own number.
    pub(crate) fn by_credential(&mut self, text: &str, now: Timestamp) -> Option<&mut Trade> {
        let no = self.by_credential.get(text).or_else(|| self.by_trade_no.get(text))?.clone();
        self.get(&no, now)
    }

    /// The trade that `trade_no` or else `out_trade_no` names.
    pub(crate) fn named(&mut self, biz: &Map<String, Value>, now: Timestamp) -> Result<&mut Trade, Refusal> {
        let text = |name: &str| biz.get(name).and_then(Value::as_str).filter(|t| !t.is_empty());
        let no = match (text("trade_no"), text("out_trade_no")) {
            (Some(trade_no), _) => self.by_trade_no.get(trade_no).cloned(),
            (None, Some(no)) => Some(no.to_owned()),
            (None, None) => return Err(Refusal::parameter("out_trade_no", "和trade_no不能同时为空")),
        };
        let trade = no.and_then(|no| self.get(&no, now));
        trade.filter(|t| t.exists).ok_or_else(Refusal::no_trade)
    }
}

/// Reads what all three ways of creating have in common, and keeps the trade; a repeat finds the first one.
pub(crate) fn make(me: &Alipay, call: &Call, product: Product) -> Result<Trade, Refusal> {
    let biz = &call.biz;
    let member = |name: &str| biz.get(name).and_then(Value::as_str).filter(|t| !t.is_empty());
    let no = member("out_trade_no").ok_or_else(|| Refusal::parameter("out_trade_no", "不能为空"))?;
    if no.len() > 64 || !no.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'_') {
        return Err(Refusal::parameter("out_trade_no", "只能是1到64位的字母、数字、下划线"));
    }
    let total = amount(biz, "total_amount")?;
    let subject = member("subject").ok_or_else(|| Refusal::parameter("subject", "不能为空"))?;
    if subject.chars().count() > 256 || subject.contains(['/', '=', '&']) {
        return Err(Refusal::parameter("subject", "过长或含有特殊字符"));
    }
    if member("body").is_some_and(|body| body.chars().count() > 128) {
        return Err(Refusal::parameter("body", "过长"));
    }
    if member("disable_pay_channels").is_some() && member("enable_pay_channels").is_some() {
        return Err(Refusal::parameter("disable_pay_channels", "与enable_pay_channels互斥"));
    }
    let now = me.world.clock.now();
    let pay_until = match (member("time_expire"), member("timeout_express")) {
        (Some(_), Some(_)) => return Err(Refusal::parameter("time_expire", "与timeout_express不能同时传")),
        (Some(at), None) => text::moment(at).ok_or_else(|| Refusal::parameter("time_expire", "格式错误"))?,
        (None, Some(span)) => {
            text::span(span, now).ok_or_else(|| Refusal::parameter("timeout_express", "格式错误"))?
        }
        (None, None) => Timestamp::from_secs(now.secs() + LIVES_S),
    };
    let code_until = match member("qr_code_timeout_express") {
        Some(span) => {
            text::span(span, now).ok_or_else(|| Refusal::parameter("qr_code_timeout_express", "格式错误"))?
        }
        None => Timestamp::from_secs(now.secs() + CODE_LIVES_S),
    };
    let mut ledger = me.ledger.lock();
    if let Some(known) = ledger.get(no, now) {
        return match known.state {
            State::Paid(_) => Err(Refusal::business("ACQ.TRADE_HAS_SUCCESS", "交易已被支付")),
            State::Closed => Err(Refusal::business("ACQ.TRADE_HAS_CLOSE", "交易已经关闭")),
            State::Waits if known.product == product && known.asked == *biz => Ok(known.clone()),
            State::Waits => Err(Refusal::business("ACQ.CONTEXT_INCONSISTENT", "交易信息被篡改")),
        };
    }
    if pay_until <= now {
        return Err(Refusal::business(
            "ACQ.NOW_TIME_AFTER_EXPIRE_TIME_ERROR",
            "当前时间已超过允许支付的时间",
        ));
    }
    let serial = me.world.next_serial();
    let day: String = text::time(now).chars().take(10).filter(char::is_ascii_digit).collect();
    let trade_no = format!("{day}22001{serial:015}");
    let credential = match product {
        Product::Code => format!("https://qr.alipay.com/bax{serial:015}"),
        Product::MiniProgram | Product::Wap | Product::BarCode => trade_no.clone(),
    };
    let trade = Trade {
        no: no.to_owned(),
        trade_no,
        product,
        exists: product != Product::Code,
        total,
        subject: subject.to_owned(),
        asked: biz.clone(),
        app_id: call.app_id.clone(),
        notify_url: call.notify_url.clone(),
        return_url: call.return_url.clone(),
        created_at: now,
        pay_until,
        code_until,
        credential,
        state: State::Waits,
        refunds: Vec::new(),
    };
    ledger.put(trade.clone());
    Ok(trade)
}

/// A member that is an amount in yuan, text or number.
pub(crate) fn amount(biz: &Map<String, Value>, name: &str) -> Result<i64, Refusal> {
    let given = match biz.get(name) {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Number(number)) => number.to_string(),
        _ => return Err(Refusal::parameter(name, "不能为空")),
    };
    text::fen(&given).ok_or_else(|| Refusal::parameter(name, "应为0.01到100000000.00，最多两位小数"))
}

pub(crate) fn create(me: &Arc<Alipay>, call: &Call) -> Result<Value, Refusal> {
    let member = |name: &str| call.biz.get(name).and_then(Value::as_str).filter(|t| !t.is_empty());
    if member("buyer_id").or_else(|| member("buyer_open_id")).is_none() {
        return Err(Refusal::parameter("buyer_id", "和buyer_open_id不能同时为空"));
    }
    if member("product_code") == Some("JSAPI_PAY") && member("op_app_id").is_none() {
        return Err(Refusal::parameter("op_app_id", "不能为空"));
    }
    let trade = make(me, call, Product::MiniProgram)?;
    Ok(json!({ "out_trade_no": trade.no, "trade_no": trade.trade_no }))
}

pub(crate) fn precreate(me: &Arc<Alipay>, call: &Call) -> Result<Value, Refusal> {
    let trade = make(me, call, Product::Code)?;
    Ok(json!({ "out_trade_no": trade.no, "qr_code": trade.credential }))
}

pub(crate) fn query(me: &Arc<Alipay>, call: &Call) -> Result<Value, Refusal> {
    let now = me.world.clock.now();
    Ok(me.ledger.lock().named(&call.biz, now)?.view())
}

pub(crate) fn close(me: &Arc<Alipay>, call: &Call) -> Result<Value, Refusal> {
    let now = me.world.clock.now();
    let mut ledger = me.ledger.lock();
    let trade = ledger.named(&call.biz, now)?;
    match trade.state {
        State::Waits => trade.state = State::Closed,
        State::Paid(_) => return Err(Refusal::business("ACQ.TRADE_STATUS_ERROR", "交易状态不合法")),
        State::Closed => return Err(Refusal::business("ACQ.REASON_TRADE_STATUS_INVALID", "交易状态异常")),
    }
    Ok(json!({ "out_trade_no": trade.no, "trade_no": trade.trade_no }))
}
