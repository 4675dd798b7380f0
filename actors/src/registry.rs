//! Where orders live: order id → address, one registry per arbiter.
//!
//! Every message for an order comes through here. An order without an actor gets one, which loads its row;
//! a dead actor (a panic) is replaced at the next message or look. A sweep of the store at start and at
//! intervals finds open orders that nobody holds, so a lost message costs a delay and never a payment.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use crate::intake::IntakeSlot;
use actix::{
    Actor, ActorFutureExt, Addr, AsyncContext, Context, ContextFutureSpawner, Handler, Message, WrapFuture,
};
use domain::{ChannelId, OrderId, order::Order};
use tracing::{info, warn};

use crate::{
    causes::causes,
    handle::Handle,
    house::{House, shard},
    order::{Hear, HearError, Look, OrderActor, PartPoke, RegisterPollsAgain, StillOpenAt, Stop, Turn},
};

/// Messages that may wait for all orders of a shard.
const MAILBOX: usize = 65_536;
/// How often dead actors are looked for.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// How often the store is swept for open orders that nobody holds.
const SWEEP_INTERVAL: Duration = Duration::from_secs(60);
/// Orders a sweep reads at once.
const SWEEP_PAGE: usize = 500;

/// The registry of one arbiter.
pub(crate) struct OrderRegistry {
    house: Arc<House>,
    me: Handle<OrderRegistry>,
    /// Which shard of how many.
    index: usize,
    of: usize,
    lives: BTreeMap<OrderId, Addr<OrderActor>>,
}

/// An order was accepted and is durable. Sent by the front door.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Adopt {
    pub(crate) order: Box<Order>,
    pub(crate) last_used: Option<ChannelId>,
    pub(crate) intake: Option<IntakeSlot>,
}

/// A message for one order. Sent by everybody.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Deliver {
    pub(crate) id: OrderId,
    pub(crate) letter: Letter,
}

/// What can be delivered.
pub(crate) enum Letter {
    /// An event.
    Hear(Hear),
    /// A query without a final word; not worth reviving an order for.
    StillOpen(StillOpenAt),
    /// Somebody wants to know; not worth reviving an order for.
    Look(Look),
    /// A part of the order moved; an order without an actor will look by itself.
    PartPoke(PartPoke),
    /// Its turn to choose a channel; an order without an actor will ask for it by itself.
    Turn,
}

/// A life is over. Sent by its actor, which waits for [`Stop`].
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Retire {
    pub(crate) id: OrderId,
    pub(crate) life: Addr<OrderActor>,
}

/// The order owes something and has no actor. Sent by a life that ended while its order was opened again.
#[derive(Message, Clone, Copy)]
#[rtype(result = "()")]
pub(crate) struct Revive(pub(crate) OrderId);

/// A poller was reborn: every order registers with it again. Sent by its guardian.
#[derive(Message, Clone, Copy)]
#[rtype(result = "()")]
pub(crate) struct PollerReborn;

impl OrderRegistry {
    pub(crate) fn new(
        house: Arc<House>,
        me: Handle<OrderRegistry>,
        index: usize,
        of: usize,
    ) -> OrderRegistry {
        OrderRegistry { house, me, index, of, lives: BTreeMap::new() }
    }

    fn enter(&mut self, id: OrderId, actor: OrderActor) -> Addr<OrderActor> {
        let addr = actor.start();
        if self.lives.insert(id, addr.clone()).is_none() {
            self.house.stats.open_orders.one();
        }
        addr
    }

    /// The order's living actor, made if need be.
    fn life(&mut self, id: OrderId) -> Addr<OrderActor> {
        match self.lives.get(&id) {
            Some(addr) if addr.connected() => addr.clone(),
            Some(_) | None => {
                let actor = OrderActor::revived(self.house.clone(), self.me.clone(), id);
                self.enter(id, actor)
            }
        }
    }

    /// Revives every open order of this shard that nobody holds, page by page.
    fn sweep(&mut self, after: Option<OrderId>, revived: usize, ctx: &mut Context<Self>) {
        let store = self.house.store.clone();
        async move { store.orders_open(after, SWEEP_PAGE).await }
            .into_actor(self)
            .map(move |page, registry, ctx| match page {
                Err(error) => warn!(error = %causes(&error), "the sweep could not read open orders; the next one tries again"),
                Ok(ids) => {
                    let mut revived = revived;
                    for id in &ids {
                        if shard(*id, registry.of) == registry.index && !registry.lives.contains_key(id) {
                            registry.life(*id);
                            revived += 1;
                        }
                    }
                    match ids.last() {
                        Some(last) if ids.len() == SWEEP_PAGE => registry.sweep(Some(*last), revived, ctx),
                        Some(_) | None if revived > 0 => info!(revived, "open orders resumed"),
                        Some(_) | None => {}
                    }
                }
            })
            .spawn(ctx);
    }
}

impl Actor for OrderRegistry {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(MAILBOX);
        self.sweep(None, 0, ctx);
        ctx.run_interval(SWEEP_INTERVAL, |registry, ctx| registry.sweep(None, 0, ctx));
        ctx.run_interval(LOOK_INTERVAL, |registry, _| {
            let dead: Vec<OrderId> =
                registry.lives.iter().filter(|(_, a)| !a.connected()).map(|(id, _)| *id).collect();
            for id in dead {
                warn!(order.id = %id, "an order's actor died; starting a new life from the store");
                metrics::counter!(crate::metric_definitions::ACTOR_RESTARTS, "actor" => "order").increment(1);
                registry.life(id);
            }
            metrics::gauge!(crate::metric_definitions::ORDERS_OPEN, "shard" => registry.index.to_string())
                .set(f64::from(u32::try_from(registry.lives.len()).unwrap_or(u32::MAX)));
        });
    }

    fn stopped(&mut self, _: &mut Self::Context) {
        for _ in std::mem::take(&mut self.lives) {
            self.house.stats.open_orders.less();
        }
    }
}

impl Handler<Adopt> for OrderRegistry {
    type Result = ();

    fn handle(&mut self, adopt: Adopt, _: &mut Self::Context) {
        let Adopt { order, last_used, intake } = adopt;
        let id = order.id;
        if !self.lives.contains_key(&id) {
            let actor = OrderActor::fresh(self.house.clone(), self.me.clone(), order, last_used, intake);
            self.enter(id, actor);
        }
    }
}

impl Handler<Deliver> for OrderRegistry {
    type Result = ();

    fn handle(&mut self, deliver: Deliver, _: &mut Self::Context) {
        let id = deliver.id;
        let refused = match deliver.letter {
            Letter::Hear(hear) => match self.life(id).try_send(hear) {
                Ok(()) => false,
                Err(actix::prelude::SendError::Full(hear) | actix::prelude::SendError::Closed(hear)) => {
                    if let Some(reply) = hear.reply {
                        let _hung_up = reply.send(Err(HearError::Busy));
                    }
                    true
                }
            },
            Letter::StillOpen(still) => self.lives.get(&id).is_some_and(|a| a.try_send(still).is_err()),
            Letter::PartPoke(poke) => self.lives.get(&id).is_some_and(|a| a.try_send(poke).is_err()),
            Letter::Turn => self.lives.get(&id).is_some_and(|a| a.try_send(Turn).is_err()),
            Letter::Look(look) => self.lives.get(&id).is_some_and(|a| a.try_send(look).is_err()),
        };
        if refused {
            self.house.undelivered("order");
        }
    }
}

impl Handler<Retire> for OrderRegistry {
    type Result = ();

    fn handle(&mut self, retire: Retire, _: &mut Self::Context) {
        // A newer life may have taken its place already; then only the old one stops.
        if self.lives.get(&retire.id) == Some(&retire.life) {
            self.lives.remove(&retire.id);
            self.house.stats.open_orders.less();
        }
        // Messages that were on their way come before this one.
        if retire.life.try_send(Stop).is_err() {
            self.house.undelivered("order");
        }
    }
}

impl Handler<Revive> for OrderRegistry {
    type Result = ();

    fn handle(&mut self, revive: Revive, _: &mut Self::Context) {
        self.life(revive.0);
    }
}

impl Handler<PollerReborn> for OrderRegistry {
    type Result = ();

    fn handle(&mut self, _: PollerReborn, _: &mut Self::Context) {
        for life in self.lives.values() {
            if life.try_send(RegisterPollsAgain).is_err() {
                self.house.undelivered("order");
            }
        }
    }
}
