//! Copies of a store: taken while it is written, with a manifest beside them, and brought back.
//!
//! A copy counts once it stands under its own name: it is written and checked under another, made durable, and
//! renamed last. `take` makes one, `examine` looks at one, `restore` puts one in a store's place,
//! and `caught_up` says what is missing until it knows what its channels know.

mod caught_up;
mod hold;
mod restore;
mod take;

use std::{
    ffi::OsString,
    fs::File,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use domain::Timestamp;
use serde::{Deserialize, Serialize};
use store::SqliteStore;

pub(crate) use caught_up::missing;
pub(crate) use hold::{Hold, hold};
pub(crate) use restore::{Restored, restore};
pub(crate) use take::take;

const FORMAT: &str = "rushpay-backup/1";
/// The mark of a store that was restored, until an operator says that all is caught up.
pub(crate) const RESTORED_MARK: &str = "restored";

/// What is known of a copy, kept beside it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Manifest {
    /// `rushpay-backup/1`.
    pub format: String,
    /// Which program made it.
    pub tool: String,
    /// The store's name.
    pub store: String,
    /// The copy is as the store was at a moment after this one.
    #[serde(with = "domain::time::rfc3339")]
    pub taken_at: Timestamp,
    /// The file's size.
    pub bytes: u64,
    /// The file's hash.
    pub sha256: String,
    /// Orders in it.
    pub orders: u64,
}

/// A path with something at its end.
fn with_end(path: &Path, end: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(end);
    name.into()
}

/// Where a copy's manifest is.
pub(crate) fn manifest_of(copy: &Path) -> PathBuf {
    with_end(copy, ".manifest.json")
}

/// Checks a copy against its manifest, then every page, row and index of it. Nothing is written.
///
/// # Errors
/// What is wrong with it: missing, altered, damaged, or of a newer version.
pub(crate) async fn examine(copy: &Path) -> anyhow::Result<Manifest> {
    let path = manifest_of(copy);
    let text = std::fs::read_to_string(&path)
        .with_context(|| format!("the copy's manifest {} cannot be read", path.display()))?;
    let manifest: Manifest =
        serde_json::from_str(&text).with_context(|| format!("{} is no manifest", path.display()))?;
    anyhow::ensure!(manifest.format == FORMAT, "{}: its format is not known to this version", path.display());
    let (bytes, sha256) = hashed(copy).await?;
    anyhow::ensure!(
        bytes == manifest.bytes && sha256 == manifest.sha256,
        "{} is not the file that was written: {bytes} bytes with SHA-256 {sha256}, its manifest says {} bytes with {}",
        copy.display(),
        manifest.bytes,
        manifest.sha256
    );
    SqliteStore::check_file(copy).await?;
    Ok(manifest)
}

/// A file's size and hash.
async fn hashed(path: &Path) -> anyhow::Result<(u64, String)> {
    let owned = path.to_owned();
    tokio::task::spawn_blocking(move || {
        let file = File::open(&owned)?;
        Ok::<_, std::io::Error>((file.metadata()?.len(), keys::sha256_hex_of(file)?))
    })
    .await?
    .with_context(|| format!("{} cannot be read", path.display()))
}

/// Makes a file's content durable.
fn sync(path: &Path) -> anyhow::Result<()> {
    File::open(path)
        .and_then(|file| file.sync_all())
        .with_context(|| format!("{} cannot be made durable", path.display()))
}

/// Gives a file another name, durably.
fn rename(from: &Path, to: &Path) -> anyhow::Result<()> {
    std::fs::rename(from, to)
        .with_context(|| format!("{} cannot be renamed to {}", from.display(), to.display()))?;
    match to.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => sync(folder),
        _ => sync(Path::new(".")),
    }
}
