//! Nonces seen lately: a signed call is good once.
//!
//! Holds each nonce for eleven minutes (the signature window both ways, and a minute). Bounded: beyond the
//! bound the oldest go first, which only weakens this check; the event id and the order's own state still
//! make a repeat harmless. One process remembers for itself.

use std::{
    collections::{HashSet, VecDeque},
    time::Duration,
};

use domain::Timestamp;
use parking_lot::Mutex;

const KEEP: Duration = Duration::from_secs(11 * 60);

/// The nonces of the last eleven minutes, at most `max` of them.
pub(crate) struct SeenNonces {
    max: usize,
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    known: HashSet<std::sync::Arc<str>>,
    by_age: VecDeque<(Timestamp, std::sync::Arc<str>)>,
}

impl SeenNonces {
    pub(crate) fn new(max: usize) -> SeenNonces {
        SeenNonces { max, seen: Mutex::default() }
    }

    /// Remembers the nonce; false if it was there already. Call it only after the signature was found good.
    pub(crate) fn remember(&self, nonce: &str, now: Timestamp) -> bool {
        let mut seen = self.seen.lock();
        while let Some((at, oldest)) = seen.by_age.front().cloned() {
            if now.since(at) < KEEP && seen.by_age.len() < self.max {
                break;
            }
            seen.by_age.pop_front();
            seen.known.remove(&oldest);
        }
        if seen.known.contains(nonce) {
            return false;
        }
        let nonce: std::sync::Arc<str> = nonce.into();
        seen.known.insert(std::sync::Arc::clone(&nonce));
        seen.by_age.push_back((now, nonce));
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nonce_is_good_once_in_eleven_minutes_and_memory_is_bounded() {
        let nonces = SeenNonces::new(3);
        let start = Timestamp::from_secs(1_000_000);
        let later = |s| start.plus(Duration::from_secs(s));
        assert!(nonces.remember("a", start));
        assert!(!nonces.remember("a", later(659)));
        assert!(nonces.remember("a", later(660)), "forgotten after eleven minutes");
        for nonce in ["b", "c", "d"] {
            assert!(nonces.remember(nonce, later(661)));
        }
        assert!(!nonces.remember("d", later(662)));
        assert!(nonces.seen.lock().by_age.len() <= 3);
    }
}
