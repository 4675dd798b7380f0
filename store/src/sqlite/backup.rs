//! A consistent copy of a store while a service writes it, and looking at such a copy.
//!
//! `VACUUM INTO` reads one snapshot: the writer goes on in the log meanwhile, and only the log's copying back into
//! the database waits until the copy is done. The copy is one file without a log, packed, with nothing that was
//! deleted. SQLite's online backup would start over with every commit of another connection, which in a rush is for
//! ever, or copy all pages in one step under the writer's lock.

use std::path::Path;

use diesel::{Connection as _, RunQueryDsl as _, SqliteConnection, sql_query};

use super::{SqliteStore, check, marks};
use crate::Error;

impl SqliteStore {
    /// Writes a copy to a file that must not exist. The caller makes it durable and gives it its final name.
    ///
    /// # Errors
    /// [`Error::Query`]: the copy could not be written, and what there is of it is worthless.
    pub async fn copy_to(&self, path: &Path) -> Result<(), Error> {
        let target = path.to_string_lossy().into_owned();
        self.read("copy_to", move |c| {
            // A reader's `query_only` forbids the statement, though it writes elsewhere.
            sql_query("PRAGMA query_only = OFF").execute(c)?;
            let copied = sql_query("VACUUM INTO ?").bind::<diesel::sql_types::Text, _>(target).execute(c);
            sql_query("PRAGMA query_only = ON").execute(c)?;
            copied.map(drop)
        })
        .await
    }

    /// Sets a mark in a file that no service holds and that is one file, as copies are; it stays one file.
    ///
    /// # Errors
    /// [`Error::Open`]: it cannot be written.
    pub async fn mark_file(path: &Path, key: &str, value: &str) -> Result<(), Error> {
        let (owned, key, value) = (path.to_owned(), key.to_owned(), value.to_owned());
        let marked = tokio::task::spawn_blocking(move || {
            let mut conn = SqliteConnection::establish(&owned.to_string_lossy())?;
            marks::set(&mut conn, &key, &value)?;
            Ok::<_, Box<dyn std::error::Error + Send + Sync>>(())
        });
        let failed =
            |e: &dyn std::fmt::Display| Error::Open(format!("{}: cannot be marked: {e}", path.display()));
        marked.await.map_err(|e| failed(&e))?.map_err(|e| failed(&e))
    }

    /// Looks at every page, row and index of a file that no service writes: ours, not newer than this version, sound.
    ///
    /// # Errors
    /// As [`SqliteStore::open`]; nothing was changed.
    pub async fn check_file(path: &Path) -> Result<(), Error> {
        let owned = path.to_owned();
        let sound = tokio::task::spawn_blocking(move || check::sound(&owned, check::Depth::Thorough))
            .await
            .map_err(|e| Error::Open(format!("{}: checking it failed: {e}", path.display())))??;
        if sound { Ok(()) } else { Err(Error::Unsound(format!("{}: is empty", path.display()))) }
    }
}
