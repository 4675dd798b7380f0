//! Server-sent events: the order now, then at every change, until nothing changes any more.

use std::time::Duration;

use actix_web::{HttpResponse, web};
use actors::OrderBody;
use bytes::Bytes;
use domain::OrderId;
use futures::stream;

use super::{Door, Problem, orders, parts};

/// A comment line keeps proxies from closing a quiet stream.
const QUIET: Duration = Duration::from_secs(15);

enum Next {
    First(OrderBody),
    After(u64),
    Done,
}

/// The order as a stream of events named `order`, whose ids are versions.
#[utoipa::path(get, path = "/v1/orders/{id}/events", tag = "orders",
    description = "Server-sent events `order`: the order now, then at every change; ends with a final state.",
    params(("id" = String, Path)),
    responses((status = 200, content_type = "text/event-stream", body = String), (status = 404, body = Problem)))]
pub(super) async fn events(door: web::Data<Door>, id: web::Path<String>) -> Result<HttpResponse, Problem> {
    let (id, body) = orders::find(&door, &id).await?;
    let steps = stream::unfold(Next::First(body), move |next| {
        let door = door.clone();
        async move { step(&door, id, next).await.map(|(bytes, next)| (Ok::<_, std::io::Error>(bytes), next)) }
    });
    Ok(HttpResponse::Ok()
        .content_type("text/event-stream")
        .insert_header(("Cache-Control", "no-store"))
        .insert_header(("X-Accel-Buffering", "no"))
        .streaming(steps))
}

async fn step(door: &Door, id: OrderId, next: Next) -> Option<(Bytes, Next)> {
    let version = match next {
        Next::First(body) => return Some(shown(&parts::with_part(door, body).await)),
        Next::After(version) => version,
        Next::Done => return None,
    };
    match door.service.order_after(id, version, QUIET).await {
        Ok(Some(body)) if body.version != version => Some(shown(&parts::with_part(door, body).await)),
        Ok(Some(_)) => Some((Bytes::from_static(b": still here\n\n"), Next::After(version))),
        Ok(None) | Err(_) => None, // the client reconnects and reads the order again
    }
}

fn shown(body: &OrderBody) -> (Bytes, Next) {
    let json = String::from_utf8_lossy(&body.json);
    let text = format!("event: order\nid: {}\ndata: {json}\n\n", body.version);
    let next = if orders::Glance::of(body).is_final() { Next::Done } else { Next::After(body.version) };
    (Bytes::from(text), next)
}
