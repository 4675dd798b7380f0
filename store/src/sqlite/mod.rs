//! The embedded body: one SQLite file, WAL, synchronous=FULL, foreign keys on.
//!
//! One connection writes, a small pool reads; readers never wait for the writer. Every write is an immediate
//! transaction, since a deferred one that reads first loses against any other writer. Reading runs in one hop to a
//! blocking thread. Writing has no hop at all: `append` holds its caller's thread until the commit is on the disk,
//! and the journal, its one caller, has a thread for nothing else. In memory there is one connection for both, and
//! everything runs on the calling thread: no hop, no file, nothing that another thread could decide.

mod append;
mod backfill;
mod backup;
mod bills;
mod check;
mod kept;
mod marks;
mod open;
mod read;
mod webhooks;

use std::collections::BTreeMap;

use async_trait::async_trait;
use diesel::SqliteConnection;
use diesel_async::{pooled_connection::bb8::Pool, sync_connection_wrapper::SyncConnectionWrapper};
use domain::{OrderId, Timestamp, order::Order};
use tokio::sync::mpsc;

use crate::{
    AppendError, Appended, AuditPage, AuditRange, Bills, Entry, Error, EventLine, NotificationFilter,
    NotificationRow, OrderFilter, OrderLine, PayerRow, Store, StoredEvent, SwitchRow, TuningRow, Unreadable,
    WebhookBackend, WebhookDue, WebhookFilter, WebhookLine, WebhookResend, WebhookTotals,
};

/// Pages that are read ahead of the audit.
const AUDIT_AHEAD: usize = 4;
const READ_ONLY: &str = "the store was opened for reading alone";

pub(crate) type Connection = SyncConnectionWrapper<SqliteConnection>;

/// How the file is used.
#[derive(Debug, Clone)]
pub struct SqliteOptions {
    /// Connections for readers.
    pub readers: u32,
    /// The file may not grow beyond so many pages (4 KiB each); none means the disk's limit. For tests.
    pub pages_max: Option<u32>,
}

impl Default for SqliteOptions {
    fn default() -> SqliteOptions {
        SqliteOptions { readers: 4, pages_max: None }
    }
}

/// An open database file.
pub struct SqliteStore {
    /// None in a store that was opened for reading alone.
    writer: std::sync::Mutex<Option<SqliteConnection>>,
    /// None in memory: there the writer reads, too.
    readers: Option<Pool<Connection>>,
}

impl std::fmt::Debug for SqliteStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SqliteStore")
    }
}

impl SqliteStore {
    /// The writer, with nothing of an unfinished group left in it.
    fn writer(&self) -> std::sync::MutexGuard<'_, Option<SqliteConnection>> {
        self.writer.lock().unwrap_or_else(|poisoned| {
            // A panic in the middle of a group: nothing of it was committed, and nobody was told that it was.
            self.writer.clear_poison();
            let mut writer = poisoned.into_inner();
            writer.iter_mut().for_each(append::abandon);
            writer
        })
    }

    /// Writes in one transaction, on the calling thread.
    fn write<T>(
        &self,
        what: &'static str,
        work: impl FnOnce(&mut SqliteConnection) -> diesel::QueryResult<T>,
    ) -> Result<T, Error> {
        let mut writer = self.writer();
        let writer = writer.as_mut().ok_or_else(|| Error::Open(READ_ONLY.to_owned()))?;
        append::transaction(writer, work).map_err(Error::query(what))
    }

    /// Runs a question on a reader, in one hop.
    async fn read<T: Send + 'static>(
        &self,
        what: &'static str,
        question: impl FnOnce(&mut SqliteConnection) -> diesel::QueryResult<T> + Send + 'static,
    ) -> Result<T, Error> {
        let Some(readers) = &self.readers else {
            let mut writer = self.writer();
            let writer = writer.as_mut().ok_or_else(|| Error::Open(READ_ONLY.to_owned()))?;
            return question(writer).map_err(Error::query(what));
        };
        let mut reader =
            readers.get().await.map_err(|source| Error::Query { what, source: source.into() })?;
        reader.spawn_blocking(question).await.map_err(Error::query(what))
    }
}

#[async_trait]
impl Store for SqliteStore {
    fn bills(&self) -> &dyn Bills {
        self
    }

    async fn append(&self, entries: Vec<Entry>) -> Vec<Result<Appended, AppendError>> {
        match self.writer().as_mut() {
            Some(writer) => append::append(writer, &entries),
            None => {
                entries.iter().map(|_| Err(AppendError::Unavailable { what: READ_ONLY.to_owned() })).collect()
            }
        }
    }

    async fn order_load(&self, id: OrderId) -> Result<Option<Order>, Error> {
        let history = self.order_history(id).await?;
        Order::fold(id, history.iter().map(|e| e.facts.as_slice()))
            .map_err(|broken| Error::corrupt("order_events", broken))
    }

    async fn order_find(
        &self,
        merchant_id: &str,
        order_no: &str,
    ) -> Result<Option<(OrderId, String)>, Error> {
        let (merchant, number) = (merchant_id.to_owned(), order_no.to_owned());
        let found = self.read("order_find", move |c| read::order_find(c, &merchant, &number)).await?;
        found.map(|(id, hash)| Ok((read::order_id(&id)?, hash))).transpose()
    }

    async fn orders_open(&self, after: Option<OrderId>, limit: usize) -> Result<Vec<OrderId>, Error> {
        let ids = self.read("orders_open", move |c| read::orders_open(c, after, limit)).await?;
        ids.iter().map(|id| read::order_id(id)).collect()
    }

    async fn orders_list(&self, filter: &OrderFilter) -> Result<Vec<OrderLine>, Error> {
        let filter = filter.clone();
        let rows = self.read("orders_list", move |c| read::orders_list(c, &filter)).await?;
        rows.into_iter().map(read::order_line).collect()
    }

    async fn orders_count(&self) -> Result<Vec<(String, u64)>, Error> {
        let rows = self.read("orders_count", read::orders_count).await?;
        Ok(rows.into_iter().map(|(state, n)| (state, u64::try_from(n).unwrap_or(0))).collect())
    }

    async fn order_history(&self, id: OrderId) -> Result<Vec<StoredEvent>, Error> {
        let rows = self.read("order_history", move |c| read::order_history(c, id)).await?;
        rows.into_iter().map(read::stored_event).collect()
    }

    async fn webhook_backends(&self, after: &str, limit: usize) -> Result<Vec<WebhookBackend>, Error> {
        let after = after.to_owned();
        self.read("webhook_backends", move |c| webhooks::backends(c, &after, limit)).await
    }

    async fn webhooks_due(
        &self,
        now: Timestamp,
        asks: Vec<(String, usize)>,
    ) -> Result<Vec<WebhookDue>, Error> {
        self.read("webhooks_due", move |c| webhooks::due(c, now, &asks)).await
    }

    async fn webhooks_list(&self, filter: &WebhookFilter) -> Result<Vec<WebhookLine>, Error> {
        let filter = filter.clone();
        self.read("webhooks_list", move |c| webhooks::list(c, &filter)).await
    }

    async fn webhook_totals(&self) -> Result<Vec<WebhookTotals>, Error> {
        self.read("webhook_totals", webhooks::totals).await
    }

    async fn webhook_resends(
        &self,
        id: Option<&str>,
        limit: usize,
    ) -> Result<Vec<(WebhookResend, u64)>, Error> {
        let id = id.map(str::to_owned);
        self.read("webhook_resends", move |c| webhooks::resends(c, id.as_deref(), limit)).await
    }

    async fn events_after(&self, cursor: i64, limit: usize) -> Result<Vec<EventLine>, Error> {
        self.read("events_after", move |c| webhooks::events_after(c, cursor, limit)).await
    }

    async fn notifications_list(&self, filter: &NotificationFilter) -> Result<Vec<NotificationRow>, Error> {
        let filter = filter.clone();
        let rows = self.read("notifications_list", move |c| read::notifications_list(c, &filter)).await?;
        rows.into_iter().map(read::notification_row).collect()
    }

    async fn payer(&self, payer_id: &str) -> Result<Option<PayerRow>, Error> {
        let wanted = payer_id.to_owned();
        let found = self.read("payer", move |c| read::payer(c, &wanted)).await?;
        found.map(read::payer_row).transpose()
    }

    async fn payers_recent(&self, limit: usize) -> Result<Vec<PayerRow>, Error> {
        let rows = self.read("payers_recent", move |c| read::payers_recent(c, limit)).await?;
        rows.into_iter().map(read::payer_row).collect()
    }

    async fn tuning_all(&self) -> Result<Vec<TuningRow>, Error> {
        self.read("tuning_all", read::tuning_all).await
    }

    async fn switches_list(&self, limit: usize) -> Result<Vec<SwitchRow>, Error> {
        self.read("switches_list", move |c| read::switches_list(c, limit)).await
    }

    async fn audit_scan(&self, range: AuditRange) -> Result<mpsc::Receiver<AuditPage>, Error> {
        let what = "audit_scan";
        let Some(readers) = &self.readers else {
            // In memory everything runs on this thread, so the pages are read before the first is handed out.
            let read = move |c: &mut SqliteConnection| {
                let mut all = Vec::new();
                read::audit::scan(c, &range, |page| {
                    all.push(page);
                    true
                })?;
                Ok(all)
            };
            let all = self.read(what, read).await?;
            let (pages, receiver) = mpsc::channel(all.len().max(1));
            all.into_iter().for_each(|page| drop(pages.try_send(page)));
            return Ok(receiver);
        };
        let reader = readers.get_owned().await;
        let mut reader = reader.map_err(|source| Error::Query { what, source: source.into() })?;
        let (pages, receiver) = mpsc::channel(AUDIT_AHEAD);
        tokio::spawn(async move {
            let last_word = pages.clone();
            let hand_over = move |page| pages.blocking_send(page).is_ok();
            let read = reader.spawn_blocking(move |c| read::audit::scan(c, &range, hand_over)).await;
            if let Err(error) = read {
                let ended = Unreadable { order: None, what: error.to_string() };
                let _nobody_listens = last_word.send(Err(ended)).await;
            }
        });
        Ok(receiver)
    }

    async fn integrity(&self) -> Result<Vec<String>, Error> {
        self.read("integrity", |c| check::run(c, check::Depth::Thorough)).await
    }

    async fn marks(&self) -> Result<BTreeMap<String, String>, Error> {
        self.read("marks", marks::all).await
    }

    async fn mark_set(&self, key: &str, value: &str) -> Result<(), Error> {
        let mut writer = self.writer();
        let writer = writer.as_mut().ok_or_else(|| Error::Open(READ_ONLY.to_owned()))?;
        marks::set(writer, key, value).map_err(Error::query("mark_set"))
    }

    async fn books_totals(&self) -> Result<Vec<(String, i64)>, Error> {
        self.read("books_totals", read::audit::totals).await
    }

    async fn ping(&self) -> Result<(), Error> {
        self.read("ping", read::ping).await
    }
}
