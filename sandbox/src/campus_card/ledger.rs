//! What is stored: payments, refunds, accounts. One lock around it makes every debit one transaction.

use std::collections::HashMap;

use domain::Timestamp;
use serde_json::{Value, json};

use super::accounts::Accounts;
use crate::clock::beijing;

/// The state of a payment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    Processing,
    Succeeded,
    Failed,
    Closed,
    Reversed,
}

impl State {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            State::Processing => "PROCESSING",
            State::Succeeded => "SUCCEEDED",
            State::Failed => "FAILED",
            State::Closed => "CLOSED",
            State::Reversed => "REVERSED",
        }
    }
}

/// A payment.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Payment {
    pub(crate) no: String,
    pub(crate) vendor_no: String,
    pub(crate) account_type: String,
    pub(crate) account_no: String,
    pub(crate) amount: i64,
    pub(crate) state: State,
    pub(crate) fail_code: String,
    pub(crate) subject: String,
    pub(crate) attach: String,
    pub(crate) terminal: String,
    pub(crate) notify_url: Option<String>,
    pub(crate) created: Timestamp,
    pub(crate) finished: Option<Timestamp>,
    pub(crate) balance_after: Option<i64>,
    /// When a `PROCESSING` one is decided, and how: `OK` or a code.
    pub(crate) decides: Option<(Timestamp, &'static str)>,
}

impl Payment {
    pub(crate) fn view(&self, refunded: i64) -> Value {
        json!({
            "order_no": self.no, "vendor_no": self.vendor_no, "account_type": self.account_type,
            "account_no": self.account_no, "amount": self.amount, "currency": "CNY",
            "state": self.state.as_str(), "fail_code": self.fail_code, "subject": self.subject,
            "attach": self.attach, "created_at": beijing(self.created),
            "finished_at": self.finished.map(beijing).unwrap_or_default(), "refunded_amount": refunded,
            "balance_after": self.balance_after,
        })
    }

    /// The code of a repeat.
    pub(crate) fn code(&self) -> &str {
        match self.state {
            State::Processing | State::Succeeded => "OK",
            State::Failed => &self.fail_code,
            State::Closed | State::Reversed => "ORDER_CLOSED",
        }
    }
}

/// A refund.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Refund {
    pub(crate) no: String,
    pub(crate) order_no: String,
    pub(crate) vendor_no: String,
    pub(crate) amount: i64,
    pub(crate) failed: Option<&'static str>,
    pub(crate) at: Timestamp,
}

impl Refund {
    pub(crate) fn view(&self, order_refunded: i64) -> Value {
        json!({
            "refund_no": self.no, "order_no": self.order_no, "vendor_no": self.vendor_no,
            "amount": self.amount, "state": if self.failed.is_some() { "FAILED" } else { "SUCCEEDED" },
            "fail_code": self.failed.unwrap_or_default(), "created_at": beijing(self.at),
            "finished_at": beijing(self.at), "order_refunded_amount": order_refunded,
        })
    }
}

/// A line of a statement.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Row {
    pub(crate) kind: &'static str,
    pub(crate) order_no: String,
    pub(crate) refund_no: String,
    pub(crate) vendor_no: String,
    pub(crate) amount: i64,
    pub(crate) at: Timestamp,
}

/// Everything.
#[derive(Default)]
pub(crate) struct Ledger {
    pub(crate) accounts: Accounts,
    pub(crate) payments: HashMap<String, Payment>,
    pub(crate) refunds: HashMap<String, Refund>,
    pub(crate) refunded: HashMap<String, i64>,
    pub(crate) rows: Vec<Row>,
    /// How often the forgetful student's orders were tried.
    pub(crate) tries: HashMap<String, u32>,
}

impl Ledger {
    pub(crate) fn refunded_of(&self, order_no: &str) -> i64 {
        self.refunded.get(order_no).copied().unwrap_or(0)
    }
}

/// The business day, `YYYY-MM-DD` at +08:00.
pub(crate) fn day(at: Timestamp) -> String {
    beijing(at).chars().take(10).collect()
}
