//! Money that does not fit its order: held until a bill or a person has the next word.
//!
//! A person may send it back, or state what the channel's own books say of it (the amount in the merchant's console).
//! Both go through the order's ordinary rules with the operator as the cause; neither makes an order a success at
//! another amount than its own.

use actix_web::{HttpResponse, web};
use domain::{
    AttemptNo, Capture, Evidence, EvidenceSource, Found, Money,
    order::{Event, Order},
};
use serde::Deserialize;
use store::Cause;
use utoipa::ToSchema;

use super::{
    Door,
    admin::order_id,
    operators::{Operator, scope},
    orders::unheard,
    problem::{FieldFault, Problem},
};

/// What an operator decides about money that an attempt holds.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct HeldBody {
    /// The attempt's number within the order.
    attempt: u8,
    #[serde(flatten)]
    decision: Decided,
    /// Where the decision can be looked up: a ticket, a line in the merchant's console. 1 to 200 characters.
    reference: String,
}

/// The decision.
#[derive(Deserialize, ToSchema)]
#[serde(tag = "decision", rename_all = "snake_case")]
enum Decided {
    /// Everything that the attempt holds goes back to the payer.
    Return,
    /// The channel's own books were looked at: it took this much. The order's amount makes the order a success; any
    /// other amount goes back.
    Confirm {
        /// Fen, 1 or more.
        amount_fen: i64,
    },
}

/// Decides about held money.
#[utoipa::path(post, path = "/admin/v1/orders/{id}/held", tag = "admin", params(("id" = String, Path)),
    request_body = HeldBody,
    description = "Decides about money that does not fit its order: `return` sends it back, `confirm` states what the \
                   channel's own books say it took. Kept in the order's story with the operator. Repeating is safe.",
    responses((status = 200, body = Object), (status = 403, body = Problem), (status = 404, body = Problem), (status = 409, body = Problem),
              (status = 422, body = Problem)))]
pub(super) async fn decide(
    door: web::Data<Door>,
    operator: Operator<scope::Orders>,
    id: web::Path<String>,
    body: web::Json<HeldBody>,
) -> Result<HttpResponse, Problem> {
    let id = order_id(&id)?;
    let missing = || Problem::new(404, "order_not_found", format!("There is no order {id}."));
    let order = door.service.order_load(id).await.map_err(|e| Problem::store(&e))?.ok_or_else(missing)?;
    let event = event(&order, &body)?;
    let cause = Cause::new(event.label(), &operator.by(), &body.reference);
    let heard = door.service.hear(id, event, cause).await.map_err(|e| unheard(&e))?;
    let view = door.service.order_since(id, heard.version).await.map_err(|e| Problem::store(&e))?;
    let view = view.ok_or_else(missing)?;
    Ok(HttpResponse::Ok().content_type("application/json").body(view.json.to_vec()))
}

fn event(order: &Order, body: &HeldBody) -> Result<Event, Problem> {
    let fault = |field: &str, problem: &str| {
        Problem::fields(vec![FieldFault { field: field.to_owned(), problem: problem.to_owned() }])
    };
    if !(1..=200).contains(&body.reference.chars().count()) || body.reference.chars().any(char::is_control) {
        return Err(fault("/reference", "expected 1 to 200 characters: where the decision can be looked up"));
    }
    let no = AttemptNo::new(body.attempt).ok_or_else(|| fault("/attempt", "expected 1 to 99"))?;
    let held = order.attempt(no).filter(|a| order.is_held(a)).and_then(|a| a.capture.as_ref());
    let Some(held) = held else {
        let detail = format!(
            "Attempt {no} of order {} holds nothing that waits for a decision; the order is {}. Nothing changed.",
            order.id,
            order.state.as_str()
        );
        return Err(Problem::new(409, "nothing_held", detail));
    };
    match body.decision {
        Decided::Return => Ok(Event::HeldReturned { no }),
        Decided::Confirm { amount_fen } => {
            let amount = Money::from_fen(amount_fen).ok().filter(|m| m.fen() >= 1);
            let amount = amount.ok_or_else(|| fault("/amount_fen", "expected 1 fen or more"))?;
            let found = Found::Captured(Capture { amount, ..held.clone() });
            let reference = body.reference.clone();
            let evidence = Evidence { source: EvidenceSource::Operator, reference, found };
            Ok(Event::Found { no, evidence })
        }
    }
}
