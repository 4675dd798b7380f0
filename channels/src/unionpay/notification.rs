//! Calls from UnionPay (protocol section 7): a signed form, successes only. Nothing here changes anything.

use bytes::Bytes;
use domain::{ChannelOrderNo, Found, RefundNo, Timestamp};

use super::{UnionPay, client::Said, meaning::Meaning, message::Fields, refund::succeeded, trade::capture};
use crate::{
    HttpReply, Notification, NotificationCall, NotificationKind, NotificationRefused, RefusedBecause, Verdict,
};

fn malformed(detail: impl Into<String>) -> NotificationRefused {
    NotificationRefused::new(RefusedBecause::Malformed, detail)
}

impl UnionPay {
    pub(super) fn parse(
        &self,
        call: &NotificationCall,
        now: Timestamp,
    ) -> Result<Notification, NotificationRefused> {
        let fields: Fields = url::form_urlencoded::parse(&call.body).into_owned().collect();
        if !fields.contains_key("signature") {
            return Err(malformed("signature is missing"));
        }
        self.client
            .trust
            .check(&fields, now)
            .map_err(|problem| NotificationRefused::new(RefusedBecause::BadSignature, problem))?;
        let said = Said { fields, at: now };
        if said.text("merId") != self.client.mer_id {
            let detail = format!("merId is {:?}", said.text("merId"));
            return Err(NotificationRefused::new(RefusedBecause::WrongMerchant, detail));
        }
        let (query_id, kind) = (said.text("queryId"), said.text("txnType"));
        if query_id.is_empty() || query_id.len() > 64 {
            return Err(malformed("queryId is missing or longer than 64 characters"));
        }
        let number = said.text("orderId");
        let kind = match (kind, said.meaning()) {
            ("01", Meaning::Good) => NotificationKind::Payment {
                number: ChannelOrderNo::new(number).map_err(|e| malformed(e.to_string()))?,
                found: Found::Captured(capture(&said).map_err(malformed)?),
            },
            ("04", Meaning::Good) => NotificationKind::Refund {
                refund_no: RefundNo::new(number).map_err(|e| malformed(e.to_string()))?,
                found: succeeded(&said).map_err(malformed)?,
            },
            (kind, _) => {
                NotificationKind::Other { event_type: format!("{kind} respCode {}", said.text("respCode")) }
            }
        };
        Ok(Notification { event_id: format!("{}-{query_id}", said.text("txnType")), kind })
    }
}

/// UnionPay reads the status alone.
pub(super) fn reply(verdict: &Verdict) -> HttpReply {
    let (status, word): (u16, &'static [u8]) = match verdict {
        Verdict::Taken => (200, b"ok"),
        Verdict::Refused(_) => (400, b"refused"),
        Verdict::NotNow => (503, b"later"),
    };
    HttpReply { status, content_type: Some("text/plain; charset=utf-8"), body: Bytes::from_static(word) }
}
