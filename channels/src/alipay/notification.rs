//! Calls from Alipay (protocol section 5): a signed form. Nothing here changes anything.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use domain::{ChannelOrderNo, Found, Timestamp, channel::Capture};
use keys::Verifier as _;

use super::{
    Alipay,
    platform::Found as Which,
    text::{Params, moment, money, string_to_sign},
};
use crate::{
    HttpReply, Notification, NotificationCall, NotificationKind, NotificationRefused, RefusedBecause,
    Verdict, counters,
};

/// Not part of what is signed; unlike in requests, `sign_type` is not (section 5).
const UNSIGNED: [&str; 3] = ["sign", "sign_type", "alipay_cert_sn"];

fn malformed(detail: impl Into<String>) -> NotificationRefused {
    NotificationRefused::new(RefusedBecause::Malformed, detail)
}

impl Alipay {
    pub(super) fn parse(
        &self,
        call: &NotificationCall,
        now: Timestamp,
    ) -> Result<Notification, NotificationRefused> {
        let params: Params = url::form_urlencoded::parse(&call.body).into_owned().collect();
        let given = |name: &str| params.get(name).map(String::as_str).filter(|text| !text.is_empty());
        let need = |name: &str| given(name).ok_or_else(|| malformed(format!("{name} is missing")));
        let bad = |detail: &str| NotificationRefused::new(RefusedBecause::BadSignature, detail);
        if given("charset").is_some_and(|charset| !charset.eq_ignore_ascii_case("utf-8")) {
            return Err(malformed("charset is not utf-8"));
        }
        if need("sign_type")? != "RSA2" {
            return Err(malformed("sign_type is not RSA2"));
        }
        let signature = STANDARD.decode(need("sign")?).map_err(|_| bad("sign is not base64"))?;
        let Which::This(key) = self.client.platform.verifier(given("alipay_cert_sn")) else {
            // The next query fetches it; Alipay calls again.
            let detail = "alipay_cert_sn is not known yet";
            return Err(NotificationRefused::new(RefusedBecause::UnknownSerial, detail));
        };
        counters::verified();
        let text = string_to_sign(&params, &UNSIGNED);
        if key.verify(text.as_bytes(), &signature).is_err() {
            return Err(bad("the signature does not belong to the form"));
        }
        for (name, ours) in [("app_id", &self.options.app_id), ("seller_id", &self.options.seller_id)] {
            let theirs = need(name)?;
            if theirs != ours {
                return Err(NotificationRefused::new(
                    RefusedBecause::WrongMerchant,
                    format!("{name} is {theirs:?}"),
                ));
            }
        }
        let event_id = need("notify_id")?;
        if event_id.len() > 128 {
            return Err(malformed("notify_id is longer than 128 characters"));
        }
        let status = need("trade_status")?;
        let found = match (status, given("gmt_payment")) {
            // A trade that was refunded in full was paid; what was refunded is told by the refunds.
            ("TRADE_SUCCESS" | "TRADE_FINISHED", paid_at) | ("TRADE_CLOSED", paid_at @ Some(_)) => {
                Some(Found::Captured(Capture {
                    amount: money(need("total_amount")?).map_err(malformed)?,
                    trade_no: need("trade_no")?.to_owned(),
                    at: paid_at.and_then(moment).unwrap_or(now),
                }))
            }
            ("TRADE_CLOSED", None) => Some(Found::Closed),
            _ => None,
        };
        let kind = match found {
            Some(found) => {
                let number =
                    ChannelOrderNo::new(need("out_trade_no")?).map_err(|e| malformed(e.to_string()))?;
                NotificationKind::Payment { number, found }
            }
            None => NotificationKind::Other { event_type: status.to_owned() },
        };
        Ok(Notification { event_id: event_id.to_owned(), kind })
    }
}

/// Exactly `success` ends the repeats; anything else is a failure.
pub(super) fn reply(verdict: &Verdict) -> HttpReply {
    let word: &'static [u8] = match verdict {
        Verdict::Taken => b"success",
        Verdict::Refused(_) | Verdict::NotNow => b"fail",
    };
    HttpReply { status: 200, content_type: Some("text/plain; charset=utf-8"), body: Bytes::from_static(word) }
}
