//! `rushpay backup`: a consistent copy while the service runs, checked, with a manifest.

use std::path::Path;

use anyhow::Context as _;
use store::{SqliteOptions, SqliteStore};

use super::{migrate::open_to_read, now, say};
use crate::{audit, backup, cli::Backup, config};

pub(super) async fn run(args: Backup) -> anyhow::Result<bool> {
    if let Some(copy) = &args.check {
        let manifest = backup::examine(copy).await?;
        say(&format!(
            "{}: sound, {} orders, taken at {}\n",
            copy.display(),
            manifest.orders,
            manifest.taken_at
        ))?;
        return if args.verify { audited(copy).await } else { Ok(true) };
    }
    let to = args.to.as_deref().context("--to FILE or --check FILE is missing")?;
    let config = config::load(&args.files.config)?;
    let store = open_to_read(&config).await?;
    let manifest = backup::take(&store, &config.store.path, to, now()).await?;
    say(&format!(
        "{}: {} orders, {} bytes, SHA-256 {}, every page and index checked\n",
        to.display(),
        manifest.orders,
        manifest.bytes,
        manifest.sha256
    ))?;
    if args.verify { audited(to).await } else { Ok(true) }
}

async fn audited(copy: &Path) -> anyhow::Result<bool> {
    let store = SqliteStore::open_to_read(copy, &SqliteOptions::default()).await?;
    let report = audit::audit(&store, None).await?;
    say(&audit::in_words(&report))?;
    Ok(report.clean)
}
