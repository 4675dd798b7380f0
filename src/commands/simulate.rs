//! `rushpay simulate`: lunches under a paused clock, seed after seed on every core, until something is wrong.
//!
//! A seed decides everything, so a bad one is reported with the command that lives through it again and with the story
//! of its first bad order. Exit 0 only if nothing contradicts and surpluses started back in time.

use std::{
    collections::BTreeMap,
    io::IsTerminal as _,
    sync::{
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc,
    },
    time::{Duration, Instant},
};

use anyhow::Context as _;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;
use simulator::{Options, Outcome, Violation, quantile_of, simulate};

use super::{explain, say};
use crate::cli::Simulate;

/// The refund of a surplus starts within this time of its detection, at p99.
const REFUND_STARTS_WITHIN_MS: u64 = 5_000;
/// Violations of one seed that are shown.
const SHOWN: usize = 10;

/// The figures over all seeds.
#[derive(Debug, Default, Serialize)]
struct Figures {
    first_seed: u64,
    seeds: u64,
    orders: u64,
    days: u64,
    commits: u64,
    simulated_s: f64,
    took_s: f64,
    times_real: f64,
    orders_per_s: f64,
    states: BTreeMap<String, u64>,
    counts: BTreeMap<&'static str, u64>,
    refunds_of_surpluses: usize,
    refund_start_ms: Quantiles,
    refund_start_excused_ms: Quantiles,
    violations: u64,
    bad_seeds: Vec<BadSeed>,
    /// By seed, while they are few.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    digests: Vec<(u64, String)>,
}

#[derive(Debug, Default, Serialize)]
struct Quantiles {
    n: usize,
    p50: u64,
    p99: u64,
    max: u64,
}

#[derive(Debug, Serialize)]
struct BadSeed {
    seed: u64,
    found: u64,
    violations: Vec<Violation>,
    replay: String,
    #[serde(skip)]
    story: String,
}

impl Quantiles {
    fn of(mut ms: Vec<u64>) -> Quantiles {
        ms.sort_unstable();
        let max = ms.last().copied().unwrap_or_default();
        Quantiles { n: ms.len(), p50: quantile_of(&ms, 0.5), p99: quantile_of(&ms, 0.99), max }
    }
}

pub(super) fn run(args: &Simulate) -> anyhow::Result<bool> {
    let figures = lived_through(args)?;
    if args.json {
        say(&format!("{}\n", serde_json::to_string_pretty(&figures)?))?;
    } else {
        say(&in_words(&figures))?;
    }
    Ok(figures.bad_seeds.is_empty() && in_time(&figures))
}

fn in_time(figures: &Figures) -> bool {
    figures.refund_start_ms.p99 <= REFUND_STARTS_WITHIN_MS
}

/// Lives through the seeds on as many threads as there are cores. After a bad one no further seed begins.
fn lived_through(args: &Simulate) -> anyhow::Result<Figures> {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get);
    let jobs = args.jobs.map_or(cores, std::num::NonZeroUsize::get);
    let began = Instant::now();
    let until = args.for_s.map(|s| began + Duration::from_secs(s));
    let bar = bar(args);
    let (next, stop) = (AtomicU64::new(0), AtomicBool::new(false));
    let (tell, outcomes) = mpsc::channel();
    let mut figures = Figures { first_seed: args.seed, ..Figures::default() };
    let (mut starts, mut excused) = (Vec::new(), Vec::new());
    std::thread::scope(|scope| -> anyhow::Result<()> {
        for _ in 0..jobs {
            let (tell, next, stop, bar) = (tell.clone(), &next, &stop, &bar);
            let one_after_another = move || {
                loop {
                    let n = next.fetch_add(1, Ordering::Relaxed);
                    let late = until.is_some_and(|until| Instant::now() >= until);
                    if n >= args.seeds || stop.load(Ordering::Relaxed) || late {
                        return;
                    }
                    let options = Options {
                        seed: args.seed.wrapping_add(n),
                        orders: args.orders,
                        days: args.days.min(args.orders),
                    };
                    let told = std::cell::Cell::new(0);
                    let outcome = simulate(&options, &|orders| {
                        bar.inc(orders.saturating_sub(told.replace(orders)));
                    });
                    if tell.send(outcome).is_err() {
                        return;
                    }
                }
            };
            std::thread::Builder::new()
                .name("simulator".to_owned())
                .spawn_scoped(scope, one_after_another)?;
        }
        drop(tell);
        for outcome in outcomes {
            let mut outcome = outcome.inspect_err(|_| stop.store(true, Ordering::Relaxed))?;
            starts.append(&mut outcome.refund_starts_ms);
            excused.append(&mut outcome.refund_starts_excused_ms);
            if outcome.found > 0 {
                stop.store(true, Ordering::Relaxed);
                figures.bad_seeds.push(bad(args, &outcome)?);
            }
            figures.add(outcome);
        }
        Ok(())
    })
    .context("simulating")?;
    bar.finish_and_clear();
    figures.took_s = began.elapsed().as_secs_f64();
    figures.times_real = figures.simulated_s / figures.took_s;
    figures.orders_per_s = figures.orders_f64() / figures.took_s;
    figures.refunds_of_surpluses = starts.len() + excused.len();
    figures.refund_start_ms = Quantiles::of(starts);
    figures.refund_start_excused_ms = Quantiles::of(excused);
    figures.bad_seeds.sort_by_key(|bad| bad.seed);
    figures.digests.sort();
    Ok(figures)
}

fn bar(args: &Simulate) -> ProgressBar {
    let hidden = args.quiet || args.json || !std::io::stderr().is_terminal();
    let target = if hidden { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() };
    let bar = ProgressBar::with_draw_target(Some(args.orders.saturating_mul(args.seeds)), target);
    match ProgressStyle::with_template(
        "{elapsed_precise} {wide_bar} {human_pos} of {human_len} orders, {eta} left",
    ) {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

impl Figures {
    fn add(&mut self, outcome: Outcome) {
        const DIGESTS: u64 = 20;
        self.seeds += 1;
        self.orders += outcome.orders;
        self.days += outcome.days;
        self.commits += outcome.commits;
        self.simulated_s += outcome.simulated_s;
        self.violations += outcome.found;
        for (state, n) in outcome.states {
            *self.states.entry(state).or_default() += n;
        }
        for (what, n) in outcome.counts {
            *self.counts.entry(what).or_default() += n;
        }
        if self.seeds <= DIGESTS {
            self.digests.push((outcome.seed, outcome.digest));
        } else {
            self.digests.clear();
        }
    }

    fn orders_f64(&self) -> f64 {
        u32::try_from(self.orders).map_or(f64::INFINITY, f64::from)
    }
}

fn bad(args: &Simulate, outcome: &Outcome) -> anyhow::Result<BadSeed> {
    let story = match &outcome.story {
        Some((order, history)) => explain::story(order, history)?,
        None => String::new(),
    };
    let replay =
        format!("rushpay simulate --seed {} --orders {} --days {}", outcome.seed, args.orders, args.days);
    let violations = outcome.violations.iter().take(SHOWN).cloned().collect();
    Ok(BadSeed { seed: outcome.seed, found: outcome.found, violations, replay, story })
}

fn in_words(f: &Figures) -> String {
    use std::fmt::Write as _;
    let mut out = String::new();
    let list = |counts: &mut dyn Iterator<Item = (&str, u64)>| {
        counts.map(|(what, n)| format!("{what} {n}")).collect::<Vec<_>>().join(", ")
    };
    let last = f.first_seed.wrapping_add(f.seeds.saturating_sub(1));
    let seeds = if f.seeds == 1 {
        format!("seed {last}")
    } else {
        format!("{} seeds, {} to {last}", f.seeds, f.first_seed)
    };
    let lines = [
        format!(
            "{seeds}: {} orders, {} commits, {} lunches; {:.0} s simulated in {:.1} s, {:.0} × real time, {:.0} orders/s",
            f.orders, f.commits, f.days, f.simulated_s, f.took_s, f.times_real, f.orders_per_s
        ),
        format!("  orders    {}", list(&mut f.states.iter().map(|(s, n)| (s.as_str(), *n)))),
        format!("  happened  {}", list(&mut f.counts.iter().map(|(s, n)| (*s, *n)))),
        format!(
            "  surpluses {} refunds; started after p50 {} ms, p99 {} ms, at most {} ms ({} of them); with the channel out of reach, other thresholds or the process dead: p50 {} ms, p99 {} ms ({})",
            f.refunds_of_surpluses,
            f.refund_start_ms.p50,
            f.refund_start_ms.p99,
            f.refund_start_ms.max,
            f.refund_start_ms.n,
            f.refund_start_excused_ms.p50,
            f.refund_start_excused_ms.p99,
            f.refund_start_excused_ms.n
        ),
        format!("  violations {}", f.violations),
    ];
    for line in lines {
        let _infallible = writeln!(out, "{line}");
    }
    for (seed, digest) in &f.digests {
        let _infallible = writeln!(out, "  digest    {digest} of seed {seed}");
    }
    if !in_time(f) {
        let _infallible = writeln!(
            out,
            "TOO LATE: the refund of a surplus starts within {REFUND_STARTS_WITHIN_MS} ms at p99"
        );
    }
    for bad in &f.bad_seeds {
        let _infallible = writeln!(out, "\nseed {}: {} violations", bad.seed, bad.found);
        for v in &bad.violations {
            let _infallible = writeln!(out, "  VIOLATION {} at {}: {}", v.code, v.at, v.detail);
        }
        if !bad.story.is_empty() {
            let _infallible = writeln!(out, "\nthe first bad order:\n{}", bad.story);
        }
        let _infallible = writeln!(out, "live through it again: {}", bad.replay);
    }
    out
}
