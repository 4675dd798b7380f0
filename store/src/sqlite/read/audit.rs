//! What the audit reads: the rows as they are, not the fold of the history; also rows that belong to no order.

use std::collections::BTreeMap;

use diesel::{
    ExpressionMethods as _, OptionalExtension as _, QueryDsl as _, QueryResult, RunQueryDsl as _,
    SqliteConnection,
    connection::SimpleConnection as _,
    deserialize::{FromSql, FromSqlRow},
    sql_query,
    sql_types::{BigInt, Binary, Text},
    sqlite::{Sqlite, SqliteType, SqliteValue},
};
use domain::audit::{AttemptRow, BookLine, EventRow, OrderAccount, OrderRow, RefundRow, WebhookRow};

use super::super::append;
use crate::{AuditPage, AuditRange, Unreadable, schema as s};

type Accounts = BTreeMap<String, OrderAccount>;

/// Text as it is stored, whatever its bytes. What is not UTF-8 becomes U+FFFD and a blob gets one at its end, so that
/// neither equals what it should be: SQLite finds no blob that is asked for as text.
#[derive(Debug, FromSqlRow)]
struct Words(String);

impl FromSql<Text, Sqlite> for Words {
    fn from_sql(value: SqliteValue<'_, '_, '_>) -> diesel::deserialize::Result<Words> {
        let blob = value.value_type() == Some(SqliteType::Binary);
        let bytes = <Vec<u8> as FromSql<Binary, Sqlite>>::from_sql(value)?;
        let mut text =
            String::from_utf8(bytes).unwrap_or_else(|e| String::from_utf8_lossy(e.as_bytes()).into_owned());
        if blob {
            text.push(char::REPLACEMENT_CHARACTER);
        }
        Ok(Words(text))
    }
}

/// A whole number as it is stored; anything else is a number that nothing has.
#[derive(Debug, Clone, Copy, FromSqlRow)]
struct Whole(i64);

impl FromSql<BigInt, Sqlite> for Whole {
    fn from_sql(value: SqliteValue<'_, '_, '_>) -> diesel::deserialize::Result<Whole> {
        let whole =
            matches!(value.value_type(), Some(SqliteType::Integer | SqliteType::SmallInt | SqliteType::Long));
        let number = <i64 as FromSql<BigInt, Sqlite>>::from_sql(value)?;
        Ok(Whole(if whole { number } else { i64::MIN }))
    }
}

/// A blob as it is stored; anything else is none.
#[derive(Debug, FromSqlRow)]
struct Blob(Vec<u8>);

impl FromSql<Binary, Sqlite> for Blob {
    fn from_sql(value: SqliteValue<'_, '_, '_>) -> diesel::deserialize::Result<Blob> {
        let blob = value.value_type() == Some(SqliteType::Binary);
        let bytes = <Vec<u8> as FromSql<Binary, Sqlite>>::from_sql(value)?;
        Ok(Blob(if blob { bytes } else { Vec::new() }))
    }
}

fn text(words: Option<Words>) -> Option<String> {
    words.map(|words| words.0)
}

/// The rows of the ids after one and up to another, if there is an end.
macro_rules! within {
    ($table:expr, $column:expr, $after:expr, $last:expr) => {{
        let query = $table.filter($column.gt($after)).into_boxed();
        match $last {
            Some(last) => query.filter($column.le(last)),
            None => query,
        }
    }};
}

/// Orders a page.
const PAGE: usize = 512;

/// Reads the range page by page within one transaction, so that a running service changes nothing of what is seen,
/// and hands the pages over until `hand_over` says that nobody wants more. Where a page cannot be read, its orders are read alone, and the bad ones are named.
pub(in crate::sqlite) fn scan(
    conn: &mut SqliteConnection,
    range: &AuditRange,
    hand_over: impl FnMut(AuditPage) -> bool,
) -> QueryResult<()> {
    conn.batch_execute("BEGIN")?;
    let done = scan_in_txn(conn, range, hand_over);
    append::abandon(conn);
    done
}

fn scan_in_txn(
    conn: &mut SqliteConnection,
    range: &AuditRange,
    mut hand_over: impl FnMut(AuditPage) -> bool,
) -> QueryResult<()> {
    let mut after = range.after.clone();
    let mut alone = 0;
    loop {
        let n = if alone > 0 { 1 } else { PAGE };
        alone -= usize::from(alone > 0);
        match page(conn, &after, range.upto.as_deref(), n) {
            Ok((accounts, more)) => match (hand_over(Ok(accounts)), more) {
                (true, Some(last)) => after = last,
                (false, _) | (true, None) => return Ok(()),
            },
            Err(_) if n > 1 => alone = PAGE,
            Err(error) => {
                let order = next_id(conn, &after)?;
                let bad = Unreadable { order: order.clone(), what: error.to_string() };
                match (hand_over(Err(bad)), order) {
                    (true, Some(id)) => after = id,
                    (false, _) | (true, None) => return Ok(()),
                }
            }
        }
    }
}

/// A page of `n` orders by id, with all that belongs to them: six questions a page, not six an order. Rows under an
/// id between them come as accounts without an order, and with the last page whatever lies beyond it. Also gives the
/// last order's id if there may be more.
pub(in crate::sqlite) fn page(
    conn: &mut SqliteConnection,
    after: &str,
    upto: Option<&str>,
    n: usize,
) -> QueryResult<(Vec<OrderAccount>, Option<String>)> {
    let mut accounts = Accounts::new();
    let ids = orders(conn, after, upto, n, &mut accounts)?;
    let mut more = None;
    if ids.len() == n {
        // The next page begins after an id that can be asked for; what comes behind it is read again.
        more = ids.into_iter().rev().find(|id| id.is_ascii());
        let last = more.as_ref().ok_or_else(|| {
            diesel::result::Error::DeserializationError("no order's id can be read here".into())
        })?;
        accounts.retain(|id, _| id <= last);
    }
    let last = more.as_deref().or(upto);
    events(conn, after, last, &mut accounts)?;
    attempts(conn, after, last, &mut accounts)?;
    refunds(conn, after, last, &mut accounts)?;
    books(conn, after, last, &mut accounts)?;
    webhooks(conn, after, last, &mut accounts)?;
    Ok((accounts.into_values().collect(), more))
}

/// The next order's id, for a page that cannot be read as a whole.
fn next_id(conn: &mut SqliteConnection, after: &str) -> QueryResult<Option<String>> {
    use s::orders::dsl as o;
    o::orders.filter(o::id.gt(after)).order(o::id).select(o::id).first(conn).optional()
}

fn of(accounts: &mut Accounts, id: Words) -> &mut OrderAccount {
    accounts.entry(id.0).or_insert_with_key(|id| OrderAccount { id: id.clone(), ..OrderAccount::default() })
}

fn orders(
    conn: &mut SqliteConnection,
    after: &str,
    upto: Option<&str>,
    n: usize,
    accounts: &mut Accounts,
) -> QueryResult<Vec<String>> {
    use s::orders::dsl as o;
    type Row = (
        (Words, Words, Words, Words, Words, Whole, Whole),
        (Whole, Whole, Words, Option<Words>, Whole, Whole, Whole, Option<Words>),
    );
    let rows: Vec<Row> = within!(o::orders, o::id, after, upto)
        .order(o::id)
        .limit(super::limit(n))
        .select((
            (o::id, o::merchant_id, o::order_no, o::body_hash, o::state, o::settled, o::version),
            (
                o::amount_fen,
                o::net_fen,
                o::payer_id,
                o::failure,
                o::created_at,
                o::expires_at,
                o::parts,
                o::part_of,
            ),
        ))
        .load(conn)?;
    let ids = rows.iter().map(|row| row.0.0.0.clone()).collect();
    for (
        (id, merchant_id, order_no, body_hash, state, settled, version),
        (amount_fen, net_fen, payer_id, failure, created_at, expires_at, parts, part_of),
    ) in rows
    {
        of(accounts, id).row = Some(OrderRow {
            merchant_id: merchant_id.0,
            order_no: order_no.0,
            body_hash: body_hash.0,
            state: state.0,
            settled: settled.0,
            version: version.0,
            amount_fen: amount_fen.0,
            net_fen: net_fen.0,
            payer_id: payer_id.0,
            failure: text(failure),
            created_at: created_at.0,
            expires_at: expires_at.0,
            parts: parts.0,
            part_of: text(part_of),
        });
    }
    Ok(ids)
}

fn events(
    conn: &mut SqliteConnection,
    after: &str,
    last: Option<&str>,
    accounts: &mut Accounts,
) -> QueryResult<()> {
    use s::order_events::dsl as e;
    type Row = (Words, Whole, Whole, Words, Words, Words, Words, Blob);
    let rows: Vec<Row> = within!(e::order_events, e::order_id, after, last)
        .order((e::order_id, e::version))
        .select((e::order_id, e::version, e::at, e::event, e::source, e::reference, e::facts, e::hash))
        .load(conn)?;
    for (id, version, at, event, source, reference, facts, hash) in rows {
        of(accounts, id).events.push(EventRow {
            version: version.0,
            at: at.0,
            event: event.0,
            source: source.0,
            reference: reference.0,
            facts: facts.0,
            hash: hash.0,
        });
    }
    Ok(())
}

fn attempts(
    conn: &mut SqliteConnection,
    after: &str,
    last: Option<&str>,
    accounts: &mut Accounts,
) -> QueryResult<()> {
    use s::attempts::dsl as a;
    type Row = (
        (Words, Whole, Words, Words, Words),
        (Option<Whole>, Option<Whole>, Option<Words>, Option<Whole>, Option<Words>),
    );
    let rows: Vec<Row> = within!(a::attempts, a::order_id, after, last)
        .order((a::order_id, a::no))
        .select((
            (a::order_id, a::no, a::channel, a::channel_order_no, a::state),
            (a::exposed_at, a::capture_fen, a::trade_no, a::captured_at, a::captured_by),
        ))
        .load(conn)?;
    for ((id, no, channel, channel_order_no, state), captured) in rows {
        let (exposed_at, capture_fen, trade_no, captured_at, captured_by) = captured;
        let row = AttemptRow {
            no: no.0,
            channel: channel.0,
            channel_order_no: channel_order_no.0,
            state: state.0,
            exposed_at: exposed_at.map(|at| at.0),
            capture_fen: capture_fen.map(|fen| fen.0),
            trade_no: text(trade_no),
            captured_at: captured_at.map(|at| at.0),
            captured_by: text(captured_by),
        };
        of(accounts, id).attempts.push(row);
    }
    Ok(())
}

fn refunds(
    conn: &mut SqliteConnection,
    after: &str,
    last: Option<&str>,
    accounts: &mut Accounts,
) -> QueryResult<()> {
    use s::refunds::dsl as r;
    type Row =
        (Words, Words, Whole, Whole, Words, Words, Option<Words>, (Option<Words>, Whole, Option<Whole>));
    let rows: Vec<Row> = within!(r::refunds, r::order_id, after, last)
        .order((r::order_id, r::refund_no))
        .select((
            r::refund_no,
            r::order_id,
            r::attempt_no,
            r::amount_fen,
            r::cause,
            r::state,
            r::backend_no,
            (r::channel_refund_id, r::booked_at, r::done_at),
        ))
        .load(conn)?;
    for (refund_no, id, attempt_no, amount_fen, cause, state, backend_no, rest) in rows {
        let (channel_refund_id, booked_at, done_at) = rest;
        of(accounts, id).refunds.push(RefundRow {
            refund_no: refund_no.0,
            attempt_no: attempt_no.0,
            amount_fen: amount_fen.0,
            cause: cause.0,
            state: state.0,
            backend_no: text(backend_no),
            channel_refund_id: text(channel_refund_id),
            booked_at: booked_at.0,
            done_at: done_at.map(|at| at.0),
        });
    }
    Ok(())
}

fn books(
    conn: &mut SqliteConnection,
    after: &str,
    last: Option<&str>,
    accounts: &mut Accounts,
) -> QueryResult<()> {
    use s::books::dsl as b;
    let rows: Vec<(Words, Whole, Whole, Words, Whole)> =
        within!(b::books, b::order_id, after, last).order((b::order_id, b::version, b::line)).load(conn)?;
    for (id, version, line, account, amount_fen) in rows {
        of(accounts, id).books.push(BookLine {
            version: version.0,
            line: line.0,
            account: account.0,
            amount_fen: amount_fen.0,
        });
    }
    Ok(())
}

fn webhooks(
    conn: &mut SqliteConnection,
    after: &str,
    last: Option<&str>,
    accounts: &mut Accounts,
) -> QueryResult<()> {
    use s::webhooks_out::dsl as w;
    type Row = (
        (Words, Whole, Words, Whole, Words, Words),
        (Option<Words>, Option<Words>, Whole, Words, Whole, Whole, Option<Whole>, Whole),
    );
    let rows: Vec<Row> = within!(w::webhooks_out, w::order_id, after, last)
        .order((w::order_id, w::seq))
        .select((
            (w::order_id, w::seq, w::id, w::version, w::kind, w::payload),
            (w::url, w::backend, w::created_at, w::state, w::since, w::tries, w::next_at, w::seal),
        ))
        .load(conn)?;
    for (
        (order, seq, id, version, kind, payload),
        (url, backend, created_at, state, since, tries, next_at, seal),
    ) in rows
    {
        of(accounts, order).webhooks.push(WebhookRow {
            seq: seq.0,
            id: id.0,
            version: version.0,
            kind: kind.0,
            payload: payload.0,
            url: text(url),
            backend: text(backend),
            created_at: created_at.0,
            state: state.0,
            since: since.0,
            tries: tries.0,
            next_at: next_at.map(|at| at.0),
            seal: seal.0,
        });
    }
    Ok(())
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
