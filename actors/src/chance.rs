//! Where chance comes from: ids and the router's draws.
//!
//! The operating system in production; the simulator brings its own, so that one seed decides everything. Ids are
//! UUIDs of version 7 on the house's clock, to the microsecond (RFC 9562, section 6.2, method 3): they sort by time.

use domain::Timestamp;

/// A source of random bits. Cheap to ask.
pub trait Chance: Send + Sync {
    /// 64 independent, uniform bits.
    fn bits(&self) -> u64;
}

/// The machine's.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemChance;

impl Chance for SystemChance {
    fn bits(&self) -> u64 {
        rand::random()
    }
}

/// A share between 0 and 1, without 1.
pub(crate) fn share(chance: &dyn Chance) -> f64 {
    let high = u32::try_from(chance.bits() >> 32).unwrap_or_default();
    f64::from(high) / 4_294_967_296.0
}

/// A fresh id for something that happens at `now`.
pub(crate) fn id(chance: &dyn Chance, now: Timestamp) -> uuid::Uuid {
    let micros = u128::try_from(now.micros()).unwrap_or_default();
    let (millis, rest) = (micros / 1_000, micros % 1_000);
    // 12 bits of a fraction of a millisecond, then 62 random ones.
    let bits = millis << 80 | (rest * 4_096 / 1_000) << 64 | u128::from(chance.bits());
    uuid::Builder::from_u128(bits)
        .with_variant(uuid::Variant::RFC4122)
        .with_version(uuid::Version::SortRand)
        .into_uuid()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_of_version_7_tell_their_millisecond_and_sort_by_the_microsecond() {
        let at = |micros: i64| Timestamp::from_micros(1_767_225_600_000_000 + micros);
        let ids: Vec<uuid::Uuid> = [0, 1, 999, 1_000, 5_000_000].map(|us| id(&SystemChance, at(us))).to_vec();
        assert!(ids.is_sorted());
        for id in &ids {
            assert_eq!((id.get_version_num(), id.get_variant()), (7, uuid::Variant::RFC4122));
        }
        assert_eq!(ids[4].get_timestamp().unwrap().to_unix(), (1_767_225_605, 0));
        assert_ne!(id(&SystemChance, at(0)), id(&SystemChance, at(0)));
    }

    #[test]
    fn a_share_is_a_share() {
        struct Fixed(u64);
        impl Chance for Fixed {
            fn bits(&self) -> u64 {
                self.0
            }
        }
        assert_eq!((share(&Fixed(0)), share(&Fixed(1 << 63))), (0.0, 0.5));
        assert!(share(&Fixed(u64::MAX)) < 1.0);
    }
}
