//! UnionPay QuickPass (gateway 5.1.0, certificates): codes that the payer scans, and the cashier page.
//!
//! Owns the merchant's PKCS#12 identity and the certificates that UnionPay's signers must descend from. A credential
//! channel: asking for a credential moves nothing.
//! Promises that what it passes on as final was signed by UnionPay itself (not by another customer of the same
//! authority) for our merchant, number and time. There is no close: an unpaid trade ends with its last moment, and no
//! "failed" is final before it. Leaves amounts to the order and deadlines to the gateway.
//! The wire format is described in the protocol page of UnionPay; sections are cited where they matter.

mod bill;
pub(crate) mod bill_file;
mod client;
mod inspect;
mod meaning;
pub(crate) mod message;
mod notification;
mod options;
mod refund;
#[cfg(test)]
mod tests;
mod trade;
mod trust;

use async_trait::async_trait;
use bytes::Bytes;
use domain::{
    ChannelId, ChannelKind, ChannelOrderNo, Timestamp,
    channel::{
        ChannelProfile, CloseAnswer, PrepayAnswer, PrepayAsk, QueryAnswer, RefundAnswer, RefundAsk, TradeKey,
    },
};
use jiff::civil::Date;
use keys::{Anchors, Identity, KeyFile, RsaSigner};

pub(crate) use self::inspect::inspect;
pub use self::options::Options;
use self::{client::Client, trust::Trust};
use crate::{
    BillError, BillFile, BillRefused, Channel, Clock, ConfigFault, EachLine, Error, HttpReply, Notification,
    NotificationCall, NotificationRefused, Verdict,
    config::{Faults, limits},
    signing_pool::SigningPool,
    wire::Http,
};

/// A well-formed number that no order ever has.
const PROBE: &str = "rushpayprobe0000";

/// The UnionPay channel.
pub struct UnionPay {
    profile: ChannelProfile,
    client: Client,
    options: Options,
    probe: ChannelOrderNo,
}

impl UnionPay {
    /// Builds the channel: checks every option, opens every key file. Touches no network.
    ///
    /// # Errors
    /// - every fault of the options and of the key files, with its key (without a path before it).
    pub fn build(id: ChannelId, options: Options, clock: Clock) -> Result<UnionPay, Vec<ConfigFault>> {
        let mut faults = Faults::default();
        options.check(&mut faults);
        let bytes = faults.take("sign_cert", KeyFile::read_private_bytes(&options.sign_cert));
        let identity =
            bytes.and_then(|b| faults.take("sign_cert", Identity::open(&b, &options.sign_cert_password)));
        let signer = identity
            .as_ref()
            .and_then(|i| faults.take("sign_cert", RsaSigner::from_pkcs8_pem(i.key_pem.expose())));
        let root = faults.take("root_cert", KeyFile::read_certificate(&options.root_cert));
        let middle = faults.take("middle_cert", KeyFile::read_certificate(&options.middle_cert));
        let texts: Vec<&str> = [&root, &middle].into_iter().flatten().map(String::as_str).collect();
        let anchors = faults.take("middle_cert", Anchors::from_pem(texts));
        let http = faults.take("base_url", Http::new(&options.base_url, options.connect_timeout()));
        let files = faults.take("file_url", Http::new(options.file_url(), options.connect_timeout()));
        let probe = faults.take("probe", ChannelOrderNo::new(PROBE));
        let (Some(identity), Some(signer), Some(anchors), Some(http), Some(files), Some(probe)) =
            (identity, signer, anchors, http, files, probe)
        else {
            return Err(faults.done());
        };
        let pool =
            faults.take("signing_threads", SigningPool::start(Box::new(signer), options.signing_threads));
        let faults = faults.done();
        let Some(pool) = pool.filter(|_| faults.is_empty()) else { return Err(faults) };
        let client = Client {
            http,
            files,
            mer_id: options.mer_id.clone(),
            cert_id: identity.certificate.serial_decimal,
            pool,
            trust: Trust::new(anchors, options.accept_test_signer),
            clock,
        };
        let scenes = options.scenes.clone();
        let profile = ChannelProfile {
            id,
            kind: ChannelKind::Credential,
            scenes,
            limit: options.limit(),
            limits: limits(&options.limits),
        };
        Ok(UnionPay { profile, client, options, probe })
    }

    fn now(&self) -> Timestamp {
        (self.client.clock)()
    }
}

#[async_trait]
impl Channel for UnionPay {
    fn profile(&self) -> &ChannelProfile {
        &self.profile
    }

    /// A repeat is refused as a duplicate without the code that the first call made: the code is then lost, and the
    /// order pays elsewhere.
    async fn prepay(&self, ask: &PrepayAsk) -> PrepayAnswer {
        self.ask_prepay(ask).await
    }

    async fn query(&self, trade: &TradeKey) -> QueryAnswer {
        self.ask_query(trade).await
    }

    /// There is no close: a query, whose word is final only after the trade's last moment.
    async fn close(&self, trade: &TradeKey) -> CloseAnswer {
        self.ask_query(trade).await
    }

    async fn refund(&self, ask: &RefundAsk) -> RefundAnswer {
        self.ask_refund(ask).await
    }

    async fn refund_query(&self, ask: &RefundAsk) -> RefundAnswer {
        self.ask_refund_query(ask).await
    }

    /// The ZIP file of a settlement day (23:00 to 23:00), as it is inside the answer.
    async fn bill(&self, day: Date) -> Result<Bytes, BillError> {
        self.fetch_bill(day).await
    }

    /// The settlement day ends at 23:00.
    fn bill_span(&self, day: Date) -> (Timestamp, Timestamp) {
        let hour = std::time::Duration::from_secs(3_600);
        let midnight = crate::clock::midnight(day);
        let next = crate::clock::midnight(day.tomorrow().unwrap_or(day));
        (midnight.minus(hour), next.minus(hour))
    }

    fn read_bill(&self, _day: Date, file: BillFile<'_>, each: EachLine<'_>) -> Result<(), BillRefused> {
        bill_file::read(file, &self.client.mer_id, self.now(), each)
    }

    fn parse_notification(
        &self,
        call: &NotificationCall,
        now: Timestamp,
    ) -> Result<Notification, NotificationRefused> {
        self.parse(call, now)
    }

    fn notification_answer(&self, verdict: &Verdict) -> HttpReply {
        notification::reply(verdict)
    }

    async fn probe(&self) -> QueryAnswer {
        let now = self.now();
        let nobodys = TradeKey { number: self.probe.clone(), planned_at: now, expires_at: now };
        self.ask_query(&nobodys).await
    }

    async fn warm_up(&self) -> Result<(), Error> {
        Ok(())
    }
}
