//! `rushpay chaos`: a rush during which the service is killed, frozen, left without room on its disk and cut off, with
//! real processes; then a judge who wants every order and every fen.
//!
//! The sandbox is never harmed: it holds the truth that the judge asks for. The run is good only if nothing was lost,
//! nobody was charged twice, the audit is clean, and everything planned really happened.

mod disk;
mod judge;
mod plan;
mod sandbox;
mod show;
mod trickster;

use std::{cell::RefCell, path::Path, sync::Arc, time::Duration};

use ::loadtest::{ChaosReport, Mischief, RunOptions, RunResult, Scenario, Target};
use anyhow::{Context as _, bail};

use super::{
    house::{Grounds, House},
    say,
    serve::stop_asked,
};
use crate::cli::{Chaos, MischiefKind};
use disk::Disk;
use plan::{Plan, Wishes};
use sandbox::Sandbox;
use show::Show;
use trickster::Trickster;

/// Orders a second, if nobody says how many.
const ORDERS_PER_S: f64 = 20.0;
const ORDERS_MAX: f64 = 1e6;
/// After the last arrival: an order's life, the grace for its certificates, and the refunds that follow.
const DRAIN: Duration = Duration::from_secs(90);

pub(super) async fn run(args: Chaos) -> anyhow::Result<bool> {
    let mut scenario = Scenario::parse(include_str!("load.toml"), "chaos")?;
    let wishes = Wishes {
        seed: args.seed,
        kinds: args.kinds(),
        kills: args.kills,
        lasts_s: args.lasts_s(ORDERS_PER_S),
        channels: scenario.mix.channels.clone(),
    };
    let plan = Plan::new(&wishes)?;
    scenario.duration_s = plan.lasts_s;
    scenario.drain_limit_s = DRAIN.as_secs_f64();
    scenario.orders = args.orders.unwrap_or_else(|| rounded((plan.lasts_s * ORDERS_PER_S).min(ORDERS_MAX)));
    let _most_that_the_system_allows = ::loadtest::raise_open_files();

    let throwaway = tempfile::Builder::new().prefix("rushpay-chaos-").tempdir().context("making a folder")?;
    let dir = args.keep.as_deref().unwrap_or(throwaway.path());
    std::fs::create_dir_all(dir).with_context(|| format!("cannot make the folder {}", dir.display()))?;
    let full = wishes.kinds.contains(&MischiefKind::Disk).then_some(args.disk);
    let disk = Disk::new(dir, scenario.orders, full)?;
    if !args.quiet {
        say(&announcement(&plan, &scenario, &disk, args.seed))?;
    }
    let done = tokio::select! {
        done = whole(&args, &plan, &scenario, dir, &disk) => done,
        stopped = stop_asked() => stopped.and_then(|()| bail!("stopped; nothing was judged")),
    };
    if args.keep.is_some() {
        disk.keep(dir)?;
    }
    let report = done?;
    report.write(&args.report)?;
    say(&report.summary())?;
    say(&format!("report: {}\n", args.report.join("report.html").display()))?;
    Ok(report.failed_reasons().is_empty())
}

/// What is going to happen, for people.
fn announcement(plan: &Plan, scenario: &Scenario, disk: &Disk, seed: u64) -> String {
    use std::fmt::Write as _;

    let mut text = format!(
        "seed {seed}: {} orders in {:.0} s, {} kills; the disk is {}\n",
        scenario.orders,
        plan.lasts_s,
        plan.kills(),
        disk.in_words()
    );
    for act in plan.acts() {
        let _infallible = writeln!(text, "{:>9.1} s  {}", act.at.as_secs_f64(), act.what);
    }
    text
}

/// From the start of the house to the verdict.
async fn whole(
    args: &Chaos,
    plan: &Plan,
    scenario: &Scenario,
    dir: &Path,
    disk: &Disk,
) -> anyhow::Result<ChaosReport> {
    let grounds = Grounds {
        dir,
        disk: disk.path(),
        seed: args.seed,
        mix: &scenario.mix,
        configs: &args.config,
        spared_file_limits: disk.is_limited(),
    };
    let mut house = House::start(grounds).await?;
    let sandbox = Sandbox::new(&house.sandbox_url)?;
    let show = Arc::new(Show::new(scenario.orders, args.quiet));
    let trickster = Trickster { disk, sandbox: &sandbox, scenario, show: &show, done: RefCell::default() };
    let run = load_and_mischief(args, plan, scenario, &mut house, &trickster, &show).await?;
    let mischief = accounted(plan, trickster.done.into_inner());
    show.note("the load is over; waiting for the last order");
    let patience = DRAIN + Duration::from_secs(60);
    let settled_after = judge::settled(&house.api_url, patience, &show).await?;
    show.finish();
    house.stop_service().await?;
    let store = house.store().await?;
    let mut judgement = judge::judge(&store, &run.accepted, &house.sandbox_url).await?;
    judgement.settled_after_s = (settled_after.as_secs_f64() * 10.0).round() / 10.0;
    drop(store);
    let audit = house.audit().await?;
    house.stop_sandbox().await?;
    let asked = (args.seed, args.repeat(), plan.kills().into());
    Ok(ChaosReport::new(asked, mischief, run, judgement, audit))
}

/// Both at once; the slower one decides when it is over.
async fn load_and_mischief(
    args: &Chaos,
    plan: &Plan,
    scenario: &Scenario,
    house: &mut House,
    trickster: &Trickster<'_>,
    show: &Arc<Show>,
) -> anyhow::Result<RunResult> {
    let target = Target {
        api_url: house.api_url.clone(),
        sandbox_url: house.sandbox_url.clone(),
        webhook_secret: house.webhook_secret.clone(),
    };
    // Progress is shown here, among the mischief.
    let options = RunOptions { orders: None, seed: args.seed, quiet: true };
    let load = ::loadtest::run(target, scenario, options, show.clone());
    let (run, ()) = tokio::try_join!(load, trickster.carry_out(plan, house))?;
    Ok(run)
}

/// What was done, and what was planned and was not, by the moments of the plan.
fn accounted(plan: &Plan, done: Vec<Mischief>) -> Vec<Mischief> {
    let missing = |act: &&plan::Act| {
        let planned = trickster::planned(act);
        !done.iter().any(|m| (m.planned_at_s, &m.what) == (planned.planned_at_s, &planned.what))
    };
    let never = |act: &plan::Act| {
        let problem = Some("was never done".to_owned());
        Mischief { problem, ..trickster::planned(act) }
    };
    let acts = plan.acts();
    let mut all: Vec<Mischief> = acts.into_iter().filter(missing).map(never).collect();
    all.extend(done);
    all.sort_by(|a, b| a.planned_at_s.total_cmp(&b.planned_at_s));
    all
}

#[expect(clippy::as_conversions, reason = "float casts saturate, and the value is below a million")]
fn rounded(value: f64) -> u32 {
    value.round().max(1.0) as u32
}
