//! Calls from WeChat (protocol section 6): checked, opened, read. Nothing here changes anything.
//!
//! An unknown serial starts a fetch of certificates beside the refusal, so that the repeat fifteen seconds
//! later finds the key.

use std::sync::Arc;

use bytes::Bytes;
use domain::{ChannelOrderNo, RefundNo, Timestamp};
use serde::{Deserialize, de::DeserializeOwned};

use super::{
    WeChat,
    certificates::Sealed,
    refund::RefundWord,
    trade::{Status, Trade},
    verifying::Seal,
};
use crate::{
    HttpReply, Notification, NotificationCall, NotificationKind, NotificationRefused, RefusedBecause, Verdict,
};

#[derive(Deserialize)]
struct Envelope {
    id: String,
    event_type: String,
    resource: Sealed,
}

fn malformed(detail: impl Into<String>) -> NotificationRefused {
    NotificationRefused::new(RefusedBecause::Malformed, detail)
}

fn read<T: DeserializeOwned>(what: &str, bytes: &[u8]) -> Result<T, NotificationRefused> {
    serde_json::from_slice(bytes).map_err(|e| malformed(format!("{what} cannot be read: {e}")))
}

impl WeChat {
    pub(super) fn parse(
        &self,
        call: &NotificationCall,
        now: Timestamp,
    ) -> Result<Notification, NotificationRefused> {
        let seal = Seal::read(|name| call.header(name))?;
        self.client.keys.check(&seal, &call.body, now).inspect_err(|refused| {
            if refused.reason == RefusedBecause::UnknownSerial {
                Arc::clone(&self.client).spawn_refresh();
            }
        })?;
        let envelope: Envelope = read("the envelope", &call.body)?;
        if envelope.id.is_empty() || envelope.id.len() > 64 {
            return Err(malformed("id is not 1 to 64 characters"));
        }
        let kind = self.kind(&envelope, now)?;
        Ok(Notification { event_id: envelope.id, kind })
    }

    fn kind(&self, envelope: &Envelope, now: Timestamp) -> Result<NotificationKind, NotificationRefused> {
        let other = || NotificationKind::Other { event_type: envelope.event_type.clone() };
        let open = || {
            let opened = envelope.resource.open(&self.client.apiv3_key);
            opened.map_err(|e| NotificationRefused::new(RefusedBecause::Undecryptable, e))
        };
        let wrong = |detail| NotificationRefused::new(RefusedBecause::WrongMerchant, detail);
        if envelope.event_type.starts_with("TRANSACTION.") {
            let trade: Trade = read("the trade", &open()?)?;
            if let Some(mismatch) = trade.mismatch(&self.client.mchid, &self.client.appid, None) {
                return Err(wrong(mismatch));
            }
            let number = ChannelOrderNo::new(&trade.out_trade_no).map_err(|e| malformed(e.to_string()))?;
            return Ok(match trade.status(now).map_err(malformed)? {
                Status::Final(found) => NotificationKind::Payment { number, found },
                Status::Open(_) => other(),
            });
        }
        if envelope.event_type.starts_with("REFUND.") {
            let word: RefundWord = read("the refund", &open()?)?;
            if word.mchid.as_deref().is_some_and(|mchid| mchid != self.client.mchid) {
                return Err(wrong(format!("mchid is {:?}", word.mchid)));
            }
            let refund_no = RefundNo::new(&word.out_refund_no).map_err(|e| malformed(e.to_string()))?;
            return Ok(match word.found(now).map_err(malformed)? {
                Some(found) => NotificationKind::Refund { refund_no, found },
                None => other(),
            });
        }
        tracing::warn!(event_type = envelope.event_type, "a WeChat event of a new type");
        Ok(other())
    }

    /// 204 for taken; a JSON refusal otherwise, which makes WeChat call again.
    pub(super) fn reply(&self, verdict: &Verdict) -> HttpReply {
        let (status, message) = match verdict {
            Verdict::Taken => return HttpReply { status: 204, content_type: None, body: Bytes::new() },
            Verdict::Refused(reason) => (400, reason.as_str()),
            Verdict::NotNow => (503, "try again"),
        };
        let body = serde_json::json!({ "code": "FAIL", "message": message });
        HttpReply { status, content_type: Some("application/json"), body: Bytes::from(body.to_string()) }
    }
}
