//! `rushpay rush`: the whole house as processes of its own, a load, an audit, a report.

mod floor;

use std::{path::Path, sync::Arc};

use ::loadtest::{Comparison, ProcessFigures, Report, RunOptions, Scenario, Target};
use anyhow::Context as _;

use super::{
    house::{Grounds, House},
    loadtest::Silent,
    say,
};
use crate::cli::Rush;

pub(super) async fn run(args: Rush) -> anyhow::Result<bool> {
    if args.list {
        for name in Scenario::names() {
            let about = Scenario::find(name)?.description;
            say(&format!("{name:<20} {about}\n"))?;
        }
        return Ok(true);
    }
    let _most_that_the_system_allows = ::loadtest::raise_open_files();
    if args.compare {
        return compare(&args).await;
    }
    let scenario = Scenario::find(&args.scenario)?;
    let report = one(&args, &scenario, args.keep.as_deref()).await?;
    report.write(&args.report)?;
    say(&report.summary())?;
    say(&format!("report: {}\n", args.report.join("report.html").display()))?;
    Ok(report.failed_reasons().is_empty())
}

/// The same weather twice: as a first version is usually written, then with everything on.
async fn compare(args: &Rush) -> anyhow::Result<bool> {
    let scenario = Scenario::find("flaky-campus")?;
    let part = |name: &str| args.keep.as_ref().map(|dir| dir.join(name));
    say("1 of 2: one channel, no hedge, no switch, a query every 5 s\n")?;
    let before = one(args, &scenario.first_version(), part("before").as_deref()).await?;
    say("2 of 2: everything on\n")?;
    let after = one(args, &scenario, part("after").as_deref()).await?;
    let audits = [&before, &after].map(|r| r.audit.as_ref().is_some_and(|a| a.clean));
    let comparison = Comparison {
        before_name: "first version".to_owned(),
        before,
        after_name: "everything on".to_owned(),
        after,
    };
    comparison.write(&args.report)?;
    say(&comparison.summary())?;
    say(&format!("report: {}\n", args.report.display()))?;
    Ok(audits == [true, true])
}

async fn one(args: &Rush, scenario: &Scenario, keep: Option<&Path>) -> anyhow::Result<Report> {
    let throwaway = tempfile::Builder::new().prefix("rushpay-rush-").tempdir().context("making a folder")?;
    let dir = keep.unwrap_or(throwaway.path());
    std::fs::create_dir_all(dir).with_context(|| format!("cannot make the folder {}", dir.display()))?;
    let grounds = Grounds {
        dir,
        disk: dir,
        seed: args.seed,
        mix: &scenario.mix,
        configs: &args.config,
        spared_file_limits: false,
    };
    let mut house = House::start(grounds).await?;
    let target = Target {
        api_url: house.api_url.clone(),
        sandbox_url: house.sandbox_url.clone(),
        webhook_secret: house.webhook_secret.clone(),
    };
    let options = RunOptions { orders: args.orders, seed: args.seed, quiet: args.quiet };
    let result = {
        let load = ::loadtest::run(target, scenario, options, Arc::new(Silent));
        let mischief = house.kill_and_restart(&scenario.node);
        tokio::pin!(load);
        tokio::pin!(mischief);
        // Kills end long before the load does; a failed restart ends the run.
        tokio::select! {
            result = &mut load => result?,
            broken = &mut mischief => { broken?; load.await? }
        }
    };
    let totals = house.stop_service().await?;
    let report = house.audit().await?;
    house.stop_sandbox().await?;
    let floor = floor::measure()?;
    let process = ProcessFigures {
        cpu_us: totals.cpu_us,
        peak_rss_mib: totals.peak_rss_mib(),
        sign_us: floor.sign_us,
        verify_us: floor.verify_us,
    };
    Ok(Report::from(result).finish(Some(process), Some(report)))
}
