//! Confirmed fixes: looked at once more, committed, carried out, and repeated until they are final.
//!
//! A mark is evidence to the order, under the bill's name; the order's rules do the rest. A refund that the order does not
//! know, since the store was restored, is taken over by it. A refund of ours goes out under a number
//! that was committed before, and is asked about before it is sent again, so that a crash anywhere costs a call and never
//! a fen. A fix that does not fit what is there now is refused with what is there, and the difference is stale.

use domain::{
    Answer, AttemptNo, Capture, ChannelId, ChannelOrderNo, Evidence, EvidenceSource, Found, Money, OrderId,
    RefundNo,
    channel::{Fault, RefundAnswer, RefundAsk, RefundFound, RefundProgress},
    order::{Attempt, Event, Order, PartSeen, RefundState},
    reconciliation::{
        DifferenceKind, DifferenceState, Fix, Subject,
        fix::{Confirmed, Unconfirmed, confirm},
    },
};
use store::{Cause, Difference, DifferenceFilter, DifferenceStep};
use tracing::{info, warn};

use super::{Confirmation, Inner, WorkError};
use crate::{gateway, order::HearError};

/// Fixes that are read at once.
const RESUMED: usize = 100;

/// Why a confirmation had no effect. Nothing changed, except that a stale difference is stale now.
#[derive(Debug, thiserror::Error)]
pub enum ConfirmError {
    /// No such difference.
    #[error("no such difference")]
    NotFound,
    /// This difference has no such fix.
    #[error("{0}")]
    NoSuchFix(&'static str),
    /// Who, or when, or which fix.
    #[error(transparent)]
    Unconfirmed(#[from] Unconfirmed),
    /// The fix does not apply any more; this is what is there now.
    #[error("{present}")]
    Stale {
        /// The present state in a sentence.
        present: String,
    },
    /// The store did not answer: ask again, and look first.
    #[error("the store did not answer")]
    Store(#[from] store::Error),
    /// The reconciler is being restarted: the same again.
    #[error("the reconciler cannot be reached at the moment")]
    Busy,
}

/// What became of a try to carry a fix out.
enum Tried {
    Done(String),
    /// For good, in this way: an operator decides again.
    Failed(String),
    /// The next round tries again, under the same number.
    Again(String),
}

/// The attempt behind a number of ours.
fn parts(difference: &Difference) -> Option<(OrderId, AttemptNo)> {
    ChannelOrderNo::new(&difference.found.number).ok()?.parts()
}

fn step(from: DifferenceState, to: DifferenceState, d: &Difference, act: &'static str) -> DifferenceStep {
    DifferenceStep {
        from,
        to,
        chosen: d.chosen,
        first_by: d.first_by.clone(),
        second_by: d.second_by.clone(),
        refund_no: d.refund_no.clone(),
        outcome: d.outcome.clone(),
        at: d.changed_at,
        by: "reconciliation".to_owned(),
        act,
        note: String::new(),
        tells: false,
    }
}

impl Inner {
    /// An operator confirms: see the head of this file.
    pub(super) async fn confirm(&self, id: i64, asked: &Confirmation) -> Result<Difference, ConfirmError> {
        let difference = self.house.store.bills().difference(id).await?.ok_or(ConfirmError::NotFound)?;
        let fix = asked.fix.unwrap_or(difference.found.fix);
        possible(&difference, fix, asked)?;
        let second_above = self.house.tuning.get().reconcile_second_above_fen;
        let second_above = i64::try_from(second_above).unwrap_or(i64::MAX);
        let first = difference.first_by.as_deref().zip(difference.chosen);
        let fen = difference.found.fix_fen;
        let confirmed = confirm(difference.state, fen, second_above, first, &asked.operator, fix)?;
        let order = self.order_of(&difference).await?;
        let now = self.house.clock.now();
        let by_operator = |to: DifferenceState, act: &'static str, note: String| DifferenceStep {
            at: now,
            by: asked.operator.clone(),
            chosen: Some(fix),
            note,
            ..step(difference.state, to, &difference, act)
        };
        if let Some(present) = present(&difference, order.as_ref()) {
            let stale = by_operator(DifferenceState::Stale, "stale", present.clone());
            self.house
                .store
                .bills()
                .difference_step(id, &DifferenceStep { outcome: Some(present.clone()), ..stale })
                .await?;
            return Err(ConfirmError::Stale { present });
        }
        let note = asked.note.clone();
        let mut next = match (confirmed, fix) {
            (Confirmed::Once, _) => by_operator(DifferenceState::ConfirmedOnce, "confirmed_first", note),
            (Confirmed::Enough, Fix::WriteOff) => DifferenceStep {
                outcome: Some(asked.note.clone()),
                ..by_operator(DifferenceState::WrittenOff, "written_off", note)
            },
            (Confirmed::Enough, Fix::Mark | Fix::Refund) => {
                by_operator(DifferenceState::Fixing, "confirmed", note)
            }
        };
        if difference.first_by.is_none() {
            next.first_by = Some(asked.operator.clone());
        } else {
            next.second_by = Some(asked.operator.clone());
        }
        if next.to == DifferenceState::Fixing && fix == Fix::Refund {
            // Before the channel is called, and never the same as that of an earlier try that failed for good.
            let tries = self.house.store.bills().difference_acts(id).await?.len();
            next.refund_no = Some(format!("rc{}{id:010}{tries:02}", difference.day.replace('-', "")));
        }
        if !self.house.store.bills().difference_step(id, &next).await? {
            let present =
                self.house.store.bills().difference(id).await?.map_or(difference.state, |d| d.state);
            return Err(ConfirmError::Unconfirmed(Unconfirmed::NotOpen(present)));
        }
        info!(
            difference = id,
            operator = asked.operator,
            fix = fix.as_str(),
            state = next.to.as_str(),
            "an operator confirmed a fix"
        );
        let confirmed = self.house.store.bills().difference(id).await?.ok_or(ConfirmError::NotFound)?;
        if confirmed.state == DifferenceState::Fixing {
            self.carry_out(&confirmed).await?;
        }
        self.house.store.bills().difference(id).await?.ok_or(ConfirmError::NotFound)
    }

    /// Goes on with everything that was confirmed and is not final.
    pub(super) async fn resume_fixes(&self) -> Result<(), WorkError> {
        let mut under_way = Vec::new();
        let mut fixing = DifferenceFilter {
            states: vec![DifferenceState::Fixing],
            limit: RESUMED,
            ..DifferenceFilter::default()
        };
        loop {
            let page = self.house.store.bills().differences_list(&fixing).await?;
            let Some(last) = page.last() else { break };
            fixing.after = last.id;
            for difference in page {
                if self.house.is_closing() {
                    return Ok(());
                }
                if !self.carry_out(&difference).await? {
                    under_way.push(difference);
                }
            }
        }
        let now = self.house.clock.now();
        self.overdue.borrow_mut().show(&under_way, self.work.channels().map(ChannelId::as_str), now);
        Ok(())
    }

    async fn order_of(&self, difference: &Difference) -> Result<Option<Order>, store::Error> {
        match difference.found.order {
            Some(id) => self.house.store.order_load(id).await,
            None => Ok(None),
        }
    }

    /// True if it has ended, in whatever way.
    async fn carry_out(&self, difference: &Difference) -> Result<bool, store::Error> {
        let order = self.order_of(difference).await?;
        let tried = match (difference.chosen, difference.found.subject) {
            (Some(Fix::Mark), Subject::Payment) => self.mark_payment(difference).await,
            (Some(Fix::Mark), Subject::Refund) => self.mark_refund(difference).await,
            (Some(Fix::Refund), _) => self.refund(difference, order.as_ref()).await,
            (Some(Fix::WriteOff) | None, _) => Tried::Failed("there is nothing to carry out".to_owned()),
        };
        let (to, act, note) = match tried {
            Tried::Done(note) => (DifferenceState::Fixed, "fixed", note),
            Tried::Failed(note) => (DifferenceState::Open, "failed", note),
            Tried::Again(why) => {
                info!(difference = difference.id, why, "a fix goes on in the next round");
                return Ok(false);
            }
        };
        let mut ended = step(DifferenceState::Fixing, to, difference, act);
        if to == DifferenceState::Open {
            warn!(difference = difference.id, note, "a fix failed; an operator decides again");
            (ended.chosen, ended.first_by, ended.second_by) = (None, None, None);
        }
        (ended.at, ended.outcome, ended.note) = (self.house.clock.now(), Some(note.clone()), note);
        self.house.store.bills().difference_step(difference.id, &ended).await?;
        Ok(true)
    }

    async fn mark_payment(&self, difference: &Difference) -> Tried {
        let found = &difference.found;
        let (Some((id, no)), Some(amount), Some(at)) =
            (parts(difference), found.theirs_fen.and_then(|fen| Money::from_fen(fen).ok()), found.at)
        else {
            return Tried::Failed("the bill's line names no attempt, amount and moment".to_owned());
        };
        let capture = Capture { amount, trade_no: found.trade_no.clone(), at };
        let evidence = Evidence {
            source: EvidenceSource::Bill,
            reference: reference(difference),
            found: Found::Captured(capture),
        };
        self.hear(id, Event::Found { no, evidence }, difference).await
    }

    async fn mark_refund(&self, difference: &Difference) -> Tried {
        let found = &difference.found;
        let (Some(id), Ok(refund_no), Some(amount), Some(at)) = (
            found.order,
            RefundNo::new(&found.number),
            found.theirs_fen.and_then(|fen| Money::from_fen(fen).ok()),
            found.at,
        ) else {
            return Tried::Failed("the bill's line names no refund, amount and moment".to_owned());
        };
        let channel_refund_id = found.trade_no.clone();
        if let Some(attempt) = &found.adopts {
            let Some((_, no)) = ChannelOrderNo::new(attempt).ok().and_then(|number| number.parts()) else {
                return Tried::Failed(format!("{attempt} is no number of an attempt"));
            };
            let event = Event::RefundAdopted { refund_no, no, amount, channel_refund_id, at };
            return match self.hear(id, event, difference).await {
                Tried::Done(note) => self.tell_whole(id, note, difference).await,
                other => other,
            };
        }
        let answer = Answer::Settled(RefundFound::Succeeded { channel_refund_id, amount, at });
        self.hear(id, Event::RefundAnswered { refund_no, answer }, difference).await
    }

    /// The whole of a part that took a refund over hears of it before the fix is done: nothing else would make it look.
    async fn tell_whole(&self, id: OrderId, note: String, difference: &Difference) -> Tried {
        let part = match self.house.store.order_load(id).await {
            Ok(Some(part)) => part,
            Ok(None) => return Tried::Failed(format!("order {id} is not in the store")),
            Err(error) => return Tried::Again(error.to_string()),
        };
        let Some(of) = part.request.part_of else { return Tried::Done(note) };
        let event = Event::PartSeen { no: of.no, seen: PartSeen::of(&part) };
        match self.hear(of.order, event, difference).await {
            Tried::Done(_) => Tried::Done(note),
            other => other,
        }
    }

    async fn hear(&self, id: OrderId, event: Event, difference: &Difference) -> Tried {
        let by = difference.second_by.as_deref().or(difference.first_by.as_deref()).unwrap_or_default();
        let cause = Cause::new(event.label(), by, &reference(difference));
        match self.service.hear(id, event, cause).await {
            Ok(heard) => Tried::Done(format!("order {id} is {}", heard.state.as_str())),
            Err(error @ (HearError::Busy | HearError::Unconfirmed)) => Tried::Again(error.to_string()),
            Err(error @ (HearError::NotFound | HearError::Rejected(_))) => Tried::Failed(error.to_string()),
        }
    }

    async fn refund(&self, difference: &Difference, order: Option<&Order>) -> Tried {
        let ask = match refund_ask(difference, order) {
            Ok(ask) => ask,
            Err(why) => return Tried::Failed(why.to_owned()),
        };
        let line = ChannelId::new(&difference.channel).ok().and_then(|id| self.house.lines.get(&id));
        let Some(line) = line else { return Tried::Again("the channel is not configured".to_owned()) };
        let asked = line.gateway.ask(|reply| gateway::RefundQuery { ask: ask.clone(), reply }).await;
        // A refund that the channel does not know is sent, again if it was sent before: its number makes it the same.
        let answer = match asked {
            Answer::Accepted(RefundProgress::NotFound) | Answer::Declined(_) => {
                line.gateway.ask(|reply| gateway::Refund { ask: ask.clone(), reply }).await
            }
            other => other,
        };
        outcome(&ask, answer)
    }
}

fn outcome(ask: &RefundAsk, answer: RefundAnswer) -> Tried {
    match answer {
        Answer::Settled(RefundFound::Succeeded { channel_refund_id, amount, .. }) => {
            Tried::Done(format!("{} fen went back as {} ({channel_refund_id})", amount.fen(), ask.refund_no))
        }
        Answer::Settled(RefundFound::Failed { code }) => {
            Tried::Failed(format!("the channel gave up on {}: {code}", ask.refund_no))
        }
        Answer::Declined(refusal) if refusal.fault != Fault::Channel => Tried::Failed(format!(
            "the channel refuses {}: {} {}",
            ask.refund_no, refusal.code, refusal.message
        )),
        Answer::Declined(refusal) => Tried::Again(refusal.code),
        Answer::Accepted(_) => Tried::Again("the channel works on it".to_owned()),
        Answer::NeverSent(why) | Answer::Silent(why) => Tried::Again(why),
    }
}

/// What to look up: the line of the bill.
fn reference(difference: &Difference) -> String {
    let line = difference.found.line.map(|line| format!(" line {line}")).unwrap_or_default();
    format!("bill {} {}{line}, difference {}", difference.channel, difference.day, difference.id)
}

/// Whether the difference has such a fix at all.
fn possible(difference: &Difference, fix: Fix, asked: &Confirmation) -> Result<(), ConfirmError> {
    let found = &difference.found;
    let why = match fix {
        Fix::Mark if found.order.is_none() || found.theirs_fen.is_none_or(|fen| fen <= 0) => {
            "there is no order that the bill's line could be told to; it can be refunded or written off"
        }
        // Money of an order goes back through the order: mark it first, and the order's rules decide.
        Fix::Refund if found.fix != Fix::Refund => "there is nothing to refund beside an order",
        Fix::WriteOff if asked.note.trim().is_empty() => "a write-off needs a note that says why",
        Fix::Mark | Fix::Refund | Fix::WriteOff => return Ok(()),
    };
    Err(ConfirmError::NoSuchFix(why))
}

/// What is there now, if it is not what the difference was found from any more.
fn present(difference: &Difference, order: Option<&Order>) -> Option<String> {
    let (found, order) = (&difference.found, order?);
    if found.kind == DifferenceKind::Fee {
        return None; // about what the channel kept, whatever became of the order
    }
    let state = order.state.as_str();
    match found.subject {
        Subject::Payment => {
            let attempt: &Attempt = order.attempt(parts(difference)?.1)?;
            let held = attempt.capture.as_ref().map(|capture| capture.amount.fen());
            (attempt.channel.as_str() == difference.channel && held != found.ours_fen).then(|| {
                let held = held.map_or_else(|| "nothing".to_owned(), |fen| format!("{fen} fen"));
                format!(
                    "order {} is {state} and its attempt holds {held}; the difference was found when it was not so",
                    order.id
                )
            })
        }
        Subject::Refund => {
            let refund = order.refund(&RefundNo::new(&found.number).ok()?)?;
            let back = (refund.state == RefundState::Succeeded).then(|| refund.amount.fen());
            // What was to be taken over is there meanwhile: what it says now is for the rules, and not for this fix.
            (back != found.ours_fen || found.adopts.is_some()).then(|| {
                format!(
                    "refund {} of order {} is {}; the difference was found when it was not so",
                    refund.no,
                    order.id,
                    refund.state.as_str()
                )
            })
        }
    }
}

/// The refund that a fix sends; the same in every try.
fn refund_ask(difference: &Difference, order: Option<&Order>) -> Result<RefundAsk, &'static str> {
    let found = &difference.found;
    let own = difference.refund_no.as_deref().and_then(|no| RefundNo::new(no).ok());
    let own = own.ok_or("the refund has no number")?;
    let fen = Money::from_fen(found.fix_fen).map_err(|_| "the amount is negative")?;
    if found.subject == Subject::Payment {
        let captured =
            found.theirs_fen.and_then(|fen| Money::from_fen(fen).ok()).ok_or("nothing was taken")?;
        return Ok(RefundAsk {
            refund_no: own,
            booked_at: difference.changed_at,
            channel_order_no: ChannelOrderNo::new(&found.number)
                .map_err(|_| "the number cannot be refunded")?,
            trade_no: found.trade_no.clone(),
            amount: fen,
            captured,
            reason: "reconciliation".to_owned(),
        });
    }
    let order = order.ok_or("the refund belongs to no order")?;
    let refund_no = RefundNo::new(&found.number).map_err(|_| "the number is not a refund's")?;
    let refund = order.refund(&refund_no).ok_or("the order has no such refund")?;
    let capture = order.attempt(refund.attempt).and_then(|a| a.capture.as_ref());
    let capture = capture.ok_or("the attempt captured nothing")?;
    // A refund that the channel lost is the same one again; what it gave too little is one of its own.
    let (refund_no, booked_at) =
        if found.theirs_fen.is_none() { (refund_no, refund.booked_at) } else { (own, difference.changed_at) };
    Ok(RefundAsk {
        refund_no,
        booked_at,
        channel_order_no: order.id.channel_order_no(refund.attempt),
        trade_no: capture.trade_no.clone(),
        amount: fen,
        captured: capture.amount,
        reason: refund.reason.clone(),
    })
}
