//! A split order's work: begin the part whose turn it is, tell parts what they are to be told, look at them.
//!
//! The rows are the truth: a part is looked at in the store, and what was seen is an event of the whole. A part that
//! moves pokes the whole's actor; a lost poke costs the pause until the next look. Everything is repeated under the
//! same numbers: a part's id stands in the whole's history before the part exists.

use std::{sync::Arc, time::Duration};

use actix::{AsyncContext as _, Context, Handler, Message};
use domain::{
    OrderId,
    order::{Event, Fact, Order, Owed, PartSeen},
};
use store::Cause;
use tracing::warn;

use super::{
    OrderActor,
    work::{CameBack, Doing},
};
use crate::{
    accept::accept,
    causes::causes,
    house::House,
    registry::{Deliver, Letter},
    service::hear,
};

/// A part of this order moved. Sent by the part's actor.
#[derive(Message, Clone, Copy)]
#[rtype(result = "()")]
pub(crate) struct PartPoke(pub(crate) u8);

/// How long a part is left alone when nobody pokes: poking is the ordinary way.
pub(super) const LOOK_AGAIN: Duration = Duration::from_secs(5);

/// Tells the whole that a part moved, if it did in a way that concerns the whole.
pub(super) fn poke_whole(house: &House, part: &Order, facts: &[Fact]) {
    let Some(of) = part.request.part_of else { return };
    let concerns = |fact: &Fact| {
        matches!(fact, Fact::StateChanged { .. } | Fact::RefundSucceeded { .. } | Fact::RefundFailed { .. })
    };
    if !facts.iter().any(concerns) {
        return;
    }
    let poke = Deliver { id: of.order, letter: Letter::PartPoke(PartPoke(of.no)) };
    if house.registry(of.order).is_none_or(|r| r.tell(poke).is_err()) {
        house.undelivered("registry"); // the whole looks again by itself
    }
}

impl OrderActor {
    /// Carries a part forward; comes back with what was seen of it.
    pub(super) fn carry_part(&mut self, no: u8, owed: Owed, ctx: &mut Context<Self>) {
        let Some(order) = &self.order else { return };
        let Some((part, request)) = order.part(no).zip(order.part_request(no)) else { return };
        let (id, duty) = (part.id, order.part_duty(no));
        let (house, address, whole) = (self.house.clone(), ctx.address(), self.id);
        actix::spawn(async move {
            let event = match begin_and_tell(&house, whole, (id, request), duty).await {
                Ok(seen) => Some(Event::PartSeen { no, seen }),
                Err(problem) => {
                    warn!(order.id = %whole, part = no, problem, "a part could not be carried forward; again soon");
                    None
                }
            };
            if address.try_send(CameBack { owed, event, source: "part" }).is_err() {
                house.undelivered("order");
            }
        });
    }
}

async fn begin_and_tell(
    house: &Arc<House>,
    whole: OrderId,
    (id, request): (OrderId, Arc<domain::order::OrderRequest>),
    duty: Vec<Event>,
) -> Result<PartSeen, String> {
    let load = || async { house.store.order_load(id).await.map_err(|e| causes(&e).to_string()) };
    match load().await? {
        Some(part) if duty.is_empty() => return Ok(PartSeen::of(&part)),
        Some(_) => {}
        None => {
            // The hash says "this part of this order"; a repeat after a crash finds the first.
            let hash = format!("part {id} of {whole}");
            let accepted = accept(house, (id, Arc::unwrap_or_clone(request)), &hash, None).await;
            accepted.map_err(|e| causes(&e).to_string())?;
        }
    }
    for event in duty {
        let cause = Cause::new(event.label(), "whole", &whole.to_string());
        if let Err(declined) = hear(house, id, event, cause).await {
            // "Paid already", "ended already": what is seen afterwards says what that means for the whole.
            tracing::debug!(order.id = %id, %declined, "a part declined");
        }
    }
    load().await?.map(|part| PartSeen::of(&part)).ok_or_else(|| "the part is not in the store".to_owned())
}

impl Handler<PartPoke> for OrderActor {
    type Result = ();

    fn handle(&mut self, poke: PartPoke, ctx: &mut Self::Context) {
        match self.desk.part(poke.0) {
            Some((owed, Doing::Sleeping(timer))) => {
                let (owed, timer) = (owed.clone(), *timer);
                ctx.cancel_future(timer);
                self.perform(owed, ctx);
            }
            // The look under way may have come a moment too early.
            Some((_, Doing::Running)) => self.desk.poked(poke.0),
            Some((_, Doing::Parked | Doing::Ended)) | None => {}
        }
    }
}
