//! What the backend is told, and when: one announcement for each thing that became certain.

use serde::{Deserialize, Serialize};

use super::{Fact, OrderState, RefundState};
use crate::RefundNo;

/// An announcement: the kind of a webhook and of a line of `/v1/events`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type")]
pub enum Announcement {
    /// Paid.
    #[serde(rename = "order.succeeded")]
    Succeeded,
    /// Not paid, and it will not be.
    #[serde(rename = "order.failed")]
    Failed,
    /// Evidence is missing or contradicts; another announcement will follow.
    #[serde(rename = "order.suspicious")]
    Suspicious,
    /// Money is back at the payer.
    #[serde(rename = "refund.succeeded")]
    RefundSucceeded {
        /// Which refund.
        refund_no: RefundNo,
    },
    /// The channel gave up on a refund; people must act.
    #[serde(rename = "refund.failed")]
    RefundFailed {
        /// Which refund.
        refund_no: RefundNo,
    },
}

impl Announcement {
    /// The webhook's `type`.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Announcement::Succeeded => "order.succeeded",
            Announcement::Failed => "order.failed",
            Announcement::Suspicious => "order.suspicious",
            Announcement::RefundSucceeded { .. } => "refund.succeeded",
            Announcement::RefundFailed { .. } => "refund.failed",
        }
    }
}

/// The announcements that a list of facts calls for.
#[must_use]
pub fn announcements(facts: &[Fact]) -> Vec<Announcement> {
    facts
        .iter()
        .filter_map(|fact| match fact {
            Fact::StateChanged { to: OrderState::Success, .. } => Some(Announcement::Succeeded),
            Fact::StateChanged { to: OrderState::Failed, .. } => Some(Announcement::Failed),
            Fact::StateChanged { to: OrderState::Suspicious, .. } => Some(Announcement::Suspicious),
            Fact::RefundSucceeded { refund_no, .. } => {
                Some(Announcement::RefundSucceeded { refund_no: refund_no.clone() })
            }
            Fact::RefundFailed { refund_no, .. } => {
                Some(Announcement::RefundFailed { refund_no: refund_no.clone() })
            }
            Fact::SpreadEnded { refund_no, to: RefundState::Succeeded, .. } => {
                Some(Announcement::RefundSucceeded { refund_no: refund_no.clone() })
            }
            Fact::SpreadEnded { refund_no, .. } => {
                Some(Announcement::RefundFailed { refund_no: refund_no.clone() })
            }
            Fact::StateChanged { to: OrderState::Pending | OrderState::Processing, .. }
            | Fact::Accepted { .. }
            | Fact::AttemptPlanned { .. }
            | Fact::Exposed { .. }
            | Fact::CloseAsked { .. }
            | Fact::RefundPrebooked { .. }
            | Fact::Certified { .. }
            | Fact::Captured { .. }
            | Fact::Kept { .. }
            | Fact::Tidied { .. }
            | Fact::Disputed { .. }
            | Fact::Corrected { .. }
            | Fact::MadeToWait { .. }
            | Fact::LateWanted
            | Fact::Elsewhere { .. }
            | Fact::Split { .. }
            | Fact::PartMoved { .. }
            | Fact::Recalled { .. }
            | Fact::SpreadBooked { .. }
            | Fact::ShareEnded { .. }
            | Fact::Wished { .. }
            | Fact::Consented { .. }
            | Fact::RefundBooked { .. }
            | Fact::RefundAccepted { .. } => None,
        })
        .collect()
}
