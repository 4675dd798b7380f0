//! The circuit breaker of one channel: `failsafe` counts, a gate lets one probe through.
//!
//! failsafe alone lets every caller through while half open, and a dropped call counts as nothing; so the
//! deadline sits inside the call (see the gateway) and a half-open breaker admits one caller at a time.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU8, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use domain::tuning::Tuning;
use failsafe::{
    Config, FailurePolicy as _, Instrument, StateMachine, backoff,
    failure_policy::{self, ConsecutiveFailures, OrElse, SuccessRateOverTimeWindow},
};

type Policy = OrElse<SuccessRateOverTimeWindow<backoff::Constant>, ConsecutiveFailures<backoff::Constant>>;

const CLOSED: u8 = 0;
const OPEN: u8 = 1;
const HALF_OPEN: u8 = 2;

/// Below this share of successes over the window the breaker opens, if there were calls enough to judge.
const REQUIRED_SUCCESS_RATE: f64 = 0.3;
const RATE_WINDOW: Duration = Duration::from_secs(10);
const RATE_CALLS_MIN: u32 = 20;

#[derive(Clone, Default)]
struct Seen(Arc<AtomicU8>);

impl Instrument for Seen {
    fn on_call_rejected(&self) {}
    fn on_open(&self) {
        self.0.store(OPEN, Ordering::Release);
    }
    fn on_half_open(&self) {
        self.0.store(HALF_OPEN, Ordering::Release);
    }
    fn on_closed(&self) {
        self.0.store(CLOSED, Ordering::Release);
    }
}

/// The breaker.
pub(crate) struct Breaker {
    machine: ArcSwap<StateMachine<Policy, Seen>>,
    seen: Seen,
    probing: AtomicBool,
}

/// Leave to make one call; must be given back with the outcome, or dropped if the call never ended.
pub(crate) struct Leave<'b> {
    breaker: &'b Breaker,
    is_probe: bool,
}

impl Breaker {
    /// Opens after `failures` in a row, or when few calls succeed; stays open for `open_for`.
    pub(crate) fn new(failures: u32, open_for: Duration) -> Breaker {
        let seen = Seen::default();
        let machine = ArcSwap::from_pointee(machine(&seen, failures, open_for));
        Breaker { machine, seen, probing: AtomicBool::new(false) }
    }

    /// A breaker by these thresholds.
    pub(crate) fn tuned(tuning: &Tuning) -> Breaker {
        let (failures, open_for) = thresholds(tuning);
        Breaker::new(failures, open_for)
    }

    /// Counts anew by changed thresholds, from closed: what was counted by the old ones says nothing about them.
    pub(crate) fn retune(&self, tuning: &Tuning) {
        let (failures, open_for) = thresholds(tuning);
        self.machine.store(Arc::new(machine(&self.seen, failures, open_for)));
        self.seen.0.store(CLOSED, Ordering::Release);
    }

    /// True while every call is turned away. Asking lets an open breaker whose rest is over half-open.
    pub(crate) fn turns_away(&self) -> bool {
        !self.machine.load().is_call_permitted()
    }

    /// False while calls are turned away or only probed: then nobody should queue for the channel.
    pub(crate) fn is_closed(&self) -> bool {
        self.seen.0.load(Ordering::Acquire) == CLOSED
    }

    /// Leave to call, or `None` while open (or while another caller probes).
    pub(crate) fn leave(&self) -> Option<Leave<'_>> {
        if !self.machine.load().is_call_permitted() {
            return None;
        }
        let is_probe = self.seen.0.load(Ordering::Acquire) == HALF_OPEN;
        if is_probe && self.probing.swap(true, Ordering::AcqRel) {
            return None;
        }
        Some(Leave { breaker: self, is_probe })
    }
}

fn thresholds(tuning: &Tuning) -> (u32, Duration) {
    (u32::try_from(tuning.breaker_failures).unwrap_or(u32::MAX), Duration::from_secs(tuning.breaker_open_s))
}

fn machine(seen: &Seen, failures: u32, open_for: Duration) -> StateMachine<Policy, Seen> {
    let rate = failure_policy::success_rate_over_time_window(
        REQUIRED_SUCCESS_RATE,
        RATE_CALLS_MIN,
        RATE_WINDOW,
        backoff::constant(open_for),
    );
    let policy = rate.or_else(failure_policy::consecutive_failures(failures, backoff::constant(open_for)));
    Config::new().failure_policy(policy).instrument(seen.clone()).build()
}

impl Leave<'_> {
    /// The channel answered in its right mind, whatever it said.
    pub(crate) fn healthy(self) {
        self.breaker.machine.load().on_success();
    }

    /// The channel was silent or out of order.
    pub(crate) fn sick(self) {
        self.breaker.machine.load().on_error();
    }
}

impl Drop for Leave<'_> {
    fn drop(&mut self) {
        if self.is_probe {
            self.breaker.probing.store(false, Ordering::Release);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_open_breaker_turns_callers_away_and_a_half_open_one_admits_a_single_probe() {
        let breaker = Breaker::new(3, Duration::from_millis(20));
        for _ in 0..3 {
            breaker.leave().unwrap().sick();
        }
        assert!(!breaker.is_closed() && breaker.turns_away());
        assert!(breaker.leave().is_none());
        // failsafe keeps its own clock, so this one wait is real; it is bounded by the loop.
        let probe = (0..200)
            .find_map(|_| {
                std::thread::sleep(Duration::from_millis(5));
                breaker.leave()
            })
            .unwrap();
        assert!(breaker.leave().is_none(), "a second caller while the probe is out");
        probe.healthy();
        assert!(breaker.is_closed() && !breaker.turns_away());
        assert!(breaker.leave().is_some());
    }

    #[test]
    fn changed_thresholds_count_anew_from_closed() {
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
