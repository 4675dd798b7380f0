//! When a webhook is tried: at 0 s, 5 s, 30 s and 2 min, then every 15 min until 24 h after it was written.
//!
//! A late try moves the ones after it: the distance between two tries is kept, so a backend that comes
//! back, or a service that was down, is not hammered with what was missed. The first try is owed however
//! late it is. A resend by hand begins the schedule anew. [`Rest`] says when a backend is left alone, [`backend`] what a
//! backend is. Whether a try succeeded, and what happens after the last, is left to the sender.

mod rest;

use std::time::Duration;

use crate::Timestamp;
pub use rest::{Rest, RestRules};

/// The pauses before the second, third and fourth try.
const FIRST_PAUSES: [Duration; 3] =
    [Duration::from_secs(5), Duration::from_secs(25), Duration::from_secs(90)];
/// The pause before each later one.
const LATER_PAUSE: Duration = Duration::from_secs(15 * 60);
/// No further try begins later than this after the webhook was written or resent.
pub const GIVE_UP_AFTER: Duration = Duration::from_secs(24 * 60 * 60);

/// A later webhook of the same order and backend waits for an earlier one that has been tried fewer times than this, so
/// that a backend hears of an order in order through any outage; a webhook that it keeps refusing for two minutes does
/// not hold up the others for a day.
pub const TRIES_IN_ORDER: u32 = 4;

/// The backend of a webhook's address: host and port, lower case. Backends share breakers, slots and dead letters by it.
#[must_use]
pub fn backend(url: &str) -> String {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    host.to_ascii_lowercase()
}

/// When the next try is due, or `None` when there is none left.
///
/// `since` is when the schedule began: the webhook was written, or resent by hand. `tries_made` counts tries that were
/// begun since then, `last_try` is when the latest of them began. Without a `last_try` the webhook is due at once.
#[must_use]
pub fn next_try(since: Timestamp, tries_made: u32, last_try: Option<Timestamp>) -> Option<Timestamp> {
    let (Some(place), Some(last)) = (tries_made.checked_sub(1), last_try) else {
        return Some(since);
    };
    let pause = usize::try_from(place).ok().and_then(|p| FIRST_PAUSES.get(p)).unwrap_or(&LATER_PAUSE);
    let due = last.plus(*pause);
    (due <= since.plus(GIVE_UP_AFTER)).then_some(due)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CREATED: Timestamp = Timestamp::from_secs(1_767_225_600);

    /// Every try of a webhook that nobody answers, in seconds since it was written; each try is `late`.
    fn schedule(late: Duration) -> Vec<u64> {
        let (mut tries, mut last, mut seconds) = (0, None, Vec::new());
        while let Some(due) = next_try(CREATED, tries, last) {
            let tried = due.plus(late);
            seconds.push(tried.since(CREATED).as_secs());
            (tries, last) = (tries + 1, Some(tried));
        }
        seconds
    }

    #[test]
    fn the_whole_schedule() {
        let seconds = schedule(Duration::ZERO);
        println!("tries at seconds {seconds:?}");
        assert_eq!(seconds[..6], [0, 5, 30, 120, 1_020, 1_920]);
        assert!(seconds[3..].windows(2).all(|w| w[1] - w[0] == 900));
        assert_eq!(seconds.len(), 99);
        assert_eq!(seconds.last(), Some(&85_620)); // 23 h 47 min: the next would be past 24 h
    }

    #[test]
    fn late_tries_keep_their_distance_and_the_end() {
        let seconds = schedule(Duration::from_secs(600));
        assert_eq!(seconds[..4], [600, 1_205, 1_830, 2_520]);
        assert!(seconds.iter().all(|s| *s <= 86_400 + 600));
    }

    #[test]
    fn the_first_try_is_owed_even_after_days_of_outage_and_then_the_webhook_is_over() {
        assert_eq!(next_try(CREATED, 0, None), Some(CREATED));
        let days_late = CREATED.plus(GIVE_UP_AFTER * 3);
        assert_eq!(next_try(CREATED, 1, Some(days_late)), None);
    }

    #[test]
    fn any_number_of_tries_is_answered() {
        assert_eq!(next_try(CREATED, u32::MAX, Some(CREATED)), Some(CREATED.plus(LATER_PAUSE)));
        assert_eq!(next_try(CREATED, 3, None), Some(CREATED), "a try without a time is tried again");
    }

    #[test]
    fn a_backend_is_a_host_and_a_port_whatever_else_the_address_says() {
        for (url, wanted) in [
            ("http://127.0.0.1:7000/paid", "127.0.0.1:7000"),
            ("https://Shop.Example.edu/a/b?c=d", "shop.example.edu"),
            ("https://user:word@shop.example.edu:8443?x#y", "shop.example.edu:8443"),
            ("http://[::1]:80#top", "[::1]:80"),
            ("nonsense", "nonsense"),
            ("", ""),
        ] {
            assert_eq!(backend(url), wanted, "{url}");
        }
    }
}
