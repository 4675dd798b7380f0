//! The rules, held against every pair, many stories and any order of events.
//!
//! [`Desk`] plays the actor: it decides, keeps the facts as the store would (through JSON), and after every
//! step checks what must hold whatever happened. So each story and each random walk also tests those.

mod properties;
mod stories;
mod table;

use std::{sync::Arc, time::Duration};

use super::*;
use crate::{
    Answer, Capture, ChannelKind, Credential, Evidence, EvidenceSource, Found, Refusal,
    books::{Posting, postings},
    channel::{Fault, PrepayAnswer, RefundAnswer, RefundFound},
    routing::Choice,
};

/// What every order here asks for, in fen.
const AMOUNT: i64 = 1_850;
/// The payer may pay until so many seconds after acceptance.
const EXPIRES: i64 = 900;
/// An order is suspicious from here if it still waits for a certificate.
const GRACE_OVER: i64 = EXPIRES + 60;

/// So many seconds after acceptance.
fn at(secs: i64) -> Timestamp {
    Timestamp::from_secs(1_800_000_000 + secs)
}

fn fen(fen: i64) -> Money {
    Money::from_fen(fen).unwrap()
}

fn channel(name: &str) -> ChannelId {
    ChannelId::new(name).unwrap()
}

fn no(no: u8) -> AttemptNo {
    AttemptNo::new(no).unwrap()
}

fn order_id() -> OrderId {
    OrderId::from_u128(0x0199_0000_0000_7000_8000_0000_0000_0001)
}

fn refund_no(n: u8) -> RefundNo {
    order_id().refund_no(n)
}

fn request() -> Arc<OrderRequest> {
    Arc::new(OrderRequest {
        order_no: "C20261123-000123".to_owned(),
        merchant_id: MerchantId::new("canteen-3").unwrap(),
        amount: fen(AMOUNT),
        description: "Beef noodles".to_owned(),
        payer: Payer {
            id: "stu-20230001".to_owned(),
            account_type: "student".to_owned(),
            openid: None,
            client_ip: None,
        },
        scene: Scene::Native,
        channels: Vec::new(),
        consents: Vec::new(),
        notify_url: None,
        expires_at: at(EXPIRES),
    })
}

/// The campus card moves money by the call itself; the others by a credential.
fn use_channel(name: &str) -> Choice {
    let kind = if name == "campus_card" { ChannelKind::Direct } else { ChannelKind::Credential };
    Choice::Use { channel: channel(name), kind, reason: "a test".to_owned(), hedge_at_once: false }
}

fn routed(name: &str) -> Event {
    Event::Routed(use_channel(name))
}

fn exhausted() -> Event {
    Event::Routed(Choice::Exhausted { reason: "nothing is left".to_owned() })
}

fn hedge(n: u8, name: &str) -> Event {
    Event::HedgeDue { no: no(n), choice: use_channel(name) }
}

fn prepaid(n: u8, answer: PrepayAnswer) -> Event {
    Event::Prepaid { no: no(n), answer, only_call: true }
}

fn credential(n: u8) -> Event {
    let code_url = format!("weixin://pay/{n}");
    prepaid(n, Answer::Accepted(Some(Credential::Qr { code_url })))
}

fn refusal(fault: Fault) -> Refusal {
    Refusal { code: "NO".to_owned(), message: "no".to_owned(), fault }
}

fn found(n: u8, source: EvidenceSource, found: Found) -> Event {
    Event::Found { no: no(n), evidence: Evidence { source, reference: "ref".to_owned(), found } }
}

fn capture(n: u8, amount: i64) -> Capture {
    Capture { amount: fen(amount), trade_no: format!("T{n}"), at: at(0) }
}

/// A query answer: attempt `n` was paid in full.
fn paid(n: u8) -> Event {
    paid_fen(n, AMOUNT)
}

/// A query answer: attempt `n` was paid with this amount.
fn paid_fen(n: u8, amount: i64) -> Event {
    found(n, EvidenceSource::Query, Found::Captured(capture(n, amount)))
}

/// The channel acknowledges a close.
fn closed(n: u8) -> Event {
    found(n, EvidenceSource::Close, Found::Closed)
}

fn declined(n: u8) -> Event {
    found(n, EvidenceSource::Query, Found::Declined(refusal(Fault::Payer)))
}

fn switch(name: &str) -> Event {
    Event::SwitchAsked { to: Some(channel(name)), consent: false }
}

fn ask_refund(backend_no: &str, amount: i64) -> Event {
    let reason = "sold out".to_owned();
    Event::RefundAsked { backend_no: backend_no.to_owned(), amount: fen(amount), reason }
}

fn refund_answered(n: u8, answer: RefundAnswer) -> Event {
    Event::RefundAnswered { refund_no: refund_no(n), answer }
}

fn refunded(n: u8, amount: i64) -> Event {
    let channel_refund_id = format!("CR{n}");
    let back = RefundFound::Succeeded { channel_refund_id, amount: fen(amount), at: at(0) };
    refund_answered(n, Answer::Settled(back))
}

fn refund_given_up(n: u8) -> Event {
    refund_answered(n, Answer::Settled(RefundFound::Failed { code: "ACCOUNT_CLOSED".to_owned() }))
}

/// A fact in one word, with what tells it from others of its kind.
fn word(fact: &Fact) -> String {
    match fact {
        Fact::Accepted { .. } => "accepted".to_owned(),
        Fact::AttemptPlanned { no, .. } => format!("planned#{no}"),
        Fact::Exposed { .. } => "exposed".to_owned(),
        Fact::CloseAsked { .. } => "close_asked".to_owned(),
        Fact::RefundPrebooked { .. } => "prebooked".to_owned(),
        Fact::Certified { certificate, .. } => certificate.as_str().to_owned(),
        Fact::Captured { .. } => "captured".to_owned(),
        Fact::Kept { .. } => "kept".to_owned(),
        Fact::Tidied { .. } => "tidied".to_owned(),
        Fact::Disputed { .. } => "disputed".to_owned(),
        Fact::Wished { .. } => "wished".to_owned(),
        Fact::Consented { .. } => "consented".to_owned(),
        Fact::RefundBooked { .. } => "refund_booked".to_owned(),
        Fact::RefundAccepted { .. } => "refund_accepted".to_owned(),
        Fact::RefundSucceeded { .. } => "refund_succeeded".to_owned(),
        Fact::RefundFailed { .. } => "refund_failed".to_owned(),
        Fact::StateChanged { to, failure: None } => format!("→{}", to.as_str()),
        Fact::StateChanged { to, failure: Some(why) } => format!("→{}:{}", to.as_str(), why.as_str()),
    }
}

/// All facts of a step; "-" if it left no trace.
fn words(facts: &[Fact]) -> String {
    if facts.is_empty() { "-".to_owned() } else { facts.iter().map(word).collect::<Vec<_>>().join(" ") }
}

/// An order at work, with its history as stored and the books as posted.
#[derive(Clone)]
struct Desk {
    order: Order,
    history: Vec<Vec<Fact>>,
    books: Vec<Posting>,
    now: Timestamp,
}

impl Desk {
    /// A freshly accepted order.
    fn open() -> Desk {
        let Decision { facts, next } = accept(order_id(), request(), at(0));
        Desk { order: next, history: vec![stored(&facts)], books: Vec::new(), now: at(0) }
    }

    /// The clock goes to so many seconds after acceptance.
    fn clock(mut self, secs: i64) -> Desk {
        self.now = at(secs);
        self
    }

    /// One more event, which must not be refused.
    fn then(mut self, event: Event) -> Desk {
        self.on(event);
        self
    }

    /// One more event, which must not be refused; says what it led to.
    fn on(&mut self, event: Event) -> String {
        let label = event.label();
        let decision = self.try_on(event).unwrap_or_else(|why| panic!("{label} was refused: {why}"));
        words(&decision)
    }

    /// One more event, and a check of everything that must hold after any event.
    fn try_on(&mut self, event: Event) -> Result<Vec<Fact>, Rejected> {
        let rules = Rules::default();
        let Decision { facts, next } = decide(&self.order, &event, self.now, &rules)?;

        let step = u64::from(!facts.is_empty());
        assert_eq!(next.version, self.order.version + step, "a version for each step that left a trace");
        if facts.is_empty() {
            assert_eq!(next, self.order, "no facts, no change");
        } else {
            self.history.push(stored(&facts));
        }
        let lines = postings(&facts, &next);
        assert_eq!(lines.iter().map(|l| l.amount_fen).sum::<i64>(), 0, "the postings of a step sum to zero");
        self.books.extend(lines);

        // What a crash leaves behind is enough: the same order, and the same work to be done.
        let history = self.history.iter().map(Vec::as_slice);
        let folded = Order::fold(order_id(), history).unwrap().unwrap();
        assert_eq!(folded, next, "folding the stored facts gives the decided order");
        assert_eq!(resume(&folded, self.now), resume(&next, self.now), "a crash changes nothing that is owed");

        if let Ok(again) = decide(&next, &event, self.now, &rules) {
            assert_eq!(words(&again.facts), "-", "a repeat of {} leaves no trace", event.label());
        }
        assert_promises(&self.order, &next, self.now);
        self.order = next;
        Ok(facts)
    }

    fn state(&self) -> OrderState {
        self.order.state
    }

    fn owed(&self) -> Vec<Owed> {
        resume(&self.order, self.now)
    }

    fn attempt(&self, n: u8) -> &Attempt {
        self.order.attempt(no(n)).unwrap()
    }

    /// What stands in an account.
    fn balance(&self, account: &str) -> i64 {
        self.books.iter().filter(|l| l.account == account).map(|l| l.amount_fen).sum()
    }
}

/// The facts as they come back from the store.
fn stored(facts: &[Fact]) -> Vec<Fact> {
    let back = serde_json::from_str(&serde_json::to_string(facts).unwrap()).unwrap();
    assert_eq!(facts, &back, "facts survive the store unchanged");
    back
}

/// What holds after every step, whatever the event was.
fn assert_promises(before: &Order, order: &Order, now: Timestamp) {
    let live = || order.attempts.iter().filter(|a| a.is_live());
    let captured = order.attempts.iter().filter(|a| a.certificate == Some(Certificate::Captured));
    assert!(captured.into_iter().all(|a| a.capture.is_some()), "captured means: with amount and trade number");

    assert!(live().filter(|a| !a.refund_prebooked).count() <= 1, "one credential at a time");
    assert!(live().count() <= 2, "and one more only under a pre-booked refund");
    if live().any(|a| a.kind == ChannelKind::Direct) {
        assert_eq!(live().count(), 1, "a direct channel works alone");
    }
    if before.state == OrderState::Success {
        assert_eq!((order.state, order.kept), (OrderState::Success, before.kept), "success is never left");
    }
    if let Some(failure) = before.failure {
        assert_eq!(order.failure, Some(failure), "the reason a backend was given stays");
        assert_eq!(order.kept, None, "what failed is not sold after all");
    }
    assert_eq!(order.kept.is_some(), order.state == OrderState::Success, "paid and success are the same");
    if let Some(kept) = order.kept {
        let amount = order.attempt(kept).unwrap().capture.as_ref().unwrap().amount;
        assert_eq!(amount, order.request.amount, "what is kept is exactly the amount");
    }
    for a in order.attempts.iter().filter(|a| a.capture.is_some() && Some(a.no) != order.kept) {
        let booked = order.refunds.iter().filter(|r| r.attempt == a.no).map(|r| r.amount);
        let taken = a.capture.as_ref().unwrap().amount;
        assert_eq!(Money::sum(booked).unwrap(), taken, "every other capture has its refund, once and in full");
    }
    if order.state == OrderState::Failed {
        assert_eq!(order.uncertified().count(), 0, "failed means: every attempt certified");
        assert_eq!(order.net_captured(), Money::ZERO, "failed means: nothing kept");
    }
    if order.state == OrderState::Pending {
        assert_eq!(live().count(), 0, "pending means: nothing exposed");
    }
    if truth(order).code == TruthCode::NotCharged {
        assert_eq!(order.net_captured(), Money::ZERO, "a payer is told \"not charged\" only if it is so");
    }
    if order.is_settled() {
        assert_eq!(resume(order, now), vec![], "settled means: nothing is owed");
    }
}
