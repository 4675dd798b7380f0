//! Carries the outbox to the backends, at least once, on the schedule of `domain::webhook`.
//!
//! The rows are the truth. What an order has just committed is handed over and tried at once, without reading it
//! back; everything else (repeats, what a crash or a full mailbox left) is found by looking. A try is logged through
//! the journal, which moves the row on. A crash costs a repeat, which the backend recognises by `webhook-id`.
//! Each backend has a lane of its own: slots, a record of failures and a rest, rows read oldest first and one of an
//! order at a time. A backend that is down costs one call a minute and none of another's slots.

mod delivery;
mod lane;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use actix::{
    Actor, ActorFutureExt as _, AsyncContext, Context, ContextFutureSpawner as _, Handler, Message,
    WrapFuture as _,
};
use domain::{
    OrderId, Timestamp,
    webhook::{GIVE_UP_AFTER, RestRules},
};
use store::{Entry, WebhookBackend, WebhookDue, WebhooksOver};
use tracing::{info, warn};

use self::{delivery::Outcome, lane::Lane};
use crate::{
    causes::causes,
    courier::WebhookOptions,
    handle::{Handle, Undelivered},
    house::House,
    metric_definitions as metric,
};

pub use lane::LaneStatus;

/// How often the sender asks itself whether something is due.
const TICK: Duration = Duration::from_millis(500);
/// It looks at so many ticks even if nothing it knows of is due: a row whose message was lost.
const LOOK_ANYWAY_TICKS: u32 = 4;
/// Backends and rows of one look.
const BACKENDS_MAX: usize = 256;
const TAKE_MAX: usize = 512;
/// Calls under way over all backends; `webhook_concurrency` bounds those to one of them.
const IN_FLIGHT_MAX: usize = 512;
/// How long a look waits for company: a look costs as much as a webhook.
const GATHER: Duration = Duration::from_millis(10);
/// How often what is due and dead is counted for the metrics.
const COUNT_INTERVAL: Duration = Duration::from_secs(10);

/// Rows that were just committed and are due now. Sent by orders.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Committed(pub(crate) Vec<WebhookDue>);

/// Somebody knows that this backend is back, and made rows due. Sent by the service for an operator.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Wake {
    pub(crate) backend: String,
}

/// What a look saw.
struct View {
    at: Timestamp,
    backends: Vec<WebhookBackend>,
    /// How many rows were asked for, by backend.
    asked: HashMap<String, usize>,
    rows: Vec<WebhookDue>,
    /// False if there are backends beyond the ones seen.
    complete: bool,
}

/// A try ended and its row was moved on. Sent by the sender to itself.
#[derive(Clone, Message)]
#[rtype(result = "()")]
struct Tried {
    id: String,
    backend: String,
    order: Option<OrderId>,
    outcome: Outcome,
}

/// The sender.
pub(crate) struct WebhookSender {
    house: Arc<House>,
    me: Handle<WebhookSender>,
    options: WebhookOptions,
    lanes: BTreeMap<String, Lane>,
    in_flight: HashSet<String>,
    /// Orders with a webhook under way, by backend: the next one of the same order waits.
    busy: HashSet<(String, OrderId)>,
    /// Tries that ended during the look under way, which may still show them as due.
    ended: HashSet<String>,
    /// True once a look has seen every backend with something due: whoever has no lane has no backlog.
    complete: bool,
    /// The last backend of a look that could not see them all.
    cursor: String,
    /// When something is due next, as far as is known.
    next_due: Option<Timestamp>,
    idle_ticks: u32,
    looking: bool,
    look_again: bool,
    look_planned: bool,
}

impl WebhookSender {
    pub(crate) fn new(
        house: Arc<House>,
        me: Handle<WebhookSender>,
        options: WebhookOptions,
    ) -> WebhookSender {
        WebhookSender {
            house,
            me,
            options,
            lanes: BTreeMap::new(),
            in_flight: HashSet::new(),
            busy: HashSet::new(),
            ended: HashSet::new(),
            complete: false,
            cursor: String::new(),
            next_due: None,
            idle_ticks: 0,
            looking: false,
            look_again: false,
            look_planned: false,
        }
    }

    /// What a backend in good health is allowed.
    fn full(&self) -> usize {
        usize::try_from(self.house.tuning.get().webhook_concurrency).unwrap_or(usize::MAX)
    }

    fn free(&self) -> usize {
        IN_FLIGHT_MAX.saturating_sub(self.in_flight.len())
    }

    fn lane(&mut self, backend: &str) -> &mut Lane {
        // Before the first complete look nobody knows whether a backend has a backlog.
        let new = Lane { behind: !self.complete, ..Lane::default() };
        self.lanes.entry(backend.to_owned()).or_insert(new)
    }

    fn expect(&mut self, at: Timestamp) {
        self.next_due = Some(self.next_due.map_or(at, |known| known.min(at)));
    }

    fn tick(&mut self, ctx: &mut Context<Self>) {
        self.idle_ticks = self.idle_ticks.saturating_add(1);
        let due = self.next_due.is_some_and(|at| at <= self.house.clock.now());
        if due || !self.complete || self.idle_ticks >= LOOK_ANYWAY_TICKS {
            self.look(ctx);
        }
    }

    /// Looks in a moment, once for everything that becomes due until then.
    fn look_soon(&mut self, ctx: &mut Context<Self>) {
        if self.looking {
            self.look_again = true;
        } else if !self.look_planned {
            self.look_planned = true;
            ctx.run_later(GATHER, |sender, ctx| {
                sender.look_planned = false;
                sender.look(ctx);
            });
        }
    }

    fn look(&mut self, ctx: &mut Context<Self>) {
        if self.house.is_closing() || self.looking || self.free() == 0 {
            return;
        }
        (self.looking, self.look_again, self.idle_ticks) = (true, false, 0);
        self.ended.clear();
        let (at, full, free) = (self.house.clock.now(), self.full(), self.free());
        // Rows under way are still due in the store, so look past them.
        let mut room = HashMap::new();
        for (backend, lane) in &mut self.lanes {
            lane.missed = false;
            room.insert(backend.clone(), (lane.room(at, full, free), lane.in_flight));
        }
        // What becomes known from here on counts on top of what the look sees.
        self.next_due = None;
        let (house, cursor) = (self.house.clone(), self.cursor.clone());
        async move { view(&house, at, cursor, room, full.min(free)).await }
            .into_actor(self)
            .map(|view, sender, ctx| {
                sender.looking = false;
                match view {
                    Ok(view) => sender.take(view),
                    Err(error) => {
                        warn!(error = %causes(&error), "due webhooks could not be read; the next look tries again");
                        sender.expect(sender.house.clock.now());
                    }
                }
                if sender.look_again {
                    sender.look_soon(ctx);
                }
            })
            .spawn(ctx);
    }

    /// Sends what a look found, and learns from it who has a backlog.
    fn take(&mut self, view: View) {
        let now = self.house.clock.now();
        self.complete = view.complete;
        self.cursor = match view.backends.last() {
            Some(last) if view.backends.len() == BACKENDS_MAX => last.backend.clone(),
            _ => String::new(),
        };
        if view.complete {
            for lane in self.lanes.values_mut() {
                lane.behind = lane.missed;
            }
        }
        let mut got: HashMap<&str, usize> = HashMap::new();
        for row in &view.rows {
            *got.entry(row.backend.as_str()).or_default() += 1;
        }
        for seen in &view.backends {
            let (asked, got) = (view.asked.get(&seen.backend), got.get(seen.backend.as_str()));
            // As many as were asked for: there may be more. None were asked for: what is due waits.
            let more = seen.first_at <= view.at && asked.is_none_or(|asked| got == Some(asked));
            let lane = self.lane(&seen.backend);
            lane.behind = lane.missed || more || seen.last_at > view.at;
            let due = lane.rest.resting_until(now).map_or(seen.first_at, |until| until.max(seen.first_at));
            if lane.behind {
                self.expect(due);
            }
        }
        for due in view.rows {
            if !self.ended.contains(&due.id) {
                self.send(due);
            }
        }
        self.show(now);
    }

    /// Begins a try if there is room for it; else leaves it to the next look.
    fn send(&mut self, due: WebhookDue) {
        if self.in_flight.contains(&due.id) {
            return;
        }
        let (now, full, free) = (self.house.clock.now(), self.full(), self.free());
        let waits = due.order.is_some_and(|order| self.busy.contains(&(due.backend.clone(), order)));
        let lane = self.lane(&due.backend);
        if waits || lane.room(now, full, free) == 0 {
            lane.leave();
            return self.expect(now);
        }
        lane.in_flight += 1;
        self.in_flight.insert(due.id.clone());
        self.busy.extend(due.order.map(|order| (due.backend.clone(), order)));
        let (house, me, options) = (self.house.clone(), self.me.clone(), self.options.clone());
        actix::spawn(async move {
            let outcome = delivery::try_once(&house, &options, &due).await;
            let tried = Tried { id: due.id, backend: due.backend, order: due.order, outcome };
            // It gives back a slot: a full mailbox drains. A new life of the sender has its slots anyway.
            while me.tell(tried.clone()) == Err(Undelivered::Full) {
                house.undelivered("webhook_sender");
                tokio::time::sleep(GATHER).await;
            }
        });
    }

    /// A backend that still fails ends what is past its time there: its next calls go to what can still be delivered.
    fn end_overdue(&self, backend: &str, now: Timestamp) {
        let over = WebhooksOver { backend: backend.to_owned(), since_before: now.minus(GIVE_UP_AFTER) };
        if self.house.journal.queue_at_leisure(Entry::WebhooksOver(over)).is_err() {
            self.house.undelivered("journal");
        }
    }

    /// What operators and metrics see of the lanes.
    fn show(&mut self, now: Timestamp) {
        self.lanes.retain(|_, lane| !lane.is_idle(now));
        let status: Vec<LaneStatus> =
            self.lanes.iter().map(|(backend, lane)| lane.status(backend, now)).collect();
        let resting = status.iter().filter(|s| s.resting_until.is_some()).count();
        metrics::gauge!(metric::WEBHOOK_RESTING).set(f64::from(u32::try_from(resting).unwrap_or(u32::MAX)));
        self.house.backends.store(Arc::new(status));
    }
}

/// Reads what may be sent now: of each backend with room a fair share, oldest first.
async fn view(
    house: &House,
    at: Timestamp,
    cursor: String,
    room: HashMap<String, (usize, usize)>,
    unknown_room: usize,
) -> Result<View, store::Error> {
    let backends = house.store.webhook_backends(&cursor, BACKENDS_MAX).await?;
    let ready: Vec<(&str, usize, usize)> = backends
        .iter()
        .filter(|b| b.first_at <= at)
        .map(|b| (b.backend.as_str(), room.get(&b.backend).copied().unwrap_or((unknown_room, 0))))
        .filter(|(_, (room, _))| *room > 0)
        .map(|(backend, (room, in_flight))| (backend, room, in_flight))
        .collect();
    let share = TAKE_MAX.checked_div(ready.len()).unwrap_or(TAKE_MAX).max(1);
    let asks: Vec<(String, usize)> = ready
        .into_iter()
        .map(|(backend, room, in_flight)| (backend.to_owned(), room.min(share) + in_flight))
        .collect();
    let asked = asks.iter().cloned().collect();
    let rows = if asks.is_empty() { Vec::new() } else { house.store.webhooks_due(at, asks).await? };
    let complete = cursor.is_empty() && backends.len() < BACKENDS_MAX;
    Ok(View { at, backends, asked, rows, complete })
}

/// Counts what is due and dead, for the metrics.
async fn count(house: Arc<House>) {
    match house.store.webhook_totals().await {
        Ok(totals) => {
            let now = house.clock.now();
            let dead: u64 = totals.iter().map(|t| t.dead).sum();
            let due: u64 = totals.iter().map(|t| t.due).sum();
            let oldest = totals.iter().filter_map(|t| t.due_since).min();
            let waits = oldest.map_or(Duration::ZERO, |since| now.since(since));
            let small = |n: u64| f64::from(u32::try_from(n).unwrap_or(u32::MAX));
            metrics::gauge!(metric::WEBHOOKS_DEAD).set(small(dead));
            metrics::gauge!(metric::WEBHOOKS_DUE).set(small(due));
            metrics::gauge!(metric::WEBHOOK_OLDEST_DUE).set(waits.as_secs_f64());
        }
        Err(error) => warn!(error = %causes(&error), "webhooks could not be counted"),
    }
}

impl Actor for WebhookSender {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(4096);
        self.look(ctx);
        ctx.run_interval(TICK, WebhookSender::tick);
        ctx.run_interval(COUNT_INTERVAL, |sender, _| {
            actix::spawn(count(sender.house.clone()));
        });
    }
}

impl Handler<Committed> for WebhookSender {
    type Result = ();

    fn handle(&mut self, committed: Committed, ctx: &mut Self::Context) {
        if self.house.is_closing() {
            return;
        }
        for due in committed.0 {
            let lane = self.lane(&due.backend);
            if lane.behind {
                lane.leave();
                self.look_soon(ctx);
            } else {
                self.send(due);
            }
        }
    }
}

impl Handler<Wake> for WebhookSender {
    type Result = ();

    fn handle(&mut self, wake: Wake, ctx: &mut Self::Context) {
        let now = self.house.clock.now();
        let lane = self.lane(&wake.backend);
        lane.leave();
        lane.rest.wake(now);
        self.look_soon(ctx);
    }
}

impl Handler<Tried> for WebhookSender {
    type Result = ();

    fn handle(&mut self, tried: Tried, ctx: &mut Self::Context) {
        let (now, full) = (self.house.clock.now(), self.full());
        self.in_flight.remove(&tried.id);
        if let Some(order) = tried.order {
            self.busy.remove(&(tried.backend.clone(), order));
        }
        if self.looking {
            self.ended.insert(tried.id);
        }
        let tuning = self.house.tuning.get();
        let rules = RestRules {
            failures: tuning.webhook_breaker_failures,
            rest: Duration::from_secs(tuning.webhook_rest_s),
            rest_max: Duration::from_secs(tuning.webhook_rest_max_s),
        };
        let lane = self.lane(&tried.backend);
        lane.in_flight = lane.in_flight.saturating_sub(1);
        let mut expected = None;
        match tried.outcome {
            Outcome::Delivered => {
                if lane.rest.taken(full) {
                    info!(webhook.backend = tried.backend, "a backend takes webhooks again");
                }
            }
            Outcome::Failed(next_at) => {
                lane.leave();
                let begins = lane.rest.failed(now, &rules);
                expected = next_at.into_iter().chain(lane.rest.resting_until(now)).min();
                if begins {
                    let (failures, until) = (lane.rest.failures_in_a_row(), lane.rest.resting_until(now));
                    let until = until.map(|at| at.to_string());
                    info!(webhook.backend = tried.backend, failures, until, "a backend rests");
                    self.end_overdue(&tried.backend, now);
                }
            }
        }
        if let Some(at) = expected {
            self.expect(at);
        }
        let lane = self.lane(&tried.backend);
        // Not for every free slot: a look costs as much as a webhook.
        let wants = lane.behind && lane.in_flight.saturating_mul(2) <= lane.rest.allows(now, full);
        if wants && lane.rest.allows(now, full) > 0 {
            self.look_soon(ctx);
        }
    }
}
