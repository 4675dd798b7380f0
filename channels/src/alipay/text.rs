//! Alipay's ways of writing money and time (protocol section 2): yuan in decimals, Beijing time without an offset.

use std::collections::BTreeMap;

use domain::{Money, Timestamp};

use crate::clock;

/// Parameters by name; the order of names is the order in which they are signed.
pub(crate) type Params = BTreeMap<String, String>;

/// The string that is signed: everything but `without` and what is empty, values raw (section 1.2).
pub(crate) fn string_to_sign(params: &Params, without: &[&str]) -> String {
    let kept = params.iter().filter(|(name, value)| !value.is_empty() && !without.contains(&name.as_str()));
    kept.map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("&")
}

/// Always two decimals.
pub(crate) fn yuan(amount: Money) -> String {
    format!("{}.{:02}", amount.fen() / 100, amount.fen() % 100)
}

/// Nought to two decimals, as answers may have; never a float.
pub(crate) fn money(text: &str) -> Result<Money, String> {
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    let digits = |t: &str| t.bytes().all(|c| c.is_ascii_digit());
    if whole.is_empty() || whole.len() > 12 || part.len() > 2 || !digits(whole) || !digits(part) {
        return Err(format!("{text:?} is not an amount in yuan"));
    }
    let fen: i64 = format!("{whole}{part:0<2}").parse().map_err(|e| format!("{text:?}: {e}"))?;
    Money::from_fen(fen).map_err(|e| e.to_string())
}

/// `2026-01-01 08:00:00` for a moment.
pub(crate) fn time(at: Timestamp) -> String {
    clock::written(at, clock::PLAIN)
}

/// The moment that `2026-01-01 08:00:00` names, with or without milliseconds.
pub(crate) fn moment(text: &str) -> Option<Timestamp> {
    clock::moment(text.get(..19)?, clock::PLAIN)
}

/// A subject without the characters that the gateway refuses, at most `max` characters.
pub(crate) fn subject(text: &str, max: usize) -> String {
    let kept = text.chars().map(|c| if matches!(c, '/' | '=' | '&') || c.is_control() { ' ' } else { c });
    let text: String = kept.take(max).collect();
    if text.trim().is_empty() { "订单".to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn amounts_and_times_are_read_as_the_gateway_writes_them() {
        for (text, fen) in [("0.01", 1), ("1", 100), ("1.5", 150), ("18.50", 1850), ("0.00", 0)] {
            assert_eq!(money(text).unwrap().fen(), fen, "{text}");
        }
        for text in ["", ".5", "-1", "1.005", "1e2", "一"] {
            assert!(money(text).is_err(), "{text}");
        }
        let at = Timestamp::from_secs(1_767_225_600);
        assert_eq!((time(at).as_str(), moment(&time(at))), ("2026-01-01 08:00:00", Some(at)));
        assert_eq!((moment("2026-01-01 08:00:00.123"), moment("2026-01-01")), (Some(at), None));
        assert_eq!(subject("a/b=c&d", 5), "a b c");
    }

    proptest! {
        #[test]
        fn whatever_text_arrives_there_is_an_answer_and_no_panic(text in ".{0,40}") {
            let _ = (money(&text), moment(&text), subject(&text, 10));
        }

        #[test]
        fn an_amount_that_is_written_is_read_back(fen in 1_i64..10_000_000_000) {
            let amount = Money::from_fen(fen).unwrap();
            prop_assert_eq!(money(&yuan(amount)).unwrap(), amount);
        }
    }
}
