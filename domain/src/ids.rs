//! Names of things: orders, attempts, refunds, channels, merchants. Each has its own type.
//!
//! An order id is 128 bits (UUID version 7, so ids sort by time) and is always written as 26 characters of
//! lower-case Crockford base32. The numbers that a channel sees derive from it, so a repeat after a crash
//! is the same request.

use std::{fmt, str::FromStr, sync::Arc};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

use crate::Timestamp;

const CROCKFORD: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// A text that is not the id it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what}: {problem}")]
pub struct InvalidId {
    /// Which kind of id was expected.
    pub what: &'static str,
    /// What is wrong with the text.
    pub problem: &'static str,
}

/// An order: 26 characters of lower-case Crockford base32.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OrderId(u128);

impl OrderId {
    /// From the 128 bits of a UUID version 7.
    #[must_use]
    pub const fn from_u128(bits: u128) -> OrderId {
        OrderId(bits)
    }

    /// The 128 bits.
    #[must_use]
    pub const fn as_u128(self) -> u128 {
        self.0
    }

    /// When it was made, to the millisecond.
    #[must_use]
    pub fn made_at(self) -> Timestamp {
        Timestamp::from_millis(i64::try_from(self.0 >> 80).unwrap_or(i64::MAX))
    }

    /// The number of attempt `no` at its channel: the id and two digits, 28 characters.
    #[must_use]
    pub fn channel_order_no(self, no: AttemptNo) -> ChannelOrderNo {
        ChannelOrderNo(format!("{self}{:02}", no.0).into())
    }

    /// The number of the order's refund `n` (1 to 99) at its channel: the id, `r`, two digits.
    #[must_use]
    pub fn refund_no(self, n: u8) -> RefundNo {
        RefundNo(format!("{self}r{n:02}").into())
    }
}

impl OrderId {
    /// The number of the order's split, release or return `n` (1 to 99) at its channel: the id, `s`, two digits.
    #[must_use]
    pub fn split_no(self, n: u8) -> SplitNo {
        SplitNo(format!("{self}s{n:02}").into())
    }
}

impl fmt::Display for OrderId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // 26 digits of 5 bits hold 130 bits; the first digit carries only the top three.
        let mut text = [0u8; 26];
        for (place, slot) in text.iter_mut().enumerate() {
            let shift = 5 * (25 - place);
            let digit = usize::try_from((self.0 >> shift) & 31).unwrap_or_default();
            *slot = CROCKFORD.get(digit).copied().unwrap_or(b'0');
        }
        f.write_str(std::str::from_utf8(&text).unwrap_or_default())
    }
}

impl fmt::Debug for OrderId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "OrderId({self})")
    }
}

impl FromStr for OrderId {
    type Err = InvalidId;

    /// Exactly 26 characters; upper case is accepted, as Crockford's alphabet allows.
    fn from_str(text: &str) -> Result<OrderId, InvalidId> {
        let invalid = |problem| InvalidId { what: "order id", problem };
        if text.len() != 26 {
            return Err(invalid("expected 26 characters"));
        }
        let mut bits: u128 = 0;
        for (place, byte) in text.bytes().enumerate() {
            let digit = CROCKFORD
                .iter()
                .position(|&c| c == byte.to_ascii_lowercase())
                .ok_or(invalid("expected Crockford base32 (digits and letters without i, l, o, u)"))?;
            if place == 0 && digit > 7 {
                return Err(invalid("the first character is at most 7"));
            }
            bits = (bits << 5) | u128::try_from(digit).unwrap_or_default();
        }
        Ok(OrderId(bits))
    }
}

impl Serialize for OrderId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for OrderId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<OrderId, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

/// The running number of an attempt within its order, 1 to 99.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct AttemptNo(u8);

impl AttemptNo {
    /// How many attempts an order may have; two digits at the channel.
    pub const MAX: u8 = 99;

    /// The number, if it is 1 to 99.
    #[must_use]
    pub const fn new(no: u8) -> Option<AttemptNo> {
        if no >= 1 && no <= AttemptNo::MAX { Some(AttemptNo(no)) } else { None }
    }

    /// The number itself.
    #[must_use]
    pub const fn get(self) -> u8 {
        self.0
    }
}

impl fmt::Display for AttemptNo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident, $what:literal, $max:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
        #[serde(transparent)]
        pub struct $name(Arc<str>);

        impl $name {
            #[doc = concat!("Checks the text: 1 to ", stringify!($max), " characters of `[A-Za-z0-9_.-]`.")]
            pub fn new(text: &str) -> Result<$name, InvalidId> {
                if text.is_empty() || text.len() > $max {
                    return Err(InvalidId { what: $what, problem: concat!("expected 1 to ", stringify!($max), " characters") });
                }
                if !text.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-.".contains(&b)) {
                    return Err(InvalidId { what: $what, problem: "expected letters, digits, '_', '-' or '.'" });
                }
                Ok($name(text.into()))
            }

            /// The text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<$name, InvalidId> {
                $name::new(text)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<$name, D::Error> {
                $name::new(&String::deserialize(deserializer)?).map_err(D::Error::custom)
            }
        }
    };
}

text_id!(
    /// A channel's name in configuration, API and books, such as `wechat` or `campus_card`.
    ChannelId, "channel", 32
);
text_id!(
    /// A stall's id at the backend.
    MerchantId, "merchant id", 64
);
text_id!(
    /// The number under which a channel knows an attempt: order id and two digits.
    ChannelOrderNo, "channel order number", 64
);
text_id!(
    /// The number under which a channel knows a refund: order id, `r`, two digits.
    RefundNo, "refund number", 64
);

text_id!(
    /// The number under which a channel knows a split, a release or a return: order id, `s`, two digits.
    SplitNo, "split number", 32
);

impl ChannelOrderNo {
    /// The order and attempt behind a number that this service made; `None` for any other text.
    #[must_use]
    pub fn parts(&self) -> Option<(OrderId, AttemptNo)> {
        let (id, no) = self.0.split_at_checked(26)?;
        let no = (no.len() == 2).then(|| no.parse().ok()).flatten().and_then(AttemptNo::new)?;
        Some((id.parse().ok()?, no))
    }
}

impl RefundNo {
    /// The order behind a refund number that this service made; `None` for any other text.
    #[must_use]
    pub fn order(&self) -> Option<OrderId> {
        let (id, rest) = self.0.split_at_checked(26)?;
        rest.strip_prefix('r')?;
        id.parse().ok()
    }

    /// Its place in the count of the order's refunds, from 1; `None` for a text that this service did not make.
    #[must_use]
    pub fn place(&self) -> Option<u8> {
        let n = self.0.get(27..)?.parse().ok().filter(|n| *n > 0)?;
        (self.order()?.refund_no(n) == *self).then_some(n)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn an_order_id_reads_back_and_sorts_like_its_bits(a: u128, b: u128) {
            let (a, b) = (OrderId::from_u128(a), OrderId::from_u128(b));
            prop_assert_eq!(a.to_string().parse::<OrderId>().unwrap(), a);
            prop_assert_eq!(a.to_string().cmp(&b.to_string()), a.cmp(&b));
        }

        #[test]
        fn a_channel_order_number_leads_back_to_its_attempt(bits: u128, no in 1u8..=99) {
            let (id, no) = (OrderId::from_u128(bits), AttemptNo::new(no).unwrap());
            let number = id.channel_order_no(no);
            prop_assert_eq!(number.as_str().len(), 28);
            prop_assert_eq!(number.parts(), Some((id, no)));
        }

        #[test]
        fn a_refund_number_leads_back_to_its_order_and_place(bits: u128, n in 1u8..=99) {
            let id = OrderId::from_u128(bits);
            let number = id.refund_no(n);
            prop_assert_eq!((number.order(), number.place()), (Some(id), Some(n)));
            for other in [format!("{id}r0"), format!("{id}r00"), format!("{id}r001"), format!("{id}r256"), format!("{id}s01")] {
                prop_assert_eq!(RefundNo::new(&other).unwrap().place(), None);
            }
        }

        #[test]
        fn any_text_is_parsed_or_refused_without_a_panic(text in ".{0,40}") {
            let _ = text.parse::<OrderId>();
            if let Ok(number) = ChannelOrderNo::new(&text) { let _ = number.parts(); }
        }
    }
}
