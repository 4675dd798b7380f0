//! Every threshold an operator changes at runtime: names, defaults, ranges, and how they depend on each
//! other.
//!
//! Owns the one table of settings. Promises that a [`Tuning`] that passed [`Tuning::set`] or
//! [`Tuning::patch`] is consistent as a whole, and that a refusal names every fault at once. Keys are flat,
//! units come last. Storing, spreading and auditing a change is left to others. A refused change changes
//! nothing.

mod table;

use std::time::Duration;

use table::tunables;

use crate::{AttemptNo, order::Rules};
pub use table::{Key, Range, Value};

tunables! {
    /// The settings. Serialized as a flat map; a missing key takes its default, an unknown key is refused.
    Tuning {
        /// Whether new orders leave a slow channel. Off: slowness is ignored; an open breaker still counts.
        switch_enabled: bool = true, Range::Switch;
        /// Whether a silent prepay gets a rival on another channel.
        hedge_enabled: bool = true, Range::Switch;
        /// A prepay that is silent for this long gets a rival.
        hedge_after_ms: u64 = 800, Range::whole(20, 60_000);
        /// A channel whose quantile is above this is slow; so is a single call.
        latency_threshold_ms: u64 = 800, Range::whole(10, 60_000);
        /// A channel on probation comes back when its quantile is below this.
        recover_threshold_ms: u64 = 600, Range::whole(5, 60_000);
        /// Which quantile of the latencies is compared with the thresholds.
        quantile: f64 = 0.9, Range::share(0.5, 0.999);
        /// A channel with more than this share of errors is slow; it comes back below half of it.
        error_share: f64 = 0.25, Range::share(0.01, 1.0);
        /// How far back latencies and errors count.
        window_s: u64 = 10, Range::whole(1, 120);
        /// Fewer calls than this in the window never make a healthy channel slow; for a standstill half as
        /// many that hang are enough.
        min_samples: u64 = 20, Range::whole(1, 10_000);
        /// How long a slow channel is left alone before it is probed; doubled with each relapse.
        min_stay_s: u64 = 2, Range::whole(1, 600);
        /// The longest that doubling for relapses makes the stay.
        max_stay_s: u64 = 60, Range::whole(1, 3_600);
        /// The longest that doubling for failed probes makes the stay: it bounds how late the end of a
        /// slow-down is noticed.
        probe_retry_max_s: u64 = 5, Range::whole(1, 3_600);
        /// A channel that gets slow again within this time of its recovery has relapsed.
        relapse_memory_s: u64 = 120, Range::whole(1, 86_400);
        /// How long probes must go well before a channel is healthy again.
        recover_after_s: u64 = 5, Range::whole(1, 600);
        /// The share of orders that try a channel on probation; each is hedged at once.
        probe_share: f64 = 0.02, Range::share(0.0, 1.0);
        /// How many probes a recovery rests on at least; they are spread over its time when traffic is thin.
        probe_min_samples: u64 = 5, Range::whole(1, 1_000);
        /// When an exposed attempt is first asked about.
        poll_first_ms: u64 = 500, Range::whole(10, 60_000);
        /// The interval at first.
        poll_every_ms: u64 = 500, Range::whole(50, 60_000);
        /// How long the first interval lasts, from exposure or the last hint.
        poll_fast_for_s: u64 = 10, Range::whole(0, 3_600);
        /// The second interval.
        poll_mid_every_ms: u64 = 1_000, Range::whole(50, 600_000);
        /// When the second interval ends.
        poll_mid_until_s: u64 = 30, Range::whole(0, 3_600);
        /// The third interval.
        poll_slow_every_ms: u64 = 2_000, Range::whole(50, 600_000);
        /// When the third interval ends.
        poll_slow_until_s: u64 = 60, Range::whole(0, 3_600);
        /// The last interval, kept until the attempt is certified.
        poll_last_every_ms: u64 = 5_000, Range::whole(50, 600_000);
        /// Queries per channel; keep it below the channel's documented quota.
        poll_budget_per_s: u64 = 200, Range::whole(1, 100_000);
        /// Queries of a channel in flight at once.
        poll_concurrency: u64 = 64, Range::whole(1, 10_000);
        /// A call to a channel that takes longer is silence.
        call_deadline_ms: u64 = 5_000, Range::whole(50, 120_000);
        /// So many failed calls in a row open the breaker of a channel.
        breaker_failures: u64 = 20, Range::whole(1, 10_000);
        /// The breaker counts a call that takes longer as failed.
        breaker_slow_ms: u64 = 4_000, Range::whole(10, 120_000);
        /// How long an open breaker lets nothing through before it lets one probe through.
        breaker_open_s: u64 = 5, Range::whole(1, 3_600);
        /// Calls of a channel in flight at once, of any kind.
        channel_concurrency: u64 = 1_024, Range::whole(1, 100_000);
        /// Calls of a channel, of any kind.
        channel_pace_per_s: u64 = 2_000, Range::whole(1, 1_000_000);
        /// Orders that are accepted and have no channel yet; beyond it new orders get 503.
        intake_max: u64 = 100_000, Range::whole(1, 10_000_000);
        /// How many attempts an order may have.
        attempts_max: u64 = 20, Range::whole(1, 99);
        /// How long a close may stay unanswered before the payer is let on under a pre-booked refund.
        close_patience_ms: u64 = 3_000, Range::whole(100, 600_000);
        /// How long after expiry an attempt may be without a certificate before its order is suspicious.
        certify_grace_s: u64 = 60, Range::whole(1, 86_400);
        /// So many of the orders that wait for a channel go on in a second once one is back, oldest first.
        make_up_per_s: u64 = 100, Range::whole(1, 100_000);
        /// How often an order that waits for a channel makes sure that it is still in the queue.
        make_up_every_ms: u64 = 1_000, Range::whole(50, 600_000);
        /// Webhooks in flight at once to one backend.
        webhook_concurrency: u64 = 64, Range::whole(1, 10_000);
        /// A fix of a difference that is about more than this needs a second operator.
        reconcile_second_above_fen: u64 = 50_000, Range::whole(0, 1_000_000_000);
        /// From this hour of the campus's day on, the bills of the day before are asked for.
        reconcile_at_h: u64 = 2, Range::whole(0, 23);
        /// So many days that were never reconciled are caught up.
        reconcile_catch_up_days: u64 = 7, Range::whole(1, 90);
        /// A webhook that is not answered in this time is tried again.
        webhook_deadline_ms: u64 = 5_000, Range::whole(50, 120_000);
        /// A backend that fails so many times in a row rests; its webhooks wait and lose no try.
        webhook_breaker_failures: u64 = 5, Range::whole(1, 10_000);
        /// The first rest of a backend; doubled with each call after a rest that fails again.
        webhook_rest_s: u64 = 5, Range::whole(1, 3_600);
        /// The longest rest: it bounds how late the return of a backend is noticed.
        webhook_rest_max_s: u64 = 60, Range::whole(1, 3_600);
    }
}

/// One thing that is wrong with a setting.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{key} = {given}: {problem}; allowed: {allowed}")]
pub struct TuningFault {
    /// The setting.
    pub key: String,
    /// The value that was given, as text.
    pub given: String,
    /// What is wrong with it.
    pub problem: String,
    /// What it may be, with the unit.
    pub allowed: String,
}

/// A change that was refused; nothing changed. Carries every fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
pub struct TuningError {
    /// What is wrong, at least one.
    pub faults: Vec<TuningFault>,
}

/// A setting that differs between two states, for the audit trail.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Change {
    /// The setting.
    pub key: &'static str,
    /// Before.
    pub from: Value,
    /// After.
    pub to: Value,
}

/// Rules between settings: the first must not exceed the second, and why.
const AT_MOST: [(&str, &str, &str); 9] = [
    ("recover_threshold_ms", "latency_threshold_ms", "a channel would come back and be slow at once"),
    ("min_stay_s", "max_stay_s", "the longest stay would be shorter than the shortest"),
    ("min_stay_s", "probe_retry_max_s", "the longest stay would be shorter than the shortest"),
    ("hedge_after_ms", "call_deadline_ms", "the call would have ended before its hedge"),
    ("latency_threshold_ms", "call_deadline_ms", "no call could ever be slow"),
    ("breaker_slow_ms", "call_deadline_ms", "no call could ever be too slow for the breaker"),
    ("poll_fast_for_s", "poll_mid_until_s", "the second interval would end before it starts"),
    ("poll_mid_until_s", "poll_slow_until_s", "the third interval would end before it starts"),
    ("webhook_rest_s", "webhook_rest_max_s", "the longest rest would be shorter than the shortest"),
];

impl Tuning {
    /// Sets one setting from text, as `rushpay tune KEY VALUE` does; repeating is harmless.
    ///
    /// # Errors
    /// [`TuningError`] with one fault per problem; `self` is as before.
    pub fn set(&mut self, key: &str, value: &str) -> Result<(), TuningError> {
        *self = self.patch([(key, value)])?;
        Ok(())
    }

    /// A copy with several settings changed together, each given as text (`800`, `0.9`, `true`).
    ///
    /// # Errors
    /// [`TuningError`] with every fault: unknown keys, unreadable values, values out of range, and settings
    /// that contradict each other after the change.
    pub fn patch<K: AsRef<str>, V: AsRef<str>>(
        &self,
        changes: impl IntoIterator<Item = (K, V)>,
    ) -> Result<Tuning, TuningError> {
        let mut next = self.clone();
        let mut faults = Vec::new();
        for (key, text) in changes {
            let (key, text) = (key.as_ref(), text.as_ref().trim());
            match Tuning::range(key) {
                None => faults.push(unknown(key, text)),
                Some(range) => match range.parse(text) {
                    Ok(value) => next.put(key, value),
                    Err(problem) => faults.push(fault(key, text, problem, range)),
                },
            }
        }
        faults.extend(next.validate().err().unwrap_or_default());
        if faults.is_empty() { Ok(next) } else { Err(TuningError { faults }) }
    }

    /// Checks everything: each value against its range, then the settings against each other.
    ///
    /// # Errors
    /// Every fault, in the order of the table.
    pub fn validate(&self) -> Result<(), Vec<TuningFault>> {
        let mut faults: Vec<TuningFault> = Tuning::keys()
            .iter()
            .filter_map(|k| Some((k, self.get(k.key)?)))
            .filter(|(k, value)| !k.range.holds(*value))
            .map(|(k, value)| fault(k.key, &value.to_string(), "is out of range", k.range))
            .collect();
        for (lesser, greater, why) in AT_MOST {
            let (Some(a), Some(b), Some(range)) =
                (self.get(lesser), self.get(greater), Tuning::range(lesser))
            else {
                continue;
            };
            if let (Value::Whole(low), Value::Whole(high)) = (a, b)
                && low > high
            {
                let problem = format!("must be at most {greater} ({b}), or {why}");
                faults.push(fault(lesser, &a.to_string(), &problem, range));
            }
        }
        if faults.is_empty() { Ok(()) } else { Err(faults) }
    }

    /// The part of the settings that the rules of an order depend on.
    #[must_use]
    pub fn rules(&self) -> Rules {
        Rules {
            close_patience: Duration::from_millis(self.close_patience_ms),
            certify_grace: Duration::from_secs(self.certify_grace_s),
            attempts_max: u8::try_from(self.attempts_max).unwrap_or(AttemptNo::MAX),
        }
    }

    /// What `self` has changed against `before`, in the order of the table.
    #[must_use]
    pub fn changes_since(&self, before: &Tuning) -> Vec<Change> {
        Tuning::keys()
            .into_iter()
            .filter_map(|k| Some(Change { key: k.key, from: before.get(k.key)?, to: self.get(k.key)? }))
            .filter(|change| change.from != change.to)
            .collect()
    }
}

fn fault(key: &str, given: &str, problem: &str, range: Range) -> TuningFault {
    let unit = table::unit_of(key);
    let allowed = if unit.is_empty() { range.to_string() } else { format!("{range} {unit}") };
    TuningFault { key: key.to_owned(), given: given.to_owned(), problem: problem.to_owned(), allowed }
}

/// Names the settings that begin like the unknown one, or else all of them.
fn unknown(key: &str, given: &str) -> TuningFault {
    let word = key.split('_').next().unwrap_or_default();
    let all: Vec<&str> = Tuning::keys().iter().map(|k| k.key).collect();
    let near: Vec<&str> =
        all.iter().copied().filter(|k| !word.is_empty() && k.split('_').next() == Some(word)).collect();
    TuningFault {
        key: key.to_owned(),
        given: given.to_owned(),
        problem: "there is no such setting".to_owned(),
        allowed: if near.is_empty() { all.join(", ") } else { near.join(", ") },
    }
}

#[cfg(test)]
mod tests;
