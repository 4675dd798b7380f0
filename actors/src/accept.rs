//! Accepting orders: one commit, then an actor. Also the parts of a split order, which are begun by the whole.

use std::sync::Arc;

use domain::{
    ChannelId, ChannelKind, OrderId, Scene, Timestamp,
    order::{self, Decision, Event, Fact, Order, OrderRequest, PartPlan, decide},
    routing::Choice,
    splitting,
};
use store::{AppendError, Cause};

use crate::{
    causes::causes,
    house::House,
    intake::IntakeSlot,
    journal::JournalError,
    order::{entry, publish, route_need},
    registry::Adopt,
    service::OrderBody,
    view::OrderView,
};

/// An order is durable.
#[derive(Debug, Clone)]
pub struct Accepted {
    /// Its id.
    pub id: OrderId,
    /// False if the same order had been accepted before.
    pub fresh: bool,
    /// The order as it stands.
    pub view: OrderBody,
}

/// Why an order was not accepted. Nothing was stored, except where it says "unknown".
#[derive(Debug, thiserror::Error)]
pub enum AcceptError {
    /// The merchant used this number for another order.
    #[error("order_no was used for another order, {existing}")]
    Conflict {
        /// The other order.
        existing: OrderId,
    },
    /// Too many orders wait for a channel. Try again after this many seconds.
    #[error("too many orders wait for a channel")]
    Full {
        /// When to try again.
        retry_after_s: u64,
    },
    /// Nobody knows whether it is durable; the same body again finds out.
    #[error("the store did not confirm the order")]
    Unknown,
    /// It would take more payments than anybody should be asked for.
    #[error(transparent)]
    TooLarge(splitting::SplitError),
    /// The store takes nothing at the moment.
    #[error("the store takes no orders at the moment")]
    Unavailable(#[source] JournalError),
}

/// What became of an order that was to be accepted.
pub(crate) enum Taken {
    /// It is durable and has its actor.
    New(OrderBody),
    /// The same order had been accepted before, under this id.
    Before(OrderId),
}

/// Makes an order durable under `id` and gives it an actor. Repeating is safe: the merchant's number and the body's hash
/// tell the same order from another.
///
/// # Errors
/// [`AcceptError`]; never `Full`, the bound is the caller's.
pub(crate) async fn accept(
    house: &Arc<House>,
    (id, mut request): (OrderId, OrderRequest),
    body_hash: &str,
    intake: Option<IntakeSlot>,
) -> Result<Taken, AcceptError> {
    let now = house.clock.now();
    let last_used = remember(house, &mut request).await;
    let request = Arc::new(request);
    let (order, facts) = match parts(house, &request, now)? {
        Some(parts) => {
            let Decision { next, facts } = order::accept_split(id, request, parts, now);
            (next, facts)
        }
        None => first_step(house, order::accept(id, request, now), last_used.clone(), now),
    };
    let order = Arc::new(order);
    let cause = Cause::new("accepted", "api", "");
    let entry = entry(&order, facts, cause, now, Vec::new(), Some(body_hash.to_owned()));
    match house.journal.append(entry).await {
        Ok(_) => {}
        Err(JournalError::Refused(AppendError::Duplicate { existing, body_hash: first })) => {
            return if first == body_hash {
                Ok(Taken::Before(existing))
            } else {
                Err(AcceptError::Conflict { existing })
            };
        }
        Err(JournalError::Unknown) => return Err(AcceptError::Unknown),
        Err(error) => return Err(AcceptError::Unavailable(error)),
    }
    house.stats.accepted.one();
    let json: Arc<[u8]> = OrderView::json(&order).into();
    let view = OrderBody { version: order.version, json };
    publish(house, &order, &[]);
    let adopt = Adopt { order: Box::new(Arc::unwrap_or_clone(order)), last_used, intake };
    if house.registry(id).is_none_or(|r| r.tell(adopt).is_err()) {
        house.undelivered("registry"); // durable all the same: the sweep finds it
    }
    Ok(Taken::New(view))
}

/// The parts of an order that no channel takes in one payment; `None` if one does.
fn parts(
    house: &House,
    request: &OrderRequest,
    now: Timestamp,
) -> Result<Option<Vec<PartPlan>>, AcceptError> {
    let limit = splitting::limit_of(request, house.lines.values().map(|line| &line.profile));
    // A part is never split again, whatever became of the limits meanwhile; with no usable channel there is no limit.
    if request.part_of.is_some() || limit.is_zero() || request.amount <= limit {
        return Ok(None);
    }
    let amounts = splitting::split(request.amount, limit).map_err(AcceptError::TooLarge)?;
    let id = || OrderId::from_u128(house.new_id(now).as_u128());
    Ok(Some(amounts.into_iter().map(|amount| PartPlan { id: id(), amount }).collect()))
}

/// What is known of the payer: the channel to offer first (the cache, filled from the store after the start), and ids
/// at channels that this order did not bring along. Those are read only where they decide something: in a mini
/// program's scene that more than one channel could serve. A store that cannot be read costs a payer a tap.
async fn remember(house: &House, request: &mut OrderRequest) -> Option<ChannelId> {
    let cached = house.cache.payer_channel_get(&request.payer.id).await;
    let serves = |line: &&crate::house::Line| {
        line.profile.kind == ChannelKind::Credential && request.may_use(&line.profile)
    };
    let bare = request.scene == Scene::Jsapi && request.payer.accounts.is_empty();
    if !bare || house.lines.values().filter(serves).count() < 2 {
        return cached;
    }
    match house.store.payer(&request.payer.id).await {
        Ok(Some(known)) => {
            request.payer.accounts.extend(known.accounts);
            cached.or(Some(known.last_channel))
        }
        Ok(None) => cached,
        Err(error) => {
            tracing::warn!(error = %causes(&error), "a payer's profile cannot be read");
            cached
        }
    }
}

/// The acceptance, with the first attempt's plan in the same commit where the route is plain: one commit less
/// for nearly every order. A direct channel, a probe and a missing channel are the actor's business.
fn first_step(
    house: &House,
    accepted: Decision,
    last_used: Option<ChannelId>,
    now: Timestamp,
) -> (Order, Vec<Fact>) {
    let Decision { mut facts, next: order } = accepted;
    let choice = house.routes.choose(&route_need(&order, last_used, now, None));
    if !matches!(choice, Choice::Use { kind: ChannelKind::Credential, hedge_at_once: false, .. }) {
        return (order, facts);
    }
    match decide(&order, &Event::Routed(choice), now, &house.tuning.get().rules()) {
        Ok(planned) => {
            facts.extend(planned.facts);
            // One commit, one version.
            (Order { version: order.version, ..planned.next }, facts)
        }
        Err(_) => (order, facts),
    }
}
