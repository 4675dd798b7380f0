//! The payer's side: what happens when a credential is paid in the app.

use actix_web::web;
use serde_json::Value;

use super::{
    NAME, Wechat, callback,
    trade::{Paid, State},
};
use crate::payer::Outcome;

/// Pays a credential in any of the forms that a front end holds it in.
pub(crate) fn pay(me: &web::Data<Wechat>, credential: &Value, payer: &str) -> Outcome {
    let Some(text) = credential_text(credential) else { return Outcome::Refused("unknown_credential") };
    let now = me.world.clock.now();
    let mut trades = me.trades.lock();
    let Some(trade) = trades.by_credential(&text) else { return Outcome::Refused("unknown_credential") };
    match trade.state {
        State::Paid(_) => return Outcome::Refused("already_paid"),
        State::Closed => return Outcome::Refused("closed"),
        State::NotPay if now > trade.pay_until || now > trade.credential_until => {
            return Outcome::Refused("expired");
        }
        State::NotPay => {}
    }
    let trade_no = format!("42{:026}", me.world.next_serial());
    let openid = trade.openid.clone().unwrap_or_else(|| format!("oSANDBOX-{payer}"));
    trade.state = State::Paid(Paid { transaction_id: trade_no.clone(), openid, at: now });
    me.world.books.capture(NAME, &trade.no, trade.total, &trade_no, now);
    let told = trade.clone();
    trades.paid_under(&trade_no, &told.no);
    drop(trades);
    callback::paid(me, told);
    Outcome::Paid { trade_no, at: now }
}

/// The text that names the trade: a code_url, an h5_url, or the prepay id inside the pay parameters.
fn credential_text(credential: &Value) -> Option<String> {
    if let Some(text) = credential.as_str() {
        return Some(text.strip_prefix("prepay_id=").unwrap_or(text).to_owned());
    }
    let text = |pointer: &str| credential.pointer(pointer).and_then(Value::as_str);
    ["/code_url", "/h5_url", "/params/package", "/package", "/prepay_id", "/prepayId"]
        .into_iter()
        .find_map(text)
        .map(|t| t.strip_prefix("prepay_id=").unwrap_or(t).to_owned())
}
