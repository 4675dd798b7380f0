//! Runs: a channel's day from "wanted" to "done", under a lease.

use diesel::{
    BoolExpressionMethods as _, ExpressionMethods as _, OptionalExtension as _, QueryDsl as _, QueryResult,
    Queryable, RunQueryDsl as _, SqliteConnection,
};
use domain::Timestamp;

use super::{super::read::limit, micros, read};
use crate::{BillRun, Error, RunFilter, RunState, RunStep, Told, schema as s};

const TABLE_RUNS: &str = "bill_runs";

#[derive(Queryable)]
pub(super) struct RunRow {
    id: i64,
    channel: String,
    day: String,
    state: String,
    asked_at: i64,
    asked_by: String,
    tries: i64,
    next_at: i64,
    problem: Option<String>,
    fetched_at: Option<i64>,
    file_hash: Option<String>,
    file_bytes: i64,
    lines: i64,
    paid_fen: i64,
    refunded_fen: i64,
    fee_fen: i64,
    line_done: i64,
    step: String,
    cursor: String,
    matched: i64,
    ended_at: Option<i64>,
    owner: String,
    lease_until: i64,
    told: String,
    told_tries: i64,
    told_at: Option<i64>,
    told_since: Option<i64>,
}

impl TryFrom<RunRow> for BillRun {
    type Error = Error;

    fn try_from(row: RunRow) -> Result<BillRun, Error> {
        Ok(BillRun {
            id: row.id,
            channel: row.channel,
            day: row.day,
            state: read(TABLE_RUNS, &row.state, RunState::parse)?,
            asked_at: Timestamp::from_micros(row.asked_at),
            asked_by: row.asked_by,
            tries: u32::try_from(row.tries).unwrap_or(u32::MAX),
            next_at: Timestamp::from_micros(row.next_at),
            problem: row.problem,
            fetched_at: row.fetched_at.map(Timestamp::from_micros),
            file_hash: row.file_hash,
            file_bytes: row.file_bytes,
            lines: row.lines,
            paid_fen: row.paid_fen,
            refunded_fen: row.refunded_fen,
            fee_fen: row.fee_fen,
            line_done: row.line_done,
            step: read(TABLE_RUNS, &row.step, RunStep::parse)?,
            cursor: row.cursor,
            matched: row.matched,
            ended_at: row.ended_at.map(Timestamp::from_micros),
            owner: row.owner,
            lease_until: Timestamp::from_micros(row.lease_until),
            told: read(TABLE_RUNS, &row.told, Told::parse)?,
            told_tries: u32::try_from(row.told_tries).unwrap_or(u32::MAX),
            told_at: row.told_at.map(Timestamp::from_micros),
            told_since: row.told_since.map(Timestamp::from_micros),
        })
    }
}

fn run_by_day(conn: &mut SqliteConnection, channel: &str, day: &str) -> QueryResult<RunRow> {
    use s::bill_runs::dsl as r;
    r::bill_runs.filter(r::channel.eq(channel)).filter(r::day.eq(day)).first(conn)
}

pub(super) fn want(
    conn: &mut SqliteConnection,
    channel: &str,
    day: &str,
    by: &str,
    now: Timestamp,
) -> QueryResult<RunRow> {
    use s::bill_runs::dsl as r;
    diesel::insert_or_ignore_into(r::bill_runs)
        .values((
            r::channel.eq(channel),
            r::day.eq(day),
            r::state.eq(RunState::default().as_str()),
            r::asked_at.eq(now.micros()),
            r::asked_by.eq(by),
            r::next_at.eq(now.micros()),
            (r::tries.eq(0), r::file_bytes.eq(0), r::lines.eq(0), r::line_done.eq(0), r::matched.eq(0)),
            (r::paid_fen.eq(0), r::refunded_fen.eq(0), r::fee_fen.eq(0), r::lease_until.eq(0)),
            (r::step.eq(RunStep::default().as_str()), r::cursor.eq(""), r::owner.eq("")),
            (r::told.eq(Told::default().as_str()), r::told_tries.eq(0)),
        ))
        .execute(conn)?;
    run_by_day(conn, channel, day)
}

pub(super) fn claim(
    conn: &mut SqliteConnection,
    id: i64,
    owner: &str,
    now: Timestamp,
    until: Timestamp,
) -> QueryResult<Option<RunRow>> {
    use s::bill_runs::dsl as r;
    let free = r::owner.eq(owner).or(r::lease_until.le(now.micros()));
    let taken = diesel::update(r::bill_runs.filter(r::id.eq(id)).filter(free))
        .set((r::owner.eq(owner), r::lease_until.eq(until.micros())))
        .execute(conn)?;
    if taken == 0 {
        return Ok(None);
    }
    r::bill_runs.filter(r::id.eq(id)).first(conn).optional()
}

pub(super) fn save(conn: &mut SqliteConnection, run: &BillRun) -> QueryResult<bool> {
    use s::bill_runs::dsl as r;
    // What was owed later than this worker knows is not to be taken for told. A run that is at work owes nothing yet.
    let owed = r::told_since.is_null().or(r::told_since.le(micros(run.told_since)));
    let changed =
        diesel::update(r::bill_runs.filter(r::id.eq(run.id)).filter(r::owner.eq(&run.owner)).filter(owed))
            .set((
                (r::state.eq(run.state.as_str()), r::tries.eq(i64::from(run.tries))),
                (r::next_at.eq(run.next_at.micros()), r::problem.eq(&run.problem)),
                (r::fetched_at.eq(micros(run.fetched_at)), r::file_hash.eq(&run.file_hash)),
                (r::file_bytes.eq(run.file_bytes), r::lines.eq(run.lines), r::paid_fen.eq(run.paid_fen)),
                (r::refunded_fen.eq(run.refunded_fen), r::fee_fen.eq(run.fee_fen)),
                (r::line_done.eq(run.line_done), r::step.eq(run.step.as_str()), r::cursor.eq(&run.cursor)),
                (r::matched.eq(run.matched), r::ended_at.eq(micros(run.ended_at))),
                r::lease_until.eq(run.lease_until.micros()),
                (r::told.eq(run.told.as_str()), r::told_tries.eq(i64::from(run.told_tries))),
                (r::told_at.eq(micros(run.told_at)), r::told_since.eq(micros(run.told_since))),
            ))
            .execute(conn)?;
    Ok(changed == 1)
}

pub(super) fn list(conn: &mut SqliteConnection, filter: RunFilter) -> QueryResult<Vec<RunRow>> {
    use s::bill_runs::dsl as r;
    let mut query = r::bill_runs.order((r::day.desc(), r::channel)).limit(limit(filter.limit)).into_boxed();
    if let Some(day) = filter.day {
        query = query.filter(r::day.eq(day));
    }
    if let Some(channel) = filter.channel {
        query = query.filter(r::channel.eq(channel));
    }
    query.load(conn)
}

pub(super) fn due(conn: &mut SqliteConnection, now: Timestamp, n: usize) -> QueryResult<Vec<RunRow>> {
    use s::bill_runs::dsl as r;
    r::bill_runs
        .filter(r::state.ne(RunState::Done.as_str()).or(r::told.eq(Told::Due.as_str())))
        .filter(r::next_at.le(now.micros()))
        .filter(r::lease_until.le(now.micros()))
        .order((r::day, r::channel))
        .limit(limit(n))
        .load(conn)
}
