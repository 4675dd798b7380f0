//! Opening the file: ours, sound, migrated; or one clear line that says what is wrong with it.

use std::path::Path;

use diesel::{Connection as _, SqliteConnection, connection::SimpleConnection};
use diesel_async::{
    AsyncConnection as _,
    pooled_connection::{AsyncDieselConnectionManager, ManagerConfig, bb8::Pool},
    sync_connection_wrapper::SyncConnectionWrapper,
};
use diesel_migrations::{EmbeddedMigrations, MigrationHarness, embed_migrations};

use super::{Connection, SqliteOptions, SqliteStore, backfill, check, webhooks};
use crate::Error;

pub(super) const MIGRATIONS: EmbeddedMigrations = embed_migrations!("../migrations/sqlite");
/// Marks a file as Rushpay's ("Rush" in ASCII).
pub(super) const APPLICATION_ID: i32 = 0x5275_7368;

const PRAGMAS: &str = "PRAGMA busy_timeout = 5000; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; \
     PRAGMA foreign_keys = ON; PRAGMA temp_store = MEMORY; PRAGMA cache_size = -16000; \
     PRAGMA wal_autocheckpoint = 4000;";

impl SqliteStore {
    /// Opens or creates the file and brings its tables up to date. Repeating is safe.
    ///
    /// # Errors
    /// Each names the file and what is wrong. [`Error::Unsound`]: not a database, not ours, damaged, written by a
    /// newer version; not one byte was changed. [`Error::Open`]: folder missing, no permission.
    pub async fn open(path: &Path, options: &SqliteOptions) -> Result<SqliteStore, Error> {
        let (owned, pages_max) = (path.to_owned(), options.pages_max);
        let writer = on_a_thread(path, move || prepare(&owned, pages_max)).await?;
        let readers = readers(path, path.to_string_lossy().into_owned(), options).await?;
        Ok(SqliteStore { writer: std::sync::Mutex::new(Some(writer)), readers: Some(readers) })
    }

    /// A database in memory, gone with its last holder: the same tables, checks and queries as in a file.
    ///
    /// # Errors
    /// [`Error::Open`]: its tables could not be made.
    pub fn in_memory() -> Result<SqliteStore, Error> {
        let writer = prepare(Path::new(":memory:"), None)?;
        Ok(SqliteStore { writer: std::sync::Mutex::new(Some(writer)), readers: None })
    }

    /// Opens a file that is there to read it and nothing else, also while a service writes it.
    ///
    /// # Errors
    /// As [`open`](SqliteStore::open); also if its tables are older than this version.
    pub async fn open_to_read(path: &Path, options: &SqliteOptions) -> Result<SqliteStore, Error> {
        let owned = path.to_owned();
        on_a_thread(path, move || {
            if !check::sound(&owned, check::Depth::Header)? || !check::current(&owned)? {
                let problem = "has older tables than this version needs; run: rushpay migrate";
                return Err(Error::Open(format!("{}: {problem}", owned.display())));
            }
            Ok(())
        })
        .await?;
        let readers = readers(path, check::read_only_url(path), options).await?;
        Ok(SqliteStore { writer: std::sync::Mutex::new(None), readers: Some(readers) })
    }
}

async fn on_a_thread<T: Send + 'static>(
    path: &Path,
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|e| Error::Open(format!("{}: opening it failed: {e}", path.display())))?
}

async fn readers(path: &Path, url: String, options: &SqliteOptions) -> Result<Pool<Connection>, Error> {
    let mut config = ManagerConfig::default();
    config.custom_setup = Box::new(|url| Box::pin(reader(url.to_owned())));
    Pool::builder()
        .max_size(options.readers.max(1))
        .test_on_check_out(false)
        .build(AsyncDieselConnectionManager::new_with_config(url, config))
        .await
        .map_err(|e| Error::Open(format!("{}: no reader could be opened: {e}", path.display())))
}

/// A connection that reads and never writes.
async fn reader(url: String) -> diesel::ConnectionResult<SyncConnectionWrapper<SqliteConnection>> {
    let mut connection = SyncConnectionWrapper::<SqliteConnection>::establish(&url).await?;
    connection
        .spawn_blocking(|c| {
            c.batch_execute("PRAGMA busy_timeout = 5000; PRAGMA query_only = ON; PRAGMA cache_size = -4000;")
        })
        .await
        .map_err(diesel::ConnectionError::CouldntSetupConfiguration)?;
    Ok(connection)
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
    if path.exists() {
        check::sound(path, check::Depth::Quick)?;
    }
    let mut conn = SqliteConnection::establish(&path.to_string_lossy()).map_err(|e| {
        bad(format!("cannot be opened: {e}; check the permissions of the file and its folder"))
    })?;
    let setup = |conn: &mut SqliteConnection| -> diesel::QueryResult<()> {
        conn.batch_execute(PRAGMAS)?;
        conn.batch_execute(&format!("PRAGMA application_id = {APPLICATION_ID};"))?;
        if let Some(pages) = pages_max {
            conn.batch_execute(&format!("PRAGMA max_page_count = {pages};"))?;
        }
        Ok(())
    };
    setup(&mut conn).map_err(|e| bad(format!("cannot be written: {e}")))?;
    webhooks::register(&mut conn).map_err(|e| bad(format!("cannot be prepared: {e}")))?;
    conn.run_pending_migrations(MIGRATIONS)
        .map_err(|e| bad(format!("its tables cannot be brought up to date: {e}")))?;
    backfill::run(&mut conn).map_err(|e| bad(format!("older rows cannot get their hash chains: {e}")))?;
    Ok(conn)
}
