//! `rushpay reconcile`: a day's bills against our books, on the store itself.
//!
//! It works whether the service runs or not: a run is worked on under a lease in the store, so that the command and the
//! service never do the same work twice, and either goes on where the other stopped. It moves no money: fixes are
//! confirmed at the running service (`/reconciliation`).

use std::{path::Path, sync::Arc, time::Duration};

use actors::{
    Clock as _, SystemClock,
    reconciliation::{
        Phase, Progress, Reconciliation, ReconciliationOptions, WorkError, Worked, campus_day, parse_day,
    },
};
use anyhow::Context as _;
use channels::Channel;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;
use store::{BillRun, Bills as _, Difference, DifferenceFilter};

use super::{migrate::open_existing, say, serve};
use crate::{cli::Reconcile, config, reconciliation as shown};

/// Another process's lease is waited for; it is at most minutes long.
const PATIENCE: Duration = Duration::from_secs(180);
/// Differences that are printed.
const MOST: usize = 1_000_000;

pub(super) async fn run(args: Reconcile) -> anyhow::Result<bool> {
    let mut config = config::load(&args.files.config)?;
    if let Some(dir) = &args.sandbox_keys {
        serve::use_sandbox(&mut config, dir)?;
    }
    let now = SystemClock.now();
    let today = campus_day(now);
    let day = match &args.date {
        None => today.yesterday()?,
        Some(text) => {
            parse_day(text).with_context(|| format!("--date {text}: expected a day such as 2026-11-24"))?
        }
    };
    let channels = serve::channels(&config)?;
    // Some channels' days begin before the campus's.
    let asked =
        |c: &&Arc<dyn Channel>| args.channel.as_deref().is_none_or(|name| name == c.profile().id.as_str());
    let began = channels.iter().filter(asked).any(|channel| channel.bill_span(day).0 <= now);
    anyhow::ensure!(day <= today || began, "--date {day}: that day has not come yet");
    let store = Arc::new(open_existing(&config).await?);
    let before_the_end = args.sandbox_keys.is_some();
    let options = ReconciliationOptions { before_the_end, ..serve::reconciliation(&config) };
    let work = Reconciliation::new(store.clone(), &channels, Arc::new(SystemClock), &options);
    let names: Vec<String> = match &args.channel {
        Some(name) => vec![name.clone()],
        None => work.channels().map(ToString::to_string).collect(),
    };
    let mut runs = Vec::new();
    for name in &names {
        let run = work.want(name, day, "command").await?;
        let worked = one(&work, run, args.file.as_deref(), args.quiet || args.json).await?;
        if !args.json && args.csv.as_deref() != Some(Path::new("-")) {
            say(&in_words(&worked))?;
        }
        runs.push(worked);
    }
    let found = differences(&store, &day.to_string(), args.channel.as_deref()).await?;
    let live = found.iter().filter(|d| d.state.counts()).count();
    let all_done = runs.iter().all(|worked| !matches!(worked, Worked::NotYet(_)));
    if args.json {
        let runs: Vec<serde_json::Value> = runs
            .iter()
            .map(|worked| {
                let (word, run) = parts(worked);
                json!({ "worked": word, "run": shown::run_json(run) })
            })
            .collect();
        let report = json!({
            "day": day.to_string(), "differences_open": live, "runs": runs,
            "differences": found.iter().map(|d| shown::difference_json(d, now)).collect::<Vec<_>>(),
        });
        say(&(serde_json::to_string_pretty(&report)? + "\n"))?;
    } else if let Some(file) = &args.csv {
        let text = shown::csv(&found);
        if file == Path::new("-") {
            say(&text)?;
        } else {
            std::fs::write(file, text).with_context(|| format!("cannot write {}", file.display()))?;
            say(&format!("{} differences are in {}\n", found.len(), file.display()))?;
        }
    } else {
        say(&format!("{live} differences to act on\n{}", shown::in_words(&found, now)))?;
    }
    Ok(all_done && live == 0)
}

/// Works on one run, and waits for another process that is at it.
async fn one(
    work: &Reconciliation,
    run: BillRun,
    file: Option<&Path>,
    quiet: bool,
) -> anyhow::Result<Worked> {
    let bar = if quiet { ProgressBar::hidden() } else { ProgressBar::new(0) };
    bar.set_style(ProgressStyle::with_template("{prefix} {msg:<9} [{bar:30}] {pos}/{len} {elapsed}")?);
    bar.set_prefix(format!("{} {}", run.channel, run.day));
    let show = |progress: Progress| {
        bar.set_message(progress.phase.as_str());
        bar.set_length(if progress.phase == Phase::Checking { progress.done } else { progress.total });
        bar.set_position(progress.done);
    };
    let until = std::time::Instant::now() + PATIENCE;
    let mut run = run;
    loop {
        let worked = match file {
            None => work.work(&run, &show).await,
            Some(path) => work.work_on_file(&run, path, &show).await,
        };
        match worked {
            Err(WorkError::Busy { .. }) if std::time::Instant::now() < until => {
                bar.set_message("waiting for another process");
                tokio::time::sleep(Duration::from_secs(1)).await;
                let day = parse_day(&run.day).context("the run's day")?;
                run = work.want(&run.channel, day, "command").await?;
            }
            done => {
                bar.finish_and_clear();
                return Ok(done?);
            }
        }
    }
}

async fn differences(
    store: &store::SqliteStore,
    day: &str,
    channel: Option<&str>,
) -> anyhow::Result<Vec<Difference>> {
    let filter = DifferenceFilter {
        day: Some(day.to_owned()),
        channel: channel.map(str::to_owned),
        limit: MOST,
        ..DifferenceFilter::default()
    };
    Ok(store.differences_list(&filter).await?)
}

fn parts(worked: &Worked) -> (&'static str, &BillRun) {
    match worked {
        Worked::Done(run) => ("done", run),
        Worked::Already(run) => ("already", run),
        Worked::NotYet(run) => ("not_yet", run),
    }
}

fn in_words(worked: &Worked) -> String {
    let (_, run) = parts(worked);
    let place = format!("{:<12} {}", run.channel, run.day);
    let holds = format!(
        "{} lines, ¥{}.{:02} paid, ¥{}.{:02} given back",
        run.lines,
        run.paid_fen / 100,
        run.paid_fen % 100,
        run.refunded_fen / 100,
        run.refunded_fen % 100
    );
    match worked {
        Worked::Done(_) => format!("{place}  reconciled: {holds}\n"),
        Worked::Already(_) => {
            let at = run.ended_at.map(|at| at.to_string()).unwrap_or_default();
            format!("{place}  was reconciled at {at}; nothing changed: {holds}\n")
        }
        Worked::NotYet(_) => {
            let problem = run.problem.as_deref().unwrap_or_default();
            format!("{place}  no bill yet ({problem}); next try {}\n", run.next_at)
        }
    }
}
