//! Refunds that were taken over from a channel's bill, beside what the backend asks for afterwards.
//!
//! A bill does not say under which number the backend had asked. A request under a number that the order does not know
//! may then be the old one, repeated: booked again, the payer would get the money twice. Only the amount can tell, since
//! a repeat has the same body; so a request of that amount waits for the backend's word that it means another refund.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use super::{Order, Refund, Spread};
use crate::{Money, RefundNo, Timestamp};

/// A refund that a bill told us of; which number the backend had given it is not known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TakenOver {
    /// Its number, as the order shows it.
    pub no: RefundNo,
    /// How much.
    pub amount: Money,
    /// When, by the channel's clock; none where an earlier version of the rules did not keep it.
    pub at: Option<Timestamp>,
}

impl fmt::Display for TakenOver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {} fen", self.no, self.amount.fen())?;
        self.at.map_or(Ok(()), |at| write!(f, ", {at} by the channel's clock"))
    }
}

/// Several of them in a sentence.
pub(super) fn in_words(refunds: &[TakenOver]) -> String {
    refunds.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

impl From<&Refund> for TakenOver {
    fn from(refund: &Refund) -> TakenOver {
        TakenOver { no: refund.no.clone(), amount: refund.amount, at: refund.done_at }
    }
}

impl From<&Spread> for TakenOver {
    fn from(spread: &Spread) -> TakenOver {
        TakenOver { no: spread.no.clone(), amount: spread.amount, at: spread.done_at }
    }
}

impl Order {
    /// What was taken over and may be the very refund that a request for `amount` under an unknown number means: all of
    /// exactly that amount. Empty if nothing may be. The order keeps no memory of what it has answered: whichever request
    /// came first, the lost one may still be repeated.
    pub(super) fn may_mean(&self, amount: Money) -> Vec<TakenOver> {
        if self.is_split() {
            return self.spreads_that_may_mean(amount);
        }
        self.adopted_refunds().filter(|r| r.amount == amount).map(TakenOver::from).collect()
    }

    /// A refund of an order in parts stood on the bills once for each part that gave a share of it, so it came back as
    /// several: all that come to the amount, alone or with others, at most one of each part.
    fn spreads_that_may_mean(&self, amount: Money) -> Vec<TakenOver> {
        let taken_over = || self.spreads.iter().filter(|s| s.asked_as().is_none());
        // For each sum, whatever has a share in a way to it; so there are never more than the amount has fen.
        let mut sums: BTreeMap<i64, BTreeSet<&RefundNo>> = BTreeMap::from([(0, BTreeSet::new())]);
        for part in &self.parts {
            let before = sums.clone();
            for spread in taken_over().filter(|s| s.shares.iter().any(|share| share.part == part.no)) {
                for (sum, others) in &before {
                    let sum = sum.saturating_add(spread.amount.fen());
                    if sum <= amount.fen() {
                        sums.entry(sum).or_default().extend(others.iter().copied().chain([&spread.no]));
                    }
                }
            }
        }
        let named = sums.remove(&amount.fen()).unwrap_or_default();
        taken_over().filter(|s| named.contains(&s.no)).map(TakenOver::from).collect()
    }
}
