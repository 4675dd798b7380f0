//! `POST /notify/{channel}`: a channel's call, as raw bytes.

use actix_web::{HttpRequest, HttpResponse, http::StatusCode, web};
use channels::{NotificationCall, NotificationRefused, RefusedBecause};
use domain::ChannelId;

use super::{Door, Problem, client_ip::is_admitted};

/// Takes the call; the answer is in the channel's own words.
#[utoipa::path(post, path = "/notify/{channel}", tag = "channels",
    description = "A channel's signed call. Repeats are harmless.",
    request_body(content = String, content_type = "application/json"),
    params(("channel" = String, Path, description = "wechat, alipay, unionpay, campus_card")),
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
    let client = door.limits.client(&req);
    let call = NotificationCall {
        method: req.method().as_str().to_owned(),
        target: req.uri().path_and_query().map_or_else(|| "/".to_owned(), ToString::to_string),
        headers: req
            .headers()
            .iter()
            .map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
            .collect(),
        body,
        remote: client.map(|ip| ip.to_string()),
    };
    let admitted = match client {
        Some(ip) if !is_admitted(ip, door.notify_from.get(channel.as_str())) => {
            let detail = format!("{ip} is not among service.notify_from.{channel}");
            Err(NotificationRefused::new(RefusedBecause::ForeignAddress, detail))
        }
        _ => Ok(()),
    };
    let Some(reply) = door.service.notification(&id, call, admitted).await else { return missing() };
    let status = StatusCode::from_u16(reply.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut answer = HttpResponse::build(status);
    if let Some(kind) = reply.content_type {
        answer.content_type(kind);
    }
    answer.body(reply.body)
}
