//! Bills that disagree with the channel's own books, line by line, on command.
//!
//! A line is named by the merchant's number of its trade or refund. The sums of a file agree with its lines, as a
//! channel's would: what is wrong is what it says, and not how it adds up. The books stay as they are.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// How a channel's bills are wrong.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BillFaults {
    /// No bill exists yet.
    pub not_ready: bool,
    /// The file ends in the middle.
    pub truncated: bool,
    /// The announced hash is not the file's. WeChat Pay only: no other channel announces one.
    pub wrong_hash: bool,
    /// Lines that are missing.
    pub dropped: Vec<String>,
    /// Lines with another amount, in fen.
    pub amounts: BTreeMap<String, i64>,
    /// Lines with another fee, in fen.
    pub fees: BTreeMap<String, i64>,
    /// Trades with a second line that takes them back. WeChat Pay and the campus card only.
    pub reversed: Vec<String>,
    /// Lines that stand there once more, under another number.
    pub foreign: BTreeMap<String, String>,
}

/// A line as the bill shows it.
pub(crate) struct Shown {
    pub(crate) number: String,
    pub(crate) amount: i64,
    pub(crate) fee: i64,
}

impl BillFaults {
    /// What the bill shows of a line: nothing, itself, or itself and a foreign one.
    pub(crate) fn shown(&self, number: &str, amount: i64, fee: i64) -> Vec<Shown> {
        if self.dropped.iter().any(|dropped| dropped == number) {
            return Vec::new();
        }
        let amount = self.amounts.get(number).copied().unwrap_or(amount);
        let fee = self.fees.get(number).copied().unwrap_or(fee);
        let numbers = std::iter::once(number).chain(self.foreign.get(number).map(String::as_str));
        numbers.map(|number| Shown { number: number.to_owned(), amount, fee }).collect()
    }

    /// Whether a trade is taken back on the bill.
    pub(crate) fn reverses(&self, number: &str) -> bool {
        self.reversed.iter().any(|reversed| reversed == number)
    }

    /// The file, or its first half.
    pub(crate) fn cut(&self, mut file: Vec<u8>) -> Vec<u8> {
        if self.truncated {
            file.truncate(file.len() / 2);
        }
        file
    }
}
