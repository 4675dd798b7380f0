//! Taking a copy.

use std::{path::Path, time::Duration};

use anyhow::Context as _;
use domain::Timestamp;
use indicatif::{ProgressBar, ProgressStyle};
use store::{SqliteOptions, SqliteStore, Store as _};

use super::{FORMAT, Manifest, hashed, manifest_of, rename, sync, with_end};

const PROGRESS: Duration = Duration::from_millis(200);

/// Copies a store, which may be in use, to a file that must not exist, and checks what was written.
///
/// # Errors
/// The file exists, cannot be written, or is not sound; then there is none.
pub(crate) async fn take(
    store: &SqliteStore,
    path: &Path,
    to: &Path,
    now: Timestamp,
) -> anyhow::Result<Manifest> {
    for file in [to, &manifest_of(to)] {
        anyhow::ensure!(!file.exists(), "{} is there already; a backup overwrites nothing", file.display());
    }
    let part = with_end(to, ".part");
    anyhow::ensure!(
        !part.exists(),
        "{} is there: another backup writes it, or one was killed; if none runs, remove it",
        part.display()
    );
    let done = into(store, path, to, &part, now).await;
    if done.is_err() {
        let _nothing_of_it_is_kept = std::fs::remove_file(&part);
    }
    done
}

async fn into(
    store: &SqliteStore,
    path: &Path,
    to: &Path,
    part: &Path,
    now: Timestamp,
) -> anyhow::Result<Manifest> {
    let size = |path: &Path| std::fs::metadata(path).map_or(0, |m| m.len());
    let bar = ProgressBar::new(size(path));
    let style = "{bar:30} {bytes} of about {total_bytes}";
    bar.set_style(ProgressStyle::with_template(style).unwrap_or_else(|_| ProgressStyle::default_bar()));
    let mut copied = std::pin::pin!(store.copy_to(part));
    loop {
        tokio::select! {
            done = &mut copied => break done.with_context(|| format!("the copy to {} failed", part.display()))?,
            () = tokio::time::sleep(PROGRESS) => bar.set_position(size(part)),
        }
    }
    bar.finish_and_clear();
    close_to_others(part)?;
    sync(part)?;
    SqliteStore::check_file(part).await.context("the copy is not sound")?;
    let copy =
        SqliteStore::open_to_read(part, &SqliteOptions { readers: 1, ..SqliteOptions::default() }).await?;
    let orders = copy.orders_count().await?.iter().map(|(_, n)| n).sum();
    let marks = copy.marks().await?;
    let (bytes, sha256) = hashed(part).await?;
    let manifest = Manifest {
        format: FORMAT.to_owned(),
        tool: format!("rushpay {}", env!("CARGO_PKG_VERSION")),
        store: marks.get("store_id").cloned().unwrap_or_default(),
        taken_at: now,
        bytes,
        sha256,
        orders,
    };
    let beside = manifest_of(part);
    std::fs::write(&beside, serde_json::to_string_pretty(&manifest)? + "\n")
        .with_context(|| format!("{} cannot be written", beside.display()))?;
    sync(&beside)?;
    // The copy's name comes last: whoever sees it finds its manifest.
    rename(&beside, &manifest_of(to))?;
    rename(part, to)?;
    Ok(manifest)
}

/// Payers' numbers are nobody else's business.
fn close_to_others(path: &Path) -> anyhow::Result<()> {
    #[cfg(unix)]
    {
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        std::fs::set_permissions(path, mode)
            .with_context(|| format!("cannot close {} to others", path.display()))?;
    }
    Ok(())
}
