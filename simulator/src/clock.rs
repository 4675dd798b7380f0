//! The simulated clock: tokio's paused one within a life, carried over from life to life.

use std::time::Duration;

use actors::Clock;
use domain::Timestamp;
use parking_lot::Mutex;
use tokio::time::Instant;

/// The clock of the simulation, and so of the house.
#[derive(Debug)]
pub(crate) struct SimClock(Mutex<(Timestamp, Option<Instant>)>);

impl SimClock {
    pub(crate) fn new(start: Timestamp) -> SimClock {
        SimClock(Mutex::new((start, None)))
    }

    /// A life begins: from here time is what its runtime says. Call it inside the runtime.
    pub(crate) fn run(&self) {
        self.0.lock().1 = Some(Instant::now());
    }

    /// A life ended at the present moment. Call it inside the runtime.
    pub(crate) fn halt(&self) {
        let now = self.now();
        *self.0.lock() = (now, None);
    }

    /// Lets time pass between two lives.
    pub(crate) fn skip(&self, by: Duration) {
        let mut inner = self.0.lock();
        inner.0 = inner.0.plus(by);
    }

    /// The runtime's instant of a moment; only within a life.
    pub(crate) fn instant(&self, at: Timestamp) -> Instant {
        let (base, since) = *self.0.lock();
        since.unwrap_or_else(Instant::now) + at.since(base)
    }
}

impl Clock for SimClock {
    fn now(&self) -> Timestamp {
        let (base, since) = *self.0.lock();
        since.map_or(base, |since| base.plus(since.elapsed()))
    }
}
