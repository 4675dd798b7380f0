//! Money in integer fen (CNY). Never a float, never negative where an amount is meant.
//!
//! Arithmetic is checked: an overflow is an error the caller sees, not a wrapped balance. Channels that
//! speak yuan ("12.30") convert at their own border.

use std::fmt;

use serde::{Deserialize, Serialize};

/// An amount in fen, zero or more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(try_from = "i64", into = "i64")]
pub struct Money(i64);

/// Why an amount could not be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MoneyError {
    /// Amounts are zero or more; direction is carried by what the amount is used for.
    #[error("an amount is zero or more fen, got {0}")]
    Negative(i64),
    /// The sum or difference does not fit, or would fall below zero.
    #[error("the amount is out of range")]
    OutOfRange,
}

impl Money {
    /// Nothing.
    pub const ZERO: Money = Money(0);

    /// `fen` as an amount; refuses negative numbers.
    pub const fn from_fen(fen: i64) -> Result<Money, MoneyError> {
        if fen < 0 { Err(MoneyError::Negative(fen)) } else { Ok(Money(fen)) }
    }

    /// The amount in fen.
    #[must_use]
    pub const fn fen(self) -> i64 {
        self.0
    }

    /// True for zero fen.
    #[must_use]
    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }

    /// The sum, or `OutOfRange`.
    pub fn checked_add(self, other: Money) -> Result<Money, MoneyError> {
        self.0.checked_add(other.0).map(Money).ok_or(MoneyError::OutOfRange)
    }

    /// The difference, or `OutOfRange` when it would be below zero.
    pub fn checked_sub(self, other: Money) -> Result<Money, MoneyError> {
        match self.0.checked_sub(other.0) {
            Some(fen) if fen >= 0 => Ok(Money(fen)),
            _ => Err(MoneyError::OutOfRange),
        }
    }

    /// The sum of many amounts, or `OutOfRange`.
    pub fn sum(amounts: impl IntoIterator<Item = Money>) -> Result<Money, MoneyError> {
        amounts.into_iter().try_fold(Money::ZERO, Money::checked_add)
    }
}

impl TryFrom<i64> for Money {
    type Error = MoneyError;

    fn try_from(fen: i64) -> Result<Money, MoneyError> {
        Money::from_fen(fen)
    }
}

impl From<Money> for i64 {
    fn from(money: Money) -> i64 {
        money.0
    }
}

/// Yuan with two decimals, for people: `18.50`.
impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:02}", self.0 / 100, self.0 % 100)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_amount_is_never_negative_and_never_wraps() {
        let ten = Money::from_fen(10).unwrap();
        assert_eq!(Money::from_fen(-1), Err(MoneyError::Negative(-1)));
        assert_eq!(Money::ZERO.checked_sub(ten), Err(MoneyError::OutOfRange));
        assert_eq!(Money(i64::MAX).checked_add(ten), Err(MoneyError::OutOfRange));
        assert_eq!(Money::sum([ten, ten]).unwrap().fen(), 20);
        assert!(serde_json::from_str::<Money>("12.5").is_err());
        assert!(serde_json::from_str::<Money>("-5").is_err());
        assert_eq!(ten.to_string(), "0.10");
    }
}
