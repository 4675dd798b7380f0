//! The few places where a float becomes an integer or the other way round.
//!
//! Everything else in the room stays free of casts. A float that is not a number, negative or too large
//! ends at the nearest end of the range, so a chart or a plan is odd rather than a crash.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The nearest float; exact below 2^53, which is 285 years in microseconds.
#[expect(clippy::as_conversions, reason = "no lossless conversion exists; exact in the range used")]
pub(crate) fn float(value: u64) -> f64 {
    value as f64
}

/// The float of a count in memory.
pub(crate) fn float_of(count: usize) -> f64 {
    float(self::count(count))
}

/// A count in memory as a figure.
pub(crate) fn count(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

/// Rounds to the nearest integer; below zero and not-a-number become 0.
#[expect(clippy::as_conversions, reason = "float casts saturate, which is what is wanted")]
pub(crate) fn whole(value: f64) -> u64 {
    value.round() as u64
}

/// An index or count from a float, rounded down.
#[expect(clippy::as_conversions, reason = "float casts saturate, which is what is wanted")]
pub(crate) fn index(value: f64) -> usize {
    value.floor() as usize
}

/// Microseconds in a duration, saturating.
pub(crate) fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// A span of seconds; anything that is not a positive span becomes zero.
pub(crate) fn seconds(value: f64) -> Duration {
    Duration::try_from_secs_f64(value).unwrap_or(Duration::ZERO)
}

/// Microseconds since the epoch by the wall clock: the clock shared with sandbox and service.
pub(crate) fn wall_us() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |d| i64::try_from(d.as_micros()).unwrap_or(i64::MAX))
}

/// `part / whole`, or zero when there is no whole.
pub(crate) fn ratio(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { float(part) / float(whole) }
}

/// Rounded to `digits` decimals, for figures that people read.
pub(crate) fn rounded(value: f64, digits: i32) -> f64 {
    let scale = 10f64.powi(digits);
    (value * scale).round() / scale
}
