//! What a payer sees after acting on a credential, whatever the channel.

use domain::Timestamp;

/// The outcome.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Outcome {
    /// Money moved.
    Paid { trade_no: String, at: Timestamp },
    /// It did not; the word says why.
    Refused(&'static str),
}
