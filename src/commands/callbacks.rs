//! `rushpay callbacks`: the calls of the channels, or the trace of one order's.

use store::{NotificationFilter, Store as _};

use super::{migrate::open_existing, order_id, say};
use crate::{callbacks, cli::Callbacks, config};

pub(super) async fn run(args: Callbacks) -> anyhow::Result<bool> {
    let config = config::load(&args.files.config)?;
    let order = args.order.as_deref().map(order_id).transpose()?;
    let store = open_existing(&config).await?;
    let filter =
        NotificationFilter { order, channel: args.channel, verdict: args.verdict, limit: args.limit };
    let calls = store.notifications_list(&filter).await?;
    let Some(id) = order else {
        let mut out = String::new();
        for row in &calls {
            out.push_str(&format!(
                "{}  {:<12} {:<16} {:<24} answered {} in {} µs  {}\n",
                row.received_at,
                row.channel,
                row.verdict,
                row.remote,
                row.answer_status,
                row.took_us,
                row.channel_order_no.as_deref().unwrap_or(&row.reason)
            ));
        }
        out.push_str(&format!("{} calls, newest first\n", calls.len()));
        return say(&out).map(|()| true);
    };
    let Some(order) = store.order_load(id).await? else {
        anyhow::bail!("there is no order {id} in {}", config.store.path.display());
    };
    let lines = callbacks::trace(&order, &store.order_history(id).await?, &calls);
    let mut out = format!("order {id}  {}\n\n", order.state.as_str());
    for line in &lines {
        out.push_str(&format!("{}  {:<12} {:<9} {}\n", line.at, line.channel, line.kind, line.text));
    }
    if lines.is_empty() {
        out.push_str("nothing was shown to a payer, and no channel called\n");
    }
    say(&out)?;
    Ok(true)
}
