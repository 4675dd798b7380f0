//! Whatever is altered in a store behind its back, the audit finds it and names the order.

#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

mod campus;

use std::path::{Path, PathBuf};

use diesel::{
    Connection as _, QueryableByName, RunQueryDsl as _, SqliteConnection, connection::SimpleConnection as _,
    sql_query,
};
use domain::{
    Timestamp,
    audit::{
        AuditReport, Auditor, Violation,
        certificate::{Builder, Certificate, Comparison, Maker, Outcome},
        judge,
    },
};
use proptest::prelude::*;
use store::{AuditRange, SqliteOptions, SqliteStore, Store as _};

const ORDERS: u64 = 3 * campus::KINDS;
/// Every table that says something about money, with the columns that say it.
const CELLS: [(&str, &str); 62] = [
    ("orders", "id"),
    ("orders", "merchant_id"),
    ("orders", "order_no"),
    ("orders", "body_hash"),
    ("orders", "state"),
    ("orders", "settled"),
    ("orders", "version"),
    ("orders", "amount_fen"),
    ("orders", "net_fen"),
    ("orders", "payer_id"),
    ("orders", "failure"),
    ("orders", "created_at"),
    ("orders", "expires_at"),
    ("orders", "parts"),
    ("orders", "part_of"),
    ("attempts", "order_id"),
    ("attempts", "no"),
    ("attempts", "channel"),
    ("attempts", "channel_order_no"),
    ("attempts", "state"),
    ("attempts", "exposed_at"),
    ("attempts", "capture_fen"),
    ("attempts", "trade_no"),
    ("attempts", "captured_at"),
    ("attempts", "captured_by"),
    ("order_events", "order_id"),
    ("order_events", "version"),
    ("order_events", "at"),
    ("order_events", "event"),
    ("order_events", "source"),
    ("order_events", "reference"),
    ("order_events", "facts"),
    ("order_events", "hash"),
    ("refunds", "refund_no"),
    ("refunds", "order_id"),
    ("refunds", "attempt_no"),
    ("refunds", "amount_fen"),
    ("refunds", "cause"),
    ("refunds", "state"),
    ("refunds", "backend_no"),
    ("refunds", "channel_refund_id"),
    ("refunds", "booked_at"),
    ("refunds", "done_at"),
    ("books", "order_id"),
    ("books", "version"),
    ("books", "line"),
    ("books", "account"),
    ("books", "amount_fen"),
    ("webhooks_out", "seq"),
    ("webhooks_out", "order_id"),
    ("webhooks_out", "id"),
    ("webhooks_out", "kind"),
    ("webhooks_out", "payload"),
    ("webhooks_out", "url"),
    ("webhooks_out", "backend"),
    ("webhooks_out", "since"),
    ("webhooks_out", "created_at"),
    ("webhooks_out", "version"),
    ("webhooks_out", "seal"),
    ("webhooks_out", "state"),
    ("webhooks_out", "tries"),
    ("webhooks_out", "next_at"),
];
/// What else may happen to a row as a whole.
const ROWS: [&str; 6] = ["orders", "attempts", "order_events", "refunds", "books", "webhooks_out"];

async fn filled(path: &Path) {
    let store = SqliteStore::open(path, &SqliteOptions::default()).await.unwrap();
    for n in 0..ORDERS {
        for outcome in store.append(campus::life(n)).await {
            outcome.unwrap();
        }
    }
}

async fn audited(path: &Path) -> AuditReport {
    let store = SqliteStore::open_to_read(path, &SqliteOptions::default()).await.unwrap();
    let mut auditor = Auditor::new();
    let mut pages = store.audit_scan(AuditRange::default()).await.unwrap();
    while let Some(page) = pages.recv().await {
        match page {
            Ok(accounts) => accounts.iter().for_each(|account| auditor.order(account)),
            Err(bad) => auditor.violated(Violation::general("unreadable", format!("{bad:?}"))),
        }
    }
    auditor.finish()
}

/// A store that is made once; tests take copies.
struct Template {
    _dir: tempfile::TempDir,
    path: PathBuf,
}

impl Template {
    fn new() -> Template {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("whole.db");
        block_on(async {
            filled(&path).await;
            let report = audited(&path).await;
            assert!(report.clean, "{report:#?}");
            assert_eq!(report.orders, ORDERS);
        });
        // One file with everything in it.
        raw(&path).batch_execute("PRAGMA wal_checkpoint(TRUNCATE); PRAGMA journal_mode = DELETE;").unwrap();
        Template { _dir: dir, path }
    }
}

fn block_on<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
}

/// A connection that asks no questions: no foreign keys, no CHECKs.
fn raw(path: &Path) -> SqliteConnection {
    let mut conn = SqliteConnection::establish(&path.to_string_lossy()).unwrap();
    conn.batch_execute("PRAGMA foreign_keys = OFF; PRAGMA ignore_check_constraints = ON;").unwrap();
    conn
}

#[derive(QueryableByName)]
struct Text {
    #[diesel(sql_type = diesel::sql_types::Nullable<diesel::sql_types::Text>)]
    text: Option<String>,
}

fn ask(conn: &mut SqliteConnection, question: &str) -> Vec<Option<String>> {
    let rows: Vec<Text> = sql_query(question).load(conn).unwrap();
    rows.into_iter().map(|row| row.text).collect()
}

/// The row of a table at a place, by its key.
fn key(table: &str) -> &'static str {
    match table {
        "orders" => "id",
        "attempts" => "order_id || '/' || no",
        "order_events" => "order_id || '/' || version",
        "refunds" => "refund_no",
        "books" => "order_id || '/' || version || '/' || line",
        "webhooks_out" => "id",
        other => panic!("{other}"),
    }
}

/// Alters one cell by raw SQL; says which order it belonged to, or nothing if it could not be altered.
fn alter(path: &Path, cell: usize, place: usize, how: u8) -> Option<(String, String)> {
    let mut conn = raw(path);
    let (table, column) = CELLS[cell];
    let owner = if table == "orders" { "id" } else { "order_id" };
    let keys = ask(&mut conn, &format!("SELECT {} AS text FROM {table} ORDER BY 1", key(table)));
    let wanted = keys[place % keys.len()].clone().unwrap();
    let row = format!("FROM {table} WHERE {} = '{wanted}'", key(table));
    let order = ask(&mut conn, &format!("SELECT {owner} AS text {row}"))[0].clone().unwrap();
    let kind = ask(&mut conn, &format!("SELECT typeof({column}) AS text {row}"))[0].clone().unwrap();
    let old = ask(&mut conn, &format!("SELECT hex({column}) AS text {row}"))[0].clone().unwrap();
    let new = match kind.as_str() {
        "null" => match column {
            "failure" | "part_of" | "trade_no" | "captured_by" | "backend_no" | "channel_refund_id" => {
                "'x'".to_owned()
            }
            _ => "1".to_owned(),
        },
        "integer" => format!("{column} + ({})", [1, -1, 7, 1_000_003, -65_536][usize::from(how) % 5]),
        // One bit of one byte.
        kind => {
            let mut bytes: Vec<u8> =
                (0..old.len() / 2).map(|i| u8::from_str_radix(&old[2 * i..2 * i + 2], 16).unwrap()).collect();
            if bytes.is_empty() {
                bytes.push(b'x');
            } else {
                let at = (place / 7) % bytes.len();
                bytes[at] ^= 1 << (how % 8);
            }
            let hex: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
            let as_kind = if kind == "blob" { "BLOB" } else { "TEXT" };
            format!("CAST(x'{hex}' AS {as_kind})")
        }
    };
    let done = sql_query(format!("UPDATE {table} SET {column} = {new} WHERE {} = '{wanted}'", key(table)))
        .execute(&mut conn);
    // Another row may have the key already.
    done.ok()
        .filter(|changed| *changed == 1)
        .map(|_| (order, format!("{table}.{column} of {wanted}: {old} -> {new}")))
}

/// Deletes a row, or doubles it under another key.
fn remove_or_double(path: &Path, table: usize, place: usize, double: bool) -> Option<(String, String)> {
    let mut conn = raw(path);
    let table = ROWS[table];
    let owner = if table == "orders" { "id" } else { "order_id" };
    let keys = ask(&mut conn, &format!("SELECT {} AS text FROM {table} ORDER BY 1", key(table)));
    let wanted = keys[place % keys.len()].clone().unwrap();
    let order =
        ask(&mut conn, &format!("SELECT {owner} AS text FROM {table} WHERE {} = '{wanted}'", key(table)))[0]
            .clone()?;
    if !double {
        let gone =
            sql_query(format!("DELETE FROM {table} WHERE {} = '{wanted}'", key(table))).execute(&mut conn);
        assert_eq!(gone.unwrap(), 1);
        return Some((order, format!("{table} {wanted} deleted")));
    }
    let columns: Vec<String> =
        ask(&mut conn, &format!("SELECT name AS text FROM pragma_table_info('{table}')"))
            .into_iter()
            .flatten()
            .collect();
    let values: Vec<String> = columns
        .iter()
        .map(|column| match (table, column.as_str()) {
            ("attempts", "no") | ("books", "line") => format!("{column} + 40"),
            ("order_events", "version") => {
                format!("(SELECT max(version) + 1 FROM order_events WHERE order_id = '{order}')")
            }
            ("refunds", "refund_no") | ("webhooks_out", "id") | ("orders", "id" | "order_no") => {
                format!("substr({column}, 1, length({column}) - 1) || 'z'")
            }
            ("webhooks_out", "seq") => "NULL".to_owned(),
            (_, column) => column.to_owned(),
        })
        .collect();
    let sql = format!(
        "INSERT INTO {table} ({}) SELECT {} FROM {table} WHERE {} = '{wanted}'",
        columns.join(", "),
        values.join(", "),
        key(table)
    );
    let done = sql_query(sql).execute(&mut conn).ok()?;
    assert_eq!(done, 1);
    // An order's double is an order that nobody ever accepted.
    let order = if table == "orders" { format!("{}z", &order[..25]) } else { order };
    Some((order, format!("{table} {wanted} doubled")))
}

fn found(path: &Path, order: &str, what: &str) {
    let report = block_on(audited(path));
    assert!(!report.clean, "not found: {what}");
    let named = |v: &Violation| v.order.as_deref() == Some(order) || v.detail.contains(order);
    assert!(
        report.violations.iter().any(named),
        "{what}: order {order} is not named: {:#?}",
        report.violations
    );
}

thread_local! {
    static TEMPLATE: Template = Template::new();
}

fn copy(to: &Path) {
    TEMPLATE.with(|template| std::fs::copy(&template.path, to).unwrap());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn one_altered_cell_is_always_found_and_its_order_named(cell in 0..CELLS.len(), place: u16, how: u8) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("altered.db");
        copy(&path);
        if let Some((order, what)) = alter(&path, cell, usize::from(place), how) {
            found(&path, &order, &what);
        }
    }

    #[test]
    fn one_row_too_few_or_too_many_is_always_found_and_its_order_named(table in 0..ROWS.len(), place: u16, double: bool) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("altered.db");
        copy(&path);
        if let Some((order, what)) = remove_or_double(&path, table, usize::from(place), double) {
            found(&path, &order, &what);
        }
    }
}

/// Every row that says something about money, as text.
fn contents(path: &Path) -> Vec<Option<String>> {
    let mut conn = raw(path);
    let mut all = Vec::new();
    for table in ROWS {
        let cells: Vec<String> =
            CELLS.iter().filter(|(t, _)| *t == table).map(|(_, c)| format!("quote({c})")).collect();
        all.extend(ask(
            &mut conn,
            &format!("SELECT {} AS text FROM {table} ORDER BY 1", cells.join(" || ',' || ")),
        ));
    }
    all
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    /// By the opening, by SQLite's own check, by the audit; or it lies where nothing is written, and changes no row.
    #[test]
    fn one_altered_bit_of_the_file_is_found_or_changes_nothing(at: u32, bit in 0..8_u32) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("altered.db");
        copy(&path);
        let mut bytes = std::fs::read(&path).unwrap();
        let at = usize::try_from(at).unwrap() % bytes.len();
        bytes[at] ^= 1 << bit;
        std::fs::write(&path, bytes).unwrap();
        let seen = block_on(async {
            SqliteStore::check_file(&path).await.is_err()
                || SqliteStore::open_to_read(&path, &SqliteOptions::default()).await.is_err()
                || !audited(&path).await.clean
        });
        if !seen {
            let whole = TEMPLATE.with(|template| contents(&template.path));
            let altered: Vec<_> = contents(&path).into_iter().zip(whole).filter(|(is, was)| is != was).collect();
            prop_assert!(altered.is_empty(), "byte {at} was altered, rows with it, and nobody saw it: {altered:#?}");
        }
    }
}

/// A store from before there were links, or one whose backfill was killed in the middle.
#[test]
fn rows_from_before_get_their_links_at_the_next_opening_and_keep_those_they_have() {
    for some in ["1 = 1", "order_id < (SELECT id FROM orders ORDER BY id LIMIT 1 OFFSET 10)"] {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("older.db");
        copy(&path);
        let before = contents(&path);
        raw(&path)
            .batch_execute(&format!(
                "UPDATE order_events SET hash = x'' WHERE {some}; UPDATE webhooks_out SET version = 0, seal = 0 WHERE {some}; \
                 DELETE FROM store_marks WHERE key = 'chained';"
            ))
            .unwrap();
        assert_ne!(contents(&path), before);
        block_on(async { drop(SqliteStore::open(&path, &SqliteOptions::default()).await.unwrap()) });
        assert_eq!(contents(&path), before, "the same rows have the same links");
        assert!(block_on(audited(&path)).clean);
    }
}

fn certified(path: &Path) -> Certificate {
    block_on(async {
        let store = SqliteStore::open_to_read(path, &SqliteOptions::default()).await.unwrap();
        let (mut auditor, mut builder) = (Auditor::new(), Builder::default());
        let mut pages = store.audit_scan(AuditRange::default()).await.unwrap();
        while let Some(page) = pages.recv().await {
            for account in page.unwrap() {
                let judgement = judge(&account, None);
                builder.order(&account, &judgement);
                auditor.gather(&account, judgement);
            }
        }
        let (tool, made_at) = ("a test".to_owned(), Timestamp::from_secs(1_800_000_000));
        builder.finish(Maker { tool, store: String::new(), made_at, previous: None }, &auditor.finish())
    })
}

fn compared(path: &Path, certificate: &Certificate) -> Outcome {
    block_on(async {
        let store = SqliteStore::open_to_read(path, &SqliteOptions::default()).await.unwrap();
        let mut comparison = Comparison::new(certificate);
        let mut pages = store.audit_scan(AuditRange::default()).await.unwrap();
        while let Some(page) = pages.recv().await {
            page.unwrap().into_iter().for_each(|account| comparison.order(account));
        }
        comparison.finish()
    })
}

/// What no chain can show: a history written anew with all its links, cut off at its end, or gone.
#[test]
fn a_certificate_finds_what_was_rewritten_links_and_all() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("whole.db");
    copy(&path);
    let certificate = certified(&path);
    assert_eq!(certificate.contradictions(), [""; 0]);
    assert!(certificate.verdict.clean && certificate.totals.orders == ORDERS, "{:?}", certificate.totals);
    let outcome = compared(&path, &certificate);
    assert!(outcome.violations.is_empty() && outcome.as_certified == ORDERS, "{outcome:?}");

    let victim = campus::id(3 * campus::KINDS / 2);
    let anew = "DELETE FROM store_marks WHERE key = 'chained'; UPDATE order_events SET hash = x''";
    let gone = |table: &str| format!("DELETE FROM {table} WHERE order_id = '{victim}';");
    let cases = [
        (
            "certificate_order_altered",
            format!(
                "UPDATE order_events SET reference = 'another' WHERE order_id = '{victim}' AND version = 2; {anew} WHERE order_id = '{victim}'"
            ),
            true,
        ),
        (
            "certificate_order_missing",
            ["webhooks_out", "books", "refunds", "attempts", "order_events"].map(gone).concat()
                + &format!("DELETE FROM orders WHERE id = '{victim}'"),
            false,
        ),
    ];
    for (code, sql, names) in cases {
        copy(&path);
        raw(&path).batch_execute(&sql).unwrap();
        block_on(async { drop(SqliteStore::open(&path, &SqliteOptions::default()).await.unwrap()) });
        assert!(block_on(audited(&path)).clean, "{code}: the store alone shows nothing");
        let outcome = compared(&path, &certificate);
        assert_eq!(outcome.violations.len(), 1, "{code}: {outcome:#?}");
        assert_eq!(outcome.violations[0].code, code);
        assert!(!names || outcome.violations[0].order == Some(victim.to_string()));
    }
}

/// The cells above are all there are: a column that a later migration adds must be thought of.
#[test]
fn no_column_of_these_tables_is_forgotten() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("whole.db");
    copy(&path);
    let mut conn = raw(&path);
    for table in ROWS {
        for column in ask(&mut conn, &format!("SELECT name AS text FROM pragma_table_info('{table}')"))
            .into_iter()
            .flatten()
        {
            let known = CELLS.iter().any(|(t, c)| *t == table && *c == column);
            assert!(known, "{table}.{column} is new: the audit should cover it");
        }
    }
}
