//! What backends were told: events to catch up with, and for operators the outbox, the dead letters, sending again.

use std::{collections::BTreeMap, time::Duration};

use actix_web::{HttpResponse, web};
use actors::{LaneStatus, ResendError};
use serde::{Deserialize, Serialize};
use serde_json::{json, value::RawValue};
use store::{Resend, WebhookFilter, WebhookLine, WebhookTotals};
use utoipa::{IntoParams, ToSchema};

use super::{
    Door,
    admin::{Page, limit, order_id},
    operators::{Operator, scope},
    orders::WAIT_MAX_S,
    problem::{FieldFault, Problem},
};

const EVENTS_MAX: usize = 1000;
const STATES: [&str; 4] = ["due", "dead", "delivered", "none"];

type Answer = Result<HttpResponse, Problem>;

/// Where to go on.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub(super) struct After {
    /// The last cursor that was read; 0 or nothing starts at the beginning.
    #[serde(default)]
    after: i64,
    /// How many, 1 to 1000; 100 if not given.
    limit: Option<usize>,
    /// If there is nothing yet, wait so many seconds (at most 10) for it.
    wait: Option<u64>,
}

/// What webhooks said or would have said.
#[derive(Serialize, ToSchema)]
pub(super) struct EventPage {
    /// In the order they happened.
    #[schema(value_type = Vec<Object>)]
    events: Vec<EventItem>,
    /// Ask again with `after` set to this.
    next: i64,
}

#[derive(Serialize)]
struct EventItem {
    cursor: i64,
    /// The `webhook-id`.
    id: String,
    event: Box<RawValue>,
}

/// Everything that webhooks would have said, to catch up after an outage.
#[utoipa::path(get, path = "/v1/events", tag = "events", params(After),
    description = "Everything a webhook would have said, in the order of its commits, to catch up after an outage: go on \
                   with `after` set to `next`. No line is missed and none comes twice, also while new ones are written.",
    responses((status = 200, body = EventPage), (status = 503, body = Problem)))]
pub(super) async fn events_after(door: web::Data<Door>, query: web::Query<After>) -> Answer {
    let limit = query.limit.unwrap_or(100).clamp(1, EVENTS_MAX);
    let wait = Duration::from_secs(query.wait.unwrap_or(0).min(WAIT_MAX_S));
    let lines = door.service.events_after(query.after, limit, wait).await.map_err(|e| Problem::store(&e))?;
    let next = lines.last().map_or(query.after, |line| line.cursor);
    let events = lines
        .into_iter()
        .map(|line| {
            let event = RawValue::from_string(line.payload).unwrap_or_else(|error| {
                // A gap that nobody sees would be worse than an event that says nothing.
                tracing::error!(webhook.id = line.id, %error, "the body of an event is not JSON");
                RawValue::NULL.to_owned()
            });
            EventItem { cursor: line.cursor, id: line.id, event }
        })
        .collect();
    Ok(HttpResponse::Ok().json(EventPage { events, next }))
}

/// Which webhooks.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub(super) struct Which {
    /// `due`, `dead`, `delivered`, or `none` (no address was given).
    state: Option<String>,
    /// To this backend: host and port of the address.
    backend: Option<String>,
    /// Of this order.
    order: Option<String>,
    /// Older than this `seq`.
    before: Option<i64>,
    /// At most so many, up to 1000; 100 if not given.
    limit: Option<usize>,
}

/// Webhooks with their tries, newest first; `state=dead` is the dead-letter list.
#[utoipa::path(get, path = "/admin/v1/webhooks", tag = "admin", params(Which),
    responses((status = 200, body = Object), (status = 404, body = Problem), (status = 422, body = Problem)))]
pub(super) async fn list(door: web::Data<Door>, asked: web::Query<Which>) -> Answer {
    let asked = asked.into_inner();
    if asked.state.as_deref().is_some_and(|state| !STATES.contains(&state)) {
        let problem = format!("expected one of {}", STATES.join(", "));
        return Err(Problem::fields(vec![FieldFault { field: "/state".to_owned(), problem }]));
    }
    let filter = WebhookFilter {
        id: None,
        state: asked.state,
        backend: asked.backend,
        order: asked.order.as_deref().map(order_id).transpose()?,
        before: asked.before,
        limit: limit(asked.limit),
    };
    let rows = door.service.store().webhooks_list(&filter).await.map_err(|e| Problem::store(&e))?;
    let full = rows.len() == filter.limit;
    let next = rows.last().filter(|_| full).map(|last| last.seq);
    let lines: Vec<serde_json::Value> = rows.into_iter().map(line).collect();
    Ok(HttpResponse::Ok().json(json!({ "webhooks": lines, "before": next })))
}

fn line(row: WebhookLine) -> serde_json::Value {
    let calls: Vec<serde_json::Value> = row
        .calls
        .iter()
        .map(
            |c| json!({ "at": c.at.to_string(), "status": c.status, "error": c.error, "took_ms": c.took_ms }),
        )
        .collect();
    json!({
        "seq": row.seq, "id": row.id, "order": row.order_id, "type": row.kind, "backend": row.backend,
        "url": row.url, "state": row.state, "created_at": row.created_at.to_string(),
        "schedule_since": row.since.to_string(), "tries": row.tries,
        "next_try_at": row.next_at.map(|at| at.to_string()), "calls": calls,
    })
}

/// Backends with webhooks that are due or dead, and how each does.
#[utoipa::path(get, path = "/admin/v1/webhooks/backends", tag = "admin", responses((status = 200, body = Object)))]
pub(super) async fn backends(door: web::Data<Door>) -> Answer {
    let totals = door.service.store().webhook_totals().await.map_err(|e| Problem::store(&e))?;
    let (lanes, now) = (door.service.webhook_lanes(), door.service.now());
    let mut all: BTreeMap<&str, (Option<&WebhookTotals>, Option<&LaneStatus>)> = BTreeMap::new();
    for total in &totals {
        all.entry(&total.backend).or_default().0 = Some(total);
    }
    for lane in lanes.iter() {
        all.entry(&lane.backend).or_default().1 = Some(lane);
    }
    let lines: Vec<serde_json::Value> = all
        .into_iter()
        .map(|(backend, (total, lane))| {
            let wait = total.and_then(|t| t.due_since).map_or(0, |since| now.since(since).as_secs());
            json!({
                "backend": backend, "due": total.map_or(0, |t| t.due), "dead": total.map_or(0, |t| t.dead),
                "longest_wait_s": wait, "in_flight": lane.map_or(0, |l| l.in_flight),
                "failures_in_a_row": lane.map_or(0, |l| l.failures_in_a_row),
                "resting_until": lane.and_then(|l| l.resting_until.as_ref()),
            })
        })
        .collect();
    Ok(HttpResponse::Ok().json(json!({ "backends": lines })))
}

/// Who sent webhooks again, newest first.
#[utoipa::path(get, path = "/admin/v1/webhooks/resends", tag = "admin", params(Page),
    responses((status = 200, body = Object)))]
pub(super) async fn resends(door: web::Data<Door>, page: web::Query<Page>) -> Answer {
    let acts = door.service.store().webhook_resends(None, limit(page.limit)).await;
    let lines: Vec<serde_json::Value> = acts
        .map_err(|e| Problem::store(&e))?
        .into_iter()
        .map(|(act, resent)| {
            let (webhook, backend) = match act.what {
                Resend::One(id) => (Some(id), None),
                Resend::DeadOf(backend) => (None, Some(backend)),
            };
            json!({ "id": act.id, "at": act.at.to_string(), "by": act.by, "webhook": webhook, "backend": backend,
                "resent": resent })
        })
        .collect();
    Ok(HttpResponse::Ok().json(json!({ "resends": lines })))
}

/// Sends one webhook again, whatever its state.
#[utoipa::path(post, path = "/admin/v1/webhooks/{id}/resend", tag = "admin", params(("id" = String, Path)),
    description = "Sends one webhook again, whatever its state: the same `webhook-id`, a fresh schedule. Kept with the \
                   operator's name. Repeating is safe.",
    responses((status = 202, body = Object), (status = 403, body = Problem), (status = 404, body = Problem),
        (status = 409, body = Problem), (status = 503, body = Problem)))]
pub(super) async fn resend_one(
    operator: Operator<scope::Webhooks>,
    door: web::Data<Door>,
    id: web::Path<String>,
) -> Answer {
    resend(&door, Resend::One(id.into_inner()), &operator.by()).await
}

/// Whose dead letters.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ResendDead {
    /// Host and port, as the list shows it.
    #[schema(example = "shop.example.edu:8443")]
    backend: String,
}

/// Sends the dead webhooks of a backend again, oldest first.
#[utoipa::path(post, path = "/admin/v1/webhooks/resend", tag = "admin", request_body = ResendDead,
    description = "Sends the dead webhooks of a backend again, oldest first, at most 10,000 with one call; `left` says how \
                   many remain. The same ids, a fresh schedule. Kept with the operator's name. Repeating is safe.",
    responses((status = 202, body = Object), (status = 403, body = Problem), (status = 503, body = Problem)))]
pub(super) async fn resend_dead(
    operator: Operator<scope::Webhooks>,
    door: web::Data<Door>,
    body: web::Json<ResendDead>,
) -> Answer {
    resend(&door, Resend::DeadOf(body.into_inner().backend.to_ascii_lowercase()), &operator.by()).await
}

async fn resend(door: &Door, what: Resend, by: &str) -> Answer {
    let backend = match &what {
        Resend::DeadOf(backend) => Some(backend.clone()),
        Resend::One(_) => None,
    };
    let resent = door.service.resend(what, by).await.map_err(|error| match error {
        ResendError::Missing => Problem::new(404, "webhook_not_found", "There is no webhook with this id."),
        ResendError::NoAddress => {
            let detail = "The order gave no notify_url: this line is only for /v1/events.";
            Problem::new(409, "no_address", detail)
        }
        ResendError::Read(error) => Problem::store(&error),
        ResendError::Store(error) => {
            tracing::error!(error = %actors::causes(&error), "an operator's resend could not be kept");
            let detail = "The act could not be stored; nothing changed. Try again.";
            Problem::new(503, "store_unavailable", detail).after(1)
        }
    })?;
    let left = match backend {
        Some(backend) => {
            let totals = door.service.store().webhook_totals().await.map_err(|e| Problem::store(&e))?;
            totals.into_iter().find(|t| t.backend == backend).map_or(0, |t| t.dead)
        }
        None => 0,
    };
    Ok(HttpResponse::Accepted().json(json!({ "resent": resent, "left": left })))
}
