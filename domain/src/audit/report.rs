//! What an audit found.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Counted, Explained};

/// So many violations are kept in full; beyond, they are counted, so that a ruined store fits in memory.
const KEPT: usize = 10_000;

/// What contradicts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Violation {
    /// A stable word.
    pub code: String,
    /// The order, if it is about one.
    pub order: Option<String>,
    /// Table and row, where one row is at fault: `books, version 4, line 1`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<String>,
    /// A sentence with the numbers.
    pub detail: String,
}

impl Violation {
    /// About an order as a whole.
    #[must_use]
    pub fn of(code: &str, order: &str, detail: String) -> Violation {
        Violation { code: code.to_owned(), order: Some(order.to_owned()), place: None, detail }
    }

    /// About one row of an order.
    #[must_use]
    pub fn at(code: &str, order: &str, place: String, detail: String) -> Violation {
        Violation { place: Some(place), ..Violation::of(code, order, detail) }
    }

    /// About no order.
    #[must_use]
    pub fn general(code: &str, detail: String) -> Violation {
        Violation { code: code.to_owned(), order: None, place: None, detail }
    }
}

/// The audit's result.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditReport {
    /// True if nothing contradicts.
    pub clean: bool,
    /// Orders read.
    pub orders: u64,
    /// By state.
    pub states: BTreeMap<String, u64>,
    /// Attempts read.
    pub attempts: u64,
    /// Transitions read; each is a link of a chain that was recomputed.
    #[serde(default)]
    pub events: u64,
    /// Captured, by our rows.
    pub captured_fen: i64,
    /// Given back, by our rows.
    pub refunded_fen: i64,
    /// Orders that still owe something; not a violation.
    pub open: u64,
    /// Lines of the channels' books that were compared; none means they were not at hand.
    pub channel_lines: Option<u64>,
    /// Of these, lines that no row of ours knows and that operators have dealt with.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub explained: BTreeMap<Explained, Counted>,
    /// What contradicts.
    pub violations: Vec<Violation>,
    /// Violations beyond those that are listed.
    #[serde(default)]
    pub more_violations: u64,
}

impl AuditReport {
    /// Adds a violation, or counts it.
    pub fn violated(&mut self, violation: Violation) {
        if self.violations.len() < KEPT {
            self.violations.push(violation);
        } else {
            self.more_violations += 1;
        }
    }

    /// All violations, listed or counted.
    #[must_use]
    pub fn violations_total(&self) -> u64 {
        u64::try_from(self.violations.len()).unwrap_or(u64::MAX).saturating_add(self.more_violations)
    }
}
