//! Reconciliation's part of the embedded body.

use std::collections::HashSet;

use async_trait::async_trait;
use diesel::{
    BoolExpressionMethods as _, ExpressionMethods as _, JoinOnDsl as _, NullableExpressionMethods as _,
    OptionalExtension as _, QueryDsl as _, QueryResult, Queryable, QueryableByName, RunQueryDsl as _,
    SqliteConnection,
    dsl::{count_star, exists, not},
    sql_query,
    sql_types::{BigInt, Nullable, Text},
};
use domain::{
    OrderId, Timestamp,
    reconciliation::{self, BillKind, BillLine, DifferenceKind, DifferenceState, Fix, Ours, Subject, Theirs},
};

use super::{
    SqliteStore,
    read::{limit, order_id},
};
use crate::{
    Act, BillRun, Bills, Difference, DifferenceFilter, DifferenceStep, Error, Gap, Page, RunFilter, RunState,
    RunStep, Told, schema as s,
};

const TABLE_RUNS: &str = "bill_runs";
const TABLE_DIFFERENCES: &str = "differences";

fn micros(at: Option<Timestamp>) -> Option<i64> {
    at.map(Timestamp::micros)
}

fn whole(n: i64) -> u64 {
    u64::try_from(n).unwrap_or(0)
}

/// A stored word as what it means.
fn read<T>(table: &'static str, word: &str, parse: impl FnOnce(&str) -> Option<T>) -> Result<T, Error> {
    parse(word).ok_or_else(|| Error::corrupt(table, format!("unknown word {word:?}")))
}

#[derive(Queryable)]
struct RunRow {
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

fn runs(rows: Vec<RunRow>) -> Result<Vec<BillRun>, Error> {
    rows.into_iter().map(BillRun::try_from).collect()
}

fn run_by_day(conn: &mut SqliteConnection, channel: &str, day: &str) -> QueryResult<RunRow> {
    use s::bill_runs::dsl as r;
    r::bill_runs.filter(r::channel.eq(channel)).filter(r::day.eq(day)).first(conn)
}

fn want(
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

fn claim(
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

fn save(conn: &mut SqliteConnection, run: &BillRun) -> QueryResult<bool> {
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

fn lines_add(conn: &mut SqliteConnection, run: &BillRun, lines: &[BillLine]) -> QueryResult<bool> {
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

fn lines_drop(conn: &mut SqliteConnection, run: i64, n: usize) -> QueryResult<usize> {
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

fn differences_add(
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

fn theirs(conn: &mut SqliteConnection, run: i64, subject: Subject, page: &Page) -> QueryResult<Vec<Theirs>> {
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

type AttemptRow = (String, String, String, String, Option<i64>, Option<String>, Option<i64>);
type RefundRow = (String, String, String, String, i64, Option<String>, Option<i64>);

fn attempt((number, order, channel, state, fen, trade_no, at): AttemptRow) -> Result<Ours, Error> {
    Ok(Ours {
        subject: Subject::Payment,
        number,
        order: Some(order_id(&order)?),
        channel,
        state,
        fen,
        trade_no,
        at: at.map(Timestamp::from_micros),
    })
}

fn refund((number, order, channel, state, fen, trade_no, at): RefundRow) -> Result<Ours, Error> {
    let done = state == "succeeded";
    Ok(Ours {
        subject: Subject::Refund,
        number,
        order: Some(order_id(&order)?),
        channel,
        fen: done.then_some(fen),
        trade_no,
        at: at.map(Timestamp::from_micros),
        state,
    })
}

fn attempts_of(conn: &mut SqliteConnection, ids: &[String]) -> QueryResult<Vec<AttemptRow>> {
    use s::attempts::dsl as a;
    a::attempts
        .filter(a::order_id.eq_any(ids))
        .order((a::order_id, a::no))
        .select((
            a::channel_order_no,
            a::order_id,
            a::channel,
            a::state,
            a::capture_fen,
            a::trade_no,
            a::captured_at,
        ))
        .load(conn)
}

/// Attempts by their numbers: the order's id is the key, and its number begins with it.
fn attempts_by_number(conn: &mut SqliteConnection, numbers: &[String]) -> QueryResult<Vec<AttemptRow>> {
    let ids: Vec<String> = numbers.iter().filter_map(|n| n.get(..26)).map(str::to_owned).collect();
    let rows = attempts_of(conn, &ids)?;
    let wanted: HashSet<&String> = numbers.iter().collect();
    Ok(rows.into_iter().filter(|row| wanted.contains(&row.0)).collect())
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
                r::amount_fen,
                r::channel_refund_id,
                r::done_at,
            ))
    }};
}

/// Refunds by their numbers: those of orders, and those that a fix sent without an order.
fn refunds_by_number(
    conn: &mut SqliteConnection,
    numbers: &[String],
) -> QueryResult<(Vec<RefundRow>, Vec<Ours>)> {
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

fn captured(
    conn: &mut SqliteConnection,
    channel: &str,
    (from, to): (Timestamp, Timestamp),
    page: &Page,
) -> QueryResult<Vec<AttemptRow>> {
    use s::attempts::dsl as a;
    let (at, number) = after(page);
    let at = at.max(from.micros());
    a::attempts
        .filter(a::channel.eq(channel))
        .filter(a::captured_at.ge(at).and(a::captured_at.lt(to.micros())))
        .filter(a::captured_at.gt(at).or(a::channel_order_no.gt(number)))
        .order((a::captured_at, a::order_id, a::no))
        .limit(limit(page.limit))
        .select((
            a::channel_order_no,
            a::order_id,
            a::channel,
            a::state,
            a::capture_fen,
            a::trade_no,
            a::captured_at,
        ))
        .load(conn)
}

fn given_back(
    conn: &mut SqliteConnection,
    channel: &str,
    (from, to): (Timestamp, Timestamp),
    page: &Page,
) -> QueryResult<Vec<RefundRow>> {
    use s::{attempts::dsl as a, refunds::dsl as r};
    let (at, number) = after(page);
    let at = at.max(from.micros());
    refund_rows!()
        .filter(a::channel.eq(channel))
        .filter(r::done_at.ge(at).and(r::done_at.lt(to.micros())))
        .filter(r::done_at.gt(at).or(r::refund_no.gt(number)))
        .order((r::done_at, r::refund_no))
        .limit(limit(page.limit))
        .load(conn)
}

#[derive(Queryable)]
struct DifferenceRow {
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

fn differences(
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

fn step(conn: &mut SqliteConnection, id: i64, step: &DifferenceStep) -> QueryResult<bool> {
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

type GapRow = (String, String, String, i64, String, i64, String, String);

fn gap(
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

fn gaps_new(conn: &mut SqliteConnection, from: i64, to: i64, n: usize) -> QueryResult<Vec<GapRow>> {
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

#[async_trait]
impl Bills for SqliteStore {
    async fn bill_run_want(
        &self,
        channel: &str,
        day: &str,
        by: &str,
        now: Timestamp,
    ) -> Result<BillRun, Error> {
        self.write("bill_run_want", |c| want(c, channel, day, by, now))?.try_into()
    }

    async fn bill_runs_list(&self, filter: &RunFilter) -> Result<Vec<BillRun>, Error> {
        use s::bill_runs::dsl as r;
        let filter = filter.clone();
        let rows = self.read("bill_runs_list", move |c| {
            let mut query =
                r::bill_runs.order((r::day.desc(), r::channel)).limit(limit(filter.limit)).into_boxed();
            if let Some(day) = filter.day {
                query = query.filter(r::day.eq(day));
            }
            if let Some(channel) = filter.channel {
                query = query.filter(r::channel.eq(channel));
            }
            query.load(c)
        });
        runs(rows.await?)
    }

    async fn bill_runs_due(&self, now: Timestamp, n: usize) -> Result<Vec<BillRun>, Error> {
        use s::bill_runs::dsl as r;
        let rows = self.read("bill_runs_due", move |c| {
            r::bill_runs
                .filter(r::state.ne(RunState::Done.as_str()).or(r::told.eq(Told::Due.as_str())))
                .filter(r::next_at.le(now.micros()))
                .filter(r::lease_until.le(now.micros()))
                .order((r::day, r::channel))
                .limit(limit(n))
                .load(c)
        });
        runs(rows.await?)
    }

    async fn bill_run_claim(
        &self,
        id: i64,
        owner: &str,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<Option<BillRun>, Error> {
        let row = self.write("bill_run_claim", |c| claim(c, id, owner, now, until))?;
        row.map(BillRun::try_from).transpose()
    }

    async fn bill_run_save(&self, run: &BillRun) -> Result<bool, Error> {
        self.write("bill_run_save", |c| save(c, run))
    }

    async fn bill_lines_add(&self, run: &BillRun, lines: &[BillLine]) -> Result<bool, Error> {
        self.write("bill_lines_add", |c| lines_add(c, run, lines))
    }

    async fn differences_add(
        &self,
        run: &BillRun,
        found: &[(reconciliation::Difference, bool)],
        now: Timestamp,
    ) -> Result<bool, Error> {
        self.write("differences_add", |c| differences_add(c, run, found, now))
    }

    async fn bill_lines_drop(&self, run: i64, n: usize) -> Result<usize, Error> {
        self.write("bill_lines_drop", |c| lines_drop(c, run, n))
    }

    async fn bill_theirs(&self, run: i64, subject: Subject, page: &Page) -> Result<Vec<Theirs>, Error> {
        let page = page.clone();
        self.read("bill_theirs", move |c| theirs(c, run, subject, &page)).await
    }

    async fn bill_numbers_known(
        &self,
        runs: &[i64],
        subject: Subject,
        numbers: &[String],
    ) -> Result<HashSet<String>, Error> {
        use s::bill_lines::dsl as l;
        let (runs, numbers) = (runs.to_vec(), numbers.to_vec());
        let known = self.read("bill_numbers_known", move |c| {
            l::bill_lines
                .filter(l::run_id.eq_any(runs))
                .filter(l::subject.eq(subject.as_str()))
                .filter(l::number.eq_any(numbers))
                .select(l::number)
                .load::<String>(c)
        });
        Ok(known.await?.into_iter().collect())
    }

    async fn ours_by_number(&self, subject: Subject, numbers: &[String]) -> Result<Vec<Ours>, Error> {
        let numbers = numbers.to_vec();
        match subject {
            Subject::Payment => {
                let rows = self.read("ours_by_number", move |c| attempts_by_number(c, &numbers)).await?;
                rows.into_iter().map(attempt).collect()
            }
            Subject::Refund => {
                let (rows, mut all) =
                    self.read("ours_by_number", move |c| refunds_by_number(c, &numbers)).await?;
                for row in rows {
                    all.push(refund(row)?);
                }
                Ok(all)
            }
        }
    }

    async fn ours_of_orders(&self, orders: &[OrderId]) -> Result<Vec<Ours>, Error> {
        let ids: Vec<String> = orders.iter().map(ToString::to_string).collect();
        let rows = self.read("ours_of_orders", move |c| attempts_of(c, &ids)).await?;
        rows.into_iter().map(attempt).collect()
    }

    async fn ours_of_span(
        &self,
        subject: Subject,
        channel: &str,
        span: (Timestamp, Timestamp),
        page: &Page,
    ) -> Result<(Vec<Ours>, Option<String>), Error> {
        let (channel, wanted) = (channel.to_owned(), page.clone());
        let rows: Vec<Ours> = match subject {
            Subject::Payment => {
                let rows = self.read("ours_of_span", move |c| captured(c, &channel, span, &wanted)).await?;
                rows.into_iter().map(attempt).collect::<Result<_, _>>()?
            }
            Subject::Refund => {
                let rows = self.read("ours_of_span", move |c| given_back(c, &channel, span, &wanted)).await?;
                rows.into_iter().map(refund).collect::<Result<_, _>>()?
            }
        };
        let more = rows.len() == page.limit;
        let last = rows.last().filter(|_| more);
        let next = last.and_then(|last| Some(cursor(last.at?.micros(), &last.number)));
        Ok((rows, next))
    }

    async fn first_capture_at(&self) -> Result<Option<Timestamp>, Error> {
        use s::attempts::dsl as a;
        let at = self.read("first_capture_at", |c| {
            a::attempts.select(diesel::dsl::min(a::captured_at)).first::<Option<i64>>(c)
        });
        Ok(at.await?.map(Timestamp::from_micros))
    }

    async fn differences_list(&self, filter: &DifferenceFilter) -> Result<Vec<Difference>, Error> {
        let filter = filter.clone();
        let rows = self.read("differences_list", move |c| differences(c, &filter, None)).await?;
        rows.into_iter().map(Difference::try_from).collect()
    }

    async fn difference(&self, id: i64) -> Result<Option<Difference>, Error> {
        let any = DifferenceFilter { limit: 1, ..DifferenceFilter::default() };
        let rows = self.read("difference", move |c| differences(c, &any, Some(id))).await?;
        rows.into_iter().next().map(Difference::try_from).transpose()
    }

    async fn differences_count(&self) -> Result<Vec<(String, DifferenceKind, u64)>, Error> {
        use s::{bill_runs::dsl as r, differences::dsl as d};
        let live: Vec<&str> = DifferenceState::ALL
            .into_iter()
            .filter(|state| state.counts())
            .map(DifferenceState::as_str)
            .collect();
        let rows: Vec<(String, String, i64)> = self
            .read("differences_count", move |c| {
                let done = r::bill_runs.filter(r::state.eq(RunState::Done.as_str())).select(r::id);
                d::differences
                    .filter(d::state.eq_any(live))
                    .filter(d::run_id.eq_any(done))
                    .group_by((d::channel, d::kind))
                    .select((d::channel, d::kind, count_star()))
                    .load(c)
            })
            .await?;
        rows.into_iter()
            .map(|(channel, kind, n)| {
                Ok((channel, read(TABLE_DIFFERENCES, &kind, DifferenceKind::parse)?, whole(n)))
            })
            .collect()
    }

    async fn difference_step(&self, id: i64, next: &DifferenceStep) -> Result<bool, Error> {
        self.write("difference_step", |c| step(c, id, next))
    }

    async fn difference_acts(&self, id: i64) -> Result<Vec<Act>, Error> {
        use s::difference_acts::dsl as a;
        let rows: Vec<(i64, String, String, String)> = self
            .read("difference_acts", move |c| {
                a::difference_acts
                    .filter(a::difference_id.eq(id))
                    .order(a::seq)
                    .select((a::at, a::by, a::act, a::note))
                    .load(c)
            })
            .await?;
        let act = |(at, by, act, note)| Act { at: Timestamp::from_micros(at), by, act, note };
        Ok(rows.into_iter().map(act).collect())
    }

    async fn gaps_new(&self, from: Timestamp, to: Timestamp, n: usize) -> Result<Vec<Gap>, Error> {
        let rows = self.read("gaps_new", move |c| gaps_new(c, from.micros(), to.micros(), n)).await?;
        rows.into_iter().map(gap).collect()
    }

    async fn gap_put(&self, gap: &Gap) -> Result<(), Error> {
        use s::gaps::dsl as g;
        self.write("gap_put", |c| {
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
                .execute(c)
        })?;
        Ok(())
    }

    async fn gaps_list(&self, n: usize) -> Result<Vec<Gap>, Error> {
        use s::gaps::dsl as g;
        let rows: Vec<GapRow> = self
            .read("gaps_list", move |c| g::gaps.order(g::captured_at.desc()).limit(limit(n)).load(c))
            .await?;
        rows.into_iter().map(gap).collect()
    }

    async fn gaps_count(&self, since: Timestamp) -> Result<Vec<(String, String, u64)>, Error> {
        use s::gaps::dsl as g;
        let rows: Vec<(String, String, i64)> = self
            .read("gaps_count", move |c| {
                g::gaps
                    .filter(g::captured_at.ge(since.micros()))
                    .group_by((g::channel, g::verdict))
                    .select((g::channel, g::verdict, count_star()))
                    .load(c)
            })
            .await?;
        Ok(rows.into_iter().map(|(channel, verdict, n)| (channel, verdict, whole(n))).collect())
    }
}
