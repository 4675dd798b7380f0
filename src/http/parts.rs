//! Orders that are paid in parts, as the front door shows them.
//!
//! A reader of the whole sees the credential of the part whose turn it is, so that a client which knows nothing of parts
//! can pay one after another; what concerns a payment under way is passed on to that part. What concerns the money
//! as a whole is asked of the whole alone.

use actors::OrderBody;
use domain::OrderId;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::{Door, problem::Problem};

/// As much of an order's view as says what its parts are.
#[derive(Deserialize)]
struct Glance {
    #[serde(default)]
    parts: Vec<Part>,
    #[serde(default)]
    part_of: Option<PartOf>,
}

#[derive(Deserialize)]
struct Part {
    state: String,
    order: String,
}

#[derive(Deserialize)]
struct PartOf {
    order: String,
}

fn glance(body: &OrderBody) -> Option<Glance> {
    // Nearly no order has to do with parts, and none is to be parsed to find that out. In a view these bytes stand for
    // nothing else: a quotation mark within a text is escaped.
    let text = std::str::from_utf8(&body.json).ok()?;
    if !text.contains(r#""parts":["#) && !text.contains(r#""part_of":{"#) {
        return None;
    }
    serde_json::from_slice(&body.json).ok()
}

/// The part that can be paid now, if the order is paid in parts and one can.
fn payable(body: &OrderBody) -> Option<OrderId> {
    let part = glance(body)?.parts.into_iter().find(|p| p.state == "payable")?;
    part.order.rsplit('/').next()?.parse().ok()
}

/// The order that a payer's own acts concern: the part whose turn it is, or the order itself.
pub(super) fn at_hand(id: OrderId, body: &OrderBody) -> OrderId {
    payable(body).unwrap_or(id)
}

/// Refuses what only the whole may be asked.
///
/// # Errors
/// 409 with the whole's number, if the order is a part.
pub(super) fn not_a_part(body: &OrderBody) -> Result<(), Problem> {
    match glance(body).and_then(|g| g.part_of) {
        None => Ok(()),
        Some(whole) => {
            let detail =
                format!("This order is a part of order {}; ask that one. Nothing changed.", whole.order);
            Err(Problem::new(409, "part_of_order", detail))
        }
    }
}

/// The order's body with what the payer needs for the part whose turn it is: its credential, channel and QR code.
/// Unchanged for an order that is not split, or if the part cannot be read at the moment.
pub(super) async fn with_part(door: &Door, body: OrderBody) -> OrderBody {
    let Some(part) = payable(&body) else { return body };
    let Ok(Some(of_part)) = door.service.order(part).await else { return body };
    match merged(&body, &of_part) {
        Some(json) => OrderBody { json: json.into(), ..body },
        None => body,
    }
}

fn merged(whole: &OrderBody, part: &OrderBody) -> Option<Vec<u8>> {
    let mut all: Map<String, Value> = serde_json::from_slice(&whole.json).ok()?;
    let mut of_part: Map<String, Value> = serde_json::from_slice(&part.json).ok()?;
    for key in ["credential", "channel"] {
        all.insert(key.to_owned(), of_part.remove(key)?);
    }
    let qr = of_part.get("links").and_then(|links| links.get("qr")).cloned();
    if let (Some(qr), Some(links)) = (qr, all.get_mut("links").and_then(Value::as_object_mut)) {
        links.insert("qr".to_owned(), qr);
    }
    serde_json::to_vec(&all).ok()
}
