//! When a channel is asked for a result, and whose turn it is when there is more to ask than may be asked.
//!
//! [`next_poll`] is the schedule of one attempt; [`DueQueue`] is the waiting room of one channel's poller.
//! Nothing in the queue is forgotten, and nothing is handed out twice at once. Both are pure: budget,
//! concurrency and the calls themselves are the poller actor's. Nothing here fails.

mod queue;

use std::time::Duration;

pub use queue::{DueQueue, PollKey, Urgency};

use crate::{Timestamp, tuning::Tuning};

/// When to ask next.
///
/// `from` is the moment of exposure, or of the last hint that the payer came back if that is later: the
/// schedule starts anew there. `last_poll` is when the latest query began. By default the first is due after
/// 500 ms, then every 500 ms up to 10 s after `from`, every second up to 30 s, every 2 s up to 60 s, and
/// every 5 s from then on, past expiry too: only a certificate ends it.
#[must_use]
pub fn next_poll(from: Timestamp, last_poll: Option<Timestamp>, tuning: &Tuning) -> Timestamp {
    let first = from.plus(Duration::from_millis(tuning.poll_first_ms));
    match last_poll {
        Some(last) if last > from => last.plus(interval(last.since(from), tuning)),
        _ => first,
    }
}

/// The pause after a query that began at `age`.
fn interval(age: Duration, tuning: &Tuning) -> Duration {
    let steps = [
        (tuning.poll_fast_for_s, tuning.poll_every_ms),
        (tuning.poll_mid_until_s, tuning.poll_mid_every_ms),
        (tuning.poll_slow_until_s, tuning.poll_slow_every_ms),
    ];
    let step = steps.iter().find(|(until_s, _)| age < Duration::from_secs(*until_s));
    Duration::from_millis(step.map_or(tuning.poll_last_every_ms, |(_, every_ms)| *every_ms))
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXPOSED: Timestamp = Timestamp::from_secs(1_767_225_600);

    fn schedule(tuning: &Tuning, until_s: u64) -> Vec<u128> {
        let (mut last, mut ms) = (None, Vec::new());
        loop {
            let due = next_poll(EXPOSED, last, tuning);
            if due.since(EXPOSED) > Duration::from_secs(until_s) {
                return ms;
            }
            ms.push(due.since(EXPOSED).as_millis());
            last = Some(due);
        }
    }

    #[test]
    fn the_whole_schedule_of_an_attempt() {
        let ms = schedule(&Tuning::default(), 900);
        assert_eq!(ms[..3], [500, 1_000, 1_500]);
        assert_eq!(ms[19..22], [10_000, 11_000, 12_000]);
        assert_eq!(ms[39..42], [30_000, 32_000, 34_000]);
        assert_eq!(ms[54..57], [60_000, 65_000, 70_000]);
        assert_eq!(ms.len(), 20 + 20 + 15 + 168);
        assert_eq!(ms.last(), Some(&900_000));
    }

    #[test]
    fn a_hint_starts_the_schedule_anew() {
        let tuning = Tuning::default();
        let last = EXPOSED.plus(Duration::from_secs(300));
        assert_eq!(next_poll(EXPOSED, Some(last), &tuning), last.plus(Duration::from_secs(5)));
        let hinted = last.plus(Duration::from_millis(1_200));
        assert_eq!(next_poll(hinted, Some(last), &tuning), hinted.plus(Duration::from_millis(500)));
    }

    #[test]
    fn a_clock_that_steps_back_or_an_extreme_setting_never_asks_without_a_pause() {
        let tuning =
            Tuning { poll_fast_for_s: 0, poll_mid_until_s: 0, poll_slow_until_s: 0, ..Tuning::default() };
        assert_eq!(
            next_poll(EXPOSED, Some(EXPOSED.minus(Duration::from_secs(60))), &tuning)
                .since(EXPOSED)
                .as_millis(),
            500
        );
        assert_eq!(schedule(&tuning, 20), [500, 5_500, 10_500, 15_500]);
    }
}
