//! The rules under test: a table of every pair, stories by name, and a hostile world.

#![allow(clippy::indexing_slicing, reason = "tests")]

mod adopted;
mod parts;
mod stories;
mod table;
mod world;

use std::{sync::Arc, time::Duration};

use super::{Event, Order, OrderRequest, OrderState, Owed, Payer, Rules, accept, decide};
use crate::{
    Answer, AttemptNo, Capture, ChannelId, ChannelKind, Credential, Evidence, EvidenceSource, Found, Money,
    OrderId, Scene, Timestamp, routing::Choice,
};

const AMOUNT: i64 = 1850;

fn fen(fen: i64) -> Money {
    Money::from_fen(fen).unwrap()
}

fn at(secs: i64) -> Timestamp {
    Timestamp::from_secs(1_767_225_600 + secs)
}

fn id() -> OrderId {
    OrderId::from_u128(0x0190_0000_0000_7000_8000_0000_0000_0001)
}

fn no(n: u8) -> AttemptNo {
    AttemptNo::new(n).unwrap()
}

fn channel(name: &str) -> ChannelId {
    ChannelId::new(name).unwrap()
}

fn request() -> Arc<OrderRequest> {
    Arc::new(OrderRequest {
        order_no: "C1".to_owned(),
        merchant_id: crate::MerchantId::new("canteen-3").unwrap(),
        amount: fen(AMOUNT),
        description: "noodles".to_owned(),
        payer: Payer {
            id: "stu-1".to_owned(),
            account_type: "student".to_owned(),
            openid: None,
            accounts: std::collections::BTreeMap::new(),
            client_ip: None,
        },
        scene: Scene::Native,
        channels: Vec::new(),
        consents: vec![channel("card")],
        notify_url: None,
        keep_late: false,
        part_of: None,
        expires_at: at(900),
    })
}

fn choose(name: &str, kind: ChannelKind) -> Choice {
    Choice::Use { channel: channel(name), kind, reason: "a test".to_owned(), hedge_at_once: false }
}

fn wechat() -> Event {
    Event::Routed(choose("wechat", ChannelKind::Credential))
}

fn credential() -> Credential {
    Credential::Qr { code_url: "weixin://x".to_owned() }
}

fn shown(n: u8) -> Event {
    Event::Prepaid { no: no(n), answer: Answer::Accepted(Some(credential())), only_call: true }
}

fn elsewhere() -> super::Elsewhere {
    super::Elsewhere { scene: Scene::H5, client_ip: Some("10.1.2.3".to_owned()) }
}

fn silent(n: u8) -> Event {
    Event::Prepaid { no: no(n), answer: Answer::Silent("no answer".to_owned()), only_call: true }
}

fn captured(n: u8, amount: i64) -> Event {
    let capture = Capture { amount: fen(amount), trade_no: format!("T{n}"), at: at(5) };
    found(n, Found::Captured(capture))
}

fn found(n: u8, found: Found) -> Event {
    told(n, found, EvidenceSource::Query)
}

/// The bill gives something of an attempt back under a refund number that may be nobody's here.
fn adopted(place: u8, n: u8, amount: i64) -> Event {
    let channel_refund_id = format!("B{place}");
    Event::RefundAdopted {
        refund_no: id().refund_no(place),
        no: no(n),
        amount: fen(amount),
        channel_refund_id,
        at: at(6),
    }
}

/// The backend asks for money back.
fn ask(backend_no: &str, amount: i64) -> Event {
    asked(backend_no, amount, false)
}

/// The backend asks again, and says that it means another refund than any that was taken over.
fn ask_besides(backend_no: &str, amount: i64) -> Event {
    asked(backend_no, amount, true)
}

fn asked(backend_no: &str, amount: i64, besides_taken_over: bool) -> Event {
    let (backend_no, reason) = (backend_no.to_owned(), String::new());
    Event::RefundAsked { backend_no, amount: fen(amount), reason, besides_taken_over }
}

fn told(n: u8, found: Found, source: EvidenceSource) -> Event {
    let evidence = Evidence { source, reference: "q".to_owned(), found };
    Event::Found { no: no(n), evidence }
}

/// What a bill told us of may be what a request means: without the backend's word that it is not, nothing is booked of
/// its amount, whatever was asked for before. Of an order in parts that goes for one part's alone, too.
fn unasked_is_never_booked_beside(before: &Order, event: &Event, facts: &[super::Fact]) {
    let Event::RefundAsked { amount, besides_taken_over: false, .. } = event else { return };
    let of_a_part = before.spreads.iter().filter(|s| s.asked_as().is_none()).map(|s| s.amount);
    let taken_over = before.adopted_refunds().map(|r| r.amount).chain(of_a_part).any(|a| a == *amount);
    assert!(facts.is_empty() || !taken_over, "{event:?} is booked beside its like: {before:#?}");
}

/// An order and the clock beside it; every step checks what must hold after any step.
struct Desk {
    order: Order,
    history: Vec<Vec<super::Fact>>,
    secs: i64,
}

impl Desk {
    fn new() -> Desk {
        let decision = accept(id(), request(), at(0));
        Desk { order: decision.next, history: vec![decision.facts], secs: 0 }
    }

    fn hear(&mut self, event: &Event) -> Result<(), super::Rejected> {
        let before = self.order.clone();
        let decision = decide(&self.order, event, at(self.secs), &Rules::default())?;
        unasked_is_never_booked_beside(&before, event, &decision.facts);
        let again = decide(&before, event, at(self.secs), &Rules::default());
        assert_eq!(again.as_ref(), Ok(&decision), "the same order, event and time decide the same");
        if decision.facts.is_empty() {
            assert_eq!(decision.next, before, "no facts, no change");
        } else {
            let posted: i64 =
                crate::books::postings(&decision.facts, &decision.next).iter().map(|p| p.amount_fen).sum();
            assert_eq!(posted, 0, "the books balance after {event:?}");
            self.history.push(decision.facts);
        }
        self.order = decision.next;
        let folded = Order::fold(self.order.id, self.history.iter().map(Vec::as_slice)).unwrap().unwrap();
        assert_eq!(folded, self.order, "an order is the fold of its facts after {event:?}");
        let now = at(self.secs);
        assert_eq!(super::resume(&folded, now), super::resume(&self.order, now));
        let live = self.order.attempts.iter().filter(|a| a.is_live() && !a.refund_prebooked).count();
        assert!(live <= 1, "at most one attempt is exposed and uncertified: {:#?}", self.order);
        for attempt in &self.order.attempts {
            let of = self.order.refunds.iter().filter(|r| r.attempt == attempt.no);
            let going: i64 =
                of.filter(|r| r.state != super::RefundState::Failed).map(|r| r.amount.fen()).sum();
            let took = attempt.capture.as_ref().map_or(0, |c| c.amount.fen());
            assert!(going <= took, "refunds exceed the capture after {event:?}: {:#?}", self.order);
        }
        let numbers: std::collections::BTreeSet<_> = self.order.refunds.iter().map(|r| &r.no).collect();
        assert_eq!(numbers.len(), self.order.refunds.len(), "a refund number is given once");
        if self.order.state == OrderState::Failed {
            assert!(
                self.order.attempts.iter().all(|a| a.certificate.is_some()),
                "failed without a certificate"
            );
        }
        Ok(())
    }

    fn after(&mut self, events: &[Event]) -> &mut Desk {
        for event in events {
            self.hear(event).unwrap();
        }
        self
    }

    fn wait(&mut self, secs: u64) -> &mut Desk {
        self.secs += i64::try_from(Duration::from_secs(secs).as_secs()).unwrap();
        self
    }

    fn owed(&self) -> Vec<Owed> {
        super::resume(&self.order, at(self.secs))
    }

    fn refund_no(&self) -> Option<crate::RefundNo> {
        self.owed().into_iter().find_map(|o| if let Owed::Refund(no) = o { Some(no) } else { None })
    }
}
