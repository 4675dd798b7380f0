//! The store of the house, with a disk that may refuse, be slow, lose its answer, or die with the process.
//!
//! Beneath is the real store, in memory. Every order's transition that became durable is shown to the oracle, also
//! when nobody else ever heard of it.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use async_trait::async_trait;
use domain::{OrderId, Timestamp, order::Order};
use store::{
    AppendError, Appended, AuditPage, AuditRange, Bills, Entry, Error, EventLine, NotificationFilter,
    NotificationRow, OrderFilter, OrderLine, PayerRow, SqliteStore, Store, StoredEvent, SwitchRow, TuningRow,
    WebhookBackend, WebhookDue, WebhookFilter, WebhookLine, WebhookResend, WebhookTotals,
};
use tokio::sync::mpsc::Receiver;

use crate::{bill_store::FaultyBills, world::Reality};

/// The store as the house sees it.
pub(crate) struct FaultyStore {
    pub(crate) inner: Arc<SqliteStore>,
    pub(crate) reality: Arc<Reality>,
    pub(crate) bills: FaultyBills,
}

/// What becomes of one commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Committed,
    Slow(Duration),
    Refused,
    /// Durable, and the store says that it does not know.
    AnswerLost,
    DiesBefore,
    DiesAfter,
}

const MISCHIEF: f64 = 1.0 / 400.0;

impl FaultyStore {
    /// A read fails now and then; it waits for ever once the process is dead.
    async fn read(&self, what: &'static str) -> Result<(), Error> {
        let (dead, fails) = self.reality.with(|world| (world.dead, world.mischief(1.0 / 3_000.0)));
        if dead {
            return std::future::pending().await;
        }
        if fails {
            self.reality.with(|world| world.count("reads refused"));
            return Err(Error::Query { what, source: "the simulation says so".into() });
        }
        Ok(())
    }
}

#[async_trait]
impl Store for FaultyStore {
    fn bills(&self) -> &dyn Bills {
        &self.bills
    }

    async fn append(&self, entries: Vec<Entry>) -> Vec<Result<Appended, AppendError>> {
        let fate = self.reality.with(|world| {
            if world.dead {
                return None;
            }
            // Changes of thresholds are rare, and their accidents as worth seeing.
            let rare = entries.iter().any(|entry| matches!(entry, Entry::Tuning(_)));
            if !world.mischief(if rare { 0.1 } else { MISCHIEF }) {
                return Some(Fate::Committed);
            }
            let slow = Fate::Slow(world.dice.ms(20, 4_000));
            let fate = world.dice.pick(
                &[
                    (4.0, slow),
                    (3.0, Fate::Refused),
                    (2.0, Fate::AnswerLost),
                    (0.5, Fate::DiesBefore),
                    (0.5, Fate::DiesAfter),
                ],
                slow,
            );
            match fate {
                Fate::Slow(_) => world.count("commits slow"),
                Fate::Refused => world.count("commits refused"),
                Fate::AnswerLost => world.count("commits of unknown fate"),
                Fate::Committed | Fate::DiesBefore | Fate::DiesAfter => {}
            }
            Some(fate)
        });
        let unavailable =
            || AppendError::Unavailable { what: "the simulation says so: disk I/O error".to_owned() };
        match fate {
            None => return std::future::pending().await,
            Some(Fate::DiesBefore) => return self.reality.die("crashes before a commit").await,
            Some(Fate::Refused) => return entries.iter().map(|_| Err(unavailable())).collect(),
            Some(Fate::Slow(by)) => tokio::time::sleep(by).await,
            Some(Fate::Committed | Fate::AnswerLost | Fate::DiesAfter) => {}
        }
        // A process that died while its disk was slow has written nothing.
        if self.reality.with(|world| world.dead) {
            return std::future::pending().await;
        }
        let outcomes = self.inner.append(entries.clone()).await;
        self.reality.with(|world| {
            for (entry, outcome) in entries.iter().zip(&outcomes) {
                if let (Entry::Order(commit), Ok(_)) = (entry, outcome) {
                    world.committed(commit);
                }
            }
        });
        match fate {
            Some(Fate::DiesAfter) => self.reality.die("crashes after a commit").await,
            Some(Fate::AnswerLost) => outcomes.iter().map(|_| Err(unavailable())).collect(),
            _ => outcomes,
        }
    }

    async fn order_load(&self, id: OrderId) -> Result<Option<Order>, Error> {
        self.read("order_load").await?;
        self.inner.order_load(id).await
    }

    async fn order_find(&self, merchant: &str, order_no: &str) -> Result<Option<(OrderId, String)>, Error> {
        self.read("order_find").await?;
        self.inner.order_find(merchant, order_no).await
    }

    async fn orders_open(&self, after: Option<OrderId>, limit: usize) -> Result<Vec<OrderId>, Error> {
        self.read("orders_open").await?;
        self.inner.orders_open(after, limit).await
    }

    async fn orders_list(&self, filter: &OrderFilter) -> Result<Vec<OrderLine>, Error> {
        self.read("orders_list").await?;
        self.inner.orders_list(filter).await
    }

    async fn orders_count(&self) -> Result<Vec<(String, u64)>, Error> {
        self.read("orders_count").await?;
        self.inner.orders_count().await
    }

    async fn order_history(&self, id: OrderId) -> Result<Vec<StoredEvent>, Error> {
        self.read("order_history").await?;
        self.inner.order_history(id).await
    }

    async fn webhook_backends(&self, after: &str, limit: usize) -> Result<Vec<WebhookBackend>, Error> {
        self.read("webhook_backends").await?;
        self.inner.webhook_backends(after, limit).await
    }

    async fn webhooks_due(
        &self,
        now: Timestamp,
        asks: Vec<(String, usize)>,
    ) -> Result<Vec<WebhookDue>, Error> {
        self.read("webhooks_due").await?;
        self.inner.webhooks_due(now, asks).await
    }

    async fn webhooks_list(&self, filter: &WebhookFilter) -> Result<Vec<WebhookLine>, Error> {
        self.read("webhooks_list").await?;
        self.inner.webhooks_list(filter).await
    }

    async fn webhook_totals(&self) -> Result<Vec<WebhookTotals>, Error> {
        self.read("webhook_totals").await?;
        self.inner.webhook_totals().await
    }

    async fn webhook_resends(
        &self,
        id: Option<&str>,
        limit: usize,
    ) -> Result<Vec<(WebhookResend, u64)>, Error> {
        self.read("webhook_resends").await?;
        self.inner.webhook_resends(id, limit).await
    }

    async fn events_after(&self, cursor: i64, limit: usize) -> Result<Vec<EventLine>, Error> {
        self.read("events_after").await?;
        self.inner.events_after(cursor, limit).await
    }

    async fn notifications_list(&self, filter: &NotificationFilter) -> Result<Vec<NotificationRow>, Error> {
        self.read("notifications_list").await?;
        self.inner.notifications_list(filter).await
    }

    async fn payer(&self, payer_id: &str) -> Result<Option<PayerRow>, Error> {
        self.read("payer").await?;
        self.inner.payer(payer_id).await
    }

    async fn payers_recent(&self, limit: usize) -> Result<Vec<PayerRow>, Error> {
        self.read("payers_recent").await?;
        self.inner.payers_recent(limit).await
    }

    async fn tuning_all(&self) -> Result<Vec<TuningRow>, Error> {
        self.read("tuning_all").await?;
        self.inner.tuning_all().await
    }

    async fn switches_list(&self, limit: usize) -> Result<Vec<SwitchRow>, Error> {
        self.read("switches_list").await?;
        self.inner.switches_list(limit).await
    }

    async fn audit_scan(&self, range: AuditRange) -> Result<Receiver<AuditPage>, Error> {
        self.read("audit_scan").await?;
        self.inner.audit_scan(range).await
    }

    async fn integrity(&self) -> Result<Vec<String>, Error> {
        self.read("integrity").await?;
        self.inner.integrity().await
    }

    async fn marks(&self) -> Result<BTreeMap<String, String>, Error> {
        self.read("marks").await?;
        self.inner.marks().await
    }

    async fn mark_set(&self, key: &str, value: &str) -> Result<(), Error> {
        self.read("mark_set").await?;
        self.inner.mark_set(key, value).await
    }

    async fn books_totals(&self) -> Result<Vec<(String, i64)>, Error> {
        self.inner.books_totals().await
    }

    async fn ping(&self) -> Result<(), Error> {
        self.inner.ping().await
    }
}
