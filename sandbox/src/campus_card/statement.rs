//! Daily statements: section B8.

use std::fmt::Write as _;

use domain::Timestamp;

use super::{
    CampusCard,
    ledger::{Row, day as day_of},
    wire::{Body, Reply},
};
use crate::clock::beijing;

/// A day's statement exists from two o'clock of the next day.
const READY_AFTER_S: i64 = 26 * 3600;

pub(super) fn day(me: &CampusCard, day: &str) -> Reply {
    let Ok(start) = format!("{day}T00:00:00+08:00").parse::<jiff::Timestamp>() else {
        return Reply::bad(400, "the day is not YYYY-MM-DD");
    };
    if day_of(Timestamp::from_secs(start.as_second())) != day {
        return Reply::bad(400, "the day is not YYYY-MM-DD");
    }
    if me.world.clock.now().secs() < start.as_second() + READY_AFTER_S {
        return Reply::code_with("STATEMENT_NOT_READY", None);
    }
    let ledger = me.ledger.lock();
    let mut rows: Vec<&Row> = ledger.rows.iter().filter(|row| day_of(row.at) == day).collect();
    rows.sort_by(|a, b| (a.at.secs(), &a.vendor_no).cmp(&(b.at.secs(), &b.vendor_no)));
    let mut text = format!(
        "#CARD-STATEMENT,1,{},{day},CNY\nrow_type,order_no,refund_no,vendor_no,account_type,account_no,amount,\
         fee,finished_at,terminal_id,subject\n",
        me.keys.merchant
    );
    for row in &rows {
        let payment = ledger.payments.get(&row.order_no);
        let of = |field: fn(&super::ledger::Payment) -> &String| quoted(payment.map(field));
        let _infallible = writeln!(
            text,
            "{},{},{},{},{},{},{},0,{},{},{}",
            row.kind,
            quoted(Some(&row.order_no)),
            quoted(Some(&row.refund_no)),
            quoted(Some(&row.vendor_no)),
            of(|p| &p.account_type),
            of(|p| &p.account_no),
            row.amount,
            beijing(row.at),
            of(|p| &p.terminal),
            of(|p| &p.subject),
        );
    }
    let sum = |kind: &str| {
        let of_kind = || rows.iter().filter(|row| row.kind == kind);
        (of_kind().count(), of_kind().map(|row| row.amount).sum::<i64>())
    };
    let ((pays, paid), (reverses, reversed), (refunds, refunded)) =
        (sum("PAY"), sum("REVERSE"), sum("REFUND"));
    let net = paid - reversed - refunded;
    let _infallible = writeln!(
        text,
        "#TRAILER,{},{pays},{paid},{reverses},{reversed},{refunds},{refunded},0,{net}",
        rows.len()
    );
    Reply { status: 200, body: Body::Csv(text) }
}

/// RFC 4180: always quoted, quotes doubled.
fn quoted(text: Option<&String>) -> String {
    format!("\"{}\"", text.map(String::as_str).unwrap_or_default().replace('"', "\"\""))
}
