//! The audit: our store against itself and against the channels' own books.

use std::time::Duration;

use anyhow::Context as _;
use domain::{
    OrderId,
    audit::{AuditReport, Auditor, ChannelLine},
};
use serde::Deserialize;
use store::Store;

/// Orders are read in pages of this many.
const PAGE: usize = 500;
/// A running service moves between two reads; what contradicts for so many looks contradicts.
const LOOKS: u32 = 3;
const BETWEEN_LOOKS: Duration = Duration::from_secs(1);

/// Audits a store, and compares with the sandbox's books if its control address is given.
///
/// # Errors
/// The store or the books cannot be read: no verdict.
pub(crate) async fn audit(store: &dyn Store, sandbox: Option<&str>) -> anyhow::Result<AuditReport> {
    let mut report = look(store, sandbox).await?;
    for _ in 1..LOOKS {
        if report.clean {
            break;
        }
        tokio::time::sleep(BETWEEN_LOOKS).await;
        report = look(store, sandbox).await?;
    }
    Ok(report)
}

async fn look(store: &dyn Store, sandbox: Option<&str>) -> anyhow::Result<AuditReport> {
    let mut auditor = Auditor::new();
    let mut after = None;
    loop {
        let page = store.audit_orders(after, PAGE).await.context("reading the orders")?;
        let Some(last) = page.last() else { break };
        let id: OrderId =
            last.id.parse().with_context(|| format!("the store holds an order {:?}", last.id))?;
        after = Some(id);
        page.iter().for_each(|order| auditor.order(order));
    }
    if let Some(control) = sandbox {
        auditor.channels_were_read();
        for line in books(control).await? {
            auditor.channel_line(&line);
        }
    }
    Ok(auditor.finish())
}

/// The channels' own books, as the sandbox's control address has them.
///
/// # Errors
/// They cannot be read, or make no sense.
pub(crate) async fn books(control: &str) -> anyhow::Result<Vec<ChannelLine>> {
    #[derive(Deserialize)]
    struct Page {
        lines: Vec<ChannelLine>,
        next: u64,
    }
    let client = reqwest::Client::builder()
        .no_proxy()
        .tls_certs_only([])
        .timeout(Duration::from_secs(30))
        .build()
        .context("preparing the HTTP client")?;
    let mut all = Vec::new();
    let mut after = 0;
    loop {
        let url = format!("{}/_sandbox/books?after={after}", control.trim_end_matches('/'));
        let answer = client.get(&url).send().await.and_then(reqwest::Response::error_for_status);
        let page: Page = answer
            .with_context(|| format!("the sandbox's books cannot be read at {url}"))?
            .json()
            .await
            .with_context(|| format!("the sandbox's books make no sense at {url}"))?;
        if page.lines.is_empty() {
            return Ok(all);
        }
        after = page.next;
        all.extend(page.lines);
    }
}

/// The report for people.
#[must_use]
pub(crate) fn in_words(report: &AuditReport) -> String {
    use std::fmt::Write as _;

    const SHOWN: usize = 50;
    let states: Vec<String> = report.states.iter().map(|(state, n)| format!("{n} {state}")).collect();
    let mut text = format!(
        "{} orders ({}), {} attempts; captured {} fen, given back {} fen\n",
        report.orders,
        states.join(", "),
        report.attempts,
        report.captured_fen,
        report.refunded_fen
    );
    let _infallible = match report.channel_lines {
        Some(lines) => writeln!(text, "compared with {lines} lines of the channels' own books"),
        None => writeln!(text, "the channels' own books were not at hand (--sandbox URL)"),
    };
    if report.open > 0 {
        let _infallible = writeln!(text, "{} orders are still at work", report.open);
    }
    for violation in report.violations.iter().take(SHOWN) {
        let _infallible = writeln!(text, "VIOLATION {}: {}", violation.code, violation.detail);
    }
    if report.violations.len() > SHOWN {
        let _infallible = writeln!(text, "… and {} more", report.violations.len() - SHOWN);
    }
    let _infallible = if report.clean {
        writeln!(text, "audit clean: every fen is accounted for")
    } else {
        writeln!(text, "audit FAILED: {} violations", report.violations.len())
    };
    text
}
