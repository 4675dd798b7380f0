//! Callbacks, section 6: sealed, signed anew at every try, repeated on the documented schedule.

use std::{sync::Arc, time::Duration};

use actix_web::web;
use serde_json::json;

use super::{NAME, Wechat, certificates, refund::RefundRecord, respond, trade::Trade};
use crate::{
    clock::beijing,
    notify::{Delivery, Look, Signed, deliver},
};

/// Fifteen repeats over a day.
const SCHEDULE: [u64; 15] =
    [15, 15, 30, 180, 600, 1200, 1800, 1800, 1800, 3600, 10_800, 10_800, 10_800, 21_600, 21_600];

/// What is told.
pub(crate) enum Event {
    Paid,
    Refund(RefundRecord),
}

/// Sends a callback in the background, not before `not_before` from now.
pub(crate) fn send(me: Arc<Wechat>, trade: Trade, event: Event, url: String, not_before: Duration) {
    let what = match &event {
        Event::Paid => "paid".to_owned(),
        Event::Refund(record) => format!("refund {}", record.no),
    };
    let world = Arc::clone(&me.world);
    let mut fate = world.faults_of(NAME).notify_fate(world.seed, NAME, &trade.no, &what);
    fate.after += not_before;
    let id = uuid::Uuid::new_v4().to_string();
    let sign = move |look| make(&me, &trade, &event, &id, look);
    deliver(
        world,
        Delivery { channel: NAME, url, fate, schedule: &SCHEDULE, wants: None, sign: Arc::new(sign) },
    );
}

fn make(me: &Wechat, trade: &Trade, event: &Event, id: &str, look: Look) -> Option<Signed> {
    let off = i64::from(look == Look::WrongAmount);
    let (kind, original, text, summary) = match event {
        Event::Paid => ("TRANSACTION.SUCCESS", "transaction", trade.view(trade.total + off), "支付成功"),
        Event::Refund(record) => {
            let (kind, summary) = match record.outcome {
                "ABNORMAL" => ("REFUND.ABNORMAL", "退款异常"),
                "CLOSED" => ("REFUND.CLOSED", "退款关闭"),
                _ => ("REFUND.SUCCESS", "退款成功"),
            };
            (kind, "refund", record.notice(trade, record.amount + off), summary)
        }
    };
    let (nonce, ciphertext) = certificates::seal(&me.keys, original.as_bytes(), text.to_string().as_bytes())?;
    let now = me.world.clock.now();
    let body = json!({
        "id": id, "create_time": beijing(now), "event_type": kind, "resource_type": "encrypt-resource",
        "summary": summary,
        "resource": {
            "algorithm": "AEAD_AES_256_GCM", "ciphertext": ciphertext, "associated_data": original,
            "nonce": nonce, "original_type": original,
        },
    })
    .to_string()
    .into_bytes();
    let wanted = trade.wants_serial.as_deref();
    let mut headers = respond::sign_headers(&me.keys, wanted, now.secs(), &body, look == Look::Forged)?;
    headers.push(("Content-Type".to_owned(), "application/json".to_owned()));
    headers.push(("Request-ID".to_owned(), format!("08F5{:016X}-0", me.world.next_serial())));
    Some(Signed { headers, body })
}

/// The payer paid.
pub(crate) fn paid(me: &web::Data<Wechat>, trade: Trade) {
    let url = trade.notify_url.clone();
    send(Arc::clone(me), trade, Event::Paid, url, Duration::ZERO);
}
