//! Days of the campus: +08:00, no summer time.

use domain::Timestamp;
use jiff::{
    civil::Date,
    tz::{Offset, TimeZone},
};

fn campus(at: Timestamp) -> jiff::Zoned {
    let at = jiff::Timestamp::from_second(at.secs()).unwrap_or_default();
    at.to_zoned(TimeZone::fixed(Offset::constant(8)))
}

/// The campus's date at a moment.
#[must_use]
pub fn campus_day(at: Timestamp) -> Date {
    campus(at).date()
}

/// The campus's hour at a moment, 0 to 23.
#[must_use]
pub fn campus_hour(at: Timestamp) -> u64 {
    u64::try_from(campus(at).hour()).unwrap_or(0)
}

/// `2026-11-24`; `None` if it is not that.
#[must_use]
pub fn parse_day(text: &str) -> Option<Date> {
    text.parse().ok().filter(|day: &Date| day.to_string() == text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_campus_is_eight_hours_ahead() {
        let late = Timestamp::parse("2026-01-01T15:59:59Z").unwrap();
        assert_eq!((campus_day(late).to_string().as_str(), campus_hour(late)), ("2026-01-01", 23));
        let next = Timestamp::parse("2026-01-01T16:00:00Z").unwrap();
        assert_eq!((campus_day(next).to_string().as_str(), campus_hour(next)), ("2026-01-02", 0));
        assert_eq!(parse_day("2026-11-24").map(|d| d.to_string()).as_deref(), Some("2026-11-24"));
        for wrong in ["2026-11-31", "24.11.2026", "2026-11-24T00:00", ""] {
            assert_eq!(parse_day(wrong), None, "{wrong}");
        }
    }
}
