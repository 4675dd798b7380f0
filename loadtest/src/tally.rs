//! What happened, counted as it happens: latencies, outcomes, and a line for each second of the run.
//!
//! All payers live on one thread, so this is plain memory without locks. Latencies are in microseconds with
//! three significant digits; what lies beyond an hour counts as an hour.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use hdrhistogram::Histogram;

use crate::{num, plan::Behaviour, wire::State};

const HOUR_US: u64 = 3_600_000_000;

/// A latency histogram in microseconds.
#[derive(Debug, Clone)]
pub struct Latency(Histogram<u64>);

impl Default for Latency {
    fn default() -> Latency {
        // The bounds are constants that satisfy the constructor; the fallback grows on demand.
        let histogram = Histogram::new_with_bounds(1, HOUR_US, 3).or_else(|_| Histogram::new(3));
        Latency(histogram.unwrap_or_else(|_| unreachable!("three significant digits are allowed")))
    }
}

impl Latency {
    /// Adds one value.
    pub fn record(&mut self, took: Duration) {
        self.0.saturating_record(num::micros(took).clamp(1, HOUR_US));
    }

    /// The value in milliseconds that the given share (0 to 1) of all values stays below; 0 if empty.
    #[must_use]
    pub fn quantile_ms(&self, share: f64) -> f64 {
        if self.0.is_empty() { 0.0 } else { num::float(self.0.value_at_quantile(share)) / 1_000.0 }
    }

    /// The largest value in milliseconds; 0 if empty.
    #[must_use]
    pub fn max_ms(&self) -> f64 {
        if self.0.is_empty() { 0.0 } else { num::float(self.0.max()) / 1_000.0 }
    }

    /// How many values.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.0.len()
    }

    /// Steps of the cumulative distribution: milliseconds, and the share of values up to there.
    #[must_use]
    pub fn cumulative(&self) -> Vec<(f64, f64)> {
        let total = num::float(self.count().max(1));
        let mut seen = 0;
        let mut steps = Vec::new();
        for bar in self.0.iter_recorded() {
            seen += bar.count_since_last_iteration();
            steps.push((num::float(bar.value_iterated_to()) / 1_000.0, num::float(seen) / total));
        }
        steps
    }
}

/// One second of the run.
#[derive(Debug, Clone, Default)]
pub struct Second {
    /// Orders whose planned time fell into it.
    pub offered: u32,
    /// Orders accepted.
    pub accepted: u32,
    /// Orders seen as successful.
    pub succeeded: u32,
    /// Orders seen as failed.
    pub failed: u32,
    /// Answers 429 and 503.
    pub pushed_back: u32,
    /// Requests without an answer, or with a 5xx other than 503.
    pub unanswered: u32,
    /// Orders that got their credential, or were charged directly, by channel.
    pub routed: BTreeMap<String, u32>,
    /// Accept latencies, microseconds.
    pub accept_us: Vec<u32>,
    /// Times to certainty, microseconds.
    pub certainty_us: Vec<u32>,
    /// Payers under way at its end.
    pub in_flight: u32,
}

/// How an order ended for its payer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// Refused with a 4xx.
    Refused,
    /// Accepted; nothing more was asked for.
    Accepted,
    /// The payer left, and the order with him.
    Left,
    /// A last state was read.
    Seen(State),
    /// The service no longer knows an order that it had accepted.
    Forgotten,
    /// The run's time was up.
    OutOfTime,
}

/// Everything counted in a run.
#[derive(Debug, Clone, Default)]
pub struct Tally {
    /// Intended time to `202`, repeats included.
    pub accept: Latency,
    /// Intended time to a credential in the payer's hands.
    pub credential: Latency,
    /// The channel took the money, to `success` readable by GET.
    pub certainty: Latency,
    /// Accepted to `success`, for channels that charge directly.
    pub direct: Latency,
    /// How late the generator itself sent.
    pub lag: Latency,
    /// What happened in each second of the run and its drain; quiet seconds may be absent.
    pub seconds: BTreeMap<u64, Second>,
    /// Orders sent at least once.
    pub sent: u64,
    /// Orders accepted.
    pub accepted: u64,
    /// Orders refused with a 4xx, by code.
    pub refused: BTreeMap<String, u64>,
    /// Last states.
    pub succeeded: u64,
    /// Last states.
    pub failed: u64,
    /// Last states.
    pub suspicious: u64,
    /// Neither success nor failure when the run ended.
    pub open: u64,
    /// Sent again and again, and not accepted before the run ended.
    pub never_accepted: u64,
    /// Accepted, and unknown to the service later. Never acceptable.
    pub forgotten: u64,
    /// Orders of payers able and willing to pay.
    pub willing: u64,
    /// Of these, successful ones.
    pub willing_succeeded: u64,
    /// Failed orders by why, in the service's words.
    pub failed_because: BTreeMap<String, u64>,
    /// Payers that cancelled because no credential came.
    pub gave_up: u64,
    /// Successful orders by channel.
    pub by_channel: BTreeMap<String, u64>,
    /// Payments that the sandbox took.
    pub payments: u64,
    /// Payments that it refused, by reason.
    pub payments_refused: BTreeMap<String, u64>,
    /// Payments taken for orders that already had one.
    pub second_payments: u64,
    /// Payments taken after the payer had cancelled.
    pub late_payments: u64,
    /// Paid by a willing payer, and failed nevertheless.
    pub paid_but_failed: u64,
    /// Orders seen with a refund.
    pub refunded: u64,
    /// Answers 429 and 503.
    pub pushed_back: u64,
    /// Requests repeated because there was no answer, or a 5xx other than 503.
    pub unanswered: u64,
    /// HTTP requests sent to the service.
    pub requests: u64,
    /// Payers under way.
    pub in_flight: u32,
    /// Second of the run at which the first and the last order was accepted.
    pub accepted_between: Option<(f64, f64)>,
    /// Second of the run at which the first and the last order ended.
    pub ended_between: Option<(f64, f64)>,
}

impl Tally {
    /// The line of the second that is `at` after the start.
    pub(crate) fn second(&mut self, at: Duration) -> &mut Second {
        self.seconds.entry(at.as_secs()).or_default()
    }

    /// An order was accepted.
    pub(crate) fn accepted(&mut self, at: Duration, took: Duration) {
        self.accepted += 1;
        self.accept.record(took);
        widen(&mut self.accepted_between, at);
        let second = self.second(at);
        second.accepted += 1;
        second.accept_us.push(short(took));
    }

    /// An order got its credential or was charged directly, over `channel`.
    pub(crate) fn routed(&mut self, at: Duration, channel: &str) {
        let routed = &mut self.second(at).routed;
        match routed.get_mut(channel) {
            Some(count) => *count += 1,
            None => _ = routed.insert(channel.to_owned(), 1),
        }
    }

    /// A payer who had paid can read `success`.
    pub(crate) fn certain(&mut self, at: Duration, took: Duration) {
        self.certainty.record(took);
        self.second(at).certainty_us.push(short(took));
    }

    /// An order's story is over.
    pub(crate) fn ended(&mut self, at: Duration, behaviour: Behaviour, ending: Ending) {
        if behaviour.willing() && ending != Ending::Accepted {
            self.willing += 1;
        }
        match ending {
            Ending::Seen(State::Success) => {
                self.succeeded += 1;
                self.second(at).succeeded += 1;
                if behaviour.willing() {
                    self.willing_succeeded += 1;
                }
            }
            Ending::Seen(State::Failed) => {
                self.failed += 1;
                self.second(at).failed += 1;
            }
            Ending::Seen(State::Suspicious) => self.suspicious += 1,
            Ending::Seen(State::Pending | State::Processing) => self.open += 1,
            Ending::Forgotten => self.forgotten += 1,
            // What became of those who left or ran out of time is looked up after the run.
            Ending::Accepted | Ending::Left | Ending::Refused | Ending::OutOfTime => {}
        }
        if matches!(ending, Ending::Seen(_)) {
            widen(&mut self.ended_between, at);
        }
    }

    /// Adds one to a named count.
    pub(crate) fn note(counts: &mut BTreeMap<String, u64>, name: &str) {
        match counts.get_mut(name) {
            Some(count) => *count += 1,
            None => _ = counts.insert(name.to_owned(), 1),
        }
    }
}

fn widen(between: &mut Option<(f64, f64)>, at: Duration) {
    let at = at.as_secs_f64();
    *between = Some(between.map_or((at, at), |(first, last)| (first.min(at), last.max(at))));
}

fn short(took: Duration) -> u32 {
    u32::try_from(took.as_micros()).unwrap_or(u32::MAX)
}

/// The run's clock: one monotonic start, and the wall-clock time it stands for.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    /// Second zero.
    pub start: Instant,
    /// The same moment in microseconds since the epoch.
    pub start_wall_us: i64,
}

impl Clock {
    /// A clock that starts now.
    #[must_use]
    pub fn starting_now() -> Clock {
        Clock { start: Instant::now(), start_wall_us: num::wall_us() }
    }

    /// Time since second zero.
    #[must_use]
    pub fn now(&self) -> Duration {
        self.start.elapsed()
    }

    /// Second of the run of a wall-clock time.
    #[must_use]
    pub fn second_of(&self, wall_us: i64) -> f64 {
        let offset = wall_us.saturating_sub(self.start_wall_us);
        let size = num::float(offset.unsigned_abs()) / 1e6;
        if offset < 0 { -size } else { size }
    }
}
