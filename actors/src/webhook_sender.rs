//! Carries the outbox to the backends, at least once, on the schedule of `domain::webhook`.
//!
//! The rows are the truth. What an order has just committed is handed over and tried at once, without reading it
//! back; everything else (repeats, what a crash or a full mailbox left) is found by looking at intervals. A try is
//! logged through the journal, which moves the row on. A crash costs a repeat, which the backend
//! recognises by `webhook-id`. One slow backend holds up only its own calls: each has a deadline and a share of the slots.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use actix::{Actor, AsyncContext, Context, Handler, Message};
use store::{Entry, WebhookDue, WebhookTry};
use tokio::time::Instant;
use tracing::{debug, warn};

use crate::{
    courier::{Parcel, WebhookOptions},
    handle::Handle,
    house::House,
    metric_definitions as metric,
};

/// How often due rows are looked for without a poke.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);
/// Rows taken at one look.
const TAKE_MAX: usize = 256;
/// Calls under way over all backends; `webhook_concurrency` bounds those to one of them.
const IN_FLIGHT_MAX: usize = 256;

/// How long a look waits for company: a look costs as much as a webhook.
const GATHER: Duration = Duration::from_millis(10);

/// Rows that were just committed and are due now. Sent by orders.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Committed(pub(crate) Vec<WebhookDue>);

/// A look at the outbox came back. Sent by the sender to itself.
#[derive(Message)]
#[rtype(result = "()")]
struct Looked(Vec<WebhookDue>);

/// A try ended and its row was moved on. Sent by the sender to itself.
#[derive(Message)]
#[rtype(result = "()")]
struct Tried {
    id: String,
    host: String,
}

/// The sender.
pub(crate) struct WebhookSender {
    house: Arc<House>,
    me: Handle<WebhookSender>,
    options: WebhookOptions,
    in_flight: HashSet<String>,
    /// Tries that ended during the look under way, which may still show them as due.
    ended: HashSet<String>,
    per_host: HashMap<String, usize>,
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
            in_flight: HashSet::new(),
            ended: HashSet::new(),
            per_host: HashMap::new(),
            looking: false,
            look_again: false,
            look_planned: false,
        }
    }

    /// Looks in a moment, once for everything that becomes due until then.
    fn look_soon(&mut self, ctx: &mut Context<Self>) {
        if !self.look_planned {
            self.look_planned = true;
            ctx.run_later(GATHER, |sender, _| {
                sender.look_planned = false;
                sender.look();
            });
        }
    }

    fn look(&mut self) {
        if self.house.is_closing() {
            return;
        }
        if self.looking || self.in_flight.len() >= IN_FLIGHT_MAX {
            self.look_again = true;
            return;
        }
        self.looking = true;
        self.look_again = false;
        self.ended.clear();
        let (house, me) = (self.house.clone(), self.me.clone());
        // Rows under way are still due in the store, so look past them.
        let take = TAKE_MAX + self.in_flight.len();
        actix::spawn(async move {
            let rows = match house.store.webhooks_due(house.clock.now(), take).await {
                Ok(rows) => rows,
                Err(error) => {
                    warn!(%error, "due webhooks could not be read; the next look tries again");
                    Vec::new()
                }
            };
            if me.tell(Looked(rows)).is_err() {
                house.undelivered("webhook_sender");
            }
        });
    }

    fn send(&mut self, due: WebhookDue) {
        let host = host_of(&due.url);
        let busy = self.per_host.entry(host.clone()).or_insert(0);
        let tuning = self.house.tuning.get();
        let per_host = usize::try_from(tuning.webhook_concurrency).unwrap_or(usize::MAX);
        let deadline = Duration::from_millis(tuning.webhook_deadline_ms);
        if *busy >= per_host || self.in_flight.len() >= IN_FLIGHT_MAX {
            self.look_again = true;
            return;
        }
        if !self.in_flight.insert(due.id.clone()) {
            return; // under way already
        }
        *busy += 1;
        let (house, me, options) = (self.house.clone(), self.me.clone(), self.options.clone());
        actix::spawn(async move {
            let started = Instant::now();
            let at = house.clock.now();
            let outcome = options.courier.deliver(&Parcel::new(&options.secret, &due, at, deadline)).await;
            let took_ms = i64::try_from(started.elapsed().as_millis()).unwrap_or(i64::MAX);
            let (status, failure) = match outcome {
                Ok(status) if (200..300).contains(&status) => (Some(status), None),
                Ok(status) => (Some(status), Some(format!("the backend answered {status}"))),
                Err(error) => (None, Some(error)),
            };
            let delivered = failure.is_none();
            if let Some(failure) = &failure {
                debug!(webhook.id = due.id, failure, "webhook not delivered");
            }
            let (count, label) = if delivered {
                (&house.stats.webhooks_delivered, "delivered")
            } else {
                (&house.stats.webhooks_failed, "failed")
            };
            count.one();
            metrics::counter!(metric::WEBHOOKS, "outcome" => label).increment(1);
            let tries_made = due.tries.saturating_add(1);
            let next_at = if delivered {
                None
            } else {
                domain::webhook::next_try(due.created_at, tries_made, Some(at))
            };
            let logged = Entry::WebhookTry(WebhookTry {
                webhook_id: due.id.clone(),
                at,
                status: status.map(i32::from),
                error: failure,
                took_ms,
                delivered,
                next_at,
            });
            if let Err(error) = house.journal.append_at_leisure(logged).await {
                warn!(webhook.id = due.id, %error, "a webhook try was not logged; the row stays due");
            }
            if me.tell(Tried { id: due.id, host }).is_err() {
                house.undelivered("webhook_sender");
            }
        });
    }
}

fn host_of(url: &str) -> String {
    url.split('/').nth(2).unwrap_or_default().to_owned()
}

impl Actor for WebhookSender {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(4096);
        ctx.run_interval(LOOK_INTERVAL, |sender, _| sender.look());
    }
}

impl Handler<Committed> for WebhookSender {
    type Result = ();

    fn handle(&mut self, committed: Committed, _: &mut Self::Context) {
        if self.house.is_closing() {
            return;
        }
        for due in committed.0 {
            self.send(due);
        }
    }
}

impl Handler<Looked> for WebhookSender {
    type Result = ();

    fn handle(&mut self, looked: Looked, ctx: &mut Self::Context) {
        self.looking = false;
        for due in looked.0 {
            if !self.ended.contains(&due.id) {
                self.send(due);
            }
        }
        if self.look_again && self.in_flight.len() < IN_FLIGHT_MAX / 2 {
            self.look_soon(ctx);
        }
    }
}

impl Handler<Tried> for WebhookSender {
    type Result = ();

    fn handle(&mut self, tried: Tried, ctx: &mut Self::Context) {
        self.in_flight.remove(&tried.id);
        if self.looking {
            self.ended.insert(tried.id);
        }
        if let Some(busy) = self.per_host.get_mut(&tried.host) {
            *busy = busy.saturating_sub(1);
            if *busy == 0 {
                self.per_host.remove(&tried.host);
            }
        }
        if self.look_again {
            self.look_soon(ctx);
        }
    }
}
