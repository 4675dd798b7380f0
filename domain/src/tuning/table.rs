//! The machinery behind the table of settings: one line there is a field, a default, a range and a text.
//!
//! A setting is a whole number, a share (a fraction) or a switch. Its unit is the end of its key, so that no
//! number is ever without one. Nothing here knows what a setting is for.

use std::fmt;

use serde::Serialize;

/// The value of one setting.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Value {
    /// A count or a time in the key's unit.
    Whole(u64),
    /// A fraction.
    Share(f64),
    /// On or off.
    Switch(bool),
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Whole(v) => write!(f, "{v}"),
            Value::Share(v) => write!(f, "{v}"),
            Value::Switch(v) => write!(f, "{v}"),
        }
    }
}

/// What a setting may be set to.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Range {
    /// A whole number within these bounds, both included.
    Whole {
        /// The least.
        min: u64,
        /// The most.
        max: u64,
    },
    /// A fraction within these bounds, both included.
    Share {
        /// The least.
        min: f64,
        /// The most.
        max: f64,
    },
    /// `true` or `false`.
    Switch,
}

impl Range {
    pub(super) const fn whole(min: u64, max: u64) -> Range {
        Range::Whole { min, max }
    }

    pub(super) const fn share(min: f64, max: f64) -> Range {
        Range::Share { min, max }
    }

    /// True if `value` is of the right kind and within the bounds; not-a-number never is.
    #[must_use]
    pub fn holds(&self, value: Value) -> bool {
        match (self, value) {
            (Range::Whole { min, max }, Value::Whole(v)) => (*min..=*max).contains(&v),
            (Range::Share { min, max }, Value::Share(v)) => (*min..=*max).contains(&v),
            (Range::Switch, Value::Switch(_)) => true,
            (Range::Whole { .. }, Value::Share(_) | Value::Switch(_))
            | (Range::Share { .. }, Value::Whole(_) | Value::Switch(_))
            | (Range::Switch, Value::Whole(_) | Value::Share(_)) => false,
        }
    }

    /// Reads a value of the right kind; the bounds are not looked at.
    pub(super) fn parse(&self, text: &str) -> Result<Value, &'static str> {
        match self {
            Range::Whole { .. } => text.parse().map(Value::Whole).map_err(|_| "is not a whole number"),
            Range::Share { .. } => text.parse().map(Value::Share).map_err(|_| "is not a number"),
            Range::Switch => match text {
                "true" | "on" => Ok(Value::Switch(true)),
                "false" | "off" => Ok(Value::Switch(false)),
                _ => Err("is neither true nor false"),
            },
        }
    }
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Range::Whole { min, max } => write!(f, "{min} to {max}"),
            Range::Share { min, max } => write!(f, "{min} to {max}"),
            Range::Switch => f.write_str("true or false"),
        }
    }
}

/// What is to be known about a setting: for `--help`, the documentation and the admin API.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Key {
    /// Its name; the unit is its end.
    pub key: &'static str,
    /// What it does, one or two sentences.
    pub about: &'static str,
    /// `ms`, `s`, `per second`, or nothing for counts, shares and switches.
    pub unit: &'static str,
    /// What it may be set to.
    pub range: Range,
    /// What it is until somebody sets it.
    pub default: Value,
}

pub(super) fn unit_of(key: &str) -> &'static str {
    if key.ends_with("_per_s") {
        "per second"
    } else if key.ends_with("_ms") {
        "ms"
    } else if key.ends_with("_s") {
        "s"
    } else if key.ends_with("_fen") {
        "fen"
    } else if key.ends_with("_h") {
        "h"
    } else {
        ""
    }
}

/// A type that a setting can have.
pub(super) trait Setting: Sized {
    fn value(&self) -> Value;
    fn take(&mut self, value: Value);
}

macro_rules! setting {
    ($type:ty, $variant:ident) => {
        impl Setting for $type {
            fn value(&self) -> Value {
                Value::$variant(*self)
            }

            /// A value of another kind changes nothing: `Range::parse` has made it of the right one.
            fn take(&mut self, value: Value) {
                if let Value::$variant(v) = value {
                    *self = v;
                }
            }
        }
    };
}

setting!(u64, Whole);
setting!(f64, Share);
setting!(bool, Switch);

/// Makes `Tuning` from lines of the form `/// about` `key: type = default, range;`.
macro_rules! tunables {
    ($(#[$outer:meta])* $name:ident { $($(#[doc = $doc:literal])+ $key:ident: $type:ty = $default:expr, $range:expr;)+ }) => {
        $(#[$outer])*
        #[derive(Debug, Clone, PartialEq, ::serde::Serialize, ::serde::Deserialize)]
        #[serde(default, deny_unknown_fields)]
        pub struct $name {
            $($(#[doc = $doc])+ pub $key: $type,)+
        }

        impl Default for $name {
            fn default() -> $name {
                $name { $($key: $default,)+ }
            }
        }

        impl $name {
            /// Every setting, in the order of the documentation.
            #[must_use]
            pub fn keys() -> Vec<$crate::tuning::Key> {
                let default = $name::default();
                vec![$($crate::tuning::Key {
                    key: stringify!($key),
                    about: concat!($($doc),+).trim_ascii(),
                    unit: $crate::tuning::table::unit_of(stringify!($key)),
                    range: $range,
                    default: $crate::tuning::table::Setting::value(&default.$key),
                }),+]
            }

            /// The value of the setting with this name; `None` if there is none.
            #[must_use]
            pub fn get(&self, key: &str) -> Option<$crate::tuning::Value> {
                match key {
                    $(stringify!($key) => Some($crate::tuning::table::Setting::value(&self.$key)),)+
                    _ => None,
                }
            }

            /// Its range; `None` if there is no such setting.
            fn range(key: &str) -> Option<$crate::tuning::Range> {
                match key {
                    $(stringify!($key) => Some($range),)+
                    _ => None,
                }
            }

            /// Puts a value of the right kind in its place, unchecked.
            fn put(&mut self, key: &str, value: $crate::tuning::Value) {
                match key {
                    $(stringify!($key) => $crate::tuning::table::Setting::take(&mut self.$key, value),)+
                    _ => {}
                }
            }
        }
    };
}

pub(super) use tunables;
