//! Fixes: what is prepared for a difference, who must confirm it, and where it stands.
//!
//! A fix is confirmed by an operator, above an amount by a second one, and committed before it is carried out. It ends
//! fixed or written off; one that no longer applies is stale, and nothing is done.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// What ends a difference.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fix {
    /// The order is told what the bill says, as evidence; the ordinary rules then keep the money or send it back.
    Mark,
    /// Money goes back over the channel under a number of its own.
    Refund,
    /// The difference is accepted, with a reason.
    WriteOff,
}

impl Fix {
    /// The word in the store and the API.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Fix::Mark => "mark",
            Fix::Refund => "refund",
            Fix::WriteOff => "write_off",
        }
    }

    /// The fix behind a word.
    #[must_use]
    pub fn parse(word: &str) -> Option<Fix> {
        [Fix::Mark, Fix::Refund, Fix::WriteOff].into_iter().find(|fix| fix.as_str() == word)
    }
}

/// Where a difference stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DifferenceState {
    /// Close to the day's end: it may stand on the neighbouring day's bill, which is not read yet.
    Waiting,
    /// Nobody has acted.
    Open,
    /// One operator confirmed; the amount needs a second one.
    ConfirmedOnce,
    /// Confirmed and committed; being carried out, and repeated under the same number until it is final.
    Fixing,
    /// Done.
    Fixed,
    /// Accepted with a reason.
    WrittenOff,
    /// The neighbouring bill, or news of the order, explained it.
    Resolved,
    /// The fix no longer applied when somebody confirmed it.
    Stale,
}

impl DifferenceState {
    /// Every state.
    pub const ALL: [DifferenceState; 8] = [
        DifferenceState::Waiting,
        DifferenceState::Open,
        DifferenceState::ConfirmedOnce,
        DifferenceState::Fixing,
        DifferenceState::Fixed,
        DifferenceState::WrittenOff,
        DifferenceState::Resolved,
        DifferenceState::Stale,
    ];

    /// The word in the store and the API.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            DifferenceState::Waiting => "waiting",
            DifferenceState::Open => "open",
            DifferenceState::ConfirmedOnce => "confirmed_once",
            DifferenceState::Fixing => "fixing",
            DifferenceState::Fixed => "fixed",
            DifferenceState::WrittenOff => "written_off",
            DifferenceState::Resolved => "resolved",
            DifferenceState::Stale => "stale",
        }
    }

    /// The state behind a word.
    #[must_use]
    pub fn parse(word: &str) -> Option<DifferenceState> {
        DifferenceState::ALL.into_iter().find(|state| state.as_str() == word)
    }

    /// True while somebody must still act, or a fix is under way.
    #[must_use]
    pub const fn counts(self) -> bool {
        matches!(self, DifferenceState::Open | DifferenceState::ConfirmedOnce | DifferenceState::Fixing)
    }
}

/// A confirmed fix without a final word for so long is shown to people. It is not failed: it goes on.
pub const OVERDUE_AFTER: Duration = Duration::from_secs(24 * 3_600);

/// What a confirmation leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Confirmed {
    /// It is kept; a second operator must confirm.
    Once,
    /// The fix may be carried out.
    Enough,
}

/// Why a confirmation does not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unconfirmed {
    /// The difference is beyond confirming.
    #[error("the difference is {}", .0.as_str())]
    NotOpen(DifferenceState),
    /// The same operator confirmed before.
    #[error("a second operator must confirm")]
    SameOperator,
    /// The first operator confirmed another fix.
    #[error("the first operator confirmed {}", .0.as_str())]
    OtherFix(Fix),
}

/// Whether `operator` may confirm: `first` is who confirmed which fix before.
///
/// # Errors
/// [`Unconfirmed`]; nothing is to be stored.
pub fn confirm(
    state: DifferenceState,
    fen: i64,
    second_above_fen: i64,
    first: Option<(&str, Fix)>,
    operator: &str,
    fix: Fix,
) -> Result<Confirmed, Unconfirmed> {
    match (state, first) {
        (DifferenceState::Open, _) if fen > second_above_fen => Ok(Confirmed::Once),
        (DifferenceState::Open, _) => Ok(Confirmed::Enough),
        (DifferenceState::ConfirmedOnce, Some((name, _))) if name == operator => {
            Err(Unconfirmed::SameOperator)
        }
        (DifferenceState::ConfirmedOnce, Some((_, other))) if other != fix => {
            Err(Unconfirmed::OtherFix(other))
        }
        (DifferenceState::ConfirmedOnce, _) => Ok(Confirmed::Enough),
        (
            DifferenceState::Waiting
            | DifferenceState::Fixing
            | DifferenceState::Fixed
            | DifferenceState::WrittenOff
            | DifferenceState::Resolved
            | DifferenceState::Stale,
            _,
        ) => Err(Unconfirmed::NotOpen(state)),
    }
}

#[cfg(test)]
mod tests {
    use super::{Confirmed as C, DifferenceState as S, Unconfirmed as U, *};

    #[test]
    fn words_read_back() {
        for state in S::ALL {
            assert_eq!(S::parse(state.as_str()), Some(state));
        }
        for fix in [Fix::Mark, Fix::Refund, Fix::WriteOff] {
            assert_eq!(Fix::parse(fix.as_str()), Some(fix));
        }
    }

    #[test]
    fn above_an_amount_a_second_operator_confirms_the_same_fix() {
        let ask = |state, fen, first, who, fix| confirm(state, fen, 1_000, first, who, fix);
        assert_eq!(ask(S::Open, 1_000, None, "maria", Fix::Mark), Ok(C::Enough));
        assert_eq!(ask(S::Open, 1_001, None, "maria", Fix::Mark), Ok(C::Once));
        let first = Some(("maria", Fix::Mark));
        assert_eq!(ask(S::ConfirmedOnce, 1_001, first, "maria", Fix::Mark), Err(U::SameOperator));
        assert_eq!(ask(S::ConfirmedOnce, 1_001, first, "chen", Fix::Refund), Err(U::OtherFix(Fix::Mark)));
        assert_eq!(ask(S::ConfirmedOnce, 1_001, first, "chen", Fix::Mark), Ok(C::Enough));
        for state in [S::Waiting, S::Fixing, S::Fixed, S::WrittenOff, S::Resolved, S::Stale] {
            assert_eq!(ask(state, 1, None, "maria", Fix::Mark), Err(U::NotOpen(state)));
        }
    }
}
