//! Refunds: section B6.

use serde::Deserialize;

use super::{
    CampusCard, NAME,
    accounts::Status,
    ledger::{Refund, Row, State},
    notice,
    payments::{AMOUNT_MAX, number_ok, settle},
    strict,
    wire::Reply,
};

const WINDOW_S: i64 = 180 * 86_400;

#[derive(Deserialize)]
struct Ask {
    refund_no: String,
    order_no: String,
    amount: i64,
    #[serde(default)]
    reason: String,
    #[serde(default)]
    notify_url: String,
}

pub(super) fn refund(me: &actix_web::web::Data<CampusCard>, body: &[u8]) -> Reply {
    let ask: Ask = match strict::read(body) {
        Ok(ask) => ask,
        Err(problem) => return Reply::bad(400, &problem),
    };
    let good = number_ok(&ask.refund_no)
        && number_ok(&ask.order_no)
        && (1..=AMOUNT_MAX).contains(&ask.amount)
        && ask.reason.chars().count() <= 128
        && notice::url_ok(&ask.notify_url);
    if !good {
        return Reply::bad(400, "refund_no, order_no, amount, reason or notify_url breaks a rule");
    }
    let now = me.world.clock.now();
    let mut ledger = me.ledger.lock();
    settle(me, &mut ledger, &ask.order_no, now);
    if let Some(known) = ledger.refunds.get(&ask.refund_no) {
        if known.order_no != ask.order_no || known.amount != ask.amount {
            return Reply::code_with("DUPLICATE_ORDER", None);
        }
        let code = known.failed.unwrap_or("OK");
        return Reply::code_with(code, Some(("refund", known.view(ledger.refunded_of(&known.order_no)))));
    }
    let Some(payment) = ledger.payments.get(&ask.order_no).cloned() else {
        return Reply::code_with("ORDER_NOT_FOUND", None);
    };
    if payment.state != State::Succeeded {
        return Reply::code_with("ORDER_NOT_PAID", None);
    }
    let refunded = ledger.refunded_of(&ask.order_no);
    if refunded + ask.amount > payment.amount {
        return Reply::code_with("REFUND_EXCEEDS", None);
    }
    if payment.finished.is_some_and(|at| now.secs() - at.secs() > WINDOW_S) {
        return Reply::code_with("REFUND_EXPIRED", None);
    }
    let mut record = Refund {
        no: ask.refund_no.clone(),
        order_no: ask.order_no.clone(),
        vendor_no: format!("V{:010}", me.world.next_serial()),
        amount: ask.amount,
        failed: None,
        at: now,
    };
    // A frozen or lost card takes money back; a closed one does not.
    match ledger.accounts.debited(&payment.account_type, &payment.account_no) {
        Some(account) if account.status != Status::Closed => {
            account.balance_fen = account.balance_fen.saturating_add(ask.amount);
        }
        Some(_) | None => record.failed = Some("CARD_CLOSED"),
    }
    if record.failed.is_none() {
        *ledger.refunded.entry(ask.order_no.clone()).or_default() += ask.amount;
        ledger.rows.push(Row {
            kind: "REFUND",
            order_no: record.order_no.clone(),
            refund_no: record.no.clone(),
            vendor_no: record.vendor_no.clone(),
            amount: record.amount,
            at: now,
        });
        me.world.books.refund(NAME, &record.order_no, &record.no, record.amount, &record.vendor_no, now);
    }
    let view = record.view(ledger.refunded_of(&ask.order_no));
    let code = record.failed.unwrap_or("OK");
    ledger.refunds.insert(record.no.clone(), record.clone());
    drop(ledger);
    notice::refund(me, &payment, &record, view.clone(), ask.notify_url);
    Reply::code_with(code, Some(("refund", view)))
}

pub(super) fn query(me: &CampusCard, no: &str) -> Reply {
    if !number_ok(no) {
        return Reply::bad(400, "refund_no: expected 1 to 64 of letters, digits, _ -");
    }
    let ledger = me.ledger.lock();
    match ledger.refunds.get(no) {
        Some(refund) => {
            Reply::code_with("OK", Some(("refund", refund.view(ledger.refunded_of(&refund.order_no)))))
        }
        None => Reply::code_with("ORDER_NOT_FOUND", None),
    }
}
