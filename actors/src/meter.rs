//! What one channel's calls look like right now: answered ones in a window, unanswered ones by their age.
//!
//! Written by the gateway around every call, read by the router ten times a second. Both need the same
//! numbers at once, so they share them under a lock whose sections are a few additions long and never await;
//! a message per call would cost more than the call's whole bookkeeping. The judgement itself is the
//! domain's [`Monitor`].

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use domain::{
    ChannelId, Timestamp,
    routing::{Call, CallStats, ChannelState, Monitor, Outcome, Outside, Transition},
    tuning::Tuning,
};
use parking_lot::Mutex;

use crate::{breaker::Breaker, clock::Clock};

/// The meter of one channel.
pub(crate) struct Meter {
    clock: Arc<dyn Clock>,
    next: AtomicU64,
    breaker: Breaker,
    inner: Mutex<Inner>,
}

struct Inner {
    monitor: Monitor,
    in_flight: BTreeMap<u64, (Call, Timestamp)>,
}

/// What operators and the routing table see of a channel.
#[derive(Debug, Clone)]
pub(crate) struct Reading {
    pub(crate) state: ChannelState,
    pub(crate) since: Timestamp,
    pub(crate) reason: String,
    pub(crate) stats: CallStats,
    pub(crate) in_flight: usize,
    pub(crate) probe_due: bool,
    pub(crate) query_probe_due: bool,
}

impl Meter {
    /// A meter that knows nothing yet.
    pub(crate) fn new(channel: ChannelId, clock: Arc<dyn Clock>, breaker: Breaker) -> Arc<Meter> {
        let inner = Inner { monitor: Monitor::new(channel, clock.now()), in_flight: BTreeMap::new() };
        Arc::new(Meter { clock, next: AtomicU64::new(0), breaker, inner: Mutex::new(inner) })
    }

    /// Notes that a call leaves. Dropping the ticket without an outcome (the caller died) notes nothing.
    #[must_use]
    pub(crate) fn begin(self: &Arc<Meter>, call: Call) -> Ticket {
        let (id, at) = (self.next.fetch_add(1, Ordering::Relaxed), self.clock.now());
        self.inner.lock().in_flight.insert(id, (call, at));
        Ticket { meter: self.clone(), call, id, at }
    }

    /// The channel's breaker. It outlives its gateway, like everything that was learned about the channel.
    pub(crate) fn breaker(&self) -> &Breaker {
        &self.breaker
    }

    /// Judges the channel; returns the change of state, if any, and what is known now.
    pub(crate) fn assess(&self, disabled: bool, tuning: &Tuning) -> (Option<Transition>, Reading) {
        let now = self.clock.now();
        let mut inner = self.inner.lock();
        let Inner { monitor, in_flight } = &mut *inner;
        let outside = Outside { breaker_open: self.breaker.turns_away(), disabled };
        let transition = monitor.assess(now, ages(in_flight, now), outside, tuning);
        let reading = Reading {
            state: monitor.state(),
            since: monitor.health().since(),
            reason: monitor.health().reason().to_owned(),
            stats: monitor.stats(now, ages(in_flight, now), tuning),
            in_flight: in_flight.len(),
            probe_due: monitor.probe_due(now, tuning),
            query_probe_due: monitor.query_probe_due(now, tuning),
        };
        (transition, reading)
    }

    /// Calls under way.
    pub(crate) fn in_flight(&self) -> usize {
        self.inner.lock().in_flight.len()
    }

    /// Notes that an order or a query probes the channel now.
    pub(crate) fn note_probe(&self) {
        let now = self.clock.now();
        self.inner.lock().monitor.note_probe(now);
    }
}

fn ages(in_flight: &BTreeMap<u64, (Call, Timestamp)>, now: Timestamp) -> impl Iterator<Item = (Call, u64)> {
    in_flight.values().map(move |(call, at)| (*call, millis(now, *at)))
}

fn millis(now: Timestamp, then: Timestamp) -> u64 {
    u64::try_from(now.since(then).as_millis()).unwrap_or(u64::MAX)
}

/// A call under way.
pub(crate) struct Ticket {
    meter: Arc<Meter>,
    call: Call,
    id: u64,
    at: Timestamp,
}

impl Ticket {
    /// Notes how the call ended.
    pub(crate) fn end(self, outcome: Outcome) {
        let now = self.meter.clock.now();
        self.meter.inner.lock().monitor.record(now, self.call, millis(now, self.at), outcome);
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.meter.inner.lock().in_flight.remove(&self.id);
    }
}
