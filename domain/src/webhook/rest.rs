//! How much a backend is trusted with: everything, one call at a time, or nothing for a while.
//!
//! A backend that fails so many times in a row rests, each time twice as long, up to a bound. After the rest one call
//! is let through; if it is taken the rest ends, and every call taken after it allows one more at a time, so that a
//! backlog does not fall on a backend that has just come back. A rest uses up no try of any webhook.
//! Takes `now`; knows nothing of rows and calls.

use std::time::Duration;

use crate::Timestamp;

/// When a backend rests, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RestRules {
    /// So many failures in a row begin a rest; at least one.
    pub failures: u64,
    /// The first rest.
    pub rest: Duration,
    /// The longest rest.
    pub rest_max: Duration,
}

/// One backend's record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Rest {
    failures: u64,
    /// Rests since the last call that was taken.
    rests: u32,
    until: Option<Timestamp>,
    /// Calls allowed at once after a rest; none: no bound of ours.
    allowed: Option<usize>,
}

impl Rest {
    /// How many calls may be under way at once, of at most `full`.
    #[must_use]
    pub fn allows(&self, now: Timestamp, full: usize) -> usize {
        match (self.until, self.allowed) {
            (Some(until), _) if now < until => 0,
            (Some(_), _) => full.min(1),
            (None, Some(allowed)) => allowed.min(full),
            (None, None) => full,
        }
    }

    /// The end of its rest; `None` if it does not rest at `now`.
    #[must_use]
    pub fn resting_until(&self, now: Timestamp) -> Option<Timestamp> {
        self.until.filter(|until| now < *until)
    }

    /// How often it failed in a row.
    #[must_use]
    pub fn failures_in_a_row(&self) -> u64 {
        self.failures
    }

    /// True if nothing is held against it.
    #[must_use]
    pub fn is_clear(&self) -> bool {
        *self == Rest::default()
    }

    /// A call was taken: the rest is over. `full` is what a backend in good health is allowed. True if there was a rest.
    pub fn taken(&mut self, full: usize) -> bool {
        let rested = self.until.is_some();
        let allowed = match (self.until, self.allowed) {
            (Some(_), _) => Some(1),
            (None, allowed) => allowed.map(|n| n.saturating_add(1)),
        };
        *self = Rest { allowed: allowed.filter(|n| *n < full), ..Rest::default() };
        rested
    }

    /// A call failed. Calls that were under way when the rest began do not make it longer. True if a rest begins.
    pub fn failed(&mut self, now: Timestamp, rules: &RestRules) -> bool {
        self.failures = self.failures.saturating_add(1);
        let probed = self.until.is_some_and(|until| now >= until);
        let worn_out = self.until.is_none() && self.failures >= rules.failures;
        if !probed && !worn_out {
            return false;
        }
        let doubled = rules.rest.saturating_mul(1_u32.checked_shl(self.rests).unwrap_or(u32::MAX));
        self.until = Some(now.plus(doubled.min(rules.rest_max)));
        self.rests = self.rests.saturating_add(1);
        true
    }

    /// Somebody knows that the backend is back: its next call may go at once.
    pub fn wake(&mut self, now: Timestamp) {
        self.until = self.until.map(|until| until.min(now));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: RestRules =
        RestRules { failures: 3, rest: Duration::from_secs(5), rest_max: Duration::from_secs(60) };
    const FULL: usize = 8;

    fn at(secs: i64) -> Timestamp {
        Timestamp::from_secs(1_767_225_600 + secs)
    }

    #[test]
    fn three_failures_in_a_row_begin_a_rest_and_a_taken_call_between_them_does_not() {
        let mut rest = Rest::default();
        assert!(!rest.failed(at(0), &RULES) && !rest.failed(at(0), &RULES));
        rest.taken(FULL);
        assert!(rest.is_clear());
        assert!(!rest.failed(at(1), &RULES) && !rest.failed(at(1), &RULES));
        assert_eq!(rest.allows(at(1), FULL), FULL);
        assert!(rest.failed(at(1), &RULES));
        assert_eq!((rest.allows(at(1), FULL), rest.allows(at(5), FULL)), (0, 0));
        assert_eq!(rest.resting_until(at(5)), Some(at(6)));
        assert_eq!(rest.allows(at(6), FULL), 1, "one call finds out");
    }

    #[test]
    fn rests_double_up_to_their_bound_and_stragglers_do_not_lengthen_them() {
        let (mut rest, mut now, mut lengths) = (Rest::default(), at(0), Vec::new());
        for _ in 0..2 {
            rest.failed(now, &RULES);
        }
        for _ in 0..7 {
            assert!(rest.failed(now, &RULES));
            assert!(!rest.failed(now, &RULES), "a call that was under way already");
            let until = rest.resting_until(now).unwrap();
            lengths.push(until.since(now).as_secs());
            now = until;
        }
        assert_eq!(lengths, [5, 10, 20, 40, 60, 60, 60]);
    }

    #[test]
    fn a_backend_that_comes_back_is_given_more_with_each_call_it_takes() {
        let mut rest = Rest::default();
        for _ in 0..3 {
            rest.failed(at(0), &RULES);
        }
        let mut allowed = Vec::new();
        for _ in 0..FULL {
            rest.taken(FULL);
            allowed.push(rest.allows(at(5), FULL));
        }
        assert_eq!(allowed, [1, 2, 3, 4, 5, 6, 7, 8]);
        assert!(rest.is_clear());
    }

    #[test]
    fn whoever_knows_better_ends_a_rest() {
        let mut rest = Rest::default();
        rest.wake(at(0));
        assert!(rest.is_clear());
        for _ in 0..3 {
            rest.failed(at(0), &RULES);
        }
        rest.wake(at(2));
        assert_eq!(rest.allows(at(2), FULL), 1);
        assert!(rest.failed(at(2), &RULES), "it was not back after all");
        assert_eq!(rest.allows(at(11), FULL), 0);
    }

    #[test]
    fn any_number_of_rests_is_bounded() {
        let (mut rest, mut now) = (Rest::default(), at(0));
        for _ in 0..200 {
            rest.failed(now, &RULES);
            now = rest.resting_until(now).unwrap_or(now);
        }
        assert!(now.since(at(0)) <= RULES.rest_max * 200);
    }
}
