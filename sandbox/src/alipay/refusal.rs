//! Refusals, in the gateway's own words (protocol section 4).

use serde_json::{Value, json};

/// A refusal.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Refusal {
    pub(crate) code: &'static str,
    pub(crate) msg: &'static str,
    pub(crate) sub_code: String,
    sub_msg: String,
    /// False where the gateway does not know whom it talks to.
    pub(crate) signed: bool,
}

impl Refusal {
    fn new(code: &'static str, msg: &'static str, sub_code: &str, sub_msg: &str) -> Refusal {
        Refusal { code, msg, sub_code: sub_code.to_owned(), sub_msg: sub_msg.to_owned(), signed: true }
    }

    /// A common parameter is missing.
    pub(crate) fn missing(sub_code: &str, sub_msg: &str) -> Refusal {
        Refusal::new("40001", "Missing Required Arguments", sub_code, sub_msg)
    }

    /// A common parameter, or `biz_content`, is wrong.
    pub(crate) fn invalid(sub_code: &str, sub_msg: &str) -> Refusal {
        Refusal::new("40002", "Invalid Arguments", sub_code, sub_msg)
    }

    /// The business says no.
    pub(crate) fn business(sub_code: &str, sub_msg: &str) -> Refusal {
        Refusal::new("40004", "Business Failed", sub_code, sub_msg)
    }

    /// A member of `biz_content` is wrong.
    pub(crate) fn parameter(member: &str, problem: &str) -> Refusal {
        Refusal::business("ACQ.INVALID_PARAMETER", &format!("参数无效：{member}{problem}"))
    }

    /// No such trade.
    pub(crate) fn no_trade() -> Refusal {
        Refusal::business("ACQ.TRADE_NOT_EXIST", "交易不存在")
    }

    /// Nothing is known about the caller, so nothing is signed for it.
    pub(crate) fn unsigned(mut self) -> Refusal {
        self.signed = false;
        self
    }

    /// A fault on command: `20000`, or a sub code of the business; "system error" without one.
    pub(crate) fn fault(code: &str) -> Refusal {
        match code {
            "20000" => Refusal::new("20000", "Service Currently Unavailable", "isp.unknow-error", "系统繁忙"),
            "" => Refusal::business("ACQ.SYSTEM_ERROR", "系统异常"),
            other => Refusal::business(other, "系统异常"),
        }
    }

    /// Over the quota.
    pub(crate) fn limited() -> Refusal {
        Refusal::new("40005", "Call Limited", "isv.app-call-limited", "应用调用次数超限")
    }

    /// The node of the answer.
    pub(crate) fn node(&self) -> Value {
        json!({ "code": self.code, "msg": self.msg, "sub_code": self.sub_code, "sub_msg": self.sub_msg })
    }
}
