//! Measures what an audit of a store costs: `cargo run --release -p store --example audit -- FILE`
//!
//! Reading, judging and SQLite's own check run beside one another, as in `rushpay audit`; the last line has the time
//! and the most memory that the process ever had.

#![allow(missing_docs, clippy::print_stdout, reason = "an example")]

use std::{path::PathBuf, time::Instant};

use domain::audit::{Auditor, Violation, certificate::Builder, judge};
use store::{AuditRange, SqliteOptions, SqliteStore, Store as _};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = PathBuf::from(std::env::args().nth(1).ok_or("usage: audit FILE")?);
    let started = Instant::now();
    let store = SqliteStore::open_to_read(&path, &SqliteOptions::default()).await?;
    let mut pages = store.audit_scan(AuditRange::default()).await?;
    let judged = tokio::task::spawn_blocking(move || {
        let (mut auditor, mut builder) = (Auditor::new(), Builder::default());
        while let Some(page) = pages.blocking_recv() {
            match page {
                Ok(accounts) => {
                    for account in &accounts {
                        let judgement = judge(account, None);
                        builder.order(account, &judgement);
                        auditor.gather(account, judgement);
                    }
                }
                Err(bad) => auditor.violated(Violation::general("unreadable", bad.what)),
            }
        }
        auditor.finish()
    });
    let check = async {
        let found = store.integrity().await;
        (found, started.elapsed())
    };
    let ((unsound, checked), report) = tokio::join!(check, async { (judged.await, started.elapsed()) });
    let (report, judged) = (report.0?, report.1);
    println!("checked by SQLite in {:.1} s: {:?}", checked.as_secs_f64(), unsound?);
    println!("{} orders, {} transitions, clean: {}", report.orders, report.events, report.clean);
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find(|line| line.starts_with("VmHWM")).unwrap_or("VmHWM unknown");
    println!("judged in {:.1} s; {peak}", judged.as_secs_f64());
    Ok(())
}
