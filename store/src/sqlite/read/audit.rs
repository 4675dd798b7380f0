//! What the audit reads: the tables as they are, not the fold of the history.

use std::collections::HashMap;

use diesel::{
    BoolExpressionMethods as _, ExpressionMethods as _, QueryDsl as _, QueryResult, RunQueryDsl as _,
    SqliteConnection, dsl::count_star, sql_query,
};
use domain::{
    OrderId,
    audit::{AttemptAccount, BookLine, OrderAccount, RefundAccount},
};

use crate::schema as s;

type OrderRow = (String, String, i64, i64, i64, i64, i64, Option<String>);
type AttemptRow = (String, i64, String, String, String, Option<i64>);
type RefundRow = (String, String, i64, i64, String, String);

/// A page of orders by id, with all that belongs to them: five questions a page, not five an order.
pub(in crate::sqlite) fn page(
    conn: &mut SqliteConnection,
    after: Option<OrderId>,
    n: usize,
) -> QueryResult<Vec<OrderAccount>> {
    use s::{
        attempts::dsl as a, books::dsl as b, order_events::dsl as e, orders::dsl as o, refunds::dsl as r,
        webhooks_out::dsl as w,
    };
    let after = after.map(|id| id.to_string()).unwrap_or_default();
    let orders: Vec<OrderRow> = o::orders
        .filter(o::id.gt(&after))
        .order(o::id)
        .limit(super::limit(n))
        .select((o::id, o::state, o::settled, o::amount_fen, o::net_fen, o::version, o::parts, o::part_of))
        .load(conn)?;
    let Some(last) = orders.last().map(|row| row.0.clone()) else {
        return Ok(Vec::new());
    };
    let attempts: Vec<AttemptRow> = a::attempts
        .filter(a::order_id.gt(&after).and(a::order_id.le(&last)))
        .select((a::order_id, a::no, a::channel, a::channel_order_no, a::state, a::capture_fen))
        .load(conn)?;
    let refunds: Vec<RefundRow> = r::refunds
        .filter(r::order_id.gt(&after).and(r::order_id.le(&last)))
        .select((r::order_id, r::refund_no, r::attempt_no, r::amount_fen, r::cause, r::state))
        .load(conn)?;
    let books: Vec<(String, i64, String, i64)> = b::books
        .filter(b::order_id.gt(&after).and(b::order_id.le(&last)))
        .select((b::order_id, b::version, b::account, b::amount_fen))
        .load(conn)?;
    let webhooks: Vec<(String, String, String)> = w::webhooks_out
        .filter(w::order_id.gt(&after).and(w::order_id.le(&last)))
        .select((w::order_id, w::kind, w::state))
        .load(conn)?;
    let events: Vec<(String, i64)> = e::order_events
        .filter(e::order_id.gt(&after).and(e::order_id.le(&last)))
        .group_by(e::order_id)
        .select((e::order_id, count_star()))
        .load(conn)?;
    let mut events: HashMap<String, i64> = events.into_iter().collect();
    let mut attempts = grouped(attempts, |(order, no, channel, channel_order_no, state, capture_fen)| {
        (order, AttemptAccount { no, channel, channel_order_no, state, capture_fen })
    });
    let mut refunds = grouped(refunds, |(order, refund_no, attempt_no, amount_fen, cause, state)| {
        (order, RefundAccount { refund_no, attempt_no, amount_fen, cause, state })
    });
    let mut books = grouped(books, |(order, version, account, amount_fen)| {
        (order, BookLine { version, account, amount_fen })
    });
    let mut webhooks = grouped(webhooks, |(order, kind, state)| (order, (kind, state)));
    Ok(orders
        .into_iter()
        .map(|(id, state, settled, amount_fen, net_fen, version, parts, part_of)| OrderAccount {
            attempts: attempts.remove(&id).unwrap_or_default(),
            refunds: refunds.remove(&id).unwrap_or_default(),
            books: books.remove(&id).unwrap_or_default(),
            webhooks: webhooks.remove(&id).unwrap_or_default(),
            events: events.remove(&id).unwrap_or(0),
            id,
            state,
            settled: settled == 1,
            amount_fen,
            net_fen,
            version,
            parts,
            part_of,
        })
        .collect())
}

fn grouped<R, T>(rows: Vec<R>, split: impl Fn(R) -> (String, T)) -> HashMap<String, Vec<T>> {
    let mut groups: HashMap<String, Vec<T>> = HashMap::new();
    for (order, item) in rows.into_iter().map(split) {
        groups.entry(order).or_default().push(item);
    }
    groups
}

#[derive(diesel::QueryableByName)]
struct Balance {
    #[diesel(sql_type = diesel::sql_types::Text)]
    account: String,
    #[diesel(sql_type = diesel::sql_types::BigInt)]
    total: i64,
}

/// Every account's balance. A sum of integers stays an integer, which diesel's `sum` does not know.
pub(in crate::sqlite) fn totals(conn: &mut SqliteConnection) -> QueryResult<Vec<(String, i64)>> {
    let rows: Vec<Balance> =
        sql_query("SELECT account, CAST(SUM(amount_fen) AS BIGINT) AS total FROM books GROUP BY account ORDER BY account")
            .load(conn)?;
    Ok(rows.into_iter().map(|b| (b.account, b.total)).collect())
}
