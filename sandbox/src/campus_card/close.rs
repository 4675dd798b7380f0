//! Closes: section B5. Whatever the order is, afterwards it will not be debited.

use actix_web::web;
use domain::Timestamp;
use serde::Deserialize;

use super::{
    CampusCard, NAME,
    ledger::{Ledger, Payment, Row, State, day},
    notice,
    payments::{number_ok, settle, shown},
    strict,
    wire::Reply,
};

#[derive(Deserialize, Default)]
struct Ask {
    #[serde(default)]
    if_paid: String,
}

pub(super) fn close(me: &web::Data<CampusCard>, no: &str, body: &[u8]) -> Reply {
    let ask = if body.is_empty() { Ok(Ask::default()) } else { strict::read::<Ask>(body) };
    let ask = match ask {
        Ok(ask) => ask,
        Err(problem) => return Reply::bad(400, &problem),
    };
    let reverse = match ask.if_paid.as_str() {
        "" | "KEEP" => false,
        "REVERSE" => true,
        _ => return Reply::bad(400, "if_paid: expected KEEP or REVERSE"),
    };
    if !number_ok(no) {
        return Reply::bad(400, "order_no: expected 1 to 64 of letters, digits, _ -");
    }
    let now = me.world.clock.now();
    let mut ledger = me.ledger.lock();
    settle(me, &mut ledger, no, now);
    let Some(mut payment) = ledger.payments.get(no).cloned() else {
        let tombstone = tombstone(no, now);
        let reply = shown(&ledger, &tombstone, "OK");
        ledger.payments.insert(no.to_owned(), tombstone);
        return reply;
    };
    match payment.state {
        State::Failed | State::Closed | State::Reversed => return shown(&ledger, &payment, "OK"),
        State::Processing => {
            payment.state = State::Closed;
            payment.finished = Some(now);
        }
        State::Succeeded if !reverse => return shown(&ledger, &payment, "ALREADY_PAID"),
        State::Succeeded if ledger.refunded_of(no) > 0 => return shown(&ledger, &payment, "REFUND_EXISTS"),
        State::Succeeded if payment.finished.map(day) != Some(day(now)) => {
            return shown(&ledger, &payment, "ALREADY_SETTLED");
        }
        State::Succeeded => give_back(me, &mut ledger, &mut payment, now),
    }
    let reply = shown(&ledger, &payment, "OK");
    ledger.payments.insert(no.to_owned(), payment.clone());
    drop(ledger);
    notice::payment(me, &payment);
    reply
}

fn give_back(me: &CampusCard, ledger: &mut Ledger, payment: &mut Payment, now: Timestamp) {
    if let Some(account) = ledger.accounts.debited(&payment.account_type, &payment.account_no) {
        account.spend(-payment.amount, &day(now));
        payment.balance_after = Some(account.balance_fen);
    }
    payment.state = State::Reversed;
    payment.finished = Some(now);
    let vendor_no = format!("V{:010}", me.world.next_serial());
    ledger.rows.push(Row {
        kind: "REVERSE",
        order_no: payment.no.clone(),
        refund_no: String::new(),
        vendor_no: vendor_no.clone(),
        amount: payment.amount,
        at: now,
    });
    me.world.books.reversal(NAME, &payment.no, payment.amount, &vendor_no, now);
}

/// A number that was closed before it was used.
fn tombstone(no: &str, now: Timestamp) -> Payment {
    Payment {
        no: no.to_owned(),
        vendor_no: String::new(),
        account_type: String::new(),
        account_no: String::new(),
        amount: 0,
        state: State::Closed,
        fail_code: String::new(),
        subject: String::new(),
        attach: String::new(),
        terminal: String::new(),
        notify_url: None,
        created: now,
        finished: Some(now),
        balance_after: None,
        decides: None,
    }
}
