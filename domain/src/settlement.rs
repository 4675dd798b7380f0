//! Settlement: what a channel holds frozen is split among receivers by the channel's own profit sharing (分账).
//!
//! Owns the words of it, which all channels that can do it share. Money never passes through an account of ours: a
//! channel pays each receiver itself, and what is not split goes to the merchant once it is released. Knows no schedule:
//! when to split, and how much, is the settler's business. A number is a request's idempotency key, as everywhere.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{Answer, Money, SplitNo, Timestamp, channel::RefundAnswer};

/// Whom money can be split to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReceiverKind {
    /// A merchant of the channel, by its merchant number.
    Merchant,
    /// A person, by the id that the channel gives them.
    Person,
}

/// A receiver, known to the channel before the first split.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receiver {
    /// Whom.
    pub kind: ReceiverKind,
    /// The number or id at the channel.
    pub account: String,
    /// The registered name. A channel may want it for merchants and compare it for persons; sealed on the way.
    pub name: Option<String>,
}

/// One receiver's part of a split.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// Whom.
    pub receiver: Receiver,
    /// How much, above zero.
    pub amount: Money,
    /// Shown to the receiver.
    pub description: String,
}

/// Whether more splits may follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rest {
    /// The rest stays frozen.
    Kept,
    /// The rest goes to the merchant; no split may follow.
    Released,
}

/// A split, ready for the wire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SplitAsk {
    /// Its own number; a repeat with the same parts is the same split.
    pub split_no: SplitNo,
    /// The channel's own number of the trade whose money is split.
    pub trade_no: String,
    /// The parts, each receiver at most once.
    pub parts: Vec<Part>,
    /// What becomes of the rest.
    pub rest: Rest,
}

/// What a channel allows, as its pages say it. The channel itself has the last word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SettlementLimits {
    /// Parts of one split.
    pub parts: usize,
    /// Splits of one trade.
    pub splits: usize,
    /// The share of a trade's amount that may be split, percent.
    pub share_percent: u8,
    /// Not before this long after the payment.
    pub not_before: Duration,
    /// Within this time after the payment; then the channel releases the rest by itself.
    pub within: Duration,
}

impl SplitAsk {
    /// Everything that the parts add up to; `None` if that is no amount.
    #[must_use]
    pub fn total(&self) -> Option<Money> {
        self.parts.iter().try_fold(Money::default(), |sum, part| sum.checked_add(part.amount).ok())
    }

    /// What is wrong with it before any channel is asked.
    #[must_use]
    pub fn fault(&self, limits: &SettlementLimits) -> Option<&'static str> {
        let twice = |n: usize, part: &Part| {
            let same = |other: &Part| {
                (other.receiver.kind, &other.receiver.account) == (part.receiver.kind, &part.receiver.account)
            };
            self.parts.iter().take(n).any(same)
        };
        if self.trade_no.is_empty() {
            Some("the trade has no number at the channel")
        } else if self.parts.is_empty() || self.parts.len() > limits.parts {
            Some("too few or too many parts for one split")
        } else if self.parts.iter().any(|part| part.amount.fen() < 1) || self.total().is_none() {
            Some("a part is not 1 fen or more, or the sum is no amount")
        } else if self
            .parts
            .iter()
            .any(|part| part.receiver.account.is_empty() || part.description.is_empty())
        {
            Some("a part lacks its receiver or its description")
        } else if self.parts.iter().enumerate().any(|(n, part)| twice(n, part)) {
            Some("a receiver stands in it twice")
        } else {
            None
        }
    }
}

/// Names a split when it is asked about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SplitKey {
    /// Its number.
    pub split_no: SplitNo,
    /// The channel's own number of the trade.
    pub trade_no: String,
}

/// A receiver gives a part back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReturnAsk {
    /// Its own number: the idempotency key.
    pub return_no: SplitNo,
    /// The split whose part it is.
    pub split_no: SplitNo,
    /// The receiver, a merchant.
    pub account: String,
    /// How much.
    pub amount: Money,
    /// Shown to the receiver.
    pub description: String,
}

/// Why a split is not finished yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SplitProgress {
    /// The channel works on it.
    Processing,
    /// The channel does not know the number: send the same request again.
    NotFound,
}

/// The channel's final word on a split. Each part can fail alone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SplitFound {
    /// The channel's own number of the split, if it has one.
    pub channel_split_id: String,
    /// What became of each part, in the channel's order. After a release the rest may stand among them, as the
    /// merchant's own part.
    pub parts: Vec<PartFound>,
}

/// What became of one part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartFound {
    /// The receiver's account.
    pub account: String,
    /// How much.
    pub amount: Money,
    /// How it ended.
    pub outcome: PartOutcome,
}

/// How a part ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum PartOutcome {
    /// The receiver has it.
    Paid {
        /// When, by the channel's clock.
        at: Timestamp,
    },
    /// It stays frozen, or went to the merchant with the rest.
    Failed {
        /// The channel's code.
        code: String,
    },
}

/// Adding or removing a receiver.
pub type ReceiverAnswer = Answer<(), ()>;
/// Split, release, and their query: in progress, or the final word.
pub type SplitAnswer = Answer<SplitProgress, SplitFound>;
/// What is still frozen of a trade.
pub type RemainingAnswer = Answer<(), Money>;
/// A part given back: the words of a refund.
pub type ReturnAnswer = RefundAnswer;

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: SettlementLimits = SettlementLimits {
        parts: 2,
        splits: 50,
        share_percent: 30,
        not_before: Duration::from_secs(60),
        within: Duration::from_secs(30 * 86_400),
    };

    fn part(account: &str, fen: i64) -> Part {
        let receiver = Receiver {
            kind: ReceiverKind::Merchant,
            account: account.to_owned(),
            name: Some("食堂".to_owned()),
        };
        Part { receiver, amount: Money::from_fen(fen).unwrap(), description: "meals".to_owned() }
    }

    fn ask(parts: Vec<Part>) -> SplitAsk {
        let split_no = SplitNo::new("s1").unwrap();
        SplitAsk { split_no, trade_no: "T1".to_owned(), parts, rest: Rest::Kept }
    }

    #[test]
    fn each_fault_is_found_before_a_channel_is_asked() {
        assert_eq!(ask(vec![part("a", 1), part("b", 2)]).fault(&LIMITS), None);
        assert_eq!(ask(vec![part("a", 1), part("b", 2)]).total().unwrap().fen(), 3);
        let nameless = SplitAsk { trade_no: String::new(), ..ask(vec![part("a", 1)]) };
        let mut silent = ask(vec![part("a", 1)]);
        silent.parts[0].description.clear();
        for (ask, word) in [
            (ask(vec![]), "too few"),
            (ask(vec![part("a", 1), part("b", 1), part("c", 1)]), "too many"),
            (ask(vec![part("a", 0)]), "1 fen"),
            (ask(vec![part("a", i64::MAX), part("b", 1)]), "no amount"),
            (ask(vec![part("", 1)]), "receiver"),
            (ask(vec![part("a", 1), part("a", 2)]), "twice"),
            (nameless, "no number"),
            (silent, "description"),
        ] {
            assert!(
                ask.fault(&LIMITS).is_some_and(|fault| fault.contains(word)),
                "{word}: {:?}",
                ask.fault(&LIMITS)
            );
        }
        let mut other = ask(vec![part("a", 1), part("a", 2)]);
        other.parts[1].receiver.kind = ReceiverKind::Person;
        assert_eq!(other.fault(&LIMITS), None, "the same text names someone else");
    }
}
