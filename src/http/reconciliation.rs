//! Reconciliation for operators: runs, differences, confirmed fixes, gaps, and the page that shows them.
//!
//! Reading needs the scope `read`; asking for a day and confirming a fix need `reconcile`. The page itself holds nothing:
//! its script asks for what it shows with the operator's token.

use actix_web::{HttpResponse, web};
use actors::{
    ConfirmError, Confirmation, ReconcileError,
    reconciliation::{WorkError, campus_day, parse_day},
};
use domain::{
    ChannelId,
    reconciliation::{DifferenceKind, DifferenceState, Fix, fix::Unconfirmed},
};
use serde::Deserialize;
use serde_json::json;
use store::{BillRun, Difference, DifferenceFilter, RunFilter};
use utoipa::{IntoParams, ToSchema};

use super::{
    Door,
    admin::limit,
    operators::{Operator, scope},
    problem::{FieldFault, Problem},
};
use crate::reconciliation as shown;

type Answer = Result<HttpResponse, Problem>;

/// Differences of one CSV file.
const CSV_MAX: usize = 1_000_000;
const NOTE_MAX: usize = 500;

const STYLE: &str = include_str!("../../web/reconciliation/style.css");
const SCRIPT: &str = include_str!("../../web/reconciliation/script.js");
const PAGE: &str = include_str!("../../web/reconciliation/page.html");

/// `GET /reconciliation`
pub(super) async fn page() -> HttpResponse {
    let body = PAGE.replace("{style}", STYLE).replace("{script}", SCRIPT);
    HttpResponse::Ok()
        .content_type("text/html; charset=utf-8")
        .insert_header((
            "content-security-policy",
            "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'",
        ))
        .body(body)
}

/// Which runs.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub(super) struct Runs {
    /// Of this day, such as 2026-11-24.
    day: Option<String>,
    /// Of this channel.
    channel: Option<String>,
    /// At most so many, up to 1000; 100 if not given.
    limit: Option<usize>,
}

fn runs_json(runs: &[BillRun]) -> HttpResponse {
    HttpResponse::Ok().json(json!({ "runs": runs.iter().map(shown::run_json).collect::<Vec<_>>() }))
}

/// Days and their channels: what was fetched, imported and matched, and how far the rest is.
#[utoipa::path(get, path = "/admin/v1/reconciliation/runs", tag = "reconciliation", params(Runs),
    responses((status = 200, body = Object)))]
pub(super) async fn runs(door: web::Data<Door>, asked: web::Query<Runs>) -> Answer {
    let filter =
        RunFilter { day: asked.day.clone(), channel: asked.channel.clone(), limit: limit(asked.limit) };
    Ok(runs_json(
        &door.service.store().bills().bill_runs_list(&filter).await.map_err(|e| Problem::store(&e))?,
    ))
}

/// A day to be reconciled.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RunBody {
    /// Such as 2026-11-24.
    day: String,
    /// Only this channel; without it all.
    channel: Option<String>,
}

/// Asks for a day's bills now.
#[utoipa::path(post, path = "/admin/v1/reconciliation/runs", tag = "reconciliation", request_body = RunBody,
    description = "Asks for a day's bills now, and works on them in the background. A day that is reconciled stays as it \
                   is, and its run says so. Needs the scope `reconcile`.",
    responses((status = 202, body = Object), (status = 403, body = Problem), (status = 422, body = Problem),
        (status = 503, body = Problem)))]
pub(super) async fn run(
    operator: Operator<scope::Reconcile>,
    door: web::Data<Door>,
    body: web::Json<RunBody>,
) -> Answer {
    let today = campus_day(door.service.now());
    let day = parse_day(&body.day).filter(|day| *day <= today);
    let day = day.ok_or_else(|| {
        fault("/day", format!("expected a day such as 2026-11-24, not after today on the campus ({today})"))
    })?;
    let known = |name: &String| {
        let id = ChannelId::new(name).ok();
        id.is_some_and(|id| door.service.profiles().iter().any(|profile| profile.id == id))
    };
    if let Some(name) = body.channel.as_ref().filter(|name| !known(name)) {
        return Err(fault("/channel", format!("no channel {name:?} is configured")));
    }
    let runs = door.service.reconcile(day, body.channel.clone(), operator.name()).await;
    let runs = runs.map_err(|error| match error {
        ReconcileError::Work(WorkError::Store(error)) => Problem::store(&error),
        other => unavailable(&other),
    })?;
    let mut answer = runs_json(&runs);
    *answer.status_mut() = actix_web::http::StatusCode::ACCEPTED;
    Ok(answer)
}

fn fault(field: &str, problem: String) -> Problem {
    Problem::fields(vec![FieldFault { field: field.to_owned(), problem }])
}

fn unavailable(error: &(dyn std::error::Error + 'static)) -> Problem {
    tracing::warn!(error, "reconciliation was not reached");
    let detail = "Reconciliation cannot be reached at the moment; the same request is safe to repeat.";
    Problem::new(503, "unconfirmed", detail).after(1)
}

/// Which differences.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub(super) struct Which {
    /// In these states, with commas between; `live` is what somebody must act on; without it all.
    state: Option<String>,
    /// Of this day.
    day: Option<String>,
    /// Of this channel.
    channel: Option<String>,
    /// Of this kind.
    kind: Option<String>,
    /// With ids above this one.
    #[serde(default)]
    after: i64,
    /// At most so many, up to 1000; 100 if not given.
    limit: Option<usize>,
}

impl Which {
    fn filter(&self, limit: usize) -> Result<DifferenceFilter, Problem> {
        let states = match self.state.as_deref() {
            None | Some("") => Vec::new(),
            Some("live") => DifferenceState::ALL.into_iter().filter(|state| state.counts()).collect(),
            Some(words) => {
                let all: Option<Vec<DifferenceState>> =
                    words.split(',').map(DifferenceState::parse).collect();
                all.ok_or_else(|| fault("/state", format!("{words:?} is not a list of states")))?
            }
        };
        let kind = match self.kind.as_deref() {
            None | Some("") => None,
            Some(word) => Some(
                DifferenceKind::parse(word)
                    .ok_or_else(|| fault("/kind", format!("there is no kind {word:?}")))?,
            ),
        };
        let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        let (day, channel) = (given(&self.day), given(&self.channel));
        Ok(DifferenceFilter { states, day, channel, kind, after: self.after, limit })
    }
}

/// What differs, with the fix that is prepared for each.
#[utoipa::path(get, path = "/admin/v1/reconciliation/differences", tag = "reconciliation", params(Which),
    responses((status = 200, body = Object), (status = 422, body = Problem)))]
pub(super) async fn differences(door: web::Data<Door>, asked: web::Query<Which>) -> Answer {
    let store = door.service.store();
    let found = store.bills().differences_list(&asked.filter(limit(asked.limit))?).await;
    let found = found.map_err(|e| Problem::store(&e))?;
    let counts = store.bills().differences_count().await.map_err(|e| Problem::store(&e))?;
    let counts: Vec<serde_json::Value> = counts
        .into_iter()
        .map(|(channel, kind, n)| json!({ "channel": channel, "kind": kind.as_str(), "count": n }))
        .collect();
    let (next, now) = (found.last().map(|d| d.id), door.service.now());
    let found: Vec<serde_json::Value> = found.iter().map(|d| shown::difference_json(d, now)).collect();
    Ok(HttpResponse::Ok().json(json!({ "differences": found, "live": counts, "next": next })))
}

/// The same as a CSV file.
#[utoipa::path(get, path = "/admin/v1/reconciliation/differences.csv", tag = "reconciliation", params(Which),
    responses((status = 200, body = String, content_type = "text/csv"), (status = 422, body = Problem)))]
pub(super) async fn differences_csv(door: web::Data<Door>, asked: web::Query<Which>) -> Answer {
    let filter = asked.filter(asked.limit.unwrap_or(CSV_MAX).min(CSV_MAX))?;
    let found =
        door.service.store().bills().differences_list(&filter).await.map_err(|e| Problem::store(&e))?;
    Ok(HttpResponse::Ok()
        .content_type("text/csv; charset=utf-8")
        .insert_header(("content-disposition", "attachment; filename=\"differences.csv\""))
        .body(shown::csv(&found)))
}

async fn with_acts(door: &Door, difference: &Difference) -> Answer {
    let acts =
        door.service.store().bills().difference_acts(difference.id).await.map_err(|e| Problem::store(&e))?;
    let acts: Vec<serde_json::Value> = acts.iter().map(shown::act_json).collect();
    Ok(HttpResponse::Ok()
        .json(json!({ "difference": shown::difference_json(difference, door.service.now()), "acts": acts })))
}

fn no_such() -> Problem {
    Problem::new(404, "difference_not_found", "There is no such difference.")
}

/// One difference, and who did what about it.
#[utoipa::path(get, path = "/admin/v1/reconciliation/differences/{id}", tag = "reconciliation",
    params(("id" = i64, Path)), responses((status = 200, body = Object), (status = 404, body = Problem)))]
pub(super) async fn difference(door: web::Data<Door>, id: web::Path<i64>) -> Answer {
    let found = door.service.store().bills().difference(*id).await.map_err(|e| Problem::store(&e))?;
    with_acts(&door, &found.ok_or_else(no_such)?).await
}

/// What an operator confirms.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ConfirmBody {
    /// `mark`, `refund` or `write_off`; without it the prepared one.
    #[schema(value_type = Option<String>)]
    fix: Option<Fix>,
    /// Why, at most 500 characters; a write-off needs it.
    #[serde(default)]
    note: String,
}

/// Confirms the fix of a difference.
#[utoipa::path(post, path = "/admin/v1/reconciliation/differences/{id}/confirm", tag = "reconciliation",
    params(("id" = i64, Path)), request_body = ConfirmBody,
    description = "Confirms the fix of a difference, and carries it out. Above `reconcile_second_above_fen` the first \
                   confirmation is kept (202) and a second operator must confirm the same fix. A fix that does not apply \
                   any more is refused with the present state. Needs the scope `reconcile`.",
    responses((status = 200, body = Object), (status = 202, body = Object), (status = 403, body = Problem),
        (status = 404, body = Problem), (status = 409, body = Problem), (status = 422, body = Problem),
        (status = 503, body = Problem)))]
pub(super) async fn confirm(
    operator: Operator<scope::Reconcile>,
    door: web::Data<Door>,
    id: web::Path<i64>,
    body: web::Json<ConfirmBody>,
) -> Answer {
    let body = body.into_inner();
    if body.note.chars().count() > NOTE_MAX || body.note.chars().any(|c| c.is_control() && c != '\n') {
        return Err(fault("/note", format!("expected at most {NOTE_MAX} characters of text")));
    }
    let asked = Confirmation { fix: body.fix, note: body.note, operator: operator.name().to_owned() };
    let confirmed = door.service.difference_confirm(*id, asked).await.map_err(refused)?;
    let mut answer = with_acts(&door, &confirmed).await?;
    if matches!(confirmed.state, DifferenceState::ConfirmedOnce | DifferenceState::Fixing) {
        *answer.status_mut() = actix_web::http::StatusCode::ACCEPTED;
    }
    Ok(answer)
}

fn refused(error: ConfirmError) -> Problem {
    match error {
        ConfirmError::NotFound => no_such(),
        ConfirmError::NoSuchFix(why) => fault("/fix", why.to_owned()),
        ConfirmError::Unconfirmed(why) => {
            let code = match why {
                Unconfirmed::NotOpen(_) => "difference_not_open",
                Unconfirmed::SameOperator => "second_operator_needed",
                Unconfirmed::OtherFix(_) => "other_fix_confirmed",
            };
            Problem::new(409, code, format!("Nothing changed: {why}."))
        }
        ConfirmError::Stale { present } => Problem::new(
            409,
            "fix_stale",
            format!("The fix does not apply any more; nothing was moved: {present}."),
        ),
        ConfirmError::Store(error) => Problem::store(&error),
        error @ ConfirmError::Busy => unavailable(&error),
    }
}

/// How many gaps.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub(super) struct Gaps {
    /// At most so many, up to 1000; 100 if not given.
    limit: Option<usize>,
}

/// Captures that no notification told us of, each with what a query said.
#[utoipa::path(get, path = "/admin/v1/reconciliation/gaps", tag = "reconciliation", params(Gaps),
    responses((status = 200, body = Object)))]
pub(super) async fn gaps(door: web::Data<Door>, asked: web::Query<Gaps>) -> Answer {
    let found =
        door.service.store().bills().gaps_list(limit(asked.limit)).await.map_err(|e| Problem::store(&e))?;
    let found: Vec<serde_json::Value> = found.iter().map(shown::gap_json).collect();
    Ok(HttpResponse::Ok().json(json!({ "gaps": found })))
}
