//! A house with a real store and channels that do what a test says.

#![allow(
    missing_docs,
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::as_conversions,
    reason = "tests"
)]

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use actors::{
    Clock, HttpCourier, Parts, Running, Service, SystemChance, SystemClock, Threads, WebhookOptions,
    reconciliation::ReconciliationOptions,
};
use async_trait::async_trait;
use bytes::Bytes;
use channels::{
    BillError, BillFile, BillLine, BillRefused, Channel, EachLine, HttpReply, Notification, NotificationCall,
    NotificationRefused, Verdict,
};
use domain::{
    Answer, Capture, ChannelId, ChannelKind, ChannelOrderNo, Credential, Found, MerchantId, Money, OrderId,
    Scene, Timestamp,
    channel::{
        ChannelProfile, CloseAnswer, PrepayAnswer, PrepayAsk, QueryAnswer, RefundAnswer, RefundAsk,
        RefundFound, StillOpen, TradeKey,
    },
    order::{OrderRequest, Payer},
    tuning::Tuning,
};
use store::{MemoryCache, SqliteOptions, SqliteStore, Store};

/// A channel double: faults that no sandbox can make at a given step.
pub struct Double {
    profile: ChannelProfile,
    pub script: Mutex<Script>,
}

/// What the double does and has seen.
#[derive(Default)]
pub struct Script {
    /// How long a prepay takes.
    pub prepay_takes: Duration,
    /// Prepays that stay silent from now on.
    pub silent: bool,
    /// Trades are unknown until they are paid, as codes are that nobody scanned.
    pub unscanned: bool,
    /// Numbers that were paid, with the amount.
    pub paid: HashMap<String, i64>,
    pub closed: Vec<String>,
    pub prepays: Vec<String>,
    pub queries: u32,
    pub refunds: Vec<(String, i64)>,
    /// When it captures, in seconds; 0 is the first one.
    pub captures_at_s: i64,
    pub bill: Bill,
}

/// What the double says of its bill.
#[derive(Default)]
pub enum Bill {
    #[default]
    NotReady,
    None,
    Lines(Vec<BillLine>),
}

impl Double {
    pub fn new(name: &str, kind: ChannelKind) -> Arc<Double> {
        let profile = ChannelProfile {
            id: ChannelId::new(name).unwrap(),
            kind,
            scenes: vec![Scene::Native, Scene::Jsapi, Scene::H5],
            limit: Money::from_fen(100_000).unwrap(),
            limits: Vec::new(),
        };
        Arc::new(Double { profile, script: Mutex::default() })
    }

    fn capture(&self, number: &str) -> Option<Found> {
        let script = self.script.lock().unwrap();
        let amount = *script.paid.get(number)?;
        Some(Found::Captured(Capture {
            amount: Money::from_fen(amount).unwrap(),
            trade_no: format!("T{number}"),
            at: Timestamp::from_secs(script.captures_at_s.max(1)),
        }))
    }

    pub fn pay(&self, number: &ChannelOrderNo, fen: i64) {
        self.script.lock().unwrap().paid.insert(number.to_string(), fen);
    }
}

#[async_trait]
impl Channel for Double {
    fn profile(&self) -> &ChannelProfile {
        &self.profile
    }

    async fn prepay(&self, ask: &PrepayAsk) -> PrepayAnswer {
        let (takes, silent) = {
            let mut script = self.script.lock().unwrap();
            script.prepays.push(ask.channel_order_no.to_string());
            (script.prepay_takes, script.silent)
        };
        tokio::time::sleep(takes).await;
        if silent {
            return Answer::Silent("the test says so".to_owned());
        }
        if self.profile.kind == ChannelKind::Direct {
            self.pay(&ask.channel_order_no, ask.amount.fen());
            return Answer::Settled(self.capture(ask.channel_order_no.as_str()).unwrap());
        }
        Answer::Accepted(Some(Credential::Qr { code_url: format!("double://{}", ask.channel_order_no) }))
    }

    async fn query(&self, trade: &TradeKey) -> QueryAnswer {
        let number = &trade.number;
        self.script.lock().unwrap().queries += 1;
        match self.capture(number.as_str()) {
            Some(found) => Answer::Settled(found),
            None if self.script.lock().unwrap().unscanned => Answer::Accepted(StillOpen::NotFound),
            None => Answer::Accepted(StillOpen::Pending),
        }
    }

    async fn close(&self, trade: &TradeKey) -> CloseAnswer {
        let number = &trade.number;
        if let Some(found) = self.capture(number.as_str()) {
            return Answer::Settled(found);
        }
        let mut script = self.script.lock().unwrap();
        if script.unscanned {
            return Answer::Accepted(StillOpen::NotFound);
        }
        script.closed.push(number.to_string());
        Answer::Settled(Found::Closed)
    }

    async fn refund(&self, ask: &RefundAsk) -> RefundAnswer {
        self.script.lock().unwrap().refunds.push((ask.refund_no.to_string(), ask.amount.fen()));
        Answer::Settled(RefundFound::Succeeded {
            channel_refund_id: "R1".to_owned(),
            amount: ask.amount,
            at: Timestamp::from_secs(2),
        })
    }

    async fn refund_query(&self, _: &RefundAsk) -> RefundAnswer {
        Answer::Silent("not asked in these tests".to_owned())
    }

    async fn bill(&self, _: jiff::civil::Date) -> Result<Bytes, BillError> {
        match &self.script.lock().unwrap().bill {
            Bill::NotReady => Err(BillError::NotReady),
            Bill::None => Err(BillError::NoBill),
            Bill::Lines(_) => Ok(Bytes::from_static(b"a bill")),
        }
    }

    fn read_bill(
        &self,
        _: jiff::civil::Date,
        _: BillFile<'_>,
        each: EachLine<'_>,
    ) -> Result<(), BillRefused> {
        if let Bill::Lines(lines) = &self.script.lock().unwrap().bill {
            lines.iter().cloned().for_each(each);
        }
        Ok(())
    }

    fn parse_notification(
        &self,
        _: &NotificationCall,
        _: Timestamp,
    ) -> Result<Notification, NotificationRefused> {
        unreachable!("not asked in these tests")
    }

    fn notification_answer(&self, _: &Verdict) -> HttpReply {
        unreachable!("not asked in these tests")
    }

    async fn probe(&self) -> QueryAnswer {
        Answer::Accepted(StillOpen::NotFound)
    }

    async fn warm_up(&self) -> Result<(), channels::Error> {
        Ok(())
    }
}

pub struct House {
    pub running: Running,
    pub service: Service,
    pub store: Arc<dyn Store>,
}

/// A house over the store file in `dir`.
pub async fn house(dir: &std::path::Path, channels: Vec<Arc<Double>>, tuning: Tuning) -> House {
    house_over(open(dir).await, channels, tuning).await
}

/// The store file in `dir`.
pub async fn open(dir: &std::path::Path) -> Arc<dyn Store> {
    Arc::new(SqliteStore::open(&dir.join("rushpay.db"), &SqliteOptions::default()).await.unwrap())
}

/// A house over a store that is open already.
pub async fn house_over(store: Arc<dyn Store>, channels: Vec<Arc<Double>>, tuning: Tuning) -> House {
    house_at(store, channels, tuning, Arc::new(SystemClock), None).await
}

/// A house with a clock of its own, that reconciles if it is said how.
pub async fn house_at(
    store: Arc<dyn Store>,
    channels: Vec<Arc<Double>>,
    tuning: Tuning,
    clock: Arc<dyn Clock>,
    reconciliation: Option<ReconciliationOptions>,
) -> House {
    let _installed_by_another_test = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let parts = Parts {
        reconciliation,
        store: store.clone(),
        cache: Arc::new(MemoryCache::default()),
        clock,
        chance: Arc::new(SystemChance),
        tuning,
        channels: channels.into_iter().map(|c| c as Arc<dyn Channel>).collect(),
        webhooks: WebhookOptions {
            secret: Arc::from(&b"a secret for tests of thirty-two b"[..]),
            courier: Arc::new(HttpCourier::new().unwrap()),
        },
        threads: Threads::Own { orders: 2 },
    };
    let running = actors::start(parts).await.unwrap();
    House { service: running.service.clone(), running, store }
}

pub fn request(order_no: &str, fen: i64, consents: &[&str]) -> OrderRequest {
    OrderRequest {
        order_no: order_no.to_owned(),
        merchant_id: MerchantId::new("canteen-1").unwrap(),
        amount: Money::from_fen(fen).unwrap(),
        description: "Beef noodles".to_owned(),
        payer: Payer {
            id: "stu-1".to_owned(),
            account_type: "student".to_owned(),
            openid: None,
            accounts: std::collections::BTreeMap::new(),
            client_ip: None,
        },
        scene: Scene::Native,
        channels: Vec::new(),
        consents: consents.iter().map(|c| ChannelId::new(c).unwrap()).collect(),
        notify_url: None,
        keep_late: false,
        part_of: None,
        expires_at: Timestamp::from_millis(
            i64::try_from(
                std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis(),
            )
            .unwrap()
                + 600_000,
        ),
    }
}

/// Waits, with a bound, until the order's view satisfies `done`; returns the view.
pub async fn until(
    service: &Service,
    id: OrderId,
    done: impl Fn(&serde_json::Value) -> bool,
) -> serde_json::Value {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
    let (mut version, mut last) = (0, serde_json::Value::Null);
    loop {
        let left = deadline.saturating_duration_since(tokio::time::Instant::now());
        assert!(!left.is_zero(), "the order did not get there in time, it is {last}");
        if let Some(body) = service.order_after(id, version, left.min(Duration::from_secs(5))).await.unwrap()
        {
            version = body.version;
            let view: serde_json::Value = serde_json::from_slice(&body.json).unwrap();
            if done(&view) {
                return view;
            }
            last = view;
        }
    }
}
