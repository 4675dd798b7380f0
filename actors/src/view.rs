//! What the outside sees of an order: the body of `GET /v1/orders/{id}` and the data of every webhook.

use domain::{
    Credential, OrderId, Timestamp,
    order::{self, Order, truth},
};
use serde::Serialize;
use utoipa::ToSchema;

/// An order, as the API shows it. Amounts in fen, times in RFC 3339 (UTC).
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct OrderView {
    /// The order's id: 26 characters of Crockford base32.
    #[schema(value_type = String, example = "06f8w2k3m4n5p6q7r8s9t0v1w2")]
    pub id: OrderId,
    /// The backend's own number.
    pub order_no: String,
    /// The stall.
    pub merchant_id: String,
    /// `pending`, `processing`, `success`, `failed` or `suspicious`.
    pub state: &'static str,
    /// Grows by one with each change; pass it as `version` to a long poll.
    pub version: u64,
    /// What is to be paid, in fen.
    pub amount_fen: i64,
    /// What the channels hold for this order, refunds taken off, in fen.
    pub net_captured_fen: i64,
    /// Shown to the payer.
    pub description: String,
    /// The true sentence for the payer.
    pub truth: TruthView,
    /// The channel that is being used, or that paid.
    pub channel: Option<String>,
    /// What the payer pays with, while there is something to pay with.
    #[schema(value_type = Option<Object>)]
    pub credential: Option<Credential>,
    /// The parts in which it is paid, one after another, if it is above every channel's limit.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub parts: Vec<PartView>,
    /// The order whose part this is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub part_of: Option<PartOfView>,
    /// Every try to collect the order.
    pub attempts: Vec<AttemptView>,
    /// Money on its way back, or back.
    pub refunds: Vec<RefundView>,
    /// Why it failed, if it did: `expired`, `cancelled`, `declined`, `closed_by_channel`, `returned`.
    pub reason: Option<&'static str>,
    /// When it was accepted.
    pub created_at: String,
    /// The last moment at which the payer may pay.
    pub expires_at: String,
    /// Where to go from here.
    pub links: Links,
}

/// One of four true sentences and one next step.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct TruthView {
    /// `not_charged`, `being_confirmed`, `charged` or `charged_coming_back`.
    pub code: String,
    /// The sentence.
    pub sentence: String,
    /// What the payer does next.
    pub next_step: String,
    /// By when the money is back at the latest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub back_by: Option<String>,
}

/// One try over one channel.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct AttemptView {
    /// Its running number.
    pub no: u8,
    /// Over which channel.
    pub channel: String,
    /// The number it has there.
    pub channel_order_no: String,
    /// `calling`, `exposed`, `closing`, or the certificate that ended it.
    pub state: &'static str,
    /// The certificate, once there is one.
    pub certificate: Option<&'static str>,
    /// The router's sentence.
    pub reason: String,
    /// The channel's trade number, if money was taken.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trade_no: Option<String>,
    /// The money taken, in fen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub captured_fen: Option<i64>,
    /// True for money that does not fit the order and waits for a bill or a person.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub held: bool,
}

/// One part of an order that is paid in parts: an order of its own.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct PartView {
    /// Which, from 1.
    pub no: u8,
    /// How much, in fen.
    pub amount_fen: i64,
    /// `waiting`, `payable`, `suspicious`, `paid`, `failed` or `returned`.
    pub state: &'static str,
    /// Its order; there from its turn on.
    pub order: String,
}

/// Whose part an order is.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct PartOfView {
    /// The whole order.
    #[schema(value_type = String)]
    pub order: OrderId,
    /// Which part this is, from 1.
    pub no: u8,
    /// How many there are.
    pub of: u8,
}

/// One refund.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct RefundView {
    /// Its number at the channel. Of an order in parts: our own number; each part has its own at its channel.
    pub channel_refund_no: String,
    /// The backend's own number, if the backend asked.
    pub refund_no: Option<String>,
    /// The attempt whose money goes back; 0 for an order in parts.
    pub attempt: u8,
    /// How much, in fen.
    pub amount_fen: i64,
    /// `booked`, `processing`, `succeeded` or `failed`.
    pub state: &'static str,
    /// `asked`, `second_capture`, `amount_differs` or `after_failure`.
    pub cause: String,
    /// The channel's code, if it gave up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fail_code: Option<String>,
}

/// Addresses of what belongs to the order.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Links {
    /// The order itself.
    #[serde(rename = "self")]
    pub this: String,
    /// Its changes as server-sent events.
    pub events: String,
    /// The QR code, if its credential is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub qr: Option<String>,
}

impl OrderView {
    /// The view of an order as it stands.
    #[must_use]
    pub fn of(order: &Order) -> OrderView {
        let request = &order.request;
        let shown = order.shown();
        let used = order.kept.and_then(|no| order.attempt(no)).or(shown).or(order.attempts.last());
        let credential = shown.and_then(|a| a.credential.clone());
        let this = format!("/v1/orders/{}", order.id);
        let said = truth(order);
        OrderView {
            id: order.id,
            order_no: request.order_no.clone(),
            merchant_id: request.merchant_id.to_string(),
            state: order.state.as_str(),
            version: order.version,
            amount_fen: request.amount.fen(),
            net_captured_fen: order.net_captured().fen() + order.paid_parts_net().fen(),
            description: request.description.clone(),
            truth: TruthView {
                code: word(&said.code),
                sentence: said.sentence,
                next_step: said.next_step,
                back_by: said.back_by,
            },
            channel: used.map(|a| a.channel.to_string()),
            parts: order.parts.iter().map(part_view).collect(),
            part_of: request.part_of.map(|of| PartOfView { order: of.order, no: of.no, of: of.of }),
            attempts: order.attempts.iter().map(|a| attempt_view(order, a)).collect(),
            refunds: order
                .refunds
                .iter()
                .map(refund_view)
                .chain(order.spreads.iter().map(spread_view))
                .collect(),
            reason: order
                .failure
                .filter(|_| order.state != order::OrderState::Success)
                .map(order::Failure::as_str),
            created_at: order.accepted_at.to_string(),
            expires_at: request.expires_at.to_string(),
            links: Links {
                events: format!("{this}/events"),
                qr: matches!(credential, Some(Credential::Qr { .. })).then(|| format!("{this}/qr.svg")),
                this,
            },
            credential,
        }
    }

    /// The view as JSON. Serializing plain data cannot fail; an empty object would show a mistake of ours.
    #[must_use]
    pub fn json(order: &Order) -> Vec<u8> {
        serde_json::to_vec(&OrderView::of(order)).unwrap_or_else(|_| b"{}".to_vec())
    }
}

fn attempt_view(order: &Order, a: &order::Attempt) -> AttemptView {
    AttemptView {
        no: a.no.get(),
        channel: a.channel.to_string(),
        channel_order_no: order.id.channel_order_no(a.no).to_string(),
        state: a.state_str(),
        certificate: a.certificate.as_ref().map(order::Certificate::as_str),
        reason: a.reason.clone(),
        trade_no: a.capture.as_ref().map(|c| c.trade_no.clone()),
        captured_fen: a.capture.as_ref().map(|c| c.amount.fen()),
        held: order.is_held(a),
    }
}

fn part_view(part: &order::Part) -> PartView {
    PartView {
        no: part.no,
        amount_fen: part.amount.fen(),
        state: part.state.as_str(),
        order: format!("/v1/orders/{}", part.id),
    }
}

fn spread_view(spread: &order::Spread) -> RefundView {
    RefundView {
        channel_refund_no: spread.no.to_string(),
        refund_no: spread.asked_as().map(str::to_owned),
        attempt: 0,
        amount_fen: spread.amount.fen(),
        state: spread.state.as_str(),
        cause: word(&order::RefundCause::Asked),
        fail_code: None,
    }
}

fn refund_view(r: &order::Refund) -> RefundView {
    RefundView {
        channel_refund_no: r.no.to_string(),
        refund_no: r.backend_no.clone(),
        attempt: r.attempt.get(),
        amount_fen: r.amount.fen(),
        state: r.state.as_str(),
        cause: word(&r.cause),
        fail_code: r.fail_code.clone(),
    }
}

/// The word that serde writes for a unit variant.
fn word(value: &impl Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(word)) => word,
        Ok(_) | Err(_) => String::new(),
    }
}

/// The body of a webhook and of a line of `/v1/events`, in the form of the Standard Webhooks specification.
#[must_use]
pub fn webhook_payload(kind: &str, at: Timestamp, order: &Order) -> String {
    #[derive(Serialize)]
    struct Payload<'a> {
        r#type: &'a str,
        timestamp: String,
        data: OrderView,
    }
    let payload = Payload { r#type: kind, timestamp: at.to_string(), data: OrderView::of(order) };
    serde_json::to_string(&payload).unwrap_or_else(|_| "{}".to_owned())
}
