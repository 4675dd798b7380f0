//! What a store that was restored from a copy must not do before it has caught up with its channels.
//!
//! Payments are safe: numbers of attempts hold an order's random id, and asking again under one is the same request.
//! Refund numbers are counted, and the copy may not know of refunds that were paid after it was taken: the next one
//! asked for would get such a number, and the channel's "done" would be about the other. So they wait for the bills.

use domain::OrderId;

use super::{Door, problem::Problem};
use crate::backup::Restored;

/// Whether refunds of an order may be asked for.
///
/// # Errors
/// 409 `restored_store`: the order is older than a restore that an operator has not finished yet.
pub(super) async fn refunds_open(door: &Door, id: &str) -> Result<(), Problem> {
    let unknown = |error: anyhow::Error| {
        tracing::error!(error = format!("{error:#}"), "the mark of a restore cannot be read");
        Problem::new(503, "unavailable", "The store did not answer; ask again.")
    };
    let Some(restored) = Restored::of(&**door.service.store()).await.map_err(unknown)? else { return Ok(()) };
    match id.parse::<OrderId>() {
        Ok(id) if id.made_at() < restored.restored_at => Err(Problem::new(
            409,
            "restored_store",
            "The store was restored from a copy and does not know all refunds of this order yet. Ask again once an \
             operator has reconciled and finished the restore.",
        )),
        Ok(_) | Err(_) => Ok(()), // an id that is none is refused further on
    }
}
