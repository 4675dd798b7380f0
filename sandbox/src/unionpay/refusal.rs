//! Refusals: a code of the protocol's table (section 6.1) and its sentence.

/// A refusal.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Refusal {
    pub(crate) code: String,
    pub(crate) message: String,
}

impl Refusal {
    pub(crate) fn new(code: &str, message: &str) -> Refusal {
        Refusal { code: code.to_owned(), message: message.to_owned() }
    }

    /// A field is missing.
    pub(crate) fn missing(field: &str) -> Refusal {
        Refusal::new("13", &format!("报文域缺失[{field}]"))
    }

    /// A field is not what it must be.
    pub(crate) fn format(field: &str) -> Refusal {
        Refusal::new("10", &format!("报文格式错误[{field}]"))
    }

    /// A fault on command; without a code "system not open".
    pub(crate) fn fault(code: &str) -> Refusal {
        Refusal::new(if code.is_empty() { "02" } else { code }, "系统繁忙，请稍后再试")
    }
}
