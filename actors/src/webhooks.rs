//! What the front door asks of webhooks: the events since a cursor, how backends do, sending again by hand.

use std::{sync::Arc, time::Duration};

use store::{Entry, EventLine, Resend, WebhookFilter, WebhookLine, WebhookResend};

use crate::{
    journal::JournalError,
    service::Service,
    webhook_sender::{LaneStatus, Wake},
};

/// Why nothing was sent again.
#[derive(Debug, thiserror::Error)]
pub enum ResendError {
    /// There is no webhook with this id.
    #[error("there is no such webhook")]
    Missing,
    /// Its order gave no address; the line is only for `/v1/events`.
    #[error("the webhook has no address")]
    NoAddress,
    /// The act could not be stored; nothing changed.
    #[error("the act could not be stored")]
    Store(#[source] JournalError),
    /// The store could not be read.
    #[error(transparent)]
    Read(#[from] store::Error),
}

impl Service {
    /// The events after a cursor, at most `limit`. If there are none yet, waits for the next one, at most `wait`.
    ///
    /// # Errors
    /// The store could not be read.
    pub async fn events_after(
        &self,
        cursor: i64,
        limit: usize,
        wait: Duration,
    ) -> Result<Vec<EventLine>, store::Error> {
        let house = self.house();
        let until = tokio::time::Instant::now() + wait;
        // Subscribed before reading: nothing that comes between is missed.
        let mut told = house.told.subscribe();
        loop {
            let lines = house.store.events_after(cursor, limit).await?;
            if !lines.is_empty()
                || !matches!(tokio::time::timeout_at(until, told.changed()).await, Ok(Ok(())))
            {
                return Ok(lines);
            }
        }
    }

    /// How the backends do that have something under way or due, as of the sender's last look.
    #[must_use]
    pub fn webhook_lanes(&self) -> Arc<Vec<LaneStatus>> {
        self.house().backends.load_full()
    }

    /// One webhook with its tries.
    ///
    /// # Errors
    /// The store could not be read.
    pub async fn webhook(&self, id: &str) -> Result<Option<WebhookLine>, store::Error> {
        let filter = WebhookFilter { id: Some(id.to_owned()), limit: 1, ..WebhookFilter::default() };
        Ok(self.house().store.webhooks_list(&filter).await?.pop())
    }

    /// Sends webhooks again, under the same ids and on a fresh schedule; kept under the operator's name. Returns how
    /// many. Repeating is safe: backends know a webhook by its id, and dead ones are dead no more.
    ///
    /// # Errors
    /// [`ResendError`]; nothing changed.
    pub async fn resend(&self, what: Resend, by: &str) -> Result<u64, ResendError> {
        let house = self.house();
        let backend = match &what {
            Resend::DeadOf(backend) => backend.clone(),
            Resend::One(id) => {
                let line = self.webhook(id).await?.ok_or(ResendError::Missing)?;
                line.backend.ok_or(ResendError::NoAddress)?
            }
        };
        let now = house.clock.now();
        let act = house.new_id(now).to_string();
        let row = WebhookResend { id: act.clone(), at: now, by: by.to_owned(), what };
        house.journal.append(Entry::WebhookResend(row)).await.map_err(ResendError::Store)?;
        let resent = house.store.webhook_resends(Some(&act), 1).await?.pop().map_or(0, |(_, n)| n);
        tracing::info!(by, webhook.backend = backend, resent, "webhooks are sent again");
        if house.webhooks.tell(Wake { backend }).is_err() {
            house.undelivered("webhook_sender"); // due all the same
        }
        Ok(resent)
    }
}
