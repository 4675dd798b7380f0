//! What the payer is told: always one of four true sentences and one next step.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Order, OrderState, PartState, RefundState};
use crate::Timestamp;

/// Which of the four sentences.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TruthCode {
    /// No money was taken, or all of it is back.
    NotCharged,
    /// Money may have moved; we are asking.
    BeingConfirmed,
    /// Money was taken, once, and stays.
    Charged,
    /// Money was taken and is on its way back.
    ChargedComingBack,
}

/// A true sentence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Truth {
    /// Which.
    pub code: TruthCode,
    /// The sentence, in English; pages translate by `code`.
    pub sentence: String,
    /// What the payer does next.
    pub next_step: String,
    /// By when money is back at the latest, by the channels' own promise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub back_by: Option<String>,
}

/// Cards get their money back within three working days; weekends and holidays may lie between.
const BACK_WITHIN: Duration = Duration::from_secs(7 * 24 * 3600);

/// The sentence for an order as it stands.
#[must_use]
pub fn truth(order: &Order) -> Truth {
    if order.is_split() {
        return in_parts(order);
    }
    let going: Vec<_> = order.refunds.iter().filter(|r| !r.state.is_final()).collect();
    let held = order.attempts.iter().any(|a| order.is_held(a));
    let kept = order.kept.and_then(|no| order.attempt(no)).and_then(|a| a.capture.as_ref());
    let all_back = order.captured().fen() > 0 && order.net_captured().is_zero();
    match order.state {
        _ if all_back => {
            say(TruthCode::NotCharged, "The money is back where it came from.", "Nothing to do.")
        }
        OrderState::Success
            if kept.is_some() && order.kept.is_some_and(|no| order.refundable(no).is_zero()) =>
        {
            coming_back(going.iter().map(|r| r.booked_at).max().unwrap_or_default())
        }
        OrderState::Success => match going.iter().find(|r| Some(r.attempt) != order.kept) {
            Some(surplus) => coming_back(surplus.booked_at),
            None if held => say(
                TruthCode::Charged,
                "The payment arrived; a second one could not be sent back yet, and people take care of it.",
                "Nothing to do: the meal is being made.",
            ),
            None => say(TruthCode::Charged, "The payment arrived.", "Nothing to do: the meal is being made."),
        },
        OrderState::Failed => {
            say(TruthCode::NotCharged, "Nothing was charged.", "Order again if you still want it.")
        }
        OrderState::Suspicious => match going.first() {
            Some(refund) => coming_back(refund.booked_at),
            None if held => say(
                TruthCode::BeingConfirmed,
                "Money was taken, but it does not fit the order; people are looking at it.",
                "Don't pay again: it is either accepted or comes back.",
            ),
            None => say(
                TruthCode::BeingConfirmed,
                "The channel has not confirmed yet whether money was taken.",
                "Don't pay again; we keep asking and will tell you.",
            ),
        },
        OrderState::Processing => {
            let next = if order.shown().is_some_and(|a| a.credential.is_some()) {
                "Pay if you have not; the result appears here within seconds."
            } else {
                "Wait a moment; the result appears here within seconds."
            };
            say(TruthCode::BeingConfirmed, "The payment is being confirmed.", next)
        }
        OrderState::Pending if order.waiting_since.is_some() => Truth {
            code: TruthCode::NotCharged,
            sentence: "Nothing was charged: no way to pay can be reached at the moment.".to_owned(),
            next_step: format!(
                "You need not wait here: the order is kept until {} and goes on by itself.",
                order.request.expires_at
            ),
            back_by: None,
        },
        OrderState::Pending => say(
            TruthCode::NotCharged,
            "Nothing was charged yet.",
            "Wait a moment; the way to pay appears here as soon as a channel answers.",
        ),
    }
}

/// The sentence for an order that is paid in parts.
fn in_parts(order: &Order) -> Truth {
    let (of, (paid, paid_amount)) = (order.parts.len(), order.paid_parts());
    let back = |state: RefundState| -> i64 {
        let shares = order.spreads.iter().flat_map(|s| &s.shares);
        shares.filter(|s| s.state == state).map(|s| s.amount.fen()).sum()
    };
    let (gone, going) = (back(RefundState::Succeeded), back(RefundState::Booked));
    match (order.state, order.recalled) {
        (OrderState::Success, _) if gone == order.request.amount.fen() => {
            say(TruthCode::NotCharged, "The money is back where it came from.", "Nothing to do.")
        }
        (OrderState::Success, _) if gone + going == order.request.amount.fen() => {
            coming_back(order.spreads.iter().map(|s| s.booked_at).max().unwrap_or_default())
        }
        (OrderState::Success, _) => {
            say(TruthCode::Charged, "The payment arrived.", "Nothing to do: the meal is being made.")
        }
        (OrderState::Failed, _) if order.parts.iter().any(|p| p.state == PartState::Returned) => say(
            TruthCode::NotCharged,
            "One part of the payment failed; what was paid is back where it came from.",
            "Order again if you still want it.",
        ),
        (OrderState::Failed, _) => {
            say(TruthCode::NotCharged, "Nothing was charged.", "Order again if you still want it.")
        }
        (_, Some((_, since))) if paid > 0 => coming_back(since),
        (OrderState::Suspicious, _) => say(
            TruthCode::BeingConfirmed,
            &format!("{paid} of {of} parts are paid; a channel has not confirmed one of them yet."),
            "Don't pay it again; we keep asking and will tell you.",
        ),
        (OrderState::Pending | OrderState::Processing, _) => {
            let code = if paid == 0 && order.state == OrderState::Pending {
                TruthCode::NotCharged
            } else {
                TruthCode::BeingConfirmed
            };
            let total = order.request.amount;
            let sentence = if paid == 0 {
                format!("The payment of {total} yuan is made in {of} parts; none is paid yet.")
            } else {
                format!("{paid} of {of} parts are paid: {paid_amount} of {total} yuan.")
            };
            let next = match order.current_part() {
                Some(part) => format!(
                    "Pay part {} of {of} ({} yuan); if one part fails, all that was paid comes back.",
                    part.no, part.amount
                ),
                None => "Wait a moment.".to_owned(),
            };
            say(code, &sentence, &next)
        }
    }
}

fn say(code: TruthCode, sentence: &str, next_step: &str) -> Truth {
    Truth { code, sentence: sentence.to_owned(), next_step: next_step.to_owned(), back_by: None }
}

fn coming_back(since: Timestamp) -> Truth {
    let by = since.plus(BACK_WITHIN);
    Truth {
        code: TruthCode::ChargedComingBack,
        sentence: format!("Money was charged and is coming back by {by}."),
        next_step: "Nothing to do: it returns to the account it came from.".to_owned(),
        back_by: Some(by.to_string()),
    }
}
