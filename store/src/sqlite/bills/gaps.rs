//! Captures that no notification told us of.

use diesel::{
    BoolExpressionMethods as _, ExpressionMethods as _, NullableExpressionMethods as _, QueryDsl as _,
    QueryResult, RunQueryDsl as _, SqliteConnection,
    dsl::{count_star, exists, not},
};
use domain::Timestamp;

use super::super::read::{limit, order_id};
use crate::{Error, Gap, schema as s};

pub(super) type GapRow = (String, String, String, i64, String, i64, String, String);

pub(super) fn gap(
    (channel_order_no, channel, order, captured_at, captured_by, checked_at, verdict, detail): GapRow,
) -> Result<Gap, Error> {
    Ok(Gap {
        channel_order_no,
        channel,
        order: order_id(&order)?,
        captured_at: Timestamp::from_micros(captured_at),
        captured_by,
        checked_at: Timestamp::from_micros(checked_at),
        verdict,
        detail,
    })
}

pub(super) fn new(conn: &mut SqliteConnection, from: i64, to: i64, n: usize) -> QueryResult<Vec<GapRow>> {
    use s::{attempts::dsl as a, gaps::dsl as g, notifications_in::dsl as n_in};
    let told = n_in::notifications_in
        .filter(n_in::channel_order_no.eq(a::channel_order_no.nullable()))
        .filter(n_in::verdict.eq_any(["taken", "repeat"]));
    let known =
        g::gaps.filter(g::channel_order_no.eq(a::channel_order_no)).filter(g::verdict.ne("unanswered"));
    type New = (String, String, String, Option<i64>, Option<String>);
    let rows: Vec<New> = a::attempts
        .filter(a::captured_at.ge(from).and(a::captured_at.lt(to)))
        .filter(a::captured_by.is_null().or(a::captured_by.ne("notification")))
        .filter(not(exists(told)))
        .filter(not(exists(known)))
        .order(a::captured_at)
        .limit(limit(n))
        .select((a::channel_order_no, a::channel, a::order_id, a::captured_at, a::captured_by))
        .load(conn)?;
    Ok(rows
        .into_iter()
        .map(|(number, channel, order, at, by)| {
            (number, channel, order, at.unwrap_or(0), by.unwrap_or_default(), 0, String::new(), String::new())
        })
        .collect())
}

pub(super) fn put(conn: &mut SqliteConnection, gap: &Gap) -> QueryResult<()> {
    use s::gaps::dsl as g;
    diesel::replace_into(g::gaps)
        .values((
            g::channel_order_no.eq(&gap.channel_order_no),
            g::channel.eq(&gap.channel),
            g::order_id.eq(gap.order.to_string()),
            g::captured_at.eq(gap.captured_at.micros()),
            g::captured_by.eq(&gap.captured_by),
            g::checked_at.eq(gap.checked_at.micros()),
            g::verdict.eq(&gap.verdict),
            g::detail.eq(&gap.detail),
        ))
        .execute(conn)
        .map(drop)
}

pub(super) fn list(conn: &mut SqliteConnection, n: usize) -> QueryResult<Vec<GapRow>> {
    use s::gaps::dsl as g;
    g::gaps.order(g::captured_at.desc()).limit(limit(n)).load(conn)
}

pub(super) fn count(
    conn: &mut SqliteConnection,
    since: Timestamp,
) -> QueryResult<Vec<(String, String, i64)>> {
    use s::gaps::dsl as g;
    g::gaps
        .filter(g::captured_at.ge(since.micros()))
        .group_by((g::channel, g::verdict))
        .select((g::channel, g::verdict, count_star()))
        .load(conn)
}
