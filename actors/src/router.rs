//! Chooses and switches channels.
//!
//! Ten times a second the router judges every channel by its meter, keeps each change of state with its
//! reason, and publishes a table. Orders choose from the table by the domain's pure rule without a message,
//! so a busy router delays nobody; the router is the table's only writer. After a death it starts from
//! configured defaults and relearns within seconds; orders use the last table meanwhile.

use std::{collections::HashSet, sync::Arc, time::Duration};

use actix::{Actor, AsyncContext, Context, Handler, Message};
use arc_swap::ArcSwap;
use domain::{
    ChannelId,
    routing::{ChannelState, ChannelView, Choice, RouteNeed, Transition, choose},
};
use serde::Serialize;
use store::{Entry, SwitchRow};
use tracing::{info, warn};
use utoipa::ToSchema;

use crate::{
    causes::causes,
    chance::{Chance, share},
    gateway,
    house::House,
    meter::Meter,
    metric_definitions as metric,
    registry::{Deliver, Letter},
    tuning::TuningHandle,
};

/// How often channels are judged.
const JUDGE_INTERVAL: Duration = Duration::from_millis(100);

/// The routing table, and everybody's way to choose from it.
#[derive(Clone)]
pub(crate) struct Routes {
    table: Arc<ArcSwap<Vec<ChannelView>>>,
    status: Arc<ArcSwap<Vec<ChannelStatus>>>,
    /// Channels an operator took out.
    disabled: Arc<ArcSwap<HashSet<ChannelId>>>,
    meters: Arc<Vec<(ChannelId, Arc<Meter>)>>,
    tuning: TuningHandle,
    chance: Arc<dyn Chance>,
}

/// A channel as operators see it (`GET /admin/v1/channels`).
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct ChannelStatus {
    /// Its name.
    pub channel: String,
    /// `healthy`, `slow`, `open`, `probing` or `disabled`.
    pub state: &'static str,
    /// Since when.
    pub since: String,
    /// Why: the sentence of the last change.
    pub reason: String,
    /// The window's quantile over prepays, in milliseconds.
    pub prepay_quantile_ms: u64,
    /// The same over queries.
    pub query_quantile_ms: u64,
    /// Calls in the window.
    pub samples: u64,
    /// Calls in the window that failed.
    pub errors: u64,
    /// Calls without an answer.
    pub in_flight: u64,
    /// Attempts the poller asks about.
    pub watched: u64,
    /// How late the oldest due query is, in milliseconds.
    pub poll_lag_ms: u64,
}

impl Routes {
    pub(crate) fn new(
        views: Vec<ChannelView>,
        meters: Vec<(ChannelId, Arc<Meter>)>,
        tuning: TuningHandle,
        chance: Arc<dyn Chance>,
    ) -> Routes {
        Routes {
            table: Arc::new(ArcSwap::from_pointee(views)),
            status: Arc::default(),
            disabled: Arc::default(),
            meters: Arc::new(meters),
            tuning,
            chance,
        }
    }

    /// Chooses a channel for one order. A probe claimed by this order is noted, so that the next is not one too.
    pub(crate) fn choose(&self, need: &RouteNeed) -> Choice {
        let table = self.table.load();
        let choice = choose(need, &table, share(&*self.chance), &self.tuning.get());
        if let Choice::Use { channel, .. } = &choice
            && table.iter().any(|v| v.profile.id == *channel && v.state == ChannelState::Probing)
            && let Some((_, meter)) = self.meters.iter().find(|(id, _)| id == channel)
        {
            meter.note_probe();
        }
        choice
    }

    /// What operators see.
    pub(crate) fn status(&self) -> Arc<Vec<ChannelStatus>> {
        self.status.load_full()
    }

    /// Takes a channel out or back; the router acts on it at its next look.
    pub(crate) fn disable(&self, disabled: HashSet<ChannelId>) {
        let count = u32::try_from(disabled.len()).unwrap_or(u32::MAX);
        metrics::gauge!(metric::CHANNELS_DISABLED).set(f64::from(count));
        self.disabled.store(Arc::new(disabled));
    }

    /// Channels that are out by an operator's word.
    pub(crate) fn disabled_now(&self) -> HashSet<ChannelId> {
        HashSet::clone(&self.disabled.load())
    }

    /// The channel that new orders start on: the first healthy one, by configuration.
    fn head(&self) -> Option<ChannelId> {
        let table = self.table.load();
        table.iter().find(|v| v.state == ChannelState::Healthy).map(|v| v.profile.id.clone())
    }
}

/// The router.
pub(crate) struct ChannelRouter {
    house: Arc<House>,
}

/// Judge now. Sent by tests, which do not wait for the interval.
#[derive(Message, Clone, Copy)]
#[rtype(result = "()")]
pub(crate) struct Judge;

impl ChannelRouter {
    pub(crate) fn new(house: Arc<House>) -> ChannelRouter {
        ChannelRouter { house }
    }

    fn judge(&mut self) {
        let routes = &self.house.routes;
        let (tuning, disabled) = (self.house.tuning.get(), routes.disabled.load());
        let head_before = routes.head();
        let (mut views, mut status, mut changes) = (Vec::new(), Vec::new(), Vec::new());
        for id in &self.house.preference {
            let Some(line) = self.house.lines.get(id) else { continue };
            let (transition, reading) = line.meter.assess(disabled.contains(id), &tuning);
            changes.extend(transition);
            if reading.query_probe_due {
                line.meter.note_probe();
                let gateway = line.gateway.clone();
                // Its latency lands in the meter, which is all that is wanted of it.
                actix::spawn(async move {
                    let _metered = gateway.ask(|reply| gateway::Probe { reply }).await;
                });
            }
            let polls = line.poll_gauge.read();
            status.push(ChannelStatus {
                channel: id.to_string(),
                state: reading.state.as_str(),
                since: reading.since.to_string(),
                reason: reading.reason.clone(),
                prepay_quantile_ms: reading.stats.prepay.quantile_ms,
                query_quantile_ms: reading.stats.query.quantile_ms,
                samples: u64::from(reading.stats.prepay.samples) + u64::from(reading.stats.query.samples),
                errors: u64::from(reading.stats.prepay.errors) + u64::from(reading.stats.query.errors),
                in_flight: u64::try_from(reading.in_flight).unwrap_or(u64::MAX),
                watched: polls.watched,
                poll_lag_ms: polls.lag_ms,
            });
            views.push(ChannelView {
                profile: line.profile.clone(),
                state: reading.state,
                probe_due: reading.probe_due,
                reason: reading.reason,
            });
        }
        let now = self.house.clock.now();
        for id in self.house.make_up.release(&views, &tuning, now) {
            let turn = Deliver { id, letter: Letter::Turn };
            if self.house.registry(id).is_none_or(|r| r.tell(turn).is_err()) {
                self.house.undelivered("registry"); // it joins the queue again
            }
        }
        let waiting = u32::try_from(self.house.make_up.len()).unwrap_or(u32::MAX);
        metrics::gauge!(metric::ORDERS_WAITING).set(f64::from(waiting));
        routes.table.store(Arc::new(views));
        routes.status.store(Arc::new(status));
        for change in changes {
            self.keep(&change, head_before.as_ref());
        }
    }

    /// A change of state is told, counted and kept.
    fn keep(&self, change: &Transition, head_before: Option<&ChannelId>) {
        let head = self.house.routes.head();
        let name = |head: Option<&ChannelId>| head.map_or_else(|| "none".to_owned(), ToString::to_string);
        let (from_channel, to_channel) = (name(head_before), name(head.as_ref()));
        info!(
            channel.name = %change.channel,
            from = change.from.as_str(),
            to = change.to.as_str(),
            reason = change.reason,
            "new orders start on {to_channel}"
        );
        for state in ChannelState::ALL {
            let on = if state == change.to { 1.0 } else { 0.0 };
            metrics::gauge!(metric::CHANNEL_STATE, "channel" => change.channel.to_string(), "state" => state.as_str())
                .set(on);
        }
        metrics::counter!(metric::CHANNEL_SWITCHES, "channel" => change.channel.to_string(), "to" => change.to.as_str())
            .increment(1);
        if from_channel != to_channel {
            self.house.stats.switches.one();
        }
        let row = Entry::Switch(SwitchRow {
            at: change.at,
            channel: change.channel.to_string(),
            from_state: change.from.as_str().to_owned(),
            to_state: change.to.as_str().to_owned(),
            from_channel,
            to_channel,
            reason: change.reason.clone(),
        });
        if let Err(error) = self.house.journal.queue_at_leisure(row) {
            warn!(error = %causes(&error), "a channel's change of state was not kept");
        }
    }
}

impl Actor for ChannelRouter {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.run_interval(JUDGE_INTERVAL, |router, _| router.judge());
    }
}

impl Handler<Judge> for ChannelRouter {
    type Result = ();

    fn handle(&mut self, _: Judge, _: &mut Self::Context) {
        self.judge();
    }
}
