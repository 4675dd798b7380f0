//! The wall clock, and times as channels write them (RFC 3339 with +08:00).

use std::{
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use domain::Timestamp;
use jiff::{
    civil::DateTime,
    tz::{Offset, TimeZone},
};

/// Tells the time for signatures and their windows; a test or simulator brings its own.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// The clock of this machine.
#[must_use]
pub fn system_clock() -> Clock {
    Arc::new(|| {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp::from_micros(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
    })
}

/// `2026-01-01T08:00:00+08:00`: whole seconds, Beijing.
pub(crate) fn beijing(time: Timestamp) -> String {
    let time = jiff::Timestamp::from_second(time.secs()).unwrap_or_default();
    time.display_with_offset(Offset::constant(8)).to_string()
}

fn zone() -> TimeZone {
    TimeZone::fixed(Offset::constant(8))
}

/// A moment at Beijing, as a channel writes it.
pub(crate) fn written(at: Timestamp, pattern: &str) -> String {
    let at = jiff::Timestamp::from_second(at.secs()).unwrap_or_default();
    at.to_zoned(zone()).strftime(pattern).to_string()
}

/// The first moment of a day at Beijing.
pub(crate) fn midnight(day: jiff::civil::Date) -> Timestamp {
    let at = day.to_zoned(zone()).map(|at| at.timestamp()).unwrap_or_default();
    Timestamp::from_secs(at.as_second())
}

/// The moment that a text names at Beijing.
pub(crate) fn moment(text: &str, pattern: &str) -> Option<Timestamp> {
    let at = DateTime::strptime(pattern, text).ok()?.to_zoned(zone()).ok()?;
    Some(Timestamp::from_secs(at.timestamp().as_second()))
}

/// How bills and Alipay write time: `2026-01-01 08:00:00`.
pub(crate) const PLAIN: &str = "%Y-%m-%d %H:%M:%S";

/// Reads the `Timestamp` header of a signed message and checks that it is less than five minutes from `now`.
pub(crate) fn within_five_minutes(seconds: &str, now: Timestamp) -> Option<bool> {
    let seconds: i64 = seconds.parse().ok()?;
    Some(now.secs().abs_diff(seconds) < 300)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beijing_time_has_its_offset_and_whole_seconds() {
        assert_eq!(beijing(Timestamp::from_millis(1_767_225_600_999)), "2026-01-01T08:00:00+08:00");
    }

    #[test]
    fn the_window_is_five_minutes_both_ways_and_survives_absurd_numbers() {
        let now = Timestamp::from_secs(1_767_225_600);
        assert_eq!(within_five_minutes("1767225600", now), Some(true));
        assert_eq!(within_five_minutes("1767225899", now), Some(true));
        assert_eq!(within_five_minutes("1767225900", now), Some(false));
        assert_eq!(within_five_minutes("1767225300", now), Some(false));
        assert_eq!(within_five_minutes("-9223372036854775808", now), Some(false));
        assert_eq!(within_five_minutes("soon", now), None);
    }
}
