//! The message that a day has differences: to `service.operations_url`, signed and repeated like every webhook.
//!
//! It belongs to no order, so it does not go through the outbox, whose rows do: the run itself owes it until it is taken.

use std::time::Duration;

use domain::{
    reconciliation::{DifferenceKind, DifferenceState},
    webhook::next_try,
};
use serde_json::json;
use store::{BillRun, DifferenceFilter, Told, WebhookDue};
use tracing::warn;

use super::{Inner, WorkError};
use crate::courier::Parcel;

const MOST: usize = 100_000;

impl Inner {
    pub(super) async fn tell(&self, run: &BillRun) -> Result<(), WorkError> {
        let Some(url) = &self.options.operations_url else { return Ok(()) };
        let mut run = match self.work.take(run).await {
            Ok(run) => run,
            Err(WorkError::Busy { .. }) => return Ok(()),
            Err(error) => return Err(error),
        };
        let filter = DifferenceFilter {
            states: DifferenceState::ALL.into_iter().filter(|state| state.counts()).collect(),
            day: Some(run.day.clone()),
            channel: Some(run.channel.clone()),
            limit: MOST,
            ..DifferenceFilter::default()
        };
        let found = self.house.store.bills().differences_list(&filter).await?;
        let count = |kind: DifferenceKind| found.iter().filter(|d| d.found.kind == kind).count();
        let kinds: serde_json::Map<String, serde_json::Value> = DifferenceKind::ALL
            .into_iter()
            .filter(|kind| count(*kind) > 0)
            .map(|kind| (kind.as_str().to_owned(), count(kind).into()))
            .collect();
        let now = self.house.clock.now();
        let since = run.told_since.or(run.ended_at).unwrap_or(run.asked_at);
        let payload = json!({
            "type": "reconciliation.differences",
            "timestamp": since.to_string(),
            "data": { "channel": run.channel, "day": run.day, "differences": found.len(), "kinds": kinds,
                      "lines": run.lines, "paid_fen": run.paid_fen, "refunded_fen": run.refunded_fen },
        });
        let due = WebhookDue {
            // Owed anew it is another message, which a receiver must not take for a repeat.
            id: format!("reconciliation_{}_{}", run.id, since.micros()),
            order: None,
            backend: String::new(),
            url: url.clone(),
            payload: payload.to_string(),
            tries: run.told_tries,
            since,
        };
        let deadline = Duration::from_millis(self.house.tuning.get().webhook_deadline_ms);
        let parcel = Parcel::new(&self.webhooks.secret, &due, now, deadline);
        let answer = self.webhooks.courier.deliver(&parcel).await;
        run.told_tries = run.told_tries.saturating_add(1);
        run.told_at = Some(now);
        if matches!(answer, Ok(status) if (200..300).contains(&status)) {
            run.told = Told::Delivered;
        } else {
            let why = answer.map_or_else(|why| why, |status| format!("it answered {status}"));
            warn!(
                day = run.day,
                channel.name = run.channel,
                why,
                "nobody took the message about differences"
            );
            match next_try(since, run.told_tries, Some(now)) {
                Some(at) => run.next_at = at,
                None => run.told = Told::Dead,
            }
        }
        match self.work.put_back(run).await {
            // A difference opened late while this was on its way: the next message says so.
            Err(WorkError::LeaseLost) => Ok(()),
            other => other,
        }
    }
}
