//! Everything the router knows about one channel: its windows, its health, and when it was last probed.
//!
//! Promises that probes are judged by what was measured since they began, and that they do not run dry: when
//! the share of orders yields too few, [`Monitor::probe_due`] claims the next order, and when there is no
//! order either, [`Monitor::query_probe_due`] asks for a cheap query. Who calls whom is the router's
//! business.

use std::time::Duration;

use super::{Call, CallStats, ChannelState, Health, Outcome, Outside, Transition, Window};
use crate::{ChannelId, Timestamp, tuning::Tuning};

/// The router's knowledge of one channel.
#[derive(Debug, Clone)]
pub struct Monitor {
    channel: ChannelId,
    prepays: Window,
    queries: Window,
    health: Health,
    last_probe: Option<Timestamp>,
}

impl Monitor {
    /// A channel nothing is known about.
    #[must_use]
    pub fn new(channel: ChannelId, now: Timestamp) -> Monitor {
        Monitor {
            channel,
            prepays: Window::new(),
            queries: Window::new(),
            health: Health::new(now),
            last_probe: None,
        }
    }

    /// Whose monitor this is.
    #[must_use]
    pub const fn channel(&self) -> &ChannelId {
        &self.channel
    }

    /// Its health.
    #[must_use]
    pub const fn health(&self) -> &Health {
        &self.health
    }

    /// Its state, for short.
    #[must_use]
    pub const fn state(&self) -> ChannelState {
        self.health.state()
    }

    /// Takes in a call that ended at `now` after `latency_ms`.
    pub fn record(&mut self, now: Timestamp, call: Call, latency_ms: u64, outcome: Outcome) {
        match call {
            Call::Prepay => self.prepays.record(now, latency_ms, outcome),
            Call::Query => self.queries.record(now, latency_ms, outcome),
        }
    }

    /// What the windows say; `in_flight` are the calls without an answer and their ages in ms.
    #[must_use]
    pub fn stats(
        &self,
        now: Timestamp,
        in_flight: impl IntoIterator<Item = (Call, u64)>,
        tuning: &Tuning,
    ) -> CallStats {
        let (mut prepays, mut queries) = (Vec::new(), Vec::new());
        for (call, age) in in_flight {
            match call {
                Call::Prepay => prepays.push(age),
                Call::Query => queries.push(age),
            }
        }
        CallStats {
            prepay: self.prepays.stats(now, prepays, tuning),
            query: self.queries.stats(now, queries, tuning),
        }
    }

    /// Judges the channel; call it every 100 to 250 ms. At most one transition at a time.
    pub fn assess(
        &mut self,
        now: Timestamp,
        in_flight: impl IntoIterator<Item = (Call, u64)>,
        outside: Outside,
        tuning: &Tuning,
    ) -> Option<Transition> {
        self.prepays.forget_old(now, tuning);
        self.queries.forget_old(now, tuning);
        let stats = self.stats(now, in_flight, tuning);
        let transition = self.health.assess(&self.channel, &stats, outside, now, tuning)?;
        if transition.to == ChannelState::Probing {
            self.prepays.clear(now);
            self.queries.clear(now);
            self.last_probe = None;
        }
        Some(transition)
    }

    /// Notes that a probe began at `now`.
    pub fn note_probe(&mut self, now: Timestamp) {
        self.last_probe = Some(now);
    }

    /// True if the next order that can should probe the channel, whatever the share says.
    #[must_use]
    pub fn probe_due(&self, now: Timestamp, tuning: &Tuning) -> bool {
        self.probe_gap(now) >= Some(probe_every(tuning))
    }

    /// True if no order came to probe the channel for so long that a cheap query should.
    #[must_use]
    pub fn query_probe_due(&self, now: Timestamp, tuning: &Tuning) -> bool {
        self.probe_gap(now) >= Some(probe_every(tuning) * 2)
    }

    /// How long there was no probe; `None` if none is wanted.
    fn probe_gap(&self, now: Timestamp) -> Option<Duration> {
        let probing = self.health.state() == ChannelState::Probing;
        probing.then(|| now.since(self.last_probe.unwrap_or(self.health.since())))
    }
}

/// Spreads the probes a recovery needs over three quarters of its time, so that the last is back in time.
fn probe_every(tuning: &Tuning) -> Duration {
    Duration::from_millis(tuning.recover_after_s.saturating_mul(750) / tuning.probe_min_samples.max(1))
}
