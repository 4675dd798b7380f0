//! One life of the house: from a start over the store to a crash or to the end of the day.
//!
//! Everything runs on the calling thread under a paused clock, so the runtime jumps from one due moment to the next and
//! nothing but the seed decides what comes first. A crash drops the runtime with all that runs on it, between any two
//! awaits; the next life finds the store, and the world as it went on meanwhile.

use std::{sync::Arc, time::Duration};

use actors::{
    Clock as _, Parts, Service, Threads, WebhookOptions,
    reconciliation::{BillMemory, ReconciliationOptions},
};
use anyhow::Context as _;
use channels::Channel;
use domain::{
    AttemptNo, ChannelId, OrderId, Timestamp,
    order::{Event, Order, PartState, RefundState},
    reconciliation::{DifferenceState, Terms},
    tuning::Tuning,
};
use store::{Cause, DifferenceFilter, RunFilter, SqliteStore, Store as _};

use crate::{
    backend::SimCourier,
    bill_store::FaultyBills,
    bills::{FEE_BP, is_foreign},
    cache::PlainCache,
    channel::{SimChannel, written},
    clients::View,
    dice::HouseDice,
    night::Night,
    store::FaultyStore,
    tuner::operate,
    world::{CHANNELS, DIRECT, Errand, Reality},
};

/// How often the house looks for bills that are due; every second would cost a twentieth of the simulator's speed.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// How often it is asked whether the day is over.
const INSPECT: Duration = Duration::from_secs(20);
/// The weather clears so long after the last payer's last chance.
const CLEARS_AFTER: Duration = Duration::from_secs(60);
/// With fair weather all is done within this time, webhooks included, or never.
const BOUND: Duration = Duration::from_secs(3 * 3600);

/// How a life ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    Died,
    DayOver,
    /// Something is owed, and nothing comes of it.
    Stuck,
}

/// What every life is built from.
pub(crate) struct Site {
    pub(crate) reality: Arc<Reality>,
    pub(crate) store: Arc<SqliteStore>,
    pub(crate) chance: Arc<HouseDice>,
    /// Bills that the house keeps; they outlive its process.
    pub(crate) bills: BillMemory,
}

/// Where the day stands; it outlives the lives.
#[derive(Debug)]
pub(crate) struct Day {
    /// Orders that are still to come.
    to_come: u64,
    arrivals_per_s: f64,
    next_arrival: Option<Timestamp>,
    clear_since: Option<Timestamp>,
    /// When operators last looked after the orders that wait for a person.
    last_look: Option<Timestamp>,
    /// The lunch is over, and the bills are due.
    pub(crate) night: Option<Night>,
}

impl Day {
    /// A day with so many orders, at this rate on average.
    pub(crate) const fn new(to_come: u64, arrivals_per_s: f64) -> Day {
        Day { to_come, arrivals_per_s, next_arrival: None, clear_since: None, last_look: None, night: None }
    }
}

impl Site {
    /// Lives until the end of the day or of the process.
    ///
    /// # Errors
    /// The runtime cannot be made.
    pub(crate) fn live(&self, day: &mut Day) -> anyhow::Result<End> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .context("making the simulated runtime")?;
        let system = actix::System::with_tokio_rt(|| runtime);
        let end = system.block_on(async {
            self.reality.clock.run();
            self.reality.with(|world| world.dead = false);
            let end = self.life(day).await;
            self.reality.clock.halt();
            end
        });
        Ok(end)
    }

    async fn life(&self, day: &mut Day) -> End {
        let lines = (0..CHANNELS.len()).filter_map(|i| SimChannel::new(i, &self.reality));
        let channels = lines.map(|channel| -> Arc<dyn Channel> { Arc::new(channel) }).collect();
        let names = CHANNELS.iter().filter_map(|name| ChannelId::new(name).ok());
        let terms = names.map(|id| (id, Terms { fee_bp: Some(FEE_BP) }));
        let store = FaultyStore {
            inner: self.store.clone(),
            reality: self.reality.clone(),
            bills: FaultyBills { inner: self.store.clone(), reality: self.reality.clone() },
        };
        let parts = Parts {
            reconciliation: Some(ReconciliationOptions {
                terms: terms.collect(),
                operations_url: Some("http://operations.campus.invalid/differences".to_owned()),
                memory: Some(self.bills.clone()),
                look_every: Some(LOOK_EVERY),
                ..ReconciliationOptions::default()
            }),
            store: Arc::new(store),
            cache: Arc::new(PlainCache::default()),
            clock: self.reality.clock.clone(),
            chance: self.chance.clone(),
            tuning: Tuning::default(),
            channels,
            webhooks: WebhookOptions {
                secret: Arc::from(&b"the simulation's"[..]),
                courier: Arc::new(SimCourier(self.reality.clone())),
            },
            threads: Threads::Here,
        };
        match actors::start(parts).await {
            Ok(running) => self.days_work(day, running.service).await,
            Err(_) => {
                // The store could not be read at the start: the process ends, and its keeper starts it again.
                self.reality.with(|world| world.crash("starts that failed"));
                End::Died
            }
        }
    }

    async fn days_work(&self, day: &mut Day, service: Service) -> End {
        let mut inspect_at = self.reality.clock.now().plus(INSPECT);
        loop {
            self.arrivals(day);
            // What a power cut in the same moment stops on its way counts as under way, and comes again.
            let (errands, dead) = self.reality.with(|world| {
                let due = world.due();
                let errands: Vec<(u64, Errand)> = due.into_iter().map(|e| (world.leaves(&e), e)).collect();
                (errands, world.dead)
            });
            if dead {
                return End::Died;
            }
            for (number, errand) in errands {
                let (reality, service) = (self.reality.clone(), service.clone());
                actix::spawn(async move {
                    run(errand, &reality, service).await;
                    reality.with(|world| world.back(number));
                });
            }
            let now = self.reality.clock.now();
            if now >= inspect_at {
                inspect_at = now.plus(INSPECT);
                // What is asked of a process that dies over it is never answered.
                let end = tokio::select! {
                    biased;
                    end = self.inspect(day, &service, now) => end,
                    () = self.reality.death.notified() => None,
                };
                if let Some(end) = end {
                    return end;
                }
                continue;
            }
            let next = self.reality.with(|world| world.next_at());
            let wake = [next, day.next_arrival].into_iter().flatten().fold(inspect_at, Timestamp::min);
            tokio::select! {
                biased;
                () = self.reality.death.notified() => {}
                () = self.reality.sooner.notified() => {}
                () = tokio::time::sleep_until(self.reality.clock.instant(wake)) => {}
            }
        }
    }

    /// Lets orders arrive that are due, and draws when the next one comes.
    fn arrivals(&self, day: &mut Day) {
        self.reality.with(|world| {
            while day.to_come > 0 && day.next_arrival.is_none_or(|at| at <= world.now) {
                if day.next_arrival.is_some() {
                    world.arrive();
                    day.to_come -= 1;
                }
                let pause = world.dice.pause(day.arrivals_per_s);
                day.next_arrival = (day.to_come > 0).then(|| world.now.plus(pause));
            }
        });
    }

    /// Has everything that was owed been done?
    async fn inspect(&self, day: &mut Day, service: &Service, now: Timestamp) -> Option<End> {
        if day.night.is_some() {
            return self.by_night(day, service, now).await;
        }
        if day.to_come > 0 {
            return None;
        }
        let Some(clear_since) = day.clear_since else {
            let over = self.reality.with(|world| {
                let over = now >= world.last_end().plus(CLEARS_AFTER);
                if over {
                    world.clear_up();
                }
                over
            });
            day.clear_since = over.then_some(now);
            return None;
        };
        let open = self.store.orders_open(None, 1_000_000).await.unwrap_or_default();
        let due = self.store.webhook_totals().await.unwrap_or_default().iter().any(|totals| totals.due > 0);
        let unposted = self.reality.with(|world| world.clients.iter().any(|c| c.accepted.is_none()));
        // What only a bill can end waits for the night.
        let held = self.held().await;
        let mut wait = Vec::new();
        for id in &open {
            let parts = match self.store.order_load(*id).await {
                Ok(Some(order)) => order.parts.iter().map(|part| part.id).collect(),
                Ok(None) | Err(_) => Vec::new(),
            };
            wait.push(held.iter().any(|(held, _)| held == id || parts.contains(held)));
        }
        if wait.into_iter().all(|waits| waits) && !due && !unposted {
            return Some(End::DayOver);
        }
        if now >= clear_since.plus(BOUND) {
            return Some(End::Stuck);
        }
        // Operators begin when the channels have calmed down, and look again for what that led to.
        let look_due = day.last_look.unwrap_or(clear_since).plus(Duration::from_secs(180));
        if now >= look_due {
            day.last_look = Some(now);
            for (id, event) in self.for_people(&open).await {
                let cause = Cause::new(event.label(), "operator", "the simulated evening");
                let _declined_or_heard = service.hear(id, event, cause).await;
            }
        }
        None
    }

    /// What keeps a day from ending, in words.
    pub(crate) fn left(&self, reader: &tokio::runtime::Runtime) -> String {
        let open = reader.block_on(self.store.orders_open(None, 10)).unwrap_or_default();
        let webhooks = reader.block_on(self.store.webhook_totals()).unwrap_or_default();
        let due: u64 = webhooks.iter().map(|totals| totals.due).sum();
        let unposted: Vec<String> = self.reality.with(|world| {
            let clients = world.clients.iter().filter(|c| c.accepted.is_none());
            clients.map(|c| c.request.order_no.clone()).collect()
        });
        let unknown = self.unknown_captures();
        let counting = DifferenceState::ALL.into_iter().filter(|state| state.counts()).collect();
        let counting = DifferenceFilter { states: counting, limit: 10, ..DifferenceFilter::default() };
        let differences = reader.block_on(self.store.bills().differences_list(&counting)).unwrap_or_default();
        let all = RunFilter { limit: 4, ..RunFilter::default() };
        let runs = reader.block_on(self.store.bills().bill_runs_list(&all)).unwrap_or_default();
        let runs = runs.into_iter().map(|run| (run.channel, run.day, run.state, run.told, run.problem));
        let runs: Vec<_> = runs.collect();
        format!(
            "open {open:?}, webhooks due {due}, never accepted {unposted:?}, captures that nobody heard of {unknown:?}, differences {differences:?}, bills {runs:?}"
        )
    }

    /// Numbers that took money of which the house does not know.
    pub(crate) fn unknown_captures(&self) -> Vec<String> {
        self.reality.with(|world| {
            let paid = world.books.trades.keys().filter(|n| world.books.capture(n).is_some());
            paid.filter(|n| !is_foreign(n) && !world.oracle.captured.contains_key(*n)).cloned().collect()
        })
    }

    /// Money of another amount than its order's, which the house holds for a person's word.
    pub(crate) async fn held(&self) -> Vec<(OrderId, AttemptNo)> {
        let mut held = Vec::new();
        for id in self.store.orders_open(None, 1_000_000).await.unwrap_or_default() {
            let Ok(Some(order)) = self.store.order_load(id).await else { continue };
            held.extend(order.attempts.iter().filter(|a| order.is_held(a)).map(|a| (id, a.no)));
        }
        held
    }

    /// What a channel gave up sending back: an operator sends it anew.
    async fn for_people(&self, open: &[OrderId]) -> Vec<(OrderId, Event)> {
        let mut says = Vec::new();
        for id in open {
            let Ok(Some(order)) = self.store.order_load(*id).await else { continue };
            says.extend(self.left_behind(&order).await);
            let gave_up =
                |no| order.refunds.iter().any(|r| r.attempt == no && r.state == RefundState::Failed);
            let held = order.attempts.iter().filter(|a| order.is_held(a) && gave_up(a.no));
            says.extend(held.map(|attempt| (*id, Event::HeldReturned { no: attempt.no })));
        }
        says
    }

    /// Paid parts of a failed whole that a channel gave up sending back go under a new number.
    async fn left_behind(&self, whole: &Order) -> Vec<(OrderId, Event)> {
        let mut says = Vec::new();
        for part in
            whole.parts.iter().filter(|part| whole.recalled.is_some() && part.state == PartState::Paid)
        {
            let Ok(Some(part)) = self.store.order_load(part.id).await else { continue };
            let open = part.refunds.iter().any(|refund| !refund.state.is_final());
            if !open && part.refunds.iter().any(|refund| refund.state == RefundState::Failed) {
                let event = Event::RefundAsked {
                    backend_no: format!("again-{}", part.refunds.len()),
                    amount: part.net_captured(),
                    reason: "given up before".to_owned(),
                    besides_taken_over: false,
                };
                says.push((part.id, event));
            }
        }
        says
    }
}

/// Runs one errand. What a crash cuts off comes again, see [`World::cut_off`](crate::world::World::cut_off).
async fn run(errand: Errand, reality: &Reality, service: Service) {
    match errand {
        Errand::Post(n) => {
            let client = reality.with(|world| world.clients.get(n).cloned());
            let Some(client) = client else { return };
            if client.accepted.is_some() {
                return;
            }
            match service.accept((*client.request).clone(), format!("hash of S{n}")).await {
                Ok(accepted) => reality.with(|world| world.accepted(n, accepted.id)),
                Err(actors::AcceptError::Conflict { existing }) => reality.with(|world| {
                    let what = format!("order S{n} is refused as a conflict with {existing}");
                    world.outrage("accepted_twice", Some(existing), what);
                }),
                Err(_) => reality.with(|world| {
                    world.count("orders not accepted at once");
                    let again = world.dice.ms(200, 9_000);
                    world.errand(again, Errand::Post(n));
                }),
            }
        }
        Errand::Look(n) => {
            let Some(id) = accepted(reality, n) else { return };
            let (hint, at_hand) =
                reality.with(|world| (world.dice.happens(0.3), world.at_hand(n).unwrap_or(id)));
            if hint {
                service.hint(at_hand);
            }
            let mut view = match service.order(id).await {
                Ok(Some(body)) => serde_json::from_slice::<View>(&body.json).ok(),
                Ok(None) => {
                    let what = format!("order {id} was accepted, and reading it finds nothing");
                    reality.with(|world| world.outrage("accepted_and_lost", Some(id), what));
                    None
                }
                Err(_) => None,
            };
            if let Some(whole) = &mut view {
                let turn = whole.parts.iter().find(|part| part.state == "payable");
                let part = turn.and_then(|part| part.order.rsplit('/').next()?.parse().ok());
                if let Some(part) = part
                    && let Ok(Some(body)) = service.order(part).await
                {
                    let part = serde_json::from_slice::<View>(&body.json).ok();
                    whole.credential = part.and_then(|part| part.credential);
                }
            }
            reality.with(|world| world.looked(n, view.as_ref()));
        }
        Errand::Cancel(n) => {
            // Of an order in parts sometimes only the part in front of the payer is called off.
            let id = reality.with(|world| {
                let whole = world.clients.get(n).and_then(|client| client.accepted);
                let part = world.at_hand(n).filter(|part| Some(*part) != whole);
                part.filter(|_| world.dice.happens(0.3)).or(whole)
            });
            let Some(id) = id else { return };
            let event = Event::CancelAsked;
            let cause = Cause::new(event.label(), "api", "");
            let _rejected_or_heard = service.hear(id, event, cause).await;
        }
        Errand::Switch(n) => {
            let Some(id) = reality.with(|world| world.at_hand(n)) else { return };
            let (to, consent) = reality.with(|world| {
                let to = world
                    .dice
                    .pick(&[(1.0, None), (1.0, Some(1)), (1.0, Some(2)), (1.0, Some(DIRECT))], None);
                (to.and_then(|i| world.lines.get(i)).map(|line| line.id.clone()), world.dice.happens(0.8))
            });
            let event = Event::SwitchAsked { to, consent };
            let cause = Cause::new(event.label(), "api", "");
            let _rejected_or_heard = service.hear(id, event, cause).await;
            reality.with(|world| {
                let after = world.dice.ms(500, 4_000);
                world.errand(after, Errand::Look(n));
            });
        }
        Errand::AskRefund(n) => {
            let Some((id, amount)) = reality.with(|world| world.asks_back(n)) else { return };
            let event = Event::RefundAsked {
                backend_no: format!("R{n}"),
                amount,
                reason: "sold out".to_owned(),
                besides_taken_over: false,
            };
            let cause = Cause::new(event.label(), "api", "");
            let heard = service.hear(id, event, cause).await.is_ok();
            reality.with(|world| world.asked_back(id, amount, heard));
        }
        Errand::Operate => operate(reality, &service).await,
        Errand::Notify(notice) => {
            let (call, channel) = reality.with(|world| {
                let id = world.lines.get(notice.channel).map(|line| line.id.clone());
                (written(&notice, world), id)
            });
            let (Some(call), Some(channel)) = (call, channel) else { return };
            let reply = service.notification(&channel, call, Ok(())).await;
            let taken = reply.is_some_and(|reply| reply.status == 200);
            reality.with(|world| match (taken, notice.forged) {
                (true, true) => world.outrage("forgery_taken", None, format!("{notice:?} was taken")),
                (true, false) => {}
                (false, _) => world.not_taken(notice),
            });
        }
    }
}

fn accepted(reality: &Reality, n: usize) -> Option<OrderId> {
    reality.with(|world| world.clients.get(n).and_then(|client| client.accepted))
}
