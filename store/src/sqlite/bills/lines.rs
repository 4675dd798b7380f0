//! Lines of bills, by number.

use std::collections::HashSet;

use diesel::{
    ExpressionMethods as _, OptionalExtension as _, QueryDsl as _, QueryResult, QueryableByName,
    RunQueryDsl as _, SqliteConnection, sql_query,
    sql_types::{BigInt, Nullable, Text},
};
use domain::{
    Timestamp,
    reconciliation::{BillKind, BillLine, Subject, Theirs},
};

use super::{super::read::limit, runs::save, whole};
use crate::{BillRun, Page, schema as s};

pub(super) fn add(conn: &mut SqliteConnection, run: &BillRun, lines: &[BillLine]) -> QueryResult<bool> {
    use s::bill_lines::dsl as l;
    if !save(conn, run)? {
        return Ok(false);
    }
    for line in lines {
        let (subject, number) = line.key();
        let reversal = line.kind == BillKind::Reversal && subject == Subject::Payment;
        let trade = Some(&line.channel_order_no).filter(|no| subject == Subject::Refund && !no.is_empty());
        diesel::insert_into(l::bill_lines)
            .values((
                l::run_id.eq(run.id),
                l::subject.eq(subject.as_str()),
                l::number.eq(number),
                l::line.eq(limit(line.line)),
                l::reversal.eq(i64::from(reversal)),
                l::trade_no.eq(&line.trade_no),
                l::amount_fen.eq(line.amount.fen()),
                l::fee_fen.eq(line.fee_fen),
                l::at.eq(line.at.micros()),
                l::of_trade.eq(trade),
            ))
            .execute(conn)?;
    }
    Ok(true)
}

pub(super) fn drop_some(conn: &mut SqliteConnection, run: i64, n: usize) -> QueryResult<usize> {
    use s::{bill_lines::dsl as l, differences::dsl as d};
    let dropped = sql_query(
        "DELETE FROM bill_lines WHERE run_id = ? AND (subject, number, line) IN \
         (SELECT subject, number, line FROM bill_lines WHERE run_id = ? LIMIT ?)",
    )
    .bind::<BigInt, _>(run)
    .bind::<BigInt, _>(run)
    .bind::<BigInt, _>(limit(n))
    .execute(conn)?;
    let left: Option<i64> = l::bill_lines.filter(l::run_id.eq(run)).select(l::line).first(conn).optional()?;
    if left.is_none() {
        diesel::delete(d::differences.filter(d::run_id.eq(run))).execute(conn)?;
    }
    Ok(dropped)
}

#[derive(QueryableByName)]
struct TheirsRow {
    #[diesel(sql_type = Text)]
    number: String,
    #[diesel(sql_type = Nullable<Text>)]
    of_trade: Option<String>,
    #[diesel(sql_type = Text)]
    trade_no: String,
    #[diesel(sql_type = BigInt)]
    n: i64,
    #[diesel(sql_type = BigInt)]
    fen: i64,
    #[diesel(sql_type = BigInt)]
    reversed_fen: i64,
    #[diesel(sql_type = BigInt)]
    fee_fen: i64,
    #[diesel(sql_type = BigInt)]
    line: i64,
    #[diesel(sql_type = BigInt)]
    at: i64,
}

pub(super) fn theirs(
    conn: &mut SqliteConnection,
    run: i64,
    subject: Subject,
    page: &Page,
) -> QueryResult<Vec<Theirs>> {
    let rows: Vec<TheirsRow> = sql_query(
        "SELECT number, MIN(of_trade) AS of_trade, MIN(trade_no) AS trade_no, CAST(SUM(1 - reversal) AS BIGINT) AS n, \
         CAST(SUM(amount_fen * (1 - reversal)) AS BIGINT) AS fen, \
         CAST(SUM(amount_fen * reversal) AS BIGINT) AS reversed_fen, CAST(SUM(fee_fen) AS BIGINT) AS fee_fen, \
         MIN(line) AS line, MIN(at) AS at \
         FROM bill_lines WHERE run_id = ? AND subject = ? AND number > ? GROUP BY number ORDER BY number LIMIT ?",
    )
    .bind::<BigInt, _>(run)
    .bind::<Text, _>(subject.as_str())
    .bind::<Text, _>(&page.after)
    .bind::<BigInt, _>(limit(page.limit))
    .load(conn)?;
    Ok(rows
        .into_iter()
        .map(|row| Theirs {
            subject,
            number: row.number,
            of_trade: row.of_trade,
            trade_no: row.trade_no,
            lines: whole(row.n),
            fen: row.fen,
            reversed_fen: row.reversed_fen,
            fee_fen: row.fee_fen,
            line: whole(row.line),
            at: Timestamp::from_micros(row.at),
        })
        .collect())
}

pub(super) fn known(
    conn: &mut SqliteConnection,
    runs: &[i64],
    subject: Subject,
    numbers: &[String],
) -> QueryResult<HashSet<String>> {
    use s::bill_lines::dsl as l;
    let known: Vec<String> = l::bill_lines
        .filter(l::run_id.eq_any(runs))
        .filter(l::subject.eq(subject.as_str()))
        .filter(l::number.eq_any(numbers))
        .select(l::number)
        .load(conn)?;
    Ok(known.into_iter().collect())
}
