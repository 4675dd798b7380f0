//! The circuit breaker of one channel, shared by its gateway and its router: the domain's rule behind a short lock.
//!
//! Moments come from tokio's clock, which a test or the simulator may own. A leave that is dropped without an outcome
//! (the call's owner died) frees the probe's place and says nothing about the channel.

use std::time::Duration;

use domain::{
    routing::{Breaker as Rule, Pass},
    tuning::Tuning,
};
use parking_lot::Mutex;
use tokio::time::Instant;

/// The breaker.
pub(crate) struct Breaker {
    start: Instant,
    rule: Mutex<Rule>,
}

/// Leave to make one call; must be given back with the outcome, or dropped if the call never ended.
pub(crate) struct Leave<'b> {
    breaker: &'b Breaker,
    pass: Pass,
}

impl Breaker {
    /// Opens after `failures` in a row, or when few calls succeed; stays open for `open_for`.
    pub(crate) fn new(failures: u32, open_for: Duration) -> Breaker {
        Breaker { start: Instant::now(), rule: Mutex::new(Rule::new(failures, open_for)) }
    }

    /// A breaker by these thresholds.
    pub(crate) fn tuned(tuning: &Tuning) -> Breaker {
        let (failures, open_for) = thresholds(tuning);
        Breaker::new(failures, open_for)
    }

    /// Counts anew by changed thresholds, from closed: what was counted by the old ones says nothing about them.
    pub(crate) fn retune(&self, tuning: &Tuning) {
        let (failures, open_for) = thresholds(tuning);
        *self.rule.lock() = Rule::new(failures, open_for);
    }

    /// True while every call is turned away.
    pub(crate) fn turns_away(&self) -> bool {
        self.rule.lock().turns_away(self.now())
    }

    /// False while calls are turned away or only probed: then nobody should queue for the channel.
    pub(crate) fn is_closed(&self) -> bool {
        self.rule.lock().is_closed()
    }

    /// Leave to call, or `None` while open (or while another caller probes).
    pub(crate) fn leave(&self) -> Option<Leave<'_>> {
        let pass = self.rule.lock().pass(self.now())?;
        Some(Leave { breaker: self, pass })
    }

    fn now(&self) -> Duration {
        self.start.elapsed()
    }
}

fn thresholds(tuning: &Tuning) -> (u32, Duration) {
    (u32::try_from(tuning.breaker_failures).unwrap_or(u32::MAX), Duration::from_secs(tuning.breaker_open_s))
}

impl Leave<'_> {
    /// The channel answered in its right mind, whatever it said.
    pub(crate) fn healthy(self) {
        self.breaker.rule.lock().healthy(self.pass, self.breaker.now());
    }

    /// The channel was silent or out of order.
    pub(crate) fn sick(self) {
        self.breaker.rule.lock().sick(self.pass, self.breaker.now());
    }
}

impl Drop for Leave<'_> {
    fn drop(&mut self) {
        self.breaker.rule.lock().abandoned(self.pass);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_probe_whose_owner_died_lets_the_next_one_probe() {
        let breaker = Breaker::new(3, Duration::from_secs(5));
        for _ in 0..3 {
            breaker.leave().unwrap().sick();
        }
        assert!(!breaker.is_closed() && breaker.turns_away() && breaker.leave().is_none());
        tokio::time::advance(Duration::from_secs(5)).await;
        let probe = breaker.leave().unwrap();
        assert!(breaker.leave().is_none(), "a second caller while the probe is out");
        drop(probe);
        breaker.leave().unwrap().healthy();
        assert!(breaker.is_closed() && !breaker.turns_away());
    }

    #[tokio::test(start_paused = true)]
    async fn changed_thresholds_count_anew_from_closed() {
        let breaker = Breaker::new(1, Duration::from_secs(60));
        breaker.leave().unwrap().sick();
        assert!(breaker.turns_away());
        let tuning = Tuning { breaker_failures: 2, ..Tuning::default() };
        breaker.retune(&tuning);
        assert!(breaker.is_closed() && !breaker.turns_away());
        breaker.leave().unwrap().sick();
        assert!(breaker.is_closed(), "one failure is not two");
        breaker.leave().unwrap().sick();
        assert!(breaker.turns_away());
    }
}
