//! Making a decision durable, and what follows the commit.

use std::sync::Arc;

use actix::{ActorFutureExt, AsyncContext, Context, ContextFutureSpawner, WrapFuture};
use domain::{
    OrderId, Timestamp,
    order::{Announcement, AttemptCause, Decision, Fact, Order},
};
use store::{AppendError, Cause, Entry, OrderCommit, OutboxNew, PayerRow, WebhookDue};
use tokio::sync::oneshot;
use tracing::{info, warn};

use super::{HearError, Heard, OrderActor, Verdict};
use crate::{
    causes::causes,
    house::House,
    journal::JournalError,
    metric_definitions as metric,
    view::{OrderView, webhook_payload},
    webhook_sender::Committed,
};

impl OrderActor {
    /// Appends the facts while the mailbox waits, then publishes and does what is owed.
    pub(super) fn commit(
        &mut self,
        decision: Decision,
        cause: Cause,
        now: Timestamp,
        reply: Option<oneshot::Sender<Verdict>>,
        ctx: &mut Context<Self>,
    ) {
        let announcements = decision.announcements();
        let Decision { facts, next } = decision;
        let next = Arc::new(next);
        let outbox = outbox(&self.house, &next, now, &announcements);
        let due = due(&outbox, next.id, now);
        // The whole is poked by what its part has committed; others need not keep their facts.
        let kept = if next.request.part_of.is_some() { facts.clone() } else { Vec::new() };
        let entry = entry(&next, facts, cause, now, outbox, None);
        let states: Vec<&'static str> = announcements.iter().map(Announcement::kind).collect();
        let house = self.house.clone();
        async move { house.journal.append(entry).await }
            .into_actor(self)
            .map(move |outcome, actor, ctx| match outcome {
                Ok(_) => {
                    let heard = Heard { state: next.state, version: next.version, changed: true };
                    publish(&actor.house, &next, &states);
                    super::parts::poke_whole(&actor.house, &next, &kept);
                    // The rows are durable: lost here, the sender's next look finds them.
                    if !due.is_empty() && actor.house.webhooks.tell(Committed(due)).is_err() {
                        actor.house.undelivered("webhook_sender");
                    }
                    let before = actor.order.as_ref().map_or(0, |o| o.attempts.len());
                    for attempt in next.attempts.iter().skip(before) {
                        actor.desk.planned(attempt.no);
                        if attempt.cause == AttemptCause::Hedge {
                            actor.house.stats.hedges.one();
                        }
                    }
                    actor.order = Some(Box::new(Arc::unwrap_or_clone(next)));
                    actor.answer(reply, Ok(heard));
                    actor.settle_or_work(ctx);
                }
                Err(error) => actor.unconfirmed(&error, reply, ctx),
            })
            .wait(ctx);
    }

    /// The commit failed or its fate is unknown: forget, and load the row before anything else is decided.
    fn unconfirmed(
        &mut self,
        error: &JournalError,
        reply: Option<oneshot::Sender<Verdict>>,
        ctx: &mut Context<Self>,
    ) {
        if let JournalError::Refused(AppendError::Fenced { present_version }) = error {
            warn!(order.id = %self.id, present_version, "another writer was here first; loading its version");
        } else {
            warn!(order.id = %self.id, error = %causes(&error), "a change is not confirmed; loading the row");
        }
        self.answer(reply, Err(HearError::Unconfirmed));
        self.desk.clear(ctx, &self.house, self.id);
        self.order = None;
        self.load_later(ctx);
    }

    /// A store in trouble is not asked in a tight loop.
    pub(super) fn load_later(&mut self, ctx: &mut Context<Self>) {
        if std::mem::replace(&mut self.load_planned, true) {
            return;
        }
        ctx.run_later(std::time::Duration::from_millis(500), |actor, ctx| {
            actor.load_planned = false;
            if actor.order.is_none() && !actor.retiring {
                actor.load(None, ctx);
            }
        });
    }
}

/// The journal's entry for one transition.
pub(crate) fn entry(
    next: &Arc<Order>,
    facts: Vec<Fact>,
    cause: Cause,
    at: Timestamp,
    outbox: Vec<OutboxNew>,
    body_hash: Option<String>,
) -> Entry {
    Entry::Order(Box::new(OrderCommit {
        cause,
        at,
        body_hash,
        facts,
        before_version: next.version.saturating_sub(1),
        next: next.clone(),
        outbox,
    }))
}

/// What the backend is told of a transition.
fn outbox(house: &House, next: &Order, at: Timestamp, announcements: &[Announcement]) -> Vec<OutboxNew> {
    let row = |a: &Announcement| OutboxNew {
        id: house.new_id(at).to_string(),
        kind: a.kind().to_owned(),
        payload: webhook_payload(a.kind(), at, next),
        url: next.request.notify_url.clone(),
    };
    // The backend is told about its order, not about the parts in which it is paid.
    let told = if next.request.part_of.is_some() { &[] } else { announcements };
    told.iter().map(row).collect()
}

/// The rows of it that have somewhere to go, as the sender takes them.
fn due(outbox: &[OutboxNew], order: OrderId, at: Timestamp) -> Vec<WebhookDue> {
    let due = |row: &OutboxNew| {
        let (id, payload, url) = (row.id.clone(), row.payload.clone(), row.url.clone()?);
        let backend = domain::webhook::backend(&url);
        Some(WebhookDue { id, order: Some(order), backend, url, payload, tries: 0, since: at })
    };
    outbox.iter().filter_map(due).collect()
}

/// Lets readers and waiters see what is durable now.
pub(crate) fn publish(house: &Arc<House>, order: &Order, announced: &[&'static str]) {
    house.stats.transitions.one();
    let (id, version, settled) = (order.id, order.version, order.is_settled());
    let (body, readers) = (OrderView::json(order), house.clone());
    // What the payer chose, or was given first, is offered first next time; what a switch or a hedge led to
    // is not, or a passing trouble would divert the payer for good.
    let chosen = order
        .kept
        .and_then(|no| order.attempt(no))
        .filter(|a| a.cause == AttemptCause::First && announced.contains(&Announcement::Succeeded.kind()))
        .map(|a| PayerRow {
            payer_id: order.request.payer.id.clone(),
            account_type: order.request.payer.account_type.clone(),
            accounts: order.request.payer.accounts.clone(),
            last_channel: a.channel.clone(),
            last_paid_at: a.capture.as_ref().map_or(a.planned_at, |capture| capture.at),
        });
    // Off the actor's path: a slow cache costs its readers speed and the order nothing. Versions keep the order.
    actix::spawn(async move {
        readers.cache.order_status_put(id, version, body.into(), settled).await;
        readers.board.announce(id);
        if let Some(row) = chosen {
            let known = readers.cache.payer_channel_get(&row.payer_id).await;
            readers.cache.payer_channel_put(&row.payer_id, &row.last_channel).await;
            // What the cache knows is durable already; only news are worth a row.
            let news = known.as_ref() != Some(&row.last_channel) || !row.accounts.is_empty();
            if news && readers.journal.queue_at_leisure(Entry::Payer(row)).is_err() {
                readers.undelivered("journal"); // a payer's habit, not evidence
            }
        }
    });
    if !announced.is_empty() {
        house.told.send_modify(|times| *times = times.wrapping_add(1));
    }
    for kind in announced {
        info!(order.id = %order.id, order.version, event = kind, "order announced");
        metrics::counter!(metric::ORDER_STATES, "event" => *kind).increment(1);
    }
}
