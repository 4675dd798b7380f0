//! `rushpay loadtest`: load against a service that runs already.

use std::sync::Arc;

use ::loadtest::{Report, RunOptions, Scenario, Target, Tick};

use super::say;
use crate::cli::Loadtest;

/// Watches and says nothing; the progress is shown by the run itself.
pub(super) struct Silent;

impl ::loadtest::Observer for Silent {
    fn tick(&self, _tick: &Tick) {}
}

pub(super) async fn run(args: Loadtest) -> anyhow::Result<bool> {
    let scenario = Scenario::find(&args.scenario)?;
    let _most_that_the_system_allows = ::loadtest::raise_open_files();
    let target =
        Target { api_url: args.target, sandbox_url: args.sandbox, webhook_secret: args.webhook_secret };
    let options = RunOptions { orders: args.orders, seed: args.seed, quiet: false };
    let result = ::loadtest::run(target, &scenario, options, Arc::new(Silent)).await?;
    let report = Report::from(result).finish(None, None);
    report.write(&args.report)?;
    say(&report.summary())?;
    say(&format!("report: {}\n", args.report.join("report.html").display()))?;
    Ok(report.failed_reasons().is_empty())
}
