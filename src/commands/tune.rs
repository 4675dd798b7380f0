//! `rushpay tune`: thresholds of a running service.

use std::{fmt::Write as _, time::Duration};

use anyhow::Context as _;
use serde_json::{Value, json};

use super::say;
use crate::cli::Tune;

pub(super) async fn run(args: Tune) -> anyhow::Result<bool> {
    let client = reqwest::Client::builder().timeout(Duration::from_secs(10));
    let plain = args.target.starts_with("http://");
    let client = if plain { client.tls_certs_only([]) } else { client }.build()?;
    let url = format!("{}/admin/v1/tuning", args.target.trim_end_matches('/'));
    let request = match (&args.key, &args.value) {
        (Some(key), Some(value)) => client.patch(&url).json(&json!({ key: value })),
        _ => client.get(&url),
    };
    let request = if args.token.is_empty() { request } else { request.bearer_auth(&args.token) };
    let answer = request.send().await.with_context(|| format!("no service answers at {}", args.target))?;
    let good = answer.status().is_success();
    let body: Value = answer.json().await.context("the answer makes no sense")?;
    if !good {
        let faults = body.pointer("/errors").and_then(Value::as_array).cloned().unwrap_or_default();
        for fault in &faults {
            eprintln!("rushpay: {}", text(fault, "/problem"));
        }
        if faults.is_empty() {
            eprintln!("rushpay: {}", text(&body, "/detail"));
        }
        return Ok(false);
    }
    let mut out = String::new();
    if args.value.is_some() {
        let changed = body.pointer("/changed").and_then(Value::as_array).cloned().unwrap_or_default();
        for change in &changed {
            let _infallible = writeln!(
                out,
                "{}: {} -> {}",
                text(change, "/key"),
                text(change, "/from"),
                text(change, "/to")
            );
        }
        if changed.is_empty() {
            out.push_str("nothing to change\n");
        }
    } else {
        let settings = body.pointer("/settings").and_then(Value::as_array).cloned().unwrap_or_default();
        let wanted = |s: &&Value| args.key.as_ref().is_none_or(|key| text(s, "/key") == *key);
        let shown: Vec<&Value> = settings.iter().filter(wanted).collect();
        if shown.is_empty() {
            eprintln!("rushpay: there is no such setting; `rushpay tune` lists them all");
            return Ok(false);
        }
        for s in shown {
            let _infallible = writeln!(
                out,
                "{:<24} {:>8}   {:<16} {}",
                text(s, "/key"),
                text(s, "/value"),
                text(s, "/allowed"),
                text(s, "/about")
            );
        }
    }
    say(&out)?;
    Ok(true)
}

fn text(value: &Value, pointer: &str) -> String {
    match value.pointer(pointer) {
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
        None => String::new(),
    }
}
