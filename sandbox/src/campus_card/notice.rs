//! Notifications: section B9.

use std::{sync::Arc, time::Duration};

use actix_web::web;
use serde_json::{Value, json};

use super::{
    CampusCard, NAME,
    ledger::{Payment, Refund, State},
    payments,
    wire::sign_text,
};
use crate::{
    clock::beijing,
    notify::{Delivery, Look, Signed, deliver},
};

/// Seven repeats, then polling must be enough.
const SCHEDULE: [u64; 7] = [15, 60, 300, 900, 3600, 10_800, 21_600];
/// The student of whom nobody is told.
const UNTOLD: &str = "2024000014";

/// Tells of a payment's new state, `times` times.
pub(super) fn payment(me: &web::Data<CampusCard>, payment: &Payment, refunded: i64, times: u32) {
    let Some(url) = payment.notify_url.clone() else { return };
    if payment.account_no == UNTOLD {
        return;
    }
    let event = match payment.state {
        State::Succeeded => "payment.succeeded",
        State::Failed => "payment.failed",
        State::Closed => "payment.closed",
        State::Reversed => "payment.reversed",
        State::Processing => return,
    };
    let id = format!("e-{}", me.world.next_serial());
    for n in 0..times {
        let view = payment.view(refunded);
        send(me, &payment.no, &id, event, "payment", view, url.clone(), n == 0 && times > 1);
    }
}

/// Tells of a refund.
pub(super) fn refund(me: &web::Data<CampusCard>, refund: Refund, view: Value, url: String) {
    let event = if refund.failed.is_some() { "refund.failed" } else { "refund.succeeded" };
    let id = format!("e-{}", me.world.next_serial());
    send(me, &refund.order_no, &id, event, "refund", view, url, false);
}

/// Waits until a `PROCESSING` payment is decided, and tells.
pub(super) fn when_decided(me: &web::Data<CampusCard>, no: String) {
    let me = me.clone();
    actix_web::rt::spawn(async move {
        // The sandbox's clock may be moved meanwhile: a query or a repeat may have decided it already.
        for _ in 0..600 {
            tokio::time::sleep(Duration::from_millis(100)).await;
            let now = me.world.clock.now();
            let decided = {
                let mut ledger = me.ledger.lock();
                payments::settle(&me, &mut ledger, &no, now);
                ledger.payments.get(&no).filter(|p| p.state != State::Processing).cloned()
            };
            if let Some(decided) = decided {
                return payment(&me, &decided, 0, 1);
            }
        }
    });
}

#[expect(clippy::too_many_arguments, reason = "the parts of one message")]
fn send(
    me: &web::Data<CampusCard>,
    order_no: &str,
    id: &str,
    event: &'static str,
    member: &'static str,
    view: Value,
    url: String,
    at_once: bool,
) {
    let world = Arc::clone(&me.world);
    let mut fate = world.faults_of(NAME).notify_fate(world.seed, NAME, order_no, event);
    if at_once {
        fate.after = Duration::ZERO;
    }
    let target = url::Url::parse(&url).map(|u| {
        let query = u.query().map(|q| format!("?{q}")).unwrap_or_default();
        format!("{}{query}", u.path())
    });
    let Ok(target) = target else { return };
    let (me, id) = (Arc::clone(me), id.to_owned());
    let occurred = beijing(world.clock.now());
    let sign = move |look| Some(make(&me, &id, event, &occurred, member, &view, &target, look));
    deliver(world, Delivery { channel: NAME, url, fate, schedule: &SCHEDULE, sign: Arc::new(sign) });
}

#[expect(clippy::too_many_arguments, reason = "the parts of one message")]
fn make(
    me: &CampusCard,
    id: &str,
    event: &str,
    occurred: &str,
    member: &str,
    view: &Value,
    target: &str,
    look: Look,
) -> Signed {
    let mut view = view.clone();
    if let (Look::WrongAmount, Some(amount)) = (look, view.get_mut("amount")) {
        *amount = (amount.as_i64().unwrap_or(0) + 1).into();
    }
    let mut fields = json!({ "event_id": id, "event_type": event, "occurred_at": occurred });
    if let Some(fields) = fields.as_object_mut() {
        fields.insert(member.to_owned(), view);
    }
    let body = fields.to_string().into_bytes();
    let at = me.world.clock.now().secs().to_string();
    let nonce = crate::world::nonce();
    let hash = keys::sha256_hex(if look == Look::Forged { b"another body" } else { &body });
    let (merchant, key) = (&me.keys.merchant, &me.keys.key_id);
    let lines = ["CARD1-NOTIFY", merchant, key, &at, &nonce, "POST", target, &hash];
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
