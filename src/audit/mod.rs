//! The audit: our store against itself and against the channels' own books.
//!
//! The store is read as one moment saw it, on one thread, and judged on another; SQLite looks at the file beside that.
//! Memory stays flat, unless the channels' books are compared.

mod certificate;
mod words;

use std::time::Duration;

use anyhow::Context as _;
use domain::{
    audit::{
        AuditReport, Auditor, ChannelLine, Explained, Explanation, Violation,
        certificate::{Builder, Certificate, Comparison, Maker, Outcome},
        judge,
    },
    reconciliation::{DifferenceKind, DifferenceState, Fix, Subject},
};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Deserialize;
use store::{AuditPage, AuditRange, Difference, DifferenceFilter, Store, Unreadable};
use tokio::sync::mpsc;

pub(crate) use certificate::{Signed, Trust, signer};
pub(crate) use words::{compared_in_words, in_words};

/// A running service moves on while the channels' books are read; what contradicts for so many looks contradicts.
const LOOKS: u32 = 3;
const BETWEEN_LOOKS: Duration = Duration::from_secs(1);
/// Differences that are read at most.
const DIFFERENCES: usize = 1_000_000;

/// Audits a store, and compares with the sandbox's books if its control address is given.
///
/// # Errors
/// The store or the books cannot be read: no verdict.
pub(crate) async fn audit(store: &dyn Store, sandbox: Option<&str>) -> anyhow::Result<AuditReport> {
    Ok(certified(store, sandbox, None).await?.0)
}

/// As [`audit`]; with a maker also the certificate of what was found.
///
/// # Errors
/// As [`audit`].
pub(crate) async fn certified(
    store: &dyn Store,
    sandbox: Option<&str>,
    maker: Option<Maker>,
) -> anyhow::Result<(AuditReport, Option<Certificate>)> {
    let looks = if sandbox.is_some() { LOOKS } else { 1 };
    let mut found = look(store, sandbox, maker.clone()).await?;
    for _ in 1..looks {
        if found.0.clean {
            break;
        }
        tokio::time::sleep(BETWEEN_LOOKS).await;
        found = look(store, sandbox, maker.clone()).await?;
    }
    Ok(found)
}

async fn look(
    store: &dyn Store,
    sandbox: Option<&str>,
    maker: Option<Maker>,
) -> anyhow::Result<(AuditReport, Option<Certificate>)> {
    let bar = progress(store).await?;
    let pages = store.audit_scan(AuditRange::default()).await.context("reading the orders")?;
    let auditor = if sandbox.is_some() { Auditor::with_channels() } else { Auditor::new() };
    let builder = maker.as_ref().map(|_| Builder::default());
    let gathered = tokio::task::spawn_blocking(move || gather(pages, auditor, builder, &bar));
    let (unsound, gathered) = tokio::join!(store.integrity(), gathered);
    let (mut auditor, builder) = gathered.context("judging the orders")?;
    for finding in unsound.context("checking the file")? {
        auditor.violated(Violation::general("file_damaged", finding));
    }
    if let Some(control) = sandbox {
        for explanation in explanations(store).await? {
            auditor.explain(explanation);
        }
        for line in books(control).await? {
            auditor.channel_line(&line);
        }
    }
    let report = auditor.finish();
    let certificate = builder.zip(maker).map(|(builder, maker)| builder.finish(maker, &report));
    Ok((report, certificate))
}

/// What operators did about money that no row of ours knows, as reconciliation has it on record.
async fn explanations(store: &dyn Store) -> anyhow::Result<Vec<Explanation>> {
    let ended = DifferenceFilter {
        states: vec![DifferenceState::Fixed, DifferenceState::WrittenOff],
        limit: DIFFERENCES,
        ..DifferenceFilter::default()
    };
    let ended = store.bills().differences_list(&ended).await.context("reading the differences")?;
    Ok(ended.into_iter().flat_map(explained).collect())
}

fn explained(difference: Difference) -> Vec<Explanation> {
    let Difference { found, channel, refund_no, .. } = difference;
    let entry = |number: &str, fen, how| Explanation {
        channel: channel.clone(),
        number: number.to_owned(),
        fen,
        how,
    };
    let mut all = Vec::new();
    if found.kind == DifferenceKind::Fee {
        return all; // about what the channel kept of a payment
    }
    match (difference.state, difference.chosen, found.subject, found.theirs_fen) {
        (DifferenceState::WrittenOff, _, Subject::Payment, Some(fen)) => {
            all.push(entry(&found.number, fen, Explained::PaymentWrittenOff));
        }
        (DifferenceState::WrittenOff, _, Subject::Refund, Some(fen)) => {
            all.push(entry(&found.number, fen, Explained::RefundWrittenOff));
        }
        (DifferenceState::Fixed, Some(Fix::Refund), subject, Some(theirs_fen)) => {
            // A payment is dealt with if all of it went back, and the channel must have the refund that did it.
            if subject == Subject::Payment && found.fix_fen == theirs_fen {
                all.push(entry(&found.number, theirs_fen, Explained::PaymentSentBack));
            }
            all.extend(refund_no.map(|no| entry(&no, found.fix_fen, Explained::RefundByFix)));
        }
        // A refund that the bill lacked was sent again under its own number, which our rows know.
        _ => {}
    }
    all
}

fn gather(
    mut pages: mpsc::Receiver<AuditPage>,
    mut auditor: Auditor,
    mut builder: Option<Builder>,
    bar: &ProgressBar,
) -> (Auditor, Option<Builder>) {
    while let Some(page) = pages.blocking_recv() {
        match page {
            Ok(accounts) => {
                for account in &accounts {
                    let judgement = judge(account, None);
                    if let Some(builder) = &mut builder {
                        builder.order(account, &judgement);
                    }
                    auditor.gather(account, judgement);
                }
                bar.inc(u64::try_from(accounts.len()).unwrap_or(0));
            }
            Err(bad) => auditor.violated(unreadable(bad)),
        }
    }
    bar.finish_and_clear();
    (auditor, builder)
}

/// Compares a store with a certificate of it.
///
/// # Errors
/// The store cannot be read, or is another one: no verdict.
pub(crate) async fn compare(store: &dyn Store, certificate: Certificate) -> anyhow::Result<Outcome> {
    let marks = store.marks().await.context("reading the store's name")?;
    let name = marks.get("store_id").map_or("", String::as_str);
    anyhow::ensure!(
        name == certificate.store,
        "the certificate is of the store {}, this one is {name}",
        certificate.store
    );
    let range = match &certificate.range {
        Some(range) => AuditRange { after: String::new(), upto: Some(range.last_order.clone()) },
        None => return Ok(Outcome::default()),
    };
    let bar = progress(store).await?;
    let mut pages = store.audit_scan(range).await.context("reading the orders")?;
    tokio::task::spawn_blocking(move || {
        let mut comparison = Comparison::new(&certificate);
        while let Some(page) = pages.blocking_recv() {
            match page {
                Ok(accounts) => {
                    bar.inc(u64::try_from(accounts.len()).unwrap_or(0));
                    accounts.into_iter().for_each(|account| comparison.order(account));
                }
                Err(bad) => comparison.violated(unreadable(bad)),
            }
        }
        bar.finish_and_clear();
        comparison.finish()
    })
    .await
    .context("comparing the orders")
}

fn unreadable(bad: Unreadable) -> Violation {
    match bad.order {
        Some(order) => {
            let detail = format!("order {order}: its rows cannot be read: {}", bad.what);
            Violation::of("unreadable", &order, detail)
        }
        None => Violation::general("unreadable", format!("the orders cannot be read on: {}", bad.what)),
    }
}

/// A bar over all orders; on a terminal alone.
async fn progress(store: &dyn Store) -> anyhow::Result<ProgressBar> {
    let counts = store.orders_count().await.context("counting the orders")?;
    let bar = ProgressBar::new(counts.iter().map(|(_, n)| n).sum());
    let style = "{bar:30} {human_pos} of {human_len} orders, {per_sec}, {eta} left";
    bar.set_style(ProgressStyle::with_template(style).unwrap_or_else(|_| ProgressStyle::default_bar()));
    Ok(bar)
}

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
