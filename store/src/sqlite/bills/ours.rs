//! What our rows say of captures and refunds, in one shape for both.

use std::collections::HashSet;

use diesel::{
    BoolExpressionMethods as _, ExpressionMethods as _, JoinOnDsl as _, NullableExpressionMethods as _,
    QueryDsl as _, QueryResult, RunQueryDsl as _, SqliteConnection,
};
use domain::{
    Timestamp,
    reconciliation::{Ours, Subject},
};

use super::super::read::{limit, order_id};
use crate::{Error, Page, schema as s};

/// Number, order, channel, state, fen, the channel's number, when.
pub(super) type OursRow = (String, String, String, String, Option<i64>, Option<String>, Option<i64>);

pub(super) fn ours(
    subject: Subject,
    (number, order, channel, state, fen, trade_no, at): OursRow,
) -> Result<Ours, Error> {
    // A refund has its amount from the beginning, and has given it back once it is done.
    let done = subject == Subject::Payment || state == "succeeded";
    Ok(Ours {
        subject,
        number,
        order: Some(order_id(&order)?),
        channel,
        state,
        fen: fen.filter(|_| done),
        trade_no,
        at: at.map(Timestamp::from_micros),
    })
}

macro_rules! attempt_rows {
    () => {{
        use s::attempts::dsl as a;
        a::attempts.select((
            a::channel_order_no,
            a::order_id,
            a::channel,
            a::state,
            a::capture_fen,
            a::trade_no,
            a::captured_at,
        ))
    }};
}

macro_rules! refund_rows {
    () => {{
        use s::{attempts::dsl as a, refunds::dsl as r};
        r::refunds
            .inner_join(a::attempts.on(a::order_id.eq(r::order_id).and(a::no.eq(r::attempt_no))))
            .select((
                r::refund_no,
                r::order_id,
                a::channel,
                r::state,
                r::amount_fen.nullable(),
                r::channel_refund_id,
                r::done_at,
            ))
    }};
}

/// A page of rows of a span, by moment and then number.
macro_rules! page_of {
    ($rows:expr, $at:expr, $number:expr, $order:expr, $channel:expr, $span:expr, $page:expr) => {{
        let (from, to) = $span;
        let (at, number) = after($page);
        let at = at.max(from.micros());
        $rows
            .filter(s::attempts::channel.eq($channel))
            .filter($at.ge(at).and($at.lt(to.micros())))
            .filter($at.gt(at).or($number.gt(number)))
            .order($order)
            .limit(limit($page.limit))
    }};
}

pub(super) fn attempts_of(conn: &mut SqliteConnection, ids: &[String]) -> QueryResult<Vec<OursRow>> {
    use s::attempts::dsl as a;
    attempt_rows!().filter(a::order_id.eq_any(ids)).order((a::order_id, a::no)).load(conn)
}

/// Attempts by their numbers: the order's id is the key, and its number begins with it.
pub(super) fn attempts_by_number(
    conn: &mut SqliteConnection,
    numbers: &[String],
) -> QueryResult<Vec<OursRow>> {
    let ids: Vec<String> = numbers.iter().filter_map(|n| n.get(..26)).map(str::to_owned).collect();
    let rows = attempts_of(conn, &ids)?;
    let wanted: HashSet<&String> = numbers.iter().collect();
    Ok(rows.into_iter().filter(|row| wanted.contains(&row.0)).collect())
}

/// Refunds by their numbers: those of orders, and those that a fix sent without an order.
pub(super) fn refunds_by_number(
    conn: &mut SqliteConnection,
    numbers: &[String],
) -> QueryResult<(Vec<OursRow>, Vec<Ours>)> {
    use s::{differences::dsl as d, refunds::dsl as r};
    let of_orders = refund_rows!().filter(r::refund_no.eq_any(numbers)).load(conn)?;
    let of_fixes: Vec<(Option<String>, String, String, i64)> = d::differences
        .filter(d::refund_no.eq_any(numbers))
        .select((d::refund_no, d::channel, d::state, d::fix_fen))
        .load(conn)?;
    let of_fixes = of_fixes.into_iter().filter_map(|(number, channel, state, fen)| {
        Some(Ours {
            subject: Subject::Refund,
            number: number?,
            order: None,
            channel,
            // The channel may be ahead of its answer to us: that is no difference.
            fen: Some(fen),
            state,
            trade_no: None,
            at: None,
        })
    });
    Ok((of_orders, of_fixes.collect()))
}

/// A cursor of two parts: the moment, then the number.
fn cursor(at: i64, number: &str) -> String {
    format!("{at}|{number}")
}

fn after(page: &Page) -> (i64, String) {
    let split = page.after.split_once('|').and_then(|(at, no)| Some((at.parse().ok()?, no.to_owned())));
    split.unwrap_or((i64::MIN, String::new()))
}

/// The cursor after a page; none if it was the last one.
pub(super) fn next(rows: &[Ours], page: &Page) -> Option<String> {
    let last = rows.last().filter(|_| rows.len() == page.limit)?;
    Some(cursor(last.at?.micros(), &last.number))
}

/// What was captured, or given back, at a channel in a span.
pub(super) fn of_span(
    conn: &mut SqliteConnection,
    subject: Subject,
    channel: &str,
    span: (Timestamp, Timestamp),
    page: &Page,
) -> QueryResult<Vec<OursRow>> {
    use s::{attempts::dsl as a, refunds::dsl as r};
    match subject {
        Subject::Payment => {
            // An attempt's number is its order's id and its own, and the index has them in this order.
            let order = (a::captured_at, a::order_id, a::no);
            let rows = attempt_rows!();
            page_of!(rows, a::captured_at, a::channel_order_no, order, channel, span, page).load(conn)
        }
        Subject::Refund => {
            let order = (r::done_at, r::refund_no);
            page_of!(refund_rows!(), r::done_at, r::refund_no, order, channel, span, page).load(conn)
        }
    }
}

pub(super) fn first_capture_at(conn: &mut SqliteConnection) -> QueryResult<Option<i64>> {
    use s::attempts::dsl as a;
    a::attempts.select(diesel::dsl::min(a::captured_at)).first(conn)
}
