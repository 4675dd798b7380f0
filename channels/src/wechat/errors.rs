//! WeChat's error codes, sorted by what may be done next (protocol section 5).
//!
//! Branches on the code, then on the status, never on the message. Two spellings of each code are live, with
//! and without underscores. A code nobody knows proves nothing.

use domain::{Answer, Refusal, channel::Fault};

use super::client::ErrorWord;

/// What an error code means for the call it answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Meaning {
    /// Refused, nothing done.
    Refused(Fault),
    /// Too fast: nothing done, except that a refund may have been taken.
    TooFast,
    /// No such order, or no such refund.
    NotThere,
    /// Working on it.
    InProgress,
    /// The outcome is unknown.
    Unknown,
}

/// Sorts an error.
pub(super) fn meaning(word: &ErrorWord) -> Meaning {
    let code: String = word.code.chars().filter(|c| *c != '_').map(|c| c.to_ascii_uppercase()).collect();
    match code.as_str() {
        "PARAMERROR" | "INVALIDREQUEST" | "APPIDMCHIDNOTMATCH" | "MCHNOTEXISTS" | "SIGNERROR" | "NOAUTH"
        | "TRADEOVERDUE" | "REFUNDFEEMISMATCH"
        // These two come with status 500 and are not transient all the same.
        | "OPENIDMISMATCH" | "INVALIDTRANSACTIONID" => Meaning::Refused(Fault::Ours),
        "ORDERCLOSED" | "ORDERPAID" | "OUTTRADENOUSED" | "TRADEERROR" => Meaning::Refused(Fault::State),
        "RULELIMIT" | "ACCOUNTERROR" | "USERACCOUNTABNORMAL" => Meaning::Refused(Fault::Payer),
        // The merchant's funds are short: the same refund, under the same number, works once they are not.
        "NOTENOUGH" => Meaning::Refused(Fault::Channel),
        "ORDERNOTEXIST" | "RESOURCENOTEXISTS" => Meaning::NotThere,
        "FREQUENCYLIMITED" | "RATELIMITEXCEEDED" | "RATELIMITEXCEED" => Meaning::TooFast,
        "USERPAYING" => Meaning::InProgress,
        "SYSTEMERROR" | "BANKERROR" | "SERVICEUNAVAILABLE" => Meaning::Unknown,
        _ if word.status == 429 => Meaning::TooFast,
        _ if word.status >= 500 => Meaning::Unknown,
        _ => {
            tracing::warn!(code = word.code, status = word.status, request_id = word.request_id, "a new WeChat code");
            Meaning::Unknown
        }
    }
}

/// A refusal in WeChat's words.
pub(super) fn refusal(word: ErrorWord, fault: Fault) -> Refusal {
    if fault == Fault::Ours {
        // Somebody must change our request or configuration.
        tracing::error!(
            code = word.code,
            message = word.message,
            request_id = word.request_id,
            "WeChat refuses a call"
        );
    }
    let code = if word.code.is_empty() { word.status.to_string() } else { word.code };
    Refusal { code, message: word.message, fault }
}

/// Silence, in WeChat's words.
pub(super) fn silent<A, S>(word: &ErrorWord) -> Answer<A, S> {
    Answer::Silent(format!("{} {} ({})", word.status, word.code, word.request_id))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(status: u16, code: &str) -> Meaning {
        meaning(&ErrorWord { status, code: code.into(), message: String::new(), request_id: String::new() })
    }

    #[test]
    fn both_spellings_mean_the_same() {
        for (a, b) in [
            ("ORDER_CLOSED", "ORDERCLOSED"),
            ("ORDERPAID", "ORDER_PAID"),
            ("NO_AUTH", "NOAUTH"),
            ("NOT_ENOUGH", "NOTENOUGH"),
            ("RULE_LIMIT", "RULELIMIT"),
            ("ACCOUNT_ERROR", "ACCOUNTERROR"),
            ("ORDER_NOT_EXIST", "ORDERNOTEXIST"),
            ("SYSTEM_ERROR", "SYSTEMERROR"),
            ("BANK_ERROR", "BANKERROR"),
            ("RATELIMIT_EXCEEDED", "RATELIMIT_EXCEED"),
        ] {
            assert_eq!(of(400, a), of(400, b), "{a}");
        }
    }

    #[test]
    fn the_code_wins_over_the_status_and_a_new_code_proves_nothing() {
        assert_eq!(of(500, "OPENID_MISMATCH"), Meaning::Refused(Fault::Ours));
        assert_eq!(of(404, "SYSTEM_ERROR"), Meaning::Unknown);
        assert_eq!(of(429, ""), Meaning::TooFast);
        assert_eq!(of(400, "SOMETHING_NEW"), Meaning::Unknown);
        assert_eq!(of(503, ""), Meaning::Unknown);
    }
}
