//! Why a signature was refused: the exact string to sign of a request, and the likely cause of a difference.
//!
//! A cause is proven, not guessed, wherever a key is at hand: the given signature is checked against what each common
//! mistake would have signed, and the one that fits is named. Pure: reads no file, no network, no clock.

mod alipay;
mod campus_card;
mod diff;
mod dump;
mod form;
mod unionpay;
mod wechat;

pub(crate) use diff::{difference, visible};
pub(crate) use dump::Request;

/// What was signed by mistake, and what that is called.
#[derive(Debug, Clone)]
pub(crate) struct Mistake {
    /// Its stable name.
    pub name: &'static str,
    /// What to do.
    pub advice: &'static str,
    /// What would have been signed.
    pub text: Vec<u8>,
}

/// Something seen in the request itself, with or without a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Remark {
    /// Its stable name.
    pub name: &'static str,
    /// What was seen and what to do.
    pub problem: String,
}

/// A request as its channel's server sees it.
#[derive(Debug, Clone)]
pub(crate) struct View {
    /// What has to be signed.
    pub text: Vec<u8>,
    /// What is put into the signature primitive: the text, or its digest in hex.
    pub signed: Vec<u8>,
    /// The signature that came with the request.
    pub signature: Option<Vec<u8>>,
    /// What each common mistake would have put in instead.
    pub mistakes: Vec<Mistake>,
    /// What is odd about the request itself.
    pub remarks: Vec<Remark>,
    /// The serial or certificate number that the request names.
    pub serial: Option<String>,
    /// The moment that the request names, Unix seconds.
    pub at: Option<i64>,
    /// The server's own view of the string, from its answer; it may be cut off.
    pub server: Option<Vec<u8>>,
}

impl View {
    fn mistake(&mut self, name: &'static str, advice: &'static str, text: impl Into<Vec<u8>>) {
        let text = text.into();
        if text != self.signed && !self.mistakes.iter().any(|known| known.text == text) {
            self.mistakes.push(Mistake { name, advice, text });
        }
    }

    fn remark(&mut self, name: &'static str, problem: impl Into<String>) {
        self.remarks.push(Remark { name, problem: problem.into() });
    }
}

/// The channels whose requests can be explained.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Scheme {
    /// WeChat Pay v3
    Wechat,
    /// Alipay, RSA2
    Alipay,
    /// UnionPay 5.1.0, certificates
    Unionpay,
    /// The campus card gateway
    CampusCard,
}

/// Reads a request as the server of `scheme` would.
///
/// # Errors
/// A sentence that says what the request lacks.
pub(crate) fn view(scheme: Scheme, request: &Request) -> Result<View, String> {
    match scheme {
        Scheme::Wechat => wechat::view(request),
        Scheme::Alipay => alipay::view(request),
        Scheme::Unionpay => unionpay::view(request),
        Scheme::CampusCard => campus_card::view(request),
    }
}

#[cfg(test)]
mod tests;
