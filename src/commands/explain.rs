//! `rushpay explain`: the story of an order, transition by transition, with causes and certificates.

use std::fmt::Write as _;

use store::Store as _;

use super::{migrate::open_existing, order_id, say};
use crate::{cli::Explain, config};

pub(super) async fn run(args: Explain) -> anyhow::Result<bool> {
    let config = config::load(&args.files.config)?;
    let id = order_id(&args.order)?;
    let store = open_existing(&config).await?;
    let Some(order) = store.order_load(id).await? else {
        anyhow::bail!("there is no order {id} in {}", config.store.path.display());
    };
    let said = domain::order::truth(&order);
    let mut out = format!(
        "order {id}  {} {}  {} fen  {}\n\"{}\" {}\n\n",
        order.request.merchant_id,
        order.request.order_no,
        order.request.amount.fen(),
        order.state.as_str(),
        said.sentence,
        said.next_step
    );
    for event in store.order_history(id).await? {
        let cause = &event.cause;
        let source = format!("{} {}", cause.source, cause.reference);
        let source = source.trim();
        let _infallible = writeln!(out, "{:>3}  {}  {} ({source})", event.version, event.at, cause.event);
        for fact in &event.facts {
            let _infallible = writeln!(out, "       {}", fact_in_words(&serde_json::to_value(fact)?));
        }
    }
    out.push('\n');
    for attempt in &order.attempts {
        let certificate = attempt.certificate.as_ref().map_or("none yet", |c| c.as_str());
        let _infallible = writeln!(
            out,
            "attempt {} on {}: {}, certificate: {certificate}, number {}, because {}",
            attempt.no,
            attempt.channel,
            attempt.state_str(),
            id.channel_order_no(attempt.no),
            attempt.reason
        );
    }
    for refund in &order.refunds {
        let _infallible = writeln!(
            out,
            "refund {} of attempt {}: {} fen, {}",
            refund.no,
            refund.attempt,
            refund.amount.fen(),
            refund.state.as_str()
        );
    }
    say(&out)?;
    Ok(true)
}

/// A fact as `name key=value …`; times as times.
fn fact_in_words(fact: &serde_json::Value) -> String {
    let name = fact.get("fact").and_then(|v| v.as_str()).unwrap_or("fact");
    let mut out = name.to_owned();
    let fields = fact.as_object().into_iter().flatten().filter(|(key, _)| key.as_str() != "fact");
    for (key, value) in fields {
        let shown = match (key.as_str(), value) {
            ("at" | "expires_at", serde_json::Value::Number(n)) => {
                n.as_i64().map_or_else(|| n.to_string(), |us| domain::Timestamp::from_micros(us).to_string())
            }
            (_, serde_json::Value::String(text)) => text.clone(),
            (_, other) => other.to_string(),
        };
        let _infallible = write!(out, " {key}={shown}");
    }
    out
}
