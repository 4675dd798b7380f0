//! The books: double entry in fen, derived from facts.
//!
//! Each transition's postings sum to zero. A channel's account holds what it took and has not given back; the
//! other side is the stall it belongs to, or `surplus/{channel}` for money that pays no order and must go
//! back. Money never passes through an account of the platform, so there is none.

use crate::{
    AttemptNo, Money,
    order::{Fact, Order},
};

/// One line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Posting {
    /// `channel/{id}`, `merchant/{id}` or `surplus/{channel}`.
    pub account: String,
    /// Signed: a channel's account grows when it takes money.
    pub amount_fen: i64,
}

/// The postings of one transition: `facts` led to `next`.
#[must_use]
pub fn postings(facts: &[Fact], next: &Order) -> Vec<Posting> {
    let mut lines = Vec::new();
    for fact in facts {
        match fact {
            Fact::Captured { no, capture, .. } => pair(&mut lines, next, *no, capture.amount, Way::In),
            Fact::Corrected { no, capture, was, .. } => {
                // What was booked before was held, and so stood as surplus.
                if let Some(attempt) = next.attempt(*no) {
                    let surplus = format!("surplus/{}", attempt.channel);
                    lines.push(Posting {
                        account: format!("channel/{}", attempt.channel),
                        amount_fen: -was.fen(),
                    });
                    lines.push(Posting { account: surplus, amount_fen: was.fen() });
                }
                pair(&mut lines, next, *no, capture.amount, Way::In);
            }
            Fact::RefundSucceeded { refund_no, .. } => {
                if let Some(refund) = next.refund(refund_no) {
                    pair(&mut lines, next, refund.attempt, refund.amount, Way::Back);
                }
            }
            Fact::Accepted { .. }
            | Fact::AttemptPlanned { .. }
            | Fact::Exposed { .. }
            | Fact::CloseAsked { .. }
            | Fact::RefundPrebooked { .. }
            | Fact::Certified { .. }
            | Fact::Kept { .. }
            | Fact::Tidied { .. }
            | Fact::Disputed { .. }
            | Fact::MadeToWait { .. }
            | Fact::LateWanted
            | Fact::Elsewhere { .. }
            | Fact::Split { .. }
            | Fact::PartMoved { .. }
            | Fact::Recalled { .. }
            | Fact::SpreadBooked { .. }
            | Fact::ShareEnded { .. }
            | Fact::SpreadEnded { .. }
            | Fact::Wished { .. }
            | Fact::Consented { .. }
            | Fact::RefundBooked { .. }
            | Fact::RefundAccepted { .. }
            | Fact::RefundFailed { .. }
            | Fact::StateChanged { .. } => {}
        }
    }
    lines
}

#[derive(Clone, Copy)]
enum Way {
    In,
    Back,
}

fn pair(lines: &mut Vec<Posting>, order: &Order, no: AttemptNo, amount: Money, way: Way) {
    let Some(attempt) = order.attempt(no) else { return };
    // A capture's side never changes afterwards: what is kept is kept in the same transition.
    let other = if order.kept == Some(no) {
        format!("merchant/{}", order.request.merchant_id)
    } else {
        format!("surplus/{}", attempt.channel)
    };
    let fen = match way {
        Way::In => amount.fen(),
        Way::Back => -amount.fen(),
    };
    lines.push(Posting { account: format!("channel/{}", attempt.channel), amount_fen: fen });
    lines.push(Posting { account: other, amount_fen: -fen });
}
