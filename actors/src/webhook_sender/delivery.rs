//! One try of a webhook: the call, its outcome in the journal, the counters.

use std::time::Duration;

use domain::{Timestamp, webhook::next_try};
use store::{Entry, WebhookDue, WebhookTry};
use tokio::time::Instant;
use tracing::{debug, warn};

use crate::{
    causes::causes,
    courier::{Parcel, WebhookOptions},
    house::House,
    metric_definitions as metric,
};

/// What became of a try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    Delivered,
    /// With the moment of the next try, if there is one left.
    Failed(Option<Timestamp>),
}

/// Makes one try and logs it, which moves the row on. If it cannot be logged the row stays due, and the backend hears
/// the same webhook again.
pub(super) async fn try_once(house: &House, options: &WebhookOptions, due: &WebhookDue) -> Outcome {
    let deadline = Duration::from_millis(house.tuning.get().webhook_deadline_ms);
    let (at, started) = (house.clock.now(), Instant::now());
    let answer = options.courier.deliver(&Parcel::new(&options.secret, due, at, deadline)).await;
    let took_ms = i64::try_from(started.elapsed().as_millis()).unwrap_or(i64::MAX);
    let (status, failure) = match answer {
        Ok(status) if (200..300).contains(&status) => (Some(status), None),
        Ok(status) => (Some(status), Some(format!("the backend answered {status}"))),
        Err(error) => (None, Some(error)),
    };
    let delivered = failure.is_none();
    if let Some(failure) = &failure {
        debug!(webhook.id = due.id, failure, "webhook not delivered");
    }
    let (count, label) = if delivered {
        (&house.stats.webhooks_delivered, "delivered")
    } else {
        (&house.stats.webhooks_failed, "failed")
    };
    count.one();
    metrics::counter!(metric::WEBHOOKS, "outcome" => label).increment(1);
    let next_at = if delivered { None } else { next_try(due.since, due.tries.saturating_add(1), Some(at)) };
    if !delivered && next_at.is_none() {
        warn!(webhook.id = due.id, webhook.backend = due.backend, "a webhook is dead: no try is left");
    }
    let logged = Entry::WebhookTry(WebhookTry {
        webhook_id: due.id.clone(),
        since: due.since,
        at,
        status: status.map(i32::from),
        error: failure,
        took_ms,
        delivered,
        next_at,
    });
    if let Err(error) = house.journal.append_at_leisure(logged).await {
        warn!(webhook.id = due.id, error = %causes(&error), "a webhook try was not logged; the row stays due");
    }
    if delivered { Outcome::Delivered } else { Outcome::Failed(next_at) }
}
