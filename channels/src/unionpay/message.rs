//! Messages: what is signed, how answers are split, how times are written (protocol sections 1 and 3).

use std::collections::BTreeMap;

use domain::{Money, Timestamp};

use crate::clock;

/// Fields by name; the order of names is the order in which they are signed.
pub(crate) type Fields = BTreeMap<String, String>;

/// Everything but the signature and what is empty, values trimmed (section 3.1).
pub(crate) fn string_to_sign(fields: &Fields) -> String {
    let kept = fields.iter().filter(|(name, value)| *name != "signature" && !value.trim().is_empty());
    kept.map(|(name, value)| format!("{name}={}", value.trim())).collect::<Vec<_>>().join("&")
}

/// An answer, which is not percent-encoded: cut at `&` outside of brackets, each part at its first `=` (section 1).
pub(crate) fn split(body: &str) -> Fields {
    let body = body.strip_prefix('{').and_then(|b| b.strip_suffix('}')).unwrap_or(body);
    let mut fields = Fields::new();
    let (mut depth, mut start) = (0_usize, 0);
    let ends = body.char_indices().filter(|(_, c)| {
        match c {
            '{' | '[' => depth += 1,
            '}' | ']' => depth = depth.saturating_sub(1),
            _ => {}
        }
        *c == '&' && depth == 0
    });
    let mut put = |part: &str| {
        if let Some((name, value)) = part.split_once('=')
            && !value.is_empty()
        {
            fields.insert(name.to_owned(), value.to_owned());
        }
    };
    let mut parts = Vec::new();
    for (at, _) in ends {
        parts.push(start..at);
        start = at + 1;
    }
    parts.push(start..body.len());
    for part in parts {
        put(body.get(part).unwrap_or_default());
    }
    fields
}

const PATTERN: &str = "%Y%m%d%H%M%S";

/// `20260101080000`, Beijing.
pub(crate) fn time(at: Timestamp) -> String {
    clock::written(at, PATTERN)
}

/// The moment that `MMDDhhmmss` names: of the years around `now`, the one whose moment is not in the future.
pub(crate) fn moment(text: &str, now: Timestamp) -> Option<Timestamp> {
    let year: i16 = time(now).get(..4)?.parse().ok()?;
    let at = |year: i16| clock::moment(&format!("{year:04}{text}"), PATTERN);
    // A day of grace, for clocks that differ.
    at(year).filter(|at| at.secs() <= now.secs() + 86_400).or_else(|| at(year - 1))
}

/// Fen, digits only.
pub(crate) fn money(text: &str) -> Result<Money, String> {
    let digits = (1..=12).contains(&text.len()) && text.bytes().all(|c| c.is_ascii_digit());
    let fen =
        text.parse().ok().filter(|_| digits).ok_or_else(|| format!("{text:?} is not an amount in fen"))?;
    Money::from_fen(fen).map_err(|e| e.to_string())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_answer_is_cut_outside_of_brackets_and_at_the_first_equals_sign() {
        let fields = split("a=1&b=x=y==&c=&d={k=v&l=w}&e=[1&2]&f=+/");
        let pairs: Vec<_> = fields.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        assert_eq!(pairs, [("a", "1"), ("b", "x=y=="), ("d", "{k=v&l=w}"), ("e", "[1&2]"), ("f", "+/")]);
        assert_eq!(split("{a=1&b=2}").len(), 2);
        assert_eq!(split("").len(), 0);
    }

    #[test]
    fn a_time_without_a_year_is_the_last_one_that_was() {
        let now = Timestamp::from_secs(1_767_225_600);
        assert_eq!(time(now), "20260101080000");
        assert_eq!(moment("0101075959", now), Some(Timestamp::from_secs(1_767_225_599)));
        assert_eq!(moment("1231235959", now).map(time), Some("20251231235959".to_owned()));
        assert_eq!((moment("", now), moment("1399000000", now)), (None, None));
    }

    #[test]
    fn amounts_are_fen_in_digits() {
        assert_eq!(money("1").unwrap().fen(), 1);
        for bad in ["", "-1", "+1", "1.0", "1e3", "1234567890123", "一"] {
            assert!(money(bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn whatever_text_arrives_there_is_an_answer_and_no_panic(text in ".{0,200}") {
            let _ = (split(&text), moment(&text, Timestamp::from_secs(0)), money(&text));
        }

        #[test]
        fn what_has_no_brackets_reads_back(fields in prop::collection::btree_map("[a-zA-Z]{1,8}", "[^&{}\\[\\]]{1,20}", 0..8)) {
            let text = fields.iter().map(|(k, v)| format!("{k}={v}")).collect::<Vec<_>>().join("&");
            prop_assert_eq!(split(&text), fields);
        }
    }
}
