//! Whether a channel is fit to start orders on: a small state machine over what its windows say.
//!
//! | from | to | when |
//! |---|---|---|
//! | any | disabled | an operator said so |
//! | disabled | probing | the operator takes it back |
//! | any but disabled | open | the breaker is open |
//! | open | probing | the breaker lets a call through again |
//! | healthy | slow | enough samples and: quantile above `latency_threshold_ms`, or too many errors; or a backlog |
//! | slow | probing | its stay is over; the window starts anew |
//! | probing | slow | two slow probes and the quantile above the threshold, or errors; the stay doubles |
//! | probing | healthy | `recover_after_s` of probes with the quantile below `recover_threshold_ms` |
//! | slow, probing | healthy | `switch_enabled` is off |
//!
//! Prepays and queries are judged apart, each must be well.
//!
//! There is no way from slow to healthy but through probes, and what was measured before the probes began
//! does not count: that, the gap between the two thresholds, and stays that double are what prevents
//! flapping. It never fails and never looks at a clock.

use std::{fmt, time::Duration};

use serde::{Deserialize, Serialize};

use super::{CallStats, verdict};
use crate::{ChannelId, Timestamp, time, tuning::Tuning};

/// The state of a channel as the router sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChannelState {
    /// Orders start on it.
    Healthy,
    /// It answers, but too late: orders start on it only if nothing healthy is left.
    Slow,
    /// Its breaker is open: no order starts on it.
    Open,
    /// A small share of orders tries whether it is well again.
    Probing,
    /// An operator took it out.
    Disabled,
}

impl ChannelState {
    /// Every state.
    pub const ALL: [ChannelState; 5] = [
        ChannelState::Healthy,
        ChannelState::Slow,
        ChannelState::Open,
        ChannelState::Probing,
        ChannelState::Disabled,
    ];

    /// The word used in the API, the store and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            ChannelState::Healthy => "healthy",
            ChannelState::Slow => "slow",
            ChannelState::Open => "open",
            ChannelState::Probing => "probing",
            ChannelState::Disabled => "disabled",
        }
    }
}

impl fmt::Display for ChannelState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What is known about a channel besides its calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Outside {
    /// The breaker lets no call through.
    pub breaker_open: bool,
    /// An operator took the channel out.
    pub disabled: bool,
}

/// A change of state, with its reason; the router keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transition {
    /// Which channel.
    pub channel: ChannelId,
    /// Before.
    pub from: ChannelState,
    /// After.
    pub to: ChannelState,
    /// Why, for people: "wechat prepay p90 1,240 ms > 800 ms over 10 s, 57 samples".
    pub reason: String,
    /// When.
    #[serde(with = "time::rfc3339")]
    pub at: Timestamp,
}

/// The state of one channel and what is needed to leave it well.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Health {
    state: ChannelState,
    since: Timestamp,
    reason: String,
    /// How long it is left alone, while slow.
    stay: Duration,
    /// How often it got slow again soon after a recovery.
    relapses: u32,
    /// How often probes failed since it was last healthy.
    failed_probes: u32,
    recovered_at: Option<Timestamp>,
}

impl Health {
    /// A channel nothing is known about: healthy until shown otherwise.
    #[must_use]
    pub fn new(now: Timestamp) -> Health {
        Health {
            state: ChannelState::Healthy,
            since: now,
            reason: "nothing speaks against it".to_owned(),
            stay: Duration::ZERO,
            relapses: 0,
            failed_probes: 0,
            recovered_at: None,
        }
    }

    /// The state.
    #[must_use]
    pub const fn state(&self) -> ChannelState {
        self.state
    }

    /// Since when.
    #[must_use]
    pub const fn since(&self) -> Timestamp {
        self.since
    }

    /// Why: the reason of the last transition.
    #[must_use]
    pub fn reason(&self) -> &str {
        &self.reason
    }

    /// How long a slow channel is left alone from `since` on.
    #[must_use]
    pub const fn stay(&self) -> Duration {
        self.stay
    }

    /// How many relapses are remembered.
    #[must_use]
    pub const fn relapses(&self) -> u32 {
        self.relapses
    }

    /// Judges the channel at `now`; call it every 100 to 250 ms and after each recorded call if that is
    /// cheaper. At most one transition at a time. After a transition to `Probing` the windows must be
    /// cleared ([`super::Monitor`] does it).
    pub fn assess(
        &mut self,
        channel: &ChannelId,
        stats: &CallStats,
        outside: Outside,
        now: Timestamp,
        tuning: &Tuning,
    ) -> Option<Transition> {
        use ChannelState as S;
        let (to, why) = match (self.state, outside) {
            (S::Disabled, Outside { disabled: true, .. }) => return None,
            (_, Outside { disabled: true, .. }) => (S::Disabled, "disabled by an operator".to_owned()),
            (S::Disabled, _) => (S::Probing, "enabled by an operator".to_owned()),
            (S::Open, Outside { breaker_open: true, .. }) => return None,
            (_, Outside { breaker_open: true, .. }) => (S::Open, "breaker is open".to_owned()),
            (S::Open, _) => (S::Probing, "breaker lets calls through again".to_owned()),
            (S::Slow | S::Probing, _) if !tuning.switch_enabled => {
                (S::Healthy, "switching is turned off".to_owned())
            }
            (S::Healthy, _) => {
                (S::Slow, stats.each().into_iter().find_map(|(call, s)| verdict::too_slow(call, s, tuning))?)
            }
            (S::Slow, _) => {
                let rested = now.since(self.since) >= self.stay;
                (rested.then_some(S::Probing)?, format!("{} s of rest are over", self.stay.as_secs()))
            }
            (S::Probing, _) => self.judge_probes(stats, now, tuning)?,
        };
        let transition = Transition {
            channel: channel.clone(),
            from: self.state,
            to,
            reason: format!("{channel} {why}"),
            at: now,
        };
        self.enter(&transition, tuning);
        Some(transition)
    }

    fn judge_probes(
        &self,
        stats: &CallStats,
        now: Timestamp,
        tuning: &Tuning,
    ) -> Option<(ChannelState, String)> {
        if let Some(why) =
            stats.each().into_iter().find_map(|(call, s)| verdict::probes_failed(call, s, tuning))
        {
            return Some((ChannelState::Slow, why));
        }
        let tried = now.since(self.since);
        let long_enough = tried >= Duration::from_secs(tuning.recover_after_s);
        long_enough
            .then(|| verdict::probes_passed(stats, tried, tuning))
            .flatten()
            .map(|why| (ChannelState::Healthy, why))
    }

    fn enter(&mut self, transition: &Transition, tuning: &Tuning) {
        use ChannelState as S;
        let now = transition.at;
        match (transition.from, transition.to) {
            (S::Healthy, S::Slow | S::Open) => {
                let memory = Duration::from_secs(tuning.relapse_memory_s);
                let relapsed = self.recovered_at.is_some_and(|at| now.since(at) < memory);
                self.relapses = if relapsed { self.relapses.saturating_add(1) } else { 0 };
                self.failed_probes = 0;
            }
            (S::Probing, S::Slow) => self.failed_probes = self.failed_probes.saturating_add(1),
            (_, S::Healthy) => self.recovered_at = Some(now),
            _ => {}
        }
        if transition.to == S::Slow {
            let relapsing = doubled(tuning.min_stay_s, self.relapses, tuning.max_stay_s);
            let retrying = doubled(tuning.min_stay_s, self.failed_probes, tuning.probe_retry_max_s);
            self.stay = Duration::from_secs(relapsing.max(retrying));
        }
        (self.state, self.since) = (transition.to, now);
        self.reason.clone_from(&transition.reason);
    }
}

/// `seconds` doubled so many times, at most `most`.
fn doubled(seconds: u64, times: u32, most: u64) -> u64 {
    2_u64.checked_pow(times).map_or(most, |factor| seconds.saturating_mul(factor).min(most))
}

#[cfg(test)]
#[path = "health_tests.rs"]
mod tests;
