//! Asks one channel for results, where it matters and within a budget.
//!
//! A query costs as much as everything else an order needs together. So each attempt has its schedule
//! (`domain::polling`), a notification cancels what is left of it, and when the budget is short the payers
//! who said that they are back come first. The budget is a pace below the channel's own quota. One
//! timer stands for the next attempt that is due; nothing wakes an idle poller but its gauges. A reborn poller is
//! empty; the registries have every order register again.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use actix::{Actor, AsyncContext, Context, Handler, Message, SpawnHandle};
use domain::{
    Answer, AttemptNo, ChannelId, Evidence, EvidenceSource, Found, OrderId, Timestamp,
    channel::{StillOpen, TradeKey},
    order::Event,
    pace::Pace,
    polling::{DueQueue, PollKey, Urgency, next_poll},
};
use store::Cause;
use tokio::time::Instant;
use tracing::warn;

use crate::{
    gateway,
    handle::Handle,
    house::House,
    metric_definitions as metric,
    order::{Hear, Look, StillOpenAt},
    registry::{Deliver, Letter},
};

/// Registrations that may wait in the mailbox.
const MAILBOX: usize = 65_536;
/// How often the gauges are set, and due attempts looked for whatever the timer says: a machine's clock may step.
const GAUGE_INTERVAL: Duration = Duration::from_secs(1);
/// What becomes due within this time goes out in one look.
const GATHER: Duration = Duration::from_millis(20);
/// A payer who came back is asked about this much later: usually the notification wins and saves the query.
const HINT_GRACE: Duration = Duration::from_millis(300);
/// How long a hint or a waiting reader keeps an attempt in front.
const HINT_LASTS: Duration = Duration::from_secs(10);
/// Every so many silent rounds the order is asked whether it still wants to know: a lost `Unwatch` heals.
const CONFIRM_EVERY: u32 = 20;

/// Ask about this attempt until told otherwise. Sent by its order; repeating is harmless.
#[derive(Message, Clone, Copy)]
#[rtype(result = "()")]
pub(crate) struct Watch {
    pub(crate) id: OrderId,
    pub(crate) no: AttemptNo,
    pub(crate) exposed_at: Timestamp,
    pub(crate) planned_at: Timestamp,
    pub(crate) expires_at: Timestamp,
}

/// Stop asking. Sent by its order; unknown keys are ignored.
#[derive(Message, Clone, Copy)]
#[rtype(result = "()")]
pub(crate) struct Unwatch {
    pub(crate) id: OrderId,
    pub(crate) no: AttemptNo,
}

/// The payer came back, a close said "paid", or a reader waits. Sent by the order.
#[derive(Message, Clone, Copy)]
#[rtype(result = "()")]
pub(crate) struct Hint {
    pub(crate) id: OrderId,
    pub(crate) no: AttemptNo,
    pub(crate) look: Look,
}

/// A query came back. Sent by the poller to itself.
#[derive(Message, Clone, Copy)]
#[rtype(result = "()")]
struct Asked {
    key: PollKey,
    /// The channel's last word is in: the order will unwatch when it has heard it.
    settled: bool,
}

#[derive(Clone, Copy)]
struct Watched {
    exposed_at: Timestamp,
    planned_at: Timestamp,
    expires_at: Timestamp,
    last: Option<Timestamp>,
    hinted_until: Option<Timestamp>,
    awaited_until: Option<Timestamp>,
    rounds: u32,
}

/// Numbers the router shows; written by the poller at each look.
#[derive(Debug, Default)]
pub(crate) struct PollGauge {
    watched: AtomicU64,
    lag_ms: AtomicU64,
}

/// One reading of the gauge.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PollReading {
    pub(crate) watched: u64,
    pub(crate) lag_ms: u64,
}

impl PollGauge {
    pub(crate) fn read(&self) -> PollReading {
        PollReading {
            watched: self.watched.load(Ordering::Relaxed),
            lag_ms: self.lag_ms.load(Ordering::Relaxed),
        }
    }
}

/// The poller of one channel.
pub(crate) struct Poller {
    channel: ChannelId,
    house: Arc<House>,
    me: Handle<Poller>,
    queue: DueQueue,
    watched: BTreeMap<PollKey, Watched>,
    start: Instant,
    budget: Pace,
    budget_per_s: u64,
    /// The next look: its moment and its timer.
    next_look: Option<(Instant, SpawnHandle)>,
}

impl Poller {
    pub(crate) fn new(channel: ChannelId, house: Arc<House>, me: Handle<Poller>) -> Poller {
        let budget_per_s = house.tuning.get().poll_budget_per_s;
        Poller {
            channel,
            house,
            me,
            queue: DueQueue::new(),
            watched: BTreeMap::new(),
            start: Instant::now(),
            budget: budget(budget_per_s),
            budget_per_s,
            next_look: None,
        }
    }

    /// Asks about what is due, as far as budget and concurrency go.
    fn look(&mut self, ctx: &mut Context<Self>) {
        if self.house.is_closing() {
            return;
        }
        let (now, tuning) = (self.house.clock.now(), self.house.tuning.get());
        if tuning.poll_budget_per_s != self.budget_per_s {
            self.budget_per_s = tuning.poll_budget_per_s;
            self.budget = budget(self.budget_per_s);
        }
        let Some(line) = self.house.lines.get(&self.channel) else { return };
        let lag = self.queue.lag(now);
        line.poll_gauge
            .watched
            .store(u64::try_from(self.watched.len()).unwrap_or(u64::MAX), Ordering::Relaxed);
        line.poll_gauge.lag_ms.store(u64::try_from(lag.as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
        let room =
            usize::try_from(tuning.poll_concurrency).unwrap_or(usize::MAX).saturating_sub(self.queue.out());
        for _ in 0..room {
            if self.queue.next_due().is_none_or(|due| due > now) {
                break;
            }
            if let Err(wait) = self.budget.take(self.start.elapsed()) {
                return self.look_in(wait, ctx);
            }
            for key in self.queue.pop_due(now, 1) {
                self.ask(key);
            }
        }
        self.plan(ctx);
    }

    /// Sets the timer for the next attempt that is due. Without room for a query the next answer looks.
    fn plan(&mut self, ctx: &mut Context<Self>) {
        let concurrency = usize::try_from(self.house.tuning.get().poll_concurrency).unwrap_or(usize::MAX);
        if self.queue.out() < concurrency
            && let Some(due) = self.queue.next_due()
        {
            self.look_in(due.since(self.house.clock.now()), ctx);
        }
    }

    /// Looks after `wait`, or when a look is planned that comes no later.
    fn look_in(&mut self, wait: Duration, ctx: &mut Context<Self>) {
        // Rounded up, so that neighbours share a look; a queue that is due already waits as short as it takes.
        let at = Instant::now() + wait.max(Duration::from_millis(1));
        if let Some((planned, timer)) = self.next_look {
            if planned <= at + GATHER {
                return;
            }
            ctx.cancel_future(timer);
        }
        let timer = ctx.run_later(at.duration_since(Instant::now()), |poller, ctx| {
            poller.next_look = None;
            poller.look(ctx);
        });
        self.next_look = Some((at, timer));
    }

    /// Sends one query; its answer goes to the order, and the word that it came back to the poller.
    fn ask(&mut self, key: PollKey) {
        let Some(line) = self.house.lines.get(&self.channel) else { return };
        let Some(&Watched { rounds, planned_at, expires_at, .. }) = self.watched.get(&key) else { return };
        let (id, no) = key;
        let trade = TradeKey { number: id.channel_order_no(no), planned_at, expires_at };
        let (gateway, house, me) = (line.gateway.clone(), self.house.clone(), self.me.clone());
        actix::spawn(async move {
            let answer = gateway.ask(|reply| gateway::Query { trade, reply }).await;
            let (letter, settled) = match answer {
                Answer::Settled(found) => (Some(Letter::Hear(heard(no, found))), true),
                Answer::Accepted(still) => {
                    let not_found = still == StillOpen::NotFound;
                    let tell = not_found || rounds % CONFIRM_EVERY == CONFIRM_EVERY - 1;
                    (tell.then_some(Letter::StillOpen(StillOpenAt { no, not_found })), false)
                }
                Answer::Declined(refusal) => {
                    warn!(order.id = %id, code = refusal.code, "the channel refused a query");
                    (None, false)
                }
                Answer::NeverSent(_) | Answer::Silent(_) => (None, false),
            };
            if let Some(letter) = letter
                && house.registry(id).is_none_or(|r| r.tell(Deliver { id, letter }).is_err())
            {
                house.undelivered("registry");
            }
            if me.tell(Asked { key, settled }).is_err() {
                house.undelivered("poller");
            }
        });
    }
}

fn heard(no: AttemptNo, found: Found) -> Hear {
    let evidence = Evidence { source: EvidenceSource::Query, reference: String::new(), found };
    let event = Event::Found { no, evidence };
    let cause =
        Cause { event: event.label().to_owned(), source: "query".to_owned(), reference: String::new() };
    Hear { event, cause, reply: None }
}

fn budget(per_s: u64) -> Pace {
    let per_s = u32::try_from(per_s).unwrap_or(u32::MAX);
    // A burst of a tenth of a second: the budget is a rate, not a bucket to empty at once.
    Pace::new(per_s, per_s / 10)
}

impl Actor for Poller {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(MAILBOX);
        ctx.run_interval(GAUGE_INTERVAL, |poller, ctx| {
            poller.look(ctx);
            let (name, now) = (poller.channel.to_string(), poller.house.clock.now());
            metrics::gauge!(metric::POLL_LAG, "channel" => name.clone())
                .set(poller.queue.lag(now).as_secs_f64());
            let watched = f64::from(u32::try_from(poller.watched.len()).unwrap_or(u32::MAX));
            metrics::gauge!(metric::POLL_WATCHED, "channel" => name).set(watched);
        });
    }
}

impl Handler<Watch> for Poller {
    type Result = ();

    fn handle(&mut self, watch: Watch, ctx: &mut Self::Context) {
        let key = (watch.id, watch.no);
        if self.watched.contains_key(&key) {
            return;
        }
        let entry = Watched {
            exposed_at: watch.exposed_at,
            planned_at: watch.planned_at,
            expires_at: watch.expires_at,
            last: None,
            hinted_until: None,
            awaited_until: None,
            rounds: 0,
        };
        self.watched.insert(key, entry);
        let due = next_poll(watch.exposed_at, None, &self.house.tuning.get());
        self.queue.push(key, due, Urgency::Routine);
        self.plan(ctx);
    }
}

impl Handler<Unwatch> for Poller {
    type Result = ();

    fn handle(&mut self, unwatch: Unwatch, ctx: &mut Self::Context) {
        let key = (unwatch.id, unwatch.no);
        if self.watched.remove(&key).is_some() {
            self.queue.remove(key);
            self.plan(ctx); // it may have held the last place of the concurrency
        }
    }
}

impl Handler<Hint> for Poller {
    type Result = ();

    fn handle(&mut self, hint: Hint, ctx: &mut Self::Context) {
        let (key, now) = ((hint.id, hint.no), self.house.clock.now());
        if let Some(watched) = self.watched.get_mut(&key) {
            match hint.look {
                Look::Soon => {
                    watched.hinted_until = Some(now.plus(HINT_LASTS));
                    self.queue.push(key, now.plus(HINT_GRACE), Urgency::Awaited);
                }
                Look::First => {
                    watched.awaited_until = Some(now.plus(HINT_LASTS));
                    self.queue.raise(key, Urgency::Awaited);
                }
            }
        }
        self.plan(ctx);
    }
}

impl Handler<Asked> for Poller {
    type Result = ();

    fn handle(&mut self, asked: Asked, ctx: &mut Self::Context) {
        let (now, tuning) = (self.house.clock.now(), self.house.tuning.get());
        let Some(watched) = self.watched.get_mut(&asked.key) else { return };
        watched.last = Some(now);
        watched.rounds = watched.rounds.saturating_add(1);
        let hinted = watched.hinted_until.is_some_and(|until| now < until);
        let (from, urgency) = if hinted {
            (watched.exposed_at.max(now.minus(HINT_LASTS)), Urgency::Awaited)
        } else if watched.awaited_until.is_some_and(|until| now < until) {
            (watched.exposed_at, Urgency::Awaited)
        } else {
            (watched.exposed_at, Urgency::Routine)
        };
        // The order's own word ends the watch; until then a settled attempt is asked about once a minute.
        let next = if asked.settled {
            now.plus(Duration::from_secs(60))
        } else {
            next_poll(from, Some(now), &tuning)
        };
        self.queue.finish(asked.key, next, urgency);
        self.plan(ctx);
    }
}
