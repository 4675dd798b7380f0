//! `POST /notify/{channel}`: a channel's call, as raw bytes.

use actix_web::{HttpRequest, HttpResponse, http::StatusCode, web};
use channels::NotificationCall;
use domain::ChannelId;

use super::{Door, Problem};

/// Takes the call; the answer is in the channel's own words.
#[utoipa::path(post, path = "/notify/{channel}", tag = "channels",
    description = "A channel's signed call. Repeats are harmless.",
    request_body(content = String, content_type = "application/json"),
    params(("channel" = String, Path, description = "wechat, campus_card")),
    responses((status = 200, description = "taken, in the channel's own form"),
              (status = 401, description = "proves nothing; kept in the log, no effect"),
              (status = 404, body = Problem)))]
pub(super) async fn notify(
    door: web::Data<Door>,
    req: HttpRequest,
    channel: web::Path<String>,
    body: web::Bytes,
) -> HttpResponse {
    let missing = || Problem::new(404, "unknown_channel", "No such channel is configured.").response();
    let Ok(id) = ChannelId::new(&channel) else { return missing() };
    let call = NotificationCall {
        method: req.method().as_str().to_owned(),
        target: req.uri().path_and_query().map_or_else(|| "/".to_owned(), ToString::to_string),
        headers: req
            .headers()
            .iter()
            .map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
            .collect(),
        body,
        remote: req.peer_addr().map(|addr| addr.to_string()),
    };
    let Some(reply) = door.service.notification(&id, call).await else { return missing() };
    let status = StatusCode::from_u16(reply.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut answer = HttpResponse::build(status);
    if let Some(kind) = reply.content_type {
        answer.content_type(kind);
    }
    answer.body(reply.body)
}
