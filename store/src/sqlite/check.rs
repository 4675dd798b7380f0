//! Is the file sound? Asked over a connection that cannot write, before anything else touches the file.
//!
//! Even closing an ordinary connection writes: it copies the log into the database. So a file is looked at by its
//! bytes first, then over a connection opened for reading, and only a sound one is opened for writing. The only
//! trace is `-shm`, SQLite's index of the log, which holds no data.

use std::{collections::BTreeSet, fs::File, io::Read as _, path::Path};

use diesel::{
    Connection as _, QueryResult, QueryableByName, RunQueryDsl as _, SqliteConnection,
    connection::SimpleConnection as _, migration::MigrationSource, sql_query,
};
use diesel_migrations::MigrationHarness as _;

use super::open::{APPLICATION_ID, MIGRATIONS};
use crate::Error;

/// How much is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Depth {
    /// Whose file it is, and of which version.
    Header,
    /// Pages and rows: what must be sound before a start.
    Quick,
    /// Also every index against its table.
    Thorough,
}

/// What is said when a file is not sound.
const RESTORE: &str = "nothing was written to it; restore a backup (rushpay restore --from FILE --replace)";

#[derive(QueryableByName)]
struct Quick {
    #[diesel(sql_type = diesel::sql_types::Text)]
    quick_check: String,
}

#[derive(QueryableByName)]
struct Thorough {
    #[diesel(sql_type = diesel::sql_types::Text)]
    integrity_check: String,
}

#[derive(QueryableByName)]
struct Count {
    #[diesel(sql_type = diesel::sql_types::BigInt)]
    n: i64,
}

#[derive(QueryableByName)]
struct Version {
    #[diesel(sql_type = diesel::sql_types::Text)]
    version: String,
}

#[derive(QueryableByName)]
struct Object {
    #[diesel(sql_type = diesel::sql_types::Text)]
    name: String,
    #[diesel(sql_type = diesel::sql_types::Text)]
    text: String,
}

/// What SQLite finds wrong, at most a hundred lines; empty if the file is sound.
pub(super) fn run(conn: &mut SqliteConnection, depth: Depth) -> QueryResult<Vec<String>> {
    let found: Vec<String> = match depth {
        Depth::Header => Vec::new(),
        Depth::Quick => {
            let found: Vec<Quick> = sql_query("PRAGMA quick_check(100)").load(conn)?;
            found.into_iter().map(|line| line.quick_check).collect()
        }
        Depth::Thorough => {
            let found: Vec<Thorough> = sql_query("PRAGMA integrity_check(100)").load(conn)?;
            found.into_iter().map(|line| line.integrity_check).collect()
        }
    };
    Ok(found.into_iter().filter(|line| line != "ok").collect())
}

/// An address for SQLite under which a file is opened for reading alone.
pub(super) fn read_only_url(path: &Path) -> String {
    let mut url = String::from("file:");
    for byte in path.to_string_lossy().bytes() {
        match byte {
            b'/' | b'-' | b'_' | b'.' => url.push(char::from(byte)),
            byte if byte.is_ascii_alphanumeric() => url.push(char::from(byte)),
            byte => url.push_str(&format!("%{byte:02x}")),
        }
    }
    url + "?mode=ro"
}

/// Looks at a file that is there. `Ok(false)`: it is empty, so there is nothing to look at.
///
/// # Errors
/// [`Error::Unsound`]: not SQLite's, not ours, a newer version's, damaged. [`Error::Open`]: it cannot be read.
pub(super) fn sound(path: &Path, depth: Depth) -> Result<bool, Error> {
    let shown = path.display();
    let unsound = |problem: String| Error::Unsound(format!("{shown}: {problem}"));
    if !header(path)? {
        return Ok(false);
    }
    let damaged = |e: &dyn std::fmt::Display| unsound(format!("is damaged: {e}; {RESTORE}"));
    let mut conn = SqliteConnection::establish(&read_only_url(path)).map_err(|e| {
        Error::Open(format!(
            "{shown}: cannot be opened: {e}; check the permissions of the file and its folder"
        ))
    })?;
    conn.batch_execute("PRAGMA busy_timeout = 5000; PRAGMA cache_size = -16000;").map_err(|e| damaged(&e))?;
    let tables: Count = sql_query("SELECT count(*) AS n FROM sqlite_master")
        .get_result(&mut conn)
        .map_err(|e| damaged(&e))?;
    let id: Count = sql_query("SELECT CAST(application_id AS BIGINT) AS n FROM pragma_application_id")
        .get_result(&mut conn)
        .map_err(|e| damaged(&e))?;
    if id.n != i64::from(APPLICATION_ID) && tables.n > 0 {
        return Err(unsound("is a database of another program, or its first page is damaged; change store.path, or restore a backup (rushpay restore --from FILE --replace)".to_owned()));
    }
    let found = run(&mut conn, depth).map_err(|e| damaged(&e))?;
    if let Some(first) = found.first() {
        let more = if found.len() > 1 { format!(" (and {} more)", found.len() - 1) } else { String::new() };
        return Err(damaged(&format!("{first}{more}")));
    }
    if tables.n > 0 {
        match schema(&mut conn).map_err(|e| damaged(&e))? {
            Schema::Ours => {}
            Schema::Newer => {
                let problem = "was written by a newer version of Rushpay, and nothing was written to it";
                return Err(unsound(format!("{problem}; use that version")));
            }
            Schema::Other(what) => return Err(damaged(&format!("its schema was altered at {what}"))),
        }
    }
    Ok(true)
}

/// The first bytes: nothing of SQLite is asked about a file that is not its own.
fn header(path: &Path) -> Result<bool, Error> {
    let unreadable = |e| Error::Open(format!("{}: cannot be read: {e}", path.display()));
    let mut bytes = Vec::new();
    File::open(path).and_then(|file| file.take(100).read_to_end(&mut bytes)).map_err(unreadable)?;
    if bytes.is_empty() {
        return Ok(false);
    }
    if bytes.len() < 100 || !bytes.starts_with(b"SQLite format 3\0") {
        let problem = "is not a database, or its first page is damaged";
        return Err(Error::Unsound(format!(
            "{}: {problem}; change store.path, or: {RESTORE}",
            path.display()
        )));
    }
    Ok(true)
}

enum Schema {
    /// As the migrations that were applied left it.
    Ours,
    /// A migration was applied that this version does not know.
    Newer,
    /// Something is not as the migrations made it.
    Other(String),
}

/// Compares the schema with that of an empty database after the same migrations. A connection that only reads does not
/// look at CHECKs, so SQLite itself would find an altered one only at the first writing.
fn schema(conn: &mut SqliteConnection) -> Result<Schema, Box<dyn std::error::Error + Send + Sync>> {
    let begun = "SELECT count(*) AS n FROM sqlite_master WHERE name = '__diesel_schema_migrations'";
    let begun: Count = sql_query(begun).get_result(conn)?;
    if begun.n == 0 {
        return Ok(Schema::Ours); // an opening ended before its first migration
    }
    // In the order in which they were applied: columns stand in that order.
    let applied: Vec<Version> =
        sql_query("SELECT version FROM __diesel_schema_migrations ORDER BY run_on, version").load(conn)?;
    let known = MigrationSource::<diesel::sqlite::Sqlite>::migrations(&MIGRATIONS)?;
    let mut fresh = SqliteConnection::establish(":memory:")?;
    fresh.applied_migrations()?;
    for Version { version } in applied {
        match known.iter().find(|m| m.name().version().to_string() == version) {
            Some(migration) => drop(fresh.run_migration(migration)?),
            None => return Ok(Schema::Newer),
        }
    }
    let (wanted, found) = (objects(&mut fresh)?, objects(conn)?);
    let differs = wanted.symmetric_difference(&found).next();
    Ok(differs.map_or(Schema::Ours, |(name, _)| Schema::Other(name.clone())))
}

/// Tables and indexes by name, with their text without white space, which SQLite keeps as it likes.
fn objects(conn: &mut SqliteConnection) -> QueryResult<BTreeSet<(String, String)>> {
    let found: Vec<Object> =
        sql_query("SELECT type || ' ' || name AS name, coalesce(sql, '') AS text FROM sqlite_master")
            .load(conn)?;
    let bare = |text: String| text.chars().filter(|c| !c.is_whitespace()).collect();
    Ok(found.into_iter().map(|object| (object.name, bare(object.text))).collect())
}

/// True if every migration of this version was applied: what reading alone needs.
pub(super) fn current(path: &Path) -> Result<bool, Error> {
    let open = |e: &dyn std::fmt::Display| Error::Open(format!("{}: cannot be read: {e}", path.display()));
    let mut conn = SqliteConnection::establish(&read_only_url(path)).map_err(|e| open(&e))?;
    let pending = conn.has_pending_migration(MIGRATIONS).map_err(|e| open(&e))?;
    Ok(!pending)
}
