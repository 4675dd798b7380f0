//! The sandbox's clock: the machine's, moved by an offset that a test sets.

use std::{
    sync::atomic::{AtomicI64, Ordering},
    time::{SystemTime, UNIX_EPOCH},
};

use domain::Timestamp;

/// Real time plus an offset.
#[derive(Debug, Default)]
pub(crate) struct Clock {
    offset_us: AtomicI64,
}

impl Clock {
    /// The present moment as the channels see it.
    pub(crate) fn now(&self) -> Timestamp {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let real = i64::try_from(since.as_micros()).unwrap_or(i64::MAX);
        Timestamp::from_micros(real.saturating_add(self.offset_us.load(Ordering::Relaxed)))
    }

    /// Moves the clock to real time plus `offset_s`.
    pub(crate) fn set_offset_s(&self, offset_s: i64) {
        self.offset_us.store(offset_s.saturating_mul(1_000_000), Ordering::Relaxed);
    }
}

/// RFC 3339 with the channels' own offset, whole seconds: `2026-01-01T08:00:00+08:00`.
pub(crate) fn beijing(at: Timestamp) -> String {
    let zone = jiff::tz::TimeZone::fixed(jiff::tz::offset(8));
    match jiff::Timestamp::from_second(at.secs()) {
        Ok(t) => t.to_zoned(zone).strftime("%Y-%m-%dT%H:%M:%S+08:00").to_string(),
        Err(_) => String::new(),
    }
}
