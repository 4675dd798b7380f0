//! When a webhook is tried: at 0 s, 5 s, 30 s and 2 min, then every 15 min until 24 h after it was written.
//!
//! A late try moves the ones after it: the distance between two tries is kept, so a backend that comes
//! back, or a service that was down, is not hammered with what was missed. The first try is owed however
//! late it is. Whether a try succeeded, and what happens after the last, is left to the sender.

use std::time::Duration;

use crate::Timestamp;

/// The pauses before the second, third and fourth try.
const FIRST_PAUSES: [Duration; 3] =
    [Duration::from_secs(5), Duration::from_secs(25), Duration::from_secs(90)];
/// The pause before each later one.
const LATER_PAUSE: Duration = Duration::from_secs(15 * 60);
/// No further try begins later than this after the webhook was written.
pub const GIVE_UP_AFTER: Duration = Duration::from_secs(24 * 60 * 60);

/// When the next try is due, or `None` when there is none left.
///
/// `tries_made` counts tries that were begun, `last_try` is when the latest of them began. Without a
/// `last_try` the webhook is due at once.
#[must_use]
pub fn next_try(created_at: Timestamp, tries_made: u32, last_try: Option<Timestamp>) -> Option<Timestamp> {
    let (Some(place), Some(last)) = (tries_made.checked_sub(1), last_try) else {
        return Some(created_at);
    };
    let pause = usize::try_from(place).ok().and_then(|p| FIRST_PAUSES.get(p)).unwrap_or(&LATER_PAUSE);
    let due = last.plus(*pause);
    (due <= created_at.plus(GIVE_UP_AFTER)).then_some(due)
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
}
