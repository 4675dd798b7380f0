//! Where "now" comes from. Rules take time as an argument; actors ask a clock, so that a test or the
//! simulator can own it.

use std::time::{SystemTime, UNIX_EPOCH};

use domain::Timestamp;

/// A source of the present moment (UTC). Cheap to ask.
pub trait Clock: Send + Sync {
    /// The present moment.
    fn now(&self) -> Timestamp;
}

/// The machine's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp::from_micros(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
    }
}
