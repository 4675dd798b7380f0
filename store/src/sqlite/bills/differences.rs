//! Differences: found, moved on one step at a time, and what somebody did about each.

use diesel::{
    ExpressionMethods as _, QueryDsl as _, QueryResult, Queryable, RunQueryDsl as _, SqliteConnection,
    dsl::count_star,
};
use domain::{
    Timestamp,
    reconciliation::{self, DifferenceKind, DifferenceState, Fix, Subject},
};

use super::{
    super::read::{limit, order_id},
    micros, read,
    runs::save,
    whole,
};
use crate::{BillRun, Difference, DifferenceFilter, DifferenceStep, Error, RunState, Told, schema as s};

const TABLE_DIFFERENCES: &str = "differences";

pub(super) fn add(
    conn: &mut SqliteConnection,
    run: &BillRun,
    found: &[(reconciliation::Difference, bool)],
    now: Timestamp,
) -> QueryResult<bool> {
    use s::differences::dsl as d;
    if !save(conn, run)? {
        return Ok(false);
    }
    for (found, waits) in found {
        let state = if *waits { DifferenceState::Waiting } else { DifferenceState::Open };
        diesel::insert_or_ignore_into(d::differences)
            .values((
                (d::run_id.eq(run.id), d::channel.eq(&run.channel), d::day.eq(&run.day)),
                (d::kind.eq(found.kind.as_str()), d::subject.eq(found.subject.as_str())),
                (d::number.eq(&found.number), d::order_id.eq(found.order.map(|id| id.to_string()))),
                (d::ours_fen.eq(found.ours_fen), d::theirs_fen.eq(found.theirs_fen)),
                d::trade_no.eq(&found.trade_no),
                d::line.eq(found.line.map(|n| i64::try_from(n).unwrap_or(i64::MAX))),
                d::at.eq(micros(found.at)),
                d::adopts.eq(&found.adopts),
                (d::fix.eq(found.fix.as_str()), d::fix_fen.eq(found.fix_fen), d::detail.eq(&found.detail)),
                (d::state.eq(state.as_str()), d::found_at.eq(now.micros()), d::changed_at.eq(now.micros())),
            ))
            .execute(conn)?;
    }
    Ok(true)
}

#[derive(Queryable)]
pub(super) struct DifferenceRow {
    id: i64,
    run_id: i64,
    channel: String,
    day: String,
    kind: String,
    subject: String,
    number: String,
    order_id: Option<String>,
    ours_fen: Option<i64>,
    theirs_fen: Option<i64>,
    trade_no: String,
    line: Option<i64>,
    at: Option<i64>,
    fix: String,
    fix_fen: i64,
    detail: String,
    state: String,
    chosen: Option<String>,
    first_by: Option<String>,
    second_by: Option<String>,
    refund_no: Option<String>,
    outcome: Option<String>,
    found_at: i64,
    changed_at: i64,
    adopts: Option<String>,
}

impl TryFrom<DifferenceRow> for Difference {
    type Error = Error;

    fn try_from(row: DifferenceRow) -> Result<Difference, Error> {
        let t = TABLE_DIFFERENCES;
        Ok(Difference {
            id: row.id,
            run_id: row.run_id,
            channel: row.channel,
            day: row.day,
            found: reconciliation::Difference {
                kind: read(t, &row.kind, DifferenceKind::parse)?,
                subject: read(t, &row.subject, Subject::parse)?,
                number: row.number,
                order: row.order_id.as_deref().map(order_id).transpose()?,
                ours_fen: row.ours_fen,
                theirs_fen: row.theirs_fen,
                trade_no: row.trade_no,
                line: row.line.map(whole),
                at: row.at.map(Timestamp::from_micros),
                adopts: row.adopts,
                fix: read(t, &row.fix, Fix::parse)?,
                fix_fen: row.fix_fen,
                detail: row.detail,
            },
            state: read(t, &row.state, DifferenceState::parse)?,
            chosen: row.chosen.as_deref().map(|word| read(t, word, Fix::parse)).transpose()?,
            first_by: row.first_by,
            second_by: row.second_by,
            refund_no: row.refund_no,
            outcome: row.outcome,
            found_at: Timestamp::from_micros(row.found_at),
            changed_at: Timestamp::from_micros(row.changed_at),
        })
    }
}

pub(super) fn list(
    conn: &mut SqliteConnection,
    filter: &DifferenceFilter,
    one: Option<i64>,
) -> QueryResult<Vec<DifferenceRow>> {
    use s::{bill_runs::dsl as r, differences::dsl as d};
    let done = r::bill_runs.filter(r::state.eq(RunState::Done.as_str())).select(r::id);
    let mut query = d::differences
        .filter(d::run_id.eq_any(done))
        .filter(d::id.gt(filter.after))
        .order(d::id)
        .limit(limit(filter.limit))
        .into_boxed();
    if let Some(id) = one {
        query = query.filter(d::id.eq(id));
    }
    if !filter.states.is_empty() {
        query = query.filter(d::state.eq_any(filter.states.iter().map(|state| state.as_str())));
    }
    if let Some(day) = &filter.day {
        query = query.filter(d::day.eq(day));
    }
    if let Some(channel) = &filter.channel {
        query = query.filter(d::channel.eq(channel));
    }
    if let Some(kind) = filter.kind {
        query = query.filter(d::kind.eq(kind.as_str()));
    }
    query.load(conn)
}

pub(super) fn step(conn: &mut SqliteConnection, id: i64, step: &DifferenceStep) -> QueryResult<bool> {
    use s::{bill_runs::dsl as r, difference_acts::dsl as a, differences::dsl as d};
    let here = d::differences.filter(d::id.eq(id)).filter(d::state.eq(step.from.as_str()));
    let changed = diesel::update(here)
        .set((
            d::state.eq(step.to.as_str()),
            d::chosen.eq(step.chosen.map(Fix::as_str)),
            d::first_by.eq(&step.first_by),
            d::second_by.eq(&step.second_by),
            d::refund_no.eq(&step.refund_no),
            d::outcome.eq(&step.outcome),
            d::changed_at.eq(step.at.micros()),
        ))
        .execute(conn)?;
    if changed == 1 && step.tells {
        let run = d::differences.filter(d::id.eq(id)).select(d::run_id).first::<i64>(conn)?;
        diesel::update(r::bill_runs.filter(r::id.eq(run)))
            .set((
                (r::told.eq(Told::Due.as_str()), r::told_tries.eq(0)),
                (r::told_since.eq(step.at.micros()), r::next_at.eq(step.at.micros())),
            ))
            .execute(conn)?;
    }
    if changed == 1 {
        diesel::insert_into(a::difference_acts)
            .values((
                a::difference_id.eq(id),
                a::at.eq(step.at.micros()),
                a::by.eq(&step.by),
                a::act.eq(step.act),
                a::note.eq(&step.note),
            ))
            .execute(conn)?;
    }
    Ok(changed == 1)
}

/// Differences that count, by channel and kind.
pub(super) fn count(conn: &mut SqliteConnection) -> QueryResult<Vec<(String, String, i64)>> {
    use s::{bill_runs::dsl as r, differences::dsl as d};
    let live = DifferenceState::ALL.into_iter().filter(|state| state.counts()).map(DifferenceState::as_str);
    let done = r::bill_runs.filter(r::state.eq(RunState::Done.as_str())).select(r::id);
    d::differences
        .filter(d::state.eq_any(live))
        .filter(d::run_id.eq_any(done))
        .group_by((d::channel, d::kind))
        .select((d::channel, d::kind, count_star()))
        .load(conn)
}

pub(super) fn counted(
    (channel, kind, n): (String, String, i64),
) -> Result<(String, DifferenceKind, u64), Error> {
    Ok((channel, read(TABLE_DIFFERENCES, &kind, DifferenceKind::parse)?, whole(n)))
}

/// Moment, who, what, why.
pub(super) type ActRow = (i64, String, String, String);

pub(super) fn acts(conn: &mut SqliteConnection, id: i64) -> QueryResult<Vec<ActRow>> {
    use s::difference_acts::dsl as a;
    a::difference_acts
        .filter(a::difference_id.eq(id))
        .order(a::seq)
        .select((a::at, a::by, a::act, a::note))
        .load(conn)
}
