//! Statements in SQL's own words that SQLite reads once and diesel keeps.
//!
//! diesel keeps no `sql_query` prepared, because its text could come from anywhere, and no `update`, because its columns
//! depend on values. Here the text is the program's own and there are few of them, so each connection keeps what it has
//! prepared. It is for what stands in the path of every order; what is asked once a day can stay with diesel's own.

use std::marker::PhantomData;

use diesel::{
    QueryResult, RunQueryDsl, SqliteConnection,
    query_builder::{AstPass, Query, QueryFragment, QueryId},
    sql_types::{BigInt, Nullable, Text},
    sqlite::Sqlite,
};

/// A value for a `?`.
#[derive(Debug)]
pub(super) enum Value<'a> {
    Text(&'a str),
    Integer(i64),
    MaybeText(Option<&'a str>),
    MaybeInteger(Option<i64>),
}

impl<'a> From<&'a str> for Value<'a> {
    fn from(text: &'a str) -> Value<'a> {
        Value::Text(text)
    }
}

impl From<i64> for Value<'_> {
    fn from(number: i64) -> Self {
        Value::Integer(number)
    }
}

impl<'a> From<Option<&'a str>> for Value<'a> {
    fn from(text: Option<&'a str>) -> Value<'a> {
        Value::MaybeText(text)
    }
}

impl From<Option<i64>> for Value<'_> {
    fn from(number: Option<i64>) -> Self {
        Value::MaybeInteger(number)
    }
}

/// A statement and its values; `Row` are the SQL types of what it returns, in their order.
#[derive(Debug)]
pub(super) struct Kept<'a, Row> {
    sql: &'static str,
    values: Vec<Value<'a>>,
    row: PhantomData<Row>,
}

/// A statement. Each `?` takes the next value of [`Kept::bind`]; it must stand for nothing else in the text.
pub(super) const fn kept<'a, Row>(sql: &'static str) -> Kept<'a, Row> {
    Kept { sql, values: Vec::new(), row: PhantomData }
}

impl<'a, Row> Kept<'a, Row> {
    /// The value of the next `?`.
    pub(super) fn bind(mut self, value: impl Into<Value<'a>>) -> Self {
        self.values.push(value.into());
        self
    }
}

impl<Row> QueryFragment<Sqlite> for Kept<'_, Row> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Sqlite>) -> QueryResult<()> {
        let mut pieces = self.sql.split('?');
        out.push_sql(pieces.next().unwrap_or_default());
        debug_assert_eq!(pieces.clone().count(), self.values.len(), "a value for each ?: {}", self.sql);
        for (piece, value) in pieces.zip(&self.values) {
            match value {
                Value::Text(text) => out.push_bind_param::<Text, _>(text)?,
                Value::Integer(number) => out.push_bind_param::<BigInt, _>(number)?,
                Value::MaybeText(text) => out.push_bind_param::<Nullable<Text>, _>(text)?,
                Value::MaybeInteger(number) => out.push_bind_param::<Nullable<BigInt>, _>(number)?,
            }
            out.push_sql(piece);
        }
        Ok(())
    }
}

impl<Row> QueryId for Kept<'_, Row> {
    type QueryId = ();
    /// Kept under its text: types do not tell one statement from another.
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl<Row> Query for Kept<'_, Row> {
    type SqlType = Row;
}

impl<Row> RunQueryDsl<SqliteConnection> for Kept<'_, Row> {}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use diesel::{
        Connection as _, RunQueryDsl as _,
        connection::{InstrumentationEvent, SimpleConnection as _},
    };

    use super::*;

    fn connection() -> (SqliteConnection, Arc<Mutex<Vec<String>>>) {
        let mut conn = SqliteConnection::establish(":memory:").unwrap();
        conn.batch_execute("CREATE TABLE t (name TEXT, fen BIGINT)").unwrap();
        let prepared = Arc::new(Mutex::new(Vec::new()));
        let seen = prepared.clone();
        conn.set_instrumentation(move |event: InstrumentationEvent<'_>| {
            if let InstrumentationEvent::CacheQuery { sql, .. } = event {
                seen.lock().unwrap().push(sql.to_owned());
            }
        });
        (conn, prepared)
    }

    #[test]
    fn a_statement_is_prepared_once_whatever_its_values_are() {
        let (mut conn, prepared) = connection();
        for (name, fen) in [("a", Some(1)), ("b", None), ("c", Some(3))] {
            let added = kept::<()>("INSERT INTO t (name, fen) VALUES (?, ?)").bind(name).bind(fen);
            assert_eq!(added.execute(&mut conn).unwrap(), 1);
        }
        let above = |conn: &mut SqliteConnection, fen: i64| -> Vec<(String, i64)> {
            let question =
                kept::<(Text, BigInt)>("SELECT name, fen FROM t WHERE fen > ? ORDER BY fen LIMIT 9");
            question.bind(fen).load(conn).unwrap()
        };
        assert_eq!(above(&mut conn, 0), [("a".to_owned(), 1), ("c".to_owned(), 3)]);
        assert_eq!(above(&mut conn, 1), [("c".to_owned(), 3)]);
        let prepared = prepared.lock().unwrap();
        assert_eq!(prepared.len(), 2, "{prepared:?}");
    }

    #[test]
    fn two_statements_of_one_type_are_not_taken_for_each_other() {
        let (mut conn, _) = connection();
        let one = kept::<BigInt>("SELECT 1 + ?").bind(1).get_result::<i64>(&mut conn).unwrap();
        let two = kept::<BigInt>("SELECT 10 + ?").bind(1).get_result::<i64>(&mut conn).unwrap();
        assert_eq!((one, two), (2, 11));
    }
}
