//! Putting a copy in a store's place.
//!
//! The copy is examined first, then written under another name, marked and made durable; only then the old store is
//! moved aside, log and all, and the copy takes its name. Killed in between, the old files are there under their new
//! names, and running the command again completes it.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use domain::Timestamp;
use serde::{Deserialize, Serialize};
use store::{SqliteStore, Store};

use super::{Manifest, RESTORED_MARK, examine, hold, rename, sync, with_end};

/// What the mark of a restored store says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Restored {
    /// When its copy was taken.
    #[serde(with = "domain::time::rfc3339")]
    pub taken_at: Timestamp,
    /// When it was restored. Orders accepted before may have gone on where this store does not know of it.
    #[serde(with = "domain::time::rfc3339")]
    pub restored_at: Timestamp,
}

impl Restored {
    /// The mark of a store that was restored and has not caught up yet.
    ///
    /// # Errors
    /// The store cannot be read, or the mark cannot.
    pub(crate) async fn of(store: &dyn Store) -> anyhow::Result<Option<Restored>> {
        let marks = store.marks().await.context("reading the store's marks")?;
        let mark = marks.get(RESTORED_MARK).filter(|text| !text.is_empty());
        mark.map(|text| serde_json::from_str(text).context("reading the mark of a restore")).transpose()
    }
}

/// Restores a copy. Gives its manifest, and where the old store is now, if there was one.
///
/// # Errors
/// The copy is not sound, a service holds the store, or one is there and `replace` is false: nothing was changed.
pub(crate) async fn restore(
    copy: &Path,
    store: &Path,
    replace: bool,
    now: Timestamp,
) -> anyhow::Result<(Manifest, Option<PathBuf>)> {
    let manifest = examine(copy).await?;
    if let Some(folder) = store.parent().filter(|p| !p.as_os_str().is_empty()) {
        std::fs::create_dir_all(folder)
            .with_context(|| format!("store.path: cannot make the folder {}", folder.display()))?;
    }
    let _held = hold(store)?;
    anyhow::ensure!(
        replace || !store.exists(),
        "store.path: {} is there; --replace moves it aside",
        store.display()
    );
    let part = with_end(store, ".restoring");
    std::fs::copy(copy, &part)
        .with_context(|| format!("cannot copy {} to {}", copy.display(), part.display()))?;
    let mark = Restored { taken_at: manifest.taken_at, restored_at: now };
    SqliteStore::mark_file(&part, RESTORED_MARK, &serde_json::to_string(&mark)?).await?;
    sync(&part)?;
    let aside = with_end(store, &format!(".replaced-{}", now.secs()));
    let mut moved = None;
    // The log first: a database without its log is older, a log with another database would be ruin.
    for end in ["-wal", "-shm", ""] {
        let (from, to) = (with_end(store, end), with_end(&aside, end));
        if from.exists() {
            rename(&from, &to)?;
            moved = Some(aside.clone());
        }
    }
    rename(&part, store)?;
    Ok((manifest, moved))
}
