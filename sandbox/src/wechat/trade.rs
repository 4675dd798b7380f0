//! Trades: what exists, what state it is in, who paid.

use std::collections::HashMap;

use domain::Timestamp;
use serde_json::{Value, json};

use super::{refund::RefundRecord, refusal::Refusal, respond::Done, sharing::Sharing};
use crate::clock::beijing;

/// A product of the prepay call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Product {
    Native,
    Jsapi,
    H5,
    App,
}

impl Product {
    pub(crate) fn named(name: &str) -> Option<Product> {
        match name {
            "native" => Some(Product::Native),
            "jsapi" => Some(Product::Jsapi),
            "h5" => Some(Product::H5),
            "app" => Some(Product::App),
            _ => None,
        }
    }

    pub(crate) fn trade_type(self) -> &'static str {
        match self {
            Product::Native => "NATIVE",
            Product::Jsapi => "JSAPI",
            Product::H5 => "MWEB",
            Product::App => "APP",
        }
    }
}

/// Where a trade stands.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum State {
    NotPay,
    Paid(Paid),
    Closed,
}

/// A payment.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Paid {
    pub(crate) transaction_id: String,
    pub(crate) openid: String,
    pub(crate) at: Timestamp,
}

/// One trade.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Trade {
    pub(crate) no: String,
    pub(crate) product: Product,
    /// The request as it came, to recognise a repeat with other parameters.
    pub(crate) asked: Value,
    pub(crate) mchid: String,
    pub(crate) appid: String,
    pub(crate) total: i64,
    pub(crate) notify_url: String,
    /// Under which key it is told; the newest certificate's without one.
    pub(crate) wants_serial: Option<String>,
    pub(crate) attach: Option<String>,
    pub(crate) openid: Option<String>,
    pub(crate) device_id: Option<String>,
    pub(crate) pay_until: Timestamp,
    pub(crate) state: State,
    /// What the payer holds at the moment.
    pub(crate) credential: String,
    pub(crate) credential_until: Timestamp,
    pub(crate) refunds: Vec<RefundRecord>,
}

impl Trade {
    /// The answer of a query, and the cleartext of a callback.
    pub(crate) fn view(&self, total: i64) -> Value {
        let (state, description) = match &self.state {
            State::NotPay => ("NOTPAY", "订单未支付"),
            State::Paid(_) if !self.refunds.is_empty() => ("REFUND", "订单发生过退款，退款详情请查询退款单"),
            State::Paid(_) => ("SUCCESS", "支付成功"),
            State::Closed => ("CLOSED", "订单已关闭"),
        };
        let mut view = json!({
            "appid": self.appid, "mchid": self.mchid, "out_trade_no": self.no,
            "trade_state": state, "trade_state_desc": description,
            "amount": { "total": total, "payer_currency": "CNY" },
            "promotion_detail": [],
            "scene_info": { "device_id": self.device_id.as_deref().unwrap_or_default() },
        });
        if let (State::Paid(paid), Some(fields)) = (&self.state, view.as_object_mut()) {
            let more = json!({
                "transaction_id": paid.transaction_id, "trade_type": self.product.trade_type(),
                "bank_type": "OTHERS", "attach": self.attach.as_deref().unwrap_or_default(),
                "success_time": beijing(paid.at), "payer": { "openid": paid.openid },
                "amount": {
                    "total": total, "payer_total": total, "currency": "CNY", "payer_currency": "CNY",
                },
            });
            if let Value::Object(more) = more {
                fields.extend(more);
            }
        }
        view
    }

    /// Given back or on its way.
    pub(crate) fn refunded(&self) -> i64 {
        self.refunds.iter().filter(|r| r.outcome != "CLOSED").map(|r| r.amount).sum()
    }
}

/// All trades.
#[derive(Default)]
pub(crate) struct Trades {
    by_no: HashMap<String, Trade>,
    by_credential: HashMap<String, String>,
    by_transaction: HashMap<String, String>,
    /// Splits and returns of frozen money.
    pub(crate) sharing: Sharing,
    /// Refund number to trade.
    by_refund: HashMap<String, String>,
}

impl Trades {
    pub(crate) fn get(&self, no: &str) -> Option<&Trade> {
        self.by_no.get(no)
    }

    pub(crate) fn get_mut(&mut self, no: &str) -> Option<&mut Trade> {
        self.by_no.get_mut(no)
    }

    /// Keeps a new trade, or a new credential of a known one; the old credential dies.
    pub(crate) fn put(&mut self, trade: Trade) {
        if let Some(old) = self.by_no.get(&trade.no) {
            self.by_credential.remove(&old.credential);
        }
        self.by_credential.insert(trade.credential.clone(), trade.no.clone());
        self.by_no.insert(trade.no.clone(), trade);
    }

    pub(crate) fn by_credential(&mut self, credential: &str) -> Option<&mut Trade> {
        let no = self.by_credential.get(credential)?;
        self.by_no.get_mut(no)
    }

    pub(crate) fn by_transaction(&self, id: &str) -> Option<String> {
        self.by_transaction.get(id).cloned()
    }

    pub(crate) fn paid_under(&mut self, transaction_id: &str, no: &str) {
        self.by_transaction.insert(transaction_id.to_owned(), no.to_owned());
    }

    pub(crate) fn refund_under(&mut self, refund_no: &str, no: &str) {
        self.by_refund.insert(refund_no.to_owned(), no.to_owned());
    }

    /// Every trade that was paid.
    pub(crate) fn paid(&self) -> impl Iterator<Item = (&Trade, &Paid)> {
        self.by_no.values().filter_map(|trade| match &trade.state {
            State::Paid(paid) => Some((trade, paid)),
            State::NotPay | State::Closed => None,
        })
    }

    pub(crate) fn by_refund(&self, refund_no: &str) -> Option<&Trade> {
        self.by_no.get(self.by_refund.get(refund_no)?)
    }

    pub(crate) fn view(&self, no: &str) -> Result<Done, Refusal> {
        let trade = self.get(no).ok_or_else(|| Refusal::by_code("ORDER_NOT_EXIST", "订单不存在"))?;
        Ok(Done::Body(trade.view(trade.total)))
    }

    pub(crate) fn close(&mut self, no: &str) -> Result<Done, Refusal> {
        let trade = self.get_mut(no).ok_or_else(|| Refusal::by_code("ORDER_NOT_EXIST", "订单不存在"))?;
        match trade.state {
            State::Paid(_) => Err(Refusal::by_code("ORDERPAID", "订单已支付")),
            State::NotPay | State::Closed => {
                trade.state = State::Closed;
                Ok(Done::Empty)
            }
        }
    }
}
