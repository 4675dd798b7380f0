//! Starting and stopping the house, in a written order.
//!
//! Start: journal; gateways, pollers and router; webhook sender; last the registries, whose sweep revives
//! every open order and so needs all the others. Stop, after the front door has drained: claim nothing new
//! (pollers, webhooks), let calls under way end until the deadline, let the journal commit what it holds, stop
//! the threads. What is cut off by the deadline is an unanswered call, and resumes like after a crash.

use std::{
    collections::{BTreeMap, HashSet},
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use actix::{Actor, Arbiter};
use arc_swap::ArcSwap;
use channels::Channel;
use domain::{
    ChannelId,
    routing::{ChannelState, ChannelView},
    tuning::Tuning,
};
use store::{Cache, Store};
use tokio::sync::{oneshot, watch};
use tracing::{info, warn};

use crate::{
    board::Board,
    breaker::Breaker,
    causes::causes,
    chance::Chance,
    clock::Clock,
    courier::WebhookOptions,
    gateway::ChannelGateway,
    guardian::Guardian,
    handle::Handle,
    house::{House, Line},
    journal::{Journal, JournalHandle},
    make_up::MakeUp,
    meter::Meter,
    poller::{PollGauge, Poller},
    reconciler::Reconciler,
    reconciliation::ReconciliationOptions,
    registry::{OrderRegistry, PollerReborn},
    router::{ChannelRouter, Routes},
    service::Service,
    stats::Stats,
    tuning::TuningHandle,
    webhook_sender::WebhookSender,
};

/// Beside the thresholds, the store keeps which channels operators took out: their names, with commas between.
pub(crate) const DISABLED_KEY: &str = "channels.disabled";
/// How often a node looks for thresholds that another node or the command line changed.
const TUNING_LOOK: Duration = Duration::from_millis(500);

/// What a house is built from.
pub struct Parts {
    /// Durable memory, migrated.
    pub store: Arc<dyn Store>,
    /// What may be lost.
    pub cache: Arc<dyn Cache>,
    /// The source of "now".
    pub clock: Arc<dyn Clock>,
    /// The source of chance.
    pub chance: Arc<dyn Chance>,
    /// Thresholds of the configuration; what the store holds goes on top.
    pub tuning: Tuning,
    /// The channels, best first.
    pub channels: Vec<Arc<dyn Channel>>,
    /// How webhooks are signed and carried.
    pub webhooks: WebhookOptions,
    /// How bills are reconciled; without it they are not.
    pub reconciliation: Option<ReconciliationOptions>,
    /// Where the actors live.
    pub threads: Threads,
}

/// Where the actors live.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Threads {
    /// On threads of their own: one for the journal, one for the channels, and so many for orders alone. With none, orders
    /// live on the channels' thread, which saves every order a dozen wake-ups and is the better half of a small machine.
    Own {
        /// Threads for orders.
        orders: usize,
    },
    /// All on the calling thread, which ends them: for tests and the simulator, whose clock is paused.
    Here,
}

/// Payers whose last channel is in the cache from the start; others begin by preference.
const PAYERS_REMEMBERED: usize = 50_000;

/// Why a house did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The thresholds in the store could not be read.
    #[error("the thresholds could not be read from the store")]
    Store(#[from] store::Error),
    /// A thread ended while the house was being built.
    #[error("a thread ended during the start")]
    Thread,
}

/// A running house and its threads.
pub struct Running {
    /// What the front door calls.
    pub service: Service,
    arbiters: Vec<Arbiter>,
}

/// Builds and starts a house. Must run inside an actix system.
///
/// # Errors
/// [`StartError`]; nothing is left running.
pub async fn start(parts: Parts) -> Result<Running, StartError> {
    let base = parts.tuning.clone();
    let stored = stored(&base, &*parts.store).await?;
    let tuning = TuningHandle::new(stored.tuning);
    let stats = Arc::new(Stats::default());

    let preference: Vec<ChannelId> = parts.channels.iter().map(|c| c.profile().id.clone()).collect();
    let mut lines = BTreeMap::new();
    let (mut views, mut meters) = (Vec::new(), Vec::new());
    for channel in parts.channels {
        let profile = channel.profile().clone();
        let meter = Meter::new(profile.id.clone(), parts.clock.clone(), Breaker::tuned(&tuning.get()));
        meters.push((profile.id.clone(), meter.clone()));
        // The router looks a moment later; until then nothing may begin on a channel that operators took out.
        let out = stored.disabled.contains(&profile.id);
        views.push(ChannelView {
            profile: profile.clone(),
            state: if out { ChannelState::Disabled } else { ChannelState::Healthy },
            probe_due: false,
            reason: if out { "disabled by an operator" } else { "just started" }.to_owned(),
        });
        let line = Line {
            profile: profile.clone(),
            channel,
            gateway: Handle::default(),
            poller: Handle::default(),
            meter,
            poll_gauge: PollGauge::default(),
        };
        lines.insert(profile.id, line);
    }
    let shards = match parts.threads {
        Threads::Own { orders } => orders.max(1),
        Threads::Here => 1,
    };
    let house = Arc::new(House {
        store: parts.store,
        cache: parts.cache,
        clock: parts.clock,
        routes: Routes::new(views, meters, tuning.clone(), parts.chance.clone()),
        chance: parts.chance,
        tuning,
        operators: tokio::sync::Mutex::default(),
        make_up: MakeUp::default(),
        journal: JournalHandle::default(),
        lines,
        preference,
        board: Board::default(),
        stats,
        registries: (0..shards).map(|_| Handle::default()).collect(),
        webhooks: Handle::default(),
        reconciler: Handle::default(),
        backends: ArcSwap::default(),
        told: watch::Sender::default(),
        closing: false.into(),
    });
    house.routes.disable(stored.disabled);

    let mut arbiters = Vec::new();
    let reconciliation = parts.reconciliation.map(|options| (options, parts.webhooks.clone()));
    match parts.threads {
        Threads::Here => {
            start_journal(house.clone());
            start_channels(house.clone(), parts.webhooks, base);
            start_registry(house.clone(), 0);
            if let Some((options, webhooks)) = reconciliation {
                start_reconciler(house.clone(), options, webhooks);
            }
        }
        Threads::Own { orders } => {
            arbiters.push(on_thread(house.clone(), start_journal).await?);
            let channels = move |house: Arc<House>| {
                start_channels(house.clone(), parts.webhooks, base);
                if orders == 0 {
                    start_registry(house, 0);
                }
            };
            arbiters.push(on_thread(house.clone(), channels).await?);
            for index in 0..orders {
                arbiters.push(on_thread(house.clone(), move |house| start_registry(house, index)).await?);
            }
            if let Some((options, webhooks)) = reconciliation {
                let reconciler = move |house| start_reconciler(house, options, webhooks);
                arbiters.push(on_thread(house.clone(), reconciler).await?);
            }
        }
    }
    Ok(Running { service: Service::new(house), arbiters })
}

/// Runs `build` on a thread of its own and waits until it has.
async fn on_thread(
    house: Arc<House>,
    build: impl FnOnce(Arc<House>) + Send + 'static,
) -> Result<Arbiter, StartError> {
    let arbiter = Arbiter::new();
    let (built, done) = oneshot::channel();
    let sent = arbiter.spawn_fn(move || {
        build(house);
        let _starter_gave_up = built.send(());
    });
    if !sent {
        return Err(StartError::Thread);
    }
    done.await.map_err(|_| StartError::Thread)?;
    Ok(arbiter)
}

fn start_journal(house: Arc<House>) {
    let handle = house.journal.0.clone();
    Guardian::watch(
        "journal",
        handle,
        move || Journal::new(house.store.clone(), house.stats.clone()).start(),
        || {},
    );
}

fn start_channels(house: Arc<House>, webhooks: WebhookOptions, base: Tuning) {
    for (id, line) in &house.lines {
        let (h, c, m) = (house.clone(), line.channel.clone(), line.meter.clone());
        let make = move || ChannelGateway::new(c.clone(), m.clone(), h.stats.clone(), &h.tuning).start();
        Guardian::watch("gateway", line.gateway.clone(), make, || {});
        let (h, id, me) = (house.clone(), id.clone(), line.poller.clone());
        let make = move || Poller::new(id.clone(), h.clone(), me.clone()).start();
        let h = house.clone();
        let reborn = move || {
            for registry in &h.registries {
                if registry.tell(PollerReborn).is_err() {
                    h.undelivered("registry");
                }
            }
        };
        Guardian::watch("poller", line.poller.clone(), make, reborn);
    }
    let (h, router) = (house.clone(), Handle::default());
    Guardian::watch("router", router, move || ChannelRouter::new(h.clone()).start(), || {});
    let (h, me) = (house.clone(), house.webhooks.clone());
    let make = move || WebhookSender::new(h.clone(), me.clone(), webhooks.clone()).start();
    Guardian::watch("webhook_sender", house.webhooks.clone(), make, || {});
    actix::spawn(remember_payers(house.clone()));
    actix::spawn(follow_tuning(house, base));
}

fn start_reconciler(house: Arc<House>, options: ReconciliationOptions, webhooks: WebhookOptions) {
    let handle = house.reconciler.clone();
    let make = move || Reconciler::new(house.clone(), options.clone(), webhooks.clone()).start();
    Guardian::watch("reconciler", handle, make, || {});
}

fn start_registry(house: Arc<House>, index: usize) {
    let Some(handle) = house.registries.get(index).cloned() else { return };
    let (h, of, me) = (house.clone(), house.registries.len(), handle.clone());
    Guardian::watch(
        "registry",
        handle,
        move || OrderRegistry::new(h.clone(), me.clone(), index, of).start(),
        || {},
    );
}

/// Fills the cache with what payers chose last, beside the start: with a cache across a network it takes seconds. What
/// the cache knows already is fresher.
async fn remember_payers(house: Arc<House>) {
    match house.store.payers_recent(PAYERS_REMEMBERED).await {
        // Oldest first, so that a small cache keeps the latest.
        Ok(payers) => {
            for payer in payers.into_iter().rev() {
                if house.cache.payer_channel_get(&payer.payer_id).await.is_none() {
                    house.cache.payer_channel_put(&payer.payer_id, &payer.last_channel).await;
                }
            }
        }
        Err(error) => {
            warn!(error = %causes(&error), "payers begin by preference: their profiles cannot be read")
        }
    }
}

/// What operators set, on this node or another.
struct Stored {
    tuning: Tuning,
    disabled: HashSet<ChannelId>,
}

/// The configuration's thresholds with the store's on top, and the channels that are out of use. A stored value
/// that is not valid any more (an older version wrote it) is left out and named.
async fn stored(base: &Tuning, store: &dyn Store) -> Result<Stored, store::Error> {
    let rows = store.tuning_all().await?;
    let mut tuning = base.clone();
    let all: Vec<(String, String)> = rows.into_iter().map(|row| (row.key, row.value)).collect();
    let (disabled, all): (Vec<_>, Vec<_>) = all.into_iter().partition(|(key, _)| key == DISABLED_KEY);
    let names = disabled.iter().flat_map(|(_, names)| names.split(','));
    let disabled = names.filter_map(|name| ChannelId::new(name).ok()).collect();
    match base.patch(all.clone()) {
        Ok(patched) => tuning = patched,
        Err(error) => {
            warn!(%error, "stored thresholds that are not valid are left out");
            for (key, value) in all {
                if let Ok(patched) = tuning.patch([(key, value)]) {
                    tuning = patched;
                }
            }
        }
    }
    Ok(Stored { tuning, disabled })
}

/// Looks for changes made elsewhere, for as long as the thread lives.
async fn follow_tuning(house: Arc<House>, base: Tuning) {
    let mut ticks = tokio::time::interval(TUNING_LOOK);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        // Between an operator's commit and its taking effect here, the store is ahead of this node.
        let _none_at_work = house.operators.lock().await;
        let disabled_before = house.routes.disabled_now();
        match stored(&base, &*house.store).await {
            Ok(stored) => {
                if stored.disabled != disabled_before && house.routes.disabled_now() == disabled_before {
                    info!(disabled = ?stored.disabled, "channels were taken out or put back elsewhere");
                    house.routes.disable(stored.disabled);
                }
                let tuning = stored.tuning;
                if tuning == *house.tuning.get() {
                    continue;
                }
                let changes = tuning.changes_since(&house.tuning.get());
                info!(?changes, "thresholds changed elsewhere are in force here");
                house.tuning.put(tuning);
            }
            Err(error) => {
                warn!(error = %causes(&error), "thresholds could not be read; the ones in force stay")
            }
        }
    }
}

impl Running {
    /// Stops in order; calls that are still out after `deadline` are left to resume at the next start.
    pub async fn stop(self, deadline: Duration) {
        let house = self.service.house().clone();
        house.closing.store(true, Ordering::Release);
        let until = tokio::time::Instant::now() + deadline;
        let calls = || house.lines.values().map(|l| l.meter.in_flight()).sum::<usize>();
        while calls() > 0 && tokio::time::Instant::now() < until {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let cut_off = calls();
        if tokio::time::timeout_at(until + Duration::from_secs(2), house.journal.flush()).await.is_err() {
            warn!("the journal did not finish in time");
        }
        info!(cut_off, "the house stops");
        for arbiter in self.arbiters {
            arbiter.stop();
            if arbiter.join().is_err() {
                warn!("a thread ended in a panic");
            }
        }
    }
}
