//! Fills a store with realistic orders through `Store::append`: `cargo run --release -p store --example fill -- 1000000 FILE`
//!
//! For measuring audits, backups and starts. The same number of orders gives the same rows.

#![allow(missing_docs, clippy::print_stdout, reason = "an example")]

#[path = "../tests/campus/mod.rs"]
mod campus;

use std::{path::PathBuf, time::Instant};

use store::{SqliteOptions, SqliteStore, Store as _};

/// Orders a commit: durable at every one, and not bound by the disk's flushes.
const GROUP: u64 = 500;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let usage = "usage: fill ORDERS FILE";
    let orders: u64 = args.next().ok_or(usage)?.parse()?;
    let path = PathBuf::from(args.next().ok_or(usage)?);
    let store = SqliteStore::open(&path, &SqliteOptions::default()).await?;
    let started = Instant::now();
    for from in (0..orders).step_by(usize::try_from(GROUP)?) {
        let entries = (from..orders.min(from + GROUP)).flat_map(campus::life).collect();
        for outcome in store.append(entries).await {
            outcome?;
        }
        if from % 50_000 == 0 {
            println!("{from} orders, {:.1} s", started.elapsed().as_secs_f64());
        }
    }
    let size = std::fs::metadata(&path)?.len() / (1024 * 1024);
    println!("{orders} orders in {:.1} s, {size} MiB", started.elapsed().as_secs_f64());
    Ok(())
}
