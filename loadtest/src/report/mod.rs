//! What a run showed, in figures: for scripts as JSON, for people as text and as one HTML page.
//!
//! Owns the names of `report.json`, which scripts rely on. Figures that only the starter of the processes
//! can know (CPU, memory, cost of a signature, audit) stay empty until [`Report::finish`]. A report never
//! hides a bad run: [`Report::failed_reasons`] says why its figures or its books cannot be trusted.

mod chaos;
mod chart;
mod compare;
mod goals;
mod html;
mod text;
mod weather;

use std::{collections::BTreeMap, path::Path};

use anyhow::Context;
use serde::{Deserialize, Serialize};

pub use chaos::{ChaosReport, Judgement, Mischief};
pub use compare::Comparison;
pub use goals::GoalResult;
pub use weather::Weather;

use crate::{
    num,
    run::RunResult,
    scenario::ArrivalMode,
    tally::{Latency, Second},
    watch::Switch,
};

/// A generator whose 99th percentile of lateness is above this fell behind. Fifty milliseconds are the goal
/// for accept latency: a generator later than that would measure itself.
pub(crate) const LAG_P99_MAX_MS: f64 = 50.0;
/// No order may be sent later than this. A pause of half a second shifts load that was meant to arrive.
pub(crate) const LAG_MAX_MS: f64 = 500.0;

/// A latency distribution, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Percentiles {
    /// Median.
    pub p50: f64,
    /// 90th percentile.
    pub p90: f64,
    /// 99th percentile.
    pub p99: f64,
    /// 99.9th percentile.
    pub p999: f64,
    /// Largest.
    pub max: f64,
    /// How many values.
    pub count: u64,
}

impl From<&Latency> for Percentiles {
    fn from(latency: &Latency) -> Percentiles {
        let at = |share| num::rounded(latency.quantile_ms(share), 3);
        Percentiles {
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p999: at(0.999),
            max: num::rounded(latency.max_ms(), 3),
            count: latency.count(),
        }
    }
}

/// One second, for charts.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Line {
    /// Orders planned for it.
    pub offered: u32,
    /// Orders accepted in it.
    pub accepted: u32,
    /// Orders that succeeded in it.
    pub succeeded: u32,
    /// Orders that failed in it.
    pub failed: u32,
    /// Answers 429 and 503.
    pub pushed_back: u32,
    /// Requests without an answer.
    pub unanswered: u32,
    /// Payers under way at its end.
    pub in_flight: u32,
    /// Orders routed, by channel.
    pub routed: BTreeMap<String, u32>,
    /// Accept latency, 99th percentile; absent in a second without any.
    pub accept_p99_ms: Option<f64>,
    /// Time to certainty, median.
    pub certainty_p50_ms: Option<f64>,
    /// Time to certainty, 99th percentile.
    pub certainty_p99_ms: Option<f64>,
}

/// The generator's own state of health.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Generator {
    /// How late orders were sent.
    pub lag_ms: Percentiles,
    /// Later than 50 ms at p99 or 500 ms at all.
    pub fell_behind: bool,
    /// CPU time per order sent, microseconds.
    pub cpu_us_per_order: f64,
    /// HTTP requests sent to the service.
    pub requests: u64,
}

/// Webhooks as the backend saw them.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Webhooks {
    /// Calls received.
    pub calls: u64,
    /// Different webhooks taken.
    pub taken: u64,
    /// Calls repeating one that had been taken.
    pub repeated: u64,
    /// Calls whose signature or time was wrong.
    pub refused: u64,
    /// Calls failed on purpose.
    pub failed_on_purpose: u64,
}

/// Figures of the service's process and of this machine's cryptography.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ProcessFigures {
    /// CPU time of the service over the run, microseconds.
    pub cpu_us: u64,
    /// Peak resident memory of the service, MiB.
    pub peak_rss_mib: f64,
    /// Measured cost of one signature, microseconds.
    pub sign_us: f64,
    /// Measured cost of one verification, microseconds.
    pub verify_us: f64,
}

/// What the audit found.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct AuditFigures {
    /// Every fen is accounted for.
    pub clean: bool,
    /// Orders examined.
    pub orders: u64,
    /// Captured at the channels, fen.
    pub captured_fen: u64,
    /// Refunded at the channels, fen.
    pub refunded_fen: u64,
    /// One sentence per violation.
    pub violations: Vec<String>,
}

/// The whole report; its fields are the keys of `report.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Scenario's name.
    pub scenario: String,
    /// What it does and shows.
    pub description: String,
    /// The plan's seed.
    pub seed: u64,
    /// When the run started, RFC 3339.
    pub started_at: String,
    /// As fast as answers came: latencies hide waiting.
    pub closed_loop: bool,
    /// Whether orders were paid, or only accepted.
    pub pays: bool,
    /// Orders planned.
    pub planned: u64,
    /// Orders sent.
    pub offered: u64,
    /// Orders accepted.
    pub accepted: u64,
    /// Orders that succeeded.
    pub succeeded: u64,
    /// Orders that failed, for whatever reason.
    pub failed: u64,
    /// Orders still suspicious at the end.
    pub suspicious: u64,
    /// Orders still pending or processing at the end.
    pub open: u64,
    /// Orders not accepted before the end.
    pub never_accepted: u64,
    /// Orders accepted and unknown later; any of them is a lost order.
    pub forgotten: u64,
    /// Orders refused, by code.
    pub refused: BTreeMap<String, u64>,
    /// Orders whose payer could pay and did what it takes.
    pub willing: u64,
    /// Share of those that did not succeed.
    pub failure_rate: f64,
    /// Failed orders by the service's reason.
    pub failed_because: BTreeMap<String, u64>,
    /// Payers that gave up waiting for a credential.
    pub gave_up: u64,
    /// Orders sent per second.
    pub offered_per_s: f64,
    /// Orders accepted per second, from the first to the last.
    pub accepted_per_s: f64,
    /// Orders ended per second, from the first accepted to the last ended.
    pub finished_per_s: f64,
    /// Planned moment to accepted.
    pub accept_ms: Percentiles,
    /// Planned moment to credential.
    pub credential_ms: Percentiles,
    /// Paid to `success` readable.
    pub certainty_ms: Percentiles,
    /// Accepted to `success`, for channels that charge directly.
    pub direct_ms: Percentiles,
    /// From the last arrival to the last end.
    pub drain_s: f64,
    /// Result queries per accepted order; absent if the service does not count them.
    pub polls_per_order: Option<f64>,
    /// CPU time of the service per accepted order, microseconds.
    pub cpu_us_per_order: Option<f64>,
    /// What the signatures made and verified cost on this machine, per accepted order, microseconds.
    pub signature_floor_us_per_order: Option<f64>,
    /// The one divided by the other.
    pub floor_ratio: Option<f64>,
    /// Peak memory of the service, MiB.
    pub peak_rss_mib: Option<f64>,
    /// Share of successful orders by channel.
    pub channel_share: BTreeMap<String, f64>,
    /// The router's decisions.
    pub switches: Vec<Switch>,
    /// Second attempts for silent first ones.
    pub hedges: u64,
    /// The audit, once there was one.
    pub audit: Option<AuditFigures>,
    /// Payments that the sandbox took.
    pub payments: u64,
    /// Payments that it refused, by reason.
    pub payments_refused: BTreeMap<String, u64>,
    /// Payments taken for orders that had one already.
    pub second_payments: u64,
    /// Payments taken after the payer had cancelled.
    pub late_payments: u64,
    /// Paid by a willing payer, and failed (and so refunded) nevertheless.
    pub paid_but_failed: u64,
    /// Orders seen with a refund.
    pub refunded: u64,
    /// Answers 429 and 503.
    pub pushed_back: u64,
    /// Requests repeated for want of an answer.
    pub unanswered: u64,
    /// The generator's health.
    pub generator: Generator,
    /// Webhooks.
    pub webhooks: Webhooks,
    /// The service's own counters over the run.
    pub counters: BTreeMap<String, u64>,
    /// The scenario's goals, judged.
    pub goals: Vec<GoalResult>,
    /// What was done to channels and service, and when.
    pub weather: Vec<Weather>,
    /// One line per second.
    pub timeline: Vec<Line>,
    /// Cumulative distribution of time to certainty: milliseconds and share.
    pub certainty_curve: Vec<(f64, f64)>,
}

impl From<RunResult> for Report {
    fn from(run: RunResult) -> Report {
        let tally = &run.tally;
        let open_loop = run.scenario.arrivals.mode == ArrivalMode::Open;
        let span = |between: Option<(f64, f64)>| between.map_or(0.0, |(from, to)| to - from);
        let rate = |count: u64, seconds: f64| {
            if seconds > 0.0 { num::rounded(num::float(count) / seconds, 1) } else { 0.0 }
        };
        let ended =
            tally.ended_between.zip(tally.accepted_between).map_or(0.0, |(end, start)| end.1 - start.0);
        let lag = Percentiles::from(&tally.lag);
        let by_channel: u64 = tally.by_channel.values().sum();
        let share =
            |(name, count): (&String, &u64)| (name.clone(), num::rounded(num::ratio(*count, by_channel), 4));
        let polls = run.counters.grown("polls");
        let mut report = Report {
            scenario: run.scenario.name.clone(),
            description: run.scenario.description.clone(),
            seed: run.seed,
            started_at: jiff::Timestamp::from_microsecond(run.started_wall_us)
                .map(|t| format!("{t:.3}"))
                .unwrap_or_default(),
            closed_loop: !open_loop,
            pays: run.scenario.payer.pays,
            planned: u64::from(run.orders),
            offered: tally.sent,
            accepted: tally.accepted,
            succeeded: tally.succeeded,
            failed: tally.failed,
            suspicious: tally.suspicious,
            open: tally.open,
            never_accepted: tally.never_accepted,
            forgotten: tally.forgotten,
            refused: tally.refused.clone(),
            willing: tally.willing,
            failure_rate: num::rounded(num::ratio(tally.willing - tally.willing_succeeded, tally.willing), 6),
            failed_because: tally.failed_because.clone(),
            gave_up: tally.gave_up,
            offered_per_s: rate(tally.sent, run.last_arrival_s),
            accepted_per_s: rate(tally.accepted, span(tally.accepted_between)),
            finished_per_s: rate(tally.succeeded + tally.failed, ended),
            accept_ms: (&tally.accept).into(),
            credential_ms: (&tally.credential).into(),
            certainty_ms: (&tally.certainty).into(),
            direct_ms: (&tally.direct).into(),
            drain_s: num::rounded(
                tally.ended_between.map_or(0.0, |(_, last)| last - run.last_arrival_s).max(0.0),
                3,
            ),
            polls_per_order: polls.map(|polls| num::rounded(num::ratio(polls, tally.accepted), 3)),
            cpu_us_per_order: None,
            signature_floor_us_per_order: None,
            floor_ratio: None,
            peak_rss_mib: None,
            channel_share: tally.by_channel.iter().map(share).collect(),
            switches: run.switches.clone(),
            hedges: run.counters.grown("hedges").unwrap_or(0),
            audit: None,
            payments: tally.payments,
            payments_refused: tally.payments_refused.clone(),
            second_payments: tally.second_payments,
            late_payments: tally.late_payments,
            paid_but_failed: tally.paid_but_failed,
            refunded: tally.refunded,
            pushed_back: tally.pushed_back,
            unanswered: tally.unanswered,
            generator: Generator {
                lag_ms: lag,
                fell_behind: open_loop && (lag.p99 > LAG_P99_MAX_MS || lag.max > LAG_MAX_MS),
                cpu_us_per_order: num::rounded(num::ratio(run.generator_cpu_us, tally.sent), 1),
                requests: tally.requests,
            },
            webhooks: Webhooks {
                calls: run.webhooks.calls,
                taken: run.webhooks.taken,
                repeated: run.webhooks.repeated,
                refused: run.webhooks.refused,
                failed_on_purpose: run.webhooks.failed_on_purpose,
            },
            counters: run.counters.all(),
            goals: Vec::new(),
            weather: weather::of(&run.scenario),
            timeline: timeline(&tally.seconds),
            certainty_curve: thin(tally.certainty.cumulative(), 240),
        };
        report.goals = goals::judge(&run.scenario.goals, &report);
        report
    }
}

impl Report {
    /// Fills in what only the starter of the processes knows.
    #[must_use]
    pub fn finish(mut self, process: Option<ProcessFigures>, audit: Option<AuditFigures>) -> Report {
        if let Some(process) = process {
            let count = |name: &str| num::float(self.counters.get(name).copied().unwrap_or(0));
            let orders = num::float(self.accepted.max(1));
            let signing = count("signatures") * process.sign_us + count("verifications") * process.verify_us;
            let (cpu, floor) = (num::float(process.cpu_us) / orders, signing / orders);
            self.cpu_us_per_order = Some(num::rounded(cpu, 1));
            self.signature_floor_us_per_order = Some(num::rounded(floor, 1));
            self.floor_ratio = (floor > 0.0).then(|| num::rounded(cpu / floor, 3));
            self.peak_rss_mib = Some(num::rounded(process.peak_rss_mib, 1));
        }
        self.audit = audit.or(self.audit);
        self
    }

    /// Why this run does not count; empty for a good one. Anything here is an exit code other than 0.
    #[must_use]
    pub fn failed_reasons(&self) -> Vec<String> {
        let mut reasons = Vec::new();
        let lag = &self.generator.lag_ms;
        if self.generator.fell_behind {
            reasons.push(format!(
                "the generator fell behind (sent {:.0} ms late at p99, {:.0} ms at worst; allowed {LAG_P99_MAX_MS} and \
                 {LAG_MAX_MS}): its latencies are its own",
                lag.p99, lag.max
            ));
        }
        if self.accepted == 0 {
            reasons.push("no order was accepted".into());
        }
        if self.forgotten > 0 {
            reasons.push(format!("{} accepted orders are unknown to the service", self.forgotten));
        }
        if self.webhooks.refused > 0 {
            reasons.push(format!("{} webhooks did not verify", self.webhooks.refused));
        }
        if let Some(audit) = self.audit.as_ref().filter(|audit| !audit.clean) {
            reasons.push(format!("the audit found {} violations", audit.violations.len()));
        }
        reasons
    }

    /// Writes `report.json` and `report.html` into `dir`, which is made if need be. Overwrites.
    ///
    /// # Errors
    /// When the directory or a file cannot be written, with its path.
    pub fn write(&self, dir: &Path) -> anyhow::Result<()> {
        write(dir, "report.json", &(serde_json::to_string_pretty(self)? + "\n"))?;
        write(dir, "report.html", &self.html())
    }

    /// Reads a `report.json`.
    ///
    /// # Errors
    /// When it cannot be read or is not a report, with its path.
    pub fn read(path: &Path) -> anyhow::Result<Report> {
        let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
        serde_json::from_str(&text).with_context(|| format!("{}: not a report", path.display()))
    }

    /// The report as text for a terminal.
    #[must_use]
    pub fn summary(&self) -> String {
        text::summary(self)
    }

    /// The report as one self-contained HTML page.
    #[must_use]
    pub fn html(&self) -> String {
        html::page(self)
    }
}

pub(super) fn write(dir: &Path, name: &str, text: &str) -> anyhow::Result<()> {
    std::fs::create_dir_all(dir).with_context(|| dir.display().to_string())?;
    let path = dir.join(name);
    std::fs::write(&path, text).with_context(|| path.display().to_string())
}

fn timeline(seconds: &BTreeMap<u64, Second>) -> Vec<Line> {
    let last = seconds.keys().next_back().copied().unwrap_or(0);
    let quiet = Second::default();
    (0..=last).map(|at| Line::from(seconds.get(&at).unwrap_or(&quiet))).collect()
}

impl From<&Second> for Line {
    fn from(second: &Second) -> Line {
        Line {
            offered: second.offered,
            accepted: second.accepted,
            succeeded: second.succeeded,
            failed: second.failed,
            pushed_back: second.pushed_back,
            unanswered: second.unanswered,
            in_flight: second.in_flight,
            routed: second.routed.clone(),
            accept_p99_ms: quantile_ms(&second.accept_us, 0.99),
            certainty_p50_ms: quantile_ms(&second.certainty_us, 0.5),
            certainty_p99_ms: quantile_ms(&second.certainty_us, 0.99),
        }
    }
}

fn quantile_ms(values_us: &[u32], share: f64) -> Option<f64> {
    let mut sorted = values_us.to_vec();
    sorted.sort_unstable();
    let at = num::index((share * num::float_of(sorted.len())).ceil() - 1.0);
    sorted.get(at).map(|us| num::rounded(f64::from(*us) / 1_000.0, 3))
}

/// At most about `most` steps of a curve, the first and the last among them.
fn thin(steps: Vec<(f64, f64)>, most: usize) -> Vec<(f64, f64)> {
    let stride = steps.len().div_ceil(most).max(1);
    let last = steps.last().copied();
    let mut kept: Vec<(f64, f64)> = steps
        .into_iter()
        .step_by(stride)
        .map(|(ms, share)| (num::rounded(ms, 3), num::rounded(share, 6)))
        .collect();
    if let Some((ms, share)) = last.filter(|_| stride > 1) {
        kept.push((num::rounded(ms, 3), num::rounded(share, 6)));
    }
    kept
}

#[cfg(test)]
pub(super) mod tests;
