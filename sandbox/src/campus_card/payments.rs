//! Debits and queries: sections B4 and B5, with the special students of B10.

use std::time::Duration;

use actix_web::web;
use domain::Timestamp;
use serde::Deserialize;

use super::{
    CampusCard, NAME, Quirk,
    accounts::Status,
    ledger::{Ledger, Payment, Row, State, day},
    notice, strict,
    wire::Reply,
};

const DECIDES_AFTER: Duration = Duration::from_secs(5);
pub(super) const AMOUNT_MAX: i64 = 999_999_999;

#[derive(Deserialize)]
struct Ask {
    order_no: String,
    account_type: String,
    account_no: String,
    #[serde(default)]
    holder_name: String,
    amount: i64,
    currency: String,
    subject: String,
    #[serde(default)]
    terminal_id: String,
    #[serde(default)]
    attach: String,
    #[serde(default)]
    notify_url: String,
}

/// A number of ours: order or refund.
pub(super) fn number_ok(no: &str) -> bool {
    (1..=64).contains(&no.len()) && no.bytes().all(|c| c.is_ascii_alphanumeric() || b"_-".contains(&c))
}

impl Ask {
    fn read(body: &[u8]) -> Result<Ask, String> {
        let ask: Ask = strict::read(body)?;
        let shown = |text: &str, max: usize| text.chars().count() <= max;
        let rules = [
            (number_ok(&ask.order_no), "order_no: expected 1 to 64 of letters, digits, _ -"),
            (
                matches!(ask.account_type.as_str(), "STUDENT_NO" | "CARD_NO" | "PAY_CODE"),
                "account_type: expected STUDENT_NO, CARD_NO or PAY_CODE",
            ),
            (
                (1..=64).contains(&ask.account_no.len())
                    && ask.account_no.bytes().all(|c| (0x20..0x7f).contains(&c)),
                "account_no: expected 1 to 64 printable characters",
            ),
            ((1..=AMOUNT_MAX).contains(&ask.amount), "amount: expected 1 to 999999999"),
            (ask.currency == "CNY", "currency: expected CNY"),
            (!ask.subject.is_empty() && shown(&ask.subject, 128), "subject: expected 1 to 128 characters"),
            (shown(&ask.terminal_id, 32), "terminal_id: expected at most 32 characters"),
            (shown(&ask.attach, 256), "attach: expected at most 256 characters"),
            (notice::url_ok(&ask.notify_url), "notify_url: expected a URL of at most 256 characters"),
        ];
        match rules.iter().find(|(good, _)| !good) {
            Some((_, problem)) => Err((*problem).to_owned()),
            None => Ok(ask),
        }
    }
}

pub(super) fn pay(me: &web::Data<CampusCard>, body: &[u8]) -> (Reply, Quirk) {
    let ask = match Ask::read(body) {
        Ok(ask) => ask,
        Err(problem) => return (Reply::bad(400, &problem), Quirk::None),
    };
    let now = me.world.clock.now();
    let mut ledger = me.ledger.lock();
    settle(me, &mut ledger, &ask.order_no, now);
    if let Some(known) = ledger.payments.get(&ask.order_no) {
        let tombstone = known.account_type.is_empty();
        let same = known.account_type == ask.account_type
            && known.account_no == ask.account_no
            && known.amount == ask.amount;
        if !same && !tombstone {
            return (Reply::code_with("DUPLICATE_ORDER", None), Quirk::None);
        }
        return (shown(&ledger, known, known.code()), Quirk::None);
    }
    let student = if ask.account_type == "STUDENT_NO" { ask.account_no.as_str() } else { "" };
    if student == "2024000010" {
        let tries = ledger.tries.entry(ask.order_no.clone()).or_default();
        *tries += 1;
        if *tries <= 2 {
            return (Reply::busy("SYSTEM_BUSY"), Quirk::None);
        }
        ledger.tries.remove(&ask.order_no);
    }
    let soon = now.plus(DECIDES_AFTER);
    let decides = match student {
        "2024000007" => Some((soon, "OK")),
        "2024000008" => Some((soon, "INSUFFICIENT_BALANCE")),
        _ => None,
    };
    let never = student == "2024000011";
    let mut payment = Payment {
        no: ask.order_no.clone(),
        vendor_no: format!("V{:010}", me.world.next_serial()),
        account_type: ask.account_type.clone(),
        account_no: ask.account_no.clone(),
        amount: ask.amount,
        state: State::Processing,
        fail_code: String::new(),
        subject: ask.subject,
        attach: ask.attach,
        terminal: ask.terminal_id,
        notify_url: Some(ask.notify_url).filter(|url| !url.is_empty()),
        created: now,
        finished: None,
        balance_after: None,
        decides,
    };
    if decides.is_none() && !never {
        match refusal(&mut ledger, &payment, &ask.holder_name, now) {
            Some(code) => fail(&mut payment, code, now),
            None => debit(me, &mut ledger, &mut payment, now),
        }
    }
    let no = payment.no.clone();
    let code = if never { "UNKNOWN_RESULT".to_owned() } else { payment.code().to_owned() };
    let decided = payment.state != State::Processing;
    ledger.payments.insert(no.clone(), payment);
    let Some(payment) = ledger.payments.get(&no).cloned() else { return (Reply::busy(""), Quirk::None) };
    let reply = shown(&ledger, &payment, &code);
    drop(ledger);
    if decided && student == "2024000013" {
        return (reply, Quirk::AfterTelling(notice::eagerly(me, &payment)));
    }
    if decided {
        notice::payment(me, &payment);
    } else if decides.is_some() {
        notice::when_decided(me, no);
    }
    let quirk = match student {
        "2024000009" => Quirk::Drops,
        "2024000012" => Quirk::SignsBadly,
        _ => Quirk::None,
    };
    (reply, quirk)
}

pub(super) fn shown(ledger: &Ledger, payment: &Payment, code: &str) -> Reply {
    Reply::code_with(code, Some(("payment", payment.view(ledger.refunded_of(&payment.no)))))
}

/// Why this debit is refused, in the order of section B4; `None` if it is not.
fn refusal(ledger: &mut Ledger, payment: &Payment, name: &str, now: Timestamp) -> Option<&'static str> {
    if payment.account_type == "PAY_CODE" {
        return Some("PAY_CODE_INVALID"); // this sandbox has issued none
    }
    let Some(account) = ledger.accounts.open_for(&payment.account_type, &payment.account_no) else {
        return Some("CARD_UNKNOWN");
    };
    if !name.is_empty() && name != account.holder_name {
        return Some("NAME_MISMATCH");
    }
    match account.status {
        Status::Closed => return Some("CARD_CLOSED"),
        Status::Lost => return Some("CARD_LOST"),
        Status::Frozen => return Some("CARD_FROZEN"),
        Status::Normal => {}
    }
    let over = |limit: i64, fen: i64| limit > 0 && fen > limit;
    if over(account.single_limit_fen, payment.amount) {
        return Some("SINGLE_LIMIT");
    }
    if over(account.daily_limit_fen, account.used_on(&day(now)).saturating_add(payment.amount)) {
        return Some("DAILY_LIMIT");
    }
    (account.balance_fen < payment.amount).then_some("INSUFFICIENT_BALANCE")
}

fn debit(me: &CampusCard, ledger: &mut Ledger, payment: &mut Payment, now: Timestamp) {
    if let Some(account) = ledger.accounts.open_for(&payment.account_type, &payment.account_no) {
        account.spend(payment.amount, &day(now));
        payment.balance_after = Some(account.balance_fen);
    }
    payment.state = State::Succeeded;
    payment.finished = Some(now);
    ledger.rows.push(Row {
        kind: "PAY",
        order_no: payment.no.clone(),
        refund_no: String::new(),
        vendor_no: payment.vendor_no.clone(),
        amount: payment.amount,
        at: now,
    });
    me.world.books.capture(NAME, &payment.no, payment.amount, &payment.vendor_no, now);
}

/// Decides a `PROCESSING` payment whose moment has come, and tells: whoever looks first does it, and only they.
pub(super) fn settle(me: &web::Data<CampusCard>, ledger: &mut Ledger, no: &str, now: Timestamp) {
    let Some(payment) = ledger.payments.get(no) else { return };
    let due = |(at, _): &(Timestamp, _)| payment.state == State::Processing && now >= *at;
    let Some((_, how)) = payment.decides.filter(due) else { return };
    let mut payment = payment.clone();
    // The balance may have gone meanwhile; a debit never makes it negative.
    let refused = if how == "OK" { refusal(ledger, &payment, "", now) } else { Some(how) };
    match refused {
        None => debit(me, ledger, &mut payment, now),
        Some(code) => fail(&mut payment, code, now),
    }
    ledger.payments.insert(no.to_owned(), payment.clone());
    notice::payment(me, &payment);
}

fn fail(payment: &mut Payment, code: &str, now: Timestamp) {
    payment.state = State::Failed;
    payment.fail_code = code.to_owned();
    payment.finished = Some(now);
}

pub(super) fn query(me: &web::Data<CampusCard>, no: &str) -> Reply {
    if !number_ok(no) {
        return Reply::bad(400, "order_no: expected 1 to 64 of letters, digits, _ -");
    }
    let mut ledger = me.ledger.lock();
    settle(me, &mut ledger, no, me.world.clock.now());
    match ledger.payments.get(no) {
        Some(payment) => shown(&ledger, payment, "OK"),
        None => Reply::code_with("ORDER_NOT_FOUND", None),
    }
}
