//! Alipay's ways of writing money and time: yuan with two decimals, Beijing time without an offset.

use domain::Timestamp;

use crate::clock;

/// The most that one trade may cost: a hundred million yuan.
const FEN_MAX: i64 = 10_000_000_000;

/// `1850` as `18.50`.
pub(crate) fn yuan(fen: i64) -> String {
    format!("{}.{:02}", fen / 100, fen % 100)
}

/// `18.5` as `1850`; `None` for more than two decimals, an exponent, a sign, nothing or too much.
pub(crate) fn fen(text: &str) -> Option<i64> {
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    let digits = |t: &str| t.bytes().all(|c| c.is_ascii_digit());
    if whole.is_empty() || whole.len() > 9 || !digits(whole) || !digits(part) || part.len() > 2 {
        return None;
    }
    if part.is_empty() && text.contains('.') {
        return None;
    }
    let cents: i64 = format!("{part:0<2}").parse().ok()?;
    let fen = whole.parse::<i64>().ok()? * 100 + cents;
    (1..=FEN_MAX).contains(&fen).then_some(fen)
}

const PATTERN: &str = "%Y-%m-%d %H:%M:%S";

/// `2026-01-01 08:00:00`.
pub(crate) fn time(at: Timestamp) -> String {
    clock::written(at, PATTERN)
}

/// The moment that `2026-01-01 08:00:00` names.
pub(crate) fn moment(text: &str) -> Option<Timestamp> {
    clock::moment(text, PATTERN)
}

/// How long `90m`, `2h`, `1d` or `1c` (to the end of the day at Beijing) is from `now`: one minute to fifteen days.
pub(crate) fn span(text: &str, now: Timestamp) -> Option<Timestamp> {
    if text == "1c" {
        let day = time(now);
        let midnight = moment(&format!("{} 00:00:00", day.get(..10)?))?;
        return Some(Timestamp::from_secs(midnight.secs() + 86_400));
    }
    let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let number: i64 = number.parse().ok().filter(|n| *n > 0)?;
    let unit = match unit {
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        _ => return None,
    };
    let secs = number.checked_mul(unit).filter(|s| *s <= 15 * 86_400)?;
    Some(Timestamp::from_secs(now.secs() + secs))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn yuan_are_read_without_floats_and_nonsense_is_refused() {
        for (text, amount) in
            [("0.01", 1), ("1", 100), ("1.5", 150), ("18.50", 1850), ("100000000.00", FEN_MAX)]
        {
            assert_eq!(fen(text), Some(amount), "{text}");
        }
        for text in ["", "0", "0.00", "-1", "+1", "1.", ".5", "1.005", "1e2", "100000000.01", "一", "1 "] {
            assert_eq!(fen(text), None, "{text}");
        }
        assert_eq!((yuan(1), yuan(1850)), ("0.01".to_owned(), "18.50".to_owned()));
    }

    #[test]
    fn times_are_beijing_and_spans_have_their_bounds() {
        let start = Timestamp::from_secs(1_767_225_600);
        assert_eq!(time(start), "2026-01-01 08:00:00");
        assert_eq!(moment("2026-01-01 08:00:00"), Some(start));
        assert_eq!(moment("2026-01-01T08:00:00"), None);
        let after = |text| span(text, start).map(|t| t.secs() - start.secs());
        assert_eq!(
            (after("90m"), after("2h"), after("15d"), after("1c")),
            (Some(5_400), Some(7_200), Some(1_296_000), Some(57_600))
        );
        assert_eq!(
            (after("16d"), after("1.5h"), after("0m"), after("m"), after("")),
            (None, None, None, None, None)
        );
    }
}
