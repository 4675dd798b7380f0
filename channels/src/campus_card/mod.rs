//! The campus card, over CARD1: a direct channel, where the call itself moves the money.
//!
//! Owns the shared secret and the memory of nonces. Serves every scene: the payer does nothing at the channel.
//! Promises that only signed answers to its own nonces count; everything else is silence, whatever its status.
//! Leaves consent to the order and deadlines to the gateway.
//! The wire format is described in the protocol page of the campus card; sections B1 to B9 are cited where they matter.

mod client;
mod inspect;
mod notification;
mod options;
mod payment;
mod refund;
mod signing;
mod statement;
pub(crate) mod statement_file;

use async_trait::async_trait;
use bytes::Bytes;
use domain::{
    ChannelId, ChannelKind, ChannelOrderNo, Scene, Timestamp,
    channel::{
        ChannelProfile, CloseAnswer, PrepayAnswer, PrepayAsk, QueryAnswer, RefundAnswer, RefundAsk, TradeKey,
    },
};
use jiff::civil::Date;

use self::{client::Client, signing::Signing};
use crate::{
    BillError, BillFile, BillRefused, Channel, Clock, ConfigFault, EachLine, Error, HttpReply, Notification,
    NotificationCall, NotificationRefused, Verdict,
    config::{Faults, limits},
    replay::SeenNonces,
    wire::Http,
};

pub(crate) use self::inspect::inspect;
pub use self::options::Options;

/// A well-formed number that no order ever has.
const PROBE: &str = "rushpay-probe-0000";
/// Eleven minutes of 300 calls a second.
const NONCES_MAX: usize = 200_000;

/// The campus card channel.
pub struct CampusCard {
    profile: ChannelProfile,
    client: Client,
    notify_url: String,
    nonces: SeenNonces,
    probe: ChannelOrderNo,
}

impl CampusCard {
    /// Builds the channel: checks every option. Touches no network.
    ///
    /// # Errors
    /// - every fault of the options, with its key (without a path before it).
    pub fn build(id: ChannelId, options: &Options, clock: Clock) -> Result<CampusCard, Vec<ConfigFault>> {
        let mut faults = Faults::default();
        options.check(&mut faults);
        let http = faults.take("base_url", Http::new(&options.base_url, options.connect_timeout()));
        let probe = faults.take("probe", ChannelOrderNo::new(PROBE));
        let faults = faults.done();
        let (Some(http), Some(probe), true) = (http, probe, faults.is_empty()) else { return Err(faults) };
        let signing =
            Signing::new(options.merchant_id.clone(), options.key_id.clone(), options.secret.expose());
        let profile = ChannelProfile {
            id,
            kind: ChannelKind::Direct,
            scenes: vec![Scene::Native, Scene::Jsapi, Scene::H5],
            limit: options.limit(),
            limits: limits(&options.limits),
        };
        let nonces = SeenNonces::new(NONCES_MAX);
        let notify_url = options.notify_url.clone();
        Ok(CampusCard { profile, client: Client { http, signing, clock }, notify_url, nonces, probe })
    }
}

#[async_trait]
impl Channel for CampusCard {
    fn profile(&self) -> &ChannelProfile {
        &self.profile
    }

    async fn prepay(&self, ask: &PrepayAsk) -> PrepayAnswer {
        self.ask_payment(ask).await
    }

    async fn query(&self, trade: &TradeKey) -> QueryAnswer {
        self.ask_payment_query(&trade.number).await
    }

    /// A paid order answers `Settled(Captured)`: it stays paid.
    async fn close(&self, trade: &TradeKey) -> CloseAnswer {
        self.ask_close(&trade.number).await
    }

    async fn refund(&self, ask: &RefundAsk) -> RefundAnswer {
        self.ask_refund(ask).await
    }

    async fn refund_query(&self, ask: &RefundAsk) -> RefundAnswer {
        self.ask_refund_query(&ask.refund_no).await
    }

    async fn bill(&self, day: Date) -> Result<Bytes, BillError> {
        self.fetch_statement(day).await
    }

    fn read_bill(&self, day: Date, file: BillFile<'_>, each: EachLine<'_>) -> Result<(), BillRefused> {
        statement_file::read(file, &self.client.signing.merchant, &day.to_string(), each)
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
        self.ask_payment_query(&self.probe).await
    }

    /// There is nothing to fetch: the secret is configured.
    async fn warm_up(&self) -> Result<(), Error> {
        Ok(())
    }
}
