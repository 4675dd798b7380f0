//! Money at a channel that no row of ours knows, and that operators have dealt with: a store that was restored from a
//! copy will never know the orders behind it. Reconciliation's record explains a line of the channel's books by channel,
//! number and fen; one fen off explains nothing.

use std::collections::{BTreeMap, HashMap};

use serde::{Deserialize, Serialize};

use super::{ChannelLine, Violation};

/// What became of a line that no row of ours knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Explained {
    /// A payment that a fix sent back.
    PaymentSentBack,
    /// The refund that a fix sent: the channel must have it.
    RefundByFix,
    /// A payment that operators accepted, with a reason.
    PaymentWrittenOff,
    /// A refund that operators accepted, with a reason.
    RefundWrittenOff,
}

impl Explained {
    /// For people.
    #[must_use]
    pub const fn in_words(self) -> &'static str {
        match self {
            Explained::PaymentSentBack => "payments sent back by operators",
            Explained::RefundByFix => "refunds that operators sent",
            Explained::PaymentWrittenOff => "payments written off by operators",
            Explained::RefundWrittenOff => "refunds written off by operators",
        }
    }

    const fn line_kind(self) -> &'static str {
        match self {
            Explained::PaymentSentBack | Explained::PaymentWrittenOff => "capture",
            Explained::RefundByFix | Explained::RefundWrittenOff => "refund",
        }
    }
}

/// Reconciliation's record of one number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    /// At which channel.
    pub channel: String,
    /// A channel order number, or a refund number.
    pub number: String,
    /// How much, exactly.
    pub fen: i64,
    /// What became of it.
    pub how: Explained,
}

/// Lines of one kind that were explained.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counted {
    /// How many.
    pub lines: u64,
    /// Their sum.
    pub fen: i64,
}

type Key = (String, &'static str, String);

/// The record, and what of it the channels' books have shown.
#[derive(Debug, Default)]
pub(super) struct Record {
    by_number: HashMap<Key, Vec<(Explanation, bool)>>,
    pub(super) counted: BTreeMap<Explained, Counted>,
}

impl Record {
    pub(super) fn add(&mut self, explanation: Explanation) {
        let key = (explanation.channel.clone(), explanation.how.line_kind(), explanation.number.clone());
        self.by_number.entry(key).or_default().push((explanation, false));
    }

    /// Whether the record explains a line that no row of ours knows. Each entry explains one line.
    ///
    /// # Errors
    /// What the record has instead, to be said with the violation; empty if it has nothing.
    pub(super) fn explains(&mut self, line: &ChannelLine) -> Result<(), String> {
        let (kind, number) = match (line.kind.as_str(), &line.refund_no) {
            ("refund", Some(refund_no)) => ("refund", refund_no),
            _ => ("capture", &line.channel_order_no),
        };
        let key = (line.channel.clone(), kind, number.clone());
        let Some(entries) = self.by_number.get_mut(&key) else { return Err(String::new()) };
        let Some((entry, seen)) = entries.iter_mut().find(|(e, seen)| e.fen == line.amount_fen && !*seen)
        else {
            let known: Vec<String> = entries.iter().map(|(e, _)| format!("{} fen", e.fen)).collect();
            return Err(format!("; reconciliation has it on record once, with {}", known.join(" and ")));
        };
        *seen = true;
        let counted = self.counted.entry(entry.how).or_default();
        counted.lines += 1;
        counted.fen = counted.fen.saturating_add(line.amount_fen);
        Ok(())
    }

    /// Refunds that fixes sent and that no line said: the money is still there.
    pub(super) fn missing(&self) -> Vec<Violation> {
        let all = self.by_number.values().flatten();
        let mut missing: Vec<&Explanation> =
            all.filter(|(e, seen)| e.how == Explained::RefundByFix && !seen).map(|(e, _)| e).collect();
        missing.sort_by(|a, b| a.number.cmp(&b.number));
        let violation = |e: &Explanation| {
            let detail = format!(
                "reconciliation sent {} fen back under {}, which {} does not have",
                e.fen, e.number, e.channel
            );
            Violation::general("unknown_at_channel", detail)
        };
        missing.into_iter().map(violation).collect()
    }
}
