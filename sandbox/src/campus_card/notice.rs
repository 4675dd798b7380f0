//! Notifications: section B9.

use std::{sync::Arc, time::Duration};

use actix_web::web;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::sync::oneshot;

use super::{
    CampusCard, NAME,
    ledger::{Payment, Refund, State},
    payments,
    wire::sign_text,
};
use crate::{
    clock::beijing,
    faults::NotifyFate,
    notify::{Delivery, Look, Signed, deliver},
};

/// Seven repeats, then polling must be enough.
const SCHEDULE: [u64; 7] = [15, 60, 300, 900, 3600, 10_800, 21_600];
/// The student of whom nobody is told.
const UNTOLD: &str = "2024000014";
const URL_MAX: usize = 256;

/// One event: the same in every delivery of it.
#[derive(Clone)]
struct Event {
    id: String,
    kind: &'static str,
    occurred: String,
    member: &'static str,
    view: Value,
    url: String,
    target: String,
    fate: NotifyFate,
}

/// Whether it may be told to: no address, or one of the web. Ours need not be https: a sandbox's merchant may live
/// on this machine or on the next container.
pub(super) fn url_ok(url: &str) -> bool {
    let web = |u: url::Url| matches!(u.scheme(), "http" | "https") && u.has_host();
    url.is_empty() || (url.chars().count() <= URL_MAX && url::Url::parse(url).is_ok_and(web))
}

/// Tells of a payment's new state. Once a state change: its `event_id` is made here.
pub(super) fn payment(me: &web::Data<CampusCard>, payment: &Payment) {
    if let Some(event) = of_payment(me, payment) {
        send(me, event, &SCHEDULE, |_| {});
    }
}

/// Tells three times, the first of them before the receiver hears that the call may be answered.
pub(super) fn eagerly(me: &web::Data<CampusCard>, payment: &Payment) -> oneshot::Receiver<()> {
    let (told, answer_now) = oneshot::channel();
    let Some(event) = of_payment(me, payment) else { return answer_now };
    let third = Event { fate: NotifyFate { doubled: false, ..event.fate.clone() }, ..event.clone() };
    let mut first = event;
    first.fate.doubled = true;
    first.fate.after = Duration::ZERO;
    // A double is signed when the delivery before it has ended. Where none is sent, the sender is dropped unused.
    let told = Mutex::new((0, Some(told)));
    send(me, first, &SCHEDULE, move |look| {
        let mut told = told.lock();
        told.0 += i32::from(look == Look::Genuine);
        if told.0 > 1
            && let Some(tell) = told.1.take()
        {
            let _caller_gone = tell.send(());
        }
    });
    send(me, third, &[], |_| {});
    answer_now
}

/// Tells of a refund.
pub(super) fn refund(
    me: &web::Data<CampusCard>,
    payment: &Payment,
    refund: &Refund,
    view: Value,
    url: String,
) {
    let kind = if refund.failed.is_some() { "refund.failed" } else { "refund.succeeded" };
    // Each refund of an order has a fate of its own.
    let lot = format!("{kind}/{}", refund.no);
    if let Some(event) = event(me, payment, kind, &lot, "refund", view, url) {
        send(me, event, &SCHEDULE, |_| {});
    }
}

/// Waits until a `PROCESSING` payment is decided; the decision itself tells.
pub(super) fn when_decided(me: &web::Data<CampusCard>, no: String) {
    let me = me.clone();
    actix_web::rt::spawn(async move {
        // The sandbox's clock may be moved meanwhile: a query, a repeat or a close may have decided it already.
        for _ in 0..600 {
            tokio::time::sleep(Duration::from_millis(100)).await;
            let now = me.world.clock.now();
            let mut ledger = me.ledger.lock();
            payments::settle(&me, &mut ledger, &no, now);
            if ledger.payments.get(&no).is_none_or(|p| p.state != State::Processing) {
                return;
            }
        }
    });
}

fn of_payment(me: &web::Data<CampusCard>, payment: &Payment) -> Option<Event> {
    let url = payment.notify_url.clone()?;
    let kind = match payment.state {
        State::Succeeded => "payment.succeeded",
        State::Failed => "payment.failed",
        State::Closed => "payment.closed",
        State::Reversed => "payment.reversed",
        State::Processing => return None,
    };
    // A payment's state changes only while nothing of it is refunded.
    event(me, payment, kind, kind, "payment", payment.view(0), url)
}

/// `None` if nobody is to be told. `lot` is what its fate is drawn by.
fn event(
    me: &web::Data<CampusCard>,
    payment: &Payment,
    kind: &'static str,
    lot: &str,
    member: &'static str,
    view: Value,
    url: String,
) -> Option<Event> {
    if url.is_empty() || (payment.account_type == "STUDENT_NO" && payment.account_no == UNTOLD) {
        return None;
    }
    let parsed = url::Url::parse(&url).ok()?;
    let query = parsed.query().map(|q| format!("?{q}")).unwrap_or_default();
    let target = format!("{}{query}", parsed.path());
    let world = &me.world;
    let fate = world.faults_of(NAME).notify_fate(world.seed, NAME, &payment.no, lot);
    let (id, occurred) = (format!("e-{}", world.next_serial()), beijing(world.clock.now()));
    Some(Event { id, kind, occurred, member, view, url, target, fate })
}

fn send(
    me: &web::Data<CampusCard>,
    event: Event,
    schedule: &'static [u64],
    before: impl Fn(Look) + Send + Sync + 'static,
) {
    let (card, url, fate) = (Arc::clone(me), event.url.clone(), event.fate.clone());
    let sign = move |look| {
        before(look);
        Some(make(&card, &event, look))
    };
    let delivery = Delivery { channel: NAME, url, fate, schedule, wants: None, sign: Arc::new(sign) };
    deliver(Arc::clone(&me.world), delivery);
}

fn make(me: &CampusCard, event: &Event, look: Look) -> Signed {
    let mut view = event.view.clone();
    if let (Look::WrongAmount, Some(amount)) = (look, view.get_mut("amount")) {
        *amount = (amount.as_i64().unwrap_or(0) + 1).into();
    }
    let mut fields = json!({ "event_id": event.id, "event_type": event.kind, "occurred_at": event.occurred });
    if let Some(fields) = fields.as_object_mut() {
        fields.insert(event.member.to_owned(), view);
    }
    let body = fields.to_string().into_bytes();
    let at = me.world.clock.now().secs().to_string();
    let nonce = crate::world::nonce();
    let hash = keys::sha256_hex(if look == Look::Forged { b"another body" } else { &body });
    let (merchant, key) = (&me.keys.merchant, &me.keys.key_id);
    let lines = ["CARD1-NOTIFY", merchant, key, &at, &nonce, "POST", &event.target, &hash];
    let signature = hex::encode(me.keys.key.sign(sign_text(&lines).as_bytes()));
    let header = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let headers = vec![
        header("Content-Type", "application/json"),
        header("X-Card-Merchant", merchant),
        header("X-Card-Key", key),
        header("X-Card-Timestamp", &at),
        header("X-Card-Nonce", &nonce),
        header("X-Card-Signature", &signature),
    ];
    Signed { headers, body }
}
