//! One actor per open order: the only writer of its order.
//!
//! Hear, decide, commit, act. An event is judged by the domain's `decide`; its facts go to the journal
//! while the mailbox waits (a commit, never a channel call); after the commit the actor reconciles its
//! running work with what the order now owes ([`work`]). If a commit's fate is unknown the actor forgets
//! its state and loads the row. It stops when the order is settled; a late message revives it.

mod commit;
mod parts;
mod work;

use std::sync::Arc;

use actix::{
    Actor, ActorContext as _, ActorFutureExt, ActorState, AsyncContext, Context, ContextFutureSpawner,
    Handler, Message, WrapFuture,
};
use domain::{
    AttemptNo, ChannelId, OrderId,
    order::{Event, Order, OrderState, Rejected, decide},
};
use store::Cause;
use tokio::sync::oneshot;
use tracing::{debug, warn};

use crate::{
    causes::causes,
    handle::Handle,
    house::House,
    intake::IntakeSlot,
    registry::{OrderRegistry, Retire, Revive},
};
pub(crate) use commit::{entry, publish};
pub(crate) use parts::PartPoke;
use work::Desk;
pub(crate) use work::route_need;

/// Messages that may wait for one order.
const MAILBOX: usize = 64;

/// What came of an event.
pub(crate) type Verdict = Result<Heard, HearError>;

/// The event was judged, and what it led to is durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Heard {
    /// Where the order stands now.
    pub state: OrderState,
    /// Its version now.
    pub version: u64,
    /// False if the event changed nothing.
    pub changed: bool,
}

/// Why an event had no effect that is known.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HearError {
    /// No such order.
    #[error("no such order")]
    NotFound,
    /// The rules decline it.
    #[error(transparent)]
    Rejected(#[from] Rejected),
    /// The service is too busy or restarting; the same event may be told again.
    #[error("the order cannot be reached at the moment")]
    Busy,
    /// The store did not confirm: the same event may be told again.
    #[error("the store did not confirm the change")]
    Unconfirmed,
}

/// An event for the order. Sent by the registry and by the actor's own work.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Hear {
    pub(crate) event: Event,
    pub(crate) cause: Cause,
    /// Who waits for the verdict, if anybody.
    pub(crate) reply: Option<oneshot::Sender<Verdict>>,
}

/// A query came back without a final word. Sent by the poller, now and then.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct StillOpenAt {
    pub(crate) no: AttemptNo,
    /// The channel does not know the number.
    pub(crate) not_found: bool,
}

/// Somebody wants to know how the order stands. Sent by the registry.
#[derive(Message, Clone, Copy)]
#[rtype(result = "()")]
pub(crate) enum Look {
    /// The payer came back from paying: ask soon, and often for a while.
    Soon,
    /// A reader waits for a change: keep the schedule, but go before those nobody waits for.
    First,
}

/// A channel is back, and it is this order's turn to choose. Sent by the router.
#[derive(Message, Clone, Copy)]
#[rtype(result = "()")]
pub(crate) struct Turn;

/// A poller was reborn: register with it again. Sent by the registry.
#[derive(Message, Clone, Copy)]
#[rtype(result = "()")]
pub(crate) struct RegisterPollsAgain;

/// The registry has forgotten this life; nothing more will come. Sent by the registry.
#[derive(Message, Clone, Copy)]
#[rtype(result = "()")]
pub(crate) struct Stop;

/// The actor of one order.
pub(crate) struct OrderActor {
    id: OrderId,
    house: Arc<House>,
    registry: Handle<OrderRegistry>,
    /// None until loaded, and again whenever a commit's fate is unknown.
    order: Option<Box<Order>>,
    desk: Desk,
    /// The channel the payer used last, if known: the router prefers it while it is healthy.
    last_used: Option<ChannelId>,
    /// Held from acceptance until the order has its first attempt: the intake bound.
    intake: Option<IntakeSlot>,
    /// The registry was asked to let go of this life.
    retiring: bool,
    /// The row will be loaded in a moment.
    load_planned: bool,
}

impl OrderActor {
    /// The actor of an order that was just accepted.
    pub(crate) fn fresh(
        house: Arc<House>,
        registry: Handle<OrderRegistry>,
        order: Box<Order>,
        last_used: Option<ChannelId>,
        intake: Option<IntakeSlot>,
    ) -> OrderActor {
        let (id, mut desk) = (order.id, Desk::default());
        // An attempt that was accepted with its order was written down in this life: nobody has called it before.
        order.attempts.iter().for_each(|attempt| desk.planned(attempt.no));
        OrderActor { last_used, intake, desk, ..OrderActor::new(house, registry, id, Some(order)) }
    }

    /// The actor of an order that is in the store.
    pub(crate) fn revived(house: Arc<House>, registry: Handle<OrderRegistry>, id: OrderId) -> OrderActor {
        OrderActor::new(house, registry, id, None)
    }

    fn new(
        house: Arc<House>,
        registry: Handle<OrderRegistry>,
        id: OrderId,
        order: Option<Box<Order>>,
    ) -> OrderActor {
        OrderActor {
            id,
            house,
            registry,
            order,
            desk: Desk::default(),
            last_used: None,
            intake: None,
            retiring: false,
            load_planned: false,
        }
    }

    /// Loads the row while the mailbox waits, then does what is owed, and hears what it was loaded for.
    fn load(&mut self, hear: Option<Hear>, ctx: &mut Context<Self>) {
        let (store, id) = (self.house.store.clone(), self.id);
        async move { store.order_load(id).await }
            .into_actor(self)
            .map(|loaded, actor, ctx| {
                match loaded {
                    Ok(Some(order)) => {
                        actor.order = Some(Box::new(order));
                        actor.settle_or_work(ctx);
                    }
                    Ok(None) => actor.retire(ctx),
                    // Nobody else would try again: the registry sees a life that goes on, and a message may never come.
                    Err(error) => {
                        warn!(order.id = %actor.id, error = %causes(&error), "the order could not be loaded");
                        actor.load_later(ctx);
                    }
                }
                if let Some(hear) = hear {
                    actor.hear(hear, ctx);
                }
            })
            .wait(ctx);
    }

    /// Judges one event and makes its facts durable.
    fn hear(&mut self, hear: Hear, ctx: &mut Context<Self>) {
        let Hear { event, cause, reply } = hear;
        let now = self.house.clock.now();
        let Some(order) = &self.order else {
            return self.answer(
                reply,
                Err(if self.retiring { HearError::NotFound } else { HearError::Unconfirmed }),
            );
        };
        match decide(order, &event, now, &self.house.tuning.rules()) {
            Err(rejected) => {
                debug!(order.id = %self.id, event = event.label(), %rejected, "event declined");
                self.answer(reply, Err(rejected.into()));
                self.settle_or_work(ctx);
            }
            Ok(decision) if decision.facts.is_empty() => {
                let heard = Heard { state: order.state, version: order.version, changed: false };
                self.answer(reply, Ok(heard));
                self.settle_or_work(ctx);
            }
            Ok(decision) => self.commit(decision, cause, now, reply, ctx),
        }
    }

    fn answer(&self, reply: Option<oneshot::Sender<Verdict>>, verdict: Verdict) {
        if let Some(reply) = reply {
            let _hung_up = reply.send(verdict);
        }
    }

    /// After every change: stop if nothing is owed any more, else do what is owed.
    fn settle_or_work(&mut self, ctx: &mut Context<Self>) {
        let Some(order) = &self.order else { return };
        if !order.attempts.is_empty() || order.is_split() || order.state.is_terminal() {
            self.intake = None;
        }
        if order.is_settled() {
            self.desk.clear(ctx, &self.house, self.id);
            self.retire(ctx);
        } else if !self.retiring {
            self.reconcile(ctx);
        } // else: a new life does what is owed, see `Stop`
    }

    /// Asks the registry to forget this life first, so that no message is lost on the way.
    fn retire(&mut self, ctx: &mut Context<Self>) {
        if self.retiring {
            return;
        }
        self.retiring = true;
        let retire = Retire { id: self.id, life: ctx.address() };
        if self.registry.tell(retire).is_err() {
            self.house.undelivered("registry");
            ctx.notify(Stop);
        }
    }
}

impl Actor for OrderActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(MAILBOX);
        // A system that ends polls even an actor that never began, on its way out: there is nothing to begin for.
        if ctx.state() == ActorState::Stopping {
            return;
        }
        match self.order {
            Some(_) => self.settle_or_work(ctx),
            None => self.load(None, ctx),
        }
    }
}

impl Handler<Hear> for OrderActor {
    type Result = ();

    fn handle(&mut self, hear: Hear, ctx: &mut Self::Context) {
        // A message that was on its way to a retiring life is still heard; the order may be open again after it.
        if self.order.is_none() && !self.retiring {
            self.load(Some(hear), ctx);
        } else {
            self.hear(hear, ctx);
        }
    }
}

impl Handler<Stop> for OrderActor {
    type Result = ();

    fn handle(&mut self, _: Stop, ctx: &mut Self::Context) {
        self.desk.clear(ctx, &self.house, self.id);
        // A message that was on its way may have opened the order again: it goes on in a new life.
        if self.order.as_ref().is_some_and(|order| !order.is_settled())
            && self.registry.tell(Revive(self.id)).is_err()
        {
            self.house.undelivered("registry"); // the sweep finds it
        }
        ctx.stop();
    }
}
