//! What one kind of a channel's calls looked like over the last seconds.
//!
//! One histogram and three counters per second, a fixed size each; old seconds fall away. A call counts in
//! the second it *began*, so a slow call and a fast one of the same moment leave together, and a window that
//! was cleared ignores the late answers to calls from before. Time may be any clock that does not step;
//! after a step back the seconds from the future are dropped. Nothing here can fail.

use std::{collections::VecDeque, time::Duration};

use serde::{Deserialize, Serialize};

use super::histogram::Histogram;
use crate::{Timestamp, tuning::Tuning};

/// The longest `window_s`: seconds beyond it are never kept.
const SLICES_MAX: usize = 121;
/// The backlog rule looks at this much time, in steps.
const LATELY: Duration = Duration::from_secs(1);
const LATELY_STEPS: i64 = 10;

/// The kinds of call that are measured, each in a window of its own: fast queries by the hundred must not
/// hide slow prepays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Call {
    /// Starting an attempt (on a direct channel: the debit).
    Prepay,
    /// Asking for its result.
    Query,
}

impl Call {
    /// The word used in reasons and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Call::Prepay => "prepay",
            Call::Query => "query",
        }
    }
}

/// How a call ended, as far as it tells about the channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// The channel answered, whatever it said.
    Answered,
    /// 5xx, a broken answer, or silence until the deadline.
    Error,
    /// The channel refused for a reason of the payer's (no balance, wrong password). Counted nowhere: it
    /// speaks neither for the channel (a refusal may skip the work) nor against it.
    PayerFault,
}

/// What the window says at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct WindowStats {
    /// Calls that count: answered, failed, or waiting for longer than the threshold.
    pub samples: u32,
    /// The latency quantile over all of them, in ms; 0 without any.
    pub quantile_ms: u64,
    /// Calls that failed.
    pub errors: u32,
    /// Calls slower than the threshold, including those that still wait.
    pub slow: u32,
    /// Calls that have been waiting for longer than the threshold and still wait.
    pub overdue: u32,
    /// Calls the channel answered within the last second, however fast.
    pub answered_lately: u32,
}

impl WindowStats {
    /// The share of calls that failed, 0 to 1.
    #[must_use]
    pub fn error_share(&self) -> f64 {
        f64::from(self.errors) / f64::from(self.samples.max(1))
    }
}

/// What a channel's windows say at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct CallStats {
    /// Prepays.
    pub prepay: WindowStats,
    /// Queries.
    pub query: WindowStats,
}

impl CallStats {
    /// Each kind with its numbers.
    #[must_use]
    pub const fn each(&self) -> [(Call, &WindowStats); 2] {
        [(Call::Prepay, &self.prepay), (Call::Query, &self.query)]
    }

    /// Calls that count, of all kinds.
    #[must_use]
    pub const fn samples(&self) -> u32 {
        self.prepay.samples.saturating_add(self.query.samples)
    }
}

#[derive(Debug, Clone)]
struct Slice {
    second: i64,
    latencies: Histogram,
    errors: u32,
}

/// The sliding window of one kind of call.
#[derive(Debug, Clone, Default)]
pub struct Window {
    /// By second, oldest first, no second twice.
    slices: VecDeque<Slice>,
    /// Calls that began before this are ignored.
    floor: Option<Timestamp>,
    /// Answers in steps of a tenth of a second: (step, count), a ring by step.
    lately: [(i64, u32); 10],
}

impl Window {
    /// An empty window.
    #[must_use]
    pub fn new() -> Window {
        Window::default()
    }

    /// Forgets everything, and ignores calls that began before `now` whenever they end.
    pub fn clear(&mut self, now: Timestamp) {
        *self = Window { floor: Some(now), ..Window::default() };
    }

    /// Takes in a call that ended at `now` after `latency_ms`.
    pub fn record(&mut self, now: Timestamp, latency_ms: u64, outcome: Outcome) {
        let began = now.minus(Duration::from_millis(latency_ms));
        if outcome == Outcome::PayerFault || self.floor.is_some_and(|floor| began < floor) {
            return;
        }
        if outcome == Outcome::Answered {
            self.count_lately(now);
        }
        let Some(slice) = self.slice(began.secs()) else {
            return; // older than everything kept
        };
        slice.latencies.add(latency_ms);
        if outcome == Outcome::Error {
            slice.errors = slice.errors.saturating_add(1);
        }
    }

    /// Lets go of seconds that left the window (and of those a clock that stepped back left in the future).
    pub fn forget_old(&mut self, now: Timestamp, tuning: &Tuning) {
        let (first, last) = bounds(now, tuning);
        self.slices.retain(|s| s.second >= first && s.second <= last.saturating_add(1));
    }

    /// What the window says at `now`. `in_flight_ages` are the ages in ms of the calls without an answer.
    ///
    /// An unanswered call will take at least its age, and that is all it says. While the age is below the
    /// threshold that is nothing: a call of 5 ms may yet take 5 s, and counting it as 5 ms would make every
    /// busy channel look fast just when its answers stop. So it is left out. Once the age is above the
    /// threshold the call is slow whatever comes, and it counts at its age, before its answer does.
    #[must_use]
    pub fn stats(
        &self,
        now: Timestamp,
        in_flight_ages: impl IntoIterator<Item = u64>,
        tuning: &Tuning,
    ) -> WindowStats {
        let (first, last) = bounds(now, tuning);
        let mut all = Histogram::new();
        let mut errors = 0_u32;
        for slice in self.slices.iter().filter(|s| s.second >= first && s.second <= last) {
            all.merge(&slice.latencies);
            errors = errors.saturating_add(slice.errors);
        }
        // A call from before the floor says nothing about the time since.
        let since_floor = self.floor.map_or(u128::MAX, |floor| now.since(floor).as_millis());
        let mut overdue = 0_u32;
        for age in in_flight_ages {
            if age > tuning.latency_threshold_ms && u128::from(age) <= since_floor {
                all.add(age);
                overdue = overdue.saturating_add(1);
            }
        }
        let answered_lately = self.answered_lately(now);
        WindowStats {
            samples: all.total(),
            quantile_ms: all.quantile(tuning.quantile),
            errors,
            slow: all.above(tuning.latency_threshold_ms),
            overdue,
            answered_lately,
        }
    }

    fn slice(&mut self, second: i64) -> Option<&mut Slice> {
        // Nearly every call began in one of the last few seconds: look from the newest.
        let newer = self.slices.iter().rev().take_while(|s| s.second > second).count();
        let place = self.slices.len().saturating_sub(newer);
        let here = place.checked_sub(1).filter(|p| self.slices.get(*p).is_some_and(|s| s.second == second));
        if let Some(place) = here {
            return self.slices.get_mut(place);
        }
        if self.slices.len() >= SLICES_MAX {
            if place == 0 {
                return None;
            }
            self.slices.pop_front();
            return self.slice(second);
        }
        self.slices.insert(place, Slice { second, latencies: Histogram::new(), errors: 0 });
        self.slices.get_mut(place)
    }

    fn count_lately(&mut self, now: Timestamp) {
        let step = step(now);
        let place = usize::try_from(step.rem_euclid(LATELY_STEPS)).unwrap_or_default();
        if let Some(slot) = self.lately.get_mut(place) {
            *slot = if slot.0 == step { (step, slot.1.saturating_add(1)) } else { (step, 1) };
        }
    }

    fn answered_lately(&self, now: Timestamp) -> u32 {
        let now = step(now);
        let fresh = |at: i64| at <= now && now.saturating_sub(at) < LATELY_STEPS;
        self.lately.iter().filter(|(at, _)| fresh(*at)).fold(0, |sum, (_, n)| sum.saturating_add(*n))
    }
}

fn step(now: Timestamp) -> i64 {
    let width = i64::try_from(LATELY.as_micros()).unwrap_or(i64::MAX) / LATELY_STEPS;
    now.micros().div_euclid(width)
}

/// The first and the last second of the window.
fn bounds(now: Timestamp, tuning: &Tuning) -> (i64, i64) {
    let width = i64::try_from(tuning.window_s).unwrap_or(i64::MAX);
    (now.secs().saturating_sub(width.saturating_sub(1)), now.secs())
}

#[cfg(test)]
#[path = "window_tests.rs"]
mod tests;
