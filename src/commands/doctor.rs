//! `rushpay doctor`: what is wrong with a configuration before it goes live. Changes nothing, starts nothing.

use std::{path::Path, time::Duration};

use channels::{Class, Finding, Look, registry};
use domain::Timestamp;
use serde_json::json;

use super::say;
use crate::{
    cli::{Doctor, Profile},
    config::{self, Config},
};

/// Whoever does not answer within this is down, for a doctor.
const PATIENCE: Duration = Duration::from_secs(5);
/// WeChat Pay refuses beyond five minutes; a minute is a sign that nobody keeps the clock.
const CLOCK_MAX_S: i64 = 60;

pub(super) async fn run(args: Doctor) -> anyhow::Result<bool> {
    let production = args.profile == Profile::Production;
    let now = channels::system_clock()();
    let mut findings = Vec::new();
    let mut looked_at = Vec::new();
    match config::load(&args.files.config) {
        Err(bad) => findings.extend(bad.0.into_iter().map(|problem| Finding {
            class: Class::OptionInvalid,
            key: String::new(),
            problem,
        })),
        Ok(config) => {
            house(&config, production, &mut findings);
            for name in &config.channels.order {
                let key = format!("channels.{name}");
                let mut look = Look::new(&key, now, production);
                match config.channels.each.get(name) {
                    None => {
                        look.add(Class::OptionInvalid, "", "channels.order names it, and it has no options")
                    }
                    Some(options) => registry::inspect(name, options, &mut look),
                }
                let (found, addresses) = look.findings();
                findings.extend(found);
                looked_at.push(name.clone());
                if !args.offline {
                    network(&key, &addresses, now, &mut findings).await;
                }
            }
        }
    }
    let bad = findings.iter().filter(|found| !found.class.is_warning()).count();
    if args.json {
        let list: Vec<_> = findings
            .iter()
            .map(|f| {
                json!({ "class": f.class.as_str(), "key": f.key, "problem": f.problem,
                    "severity": if f.class.is_warning() { "warning" } else { "error" } })
            })
            .collect();
        say(&format!("{:#}\n", json!({ "findings": list, "channels": looked_at, "healthy": bad == 0 })))?;
    } else {
        say(&in_words(&findings, &looked_at, &args))?;
    }
    Ok(bad == 0)
}

fn in_words(findings: &[Finding], channels: &[String], args: &Doctor) -> String {
    let mut text = String::new();
    for found in findings {
        let mark = if found.class.is_warning() { "warning" } else { "error  " };
        let key = if found.key.is_empty() {
            String::new()
        } else {
            format!("{}\n         ", found.key.trim_end_matches('.'))
        };
        text.push_str(&format!("{mark}  {}\n         {key}{}\n", found.class.as_str(), found.problem));
    }
    let warnings = findings.iter().filter(|f| f.class.is_warning()).count();
    let profile = match args.profile {
        Profile::Production => "production",
        Profile::Development => "development",
    };
    let network =
        if args.offline { ", offline: callbacks, channels and clock were not looked at" } else { "" };
    let channels = if channels.is_empty() { "none".to_owned() } else { channels.join(", ") };
    text.push_str(&format!(
        "{} errors, {warnings} warnings; profile {profile}, channels {channels}{network}\n",
        findings.len() - warnings
    ));
    text
}

/// The service's own settings.
fn house(config: &Config, production: bool, findings: &mut Vec<Finding>) {
    let mut add =
        |class, key: &str, problem: String| findings.push(Finding { class, key: key.to_owned(), problem });
    if config.channels.order.is_empty() {
        add(Class::OptionInvalid, "channels.order", "no channel is named: no order could be paid".to_owned());
    }
    let path = &config.store.path;
    if path.is_relative() {
        let problem = format!("{} depends on the folder the service is started in", path.display());
        add(Class::KeyPathRelative, "store.path", problem);
    }
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if let Err(problem) = tempfile::tempfile_in(folder) {
        add(Class::StoreUnsafe, "store.path", format!("{} cannot be written: {problem}", folder.display()));
    }
    if !production {
        return;
    }
    if ["/tmp", "/dev/shm", "/run"].iter().any(|volatile| path.starts_with(volatile)) {
        add(
            Class::StoreUnsafe,
            "store.path",
            format!("{} does not outlive a restart of the machine", path.display()),
        );
    }
    if config.http.admin_token.is_empty() && config.operators.is_empty() {
        add(
            Class::DoorOpen,
            "http.admin_token",
            "is missing: whoever reaches the port may change thresholds".to_owned(),
        );
    }
    if config.webhooks.secret.is_empty() {
        add(Class::DoorOpen, "webhooks.secret", "is missing: the service will not start".to_owned());
    }
    if config.log.level.contains("trace") || config.log.level.contains("debug") {
        let problem = format!("{:?} writes every message; use info", config.log.level);
        add(Class::DebugSwitch, "log.level", problem);
    }
}

/// What only a network can tell: does the channel answer, what time is it there, does our callback answer.
async fn network(
    key: &str,
    addresses: &std::collections::BTreeMap<&'static str, String>,
    now: Timestamp,
    findings: &mut Vec<Finding>,
) {
    let mut add =
        |class, name: &str, problem| findings.push(Finding { class, key: format!("{key}.{name}"), problem });
    if let Some(address) = addresses.get("base_url") {
        match get(address).await {
            Err(e) => add(
                Class::ChannelUnreachable,
                "base_url",
                format!("{address} does not answer: {}", cause(&e)),
            ),
            Ok(answer) => {
                let date = answer.headers().get("date").and_then(|v| v.to_str().ok()).unwrap_or_default();
                let theirs = jiff::fmt::rfc2822::parse(date).ok().map(|at| at.timestamp().as_second());
                if let Some(off) = theirs.map(|at| now.secs() - at).filter(|off| off.abs() > CLOCK_MAX_S) {
                    let side = if off > 0 { "ahead of" } else { "behind" };
                    let problem = format!(
                        "this machine's clock is {} s {side} the channel's; signatures are refused beyond 300 s: use NTP",
                        off.abs()
                    );
                    add(Class::ClockOff, "base_url", problem);
                }
            }
        }
    }
    if let Some(address) = addresses.get("notify_url")
        && let Err(e) = get(address).await
    {
        let problem =
            format!("{address} does not answer: {}; the channel could not reach it either", cause(&e));
        add(Class::CallbackUnreachable, "notify_url", problem);
    }
}

/// One look at an address; whatever it answers is an answer.
async fn get(address: &str) -> reqwest::Result<reqwest::Response> {
    let mut client = reqwest::Client::builder().timeout(PATIENCE).redirect(reqwest::redirect::Policy::none());
    if address.starts_with("http:") {
        // A machine without CA certificates may still look at itself.
        client = client.tls_certs_only([]);
    }
    client.build()?.get(address).send().await
}

fn cause(error: &reqwest::Error) -> String {
    let mut text = error.to_string();
    let mut at = std::error::Error::source(error);
    while let Some(inner) = at {
        text = inner.to_string();
        at = inner.source();
    }
    text
}
