//! Calls from the card gateway (protocol B2, B9): checked in the protocol's order, then read.

use bytes::Bytes;
use domain::{ChannelOrderNo, RefundNo, Timestamp};
use serde::Deserialize;

use super::{CampusCard, payment::Payment, refund::Refund};
use crate::{
    HttpReply, Notification, NotificationCall, NotificationKind, NotificationRefused, RefusedBecause,
    Verdict, clock::within_five_minutes,
};

#[derive(Deserialize)]
struct Event {
    event_id: String,
    event_type: String,
    #[serde(default)]
    payment: Option<Payment>,
    #[serde(default)]
    refund: Option<Refund>,
}

fn malformed(detail: impl Into<String>) -> NotificationRefused {
    NotificationRefused::new(RefusedBecause::Malformed, detail)
}

impl CampusCard {
    pub(super) fn parse(
        &self,
        call: &NotificationCall,
        now: Timestamp,
    ) -> Result<Notification, NotificationRefused> {
        self.check_call(call, now)?;
        let event: Event = serde_json::from_slice(&call.body)
            .map_err(|e| malformed(format!("the event cannot be read: {e}")))?;
        if event.event_id.is_empty() || event.event_id.len() > 64 {
            return Err(malformed("event_id is not 1 to 64 characters"));
        }
        let kind = kind(&event, now)?;
        Ok(Notification { event_id: event.event_id, kind })
    }

    fn check_call(&self, call: &NotificationCall, now: Timestamp) -> Result<(), NotificationRefused> {
        let need = |name: &str| {
            call.header(name).filter(|v| !v.is_empty()).ok_or_else(|| malformed(format!("no header {name}")))
        };
        let (merchant, key) = (need("X-Card-Merchant")?, need("X-Card-Key")?);
        let (timestamp, nonce) = (need("X-Card-Timestamp")?, need("X-Card-Nonce")?);
        let code = need("X-Card-Signature")?;
        let nonce_fits = (16..=64).contains(&nonce.len())
            && nonce.bytes().all(|c| c.is_ascii_alphanumeric() || b"_-".contains(&c));
        if !nonce_fits {
            return Err(malformed("X-Card-Nonce is not 16 to 64 letters, digits, '_', '-'"));
        }
        let in_window = within_five_minutes(timestamp, now)
            .ok_or_else(|| malformed("X-Card-Timestamp is not a number"))?;
        let signing = &self.client.signing;
        if merchant != signing.merchant || key != signing.key_id {
            let detail = format!("merchant {merchant:?} or key {key:?} is not ours");
            return Err(NotificationRefused::new(RefusedBecause::BadSignature, detail));
        }
        signing
            .check_call(code, timestamp, nonce, &call.target, &call.body)
            .map_err(|e| NotificationRefused::new(RefusedBecause::BadSignature, e.to_string()))?;
        if !in_window {
            let detail = format!("signed at {timestamp}, it is {} now", now.secs());
            return Err(NotificationRefused::new(RefusedBecause::StaleTimestamp, detail));
        }
        if !self.nonces.remember(nonce, now) {
            return Err(NotificationRefused::new(
                RefusedBecause::Replayed,
                format!("nonce {nonce} was seen before"),
            ));
        }
        Ok(())
    }

    /// The gateway reads the status alone.
    pub(super) fn reply(&self, verdict: &Verdict) -> HttpReply {
        let (status, message) = match verdict {
            Verdict::Taken => return HttpReply { status: 204, content_type: None, body: Bytes::new() },
            Verdict::Refused(reason) => (400, reason.as_str()),
            Verdict::NotNow => (503, "try again"),
        };
        let body = serde_json::json!({ "code": "REFUSED", "message": message });
        HttpReply { status, content_type: Some("application/json"), body: Bytes::from(body.to_string()) }
    }
}

fn kind(event: &Event, now: Timestamp) -> Result<NotificationKind, NotificationRefused> {
    let other = NotificationKind::Other { event_type: event.event_type.clone() };
    if event.event_type.starts_with("payment.") {
        let payment =
            event.payment.as_ref().ok_or_else(|| malformed("a payment event without its payment"))?;
        let number = ChannelOrderNo::new(&payment.order_no).map_err(|e| malformed(e.to_string()))?;
        let found = payment.found("", now).map_err(malformed)?;
        return Ok(found.map_or(other, |found| NotificationKind::Payment { number, found }));
    }
    if event.event_type.starts_with("refund.") {
        let refund = event.refund.as_ref().ok_or_else(|| malformed("a refund event without its refund"))?;
        let refund_no = RefundNo::new(&refund.refund_no).map_err(|e| malformed(e.to_string()))?;
        let found = refund.found(now).map_err(malformed)?;
        return Ok(found.map_or(other, |found| NotificationKind::Refund { refund_no, found }));
    }
    tracing::warn!(event_type = event.event_type, "a card event of a new type");
    Ok(other)
}
