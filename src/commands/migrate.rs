//! `rushpay migrate`: makes or updates the tables.

use anyhow::Context as _;
use store::{SqliteOptions, SqliteStore};

use super::say;
use crate::{
    backup::{Hold, hold},
    cli::Files,
    config,
};

pub(super) async fn run(args: Files) -> anyhow::Result<bool> {
    let config = config::load(&args.config)?;
    open(&config).await?;
    say(&format!("{}: the tables are up to date\n", config.store.path.display()))?;
    Ok(true)
}

fn folder(config: &config::Config) -> anyhow::Result<()> {
    let Some(folder) = config.store.path.parent().filter(|p| !p.as_os_str().is_empty()) else {
        return Ok(());
    };
    std::fs::create_dir_all(folder)
        .with_context(|| format!("store.path: cannot make the folder {}", folder.display()))
}

/// Opens the store, making folder and tables where they are missing.
pub(super) async fn open(config: &config::Config) -> anyhow::Result<SqliteStore> {
    folder(config)?;
    let path = &config.store.path;
    let options = SqliteOptions { readers: config.store.readers, ..SqliteOptions::default() };
    SqliteStore::open(path, &options)
        .await
        .with_context(|| format!("store.path: cannot open {}", path.display()))
}

/// Opens the store as the one process that serves it.
pub(super) async fn open_held(config: &config::Config) -> anyhow::Result<(SqliteStore, Hold)> {
    folder(config)?;
    let held = hold(&config.store.path)?;
    Ok((open(config).await?, held))
}

/// Opens a store that must be there already, to read it and nothing else.
pub(super) async fn open_to_read(config: &config::Config) -> anyhow::Result<SqliteStore> {
    let path = there(config)?;
    let options = SqliteOptions { readers: config.store.readers, ..SqliteOptions::default() };
    SqliteStore::open_to_read(path, &options)
        .await
        .with_context(|| format!("store.path: cannot open {}", path.display()))
}

fn there(config: &config::Config) -> anyhow::Result<&std::path::Path> {
    let path = &config.store.path;
    anyhow::ensure!(
        path.exists(),
        "store.path: there is no {}; give --config or run where it is",
        path.display()
    );
    Ok(path)
}

/// Opens a store that must be there already.
pub(super) async fn open_existing(config: &config::Config) -> anyhow::Result<SqliteStore> {
    there(config)?;
    open(config).await
}
