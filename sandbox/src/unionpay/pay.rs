//! The payer's side: a code, a `tn` or a cashier form is paid in the wallet.

use std::sync::Arc;

use serde_json::Value;

use super::{UnionPay, fields::Fields, ledger::State, operations, wire};
use crate::payer::Outcome;

/// Pays a credential in any of the forms that a front end holds it in.
pub(crate) fn pay(me: &Arc<UnionPay>, credential: &Value) -> Outcome {
    let Some(name) = credential_text(me, credential) else { return Outcome::Refused("unknown_credential") };
    let now = me.world.clock.now();
    let txn = me.ledger.lock().by_credential(&name, now).cloned();
    let Some(txn) = txn else { return Outcome::Refused("unknown_credential") };
    match txn.state {
        State::Done { .. } => return Outcome::Refused("already_paid"),
        State::Failed => return Outcome::Refused("expired"),
        State::Waits => {}
    }
    match operations::take(me, txn.no(), txn.asked.get("txnTime")) {
        Some(at) => Outcome::Paid { trade_no: txn.query_id, at },
        None => Outcome::Refused("already_paid"),
    }
}

/// The text that names the transaction. A form goes through the cashier's door first, as a browser would bring it.
fn credential_text(me: &Arc<UnionPay>, credential: &Value) -> Option<String> {
    let text = |pointer: &str| credential.pointer(pointer).and_then(Value::as_str);
    if let Some(fields) = credential.get("fields").and_then(Value::as_object) {
        let mut form = Fields::default();
        for (name, value) in fields {
            form.set(name, value.as_str().unwrap_or_default());
        }
        wire::check(&form, &me.keys, me.world.clock.now()).ok()?;
        return match operations::order(me, &form, false) {
            Ok(made) => Some(made.get("tn").to_owned()),
            // The browser was here before.
            Err(_) => {
                let now = me.world.clock.now();
                let mut ledger = me.ledger.lock();
                ledger.get(form.get("orderId"), form.get("txnTime"), now).map(|t| t.credential.clone())
            }
        };
    }
    let inside = || ["/code_url", "/tn", "/params/tn"].into_iter().find_map(text);
    credential.as_str().or_else(inside).map(str::to_owned)
}
