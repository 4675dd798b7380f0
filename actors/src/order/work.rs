//! The actor's desk: work under way, reconciled with what the order owes.
//!
//! After every change the list of [`Owed`] items is compared with the desk: what is owed and not on the
//! desk is started, what is on the desk and not owed any more is dropped. A piece of work that ended
//! without discharging its item sleeps (longer each time) and is started again under the same number.

use std::time::Duration;

use actix::{AsyncContext, Context, Handler, SpawnHandle};
use domain::{
    Answer, AttemptNo, ChannelKind, Evidence, EvidenceSource, Found, OrderId, RefundNo,
    channel::{Fault, PrepayAsk, RefundAsk, TradeKey},
    order::{Event, NeverExposed, Order, Owed, RefundState, resume, resume::refused_channels},
    routing::{Choice, RouteNeed},
};
use store::Cause;

use super::{Hear, Look, OrderActor, RegisterPollsAgain, StillOpenAt, Turn};
use crate::{
    gateway,
    house::House,
    poller::{Unwatch, Watch},
    registry::{Deliver, Letter},
};

/// What is on the desk.
#[derive(Default)]
pub(super) struct Desk {
    slots: Vec<Slot>,
    /// The attempt to be hedged without waiting: a probe, or one whose prepay came back empty-handed.
    hedge_at_once: Option<AttemptNo>,
    /// Attempts that were planned in this life: nobody else can have called their channel before.
    planned_here: Vec<AttemptNo>,
    /// Attempts whose prepay was called in this life.
    called: Vec<AttemptNo>,
    /// Parts that moved while they were looked at.
    parts_poked: Vec<u8>,
    /// It is the order's turn to choose a channel after waiting for one.
    released: bool,
}

struct Slot {
    owed: Owed,
    tries: u32,
    doing: Doing,
}

pub(super) enum Doing {
    /// A call is out, or a poller watches.
    Running,
    /// A timer will start it.
    Sleeping(SpawnHandle),
    /// Nothing to do until somebody says so.
    Parked,
    /// It came back; if it is still owed after its event was judged, it is done again.
    Ended,
}

/// A piece of work came back with this event; `again` says whether it may still be owed.
pub(super) struct CameBack {
    pub(super) owed: Owed,
    pub(super) event: Option<Event>,
    pub(super) source: &'static str,
}

impl actix::Message for CameBack {
    type Result = ();
}

impl Desk {
    /// Drops everything.
    pub(super) fn clear(&mut self, ctx: &mut Context<OrderActor>, house: &House, id: OrderId) {
        for slot in self.slots.drain(..) {
            drop_slot(slot, ctx, house, id);
        }
    }

    /// Notes that an attempt was written down in this life.
    pub(super) fn planned(&mut self, no: AttemptNo) {
        self.planned_here.push(no);
    }

    /// What is being done about a part, if anything is owed to it.
    pub(super) fn part(&self, part: u8) -> Option<(&Owed, &Doing)> {
        let of_part = |s: &&Slot| matches!(s.owed, Owed::Part { no, .. } if no == part);
        self.slots.iter().find(of_part).map(|s| (&s.owed, &s.doing))
    }

    /// Notes that a part moved while it was looked at.
    pub(super) fn poked(&mut self, part: u8) {
        self.parts_poked.push(part);
    }

    fn slot(&mut self, owed: &Owed) -> Option<&mut Slot> {
        self.slots.iter_mut().find(|s| s.owed == *owed)
    }
}

/// What an order asks of the routing table; `hedge_of` names the silent attempt.
pub(crate) fn route_need(
    order: &Order,
    last_used: Option<domain::ChannelId>,
    now: domain::Timestamp,
    hedge_of: Option<AttemptNo>,
) -> RouteNeed {
    let recent = |a: &&domain::order::Attempt| {
        now.since(a.planned_at) < Duration::from_secs(2)
            && a.certificate
                .as_ref()
                .is_some_and(|c| matches!(c, domain::order::Certificate::NeverExposed(NeverExposed::NotSent)))
    };
    let want = match &order.wish {
        domain::order::Wish::Switch { to } => to.clone(),
        domain::order::Wish::Collect | domain::order::Wish::Cancel => None,
    };
    let mut exclude = refused_channels(order);
    if let (domain::order::Wish::Switch { to: None }, Some(last)) = (&order.wish, order.attempts.last()) {
        exclude.push(last.channel.clone()); // "another way" is not the same way again
    }
    RouteNeed {
        scene: order.scene(),
        amount: order.request.amount,
        account_type: order.request.payer.account_type.clone(),
        allowed: order.request.channels.clone(),
        consents: order.all_consents().cloned().collect(),
        exclude,
        avoid: order.attempts.iter().filter(recent).map(|a| a.channel.clone()).collect(),
        want,
        last_used,
        direct_ok: order.uncertified().all(domain::order::Attempt::is_calling),
        hedge_of: hedge_of.and_then(|no| order.attempt(no)).map(|a| a.channel.clone()),
    }
}

fn drop_slot(slot: Slot, ctx: &mut Context<OrderActor>, house: &House, id: OrderId) {
    if let Doing::Sleeping(timer) = slot.doing {
        ctx.cancel_future(timer);
    }
    if slot.owed == Owed::Route {
        house.make_up.leave(id);
    }
    if let Owed::Poll(no) = slot.owed {
        // Every poller is told, since the slot does not know the channel; an unknown key is ignored.
        for line in house.lines.values() {
            if line.poller.tell(Unwatch { id, no }).is_err() {
                house.undelivered("poller");
            }
        }
    }
}

/// 1 s, 2 s, 4 s, … up to `max`.
fn backoff(first: Duration, tries: u32, max: Duration) -> Duration {
    first.saturating_mul(2u32.saturating_pow(tries.min(16))).min(max)
}

impl OrderActor {
    /// Compares the desk with what is owed.
    pub(super) fn reconcile(&mut self, ctx: &mut Context<Self>) {
        let Some(order) = &self.order else { return };
        let owed = resume(order, self.house.clock.now());
        let (keep, gone): (Vec<Slot>, Vec<Slot>) =
            std::mem::take(&mut self.desk.slots).into_iter().partition(|s| owed.contains(&s.owed));
        self.desk.slots = keep;
        for slot in gone {
            drop_slot(slot, ctx, &self.house, self.id);
        }
        for item in owed {
            match self.desk.slot(&item).map(|s| matches!(s.doing, Doing::Ended)) {
                Some(false) => {}
                Some(true) => match item {
                    Owed::Prepay(no) => self.after_prepay(no, ctx),
                    item => self.again(&item, ctx),
                },
                None => {
                    self.desk.slots.push(Slot { owed: item.clone(), tries: 0, doing: Doing::Parked });
                    self.begin(item, ctx);
                }
            }
        }
    }

    fn set(&mut self, owed: &Owed, doing: Doing) {
        if let Some(slot) = self.desk.slot(owed) {
            slot.doing = doing;
        }
    }

    /// Starts `owed` after `delay`.
    fn sleep(&mut self, owed: Owed, delay: Duration, ctx: &mut Context<Self>) {
        let item = owed.clone();
        let timer = ctx.run_later(delay, move |actor, ctx| {
            if actor.desk.slot(&item).is_some() {
                actor.perform(item, ctx);
            }
        });
        self.set(&owed, Doing::Sleeping(timer));
    }

    /// Starts a new item: at once, or when its time comes.
    fn begin(&mut self, owed: Owed, ctx: &mut Context<Self>) {
        let now = self.house.clock.now();
        match &owed {
            Owed::Wake(at) => {
                let delay = at.since(now);
                self.sleep(owed, delay, ctx);
            }
            Owed::Hedge(no) => {
                let tuning = self.house.tuning.get();
                if !tuning.hedge_enabled {
                    return; // stays parked; the prepay is repeated under its own number
                }
                let at_once = self.desk.hedge_at_once == Some(*no);
                let after = Duration::from_millis(tuning.hedge_after_ms);
                let due = self.order.as_ref().and_then(|o| o.attempt(*no)).map(|a| a.planned_at.plus(after));
                let delay = if at_once { Duration::ZERO } else { due.map_or(after, |d| d.since(now)) };
                self.sleep(owed, delay, ctx);
            }
            // Closing what nobody can pay is nobody's hurry; payers' calls go first.
            Owed::Tidy(_) => self.sleep(owed, Duration::from_secs(2), ctx),
            Owed::Route
            | Owed::Prepay(_)
            | Owed::Poll(_)
            | Owed::Close(_)
            | Owed::Refund(_)
            | Owed::Part { .. } => {
                self.perform(owed, ctx);
            }
        }
    }

    /// Carries an item out now.
    pub(super) fn perform(&mut self, owed: Owed, ctx: &mut Context<Self>) {
        self.set(&owed, Doing::Running);
        let Some(order) = &self.order else { return };
        match &owed {
            Owed::Route => {
                let waits = order.waiting_since.is_some();
                let turn = !waits || std::mem::take(&mut self.desk.released);
                let choice = turn.then(|| self.choose(order, None));
                let choice = match choice {
                    Some(choice) if !(waits && matches!(choice, Choice::Wait { .. })) => choice,
                    // Not its turn, or nothing is there after all: in the queue it goes by its age.
                    Some(_) | None => {
                        let need = route_need(order, self.last_used.clone(), self.house.clock.now(), None);
                        self.house.make_up.join(self.id, need);
                        return self.again(&owed, ctx);
                    }
                };
                self.house.make_up.leave(self.id);
                if let Choice::Use { hedge_at_once: true, .. } = choice {
                    let next = u8::try_from(order.attempts.len() + 1).ok().and_then(AttemptNo::new);
                    self.desk.hedge_at_once = next;
                }
                ctx.notify(CameBack { owed, event: Some(Event::Routed(choice)), source: "router" });
            }
            Owed::Hedge(no) => {
                let (no, choice) = (*no, self.choose(order, Some(*no)));
                if matches!(choice, Choice::Use { .. }) {
                    ctx.notify(CameBack {
                        owed,
                        event: Some(Event::HedgeDue { no, choice }),
                        source: "router",
                    });
                } else {
                    self.again(&owed, ctx);
                }
            }
            Owed::Wake(_) => ctx.notify(CameBack { owed, event: Some(Event::Tick), source: "clock" }),
            Owed::Prepay(no) => self.call_prepay(*no, ctx),
            Owed::Poll(no) => self.watch(*no),
            Owed::Close(no) | Owed::Tidy(no) => self.call_close(*no, owed, ctx),
            Owed::Refund(no) => self.call_refund(&no.clone(), ctx),
            Owed::Part { no, .. } => {
                let no = *no;
                self.desk.parts_poked.retain(|poked| *poked != no);
                self.carry_part(no, owed, ctx);
            }
        }
    }

    /// The item is still owed after a try: sleep, longer each time.
    fn again(&mut self, owed: &Owed, ctx: &mut Context<Self>) {
        if let Owed::Part { no, .. } = owed
            && self.desk.parts_poked.contains(no)
        {
            return self.perform(owed.clone(), ctx);
        }
        let tries = match self.desk.slot(owed) {
            Some(slot) => {
                slot.tries = slot.tries.saturating_add(1);
                slot.tries - 1
            }
            None => return,
        };
        const SECOND: Duration = Duration::from_secs(1);
        let delay = match owed {
            Owed::Route => Duration::from_millis(self.house.tuning.get().make_up_every_ms),
            Owed::Hedge(_) => backoff(SECOND / 4, tries, SECOND * 4),
            Owed::Prepay(_) => backoff(SECOND / 2, tries, SECOND * 8),
            Owed::Close(_) => backoff(SECOND / 2, tries, SECOND * 30),
            Owed::Tidy(_) => backoff(SECOND * 5, tries, SECOND * 60),
            // What the channel has taken is asked about at leisure; what it has not is sent soon after it is back.
            Owed::Refund(no) => {
                let refund = self.order.as_ref().and_then(|order| order.refund(no));
                let taken = refund.is_some_and(|r| r.state == RefundState::Processing);
                backoff(SECOND, tries, if taken { SECOND * 60 } else { SECOND * 4 })
            }
            Owed::Wake(_) => SECOND * 2,
            Owed::Part { .. } => backoff(super::parts::LOOK_AGAIN, tries, SECOND * 60),
            Owed::Poll(_) => return, // the poller keeps its own schedule
        };
        self.sleep(owed.clone(), delay, ctx);
    }

    /// Asks the routing table; `hedge_of` names the silent attempt.
    fn choose(&self, order: &Order, hedge_of: Option<AttemptNo>) -> Choice {
        let now = self.house.clock.now();
        self.house.routes.choose(&route_need(order, self.last_used.clone(), now, hedge_of))
    }

    fn call_prepay(&mut self, no: AttemptNo, ctx: &mut Context<Self>) {
        let Some(order) = &self.order else { return };
        let Some(attempt) = order.attempt(no) else { return };
        let Some(line) = self.house.lines.get(&attempt.channel) else {
            // A channel that was taken out of the configuration while an order used it; polls cannot help either.
            tracing::error!(order.id = %self.id, channel = %attempt.channel, "the attempt's channel is not configured");
            return self.set(&Owed::Prepay(no), Doing::Parked);
        };
        let request = &order.request;
        let ask = PrepayAsk {
            channel_order_no: order.id.channel_order_no(no),
            planned_at: attempt.planned_at,
            amount: request.amount,
            description: request.description.clone(),
            scene: order.scene(),
            payer_id: request.payer.id.clone(),
            account_type: request.payer.account_type.clone(),
            openid: request.payer.id_at(&attempt.channel).map(str::to_owned),
            client_ip: order.client_ip().map(str::to_owned),
            expires_at: request.expires_at,
        };
        // Only a first call in the life that planned the attempt is known to be the only one.
        let only_call = self.desk.planned_here.contains(&no) && !self.desk.called.contains(&no);
        self.desk.called.push(no);
        let gateway = line.gateway.clone();
        let address = ctx.address();
        let house = self.house.clone();
        actix::spawn(async move {
            let answer = gateway.ask(|reply| gateway::Prepay { ask, reply }).await;
            let event = Event::Prepaid { no, answer, only_call };
            let back = CameBack { owed: Owed::Prepay(no), event: Some(event), source: "prepay" };
            if address.try_send(back).is_err() {
                house.undelivered("order");
            }
        });
    }

    fn watch(&mut self, no: AttemptNo) {
        let Some(order) = &self.order else { return };
        let Some(attempt) = order.attempt(no) else { return };
        let Some(line) = self.house.lines.get(&attempt.channel) else { return };
        let exposed_at = attempt.exposed_at.unwrap_or(attempt.planned_at);
        let (planned_at, expires_at) = (attempt.planned_at, order.request.expires_at);
        let watch = Watch { id: self.id, no, exposed_at, planned_at, expires_at };
        if line.poller.tell(watch).is_err() {
            self.house.undelivered("poller"); // the guardian's rebirth call registers again
        }
    }

    fn call_close(&mut self, no: AttemptNo, owed: Owed, ctx: &mut Context<Self>) {
        let Some(order) = &self.order else { return };
        let Some(attempt) = order.attempt(no) else { return };
        let Some(line) = self.house.lines.get(&attempt.channel) else { return };
        let (gateway, poller) = (line.gateway.clone(), line.poller.clone());
        let leisure = matches!(owed, Owed::Tidy(_));
        let number = order.id.channel_order_no(no);
        let trade = TradeKey { number, planned_at: attempt.planned_at, expires_at: order.request.expires_at };
        let over = leisure && self.house.clock.now() >= order.request.expires_at;
        let (address, house, id) = (ctx.address(), self.house.clone(), self.id);
        actix::spawn(async move {
            let answer = gateway.ask(|reply| gateway::Close { trade, reply }).await;
            let event = match answer {
                Answer::Settled(found) => {
                    let reference = String::new();
                    let evidence = Evidence { source: EvidenceSource::Close, reference, found };
                    Event::Found { no, evidence }
                }
                // "Paid" or "unknown state": the query has the last word, and it should come soon.
                Answer::Declined(ref refusal) if !leisure => {
                    if refusal.fault == Fault::State
                        && poller.tell(crate::poller::Hint { id, no, look: Look::Soon }).is_err()
                    {
                        house.undelivered("poller");
                    }
                    Event::CloseUnanswered { no }
                }
                Answer::Accepted(_) | Answer::NeverSent(_) | Answer::Silent(_) if !leisure => {
                    Event::CloseUnanswered { no }
                }
                Answer::Declined(_) | Answer::Accepted(_) => Event::TidyDone { no },
                // Unanswered until the order's own end: the channel closes what is left by itself.
                Answer::NeverSent(_) | Answer::Silent(_) if over => Event::TidyDone { no },
                Answer::NeverSent(_) | Answer::Silent(_) => {
                    let back = CameBack { owed, event: None, source: "close" };
                    if address.try_send(back).is_err() {
                        house.undelivered("order");
                    }
                    return;
                }
            };
            if address.try_send(CameBack { owed, event: Some(event), source: "close" }).is_err() {
                house.undelivered("order");
            }
        });
    }

    /// Sends the refund, or asks about it once the channel has taken it. Both are safe to repeat.
    fn call_refund(&mut self, refund_no: &RefundNo, ctx: &mut Context<Self>) {
        let Some(order) = &self.order else { return };
        let Some(refund) = order.refund(refund_no) else { return };
        let Some(attempt) = order.attempt(refund.attempt) else { return };
        let Some(line) = self.house.lines.get(&attempt.channel) else { return };
        let tries =
            self.desk.slots.iter().find(|s| s.owed == Owed::Refund(refund_no.clone())).map_or(0, |s| s.tries);
        // A refund that was taken is asked about; every third time it is sent again, in case the channel
        // has lost it ("not found"): the same number makes that the same refund.
        let send = refund.state == RefundState::Booked || tries % 3 == 2;
        let ask = RefundAsk {
            refund_no: refund.no.clone(),
            booked_at: refund.booked_at,
            trade_no: attempt.capture.as_ref().map(|c| c.trade_no.clone()).unwrap_or_default(),
            channel_order_no: order.id.channel_order_no(refund.attempt),
            amount: refund.amount,
            captured: attempt.capture.as_ref().map_or(refund.amount, |c| c.amount),
            reason: refund.reason.clone(),
        };
        let gateway = line.gateway.clone();
        let (address, house, refund_no) = (ctx.address(), self.house.clone(), refund_no.clone());
        actix::spawn(async move {
            let answer = if send {
                gateway.ask(|reply| gateway::Refund { ask, reply }).await
            } else {
                gateway.ask(|reply| gateway::RefundQuery { ask, reply }).await
            };
            let owed = Owed::Refund(refund_no.clone());
            let event = Some(Event::RefundAnswered { refund_no, answer });
            if address.try_send(CameBack { owed, event, source: "refund" }).is_err() {
                house.undelivered("order");
            }
        });
    }

    /// A prepay that came back empty-handed: hedge now, and repeat the call unless it is a direct one.
    fn after_prepay(&mut self, no: AttemptNo, ctx: &mut Context<Self>) {
        let direct =
            self.order.as_ref().and_then(|o| o.attempt(no)).is_some_and(|a| a.kind == ChannelKind::Direct);
        if direct {
            self.set(&Owed::Prepay(no), Doing::Parked); // the poller asks; "not found" starts it again
            return;
        }
        self.again(&Owed::Prepay(no), ctx);
        let hedge = Owed::Hedge(no);
        if let Some(Slot { doing: Doing::Sleeping(timer), .. }) = self.desk.slot(&hedge) {
            let timer = *timer;
            ctx.cancel_future(timer);
            self.perform(hedge, ctx);
        }
    }
}

impl Handler<CameBack> for OrderActor {
    type Result = ();

    fn handle(&mut self, back: CameBack, ctx: &mut Self::Context) {
        let CameBack { owed, event, source } = back;
        match event {
            Some(event) => {
                let cause = Cause {
                    event: event.label().to_owned(),
                    source: source.to_owned(),
                    reference: String::new(),
                };
                self.set(&owed, Doing::Ended);
                self.hear(Hear { event, cause, reply: None }, ctx);
            }
            None => self.again(&owed, ctx),
        }
    }
}

impl Handler<StillOpenAt> for OrderActor {
    type Result = ();

    fn handle(&mut self, still: StillOpenAt, ctx: &mut Self::Context) {
        let (now, rules) = (self.house.clock.now(), self.house.tuning.rules());
        if still.not_found && self.order.as_ref().is_some_and(|o| o.is_gone(still.no, now, &rules)) {
            let reference = "no such trade, after its end".to_owned();
            let evidence = Evidence { source: EvidenceSource::Query, reference, found: Found::Closed };
            let event = Event::Found { no: still.no, evidence };
            let cause = Cause::new(event.label(), "query", "no such trade, after its end");
            return self.hear(Hear { event, cause, reply: None }, ctx);
        }
        let prepay = Owed::Prepay(still.no);
        let parked = self.desk.slot(&prepay).is_some_and(|s| matches!(s.doing, Doing::Parked));
        if still.not_found && parked {
            // The direct call never arrived; its number makes the repeat the same request.
            self.perform(prepay, ctx);
        }
        if self.order.is_some() && self.desk.slot(&Owed::Poll(still.no)).is_none() {
            drop_slot(
                Slot { owed: Owed::Poll(still.no), tries: 0, doing: Doing::Running },
                ctx,
                &self.house,
                self.id,
            );
        }
    }
}

impl Handler<Look> for OrderActor {
    type Result = ();

    fn handle(&mut self, look: Look, _: &mut Self::Context) {
        let Some(order) = &self.order else { return };
        if let Some(part) = order.current_part() {
            let there = Deliver { id: part.id, letter: Letter::Look(look) };
            if self.house.registry(part.id).is_none_or(|r| r.tell(there).is_err()) {
                self.house.undelivered("registry");
            }
        }
        for attempt in order.uncertified() {
            if let Some(line) = self.house.lines.get(&attempt.channel)
                && line.poller.tell(crate::poller::Hint { id: self.id, no: attempt.no, look }).is_err()
            {
                self.house.undelivered("poller");
            }
        }
    }
}

impl Handler<Turn> for OrderActor {
    type Result = ();

    fn handle(&mut self, _: Turn, ctx: &mut Self::Context) {
        if let Some(Slot { doing: Doing::Sleeping(timer), .. }) = self.desk.slot(&Owed::Route) {
            let timer = *timer;
            ctx.cancel_future(timer);
            self.desk.released = true;
            self.perform(Owed::Route, ctx);
        }
    }
}

impl Handler<RegisterPollsAgain> for OrderActor {
    type Result = ();

    fn handle(&mut self, _: RegisterPollsAgain, _: &mut Self::Context) {
        let polls: Vec<AttemptNo> = self
            .desk
            .slots
            .iter()
            .filter_map(|s| if let Owed::Poll(no) = s.owed { Some(no) } else { None })
            .collect();
        for no in polls {
            self.watch(no);
        }
    }
}
