//! Marks of the store as a whole: its name, what was done to it once, from which copy it was restored.

use std::collections::BTreeMap;

use diesel::{QueryDsl as _, QueryResult, RunQueryDsl as _, SqliteConnection, sql_query};

use crate::schema as s;

/// Every mark by its key.
pub(super) fn all(conn: &mut SqliteConnection) -> QueryResult<BTreeMap<String, String>> {
    use s::store_marks::dsl as m;
    let rows: Vec<(String, String)> = m::store_marks.select((m::key, m::value)).load(conn)?;
    Ok(rows.into_iter().collect())
}

/// Sets a mark; the store's own clock is the machine's.
pub(super) fn set(conn: &mut SqliteConnection, key: &str, value: &str) -> QueryResult<()> {
    sql_query(
        "INSERT INTO store_marks (key, value, at) VALUES (?, ?, CAST(strftime('%s', 'now') AS INTEGER) * 1000000) \
         ON CONFLICT (key) DO UPDATE SET value = excluded.value, at = excluded.at",
    )
    .bind::<diesel::sql_types::Text, _>(key)
    .bind::<diesel::sql_types::Text, _>(value)
    .execute(conn)
    .map(drop)
}
