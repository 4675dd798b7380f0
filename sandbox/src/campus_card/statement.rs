//! Daily statements: section B8.

use std::fmt::Write as _;

use domain::Timestamp;

use super::{
    CampusCard,
    ledger::{Payment, Row, day as day_of},
    wire::{Body, Reply},
};
use crate::{clock::beijing, faults::BillFaults};

/// A day's statement exists from two o'clock of the next day.
const READY_AFTER_S: i64 = 26 * 3600;
const DAY_S: i64 = 24 * 3600;

pub(super) fn day(me: &CampusCard, day: &str) -> Reply {
    let Ok(start) = format!("{day}T00:00:00+08:00").parse::<jiff::Timestamp>() else {
        return Reply::bad(400, "the day is not YYYY-MM-DD");
    };
    if day_of(Timestamp::from_secs(start.as_second())) != day {
        return Reply::bad(400, "the day is not YYYY-MM-DD");
    }
    let faults = me.world.bill_faults(super::NAME);
    let now = me.world.clock.now();
    let today = me.world.today_is_billed() && day_of(now) == day;
    if (now.secs() < start.as_second() + READY_AFTER_S && !today) || faults.not_ready {
        return Reply::code_with("STATEMENT_NOT_READY", None);
    }
    let rows = rows_from(me, start.as_second());
    let mut text = format!(
        "#CARD-STATEMENT,1,{},{day},CNY\nrow_type,order_no,refund_no,vendor_no,account_type,account_no,amount,\
         fee,finished_at,terminal_id,subject\n",
        me.keys.merchant
    );
    let mut rows = told(rows, &faults);
    rows.sort_by(|(a, _), (b, _)| (a.at.secs(), &a.vendor_no).cmp(&(b.at.secs(), &b.vendor_no)));
    for (row, payment) in &rows {
        let _infallible = writeln!(
            text,
            "{},{},{},{},{},{},{},0,{},{},{}",
            row.kind,
            quoted(&row.order_no),
            quoted(&row.refund_no),
            quoted(&row.vendor_no),
            quoted(&payment.account_type),
            quoted(&payment.account_no),
            row.amount,
            beijing(row.at),
            quoted(&payment.terminal),
            quoted(&payment.subject),
        );
    }
    let sum = |kind: &str| {
        let of_kind = || rows.iter().filter(|(row, _)| row.kind == kind);
        (of_kind().count(), of_kind().map(|(row, _)| row.amount).sum::<i64>())
    };
    let ((pays, paid), (reverses, reversed), (refunds, refunded)) =
        (sum("PAY"), sum("REVERSE"), sum("REFUND"));
    let net = paid - reversed - refunded;
    let _infallible = writeln!(
        text,
        "#TRAILER,{},{pays},{paid},{reverses},{reversed},{refunds},{refunded},0,{net}",
        rows.len()
    );
    let text = if faults.truncated {
        text.lines().take(rows.len().div_ceil(2) + 1).collect::<Vec<_>>().join("\n")
    } else {
        text
    };
    Reply { status: 200, body: Body::Csv(text) }
}

/// The day's rows with their payments, copied: nobody's debit waits until a long day is written out.
fn rows_from(me: &CampusCard, start_s: i64) -> Vec<(Row, Payment)> {
    let whole_day = start_s..start_s + DAY_S;
    let ledger = me.ledger.lock();
    let of_day = ledger.rows.iter().filter(|row| whole_day.contains(&me.world.bill_time(row.at).secs()));
    of_day.filter_map(|row| Some((row.clone(), ledger.payments.get(&row.order_no)?.clone()))).collect()
}

/// The rows as a bill that is wrong on command shows them. The card takes no fee.
fn told(rows: Vec<(Row, Payment)>, faults: &BillFaults) -> Vec<(Row, Payment)> {
    let mut told = Vec::new();
    for (row, payment) in rows {
        let number = if row.kind == "REFUND" { row.refund_no.clone() } else { row.order_no.clone() };
        for shown in faults.shown(&number, row.amount, 0) {
            let mut row = Row { amount: shown.amount, ..row.clone() };
            let named = if row.kind == "REFUND" { &mut row.refund_no } else { &mut row.order_no };
            named.clone_from(&shown.number);
            if row.kind == "PAY" && faults.reverses(&shown.number) {
                told.push((Row { kind: "REVERSE", ..row.clone() }, payment.clone()));
            }
            told.push((row, payment.clone()));
        }
    }
    told
}

/// RFC 4180: always quoted, quotes doubled.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('"', "\"\""))
}
