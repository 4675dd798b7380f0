//! For operators: channels, thresholds, switches, the notification log, orders and their stories.

use std::str::FromStr as _;

use actix_web::{HttpResponse, web};
use actors::{StatsView, TuneError};
use domain::{ChannelId, OrderId, tuning::Tuning};
use serde::{Deserialize, Serialize};
use serde_json::json;
use store::{NotificationFilter, OrderFilter};
use utoipa::{IntoParams, ToSchema};

use super::{
    Door,
    operators::{Operator, scope},
    problem::{FieldFault, Problem},
};

type Answer = Result<HttpResponse, Problem>;

/// Every channel's state with its reason.
#[utoipa::path(get, path = "/admin/v1/channels", tag = "admin", responses((status = 200, body = Object)))]
pub(super) async fn channels(door: web::Data<Door>) -> HttpResponse {
    HttpResponse::Ok().json(json!({ "channels": *door.service.channels() }))
}

/// What an operator sets on a channel.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ChannelSet {
    /// True: no new attempts start on it. Open attempts go on.
    disabled: bool,
}

/// Takes a channel out of use, or back.
#[utoipa::path(patch, path = "/admin/v1/channels/{name}", tag = "admin", params(("name" = String, Path)),
    request_body = ChannelSet,
    description = "Takes a channel out of use until it is put back, over restarts too; open attempts go on.",
    responses((status = 200, body = Object), (status = 403, body = Problem), (status = 404, body = Problem)))]
pub(super) async fn channel_set(
    operator: Operator<scope::Channels>,
    door: web::Data<Door>,
    name: web::Path<String>,
    body: web::Json<ChannelSet>,
) -> Answer {
    let service = &door.service;
    let missing = || Problem::new(404, "unknown_channel", "No such channel is configured.");
    let id = ChannelId::new(&name).map_err(|_| missing())?;
    if !service.profiles().iter().any(|profile| profile.id == id) {
        return Err(missing());
    }
    if let Err(error) = service.disable(&id, body.disabled, &operator.by()).await {
        tracing::error!(error = %actors::causes(&error), "an operator's act could not be kept");
        let detail = "The act could not be stored; it is not known whether it counts. Try again.";
        return Err(Problem::new(503, "store_unavailable", detail).after(1));
    }
    Ok(HttpResponse::Ok().json(json!({ "channel": id, "disabled": body.disabled })))
}

/// The thresholds in force, with their ranges.
#[utoipa::path(get, path = "/admin/v1/tuning", tag = "admin", responses((status = 200, body = Object)))]
pub(super) async fn tuning(door: web::Data<Door>) -> HttpResponse {
    let now = door.service.tuning();
    let settings: Vec<serde_json::Value> = Tuning::keys()
        .into_iter()
        .map(|k| json!({ "key": k.key, "value": now.get(k.key), "allowed": k.range.to_string(), "about": k.about }))
        .collect();
    HttpResponse::Ok().json(json!({ "tuning": *now, "settings": settings }))
}

/// Changes thresholds: all or nothing, in force within a second, kept over a restart.
#[utoipa::path(patch, path = "/admin/v1/tuning", tag = "admin", request_body = Object,
    description = "Changes thresholds, all or nothing: {\"hedge_after_ms\": 600}. In force within a second.",
    responses((status = 200, body = Object), (status = 403, body = Problem), (status = 422, body = Problem),
        (status = 503, body = Problem)))]
pub(super) async fn tune(
    operator: Operator<scope::Tune>,
    door: web::Data<Door>,
    body: web::Json<serde_json::Map<String, serde_json::Value>>,
) -> Answer {
    let changes = body
        .into_inner()
        .into_iter()
        .map(|(key, value)| (key, value.as_str().map_or_else(|| value.to_string(), str::to_owned)))
        .collect();
    match door.service.tune(changes, &operator.by()).await {
        Ok(changed) => {
            Ok(HttpResponse::Ok().json(json!({ "changed": changed, "tuning": *door.service.tuning() })))
        }
        Err(TuneError::Invalid(error)) => Err(Problem::fields(
            error
                .faults
                .into_iter()
                .map(|f| FieldFault { problem: f.to_string(), field: format!("/{}", f.key) })
                .collect(),
        )),
        Err(error @ TuneError::Store(_)) => {
            tracing::error!(error = %actors::causes(&error), "thresholds were not changed");
            let detail = "The change could not be stored; it is not known whether it counts. Try again.";
            Err(Problem::new(503, "store_unavailable", detail).after(1))
        }
    }
}

/// How much of a list.
#[derive(Deserialize, IntoParams)]
pub(super) struct Page {
    /// At most so many, up to 1000; 100 if not given.
    pub(super) limit: Option<usize>,
}

pub(super) fn limit(limit: Option<usize>) -> usize {
    limit.unwrap_or(100).clamp(1, 1000)
}

/// Changes of channels, newest first, each with its reason.
#[utoipa::path(get, path = "/admin/v1/switches", tag = "admin", params(Page), responses((status = 200, body = Object)))]
pub(super) async fn switches(door: web::Data<Door>, page: web::Query<Page>) -> Answer {
    #[derive(Serialize)]
    struct Line {
        at: String,
        channel: String,
        from_state: String,
        to_state: String,
        from: String,
        to: String,
        reason: String,
    }
    let rows = door.service.store().switches_list(limit(page.limit)).await.map_err(|e| Problem::store(&e))?;
    let lines: Vec<Line> = rows
        .into_iter()
        .map(|row| Line {
            at: row.at.to_string(),
            channel: row.channel,
            from_state: row.from_state,
            to_state: row.to_state,
            from: row.from_channel,
            to: row.to_channel,
            reason: row.reason,
        })
        .collect();
    Ok(HttpResponse::Ok().json(json!({ "switches": lines })))
}

/// Which calls.
#[derive(Deserialize, IntoParams)]
pub(super) struct Calls {
    /// Of this order.
    order: Option<String>,
    /// Of this channel.
    channel: Option<String>,
    /// With this verdict.
    verdict: Option<String>,
    /// At most so many, up to 1000; 100 if not given.
    limit: Option<usize>,
}

pub(super) fn order_id(text: &str) -> Result<OrderId, Problem> {
    OrderId::from_str(text)
        .map_err(|_| Problem::new(404, "order_not_found", format!("There is no order {text:?}.")))
}

/// Every call received from a channel, raw, with verdict and answer.
#[utoipa::path(get, path = "/admin/v1/notifications", tag = "admin", params(Calls),
    responses((status = 200, body = Object)))]
pub(super) async fn notifications(door: web::Data<Door>, asked: web::Query<Calls>) -> Answer {
    let filter = NotificationFilter {
        order: asked.order.as_deref().map(order_id).transpose()?,
        channel: asked.channel.clone(),
        verdict: asked.verdict.clone(),
        limit: limit(asked.limit),
    };
    let rows = door.service.store().notifications_list(&filter).await.map_err(|e| Problem::store(&e))?;
    let lines: Vec<serde_json::Value> = rows
        .into_iter()
        .map(|row| {
            json!({
                "id": row.id, "channel": row.channel, "received_at": row.received_at.to_string(),
                "remote": row.remote, "target": row.target, "headers": row.headers,
                "body": String::from_utf8_lossy(&row.body), "verdict": row.verdict, "reason": row.reason,
                "channel_order_no": row.channel_order_no, "answer_status": row.answer_status,
                "answer_body": row.answer_body, "took_us": row.took_us,
            })
        })
        .collect();
    Ok(HttpResponse::Ok().json(json!({ "notifications": lines })))
}

/// Which orders.
#[derive(Deserialize, IntoParams)]
pub(super) struct Which {
    /// In this state.
    state: Option<String>,
    /// Only those that people should look at: suspicious, or with a refund that the channel gave up on.
    #[serde(default)]
    attention: bool,
    /// Older than this id.
    before: Option<String>,
    /// At most so many, up to 1000; 100 if not given.
    limit: Option<usize>,
}

/// Orders, newest first, and how many there are in each state.
#[utoipa::path(get, path = "/admin/v1/orders", tag = "admin", params(Which), responses((status = 200, body = Object)))]
pub(super) async fn orders(door: web::Data<Door>, asked: web::Query<Which>) -> Answer {
    let filter = OrderFilter {
        state: asked.state.clone(),
        attention: asked.attention,
        before: asked.before.as_deref().map(order_id).transpose()?,
        limit: limit(asked.limit),
    };
    let store = door.service.store();
    let rows = store.orders_list(&filter).await.map_err(|e| Problem::store(&e))?;
    let counts = store.orders_count().await.map_err(|e| Problem::store(&e))?;
    let lines: Vec<serde_json::Value> = rows
        .into_iter()
        .map(|row| {
            json!({
                "id": row.id, "merchant_id": row.merchant_id, "order_no": row.order_no, "state": row.state,
                "amount_fen": row.amount_fen, "net_captured_fen": row.net_fen, "reason": row.failure,
                "created_at": row.created_at.to_string(),
            })
        })
        .collect();
    let counts: std::collections::BTreeMap<String, u64> = counts.into_iter().collect();
    Ok(HttpResponse::Ok().json(json!({ "orders": lines, "states": counts })))
}

/// The story of an order: every transition with its cause and its facts.
#[utoipa::path(get, path = "/admin/v1/orders/{id}/story", tag = "admin", params(("id" = String, Path)),
    responses((status = 200, body = Object), (status = 404, body = Problem)))]
pub(super) async fn story(door: web::Data<Door>, id: web::Path<String>) -> Answer {
    let id = order_id(&id)?;
    let events = door.service.order_history(id).await.map_err(|e| Problem::store(&e))?;
    if events.is_empty() {
        return Err(Problem::new(404, "order_not_found", format!("There is no order {id}.")));
    }
    let lines: Vec<serde_json::Value> = events
        .into_iter()
        .map(|e| {
            json!({
                "version": e.version, "at": e.at.to_string(), "event": e.cause.event, "source": e.cause.source,
                "reference": e.cause.reference, "facts": e.facts,
            })
        })
        .collect();
    Ok(HttpResponse::Ok().json(json!({ "order": id, "story": lines })))
}

/// The trace of an order's callbacks: what happened at the channel, what we were told, what we asked, and the gaps.
#[utoipa::path(get, path = "/admin/v1/orders/{id}/callbacks", tag = "admin", params(("id" = String, Path)),
    responses((status = 200, body = Object), (status = 404, body = Problem)))]
pub(super) async fn callbacks(door: web::Data<Door>, id: web::Path<String>) -> Answer {
    let id = order_id(&id)?;
    let store = door.service.store();
    let order = store.order_load(id).await.map_err(|e| Problem::store(&e))?;
    let missing = || Problem::new(404, "order_not_found", format!("There is no order {id}."));
    let order = order.ok_or_else(missing)?;
    let filter = NotificationFilter { order: Some(id), channel: None, verdict: None, limit: 1_000 };
    let calls = store.notifications_list(&filter).await.map_err(|e| Problem::store(&e))?;
    let history = door.service.order_history(id).await.map_err(|e| Problem::store(&e))?;
    let lines: Vec<serde_json::Value> = crate::callbacks::trace(&order, &history, &calls)
        .into_iter()
        .map(|line| json!({ "at": line.at.to_string(), "channel": line.channel, "kind": line.kind, "text": line.text }))
        .collect();
    Ok(HttpResponse::Ok().json(json!({ "order": id, "callbacks": lines })))
}

/// The counters since the start.
#[utoipa::path(get, path = "/admin/v1/stats", tag = "admin", responses((status = 200, body = StatsView)))]
pub(super) async fn stats(door: web::Data<Door>) -> HttpResponse {
    HttpResponse::Ok().json(door.service.stats())
}
