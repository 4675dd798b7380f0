//! `rushpay webhooks`: what backends were told, what is due or dead, and sending it again.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::{
    operator::{Operator, text},
    order_id, say,
};
use crate::cli::Webhooks;

pub(super) async fn run(args: Webhooks) -> anyhow::Result<bool> {
    let service = Operator::new(&args.service)?;
    if let Some(id) = &args.resend {
        let path = format!("/webhooks/{id}/resend");
        return sent(service.post(&path, &json!({})).await?);
    }
    if let (true, Some(backend)) = (args.resend_all, &args.backend) {
        return sent(service.post("/webhooks/resend", &json!({ "backend": backend })).await?);
    }
    let mut out = String::new();
    if args.state.is_none() && args.backend.is_none() && args.order.is_none() {
        let Some(body) = service.get("/webhooks/backends").await? else { return Ok(false) };
        for line in lines(&body, "/backends") {
            backend(&mut out, line);
        }
        out.push('\n');
    }
    let order = args.order.as_deref().map(order_id).transpose()?.map(|id| id.to_string());
    let chosen = [("state", args.state), ("backend", args.backend), ("order", order)];
    let mut parameters = vec![("limit", args.limit.to_string())];
    parameters.extend(chosen.into_iter().filter_map(|(key, value)| Some((key, value?))));
    let Some(body) = service.find("/webhooks", &parameters).await? else { return Ok(false) };
    let webhooks = lines(&body, "/webhooks");
    for line in webhooks {
        webhook(&mut out, line);
    }
    let _infallible = writeln!(out, "{} webhooks, newest first", webhooks.len());
    say(&out).map(|()| true)
}

fn sent(answer: Option<Value>) -> anyhow::Result<bool> {
    let Some(body) = answer else { return Ok(false) };
    let (resent, left) = (text(&body, "/resent"), text(&body, "/left"));
    let rest =
        if left.is_empty() || left == "0" { String::new() } else { format!("; {left} are left, once more") };
    say(&format!("sent again: {resent}{rest}\n")).map(|()| true)
}

fn lines<'b>(body: &'b Value, pointer: &str) -> &'b [Value] {
    body.pointer(pointer).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

fn backend(out: &mut String, line: &Value) {
    let rest = text(line, "/resting_until");
    let state = if rest.is_empty() { "takes calls".to_owned() } else { format!("rests until {rest}") };
    let _infallible = writeln!(
        out,
        "{:<32} due {:<7} dead {:<7} longest wait {:>6} s   failed in a row {:<4} {state}",
        text(line, "/backend"),
        text(line, "/due"),
        text(line, "/dead"),
        text(line, "/longest_wait_s"),
        text(line, "/failures_in_a_row"),
    );
}

fn webhook(out: &mut String, line: &Value) {
    let next = text(line, "/next_try_at");
    let next = if next.is_empty() { next } else { format!("  next try {next}") };
    let _infallible = writeln!(
        out,
        "{}  {:<9} {:<17} order {}  {}  {} tries{next}",
        text(line, "/id"),
        text(line, "/state"),
        text(line, "/type"),
        text(line, "/order"),
        text(line, "/backend"),
        text(line, "/tries"),
    );
    for call in lines(line, "/calls").iter().rev().take(3).rev() {
        let status = text(call, "/status");
        let what = if status.is_empty() { text(call, "/error") } else { format!("answered {status}") };
        let _infallible = writeln!(out, "    {}  {what} in {} ms", text(call, "/at"), text(call, "/took_ms"));
    }
}
