//! How fast calls may leave: a rate with a burst, as the generic cell rate algorithm keeps it.
//!
//! One number is all it remembers: when the next call would be due if calls came evenly. Pure: the moment is an
//! argument, the time since a start that the caller keeps, by a clock that never steps back. Who is told to wait asks
//! again after that time; nothing is reserved meanwhile, so a caller that gives up costs nobody a place.

use std::time::Duration;

/// A pace.
#[derive(Debug, Clone)]
pub struct Pace {
    every: Duration,
    /// How far ahead of an even flow calls may be.
    ahead: Duration,
    next: Duration,
}

impl Pace {
    /// `per_s` calls a second, of which `burst` may leave at once (at least one of each).
    #[must_use]
    pub fn new(per_s: u32, burst: u32) -> Pace {
        let every = Duration::from_secs(1) / per_s.max(1);
        Pace { every, ahead: every * (burst.max(1) - 1), next: Duration::ZERO }
    }

    /// Takes a place for one call.
    ///
    /// # Errors
    /// How long until there is one, above zero; none was taken.
    pub fn take(&mut self, now: Duration) -> Result<(), Duration> {
        let next = self.next.max(now);
        match next.saturating_sub(now).checked_sub(self.ahead) {
            Some(wait) if !wait.is_zero() => Err(wait),
            Some(_) | None => {
                self.next = next + self.every;
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_burst_leaves_at_once_and_the_rest_evenly_and_rest_earns_a_burst_again() {
        let mut pace = Pace::new(100, 10);
        let mut left = Vec::new();
        for ms in 0..1_000 {
            let now = Duration::from_millis(ms);
            while pace.take(now).is_ok() {
                left.push(ms);
            }
        }
        assert_eq!(left.iter().filter(|ms| **ms == 0).count(), 10);
        assert_eq!(left[10..14], [10, 20, 30, 40]);
        assert_eq!(left.len(), 10 + 99);
        let later = Duration::from_secs(9);
        assert_eq!((0..50).filter(|_| pace.take(later).is_ok()).count(), 10);
        assert_eq!(pace.take(later), Err(Duration::from_millis(10)), "who waits so long finds a place");
        assert_eq!(pace.take(later + Duration::from_millis(10)), Ok(()));
    }
}
