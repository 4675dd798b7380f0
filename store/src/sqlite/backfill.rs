//! Links and seals for rows that were written before there were any; once, in steps, safe to repeat.
//!
//! What is there is taken as it is: a link proves what happens to a row from now on. Each step is a commit of its
//! own, rows that have a link keep it, and a mark says when all is done, so that a process killed in the middle
//! goes on where it stopped and later openings do not look again.

use diesel::{ExpressionMethods as _, QueryDsl as _, QueryResult, RunQueryDsl as _, SqliteConnection};
use domain::audit::{OrderAccount, chain, link_of};
use tracing::info;

use super::{append, marks, read};
use crate::schema as s;

/// The mark that says that every row has its link.
const DONE: &str = "chained";
/// Orders a step.
const STEP: usize = 1_000;

/// Gives every row its link and seal, if that was not done before.
pub(super) fn run(conn: &mut SqliteConnection) -> QueryResult<()> {
    if marks::all(conn)?.contains_key(DONE) {
        return Ok(());
    }
    let total: i64 = s::orders::table.count().get_result(conn)?;
    let (mut after, mut done) = (String::new(), 0_usize);
    loop {
        let (orders, more) = append::transaction(conn, |c| step(c, &after))?;
        done += orders;
        if total > 0 {
            info!(orders.done = done, orders.total = total, "older histories get their hash chains");
        }
        match more {
            Some(last) => after = last,
            None => return marks::set(conn, DONE, "every event has its link"),
        }
    }
}

fn step(conn: &mut SqliteConnection, after: &str) -> QueryResult<(usize, Option<String>)> {
    let (page, more) = read::audit::page(conn, after, None, STEP)?;
    let orders = page.len();
    for mut account in page {
        seal(conn, &mut account)?;
        link(conn, &account)?;
    }
    Ok((orders, more))
}

fn seal(conn: &mut SqliteConnection, account: &mut OrderAccount) -> QueryResult<()> {
    use s::webhooks_out::dsl as w;
    for webhook in &mut account.webhooks {
        if webhook.version == 0 {
            // Facts and webhooks of one transition were written with one time.
            let event = account.events.iter().find(|event| event.at == webhook.created_at);
            webhook.version = event.or(account.events.first()).map_or(1, |event| event.version);
        }
        let (since, tries, next_at) = (webhook.since, webhook.tries, webhook.next_at);
        webhook.seal = chain::delivery_seal(&webhook.id, &webhook.state, since, tries, next_at);
        diesel::update(w::webhooks_out.find(webhook.seq))
            .set((w::version.eq(webhook.version), w::seal.eq(webhook.seal)))
            .execute(conn)?;
    }
    Ok(())
}

fn link(conn: &mut SqliteConnection, account: &OrderAccount) -> QueryResult<()> {
    use s::order_events::dsl as e;
    let mut previous = None;
    for event in &account.events {
        let stored: Option<chain::Hash> = event.hash.as_slice().try_into().ok();
        let link = stored.unwrap_or_else(|| link_of(account, previous.as_ref(), event));
        if stored.is_none() {
            diesel::update(e::order_events.find((&account.id, event.version)))
                .set(e::hash.eq(link.as_slice()))
                .execute(conn)?;
        }
        previous = Some(link);
    }
    Ok(())
}
