//! `rushpay sandbox`: the channels alone.

use std::collections::BTreeMap;

use anyhow::Context as _;
use sandbox::{FaultSet, Options};

use super::say;
use crate::cli::Sandbox;

pub(super) async fn run(args: Sandbox) -> anyhow::Result<bool> {
    let faults = args.scenario.as_deref().map(faults_of).transpose()?.unwrap_or_default();
    let options = Options { dir: args.dir.clone(), port_base: args.port_base, seed: args.seed, faults };
    let running = sandbox::start(options).await?;
    let mut text = format!("control      {}\n", running.control_url);
    for (name, url) in &running.channels {
        text.push_str(&format!("{name:<12} {url}\n"));
    }
    text.push_str(&format!(
        "keys         {}\n\nan order from creation to payment: sh {}\npage with everything seen, faults and payers: {}/\nCtrl-C stops it.\n",
        args.dir.display(),
        args.dir.join(sandbox::EXAMPLE).display(),
        running.control_url
    ));
    say(&text)?;
    crate::commands::serve::stop_asked().await?;
    running.stop().await;
    Ok(true)
}

/// The faults that a scenario starts with.
fn faults_of(scenario: &str) -> anyhow::Result<BTreeMap<String, FaultSet>> {
    let scenario = ::loadtest::Scenario::find(scenario)?;
    scenario
        .initial_faults
        .into_iter()
        .map(|(name, set)| {
            let set = serde_json::from_value(set.into());
            set.with_context(|| format!("the scenario's faults of {name}")).map(|set| (name, set))
        })
        .collect()
}
