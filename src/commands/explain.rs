//! `rushpay explain`: the story of an order, transition by transition, with causes and certificates.

use std::fmt::Write as _;

use domain::{
    AttemptNo,
    order::{Fact, Order},
};
use store::{Store as _, StoredEvent};

use super::{migrate::open_existing, order_id, say};
use crate::{cli::Explain, config};

pub(super) async fn run(args: Explain) -> anyhow::Result<bool> {
    let config = config::load(&args.files.config)?;
    let id = order_id(&args.order)?;
    let store = open_existing(&config).await?;
    let Some(order) = store.order_load(id).await? else {
        anyhow::bail!("there is no order {id} in {}", config.store.path.display());
    };
    let history = store.order_history(id).await?;
    say(&story(&order, &history)?)?;
    Ok(true)
}

/// The story of an order: every transition with its cause, and the chain of evidence of every attempt.
///
/// # Errors
/// A fact cannot be written as JSON.
pub(super) fn story(order: &Order, history: &[StoredEvent]) -> anyhow::Result<String> {
    let (id, said) = (order.id, domain::order::truth(order));
    let mut out = format!(
        "order {id}  {} {}  {} fen  {}\n\"{}\" {}\n\n",
        order.request.merchant_id,
        order.request.order_no,
        order.request.amount.fen(),
        order.state.as_str(),
        said.sentence,
        said.next_step
    );
    for event in history {
        let _infallible =
            writeln!(out, "{:>3}  {}  {} ({})", event.version, event.at, event.cause.event, from(event));
        for fact in &event.facts {
            let _infallible = writeln!(out, "       {}", fact_in_words(&serde_json::to_value(fact)?));
        }
    }
    out.push('\n');
    out.push_str(&chains(order, history));
    Ok(out)
}

/// Where a transition came from, and what to look up there.
fn from(event: &StoredEvent) -> String {
    let source = format!("{} {}", event.cause.source, event.cause.reference);
    source.trim().to_owned()
}

/// For each attempt, refund and part: what it is, and the chain of evidence that ended it, each with its transition.
fn chains(order: &Order, history: &[StoredEvent]) -> String {
    let mut out = String::new();
    for attempt in &order.attempts {
        let certificate = attempt.certificate.as_ref().map_or("none yet", |c| c.as_str());
        let _infallible = writeln!(
            out,
            "attempt {} on {}: {}, certificate: {certificate}, number {}, because {}",
            attempt.no,
            attempt.channel,
            attempt.state_str(),
            order.id.channel_order_no(attempt.no),
            attempt.reason
        );
        for event in history {
            for link in event.facts.iter().filter_map(|fact| link(fact, attempt.no)) {
                let _infallible = writeln!(
                    out,
                    "    {:>3}  {link}, by {} ({})",
                    event.version,
                    event.cause.event,
                    from(event)
                );
            }
        }
        if order.is_held(attempt) {
            out.push_str(
                "         held: it does not fit the order; a bill or an operator has the next word\n",
            );
        }
    }
    for refund in &order.refunds {
        let cause = refund.cause.in_words();
        let _infallible = writeln!(
            out,
            "refund {} of attempt {}: {} fen, {cause}, {}",
            refund.no,
            refund.attempt,
            refund.amount.fen(),
            refund.state.as_str()
        );
    }
    for part in &order.parts {
        let (no, fen, state) = (part.no, part.amount.fen(), part.state.as_str());
        let _infallible =
            writeln!(out, "part {no}: {fen} fen, {state}; its story: rushpay explain {}", part.id);
    }
    if let Some(of) = order.request.part_of {
        let _infallible = writeln!(out, "part {} of {} of order {}", of.no, of.of, of.order);
    }
    out
}

/// What a fact adds to an attempt's chain of evidence.
fn link(fact: &Fact, of: AttemptNo) -> Option<String> {
    match fact {
        Fact::Exposed { no, .. } if *no == of => Some("exposed: money can move".to_owned()),
        Fact::CloseAsked { no, .. } if *no == of => Some("close asked".to_owned()),
        Fact::RefundPrebooked { no } if *no == of => Some("a later payment of it goes back".to_owned()),
        Fact::Certified { no, certificate } if *no == of => {
            Some(format!("certified {}", certificate.as_str()))
        }
        Fact::Captured { no, capture, .. } if *no == of => {
            Some(format!("captured {} fen, trade {}", capture.amount.fen(), capture.trade_no))
        }
        Fact::Corrected { no, capture, was, .. } if *no == of => {
            Some(format!("corrected from {} to {} fen", was.fen(), capture.amount.fen()))
        }
        Fact::Disputed { no, capture } if *no == of => {
            Some(format!("contradicted: {} fen, trade {}", capture.amount.fen(), capture.trade_no))
        }
        Fact::Kept { no } if *no == of => Some("pays the order".to_owned()),
        Fact::RefundBooked { no, refund_no, amount, .. } if *no == of => {
            Some(format!("refund {refund_no} of {} fen booked", amount.fen()))
        }
        _ => None,
    }
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
