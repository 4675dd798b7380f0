//! Money going back over the channel that took it.
//!
//! A refund keeps its number for ever, so that a repeat is the same request. It is repeated until the
//! channel gives a final word; a final "no" leaves it on the operators' list, never forgotten.

use serde::{Deserialize, Serialize};

use crate::{AttemptNo, Money, RefundNo, Timestamp};

/// Why money goes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RefundCause {
    /// The backend asked.
    Asked,
    /// The order was paid already.
    SecondCapture,
    /// The channel took another amount than was ordered.
    AmountDiffers,
    /// The order had failed already.
    AfterFailure,
}

impl RefundCause {
    /// Told to the payer by the channel, where the backend gave no words.
    #[must_use]
    pub const fn in_words(self) -> &'static str {
        match self {
            RefundCause::Asked => "refund",
            RefundCause::SecondCapture => "paid twice",
            RefundCause::AmountDiffers => "payment of another amount",
            RefundCause::AfterFailure => "late payment",
        }
    }
}

/// Where a refund stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RefundState {
    /// Decided and durable; the channel has not confirmed it.
    Booked,
    /// The channel works on it.
    Processing,
    /// The money is back.
    Succeeded,
    /// The channel gave up; people must act.
    Failed,
}

impl RefundState {
    /// The word used in the API and the store.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            RefundState::Booked => "booked",
            RefundState::Processing => "processing",
            RefundState::Succeeded => "succeeded",
            RefundState::Failed => "failed",
        }
    }

    /// True when the channel has said its last word.
    #[must_use]
    pub const fn is_final(self) -> bool {
        matches!(self, RefundState::Succeeded | RefundState::Failed)
    }
}

/// One refund.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refund {
    /// Its number at the channel.
    pub no: RefundNo,
    /// The attempt whose money it gives back.
    pub attempt: AttemptNo,
    /// How much.
    pub amount: Money,
    /// Why.
    pub cause: RefundCause,
    /// The backend's own number, if the backend asked.
    pub backend_no: Option<String>,
    /// Text for the payer.
    pub reason: String,
    /// Where it stands.
    pub state: RefundState,
    /// When it was decided.
    pub booked_at: Timestamp,
    /// When the money was back, by the channel's clock.
    pub done_at: Option<Timestamp>,
    /// The channel's own number, once known.
    pub channel_refund_id: Option<String>,
    /// The channel's code, if it gave up.
    pub fail_code: Option<String>,
}
