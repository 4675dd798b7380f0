//! Opening the file: ours, sound, migrated; or one clear line that says what is wrong with it.

use std::path::Path;

use diesel::{
    Connection as _, QueryableByName, RunQueryDsl, SqliteConnection, connection::SimpleConnection, sql_query,
};
use diesel_async::{
    AsyncConnection as _,
    pooled_connection::{AsyncDieselConnectionManager, ManagerConfig, bb8::Pool},
    sync_connection_wrapper::SyncConnectionWrapper,
};
use diesel_migrations::{EmbeddedMigrations, MigrationHarness, embed_migrations};

use super::{SqliteOptions, SqliteStore};
use crate::Error;

const MIGRATIONS: EmbeddedMigrations = embed_migrations!("../migrations/sqlite");
/// Marks a file as Rushpay's ("Rush" in ASCII).
const APPLICATION_ID: i32 = 0x5275_7368;

const PRAGMAS: &str = "PRAGMA busy_timeout = 5000; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; \
     PRAGMA foreign_keys = ON; PRAGMA temp_store = MEMORY; PRAGMA cache_size = -16000; \
     PRAGMA wal_autocheckpoint = 4000;";

#[derive(QueryableByName)]
struct Word {
    #[diesel(sql_type = diesel::sql_types::Text)]
    quick_check: String,
}

#[derive(QueryableByName)]
struct Number {
    #[diesel(sql_type = diesel::sql_types::Integer)]
    application_id: i32,
}

#[derive(QueryableByName)]
struct Count {
    #[diesel(sql_type = diesel::sql_types::BigInt)]
    n: i64,
}

impl SqliteStore {
    /// Opens or creates the file and brings its tables up to date. Repeating is safe.
    ///
    /// # Errors
    /// [`Error::Open`] names the file and what is wrong: folder missing, no permission, not a database, not
    /// ours, damaged, written by a newer version. Nothing was changed then.
    pub async fn open(path: &Path, options: &SqliteOptions) -> Result<SqliteStore, Error> {
        let (owned, pages_max) = (path.to_owned(), options.pages_max);
        let writer = tokio::task::spawn_blocking(move || prepare(&owned, pages_max))
            .await
            .map_err(|e| Error::Open(format!("{}: opening it failed: {e}", path.display())))??;
        let mut config = ManagerConfig::default();
        config.custom_setup = Box::new(|url| {
            let url = url.to_owned();
            Box::pin(async move {
                let mut connection = SyncConnectionWrapper::<SqliteConnection>::establish(&url).await?;
                connection
                    .spawn_blocking(|c| {
                        c.batch_execute(
                            "PRAGMA busy_timeout = 5000; PRAGMA query_only = ON; PRAGMA cache_size = -4000;",
                        )
                    })
                    .await
                    .map_err(diesel::ConnectionError::CouldntSetupConfiguration)?;
                Ok(connection)
            })
        });
        let manager = AsyncDieselConnectionManager::new_with_config(path.to_string_lossy(), config);
        let readers = Pool::builder()
            .max_size(options.readers.max(1))
            .test_on_check_out(false)
            .build(manager)
            .await
            .map_err(|e| Error::Open(format!("{}: no reader could be opened: {e}", path.display())))?;
        Ok(SqliteStore { writer: std::sync::Mutex::new(writer), readers: Some(readers) })
    }

    /// A database in memory, gone with its last holder: the same tables, checks and queries as in a file.
    ///
    /// # Errors
    /// [`Error::Open`]: its tables could not be made.
    pub fn in_memory() -> Result<SqliteStore, Error> {
        let writer = prepare(Path::new(":memory:"), None)?;
        Ok(SqliteStore { writer: std::sync::Mutex::new(writer), readers: None })
    }
}

fn prepare(path: &Path, pages_max: Option<u32>) -> Result<SqliteConnection, Error> {
    let shown = path.display();
    let bad = |problem: String| Error::Open(format!("{shown}: {problem}"));
    if let Some(folder) = path.parent().filter(|p| !p.as_os_str().is_empty())
        && !folder.is_dir()
    {
        return Err(bad(format!(
            "its folder {} does not exist; create it or change store.path",
            folder.display()
        )));
    }
    let existed = std::fs::metadata(path).is_ok_and(|m| m.len() > 0);
    let mut conn = SqliteConnection::establish(&path.to_string_lossy()).map_err(|e| {
        bad(format!("cannot be opened: {e}; check the permissions of the file and its folder"))
    })?;
    if existed {
        let id = sql_query("PRAGMA application_id").get_result::<Number>(&mut conn).map_err(|e| {
            bad(format!("is not a database, or it is damaged: {e}; restore it from a backup"))
        })?;
        let tables = sql_query("SELECT count(*) AS n FROM sqlite_master")
            .get_result::<Count>(&mut conn)
            .map_err(|e| bad(format!("is damaged: {e}; restore it from a backup")))?;
        if id.application_id != APPLICATION_ID && tables.n > 0 {
            return Err(bad("is a database of another program; change store.path".to_owned()));
        }
        let check = sql_query("PRAGMA quick_check(1)")
            .get_result::<Word>(&mut conn)
            .map_err(|e| bad(format!("is damaged: {e}; restore it from a backup")))?;
        if check.quick_check != "ok" {
            return Err(bad(format!("is damaged: {}; restore it from a backup", check.quick_check)));
        }
    }
    let setup = |conn: &mut SqliteConnection| -> diesel::QueryResult<()> {
        conn.batch_execute(PRAGMAS)?;
        conn.batch_execute(&format!("PRAGMA application_id = {APPLICATION_ID};"))?;
        if let Some(pages) = pages_max {
            conn.batch_execute(&format!("PRAGMA max_page_count = {pages};"))?;
        }
        Ok(())
    };
    setup(&mut conn).map_err(|e| bad(format!("cannot be written: {e}")))?;
    let applied =
        conn.applied_migrations().map_err(|e| bad(format!("its migrations cannot be read: {e}")))?;
    let known = diesel::migration::MigrationSource::<diesel::sqlite::Sqlite>::migrations(&MIGRATIONS)
        .map_err(|e| bad(format!("its migrations cannot be read: {e}")))?;
    if applied.len() > known.len() {
        return Err(bad("was written by a newer version of Rushpay; use that version".to_owned()));
    }
    conn.run_pending_migrations(MIGRATIONS)
        .map_err(|e| bad(format!("its tables cannot be brought up to date: {e}")))?;
    Ok(conn)
}
