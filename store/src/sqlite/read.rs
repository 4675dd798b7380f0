//! Questions of readers.

pub(super) mod audit;

use diesel::{
    ExpressionMethods as _, OptionalExtension as _, QueryDsl as _, QueryResult, RunQueryDsl as _,
    SqliteConnection, TextExpressionMethods as _,
    dsl::{count_star, sql},
    sql_types::Bool,
};
use domain::{ChannelId, OrderId, Timestamp};

use crate::{
    Cause, Error, NotificationFilter, NotificationRow, OrderFilter, OrderLine, PayerRow, StoredEvent,
    SwitchRow, TuningRow, schema as s,
};

type EventRow = (i64, i64, String, String, String, String);
type LineRow = (String, String, String, String, i64, i64, Option<String>, i64);
pub(super) type CallRow =
    (String, String, i64, String, String, String, Vec<u8>, String, String, Option<String>, i64, String, i64);

pub(super) fn limit(n: usize) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

pub(super) fn order_id(text: &str) -> Result<OrderId, Error> {
    text.parse().map_err(|e| Error::corrupt("orders", format!("id {text:?}: {e}")))
}

pub(super) fn order_find(
    conn: &mut SqliteConnection,
    merchant: &str,
    number: &str,
) -> QueryResult<Option<(String, String)>> {
    use s::orders::dsl as o;
    o::orders
        .filter(o::merchant_id.eq(merchant))
        .filter(o::order_no.eq(number))
        .select((o::id, o::body_hash))
        .first(conn)
        .optional()
}

pub(super) fn orders_open(
    conn: &mut SqliteConnection,
    after: Option<OrderId>,
    n: usize,
) -> QueryResult<Vec<String>> {
    use s::orders::dsl as o;
    let after = after.map(|id| id.to_string()).unwrap_or_default();
    o::orders
        .filter(o::settled.eq(0))
        .filter(o::id.gt(after))
        .order(o::id)
        .limit(limit(n))
        .select(o::id)
        .load(conn)
}

pub(super) fn orders_list(conn: &mut SqliteConnection, filter: &OrderFilter) -> QueryResult<Vec<LineRow>> {
    use s::orders::dsl as o;
    let mut query = o::orders
        .select((
            o::id,
            o::merchant_id,
            o::order_no,
            o::state,
            o::amount_fen,
            o::net_fen,
            o::failure,
            o::created_at,
        ))
        .order(o::id.desc())
        .limit(limit(filter.limit))
        .into_boxed();
    if let Some(state) = &filter.state {
        query = query.filter(o::state.eq(state));
    }
    if filter.attention {
        // Also of an order that owes nothing else: WeChat's "abnormal" is money that a person must give back. A later refund
        // of as much makes it good.
        query = query.filter(sql::<Bool>(
            "(orders.state = 'suspicious' OR orders.id IN (SELECT f.order_id FROM refunds f WHERE f.state = 'failed' \
             AND NOT EXISTS (SELECT 1 FROM refunds g WHERE g.order_id = f.order_id AND g.state = 'succeeded' \
             AND g.booked_at > f.booked_at AND g.amount_fen >= f.amount_fen)))",
        ));
    }
    if let Some(before) = filter.before {
        query = query.filter(o::id.lt(before.to_string()));
    }
    query.load(conn)
}

pub(super) fn order_line(row: LineRow) -> Result<OrderLine, Error> {
    let (id, merchant_id, order_no, state, amount_fen, net_fen, failure, created_at) = row;
    let created_at = Timestamp::from_micros(created_at);
    Ok(OrderLine {
        id: order_id(&id)?,
        merchant_id,
        order_no,
        state,
        amount_fen,
        net_fen,
        failure,
        created_at,
    })
}

pub(super) fn orders_count(conn: &mut SqliteConnection) -> QueryResult<Vec<(String, i64)>> {
    use s::orders::dsl as o;
    o::orders.group_by(o::state).select((o::state, count_star())).load(conn)
}

pub(super) fn order_history(conn: &mut SqliteConnection, id: OrderId) -> QueryResult<Vec<EventRow>> {
    use s::order_events::dsl as e;
    e::order_events
        .filter(e::order_id.eq(id.to_string()))
        .order(e::version)
        .select((e::version, e::at, e::event, e::source, e::reference, e::facts))
        .load(conn)
}

pub(super) fn stored_event(row: EventRow) -> Result<StoredEvent, Error> {
    let (version, at, event, source, reference, facts) = row;
    Ok(StoredEvent {
        version: u64::try_from(version).map_err(|e| Error::corrupt("order_events", e))?,
        at: Timestamp::from_micros(at),
        cause: Cause { event, source, reference },
        facts: serde_json::from_str(&facts).map_err(|e| Error::corrupt("order_events", e))?,
    })
}

pub(super) fn notifications_list(
    conn: &mut SqliteConnection,
    filter: &NotificationFilter,
) -> QueryResult<Vec<CallRow>> {
    use s::notifications_in::dsl as n;
    let mut query = n::notifications_in.order(n::id.desc()).limit(limit(filter.limit)).into_boxed();
    if let Some(order) = filter.order {
        query = query.filter(n::channel_order_no.like(format!("{order}%")));
    }
    if let Some(channel) = &filter.channel {
        query = query.filter(n::channel.eq(channel));
    }
    if let Some(verdict) = &filter.verdict {
        query = query.filter(n::verdict.eq(verdict));
    }
    query.load(conn)
}

pub(super) fn notification_row(row: CallRow) -> Result<NotificationRow, Error> {
    let (
        id,
        channel,
        received_at,
        remote,
        target,
        headers,
        body,
        verdict,
        reason,
        number,
        status,
        answer,
        took_us,
    ) = row;
    Ok(NotificationRow {
        id,
        channel,
        received_at: Timestamp::from_micros(received_at),
        remote,
        target,
        headers: serde_json::from_str(&headers).map_err(|e| Error::corrupt("notifications_in", e))?,
        body,
        verdict,
        reason,
        channel_order_no: number,
        answer_status: i32::try_from(status).map_err(|e| Error::corrupt("notifications_in", e))?,
        answer_body: answer,
        took_us,
    })
}

/// A row of `payers`.
pub(super) type Payer = (String, String, String, String, i64);

pub(super) fn payer(conn: &mut SqliteConnection, wanted: &str) -> QueryResult<Option<Payer>> {
    use s::payers::dsl as p;
    p::payers.find(wanted).first(conn).optional()
}

pub(super) fn payers_recent(conn: &mut SqliteConnection, most: usize) -> QueryResult<Vec<Payer>> {
    use s::payers::dsl as p;
    p::payers.order(p::last_paid_at.desc()).limit(limit(most)).load(conn)
}

pub(super) fn payer_row(
    (payer_id, account_type, accounts, channel, paid_at): Payer,
) -> Result<PayerRow, Error> {
    Ok(PayerRow {
        payer_id,
        account_type,
        accounts: serde_json::from_str(&accounts).map_err(|e| Error::corrupt("payers", e))?,
        last_channel: ChannelId::new(&channel).map_err(|e| Error::corrupt("payers", e))?,
        last_paid_at: Timestamp::from_micros(paid_at),
    })
}

pub(super) fn tuning_all(conn: &mut SqliteConnection) -> QueryResult<Vec<TuningRow>> {
    use s::tuning::dsl as t;
    let rows: Vec<(String, String, i64, String)> = t::tuning.order(t::key).load(conn)?;
    Ok(rows
        .into_iter()
        .map(|(key, value, changed_at, changed_by)| TuningRow {
            key,
            value,
            changed_at: Timestamp::from_micros(changed_at),
            changed_by,
        })
        .collect())
}

pub(super) fn switches_list(conn: &mut SqliteConnection, n: usize) -> QueryResult<Vec<SwitchRow>> {
    use s::channel_switches::dsl as c;
    type Row = (i64, String, String, String, String, String, String);
    let rows: Vec<Row> = c::channel_switches
        .order(c::seq.desc())
        .limit(limit(n))
        .select((c::at, c::channel, c::from_state, c::to_state, c::from_channel, c::to_channel, c::reason))
        .load(conn)?;
    Ok(rows
        .into_iter()
        .map(|(at, channel, from_state, to_state, from_channel, to_channel, reason)| SwitchRow {
            at: Timestamp::from_micros(at),
            channel,
            from_state,
            to_state,
            from_channel,
            to_channel,
            reason,
        })
        .collect())
}

pub(super) fn ping(conn: &mut SqliteConnection) -> QueryResult<()> {
    use s::tuning::dsl as t;
    t::tuning.select(count_star()).first::<i64>(conn).map(|_| ())
}
