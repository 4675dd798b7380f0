//! What became of every order, by the store and by the channels' own books.
//!
//! A second opinion beside the audit, and a simpler one: it starts from what clients were promised and from what the
//! channels hold, and believes no sum of ours.

use std::{
    collections::{BTreeMap, HashMap},
    str::FromStr as _,
    time::Duration,
};

use ::loadtest::{Acceptance, Judgement};
use anyhow::Context as _;
use domain::{
    OrderId,
    audit::ChannelLine,
    order::{Order, OrderState, resume},
};
use serde::Deserialize;
use store::Store;
use tokio::time::Instant;

use super::show::Show;
use crate::audit;

/// Between looks at what is still open.
const LOOK: Duration = Duration::from_millis(500);
/// An order that is not over so long after its end and the grace for certificates is stuck.
const OVERDUE: Duration = Duration::from_secs(75);
/// Open orders are read in pages of this many.
const PAGE: usize = 500;

#[derive(Deserialize)]
struct States {
    states: BTreeMap<String, u64>,
}

#[derive(Deserialize)]
struct Stats {
    open_orders: u64,
}

/// Waits until no order is open and nothing is owed, at most `patience`. How long it took.
pub(super) async fn settled(api_url: &str, patience: Duration, show: &Show) -> anyhow::Result<Duration> {
    let http = reqwest::Client::builder()
        .no_proxy()
        .tls_certs_only([])
        .timeout(Duration::from_secs(10))
        .build()
        .context("preparing the HTTP client")?;
    let (from, mut told) = (Instant::now(), 0);
    loop {
        let open = open(&http, api_url).await;
        if open.as_ref().is_ok_and(|open| *open == 0) || from.elapsed() > patience {
            return Ok(from.elapsed());
        }
        if from.elapsed().as_secs() / 10 > told {
            told = from.elapsed().as_secs() / 10;
            show.note(&match open {
                Ok(open) => format!("{open} orders are not over yet"),
                Err(error) => format!("the service was asked for open orders: {error:#}"),
            });
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Orders that are not in an end state, or owe something beside it.
async fn open(http: &reqwest::Client, api_url: &str) -> anyhow::Result<u64> {
    let get = async |path: &str| {
        http.get(format!("{api_url}{path}")).send().await.and_then(reqwest::Response::error_for_status)
    };
    let States { states } = get("/admin/v1/orders?limit=1").await?.json().await?;
    let ended = |state: &str| matches!(state, "success" | "failed");
    let open = states.iter().filter(|(state, _)| !ended(state)).map(|(_, n)| n).sum();
    let Stats { open_orders } = get("/admin/v1/stats").await?.json().await?;
    Ok(u64::max(open, open_orders))
}

/// Compares promises and books with the store, which the service has left.
///
/// # Errors
/// Store or books cannot be read: no verdict.
pub(super) async fn judge(
    store: &dyn Store,
    promised: &[Acceptance],
    sandbox_url: &str,
) -> anyhow::Result<Judgement> {
    let mut judgement = Judgement {
        states: store.orders_count().await?.into_iter().collect(),
        promised: u64::try_from(promised.len()).unwrap_or(u64::MAX),
        ..Judgement::default()
    };
    for promise in promised {
        let shown = || format!("{} ({})", promise.order_no, promise.id);
        let id =
            OrderId::from_str(&promise.id).with_context(|| format!("the service promised {}", shown()))?;
        match store.order_load(id).await? {
            None => judgement.lost.push(shown()),
            Some(order) if order.request.order_no != promise.order_no => {
                judgement.lost.push(format!("{}: the store has {} there", shown(), order.request.order_no));
            }
            Some(order) if promise.read_success && order.state != OrderState::Success => {
                judgement.taken_back.push(format!("{} is {}", shown(), order.state.as_str()));
            }
            Some(_) => {}
        }
    }
    for (id, held_fen) in held(&audit::books(sandbox_url).await?) {
        let order = match OrderId::from_str(&id) {
            Ok(id) => store.order_load(id).await?,
            Err(_) => None,
        };
        judgement.doubled.extend(doubled(&id, held_fen, order.as_ref()));
    }
    open_orders(store, &mut judgement).await?;
    Ok(judgement)
}

/// What the channels hold, by the order that their numbers begin with.
fn held(lines: &[ChannelLine]) -> HashMap<String, i64> {
    let mut held = HashMap::new();
    for line in lines {
        let order = line.channel_order_no.chars().take(26).collect();
        let sign = if line.kind == "refund" { -1 } else { 1 };
        *held.entry(order).or_default() += sign * line.amount_fen;
    }
    held
}

/// A sentence if the channels hold more than the order is for.
fn doubled(id: &str, held_fen: i64, order: Option<&Order>) -> Option<String> {
    let Some(order) = order else {
        return (held_fen > 0)
            .then(|| format!("{id}: channels hold {held_fen} fen for an order that is not there"));
    };
    let (payer, amount_fen) = (&order.request.payer.id, order.request.amount.fen());
    (held_fen > amount_fen)
        .then(|| format!("{id}: {payer} was charged {held_fen} fen for an order of {amount_fen} fen"))
}

/// An order that is not over must owe something, and must not be long past its time.
async fn open_orders(store: &dyn Store, judgement: &mut Judgement) -> anyhow::Result<()> {
    let (now, mut after) = (actors::Clock::now(&actors::SystemClock), None);
    loop {
        let page = store.orders_open(after, PAGE).await?;
        for id in &page {
            let Some(order) = store.order_load(*id).await? else { continue };
            let overdue = now >= order.request.expires_at.plus(OVERDUE);
            if overdue || resume(&order, now).is_empty() {
                let expired = order.request.expires_at;
                judgement.stuck.push(format!("{id} is {}; it ended at {expired}", order.state.as_str()));
            } else {
                judgement.due += 1;
            }
        }
        match page.last() {
            Some(last) if page.len() == PAGE => after = Some(*last),
            _ => return Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(no: &str, kind: &str, amount_fen: i64) -> ChannelLine {
        let (channel, channel_order_no, kind) = ("wechat".to_owned(), no.to_owned(), kind.to_owned());
        ChannelLine { channel, channel_order_no, kind, amount_fen, refund_no: None }
    }

    #[test]
    fn what_channels_hold_is_summed_over_the_attempts_of_an_order() {
        let order = "0123456789abcdefghjkmnpqrs";
        let lines = [
            line(&format!("{order}01"), "capture", 500),
            line(&format!("{order}02"), "capture", 500),
            line(&format!("{order}01"), "refund", 200),
        ];
        assert_eq!(held(&lines), [(order.to_owned(), 800)].into());
    }

    #[test]
    fn money_without_an_order_is_a_charge_too_many_until_it_is_given_back() {
        assert!(doubled("x", 100, None).is_some_and(|text| text.contains("100 fen")));
        assert_eq!(doubled("x", 0, None), None);
    }
}
