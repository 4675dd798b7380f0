//! `rushpay tune`: thresholds of a running service.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::{
    operator::{Operator, text},
    say,
};
use crate::cli::Tune;

pub(super) async fn run(args: Tune) -> anyhow::Result<bool> {
    let service = Operator::new(&args.service)?;
    let answer = match (&args.key, &args.value) {
        (Some(key), Some(value)) => service.patch("/tuning", &json!({ key: value })).await?,
        _ => service.get("/tuning").await?,
    };
    let Some(body) = answer else { return Ok(false) };
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
