//! Faults on command: what a channel does wrong, and to whom, from one seed.
//!
//! The fate of a call is drawn from the seed, the channel, the order number and how often that call was made for
//! it, so that neither concurrency nor other orders change it.

use std::time::Duration;

use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

pub(crate) use crate::bill_faults::BillFaults;

/// A log-normal latency; equal values make it fixed.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Latency {
    /// Half of the calls take less.
    pub median_ms: f64,
    /// One in a hundred takes more.
    pub p99_ms: f64,
}

/// Some calls come late by a fixed time.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Late {
    /// The share of them, 0 to 1.
    pub rate: f64,
    /// By how much.
    pub delay_ms: u64,
}

/// What happens to notifications.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct NotifyFaults {
    /// Never delivered, and never tried again.
    pub lost: f64,
    /// Delivered twice.
    pub doubled: f64,
    /// Delivered late.
    pub late: Late,
    /// Held back for a random moment, so that others overtake it.
    pub reordered: f64,
    /// Preceded by one with a forged signature.
    pub forged: f64,
    /// Preceded by a properly signed one with another amount.
    pub wrong_amount: f64,
    /// The ordinary delay.
    pub delay: Option<Latency>,
}

/// Everything one channel does wrong.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FaultSet {
    /// How long every call takes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latency: Option<Latency>,
    /// How long a prepay or debit takes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prepay_latency: Option<Latency>,
    /// How long a query takes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub query_latency: Option<Latency>,
    /// How long a close takes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub close_latency: Option<Latency>,
    /// How long a refund or its query takes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refund_latency: Option<Latency>,
    /// The share of calls that fail before anything is done, 0 to 1.
    pub error_rate: f64,
    /// With which code; the channel's "system error" by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error_code: Option<String>,
    /// The share of calls that are carried out and then not answered.
    pub silence_rate: f64,
    /// Connections are closed before anything is read or done.
    pub unreachable: bool,
    /// Calls beyond so many a second are refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quota_per_s: Option<u32>,
    /// The share of answers with a wrong signature.
    pub bad_signature_rate: f64,
    /// How refunds end: `ABNORMAL` (the payer's account takes nothing back until somebody handles it) or `CLOSED`
    /// (the merchant's funds stay short). WeChat Pay only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refund_outcome: Option<String>,
    /// What happens to notifications.
    pub notify: NotifyFaults,
    /// How bills are wrong.
    #[serde(skip_serializing_if = "is_default")]
    pub bill: BillFaults,
}

fn is_default(faults: &BillFaults) -> bool {
    *faults == BillFaults::default()
}

/// Kinds of calls, for latencies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Prepay or debit.
    Prepay,
    /// Query of a trade.
    Query,
    /// Close.
    Close,
    /// Refund or its query.
    Refund,
    /// Anything else.
    Other,
}

impl Kind {
    /// The word in statistics.
    pub const fn label(self) -> &'static str {
        match self {
            Kind::Prepay => "prepay",
            Kind::Query => "query",
            Kind::Close => "close",
            Kind::Refund => "refund",
            Kind::Other => "other",
        }
    }
}

/// What happens to one call.
#[derive(Debug, Clone, PartialEq)]
pub struct Fate {
    /// The connection is closed, nothing done.
    pub unreachable: bool,
    /// How long it takes.
    pub takes: Duration,
    /// Fails before anything is done, with this code.
    pub error: Option<String>,
    /// Carried out, not answered.
    pub silent: bool,
    /// Answered under a wrong signature.
    pub bad_signature: bool,
}

/// What happens to one notification.
#[derive(Debug, Clone, PartialEq)]
pub struct NotifyFate {
    /// Never delivered.
    pub lost: bool,
    /// Delivered twice.
    pub doubled: bool,
    /// Delivered after so long.
    pub after: Duration,
    /// Preceded by a forged one.
    pub forged: bool,
    /// Preceded by one with another amount.
    pub wrong_amount: bool,
}

impl FaultSet {
    /// Every fault of the set itself, with its key.
    ///
    /// # Errors
    /// One sentence a fault.
    pub fn validate(&self) -> Result<(), String> {
        let rates = [
            ("error_rate", self.error_rate),
            ("silence_rate", self.silence_rate),
            ("bad_signature_rate", self.bad_signature_rate),
            ("notify.lost", self.notify.lost),
            ("notify.doubled", self.notify.doubled),
            ("notify.late.rate", self.notify.late.rate),
            ("notify.reordered", self.notify.reordered),
            ("notify.forged", self.notify.forged),
            ("notify.wrong_amount", self.notify.wrong_amount),
        ];
        let latencies = [
            ("latency", self.latency),
            ("prepay_latency", self.prepay_latency),
            ("query_latency", self.query_latency),
            ("close_latency", self.close_latency),
            ("refund_latency", self.refund_latency),
            ("notify.delay", self.notify.delay),
        ];
        let bad_rates = rates
            .iter()
            .filter(|(_, r)| !(0.0..=1.0).contains(r))
            .map(|(k, r)| format!("{k} = {r}: expected 0 to 1"));
        let bad_latencies = latencies
            .iter()
            .filter_map(|(k, l)| Some((k, (*l)?)))
            .filter(|(_, l)| !(l.median_ms > 0.0 && l.p99_ms >= l.median_ms && l.p99_ms < 600_000.0))
            .map(|(k, _)| format!("{k}: expected 0 < median_ms <= p99_ms < 600000"));
        let outcome = self.refund_outcome.iter().filter(|o| !matches!(o.as_str(), "ABNORMAL" | "CLOSED"));
        let bad_outcome = outcome.map(|o| format!("refund_outcome = {o:?}: expected ABNORMAL or CLOSED"));
        let all: Vec<String> = bad_rates.chain(bad_latencies).chain(bad_outcome).collect();
        if all.is_empty() { Ok(()) } else { Err(all.join("; ")) }
    }

    /// The fate of the `nth` call of this kind for this order.
    pub fn fate(&self, seed: u64, channel: &str, kind: Kind, order_no: &str, nth: u32) -> Fate {
        let mut rng = stream(seed, &[channel, kind.label(), order_no, &nth.to_string()]);
        let own = match kind {
            Kind::Prepay => self.prepay_latency,
            Kind::Query => self.query_latency,
            Kind::Close => self.close_latency,
            Kind::Refund => self.refund_latency,
            Kind::Other => None,
        };
        let takes = own.or(self.latency).map_or(Duration::ZERO, |l| draw(l, &mut rng));
        let error = rng.random::<f64>() < self.error_rate;
        let silent = rng.random::<f64>() < self.silence_rate;
        let bad_signature = rng.random::<f64>() < self.bad_signature_rate;
        let code = || self.error_code.clone().unwrap_or_default();
        Fate { unreachable: self.unreachable, takes, error: error.then(code), silent, bad_signature }
    }

    /// The fate of the notification `event` of this order.
    pub fn notify_fate(&self, seed: u64, channel: &str, order_no: &str, event: &str) -> NotifyFate {
        let mut rng = stream(seed, &[channel, "notify", order_no, event]);
        let n = &self.notify;
        let delay = n.delay.unwrap_or(Latency { median_ms: 50.0, p99_ms: 300.0 });
        let mut after = draw(delay, &mut rng);
        let (lost, doubled) = (rng.random::<f64>() < n.lost, rng.random::<f64>() < n.doubled);
        if rng.random::<f64>() < n.late.rate {
            after += Duration::from_millis(n.late.delay_ms);
        }
        if rng.random::<f64>() < n.reordered {
            after += Duration::from_secs_f64(rng.random::<f64>() * 2.0);
        }
        let (forged, wrong_amount) = (rng.random::<f64>() < n.forged, rng.random::<f64>() < n.wrong_amount);
        NotifyFate { lost, doubled, after, forged, wrong_amount }
    }
}

/// A stream of random numbers for one purpose.
pub(crate) fn stream(seed: u64, parts: &[&str]) -> ChaCha8Rng {
    // FNV-1a: any fixed mixing does, it only has to tell the purposes apart the same way every time.
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    for byte in parts.iter().flat_map(|p| p.bytes().chain([0])) {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    ChaCha8Rng::seed_from_u64(seed ^ hash)
}

fn draw(latency: Latency, rng: &mut impl Rng) -> Duration {
    // The 99th percentile of a normal distribution lies 2.326 deviations above its mean.
    let sigma = (latency.p99_ms / latency.median_ms).ln() / 2.326;
    let (u, v): (f64, f64) = (rng.random::<f64>().max(1e-12), rng.random());
    let normal = (-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos();
    Duration::from_secs_f64((latency.median_ms * (sigma * normal).exp() / 1000.0).min(600.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_orders_fate_depends_on_the_seed_and_the_order_alone() {
        let set = FaultSet { error_rate: 0.5, silence_rate: 0.5, ..FaultSet::default() };
        let fates = |seed| {
            (0..50).map(|n| set.fate(seed, "wechat", Kind::Query, &format!("o{n}"), 0)).collect::<Vec<_>>()
        };
        assert_eq!(fates(1), fates(1));
        assert_ne!(fates(1), fates(2));
        let errors = fates(1).iter().filter(|f| f.error.is_some()).count();
        assert!((10..40).contains(&errors), "{errors} of 50 at a rate of one half");
    }

    #[test]
    fn a_latency_has_the_median_it_was_given_and_equal_values_make_it_fixed() {
        let mut rng = stream(7, &["test"]);
        let latency = Latency { median_ms: 100.0, p99_ms: 400.0 };
        let mut all: Vec<Duration> = (0..4001).map(|_| draw(latency, &mut rng)).collect();
        all.sort();
        assert!((90..110).contains(&all[2000].as_millis()), "{:?}", all[2000]);
        assert!((330..480).contains(&all[3960].as_millis()), "{:?}", all[3960]);
        let fixed = draw(Latency { median_ms: 2000.0, p99_ms: 2000.0 }, &mut rng);
        assert_eq!(fixed.as_millis(), 2000);
    }

    #[test]
    fn a_fault_that_cannot_be_is_named_with_its_key() {
        let set = FaultSet {
            error_rate: 1.5,
            notify: NotifyFaults { lost: -0.1, ..NotifyFaults::default() },
            ..FaultSet::default()
        };
        let problem = set.validate().unwrap_err();
        assert!(problem.contains("error_rate = 1.5") && problem.contains("notify.lost = -0.1"), "{problem}");
    }
}
