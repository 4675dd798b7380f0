//! The sandbox's clock: the machine's, moved by an offset that a test sets.

use std::{
    sync::atomic::{AtomicI64, Ordering},
    time::{SystemTime, UNIX_EPOCH},
};

use domain::Timestamp;
use jiff::{civil::DateTime, tz::TimeZone};

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

fn zone() -> TimeZone {
    TimeZone::fixed(jiff::tz::offset(8))
}

/// A moment at Beijing, as a channel writes it.
pub(crate) fn written(at: Timestamp, pattern: &str) -> String {
    let at = jiff::Timestamp::from_second(at.secs()).unwrap_or_default();
    at.to_zoned(zone()).strftime(pattern).to_string()
}

/// The moment that a text names at Beijing.
pub(crate) fn moment(text: &str, pattern: &str) -> Option<Timestamp> {
    let at = DateTime::strptime(pattern, text).ok()?.to_zoned(zone()).ok()?;
    Some(Timestamp::from_secs(at.timestamp().as_second()))
}

/// RFC 3339 with the channels' own offset, whole seconds: `2026-01-01T08:00:00+08:00`.
pub(crate) fn beijing(at: Timestamp) -> String {
    written(at, "%Y-%m-%dT%H:%M:%S+08:00")
}
