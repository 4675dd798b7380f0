//! Alipay (`gateway.do`, RSA2, key mode and certificate mode): QR codes, mini program, cashier page.
//!
//! Owns the app's key, and Alipay's public key or certificates. A credential channel: asking for a credential moves nothing.
//! Promises that what it passes on as final was signed by Alipay, for our app and order number, and that no payer is
//! offered credit unless the configuration says so. Leaves amounts to the order and deadlines to the gateway.
//! The wire format is described in the protocol page of Alipay; sections are cited where they matter.

mod bill;
pub(crate) mod bill_file;
pub(crate) mod client;
mod inspect;
mod notification;
mod options;
mod platform;
mod refund;
mod settlement;
#[cfg(test)]
mod tests;
pub(crate) mod text;
mod trade;

use async_trait::async_trait;
use bytes::Bytes;
use domain::{
    ChannelId, ChannelKind, Timestamp,
    channel::{
        ChannelProfile, CloseAnswer, PrepayAnswer, PrepayAsk, QueryAnswer, RefundAnswer, RefundAsk, TradeKey,
    },
};
use jiff::civil::Date;
use keys::{KeyFile, RsaSigner};

pub(crate) use self::inspect::inspect;
pub use self::options::Options;
use self::{client::Client, platform::Platform};
use crate::{
    BillError, BillFile, BillRefused, Channel, Clock, ConfigFault, EachLine, Error, HttpReply, Notification,
    NotificationCall, NotificationRefused, Settlement, Verdict,
    config::{Faults, limits},
    signing_pool::SigningPool,
    wire::Http,
};

/// A well-formed number that no order ever has.
const PROBE: &str = "rushpay_probe_0000";

/// The Alipay channel.
pub struct Alipay {
    profile: ChannelProfile,
    client: Client,
    options: Options,
}

impl Alipay {
    /// Builds the channel: checks every option, reads every key file. Touches no network.
    ///
    /// # Errors
    /// - every fault of the options and of the key files, with its key (without a path before it).
    pub fn build(id: ChannelId, options: Options, clock: Clock) -> Result<Alipay, Vec<ConfigFault>> {
        let mut faults = Faults::default();
        options.check(&mut faults);
        let pem = faults.take("merchant_key", KeyFile::read_private(&options.merchant_key));
        let signer = pem.and_then(|pem| faults.take("merchant_key", RsaSigner::from_pkcs8_pem(pem.expose())));
        let platform = Platform::open(&options, &mut faults);
        let http = faults.take("base_url", Http::new(&options.base_url, options.connect_timeout()));
        let (Some(signer), Some(platform), Some(http)) = (signer, platform, http) else {
            return Err(faults.done());
        };
        let pool =
            faults.take("signing_threads", SigningPool::start(Box::new(signer), options.signing_threads));
        let faults = faults.done();
        let Some(pool) = pool.filter(|_| faults.is_empty()) else { return Err(faults) };
        let (gateway, app_id) = (options.base_url.clone(), options.app_id.clone());
        let client = Client { http, gateway, app_id, pool, platform, clock };
        let scenes = options.scenes.clone();
        let profile = ChannelProfile {
            id,
            kind: ChannelKind::Credential,
            scenes,
            limit: options.limit(),
            limits: limits(&options.limits),
        };
        Ok(Alipay { profile, client, options })
    }
}

#[async_trait]
impl Channel for Alipay {
    fn profile(&self) -> &ChannelProfile {
        &self.profile
    }

    async fn prepay(&self, ask: &PrepayAsk) -> PrepayAnswer {
        self.ask_prepay(ask).await
    }

    async fn query(&self, trade: &TradeKey) -> QueryAnswer {
        self.ask_query(trade.number.as_str()).await
    }

    /// By `alipay.trade.close`, never by `cancel`, which gives back what was paid meanwhile. A code that nobody
    /// scanned is "not there", and may still be scanned until it expires.
    async fn close(&self, trade: &TradeKey) -> CloseAnswer {
        self.ask_close(&trade.number).await
    }

    async fn refund(&self, ask: &RefundAsk) -> RefundAnswer {
        self.ask_refund(ask).await
    }

    async fn refund_query(&self, ask: &RefundAsk) -> RefundAnswer {
        self.ask_refund_query(&ask.refund_no, &ask.channel_order_no).await
    }

    /// The ZIP file as it came: the detail and the totals of the day, GBK.
    async fn bill(&self, day: Date) -> Result<Bytes, BillError> {
        self.fetch_bill(day).await
    }

    fn read_bill(&self, _day: Date, file: BillFile<'_>, each: EachLine<'_>) -> Result<(), BillRefused> {
        bill_file::read(file, each)
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
        self.ask_query(PROBE).await
    }

    fn settlement(&self) -> Option<&dyn Settlement> {
        Some(self)
    }

    async fn warm_up(&self) -> Result<(), Error> {
        Ok(())
    }
}
