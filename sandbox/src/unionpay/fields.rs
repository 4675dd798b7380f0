//! The fields of a message: read from a form, ordered by name, written in the two ways of the protocol.

use std::collections::BTreeMap;

use domain::Timestamp;

use crate::clock;

/// Fields by name; an absent one reads as empty.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Fields(BTreeMap<String, String>);

impl<const N: usize> From<[(&str, &str); N]> for Fields {
    fn from(pairs: [(&str, &str); N]) -> Fields {
        Fields(pairs.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
    }
}

impl Fields {
    /// A form as it came; a name that comes twice keeps its last value, which the signature then covers.
    pub(crate) fn read(body: &[u8]) -> Fields {
        Fields(url::form_urlencoded::parse(body).into_owned().collect())
    }

    pub(crate) fn get(&self, name: &str) -> &str {
        self.0.get(name).map(String::as_str).unwrap_or_default()
    }

    /// Sets a field; an empty value removes it, since the gateway sends none.
    pub(crate) fn set(&mut self, name: &str, value: impl Into<String>) {
        let value = value.into();
        if value.is_empty() {
            self.0.remove(name);
        } else {
            self.0.insert(name.to_owned(), value);
        }
    }

    /// Sets what is not set yet to what `other` has there.
    pub(crate) fn echo(&mut self, other: &Fields, names: &[&str]) {
        for name in names {
            if self.get(name).is_empty() {
                self.set(name, other.get(name));
            }
        }
    }

    /// The string that is signed: trimmed values, without `signature` and without what is empty (section 3.1).
    pub(crate) fn string_to_sign(&self) -> String {
        let kept = self.0.iter().filter(|(name, value)| *name != "signature" && !value.trim().is_empty());
        kept.map(|(name, value)| format!("{name}={}", value.trim())).collect::<Vec<_>>().join("&")
    }

    /// As answers are written: raw.
    pub(crate) fn raw(&self) -> String {
        self.0.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("&")
    }

    /// As notifications are written: a percent-encoded form.
    pub(crate) fn form(&self) -> String {
        url::form_urlencoded::Serializer::new(String::new()).extend_pairs(&self.0).finish()
    }
}

const PATTERN: &str = "%Y%m%d%H%M%S";

/// `20260101080000`, Beijing.
pub(crate) fn time(at: Timestamp) -> String {
    clock::written(at, PATTERN)
}

/// The moment that `20260101080000` names.
pub(crate) fn moment(text: &str) -> Option<Timestamp> {
    let digits = text.len() == 14 && text.bytes().all(|c| c.is_ascii_digit());
    if digits { clock::moment(text, PATTERN) } else { None }
}

/// The settlement day `YYYYMMDD` that a moment belongs to: days end at 23:00.
pub(crate) fn settle_day(at: Timestamp) -> String {
    time(Timestamp::from_secs(at.secs() + 3_600)).chars().take(8).collect()
}
