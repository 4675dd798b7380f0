//! Orders: create, read, wait, close, switch, hint, refund.

use std::{net::IpAddr, str::FromStr as _, time::Duration};

use actix_web::{HttpRequest, HttpResponse, web};
use actors::{AcceptError, HearError, OrderBody, view::OrderView};
use domain::{
    ChannelId, ChannelKind, Money, OrderId, Scene,
    channel::ChannelProfile,
    order::{Elsewhere, Event, Rejected},
};
use serde::{Deserialize, de::DeserializeOwned};
use store::Cause;
use tokio::time::Instant;
use utoipa::{IntoParams, ToSchema};

use super::{
    Door,
    new_order::NewOrder,
    parts,
    problem::{FieldFault, Problem},
    restored,
};

/// The longest wait of one request.
pub(super) const WAIT_MAX_S: u64 = 10;

type Answer = Result<HttpResponse, Problem>;

/// What decides about waiting, read from a ready body.
#[derive(Deserialize)]
pub(super) struct Glance {
    state: String,
    #[serde(default)]
    credential: Option<serde::de::IgnoredAny>,
}

impl Glance {
    pub(super) fn of(body: &OrderBody) -> Glance {
        let unread = |_| Glance { state: String::new(), credential: None };
        serde_json::from_slice(&body.json).unwrap_or_else(unread)
    }

    pub(super) fn is_final(&self) -> bool {
        matches!(self.state.as_str(), "success" | "failed")
    }
}

fn shown(status: u16, body: &OrderBody) -> HttpResponse {
    let status = actix_web::http::StatusCode::from_u16(status).unwrap_or_default();
    HttpResponse::build(status)
        .content_type("application/json")
        .insert_header(("Cache-Control", "no-store"))
        .body(body.json.to_vec())
}

/// The order of a path.
pub(super) async fn find(door: &Door, text: &str) -> Result<(OrderId, OrderBody), Problem> {
    let missing = || Problem::new(404, "order_not_found", format!("There is no order {text:?}."));
    let id = OrderId::from_str(text).map_err(|_| missing())?;
    let body = door.service.order(id).await.map_err(|e| Problem::store(&e))?;
    Ok((id, body.ok_or_else(missing)?))
}

fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    let text = if body.is_empty() { b"{}".as_slice() } else { body };
    serde_json::from_slice(text).map_err(|e| {
        Problem::new(400, "invalid_json", format!("The body cannot be read: {e}. Nothing changed."))
    })
}

/// Accepts an order: durable before it is answered.
#[utoipa::path(post, path = "/v1/orders", tag = "orders", request_body = NewOrder,
    description = "Accepts an order; answers when it is durable. Repeating the same body is safe: `order_no` is the \
                   idempotency key per merchant. `Prefer: wait=N` (at most 10) waits for a credential or an end.",
    params(("Prefer" = Option<String>, Header, description = "wait=N, seconds")),
    responses((status = 202, body = OrderView, description = "accepted and durable"),
              (status = 201, body = OrderView, description = "with `Prefer: wait`: the payer can pay, or it ended"),
              (status = 400, body = Problem), (status = 409, body = Problem), (status = 422, body = Problem),
              (status = 429, body = Problem), (status = 503, body = Problem)))]
pub(super) async fn create(door: web::Data<Door>, req: HttpRequest, body: web::Bytes) -> Answer {
    let order = NewOrder::read(&body)?;
    let hash = order.hash();
    let request = order.judge(door.service.now(), &door.service.profiles(), &door.merchants)?;
    let accepted = door.service.accept(request, hash).await.map_err(|e| refused(&e))?;
    let wait = prefer_wait(&req);
    if wait.is_zero() {
        return Ok(shown(202, &accepted.view));
    }
    let until = Instant::now() + wait;
    let mut body = accepted.view;
    loop {
        body = parts::with_part(&door, body).await;
        let glance = Glance::of(&body);
        if glance.credential.is_some() || glance.is_final() {
            return Ok(shown(201, &body));
        }
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(shown(202, &body));
        }
        let next = door.service.order_after(accepted.id, body.version, left).await;
        // The order is durable whatever happens to this wait, and the answer says so.
        let Ok(Some(next)) = next else { return Ok(shown(202, &body)) };
        body = next;
    }
}

fn prefer_wait(req: &HttpRequest) -> Duration {
    let text = req.headers().get("prefer").and_then(|v| v.to_str().ok()).unwrap_or_default();
    let wait = text.split([',', ';']).find_map(|part| part.trim().strip_prefix("wait="));
    let seconds: u64 = wait.and_then(|n| n.trim().parse().ok()).unwrap_or(0);
    Duration::from_secs(seconds.min(WAIT_MAX_S))
}

fn refused(error: &AcceptError) -> Problem {
    match error {
        AcceptError::Conflict { existing } => Problem::new(
            409,
            "order_no_used",
            format!("order_no was used for another order, {existing}; nothing changed. Use a new number."),
        ),
        AcceptError::Full { retry_after_s } => {
            let detail = "Too many orders wait for a channel; nothing was stored. Try again.";
            Problem::new(503, "intake_full", detail).after(u32::try_from(*retry_after_s).unwrap_or(u32::MAX))
        }
        AcceptError::TooLarge(too_large) => {
            let detail = format!("The amount is above the limit: {too_large}. Nothing changed.");
            Problem::new(422, "amount_above_limit", detail)
        }
        AcceptError::Unknown => {
            let detail = "The store did not confirm. Send the same body again to find out; it is safe.";
            Problem::new(503, "unconfirmed", detail).after(1)
        }
        AcceptError::Unavailable(_) => {
            tracing::error!(error = %actors::causes(&error), "an order was not accepted");
            let detail = "The store takes no orders at the moment; nothing was stored. Try again.";
            Problem::new(503, "store_unavailable", detail).after(1)
        }
    }
}

/// How long to wait, and for what.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub(super) struct Wait {
    /// Wait so many seconds (at most 10) for a change.
    wait: Option<u64>,
    /// A change from this version; the present one if it is not given.
    version: Option<u64>,
}

/// The order as it stands, or as it is after the next change.
#[utoipa::path(get, path = "/v1/orders/{id}", tag = "orders", params(("id" = String, Path), Wait),
    description = "The order: state, a true sentence for the payer, credential, attempts, refunds.",
    responses((status = 200, body = OrderView), (status = 404, body = Problem)))]
pub(super) async fn read_order(
    door: web::Data<Door>,
    id: web::Path<String>,
    wait: web::Query<Wait>,
) -> Answer {
    let (id, body) = find(&door, &id).await?;
    let seconds = wait.wait.unwrap_or(0).min(WAIT_MAX_S);
    if seconds == 0 || wait.version.is_some_and(|v| v != body.version) {
        return Ok(shown(200, &parts::with_part(&door, body).await));
    }
    let later = door.service.order_after(id, body.version, Duration::from_secs(seconds)).await;
    let later = later.map_err(|e| Problem::store(&e))?;
    Ok(shown(200, &parts::with_part(&door, later.unwrap_or(body)).await))
}

/// The credential as a QR code.
#[utoipa::path(get, path = "/v1/orders/{id}/qr.svg", tag = "orders", params(("id" = String, Path)),
    description = "The QR code that the payer scans.",
    responses((status = 200, content_type = "image/svg+xml", body = String), (status = 404, body = Problem)))]
pub(super) async fn qr(door: web::Data<Door>, id: web::Path<String>) -> Answer {
    #[derive(Deserialize)]
    struct Shown {
        credential: Option<Code>,
    }
    #[derive(Deserialize)]
    struct Code {
        code_url: Option<String>,
    }
    let (_, body) = find(&door, &id).await?;
    let body = parts::with_part(&door, body).await;
    let shown: Option<Shown> = serde_json::from_slice(&body.json).ok();
    let text = shown.and_then(|s| s.credential).and_then(|c| c.code_url);
    let code = text.and_then(|text| qrcode::QrCode::new(text).ok());
    let Some(code) = code else {
        let detail = "The order has no QR code to show at the moment; look at its state.";
        return Err(Problem::new(404, "no_qr_code", detail));
    };
    let svg = code.render::<qrcode::render::svg::Color>().min_dimensions(240, 240).build();
    Ok(HttpResponse::Ok()
        .content_type("image/svg+xml")
        .insert_header(("Cache-Control", "no-store"))
        .body(svg))
}

/// Who is told, if an order is paid in parts.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Whom {
    /// The whole: it is about the money.
    Whole,
    /// The part whose turn it is: it is about the payment under way.
    AtHand,
}

/// Tells an order something and answers with the order.
async fn tell(door: &Door, id: &str, req: &HttpRequest, event: Event, whom: Whom) -> Answer {
    let (asked, before) = find(door, id).await?;
    let id = match whom {
        Whom::Whole => {
            parts::not_a_part(&before)?;
            asked
        }
        Whom::AtHand => parts::at_hand(asked, &before),
    };
    let remote = req.peer_addr().map(|a| a.to_string()).unwrap_or_default();
    let cause = Cause::new(event.label(), "api", &remote);
    let heard = door.service.hear(id, event, cause).await.map_err(|e| unheard(&e))?;
    let body = if id == asked {
        door.service.order_since(id, heard.version).await
    } else {
        door.service.order(asked).await
    };
    let body = body.map_err(|e| Problem::store(&e))?.ok_or_else(|| unheard(&HearError::NotFound))?;
    Ok(shown(200, &parts::with_part(door, body).await))
}

pub(super) fn unheard(error: &HearError) -> Problem {
    let HearError::Rejected(rejected) = error else {
        return match error {
            HearError::NotFound => Problem::new(404, "order_not_found", "There is no such order."),
            HearError::Busy | HearError::Unconfirmed | HearError::Rejected(_) => {
                Problem::new(503, "unconfirmed", "Nobody confirmed. The same request again is safe.").after(1)
            }
        };
    };
    let (status, code) = match rejected {
        Rejected::UnknownAttempt(_) => (404, "attempt_not_found"),
        Rejected::UnknownRefund(_) => (404, "refund_not_found"),
        Rejected::AmountDiffers { .. } => (409, "amount_differs"),
        Rejected::OrderFinal(_) => (409, "order_final"),
        Rejected::AlreadyPaid => (409, "already_paid"),
        Rejected::NotPaid(_) => (409, "not_paid"),
        Rejected::RefundExceeds { .. } => (422, "refund_exceeds"),
        Rejected::RefundOfNothing => (422, "refund_of_nothing"),
        Rejected::RefundNoReused { .. } => (409, "refund_no_used"),
        Rejected::UnknownPart(_) => (404, "part_not_found"),
        Rejected::AddressNeeded => (422, "client_ip_needed"),
        Rejected::IsSplit => (409, "is_split"),
        Rejected::NothingHeld(_) => (409, "nothing_held"),
        Rejected::GoingBack => (409, "going_back"),
        Rejected::TooManyRefunds => (409, "too_many_refunds"),
        // Of refunds that are taken over from bills; nobody asks for that here.
        Rejected::ForeignRefund(_) => (404, "refund_not_found"),
        Rejected::NothingCaptured(_) => (409, "not_paid"),
        Rejected::RefundDiffers { .. } => (409, "refund_no_used"),
        Rejected::RefundTakenOver(_) => {
            let detail = format!(
                "Not done, nothing changed: this may be a refund that was {rejected}. If it is the same, nothing more is \
                 to be done: it is in the order's `refunds`. If it is another one, ask again with \
                 `\"besides_taken_over\": true` in the body."
            );
            return Problem::new(409, "refund_taken_over", detail);
        }
    };
    Problem::new(status, code, format!("Not done: {rejected}. Nothing changed."))
}

/// Cancels an order.
#[utoipa::path(post, path = "/v1/orders/{id}/close", tag = "orders", params(("id" = String, Path)),
    description = "Cancels the order. It fails once no credential can be paid any more. Repeating is safe.",
    responses((status = 200, body = OrderView), (status = 404, body = Problem), (status = 409, body = Problem)))]
pub(super) async fn close(door: web::Data<Door>, req: HttpRequest, id: web::Path<String>) -> Answer {
    tell(&door, &id, &req, Event::CancelAsked, Whom::Whole).await
}

/// The order is still wanted.
#[utoipa::path(post, path = "/v1/orders/{id}/keep", tag = "orders", params(("id" = String, Path)),
    description = "The order is still wanted if the money comes after it failed: such a payment then pays it, instead \
                   of going back. Repeating is safe; 409 once the money is on its way back.",
    responses((status = 200, body = OrderView), (status = 404, body = Problem), (status = 409, body = Problem)))]
pub(super) async fn keep(door: web::Data<Door>, req: HttpRequest, id: web::Path<String>) -> Answer {
    tell(&door, &id, &req, Event::LateWanted, Whom::Whole).await
}

/// Another way to pay.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct SwitchBody {
    /// The channel; none: the next best.
    #[serde(default)]
    channel: Option<String>,
    /// The payer agrees to a debit by this channel.
    #[serde(default)]
    consent: bool,
    /// The payer's client cannot pay in place: pay in this scene instead, such as `h5` for a browser.
    #[serde(default)]
    #[schema(value_type = Option<String>, example = "h5")]
    scene: Option<Scene>,
    /// The payer's network address; needed in the `h5` scene unless the order came with one.
    #[serde(default)]
    client_ip: Option<String>,
}

/// The payer asks for another way to pay.
#[utoipa::path(post, path = "/v1/orders/{id}/switch", tag = "orders", params(("id" = String, Path)),
    request_body = SwitchBody, description = "Pay another way: the present credential is closed first.",
    responses((status = 200, body = OrderView), (status = 404, body = Problem), (status = 409, body = Problem)))]
pub(super) async fn switch(
    door: web::Data<Door>,
    req: HttpRequest,
    id: web::Path<String>,
    body: web::Bytes,
) -> Answer {
    let asked: SwitchBody = read(&body)?;
    let profiles = door.service.profiles();
    if let Some(scene) = asked.scene {
        let event = elsewhere(&profiles, scene, &asked)?;
        return tell(&door, &id, &req, event, Whom::AtHand).await;
    }
    let to = match &asked.channel {
        None => None,
        Some(name) => {
            let known = ChannelId::new(name).ok().filter(|id| profiles.iter().any(|p| p.id == *id));
            let problem = "there is no such channel".to_owned();
            let fault = || Problem::fields(vec![FieldFault { field: "/channel".to_owned(), problem }]);
            Some(known.ok_or_else(fault)?)
        }
    };
    tell(&door, &id, &req, Event::SwitchAsked { to, consent: asked.consent }, Whom::AtHand).await
}

/// Another scene, if a channel serves it and what it needs was given.
fn elsewhere(profiles: &[ChannelProfile], scene: Scene, asked: &SwitchBody) -> Result<Event, Problem> {
    let fault = |field: &str, problem: &str| {
        Problem::fields(vec![FieldFault { field: field.to_owned(), problem: problem.to_owned() }])
    };
    if asked.channel.is_some() {
        return Err(fault("/channel", "cannot be named together with a scene; switch again once it is open"));
    }
    if !profiles.iter().any(|p| p.kind == ChannelKind::Credential && p.scenes.contains(&scene)) {
        return Err(fault("/scene", "no channel serves it"));
    }
    let ip = asked.client_ip.as_deref();
    if ip.is_some_and(|ip| ip.parse::<IpAddr>().is_err()) {
        return Err(fault("/client_ip", "expected an IPv4 or IPv6 address"));
    }
    Ok(Event::ElsewhereAsked(Elsewhere { scene, client_ip: asked.client_ip.clone() }))
}

/// The payer came back from paying.
#[utoipa::path(post, path = "/v1/orders/{id}/hint", tag = "orders", params(("id" = String, Path)),
    description = "The payer came back from paying: look now. Best effort.",
    responses((status = 202), (status = 404, body = Problem)))]
pub(super) async fn hint(door: web::Data<Door>, id: web::Path<String>) -> Answer {
    let (id, body) = find(&door, &id).await?;
    door.service.hint(parts::at_hand(id, &body));
    Ok(HttpResponse::Accepted().finish())
}

/// A refund.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RefundBody {
    /// The backend's own number: the idempotency key. 1 to 64 of letters, digits, `_`, `-`.
    refund_no: String,
    /// Fen, 1 or more; several refunds come to at most the order.
    amount_fen: i64,
    /// For the channel and the payer, at most 80 characters.
    #[serde(default)]
    reason: String,
    /// After 409 `refund_taken_over`: this is another refund than any which that answer names.
    /// Every further one of that amount needs it, too.
    #[serde(default)]
    besides_taken_over: bool,
}

/// Gives money back.
#[utoipa::path(post, path = "/v1/orders/{id}/refunds", tag = "orders", params(("id" = String, Path)),
    request_body = RefundBody,
    description = "Gives money back over the channel that took it. Durable before it is answered; the result \
                   follows by webhook. Repeating the same body is safe. 409 `refund_taken_over`: after a restore a refund of \
                   this amount is known only from the channel's bill, which does not say its `refund_no`; the answer \
                   names it.",
    responses((status = 200, body = OrderView), (status = 404, body = Problem), (status = 409, body = Problem),
              (status = 422, body = Problem)))]
pub(super) async fn refund(
    door: web::Data<Door>,
    req: HttpRequest,
    id: web::Path<String>,
    body: web::Bytes,
) -> Answer {
    let asked: RefundBody = read(&body)?;
    let mut faults = Vec::new();
    let mut fault = |field: &str, problem: &str| {
        faults.push(FieldFault { field: field.to_owned(), problem: problem.to_owned() });
    };
    let word = |c: u8| c.is_ascii_alphanumeric() || b"_-".contains(&c);
    if !((1..=64).contains(&asked.refund_no.len()) && asked.refund_no.bytes().all(word)) {
        fault("/refund_no", "expected 1 to 64 of letters, digits, '_', '-'");
    }
    if asked.reason.chars().count() > 80 || asked.reason.chars().any(|c| c.len_utf8() > 3 || c.is_control()) {
        fault("/reason", "expected at most 80 characters, no emoji, no control characters");
    }
    let amount = Money::from_fen(asked.amount_fen).ok().filter(|m| m.fen() >= 1);
    if amount.is_none() {
        fault("/amount_fen", "expected 1 fen or more");
    }
    let (Some(amount), true) = (amount, faults.is_empty()) else { return Err(Problem::fields(faults)) };
    restored::refunds_open(&door, &id).await?;
    let RefundBody { refund_no: backend_no, reason, besides_taken_over, .. } = asked;
    let event = Event::RefundAsked { backend_no, amount, reason, besides_taken_over };
    tell(&door, &id, &req, event, Whom::Whole).await
}

/// What is known of a payer, and so what the next order offers first.
#[utoipa::path(get, path = "/v1/payers/{id}", tag = "orders", params(("id" = String, Path)),
    responses((status = 200, body = Object), (status = 404, body = Problem)))]
pub(super) async fn payer(door: web::Data<Door>, id: web::Path<String>) -> Answer {
    let known = door.service.store().payer(&id).await.map_err(|e| Problem::store(&e))?;
    let missing = || Problem::new(404, "payer_not_found", "No order of this payer was paid yet.");
    let known = known.ok_or_else(missing)?;
    Ok(HttpResponse::Ok().json(serde_json::json!({
        "id": known.payer_id, "account_type": known.account_type, "accounts": known.accounts,
        "last_channel": known.last_channel, "last_paid_at": known.last_paid_at.to_string(),
    })))
}
