//! `rushpay explain`: the story of an order, transition by transition, with causes and certificates.

use std::{fmt::Write as _, str::FromStr as _};

use domain::OrderId;
use store::Store as _;

use super::{migrate::open_existing, say};
use crate::{cli::Explain, config};

pub(super) async fn run(args: Explain) -> anyhow::Result<bool> {
    let config = config::load(&args.files.config)?;
    // A channel order number is the order's id and two digits.
    let text = args.order.get(..26).unwrap_or(&args.order);
    let id = OrderId::from_str(text).map_err(|e| {
        anyhow::anyhow!("{:?} is not an order id nor a channel order number: {e}", args.order)
    })?;
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
        let _infallible = writeln!(
            out,
            "{:>3}  {}  {} ({} {})",
            event.version, event.at, cause.event, cause.source, cause.reference
        );
        for fact in &event.facts {
            let _infallible = writeln!(out, "       {}", serde_json::to_string(fact)?);
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
