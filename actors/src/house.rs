//! What every actor of the house holds: the store, the clock, and the handles of the others.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use arc_swap::ArcSwap;
use channels::Channel;
use domain::{ChannelId, OrderId, Timestamp, channel::ChannelProfile};
use store::{Cache, Store};
use tokio::sync::watch;

use crate::{
    board::Board,
    chance::{self, Chance},
    clock::Clock,
    gateway::ChannelGateway,
    handle::Handle,
    journal::JournalHandle,
    make_up::MakeUp,
    meter::Meter,
    poller::{PollGauge, Poller},
    reconciler::Reconciler,
    registry::OrderRegistry,
    router::Routes,
    stats::Stats,
    tuning::TuningHandle,
    webhook_sender::{LaneStatus, WebhookSender},
};

/// One channel's place in the house.
pub(crate) struct Line {
    pub(crate) profile: ChannelProfile,
    pub(crate) channel: Arc<dyn Channel>,
    pub(crate) gateway: Handle<ChannelGateway>,
    pub(crate) poller: Handle<Poller>,
    pub(crate) meter: Arc<Meter>,
    pub(crate) poll_gauge: PollGauge,
}

/// The house.
pub(crate) struct House {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) cache: Arc<dyn Cache>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) chance: Arc<dyn Chance>,
    pub(crate) tuning: TuningHandle,
    /// One operator's change after another: each begins from what the one before left.
    pub(crate) operators: tokio::sync::Mutex<()>,
    pub(crate) journal: JournalHandle,
    pub(crate) routes: Routes,
    /// Orders that wait for a channel.
    pub(crate) make_up: MakeUp,
    /// By channel, for whoever knows its name.
    pub(crate) lines: BTreeMap<ChannelId, Line>,
    /// The configured order of preference.
    pub(crate) preference: Vec<ChannelId>,
    pub(crate) board: Board,
    pub(crate) stats: Arc<Stats>,
    /// One registry per arbiter; an order's id picks its own.
    pub(crate) registries: Vec<Handle<OrderRegistry>>,
    pub(crate) webhooks: Handle<WebhookSender>,
    /// Nobody, in a house that does not reconcile.
    pub(crate) reconciler: Handle<Reconciler>,
    /// How the backends of webhooks do, as of the sender's last look.
    pub(crate) backends: ArcSwap<Vec<LaneStatus>>,
    /// Changes with every commit that adds to `/v1/events`.
    pub(crate) told: watch::Sender<u64>,
    /// Set when the house stops: pollers and the webhook sender claim nothing new.
    pub(crate) closing: AtomicBool,
}

impl House {
    /// The registry that an order belongs to. Time-sorted ids differ in their low, random bits.
    pub(crate) fn registry(&self, id: OrderId) -> Option<&Handle<OrderRegistry>> {
        self.registries.get(shard(id, self.registries.len()))
    }

    /// A fresh id for something that happens at `now`; ids sort by time.
    pub(crate) fn new_id(&self, now: Timestamp) -> uuid::Uuid {
        chance::id(&*self.chance, now)
    }

    /// True once the house is stopping.
    pub(crate) fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Acquire)
    }

    /// Counts a message that found nobody; its row stays due.
    pub(crate) fn undelivered(&self, receiver: &'static str) {
        self.stats.undelivered.one();
        metrics::counter!(crate::metric_definitions::UNDELIVERED, "receiver" => receiver).increment(1);
    }
}

/// Which of `n` shards an order belongs to.
pub(crate) fn shard(id: OrderId, n: usize) -> usize {
    let n = u128::try_from(n.max(1)).unwrap_or(1);
    usize::try_from(id.as_u128() % n).unwrap_or_default()
}
