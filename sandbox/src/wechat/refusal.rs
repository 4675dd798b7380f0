//! Refusals with the codes of the protocol page, section 5.

use serde_json::{Value, json};

/// A refusal.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Refusal {
    pub(crate) status: u16,
    pub(crate) code: String,
    pub(crate) message: String,
    pub(crate) detail: Option<Value>,
}

impl Refusal {
    /// With the status that the page gives for this code.
    pub(crate) fn by_code(code: &str, message: &str) -> Refusal {
        let status = match code {
            "USERPAYING" => 202,
            "SIGN_ERROR" => 401,
            "NO_AUTH"
            | "NOT_ENOUGH"
            | "OUT_TRADE_NO_USED"
            | "TRADE_ERROR"
            | "RULE_LIMIT"
            | "ACCOUNT_ERROR"
            | "USER_ACCOUNT_ABNORMAL" => 403,
            "ORDER_NOT_EXIST" | "RESOURCE_NOT_EXISTS" => 404,
            "FREQUENCY_LIMITED" | "RATELIMIT_EXCEEDED" | "RATELIMIT_EXCEED" => 429,
            "SYSTEM_ERROR" | "BANK_ERROR" | "OPENID_MISMATCH" | "INVALID_TRANSACTIONID" => 500,
            "SERVICE_UNAVAILABLE" => 503,
            _ => 400,
        };
        Refusal { status, code: code.to_owned(), message: message.to_owned(), detail: None }
    }

    /// A field of the body that breaks a rule; `field` is a JSON pointer.
    pub(crate) fn field(field: &str, issue: &str) -> Refusal {
        Refusal::place(field, "body", issue)
    }

    /// The same for another place: `query`, `body`.
    pub(crate) fn place(field: &str, location: &str, issue: &str) -> Refusal {
        let message = format!("输入源“/{location}{field}”校验失败：{issue}");
        let detail = json!({ "field": field, "issue": issue, "location": location });
        Refusal { detail: Some(detail), ..Refusal::by_code("PARAM_ERROR", &message) }
    }

    /// A signature or its surroundings are wrong.
    pub(crate) fn sign(message: &str) -> Refusal {
        Refusal::by_code("SIGN_ERROR", message)
    }

    /// The signature does not fit; shows the string that the server signed, as the live service does.
    pub(crate) fn mismatch(method: &str, url: &str, message: &[u8]) -> Refusal {
        let shown: String = String::from_utf8_lossy(message).chars().take(512).collect();
        let detail = json!({
            "field": "signature", "issue": "sign not match", "location": "authorization",
            "sign_information": {
                "method": method, "url": url,
                "truncated_sign_message": shown, "sign_message_length": message.len(),
            },
        });
        let text = "签名错误，请检查后再试";
        Refusal { detail: Some(detail), ..Refusal::by_code("SIGN_ERROR", text) }
    }

    pub(crate) fn body(&self) -> Value {
        match &self.detail {
            Some(detail) => json!({ "code": self.code, "message": self.message, "detail": detail }),
            None => json!({ "code": self.code, "message": self.message }),
        }
    }

    /// The number at the end of `Request-ID`.
    pub(crate) fn number(&self) -> u32 {
        match self.code.as_str() {
            "SIGN_ERROR" => 268_443_699,
            "PARAM_ERROR" => 268_435_461,
            "FREQUENCY_LIMITED" => 268_447_840,
            "OUT_TRADE_NO_USED" => 268_498_688,
            "ORDERPAID" => 268_449_538,
            "ORDER_CLOSED" => 268_447_914,
            "ORDER_NOT_EXIST" => 268_512_771,
            _ => 268_435_457,
        }
    }
}
