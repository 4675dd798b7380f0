//! The outbox: what is due by backend, what became of each try, resends, and what operators and backends read of it.
//!
//! Every question names the backend first, so that one backend's backlog costs another's webhooks nothing. The
//! words of `state` stand in the text of the questions: SQLite takes an index on a part of a table only for a constant;
//! a `+` before a column keeps it from an index that would sort ten thousand rows to return two.
//! `seq` is the order of commits, because one connection writes and each of its transactions ends before the next
//! begins: nobody ever sees a number before all smaller ones are there.

use diesel::{
    ExpressionMethods as _, QueryDsl as _, QueryResult, RunQueryDsl as _, SqliteConnection,
    dsl::sql,
    sql_types::{BigInt, Bool, Nullable, Text},
};
use domain::{Timestamp, audit::chain, webhook};

use super::{kept::kept, read::limit};
use crate::{
    AppendError, Appended, EventLine, Resend, WebhookBackend, WebhookCall, WebhookDue, WebhookFilter,
    WebhookLine, WebhookResend, WebhookTotals, WebhookTry, WebhooksOver, schema as s,
};

/// Webhooks that one act of an operator sends again, at most: a commit stays short.
const RESEND_MAX: i64 = 10_000;
/// Webhooks that end with one entry.
const OVER_MAX: i64 = 1_000;
/// The latest calls of a webhook that a list shows.
const CALLS_SHOWN: usize = 100;

#[diesel::declare_sql_function]
extern "SQL" {
    /// The seal over a delivery's columns: whoever changes one of them writes it anew, or the audit finds it.
    fn delivery_seal(
        id: Text,
        state: Text,
        since: BigInt,
        tries: BigInt,
        next_at: Nullable<BigInt>,
    ) -> BigInt;
}

/// Makes the seal known to a connection that writes.
pub(super) fn register(conn: &mut SqliteConnection) -> QueryResult<()> {
    delivery_seal_utils::register_impl(
        conn,
        |id: String, state: String, since: i64, tries: i64, next_at: Option<i64>| {
            chain::delivery_seal(&id, &state, since, tries, next_at)
        },
    )
}

type Outcome = QueryResult<Result<Appended, AppendError>>;

fn count(n: i64) -> u64 {
    u64::try_from(n).unwrap_or(0)
}

/// Steps from backend to backend over the index: what it costs grows with backends, not with their rows.
pub(super) fn backends(
    conn: &mut SqliteConnection,
    after: &str,
    most: usize,
) -> QueryResult<Vec<WebhookBackend>> {
    let rows: Vec<(String, i64, i64)> = kept::<(Text, BigInt, BigInt)>(
        "WITH RECURSIVE each (backend) AS ( \
           SELECT min(backend) FROM webhooks_out WHERE state = 'due' AND backend > ? \
           UNION ALL \
           SELECT (SELECT min(w.backend) FROM webhooks_out w WHERE w.state = 'due' AND w.backend > each.backend) \
           FROM each WHERE each.backend IS NOT NULL LIMIT ? \
         ) \
         SELECT each.backend, \
           (SELECT min(w.next_at) FROM webhooks_out w WHERE w.state = 'due' AND w.backend = each.backend) AS first_at, \
           (SELECT max(w.next_at) FROM webhooks_out w WHERE w.state = 'due' AND w.backend = each.backend) AS last_at \
         FROM each WHERE each.backend IS NOT NULL",
    )
    .bind(after)
    .bind(limit(most))
    .load(conn)?;
    let row = |(backend, first_at, last_at)| WebhookBackend {
        backend,
        first_at: Timestamp::from_micros(first_at),
        last_at: Timestamp::from_micros(last_at),
    };
    Ok(rows.into_iter().map(row).collect())
}

type DueRow = (String, String, String, String, i64, i64);

/// A later webhook of an order waits for an earlier one in the first tries of its schedule.
pub(super) fn due(
    conn: &mut SqliteConnection,
    now: Timestamp,
    asks: &[(String, usize)],
) -> QueryResult<Vec<WebhookDue>> {
    let mut due = Vec::new();
    for (backend, most) in asks {
        let rows: Vec<DueRow> = kept::<(Text, Text, Text, Text, BigInt, BigInt)>(
            "SELECT w.id, w.order_id, w.url, w.payload, w.tries, w.since FROM webhooks_out w \
             WHERE w.state = 'due' AND w.backend = ? AND +w.next_at <= ? AND NOT EXISTS ( \
               SELECT 1 FROM webhooks_out e WHERE e.order_id = w.order_id AND e.seq < w.seq AND e.state = 'due' \
                 AND e.backend = w.backend AND e.tries < ?) \
             ORDER BY w.since, w.seq LIMIT ?",
        )
        .bind(backend.as_str())
        .bind(now.micros())
        .bind(i64::from(webhook::TRIES_IN_ORDER))
        .bind(limit(*most))
        .load(conn)?;
        due.extend(rows.into_iter().map(|(id, order_id, url, payload, tries, since)| WebhookDue {
            id,
            order: order_id.parse().ok(),
            backend: backend.clone(),
            url,
            payload,
            tries: u32::try_from(tries).unwrap_or(u32::MAX),
            since: Timestamp::from_micros(since),
        }));
    }
    Ok(due)
}

type TotalsRow = (String, i64, i64, Option<i64>);

pub(super) fn totals(conn: &mut SqliteConnection) -> QueryResult<Vec<WebhookTotals>> {
    let rows: Vec<TotalsRow> = kept::<(Text, BigInt, BigInt, Nullable<BigInt>)>(
        "SELECT backend, sum(due) AS due, sum(dead) AS dead, min(due_since) AS due_since FROM ( \
           SELECT backend, count(*) AS due, 0 AS dead, min(next_at) AS due_since FROM webhooks_out \
             WHERE state = 'due' GROUP BY backend \
           UNION ALL \
           SELECT backend, 0, count(*), NULL FROM webhooks_out WHERE state = 'dead' GROUP BY backend \
         ) GROUP BY backend ORDER BY backend",
    )
    .load(conn)?;
    let row = |(backend, due, dead, due_since): TotalsRow| WebhookTotals {
        backend,
        due: count(due),
        dead: count(dead),
        due_since: due_since.map(Timestamp::from_micros),
    };
    Ok(rows.into_iter().map(row).collect())
}

pub(super) fn events_after(
    conn: &mut SqliteConnection,
    cursor: i64,
    n: usize,
) -> QueryResult<Vec<EventLine>> {
    use s::webhooks_out::dsl as w;
    let rows: Vec<(i64, String, String)> = w::webhooks_out
        .filter(w::seq.gt(cursor))
        .order(w::seq)
        .limit(limit(n))
        .select((w::seq, w::id, w::payload))
        .load(conn)?;
    Ok(rows.into_iter().map(|(cursor, id, payload)| EventLine { cursor, id, payload }).collect())
}

type LineRow =
    ((i64, String, String, String, Option<String>, Option<String>), (String, i64, i64, i64, Option<i64>));

pub(super) fn list(conn: &mut SqliteConnection, filter: &WebhookFilter) -> QueryResult<Vec<WebhookLine>> {
    use s::webhooks_out::dsl as w;
    let mut query = w::webhooks_out
        .select((
            (w::seq, w::id, w::order_id, w::kind, w::backend, w::url),
            (w::state, w::created_at, w::since, w::tries, w::next_at),
        ))
        .limit(limit(filter.limit))
        .into_boxed();
    query = match filter.state.as_deref() {
        // Few among millions: by their own index.
        Some("dead") => {
            query.filter(sql::<Bool>("state = 'dead' AND backend >= ''")).order(sql::<BigInt>("+seq DESC"))
        }
        Some(state) => query.filter(w::state.eq(state.to_owned())).order(w::seq.desc()),
        None => query.order(w::seq.desc()),
    };
    if let Some(id) = &filter.id {
        query = query.filter(w::id.eq(id));
    }
    if let Some(backend) = &filter.backend {
        query = query.filter(w::backend.eq(backend));
    }
    if let Some(order) = filter.order {
        query = query.filter(w::order_id.eq(order.to_string()));
    }
    if let Some(before) = filter.before {
        query = query.filter(w::seq.lt(before));
    }
    let rows: Vec<LineRow> = query.load(conn)?;
    rows.into_iter()
        .map(|((seq, id, order_id, kind, backend, url), (state, created_at, since, tries, next_at))| {
            Ok(WebhookLine {
                seq,
                order_id,
                kind,
                backend,
                url,
                state,
                created_at: Timestamp::from_micros(created_at),
                since: Timestamp::from_micros(since),
                tries: u32::try_from(tries).unwrap_or(u32::MAX),
                next_at: next_at.map(Timestamp::from_micros),
                calls: calls(conn, &id)?,
                id,
            })
        })
        .collect()
}

fn calls(conn: &mut SqliteConnection, id: &str) -> QueryResult<Vec<WebhookCall>> {
    use s::webhook_tries::dsl as t;
    let rows: Vec<(i64, Option<i64>, Option<String>, i64)> = t::webhook_tries
        .filter(t::webhook_id.eq(id))
        .order(t::at.desc())
        .limit(limit(CALLS_SHOWN))
        .select((t::at, t::status, t::error, t::took_ms))
        .load(conn)?;
    let call = |(at, status, error, took_ms): (i64, Option<i64>, Option<String>, i64)| WebhookCall {
        at: Timestamp::from_micros(at),
        status: status.and_then(|s| i32::try_from(s).ok()),
        error,
        took_ms,
    };
    Ok(rows.into_iter().rev().map(call).collect())
}

type ResendRow = (String, i64, String, Option<String>, Option<String>, i64);

pub(super) fn resends(
    conn: &mut SqliteConnection,
    id: Option<&str>,
    n: usize,
) -> QueryResult<Vec<(WebhookResend, u64)>> {
    use s::webhook_resends::dsl as r;
    let mut query = r::webhook_resends.order(r::at.desc()).limit(limit(n)).into_boxed();
    if let Some(id) = id {
        query = query.filter(r::id.eq(id));
    }
    let rows: Vec<ResendRow> = query.load(conn)?;
    Ok(rows
        .into_iter()
        .map(|(id, at, by, webhook_id, backend, resent)| {
            let what = match webhook_id {
                Some(id) => Resend::One(id),
                None => Resend::DeadOf(backend.unwrap_or_default()),
            };
            (WebhookResend { id, at: Timestamp::from_micros(at), by, what }, count(resent))
        })
        .collect())
}

/// Logs a try and moves its row on. A failed try of a schedule that was begun anew meanwhile only leaves its line; a
/// delivery counts whatever became of the row meanwhile.
pub(super) fn tried(conn: &mut SqliteConnection, tried: &WebhookTry) -> Outcome {
    use s::webhook_tries::dsl as t;
    let after = match (tried.delivered, tried.next_at) {
        (true, _) => "delivered",
        (false, Some(_)) => "due",
        (false, None) => "dead",
    };
    let next_at = tried.next_at.filter(|_| !tried.delivered).map(Timestamp::micros);
    diesel::insert_or_ignore_into(t::webhook_tries)
        .values((
            t::webhook_id.eq(&tried.webhook_id),
            t::at.eq(tried.at.micros()),
            t::status.eq(tried.status.map(i64::from)),
            t::error.eq(&tried.error),
            t::took_ms.eq(tried.took_ms),
        ))
        .execute(conn)?;
    let moved = if tried.delivered {
        kept::<()>(
            "UPDATE webhooks_out SET state = ?, next_at = ?, tries = tries + 1, \
             seal = delivery_seal(id, ?, since, tries + 1, ?) WHERE id = ? AND state IN ('due', 'dead')",
        )
    } else {
        kept::<()>(
            "UPDATE webhooks_out SET state = ?, next_at = ?, tries = tries + 1, \
             seal = delivery_seal(id, ?, since, tries + 1, ?) WHERE id = ? AND state = 'due' AND since = ?",
        )
    };
    let moved = moved.bind(after).bind(next_at).bind(after).bind(next_at).bind(tried.webhook_id.as_str());
    let moved = if tried.delivered { moved } else { moved.bind(tried.since.micros()) };
    moved.execute(conn)?;
    Ok(Ok(Appended))
}

/// Ends what is past its time at a backend that has just failed again.
pub(super) fn over(conn: &mut SqliteConnection, over: &WebhooksOver) -> Outcome {
    kept::<()>(
        "UPDATE webhooks_out SET state = 'dead', next_at = NULL, \
         seal = delivery_seal(id, 'dead', since, tries, NULL) WHERE seq IN ( \
           SELECT seq FROM webhooks_out WHERE state = 'due' AND backend = ? AND since < ? ORDER BY since LIMIT ?)",
    )
    .bind(over.backend.as_str())
    .bind(over.since_before.micros())
    .bind(OVER_MAX)
    .execute(conn)?;
    Ok(Ok(Appended))
}

/// Begins schedules anew, and keeps who wanted it and how many there were.
pub(super) fn resend(conn: &mut SqliteConnection, resend: &WebhookResend) -> Outcome {
    use s::webhook_resends::dsl as r;
    let at = resend.at.micros();
    let (webhook_id, backend, resent) = match &resend.what {
        Resend::One(id) => {
            let resent = kept::<()>(
                "UPDATE webhooks_out SET state = 'due', since = ?, next_at = ?, tries = 0, \
                 seal = delivery_seal(id, 'due', ?, 0, ?) \
                 WHERE id = ? AND url IS NOT NULL",
            )
            .bind(at)
            .bind(at)
            .bind(at)
            .bind(at)
            .bind(id.as_str())
            .execute(conn)?;
            (Some(id), None, resent)
        }
        Resend::DeadOf(backend) => {
            let resent = kept::<()>(
                "UPDATE webhooks_out SET state = 'due', since = ?, next_at = ?, tries = 0, \
                 seal = delivery_seal(id, 'due', ?, 0, ?) WHERE seq IN ( \
                   SELECT seq FROM webhooks_out WHERE state = 'dead' AND backend = ? ORDER BY since, seq LIMIT ?)",
            )
            .bind(at)
            .bind(at)
            .bind(at)
            .bind(at)
            .bind(backend.as_str())
            .bind(RESEND_MAX)
            .execute(conn)?;
            (None, Some(backend), resent)
        }
    };
    diesel::insert_into(r::webhook_resends)
        .values((
            r::id.eq(&resend.id),
            r::at.eq(at),
            r::by.eq(&resend.by),
            r::webhook_id.eq(webhook_id),
            r::backend.eq(backend),
            r::resent.eq(i64::try_from(resent).unwrap_or(i64::MAX)),
        ))
        .execute(conn)?;
    Ok(Ok(Appended))
}
