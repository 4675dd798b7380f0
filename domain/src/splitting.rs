//! Cutting an amount above a channel's limit into parts that are each paid as an order of their own.
//!
//! The parts sum to the amount exactly, are as few as possible, and differ by at most one fen, so that no
//! payer is asked for a last fen. Which limit applies, and what becomes of the parts, is left to others.

use crate::{Money, channel::ChannelProfile, order::OrderRequest};

/// How many parts an amount may be cut into: a payer has to pay each of them.
pub const PARTS_MAX: i64 = 20;

/// Why an amount cannot be split.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SplitError {
    /// There is nothing to pay.
    #[error("an amount of zero cannot be split")]
    NothingToSplit,
    /// The limit lets nothing through.
    #[error("the limit of one payment is zero")]
    NoLimit,
    /// More payments than anybody should be asked for.
    #[error(
        "{amount} yuan would take {parts} payments of at most {limit} yuan; at most {PARTS_MAX} are allowed"
    )]
    TooManyParts {
        /// The amount.
        amount: Money,
        /// The limit of one payment.
        limit: Money,
        /// How many parts it would take.
        parts: i64,
    },
}

/// Cuts `amount` into the fewest parts of at most `limit`, as even as whole fen allow, largest first.
/// An amount within the limit is one part. The same arguments always give the same parts.
///
/// # Errors
/// By cause, see [`SplitError`]; none of them goes away by asking again.
pub fn split(amount: Money, limit: Money) -> Result<Vec<Money>, SplitError> {
    if amount.is_zero() {
        return Err(SplitError::NothingToSplit);
    }
    if limit.is_zero() {
        return Err(SplitError::NoLimit);
    }
    let (total, most) = (amount.fen(), limit.fen());
    let parts = total / most + i64::from(total % most != 0);
    if parts > PARTS_MAX {
        return Err(SplitError::TooManyParts { amount, limit, parts });
    }
    // The first `rest` parts carry one fen more. `each + 1` stays within the limit whenever there is a rest,
    // since `parts` parts of the limit hold the total.
    let (each, rest) = (total / parts, total % parts);
    Ok((0..parts).filter_map(|n| Money::from_fen(each + i64::from(n < rest)).ok()).collect())
}

/// The largest amount that one payment of this order can have: the best limit among the channels that it can use.
/// Zero if it can use none.
#[must_use]
pub fn limit_of<'p>(request: &OrderRequest, profiles: impl Iterator<Item = &'p ChannelProfile>) -> Money {
    let limit = |p: &ChannelProfile| p.limit_for(&request.payer.account_type, request.scene);
    profiles.filter(|p| request.may_use(p)).map(limit).max().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn fen(fen: i64) -> Money {
        Money::from_fen(fen).unwrap()
    }

    #[test]
    fn parts_are_even_and_there_is_no_tail_of_a_fen() {
        let cases = [
            (100_000, 100_000, vec![100_000]),
            (100_001, 100_000, vec![50_001, 50_000]),
            (1, 100_000, vec![1]),
            (250_000, 100_000, vec![83_334, 83_333, 83_333]),
            (300_000, 100_000, vec![100_000, 100_000, 100_000]),
            (20, 1, vec![1; 20]),
        ];
        for (amount, limit, parts) in cases {
            let parts: Vec<Money> = parts.into_iter().map(fen).collect();
            assert_eq!(split(fen(amount), fen(limit)), Ok(parts), "{amount} by {limit}");
        }
    }

    #[test]
    fn what_cannot_be_split_says_why() {
        assert_eq!(split(Money::ZERO, fen(5)), Err(SplitError::NothingToSplit));
        assert_eq!(split(fen(5), Money::ZERO), Err(SplitError::NoLimit));
        let error = split(fen(21), fen(1)).unwrap_err();
        assert_eq!(error, SplitError::TooManyParts { amount: fen(21), limit: fen(1), parts: 21 });
        assert_eq!(
            error.to_string(),
            "0.21 yuan would take 21 payments of at most 0.01 yuan; at most 20 are allowed"
        );
    }

    proptest! {
        #[test]
        fn no_fen_is_lost_and_no_part_is_too_large_too_many_or_uneven(
            limit in 1..=i64::MAX, share in 1..=PARTS_MAX, off in any::<i64>(),
        ) {
            let top = limit.saturating_mul(share);
            let total = (1 + off.rem_euclid(top)).min(top);
            let parts = split(fen(total), fen(limit)).unwrap();
            prop_assert_eq!(parts.iter().map(|p| i128::from(p.fen())).sum::<i128>(), i128::from(total));
            prop_assert!(parts.iter().all(|p| !p.is_zero() && p.fen() <= limit));
            let spread = parts.iter().max().unwrap().fen() - parts.iter().min().unwrap().fen();
            prop_assert!(spread <= 1);
            // One part fewer could not hold the amount.
            let fewer = i128::from(limit) * (i128::try_from(parts.len()).unwrap() - 1);
            prop_assert!(fewer < i128::from(total));
        }
    }
}
