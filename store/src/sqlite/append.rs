//! One group of entries, one transaction.
//!
//! First the whole group runs without savepoints: the conflicts that are expected (a repeated order number, a
//! fenced version) show as "no row changed" before anything of their entry is written. Only if the database
//! itself refuses a row is everything rolled back and run again with a savepoint around each entry.

use diesel::{
    ExpressionMethods as _, OptionalExtension as _, QueryDsl as _, RunQueryDsl as _, SqliteConnection,
    connection::SimpleConnection as _,
    result::{DatabaseErrorKind, Error as Db},
};
use domain::{
    AttemptNo,
    audit::chain::{Hash, Link, LinkEvent, delivery_seal},
    books,
    order::{Attempt, Fact},
};

use super::{kept::kept, marks, webhooks};
use crate::{
    AppendError, Appended, Entry, NotificationRow, OrderCommit, PayerRow, SwitchRow, TuningChange,
    schema as s,
};

type Outcome = Result<Appended, AppendError>;

diesel::define_sql_function! {
    /// The key of the row that was inserted last.
    fn last_insert_rowid() -> BigInt;
}

/// Commits a group; one outcome an entry.
pub(super) fn append(conn: &mut SqliteConnection, entries: &[Entry]) -> Vec<Outcome> {
    let together = transaction(conn, |c| entries.iter().map(|e| one(c, e)).collect());
    let mut apart = || transaction(conn, |c| entries.iter().map(|e| alone(c, e)).collect());
    together.or_else(|_: Db| apart()).unwrap_or_else(|error: Db| {
        let what = error.to_string();
        entries.iter().map(|_| Err(AppendError::Unavailable { what: what.clone() })).collect()
    })
}

/// Runs `work` in an immediate transaction. diesel's own keeps a count of open transactions, and SQLite ends one by
/// itself when the disk is full or fails: from then on every transaction would be refused, room or no room.
pub(super) fn transaction<T>(
    conn: &mut SqliteConnection,
    work: impl FnOnce(&mut SqliteConnection) -> Result<T, Db>,
) -> Result<T, Db> {
    conn.batch_execute("BEGIN IMMEDIATE")?;
    let done = work(conn).and_then(|done| conn.batch_execute("COMMIT").map(|()| done));
    if done.is_err() {
        abandon(conn);
    }
    done
}

/// Ends a transaction of which nothing shall stay, if there still is one.
pub(super) fn abandon(conn: &mut SqliteConnection) {
    let _ended_by_sqlite_already = conn.batch_execute("ROLLBACK");
}

/// One entry that may be refused by a rule of the tables without harm to the others. Any other error is the
/// database's state, and ends the group.
fn alone(conn: &mut SqliteConnection, entry: &Entry) -> Result<Outcome, Db> {
    conn.batch_execute("SAVEPOINT entry")?;
    let outcome = match one(conn, entry) {
        Ok(outcome) => outcome,
        Err(error) => match refused(&error) {
            invalid @ AppendError::Invalid { .. } => {
                conn.batch_execute("ROLLBACK TO entry")?;
                Err(invalid)
            }
            _ => return Err(error),
        },
    };
    conn.batch_execute("RELEASE entry")?;
    Ok(outcome)
}

/// A rule of the tables is our mistake; anything else is the database's state.
fn refused(error: &Db) -> AppendError {
    use DatabaseErrorKind as K;
    match error {
        Db::DatabaseError(
            K::UniqueViolation | K::ForeignKeyViolation | K::NotNullViolation | K::CheckViolation,
            info,
        ) => AppendError::Invalid { what: info.message().to_owned() },
        other => AppendError::Unavailable { what: other.to_string() },
    }
}

fn one(conn: &mut SqliteConnection, entry: &Entry) -> Result<Outcome, Db> {
    match entry {
        Entry::Order(commit) => order(conn, commit),
        Entry::Notification(row) => notification(conn, row),
        Entry::WebhookTry(tried) => webhooks::tried(conn, tried),
        Entry::WebhookResend(resend) => webhooks::resend(conn, resend),
        Entry::WebhooksOver(over) => webhooks::over(conn, over),
        Entry::Switch(row) => switch(conn, row),
        Entry::Tuning(changes) => tuning(conn, changes),
        Entry::Payer(row) => payer(conn, row),
        Entry::Probe => marks::set(conn, "probed", "").map(|()| Ok(Appended)),
    }
}

fn order(conn: &mut SqliteConnection, commit: &OrderCommit) -> Result<Outcome, Db> {
    let next = &commit.next;
    let id = next.id.to_string();
    if let Err(conflict) = order_row(conn, commit, &id)? {
        return Ok(Err(conflict));
    }
    let version = signed(next.version);
    let facts = serde_json::to_string(&commit.facts).map_err(|e| Db::SerializationError(e.into()))?;
    let previous = match commit.before_version {
        0 => None,
        before => match link_before(conn, &id, signed(before))? {
            Some(link) => Some(link),
            None => {
                // Nothing but the order's row was touched, and the caller rolls that back.
                let what = format!("the history of order {id} has no sound row {before}");
                return Err(Db::DatabaseError(DatabaseErrorKind::CheckViolation, Box::new(what)));
            }
        },
    };
    let mut link = Link::new(
        &id,
        previous.as_ref(),
        &LinkEvent {
            version,
            at: commit.at.micros(),
            event: &commit.cause.event,
            source: &commit.cause.source,
            reference: &commit.cause.reference,
            facts: &facts,
            body_hash: commit.body_hash.as_deref().filter(|_| version == 1).unwrap_or_default(),
        },
    );
    for no in touched_attempts(&commit.facts) {
        if let Some(attempt) = next.attempt(no) {
            attempt_row(conn, commit, attempt, &id)?;
        }
    }
    refund_rows(conn, commit, &id)?;
    for (line, posting) in (0_i64..).zip(books::postings(&commit.facts, next)) {
        link.book(line, &posting.account, posting.amount_fen);
        diesel::insert_into(s::books::table)
            .values((
                s::books::order_id.eq(&id),
                s::books::version.eq(version),
                s::books::line.eq(line),
                s::books::account.eq(posting.account),
                s::books::amount_fen.eq(posting.amount_fen),
            ))
            .execute(conn)?;
    }
    for out in &commit.outbox {
        let state = if out.url.is_some() { "due" } else { "none" };
        let next_at = out.url.as_ref().map(|_| commit.at.micros());
        diesel::insert_into(s::webhooks_out::table)
            .values((
                s::webhooks_out::id.eq(&out.id),
                s::webhooks_out::order_id.eq(&id),
                s::webhooks_out::kind.eq(&out.kind),
                s::webhooks_out::payload.eq(&out.payload),
                s::webhooks_out::url.eq(&out.url),
                s::webhooks_out::backend.eq(out.url.as_deref().map(domain::webhook::backend)),
                s::webhooks_out::created_at.eq(commit.at.micros()),
                s::webhooks_out::since.eq(commit.at.micros()),
                s::webhooks_out::state.eq(state),
                s::webhooks_out::tries.eq(0),
                s::webhooks_out::next_at.eq(next_at),
                s::webhooks_out::version.eq(version),
                s::webhooks_out::seal.eq(delivery_seal(&out.id, state, commit.at.micros(), 0, next_at)),
            ))
            .execute(conn)?;
        let seq: i64 = diesel::select(last_insert_rowid()).get_result(conn)?;
        link.webhook(seq, &out.id, &out.kind, &out.payload, out.url.as_deref());
    }
    // Last, since its link covers the books and the webhooks.
    diesel::insert_into(s::order_events::table)
        .values((
            s::order_events::order_id.eq(&id),
            s::order_events::version.eq(version),
            s::order_events::at.eq(commit.at.micros()),
            s::order_events::event.eq(&commit.cause.event),
            s::order_events::source.eq(&commit.cause.source),
            s::order_events::reference.eq(&commit.cause.reference),
            s::order_events::facts.eq(facts),
            s::order_events::hash.eq(link.finish().as_slice()),
        ))
        .execute(conn)?;
    Ok(Ok(Appended))
}

/// The link of the transition before; none if that row is missing or has none.
fn link_before(conn: &mut SqliteConnection, id: &str, version: i64) -> Result<Option<Hash>, Db> {
    use s::order_events::dsl as e;
    let stored: Option<Vec<u8>> =
        e::order_events.find((id, version)).select(e::hash).first(conn).optional()?;
    Ok(stored.and_then(|bytes| bytes.try_into().ok()))
}

/// The order's own row: the first statement of its entry, and the one that shows a conflict.
fn order_row(
    conn: &mut SqliteConnection,
    commit: &OrderCommit,
    id: &str,
) -> Result<Result<(), AppendError>, Db> {
    use s::orders::dsl as o;
    let next = &commit.next;
    let (version, settled) = (signed(next.version), i64::from(next.is_settled()));
    if commit.before_version == 0 {
        let request = &next.request;
        let inserted = diesel::insert_or_ignore_into(o::orders)
            .values((
                o::id.eq(id),
                o::merchant_id.eq(request.merchant_id.as_str()),
                o::order_no.eq(&request.order_no),
                o::body_hash.eq(commit.body_hash.as_deref().unwrap_or_default()),
                o::state.eq(next.state.as_str()),
                o::settled.eq(settled),
                o::version.eq(version),
                o::amount_fen.eq(request.amount.fen()),
                o::net_fen.eq(next.net_captured().fen()),
                o::payer_id.eq(&request.payer.id),
                o::failure.eq(None::<String>),
                o::created_at.eq(next.accepted_at.micros()),
                o::expires_at.eq(request.expires_at.micros()),
                o::parts.eq(i64::try_from(next.parts.len()).unwrap_or(i64::MAX)),
                o::part_of.eq(request.part_of.map(|of| of.order.to_string())),
            ))
            .execute(conn)?;
        if inserted == 1 {
            return Ok(Ok(()));
        }
        let existing = o::orders
            .filter(o::merchant_id.eq(request.merchant_id.as_str()))
            .filter(o::order_no.eq(&request.order_no))
            .select((o::id, o::body_hash))
            .first::<(String, String)>(conn)
            .optional()?;
        return Ok(Err(match existing.and_then(|(id, hash)| Some((id.parse().ok()?, hash))) {
            Some((existing, body_hash)) => AppendError::Duplicate { existing, body_hash },
            // "or ignore" also passes over a row that breaks a rule of the table.
            None => AppendError::Invalid { what: "the order's row breaks a rule of the table".to_owned() },
        }));
    }
    let changed = kept::<()>(
        "UPDATE orders SET state = ?, settled = ?, version = ?, net_fen = ?, failure = ? WHERE id = ? AND version = ?",
    )
    .bind(next.state.as_str())
    .bind(settled)
    .bind(version)
    .bind(next.net_captured().fen())
    .bind(next.failure.map(domain::order::Failure::as_str))
    .bind(id)
    .bind(signed(commit.before_version))
    .execute(conn)?;
    if changed == 1 {
        return Ok(Ok(()));
    }
    let present = o::orders.filter(o::id.eq(id)).select(o::version).first::<i64>(conn).optional()?;
    let present_version = u64::try_from(present.unwrap_or(0)).unwrap_or(0);
    Ok(Err(AppendError::Fenced { present_version }))
}

fn attempt_row(
    conn: &mut SqliteConnection,
    commit: &OrderCommit,
    attempt: &Attempt,
    id: &str,
) -> Result<(), Db> {
    use s::attempts::dsl as a;
    // A capture, or its correction, is the last thing that changes an attempt's row: its source is among these facts.
    let captured_by = commit.facts.iter().rev().find_map(|fact| match fact {
        Fact::Captured { no, source, .. } | Fact::Corrected { no, source, .. } if *no == attempt.no => {
            Some(source.as_str())
        }
        _ => None,
    });
    diesel::replace_into(a::attempts)
        .values((
            a::order_id.eq(id),
            a::no.eq(i64::from(attempt.no.get())),
            a::channel.eq(attempt.channel.as_str()),
            a::channel_order_no.eq(commit.next.id.channel_order_no(attempt.no).as_str()),
            a::state.eq(attempt.state_str()),
            a::exposed_at.eq(attempt.exposed_at.map(domain::Timestamp::micros)),
            a::capture_fen.eq(attempt.capture.as_ref().map(|c| c.amount.fen())),
            a::trade_no.eq(attempt.capture.as_ref().map(|c| c.trade_no.as_str())),
            a::captured_at.eq(attempt.capture.as_ref().map(|c| c.at.micros())),
            a::captured_by.eq(captured_by),
        ))
        .execute(conn)?;
    Ok(())
}

fn refund_rows(conn: &mut SqliteConnection, commit: &OrderCommit, id: &str) -> Result<(), Db> {
    use s::refunds::dsl as r;
    for fact in &commit.facts {
        let (Fact::RefundBooked { refund_no, .. }
        | Fact::RefundAccepted { refund_no }
        | Fact::RefundSucceeded { refund_no, .. }
        | Fact::RefundFailed { refund_no, .. }) = fact
        else {
            continue;
        };
        let Some(refund) = commit.next.refund(refund_no) else { continue };
        // Success is a refund's last fact, so its moment is among these or not there yet.
        let done_at = match fact {
            Fact::RefundSucceeded { at, .. } => Some(at.micros()),
            _ => None,
        };
        let cause = serde_json::to_value(refund.cause).map_err(|e| Db::SerializationError(e.into()))?;
        diesel::replace_into(r::refunds)
            .values((
                r::refund_no.eq(refund_no.as_str()),
                r::order_id.eq(id),
                r::attempt_no.eq(i64::from(refund.attempt.get())),
                r::amount_fen.eq(refund.amount.fen()),
                r::cause.eq(cause.as_str().unwrap_or_default()),
                r::state.eq(refund.state.as_str()),
                r::backend_no.eq(&refund.backend_no),
                r::channel_refund_id.eq(&refund.channel_refund_id),
                r::booked_at.eq(refund.booked_at.micros()),
                r::done_at.eq(done_at),
            ))
            .execute(conn)?;
    }
    Ok(())
}

/// The attempts that a list of facts changes, each once.
fn touched_attempts(facts: &[Fact]) -> Vec<AttemptNo> {
    let mut touched: Vec<AttemptNo> = facts
        .iter()
        .filter_map(|fact| match fact {
            Fact::AttemptPlanned { no, .. }
            | Fact::Exposed { no, .. }
            | Fact::CloseAsked { no, .. }
            | Fact::Certified { no, .. }
            | Fact::Captured { no, .. }
            | Fact::Corrected { no, .. } => Some(*no),
            Fact::Accepted { .. }
            | Fact::RefundPrebooked { .. }
            | Fact::Kept { .. }
            | Fact::Tidied { .. }
            | Fact::Disputed { .. }
            | Fact::MadeToWait { .. }
            | Fact::LateWanted
            | Fact::Elsewhere { .. }
            | Fact::Split { .. }
            | Fact::PartMoved { .. }
            | Fact::Recalled { .. }
            | Fact::SpreadBooked { .. }
            | Fact::ShareEnded { .. }
            | Fact::SpreadEnded { .. }
            | Fact::Wished { .. }
            | Fact::Consented { .. }
            | Fact::RefundBooked { .. }
            | Fact::RefundAccepted { .. }
            | Fact::RefundSucceeded { .. }
            | Fact::RefundFailed { .. }
            | Fact::StateChanged { .. } => None,
        })
        .collect();
    touched.sort_unstable();
    touched.dedup();
    touched
}

fn notification(conn: &mut SqliteConnection, row: &NotificationRow) -> Result<Outcome, Db> {
    use s::notifications_in::dsl as n;
    let headers = serde_json::to_string(&row.headers).map_err(|e| Db::SerializationError(e.into()))?;
    diesel::insert_into(n::notifications_in)
        .values((
            n::id.eq(&row.id),
            n::channel.eq(&row.channel),
            n::received_at.eq(row.received_at.micros()),
            n::remote.eq(&row.remote),
            n::target.eq(&row.target),
            n::headers.eq(headers),
            n::body.eq(&row.body),
            n::verdict.eq(&row.verdict),
            n::reason.eq(&row.reason),
            n::channel_order_no.eq(&row.channel_order_no),
            n::answer_status.eq(i64::from(row.answer_status)),
            n::answer_body.eq(&row.answer_body),
            n::took_us.eq(row.took_us),
        ))
        .execute(conn)?;
    Ok(Ok(Appended))
}

fn switch(conn: &mut SqliteConnection, row: &SwitchRow) -> Result<Outcome, Db> {
    use s::channel_switches::dsl as c;
    diesel::insert_into(c::channel_switches)
        .values((
            c::at.eq(row.at.micros()),
            c::channel.eq(&row.channel),
            c::from_state.eq(&row.from_state),
            c::to_state.eq(&row.to_state),
            c::from_channel.eq(&row.from_channel),
            c::to_channel.eq(&row.to_channel),
            c::reason.eq(&row.reason),
        ))
        .execute(conn)?;
    Ok(Ok(Appended))
}

fn tuning(conn: &mut SqliteConnection, changes: &[TuningChange]) -> Result<Outcome, Db> {
    use s::{tuning::dsl as t, tuning_audit::dsl as a};
    for change in changes {
        diesel::replace_into(t::tuning)
            .values((
                t::key.eq(&change.key),
                t::value.eq(&change.value),
                t::changed_at.eq(change.at.micros()),
                t::changed_by.eq(&change.by),
            ))
            .execute(conn)?;
        diesel::insert_into(a::tuning_audit)
            .values((
                a::key.eq(&change.key),
                a::value.eq(&change.value),
                a::changed_at.eq(change.at.micros()),
                a::changed_by.eq(&change.by),
            ))
            .execute(conn)?;
    }
    Ok(Ok(Appended))
}

fn payer(conn: &mut SqliteConnection, row: &PayerRow) -> Result<Outcome, Db> {
    use s::payers::dsl as p;
    let accounts = serde_json::to_string(&row.accounts).map_err(|e| Db::SerializationError(e.into()))?;
    diesel::replace_into(p::payers)
        .values((
            p::payer_id.eq(&row.payer_id),
            p::account_type.eq(&row.account_type),
            p::accounts.eq(accounts),
            p::last_channel.eq(row.last_channel.as_str()),
            p::last_paid_at.eq(row.last_paid_at.micros()),
        ))
        .execute(conn)?;
    Ok(Ok(Appended))
}

fn signed(version: u64) -> i64 {
    i64::try_from(version).unwrap_or(i64::MAX)
}
