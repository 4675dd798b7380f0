//! What a run does: how many orders, when, from whom, over what weather.
//!
//! Owns the words of a scenario file and their ranges. A scenario says nothing of addresses, processes or
//! time zero; the same file drives any service. Fault tables and tuning are passed on as they stand: the
//! sandbox and the service judge them. An unknown key, a wrong type or a value out of range is an error
//! that names the file, the place and what is allowed.

mod load;
mod validate;

use std::collections::BTreeMap;

use serde::Deserialize;

pub use load::Error;

/// A fault table for one channel, as JSON for the sandbox.
pub type FaultSet = serde_json::Map<String, serde_json::Value>;

/// One scenario file.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// Its name, as on the command line.
    pub name: String,
    /// One or two sentences: what happens and which numbers to look at.
    pub description: String,
    /// How many orders are offered, 1 to 5,000,000.
    pub orders: u32,
    /// Over how many seconds they arrive. In a closed loop: the longest that arrivals may take.
    pub duration_s: f64,
    /// How long payers may take after the last arrival before the run gives up on them, in seconds.
    #[serde(default = "defaults::drain_limit_s")]
    pub drain_limit_s: f64,
    /// Lifetime of an order, in seconds.
    #[serde(default = "defaults::expires_in_s")]
    pub expires_in_s: u32,
    /// When orders arrive.
    #[serde(default)]
    pub arrivals: Arrivals,
    /// What is ordered.
    #[serde(default)]
    pub basket: Basket,
    /// By whom, and how it may be paid.
    #[serde(default)]
    pub mix: Mix,
    /// How payers behave.
    #[serde(default)]
    pub payer: Payer,
    /// Faults per channel before the first order.
    #[serde(default)]
    pub initial_faults: BTreeMap<String, FaultSet>,
    /// Changes of a channel's faults during the run; each replaces the channel's whole table.
    #[serde(default)]
    pub faults: Vec<FaultChange>,
    /// Tuning of the service for this run, as sent to `PATCH /admin/v1/tuning`.
    #[serde(default)]
    pub tuning: serde_json::Map<String, serde_json::Value>,
    /// Faults of the service process. Whoever started the process carries them out.
    #[serde(default)]
    pub node: Node,
    /// The backend that receives webhooks.
    #[serde(default)]
    pub webhook_sink: WebhookSink,
    /// The figures that this scenario is meant to reach.
    #[serde(default)]
    pub goals: Goals,
}

/// When orders arrive.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Arrivals {
    /// Open (fixed in advance) or closed (as fast as answers come).
    pub mode: ArrivalMode,
    /// Closed loop only: how many payers are under way at once.
    pub in_flight: u32,
    /// Open loop only: points `[second, relative rate]` joined by lines; empty is a steady rate.
    pub profile: Vec<(f64, f64)>,
}

/// Whether slow answers slow the arrivals.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ArrivalMode {
    /// Poisson arrivals at times fixed before the run. The only honest way to measure latency.
    Open,
    /// A fixed number of payers at work, each taking the next order when it is done. Measures throughput;
    /// its latencies hide waiting and are marked as such.
    Closed,
}

/// Amounts: log-normal between two bounds, in fen.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Basket {
    /// Half of the orders cost less.
    pub median_fen: u64,
    /// One in a hundred costs more.
    pub p99_fen: u64,
    /// None costs less.
    pub min_fen: u64,
    /// None costs more.
    pub max_fen: u64,
}

/// Who orders, where, and with which channels allowed.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Mix {
    /// Relative weights of `native`, `jsapi` and `h5`.
    pub scenes: BTreeMap<String, f64>,
    /// Channels named in the order.
    pub channels: Vec<String>,
    /// The largest amount of one attempt by channel, in fen; what is not named keeps its default.
    pub limits: BTreeMap<String, u64>,
    /// Channels that a consenting payer consents to.
    pub consents: Vec<String>,
    /// Share of payers who consent, 0 to 1.
    pub consent_share: f64,
    /// Stalls `canteen-1` to `canteen-N`.
    pub merchants: u32,
    /// Students `stu-20230001` and following.
    pub payers: u32,
}

/// Payer behaviour. The shares are of all orders and add up to at most 1; the rest simply pay.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Payer {
    /// From seeing the credential to having paid.
    pub think: Spread,
    /// Gets a credential, then cancels the order.
    pub cancels: f64,
    /// Gets a credential and is never seen again.
    pub walks_away: f64,
    /// Tries to pay without the money, then cancels.
    pub no_balance: f64,
    /// Tries to pay the same order twice.
    pub pays_twice: f64,
    /// Cancels, and pays the old credential afterwards.
    pub pays_late: f64,
    /// Share of those who paid whose mini program reports it (`POST …/hint`).
    pub hint: f64,
    /// Share of waiting payers who ask for another way to pay when no credential came within
    /// `switch_after_s`.
    pub impatient: f64,
    /// See `impatient`, in seconds.
    pub switch_after_s: f64,
    /// After so many seconds without a credential the payer cancels and goes elsewhere.
    pub patience_s: f64,
    /// `false` ends an order's story when it is accepted (measures intake alone).
    pub pays: bool,
}

/// A log-normal distribution named by two of its points, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Spread {
    /// Half of the values are below.
    pub median_ms: f64,
    /// One in a hundred is above; equal to the median for no spread at all.
    pub p99_ms: f64,
}

/// At a moment, one channel's faults become these.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FaultChange {
    /// Second of the run.
    pub at_s: f64,
    /// Which channel.
    pub channel: String,
    /// The whole table from now on; empty is fair weather.
    pub set: FaultSet,
}

/// Faults of the service process.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Node {
    /// Seconds of the run at which the process is ended with SIGKILL.
    pub kill_at_s: Vec<f64>,
    /// How long it stays dead, in seconds.
    pub restart_after_s: f64,
}

/// How the backend treats webhooks.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct WebhookSink {
    /// Share of calls answered with 500, 0 to 1.
    pub error_rate: f64,
}

/// Figures to reach. They are judged in the report and do not fail a run: a busy machine is no defect.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Goals {
    /// Accept latency, 99th percentile, at most.
    pub accept_p99_ms: Option<f64>,
    /// Time to certainty, median, at most.
    pub certainty_p50_ms: Option<f64>,
    /// Time to certainty, 99th percentile, at most.
    pub certainty_p99_ms: Option<f64>,
    /// Share of payers able and willing to pay whose order did not succeed, at most.
    pub failure_rate: Option<f64>,
    /// Orders accepted per second, at least.
    pub accepted_per_s: Option<f64>,
    /// Orders finished per second, at least.
    pub finished_per_s: Option<f64>,
    /// A channel is left soon after it falls ill.
    pub switch_away: Option<SwitchGoal>,
    /// A channel is used again soon after it is well.
    pub switch_back: Option<SwitchGoal>,
}

/// How soon a switch follows its cause.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SwitchGoal {
    /// The channel that is left or returned to.
    pub channel: String,
    /// When the cause begins (or ends), second of the run.
    pub at_s: f64,
    /// At most so many seconds later.
    pub within_s: f64,
}

impl Scenario {
    /// The same weather for a service as a first version is usually written: the scenario's first channel
    /// alone, no hedge, no switch, a query every five seconds, and a mini program that reports nothing. The
    /// yardstick of `rush --compare`.
    #[must_use]
    pub fn first_version(&self) -> Scenario {
        let mut plain = self.clone();
        plain.mix.channels.truncate(1);
        plain.mix.consents.clear();
        plain.mix.consent_share = 0.0;
        plain.payer.hint = 0.0;
        plain.payer.impatient = 0.0;
        plain.goals = Goals::default();
        let off = ["switch_enabled", "hedge_enabled"].map(|key| (key, serde_json::Value::Bool(false)));
        let slow = [
            "poll_first_ms",
            "poll_every_ms",
            "poll_mid_every_ms",
            "poll_slow_every_ms",
            "poll_last_every_ms",
        ]
        .map(|key| (key, serde_json::Value::from(5_000)));
        plain.tuning.extend(off.into_iter().chain(slow).map(|(key, value)| (key.to_owned(), value)));
        plain
    }
}

mod defaults {
    pub(super) fn drain_limit_s() -> f64 {
        60.0
    }

    pub(super) fn expires_in_s() -> u32 {
        300
    }
}

impl Default for Arrivals {
    fn default() -> Arrivals {
        Arrivals { mode: ArrivalMode::Open, in_flight: 64, profile: Vec::new() }
    }
}

impl Default for Basket {
    fn default() -> Basket {
        Basket { median_fen: 1_850, p99_fen: 6_000, min_fen: 100, max_fen: 20_000 }
    }
}

impl Default for Mix {
    fn default() -> Mix {
        Mix {
            scenes: [("jsapi", 0.6), ("native", 0.3), ("h5", 0.1)].map(|(k, v)| (k.to_owned(), v)).into(),
            channels: vec!["wechat".into(), "campus_card".into()],
            limits: BTreeMap::new(),
            consents: vec!["campus_card".into()],
            consent_share: 1.0,
            merchants: 20,
            payers: 5_000,
        }
    }
}

impl Default for Payer {
    fn default() -> Payer {
        Payer {
            think: Spread { median_ms: 1_500.0, p99_ms: 5_000.0 },
            cancels: 0.0,
            walks_away: 0.0,
            no_balance: 0.0,
            pays_twice: 0.0,
            pays_late: 0.0,
            hint: 0.8,
            impatient: 0.0,
            switch_after_s: 5.0,
            patience_s: 45.0,
            pays: true,
        }
    }
}

impl Default for Node {
    fn default() -> Node {
        Node { kill_at_s: Vec::new(), restart_after_s: 1.0 }
    }
}
