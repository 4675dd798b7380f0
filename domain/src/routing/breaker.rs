//! When a channel is left alone altogether: the circuit breaker of one channel.
//!
//! Closed, every call leaves. After so many failures in a row, or when few of many calls succeed, it opens and turns
//! every call away for a rest; then it is half open and lets one probe through at a time, whose word alone closes
//! it or opens it again. Pure: the moment is an argument, the time since a start
//! that the caller keeps, by a clock that never steps back.

use std::{collections::VecDeque, time::Duration};

/// Below this share of successes over the window the breaker opens, if there were calls enough to judge.
const SUCCESS_MIN: f64 = 0.3;
/// Calls in the window that are enough to judge.
const CALLS_MIN: u32 = 20;
/// How far back calls count, and in what steps they are forgotten.
const WINDOW: Duration = Duration::from_secs(10);
const SLICE: Duration = Duration::from_secs(1);

/// A circuit breaker.
#[derive(Debug, Clone)]
pub struct Breaker {
    failures_max: u32,
    rest: Duration,
    state: State,
    /// Failures since the last success.
    in_a_row: u32,
    window: VecDeque<Slice>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Closed,
    Open { until: Duration },
    HalfOpen { probing: bool },
}

#[derive(Debug, Clone, Copy)]
struct Slice {
    began: Duration,
    well: u32,
    ill: u32,
}

/// Leave to make one call. It comes back with how the call went, or [`Breaker::abandoned`] if nobody knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pass {
    /// An ordinary call of a closed breaker.
    Call,
    /// The one call that a half-open breaker waits for.
    Probe,
}

impl Breaker {
    /// A closed breaker that opens after `failures_max` failures in a row, or when few calls succeed, and rests for `rest`.
    #[must_use]
    pub fn new(failures_max: u32, rest: Duration) -> Breaker {
        Breaker {
            failures_max: failures_max.max(1),
            rest,
            state: State::Closed,
            in_a_row: 0,
            window: VecDeque::new(),
        }
    }

    /// True while calls leave without being probes.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.state == State::Closed
    }

    /// True while every call is turned away: open, and the rest is not over.
    #[must_use]
    pub fn turns_away(&self, now: Duration) -> bool {
        matches!(self.state, State::Open { until } if now < until)
    }

    /// Leave for one call, or `None` while it rests or another caller probes.
    pub fn pass(&mut self, now: Duration) -> Option<Pass> {
        match self.state {
            State::Closed => return Some(Pass::Call),
            State::Open { until } if now < until => return None,
            State::HalfOpen { probing: true } => return None,
            State::Open { .. } | State::HalfOpen { probing: false } => {}
        }
        self.state = State::HalfOpen { probing: true };
        Some(Pass::Probe)
    }

    /// The channel answered in its right mind. A call that left before the breaker opened says nothing about now.
    pub fn healthy(&mut self, pass: Pass, now: Duration) {
        match (self.state, pass) {
            (State::Closed, _) => {
                self.in_a_row = 0;
                self.count(now, true);
            }
            (State::HalfOpen { .. }, Pass::Probe) => *self = Breaker::new(self.failures_max, self.rest),
            (State::HalfOpen { .. }, Pass::Call) | (State::Open { .. }, _) => {}
        }
    }

    /// The channel was silent, slow beyond measure, or out of order.
    pub fn sick(&mut self, pass: Pass, now: Duration) {
        match (self.state, pass) {
            (State::Closed, _) => {
                self.in_a_row += 1;
                self.count(now, false);
                if self.in_a_row >= self.failures_max || self.few_succeed() {
                    self.state = State::Open { until: now + self.rest };
                }
            }
            (State::HalfOpen { .. }, Pass::Probe) => self.state = State::Open { until: now + self.rest },
            (State::HalfOpen { .. }, Pass::Call) | (State::Open { .. }, _) => {}
        }
    }

    /// The call never ended (its caller died): the next one may probe.
    pub fn abandoned(&mut self, pass: Pass) {
        if let (State::HalfOpen { probing }, Pass::Probe) = (&mut self.state, pass) {
            *probing = false;
        }
    }

    /// Counts one call in the slice of `now`; slices older than the window go.
    fn count(&mut self, now: Duration, well: bool) {
        while self.window.front().is_some_and(|oldest| now >= oldest.began + WINDOW) {
            self.window.pop_front();
        }
        if self.window.back().is_none_or(|newest| now >= newest.began + SLICE) {
            self.window.push_back(Slice { began: now, well: 0, ill: 0 });
        }
        if let Some(slice) = self.window.back_mut() {
            *(if well { &mut slice.well } else { &mut slice.ill }) += 1;
        }
    }

    fn few_succeed(&self) -> bool {
        let (well, ill) = self.window.iter().fold((0, 0), |(well, ill), s| (well + s.well, ill + s.ill));
        let calls = well + ill;
        calls >= CALLS_MIN && f64::from(well) < SUCCESS_MIN * f64::from(calls)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REST: Duration = Duration::from_secs(5);

    const fn at(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    /// `+` a healthy call, `-` a sick one, each at the same moment, as far as they are let through.
    fn calls(breaker: &mut Breaker, now: Duration, text: &str) {
        for call in text.chars() {
            let Some(pass) = breaker.pass(now) else { continue };
            if call == '+' { breaker.healthy(pass, now) } else { breaker.sick(pass, now) }
        }
    }

    #[test]
    fn it_opens_after_failures_in_a_row_or_when_few_of_many_succeed_and_for_nothing_else() {
        for (text, open) in [
            ("--", false),
            ("---", true),
            ("--+--+--", false),
            ("--+--+--+--+--+--+-", false), // 31 % of 19
            ("--+--+--+--+--+--+--+--+", false),
            ("+--+--+--+--+--+--+--+--+--+", false),
        ] {
            let mut breaker = Breaker::new(3, REST);
            calls(&mut breaker, at(0), text);
            assert_eq!(!breaker.is_closed(), open, "{text}");
        }
        let mut breaker = Breaker::new(100, REST);
        calls(&mut breaker, at(0), "+++++--------------"); // 26 % of 19: too few to judge
        assert!(breaker.is_closed());
        calls(&mut breaker, at(0), "-"); // 25 % of 20
        assert!(!breaker.is_closed());
    }

    #[test]
    fn what_is_older_than_the_window_is_forgotten() {
        let mut breaker = Breaker::new(100, REST);
        calls(&mut breaker, at(0), "-------------------");
        calls(&mut breaker, at(10_500), "+-");
        assert!(breaker.is_closed());
        for second in 11..40 {
            calls(&mut breaker, at(second * 1000), "-+");
        }
        assert!(breaker.is_closed(), "half of the calls succeed");
    }

    #[test]
    fn it_rests_then_one_probe_decides() {
        let mut breaker = Breaker::new(1, REST);
        let early = breaker.pass(at(0)).unwrap();
        calls(&mut breaker, at(0), "-");
        assert!(breaker.turns_away(at(4_999)) && breaker.pass(at(4_999)).is_none());
        assert!(!breaker.turns_away(at(5_000)));
        let probe = breaker.pass(at(5_000)).unwrap();
        assert_eq!((probe, breaker.pass(at(5_001))), (Pass::Probe, None), "one at a time");
        breaker.healthy(early, at(5_002));
        assert!(!breaker.is_closed(), "a call from before the opening closes nothing");
        breaker.sick(probe, at(5_003));
        assert!(breaker.turns_away(at(10_000)), "a sick probe: another rest");
        let probe = breaker.pass(at(10_003)).unwrap();
        breaker.abandoned(probe);
        let probe = breaker.pass(at(10_004)).unwrap();
        breaker.healthy(probe, at(10_005));
        assert!(breaker.is_closed() && breaker.pass(at(10_005)) == Some(Pass::Call));
    }
}
