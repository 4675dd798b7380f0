//! The house from outside: what the front door calls. Starting and stopping are in [`start`](crate::start).

use std::{sync::Arc, time::Duration};

use domain::{
    ChannelId, OrderId, Timestamp,
    channel::ChannelProfile,
    order::{Event, Order, OrderRequest},
    tuning::{Change, Tuning, TuningError, Value},
};
use store::{Cause, Entry, Store, StoredEvent, TuningChange};
use tokio::sync::oneshot;

use crate::{
    accept::{AcceptError, Accepted, Taken, accept},
    clock::Clock,
    house::House,
    intake::Intake,
    journal::JournalError,
    order::{Hear, HearError, Heard, Look},
    registry::{Deliver, Letter},
    router::ChannelStatus,
    start::DISABLED_KEY,
    stats::StatsView,
    view::OrderView,
};

/// How long a caller waits for an order's verdict; a commit takes milliseconds.
const VERDICT_DEADLINE: Duration = Duration::from_secs(5);

/// A reader who waits longer lets the order's queries go first.
const PATIENCE: Duration = Duration::from_millis(400);

/// The running house. Cheap to clone.
#[derive(Clone)]
pub struct Service {
    house: Arc<House>,
    intake: Intake,
}

/// An order's view, ready to be sent.
#[derive(Debug, Clone)]
pub struct OrderBody {
    /// The version it shows.
    pub version: u64,
    /// JSON of [`OrderView`].
    pub json: Arc<[u8]>,
}

impl Service {
    pub(crate) fn new(house: Arc<House>) -> Service {
        Service { house, intake: Intake::default() }
    }

    pub(crate) fn house(&self) -> &Arc<House> {
        &self.house
    }

    /// Accepts an order: answers after its row is committed. Repeating the same body is safe and returns the
    /// same order. `body_hash` identifies the body for that. An order above every channel's limit is accepted in
    /// parts.
    ///
    /// # Errors
    /// [`AcceptError`], by what the backend does next.
    pub async fn accept(&self, request: OrderRequest, body_hash: String) -> Result<Accepted, AcceptError> {
        let Some(slot) = self.intake.enter(self.house.tuning.get().intake_max) else {
            self.house.stats.turned_away.one();
            return Err(AcceptError::Full { retry_after_s: 1 });
        };
        let now = self.house.clock.now();
        let id = OrderId::from_u128(self.house.new_id(now).as_u128());
        match accept(&self.house, (id, request), &body_hash, Some(slot)).await? {
            Taken::New(view) => Ok(Accepted { id, fresh: true, view }),
            Taken::Before(id) => {
                let view = self.order(id).await.map_err(|_| AcceptError::Unknown)?;
                Ok(Accepted { id, fresh: false, view: view.ok_or(AcceptError::Unknown)? })
            }
        }
    }

    /// Tells an order an event and waits for the verdict, which is durable.
    ///
    /// # Errors
    /// [`HearError`]; after `Busy` and `Unconfirmed` the same event may be told again.
    pub async fn hear(&self, id: OrderId, event: Event, cause: Cause) -> Result<Heard, HearError> {
        hear(&self.house, id, event, cause).await
    }

    /// The payer came back from paying: look now. Best effort; nothing is stored.
    pub fn hint(&self, id: OrderId) {
        self.look(id, Look::Soon);
    }

    fn look(&self, id: OrderId, look: Look) {
        let told = self.house.registry(id).map(|r| r.tell(Deliver { id, letter: Letter::Look(look) }));
        if !matches!(told, Some(Ok(()))) {
            self.house.undelivered("registry");
        }
    }

    /// The order as readers see it: from the cache, else from its history. `None` if there is no such order.
    ///
    /// # Errors
    /// The store could not be read.
    pub async fn order(&self, id: OrderId) -> Result<Option<OrderBody>, store::Error> {
        if let Some((version, json)) = self.house.cache.order_status_get(id).await {
            return Ok(Some(OrderBody { version, json }));
        }
        let Some(order) = self.house.store.order_load(id).await? else {
            return Ok(None);
        };
        let json: Arc<[u8]> = OrderView::json(&order).into();
        self.house.cache.order_status_put(id, order.version, json.clone(), order.is_settled()).await;
        Ok(Some(OrderBody { version: order.version, json }))
    }

    /// The order as it was at `version` or later, for a caller who knows that this much is durable.
    ///
    /// # Errors
    /// The store could not be read.
    pub async fn order_since(&self, id: OrderId, version: u64) -> Result<Option<OrderBody>, store::Error> {
        // Views reach the cache a moment after their commit; whoever knows of the commit must not wait for that.
        if let Some((cached, json)) = self.house.cache.order_status_get(id).await
            && cached >= version
        {
            return Ok(Some(OrderBody { version: cached, json }));
        }
        let order = self.house.store.order_load(id).await?;
        Ok(order.map(|order| OrderBody { version: order.version, json: OrderView::json(&order).into() }))
    }

    /// Waits until the order's version differs from `version`, at most `wait`; returns what it is then.
    ///
    /// # Errors
    /// The store could not be read.
    pub async fn order_after(
        &self,
        id: OrderId,
        version: u64,
        wait: Duration,
    ) -> Result<Option<OrderBody>, store::Error> {
        let until = tokio::time::Instant::now() + wait;
        // Most changes come within a moment; only who waits longer costs a message.
        let mut patience = Some(until.min(tokio::time::Instant::now() + PATIENCE));
        loop {
            let changed = self.house.board.subscribe(id);
            match self.order(id).await? {
                Some(body) if body.version == version => {}
                other => return Ok(other),
            }
            tokio::pin!(changed);
            if let Some(soon) = patience.take()
                && tokio::time::timeout_at(soon, changed.as_mut()).await.is_ok()
            {
                continue;
            }
            self.look(id, Look::First);
            if tokio::time::timeout_at(until, changed).await.is_err() {
                return self.order(id).await;
            }
        }
    }

    /// The order itself, folded from its history.
    ///
    /// # Errors
    /// The store could not be read.
    pub async fn order_load(&self, id: OrderId) -> Result<Option<Order>, store::Error> {
        self.house.store.order_load(id).await
    }

    /// The order's story: every transition with its cause.
    ///
    /// # Errors
    /// The store could not be read.
    pub async fn order_history(&self, id: OrderId) -> Result<Vec<StoredEvent>, store::Error> {
        self.house.store.order_history(id).await
    }

    /// The thresholds in force.
    #[must_use]
    pub fn tuning(&self) -> Arc<Tuning> {
        self.house.tuning.get()
    }

    /// Changes thresholds: validated, made durable with their author, then in force here at once and on
    /// every other node within a second. All or nothing; operators come one after another.
    ///
    /// # Errors
    /// [`TuneError::Invalid`] names every fault; [`TuneError::Store`]: not known to be durable. It is in force within a
    /// second, whole, or it is not; the same again settles it.
    pub async fn tune(&self, changes: Vec<(String, String)>, by: &str) -> Result<Vec<Change>, TuneError> {
        let _one_at_a_time = self.house.operators.lock().await;
        let before = self.house.tuning.get();
        let next =
            before.patch(changes.iter().map(|(key, value)| (key, value))).map_err(TuneError::Invalid)?;
        let changed = next.changes_since(&before);
        // Also what is in force already: after a commit of unknown fate the store may hold something else.
        let named = Tuning::keys().into_iter().filter(|k| changes.iter().any(|(key, _)| key == k.key));
        let row = |key: &str, value: Value| TuningChange {
            key: key.to_owned(),
            value: value.to_string(),
            at: self.house.clock.now(),
            by: by.to_owned(),
        };
        let rows: Vec<TuningChange> = named.filter_map(|k| Some(row(k.key, next.get(k.key)?))).collect();
        if !rows.is_empty() {
            self.house.journal.append(Entry::Tuning(rows)).await.map_err(TuneError::Store)?;
        }
        tracing::info!(by, changes = changed.len(), "thresholds changed");
        self.house.tuning.put(next);
        Ok(changed)
    }

    /// Takes a channel out of use (operators), or back: durable with its author, in force here at once and on every
    /// other node within a second, kept over a restart. Open attempts go on; new ones start elsewhere. Repeating is safe.
    ///
    /// # Errors
    /// The act is not known to be durable: it is in force within a second, or it is not. The same again settles it.
    pub async fn disable(&self, channel: &ChannelId, out: bool, by: &str) -> Result<(), JournalError> {
        let _one_at_a_time = self.house.operators.lock().await;
        let mut disabled = self.house.routes.disabled_now();
        // Written even if it seems to be so: after a commit of unknown fate the store may hold something else.
        let _was_so = if out { disabled.insert(channel.clone()) } else { disabled.remove(channel) };
        let mut names: Vec<&str> = disabled.iter().map(ChannelId::as_str).collect();
        names.sort_unstable();
        let row = TuningChange {
            key: DISABLED_KEY.to_owned(),
            value: names.join(","),
            at: self.house.clock.now(),
            by: by.to_owned(),
        };
        self.house.journal.append(Entry::Tuning(vec![row])).await?;
        tracing::info!(channel.name = %channel, out, by, "an operator took a channel out or put it back");
        self.house.routes.disable(disabled);
        Ok(())
    }

    /// Every channel's state, as of the router's last look.
    #[must_use]
    pub fn channels(&self) -> Arc<Vec<ChannelStatus>> {
        self.house.routes.status()
    }

    /// Every configured channel, best first.
    #[must_use]
    pub fn profiles(&self) -> Vec<ChannelProfile> {
        self.house
            .preference
            .iter()
            .filter_map(|id| self.house.lines.get(id))
            .map(|line| line.profile.clone())
            .collect()
    }

    /// The counters.
    #[must_use]
    pub fn stats(&self) -> StatsView {
        let signing = channels::signing_counters();
        let mut view = self.house.stats.view();
        (view.signatures, view.verifications) = (signing.rsa_signatures, signing.rsa_verifications);
        view
    }

    /// Orders accepted and not yet on their way to a channel.
    #[must_use]
    pub fn unrouted(&self) -> u64 {
        self.intake.taken()
    }

    /// Whether commits succeed, as far as it is known: after one that the store refused, another is tried.
    ///
    /// # Errors
    /// [`JournalError`]: the store refuses still.
    pub async fn commits(&self) -> Result<(), JournalError> {
        if self.house.stats.store_refuses.get() > 0 {
            self.house.journal.append(Entry::Probe).await?;
        }
        Ok(())
    }

    /// The store, for readers (admin lists, audit).
    #[must_use]
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.house.store
    }

    /// The cache, for the front door's rate limits.
    #[must_use]
    pub fn cache(&self) -> &Arc<dyn store::Cache> {
        &self.house.cache
    }

    /// The present moment, by the house's clock.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.house.clock.now()
    }

    /// The house's clock.
    #[must_use]
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.house.clock
    }
}

/// Why thresholds were not changed.
#[derive(Debug, thiserror::Error)]
pub enum TuneError {
    /// A key or a value is wrong; every fault is named.
    #[error(transparent)]
    Invalid(TuningError),
    /// The change could not be stored.
    #[error("the change could not be stored")]
    Store(#[source] JournalError),
}

/// Tells an order an event and waits for the verdict: see [`Service::hear`].
pub(crate) async fn hear(house: &House, id: OrderId, event: Event, cause: Cause) -> Result<Heard, HearError> {
    let registry = house.registry(id).ok_or(HearError::Busy)?;
    let (reply, verdict) = oneshot::channel();
    let letter = Letter::Hear(Hear { event, cause, reply: Some(reply) });
    if registry.tell(Deliver { id, letter }).is_err() {
        house.undelivered("registry");
        return Err(HearError::Busy);
    }
    match tokio::time::timeout(VERDICT_DEADLINE, verdict).await {
        Ok(Ok(verdict)) => verdict,
        Ok(Err(_)) | Err(_) => Err(HearError::Unconfirmed),
    }
}
