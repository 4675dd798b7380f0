//! The payer's side: what happens when a credential is used in the wallet.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{
    Alipay, NAME, form, notice,
    refusal::Refusal,
    text,
    trade::{self, Paid, Product, State},
    wap,
    wire::{self, Call},
};
use crate::payer::Outcome;

/// Pays a credential in any of the forms that a front end holds it in, from the balance or on credit.
pub(crate) fn pay(me: &Arc<Alipay>, credential: &Value, payer: &str, on_credit: bool) -> Outcome {
    let Some(text) = credential_text(credential) else { return Outcome::Refused("unknown_credential") };
    // A browser opens a cashier address first, and the trade is made by that.
    if let Some((_, query)) = text.split_once('?').filter(|_| text.contains(wap::METHOD)) {
        let call = form::read(query.as_bytes(), b"", "").and_then(|p| wire::check(p, &me.keys));
        return match call.and_then(|call| wap::make(me, &call)) {
            Ok(trade) => pay_named(me, &trade.trade_no, payer, on_credit),
            Err(refusal) if refusal.sub_code == "ACQ.TRADE_HAS_SUCCESS" => Outcome::Refused("already_paid"),
            Err(refusal) if refusal.sub_code == "ACQ.TRADE_HAS_CLOSE" => Outcome::Refused("closed"),
            Err(_) => Outcome::Refused("unknown_credential"),
        };
    }
    pay_named(me, &text, payer, on_credit)
}

fn pay_named(me: &Arc<Alipay>, name: &str, payer: &str, on_credit: bool) -> Outcome {
    let now = me.world.clock.now();
    let mut ledger = me.ledger.lock();
    let Some(trade) = ledger.by_credential(name, now) else { return Outcome::Refused("unknown_credential") };
    match trade.state {
        State::Paid(_) => return Outcome::Refused("already_paid"),
        State::Closed => return Outcome::Refused("closed"),
        State::Waits if !trade.exists && now > trade.code_until => return Outcome::Refused("expired"),
        State::Waits => trade.exists = true,
    }
    let (fund, word, group) = if on_credit {
        ("PCREDIT", "pcredit", "credit_group")
    } else {
        ("ALIPAYACCOUNT", "balance", "balance")
    };
    if !trade.offers(word, group) {
        return Outcome::Refused("no_payment_instruments");
    }
    let buyer = if payer.is_empty() { "2088000000000001".to_owned() } else { payer.to_owned() };
    trade.state = State::Paid(Paid { buyer, fund, at: now });
    me.world.books.capture(NAME, &trade.no, trade.total, &trade.trade_no, now);
    let told = trade.clone();
    drop(ledger);
    let trade_no = told.trade_no.clone();
    notice::paid(me, told);
    Outcome::Paid { trade_no, at: now }
}

/// `alipay.trade.pay`: the merchant scanned the payer's code; the money moves at once.
pub(crate) fn scanned(me: &Arc<Alipay>, call: &Call) -> Result<Value, Refusal> {
    let member = |name: &str| call.biz.get(name).and_then(Value::as_str).unwrap_or_default();
    if !matches!(member("scene"), "bar_code" | "") {
        return Err(Refusal::parameter("scene", "应为bar_code"));
    }
    let code = member("auth_code");
    let digits = (16..=24).contains(&code.len()) && code.bytes().all(|c| c.is_ascii_digit());
    let kind: u32 = code.get(..2).and_then(|t| t.parse().ok()).unwrap_or_default();
    if !digits || !(25..=30).contains(&kind) {
        return Err(Refusal::business(
            "ACQ.PAYMENT_AUTH_CODE_INVALID",
            "支付失败，获取顾客账户信息失败，请顾客刷新付款码后重新收款",
        ));
    }
    let trade = trade::make(me, call, Product::BarCode)?;
    match pay_named(me, &trade.trade_no, "", false) {
        Outcome::Paid { at, .. } => {
            let total = text::yuan(trade.total);
            Ok(json!({
                "out_trade_no": trade.no, "trade_no": trade.trade_no, "buyer_logon_id": "stu***@sandbox",
                "total_amount": total, "receipt_amount": total, "buyer_pay_amount": total,
                "gmt_payment": text::time(at), "buyer_user_id": "2088000000000001",
                "fund_bill_list": [{ "fund_channel": "ALIPAYACCOUNT", "amount": total }],
            }))
        }
        Outcome::Refused("already_paid") => Err(Refusal::business("ACQ.TRADE_HAS_SUCCESS", "交易已被支付")),
        Outcome::Refused(_) => Err(Refusal::business("ACQ.PAYMENT_FAIL", "支付失败")),
    }
}

/// The payer looked at the code and did not pay: from now on the gateway knows the trade.
pub(crate) fn look(me: &Arc<Alipay>, credential: &Value) {
    let now = me.world.clock.now();
    if let Some(text) = credential_text(credential)
        && let Some(trade) = me.ledger.lock().by_credential(&text, now)
    {
        trade.exists = true;
    }
}

/// The text that names the trade: a code, a cashier address, or the number inside the pay parameters.
fn credential_text(credential: &Value) -> Option<String> {
    let text = |pointer: &str| credential.pointer(pointer).and_then(Value::as_str);
    let inside =
        || ["/code_url", "/h5_url", "/params/tradeNO", "/tradeNO", "/trade_no"].into_iter().find_map(text);
    credential.as_str().or_else(inside).map(str::to_owned)
}
