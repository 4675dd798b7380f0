//! Durable memory: tables, queries, group commit, and the cache.
//!
//! Owns every row and the order in which rows become durable. Promises that an entry is either committed
//! whole or not at all, that a conflict fails alone and not its group, and that an order's history has no
//! gap and no second writer (the fence: order id and version are the key). Knows no actors and no channels.
//! Errors are sorted by what the caller does next.

pub mod bills;
pub mod cache;
mod entry;
mod error;
mod rows;
mod schema;
pub mod sqlite;

use async_trait::async_trait;
use domain::{OrderId, Timestamp, order::Order};

pub use bills::{
    Act, BillRun, Bills, Difference, DifferenceFilter, DifferenceStep, Gap, Page, RunFilter, RunState,
    RunStep, Told,
};
pub use cache::{Cache, MemoryCache, RedisCache, RedisOptions};
pub use entry::{
    Appended, Cause, Entry, NotificationRow, OrderCommit, OutboxNew, PayerRow, Resend, SwitchRow,
    TuningChange, WebhookResend, WebhookTry, WebhooksOver,
};
pub use error::{AppendError, Error};
pub use rows::{
    AuditPage, AuditRange, EventLine, NotificationFilter, OrderFilter, OrderLine, StoredEvent, TuningRow,
    Unreadable, WebhookBackend, WebhookCall, WebhookDue, WebhookFilter, WebhookLine, WebhookTotals,
};
pub use sqlite::{SqliteOptions, SqliteStore};

/// Durable memory. One body per database, one suite of tests for all of them.
#[async_trait]
pub trait Store: Send + Sync {
    /// The part that reconciliation uses.
    fn bills(&self) -> &dyn Bills;

    /// Commits entries in one transaction; answers for each, in order. A refused entry leaves no trace and
    /// harms no other. After [`AppendError::Unavailable`] nobody knows: read the row. An embedded store holds the
    /// calling thread until the commit is on the disk: call it from a thread that does nothing else.
    async fn append(&self, entries: Vec<Entry>) -> Vec<Result<Appended, AppendError>>;

    /// The order, folded from its history.
    async fn order_load(&self, id: OrderId) -> Result<Option<Order>, Error>;

    /// The order accepted under this number, and the hash of its body.
    async fn order_find(&self, merchant_id: &str, order_no: &str)
    -> Result<Option<(OrderId, String)>, Error>;

    /// Orders that still owe something, oldest first.
    async fn orders_open(&self, after: Option<OrderId>, limit: usize) -> Result<Vec<OrderId>, Error>;

    /// Orders by state, newest first.
    async fn orders_list(&self, filter: &OrderFilter) -> Result<Vec<OrderLine>, Error>;

    /// How many orders there are in each state.
    async fn orders_count(&self) -> Result<Vec<(String, u64)>, Error>;

    /// Every transition of the order with its cause, oldest first.
    async fn order_history(&self, id: OrderId) -> Result<Vec<StoredEvent>, Error>;

    /// Backends that have webhooks due, now or later, by name after `after`. Costs by their number, not by their rows.
    async fn webhook_backends(&self, after: &str, limit: usize) -> Result<Vec<WebhookBackend>, Error>;

    /// Webhooks that are due at `now`, for each asked backend so many, those with the oldest schedule first. A
    /// webhook is held back while an earlier one of its order and backend is in the first tries of its schedule.
    async fn webhooks_due(
        &self,
        now: Timestamp,
        asks: Vec<(String, usize)>,
    ) -> Result<Vec<WebhookDue>, Error>;

    /// Webhooks with their tries, newest first.
    async fn webhooks_list(&self, filter: &WebhookFilter) -> Result<Vec<WebhookLine>, Error>;

    /// Backends with webhooks that are due or dead, and how many.
    async fn webhook_totals(&self) -> Result<Vec<WebhookTotals>, Error>;

    /// Acts of operators that sent webhooks again, newest first, with how many each act sent; or one act.
    async fn webhook_resends(
        &self,
        id: Option<&str>,
        limit: usize,
    ) -> Result<Vec<(WebhookResend, u64)>, Error>;

    /// Everything a webhook said, after a cursor, in the order of the commits: a line is never seen before all with a
    /// smaller cursor are, so that a reader who goes on from its last line misses none.
    async fn events_after(&self, cursor: i64, limit: usize) -> Result<Vec<EventLine>, Error>;

    /// Calls of channels, newest first.
    async fn notifications_list(&self, filter: &NotificationFilter) -> Result<Vec<NotificationRow>, Error>;

    /// What is known of a payer.
    async fn payer(&self, payer_id: &str) -> Result<Option<PayerRow>, Error>;

    /// Payers by their last payment, the latest first.
    async fn payers_recent(&self, limit: usize) -> Result<Vec<PayerRow>, Error>;

    /// Thresholds that were changed at runtime.
    async fn tuning_all(&self) -> Result<Vec<TuningRow>, Error>;

    /// Changes of channels' states, newest first.
    async fn switches_list(&self, limit: usize) -> Result<Vec<SwitchRow>, Error>;

    /// Orders of the range with everything that is stored under their ids, by id, all as one moment saw them,
    /// however long the reading takes. Rows that belong to no order come too. Reading keeps a few pages ahead and
    /// ends when the receiver is dropped.
    async fn audit_scan(&self, range: AuditRange) -> Result<tokio::sync::mpsc::Receiver<AuditPage>, Error>;

    /// What the database itself finds wrong with its file: nothing, if it is sound. Reads all of it.
    async fn integrity(&self) -> Result<Vec<String>, Error>;

    /// Marks of the store as a whole by their keys, such as its name, `store_id`.
    async fn marks(&self) -> Result<std::collections::BTreeMap<String, String>, Error>;

    /// Sets a mark, durably. Repeating is safe.
    async fn mark_set(&self, key: &str, value: &str) -> Result<(), Error>;

    /// Every account's balance.
    async fn books_totals(&self) -> Result<Vec<(String, i64)>, Error>;

    /// A cheap question that only a working store answers.
    async fn ping(&self) -> Result<(), Error>;
}
