//! WeChat Pay API v3, direct merchant: native, JSAPI and H5.
//!
//! Owns the merchant's key and WeChat's keys. A credential channel: prepaying moves nothing.
//! Promises that what it passes on as final was signed by WeChat, for our merchant, app and order number.
//! Leaves amounts to the order and deadlines to the gateway.
//! The wire format is described in the protocol page of WeChat Pay v3; sections are cited where they matter.

mod bill;
pub(crate) mod bill_file;
mod certificates;
mod client;
mod errors;
mod inspect;
mod notification;
mod options;
mod prepay;
mod refund;
mod settlement;
mod trade;
mod verifying;

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use domain::{
    Answer, ChannelId, ChannelKind, ChannelOrderNo, Found, Timestamp,
    channel::{
        ChannelProfile, CloseAnswer, Fault, PrepayAnswer, PrepayAsk, QueryAnswer, RefundAnswer, RefundAsk,
        StillOpen, TradeKey,
    },
};
use jiff::civil::Date;
use keys::{KeyFile, RsaSigner, RsaVerifier};
use serde::Serialize;

use self::{
    certificates::Refresh,
    client::{Client, Heard, Signed},
    errors::{Meaning, meaning, refusal, silent},
    trade::{Status, Trade},
    verifying::{KeyMap, WechatKeys},
};
use crate::{
    BillError, BillFile, BillRefused, Channel, Clock, ConfigFault, EachLine, Error, HttpReply, Notification,
    NotificationCall, NotificationRefused, Settlement, Verdict,
    config::{Faults, limits},
    signing_pool::SigningPool,
    wire::Http,
};

pub(crate) use self::inspect::inspect;
pub use self::options::Options;

/// A well-formed number that no order ever has.
const PROBE: &str = "rushpay-probe-0000";

/// The WeChat Pay channel.
pub struct WeChat {
    profile: ChannelProfile,
    client: Arc<Client>,
    notify_url: String,
    /// Money is frozen when it is paid, for profit sharing.
    profit_sharing: bool,
    /// WeChat's public key, PEM: names are sealed for it.
    sealing_key: Option<String>,
}

#[derive(Serialize)]
struct CloseRequest<'a> {
    mchid: &'a str,
}

impl WeChat {
    /// Builds the channel: checks every option, reads every key file. Touches no network.
    ///
    /// # Errors
    /// - every fault of the options and of the key files, with its key (without a path before it).
    pub fn build(id: ChannelId, options: &Options, clock: Clock) -> Result<WeChat, Vec<ConfigFault>> {
        let mut faults = Faults::default();
        options.check(&mut faults);
        let signer = faults.take("merchant_key", KeyFile::read_private(&options.merchant_key));
        let signer =
            signer.and_then(|pem| faults.take("merchant_key", RsaSigner::from_pkcs8_pem(pem.expose())));
        let apiv3_key = options.apiv3(&mut faults);
        let (mut map, mut sealing_key) = (KeyMap::new(), None);
        if let (Some(id), Some(path)) = (&options.public_key_id, &options.public_key) {
            let pem = faults.take("public_key", KeyFile::read_public(path));
            let key = pem.as_ref().and_then(|pem| faults.take("public_key", RsaVerifier::from_spki_pem(pem)));
            if let Some(key) = key {
                map.insert(id.clone(), Arc::new(key));
            }
            sealing_key = pem;
        }
        let http = faults.take("base_url", Http::new(&options.base_url, options.connect_timeout()));
        let (Some(signer), Some(apiv3_key), Some(http)) = (signer, apiv3_key, http) else {
            return Err(faults.done());
        };
        let pool =
            faults.take("signing_threads", SigningPool::start(Box::new(signer), options.signing_threads));
        let faults = faults.done();
        let Some(pool) = pool.filter(|_| faults.is_empty()) else { return Err(faults) };
        let pause = Duration::from_millis(options.certificate_refresh_pause_ms);
        let client = Client {
            http,
            mchid: options.mchid.clone(),
            appid: options.appid.clone(),
            merchant_serial: options.merchant_serial.clone(),
            apiv3_key,
            pool,
            keys: WechatKeys::new(map),
            public_key_id: options.public_key_id.clone(),
            refresh: options.platform_certificate_mode.then(|| Refresh::new(pause)),
            clock,
        };
        let profile = ChannelProfile {
            id,
            kind: ChannelKind::Credential,
            scenes: options.scenes.clone(),
            limit: options.limit(),
            limits: limits(&options.limits),
        };
        let (notify_url, profit_sharing) = (options.notify_url.clone(), options.profit_sharing);
        Ok(WeChat { profile, client: Arc::new(client), notify_url, profit_sharing, sealing_key })
    }

    async fn ask_query(&self, number: &str, asked: Option<&ChannelOrderNo>) -> QueryAnswer {
        let path = format!("/v3/pay/transactions/out-trade-no/{number}?mchid={}", self.client.mchid);
        match self.client.get(&path).await {
            Ok(Heard::Signed(signed)) if signed.status == 200 => self.read_trade(&signed, asked),
            Ok(Heard::Signed(_)) => Answer::Accepted(StillOpen::Pending),
            Ok(Heard::Error(word)) => match meaning(&word) {
                Meaning::NotThere => Answer::Accepted(StillOpen::NotFound),
                Meaning::InProgress => Answer::Accepted(StillOpen::Pending),
                Meaning::Refused(fault) => Answer::Declined(refusal(word, fault)),
                Meaning::TooFast => Answer::Declined(refusal(word, Fault::Channel)),
                Meaning::Unknown => silent(&word),
            },
            Err(lost) => lost.into(),
        }
    }

    fn read_trade(&self, signed: &Signed, asked: Option<&ChannelOrderNo>) -> QueryAnswer {
        let trade: Trade = match signed.json() {
            Ok(trade) => trade,
            Err(lost) => return lost.into(),
        };
        let status = match trade.mismatch(&self.client.mchid, &self.client.appid, asked) {
            Some(mismatch) => Err(mismatch),
            None => trade.status(signed.at),
        };
        match status {
            Ok(Status::Open(open)) => Answer::Accepted(open),
            Ok(Status::Final(found)) => Answer::Settled(found),
            Err(problem) => {
                tracing::error!(
                    request_id = signed.request_id,
                    problem,
                    "a signed WeChat answer is no evidence"
                );
                Answer::Silent(problem)
            }
        }
    }
}

#[async_trait]
impl Channel for WeChat {
    fn profile(&self) -> &ChannelProfile {
        &self.profile
    }

    async fn prepay(&self, ask: &PrepayAsk) -> PrepayAnswer {
        self.ask_prepay(ask).await
    }

    async fn query(&self, trade: &TradeKey) -> QueryAnswer {
        self.ask_query(trade.number.as_str(), Some(&trade.number)).await
    }

    /// A paid trade is refused with `ORDERPAID` ([`Fault::State`]): query it, it is a success.
    async fn close(&self, trade: &TradeKey) -> CloseAnswer {
        let path = format!("/v3/pay/transactions/out-trade-no/{}/close", trade.number);
        match self.client.post(&path, &CloseRequest { mchid: &self.client.mchid }).await {
            Ok(Heard::Signed(signed)) if signed.status == 204 => Answer::Settled(Found::Closed),
            Ok(Heard::Signed(_)) => Answer::Accepted(StillOpen::Pending),
            Ok(Heard::Error(word)) => match meaning(&word) {
                Meaning::NotThere => Answer::Accepted(StillOpen::NotFound),
                Meaning::InProgress => Answer::Accepted(StillOpen::Pending),
                Meaning::Refused(fault) => Answer::Declined(refusal(word, fault)),
                Meaning::TooFast => Answer::Declined(refusal(word, Fault::Channel)),
                Meaning::Unknown => silent(&word),
            },
            Err(lost) => lost.into(),
        }
    }

    async fn refund(&self, ask: &RefundAsk) -> RefundAnswer {
        self.ask_refund(ask).await
    }

    async fn refund_query(&self, ask: &RefundAsk) -> RefundAnswer {
        self.ask_refund_query(&ask.refund_no).await
    }

    async fn bill(&self, day: Date) -> Result<Bytes, BillError> {
        self.fetch_bill(day).await
    }

    fn read_bill(&self, _day: Date, file: BillFile<'_>, each: EachLine<'_>) -> Result<(), BillRefused> {
        bill_file::read(file, &self.client.mchid, each)
    }

    fn parse_notification(
        &self,
        call: &NotificationCall,
        now: Timestamp,
    ) -> Result<Notification, NotificationRefused> {
        self.parse(call, now)
    }

    fn notification_answer(&self, verdict: &Verdict) -> HttpReply {
        self.reply(verdict)
    }

    async fn probe(&self) -> QueryAnswer {
        self.ask_query(PROBE, None).await
    }

    fn settlement(&self) -> Option<&dyn Settlement> {
        Some(self)
    }

    async fn warm_up(&self) -> Result<(), Error> {
        let fetched = self.client.refresh_certificates().await;
        let keyless = self.client.keys.is_empty();
        let problem = match fetched {
            Ok(()) if keyless => "the last try to fetch certificates was a moment ago".to_owned(),
            Ok(()) => return Ok(()),
            Err(problem) => problem,
        };
        if keyless {
            return Err(Error::WarmUp { channel: self.profile.id.clone(), problem });
        }
        // Merchants that have only the public key get an error here; the public key is enough.
        tracing::warn!(problem, "no platform certificates; going on with the public key alone");
        Ok(())
    }
}
