//! The certificate of an audit: what was found, over which orders, pinned to the very rows.
//!
//! Orders stand in blocks of 256 by id. A block's digest covers each order's id, version and the link at the end of
//! its chain, so it covers every row of every order in it; beside it stand the versions, since orders move on, and
//! the first two bytes of each link, which name an altered order without holding all links. The holder of a
//! certificate finds out what a chain alone cannot show: a history that was rewritten from some row on, links and
//! all, or cut off at its end, or an order that vanished with everything it had.
//! Signing is the front door's work; this is the text and the comparison.

mod comparison;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

pub use comparison::{Comparison, Outcome};

use super::{AuditReport, Figures, Judgement, OrderAccount, chain::Hash};
use crate::Timestamp;

/// What a certificate calls itself; a reader refuses another.
pub const FORMAT: &str = "rushpay-audit-certificate/1";
/// Orders a block.
pub const BLOCK: usize = 256;

/// The result of an audit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Certificate {
    /// [`FORMAT`].
    pub format: String,
    /// Which program made it.
    pub tool: String,
    /// The store's name.
    pub store: String,
    /// When.
    #[serde(with = "crate::time::rfc3339")]
    pub made_at: Timestamp,
    /// The digest of the certificate before this one, if it was given: certificates hang together like links.
    pub previous: Option<String>,
    /// Which data; none in an empty store.
    pub range: Option<DataRange>,
    /// Counts and sums.
    pub totals: Totals,
    /// What the audit said.
    pub verdict: Verdict,
    /// Over all blocks' digests in their order.
    pub digest: String,
    /// The orders.
    pub blocks: Vec<Block>,
}

/// Which data an audit read: all orders from the first to the last.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataRange {
    /// By id.
    pub first_order: String,
    /// By id.
    pub last_order: String,
    /// The earliest transition's time.
    #[serde(with = "crate::time::rfc3339")]
    pub first_event_at: Timestamp,
    /// The latest transition's time.
    #[serde(with = "crate::time::rfc3339")]
    pub last_event_at: Timestamp,
}

/// What the audit said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Verdict {
    /// True if nothing contradicts.
    pub clean: bool,
    /// How much contradicts.
    pub violations: u64,
    /// Orders that still owed something.
    pub open: u64,
    /// Lines of the channels' books that were compared; none means they were not at hand.
    pub channel_lines: Option<u64>,
}

/// Counts and sums, by the histories.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Totals {
    /// Orders.
    pub orders: u64,
    /// Transitions.
    pub events: u64,
    /// Attempts.
    pub attempts: u64,
    /// Orders by state.
    pub states: BTreeMap<String, u64>,
    /// Ordered, in fen.
    pub ordered_fen: i64,
    /// Captured, in fen.
    pub captured_fen: i64,
    /// Given back for good, in fen.
    pub refunded_fen: i64,
    /// The same by channel.
    pub channels: BTreeMap<String, ChannelTotals>,
}

/// One channel's counts and sums.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChannelTotals {
    /// Captures.
    pub captures: u64,
    /// Their sum, in fen.
    pub captured_fen: i64,
    /// Refunds that succeeded.
    pub refunds: u64,
    /// Their sum, in fen.
    pub refunded_fen: i64,
}

impl Totals {
    /// Adds an order; one whose history cannot be folded counts as an order alone.
    fn add(&mut self, version: u64, figures: Option<&Figures>) {
        self.orders += 1;
        self.events = self.events.saturating_add(version);
        let Some(figures) = figures else { return };
        self.attempts += figures.attempts;
        *self.states.entry(figures.state.to_owned()).or_default() += 1;
        self.ordered_fen = self.ordered_fen.saturating_add(figures.amount_fen);
        for (channel, fen) in &figures.captures {
            let of = self.channels.entry(channel.to_string()).or_default();
            of.captures += 1;
            of.captured_fen = of.captured_fen.saturating_add(*fen);
            self.captured_fen = self.captured_fen.saturating_add(*fen);
        }
        for (channel, fen) in &figures.refunds {
            let of = self.channels.entry(channel.to_string()).or_default();
            of.refunds += 1;
            of.refunded_fen = of.refunded_fen.saturating_add(*fen);
            self.refunded_fen = self.refunded_fen.saturating_add(*fen);
        }
    }
}

/// Up to [`BLOCK`] orders.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Block {
    /// The first order's id.
    pub first: String,
    /// The last order's id.
    pub last: String,
    /// Over every order's id, version and last link.
    pub digest: String,
    /// Each order's version, by id.
    pub versions: Vec<u64>,
    /// The first two bytes of each order's last link, in hex, by id.
    pub marks: String,
}

/// A block's digest in the making.
struct BlockDigest(Sha256);

impl BlockDigest {
    fn new() -> BlockDigest {
        BlockDigest(Sha256::new_with_prefix(b"rushpay audit block 1\0"))
    }

    fn order(&mut self, id: &str, version: u64, head: &Hash) {
        self.0.update(id.as_bytes());
        self.0.update([0]);
        self.0.update(version.to_le_bytes());
        self.0.update(head);
    }

    fn finish(self) -> String {
        hex(&self.0.finalize())
    }
}

/// The digest over all blocks.
fn digest(blocks: &[Block]) -> String {
    let mut all = Sha256::new_with_prefix(b"rushpay audit 1\0");
    for block in blocks {
        all.update(block.digest.as_bytes());
    }
    hex(&all.finalize())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The bytes of a link that stand in a certificate to name its order.
fn mark(head: &Hash) -> String {
    hex(head.get(..2).unwrap_or_default())
}

/// Gathers orders by id into a certificate.
#[derive(Debug, Default)]
pub struct Builder {
    blocks: Vec<Block>,
    current: Vec<(String, u64, Hash)>,
    totals: Totals,
    times: Option<(i64, i64)>,
}

/// Who makes a certificate, and when.
#[derive(Debug, Clone)]
pub struct Maker {
    /// Program and version.
    pub tool: String,
    /// The store's name.
    pub store: String,
    /// Now.
    pub made_at: Timestamp,
    /// The digest of the certificate before.
    pub previous: Option<String>,
}

impl Builder {
    /// Adds the next order, judged at its last version. Rows that belong to no order are not certified.
    pub fn order(&mut self, account: &OrderAccount, judgement: &Judgement) {
        if account.row.is_none() {
            return;
        }
        let version = u64::try_from(judgement.heads.len()).unwrap_or(u64::MAX);
        let head = judgement.heads.last().copied().unwrap_or_default();
        self.totals.add(version, judgement.figures.as_ref());
        for event in &account.events {
            let (first, last) = self.times.unwrap_or((event.at, event.at));
            self.times = Some((first.min(event.at), last.max(event.at)));
        }
        self.current.push((account.id.clone(), version, head));
        if self.current.len() == BLOCK {
            self.close();
        }
    }

    fn close(&mut self) {
        let orders = std::mem::take(&mut self.current);
        let (Some(first), Some(last)) = (orders.first(), orders.last()) else { return };
        let mut digest = BlockDigest::new();
        for (id, version, head) in &orders {
            digest.order(id, *version, head);
        }
        self.blocks.push(Block {
            first: first.0.clone(),
            last: last.0.clone(),
            digest: digest.finish(),
            versions: orders.iter().map(|order| order.1).collect(),
            marks: orders.iter().map(|order| mark(&order.2)).collect(),
        });
    }

    /// The certificate of what `report` found.
    #[must_use]
    pub fn finish(mut self, maker: Maker, report: &AuditReport) -> Certificate {
        self.close();
        let ends = self.blocks.first().zip(self.blocks.last());
        let range = ends.map(|(first, last)| {
            let (first_at, last_at) = self.times.unwrap_or_default();
            DataRange {
                first_order: first.first.clone(),
                last_order: last.last.clone(),
                first_event_at: Timestamp::from_micros(first_at),
                last_event_at: Timestamp::from_micros(last_at),
            }
        });
        Certificate {
            format: FORMAT.to_owned(),
            tool: maker.tool,
            store: maker.store,
            made_at: maker.made_at,
            previous: maker.previous,
            range,
            totals: self.totals,
            verdict: Verdict {
                clean: report.clean,
                violations: report.violations_total(),
                open: report.open,
                channel_lines: report.channel_lines,
            },
            digest: digest(&self.blocks),
            blocks: self.blocks,
        }
    }
}

impl Certificate {
    /// What the certificate contradicts in itself; nothing if it is consistent. Needs no store.
    #[must_use]
    pub fn contradictions(&self) -> Vec<String> {
        let mut found = Vec::new();
        let mut check = |good: bool, what: &str| {
            if !good {
                found.push(what.to_owned());
            }
        };
        let totals = &self.totals;
        let sum =
            |of: fn(&ChannelTotals) -> i64| totals.channels.values().map(of).fold(0, i64::saturating_add);
        check(self.format == FORMAT, "its format is not known to this version");
        check(self.digest == digest(&self.blocks), "its digest is not that of its blocks");
        check(sum(|c| c.captured_fen) == totals.captured_fen, "its channels do not sum to what was captured");
        check(sum(|c| c.refunded_fen) == totals.refunded_fen, "its channels do not sum to what was refunded");
        let sizes: Vec<usize> = self.blocks.iter().map(|block| block.versions.len()).collect();
        let orders: usize = sizes.iter().sum();
        check(
            u64::try_from(orders).ok() == Some(totals.orders),
            "its blocks do not hold the orders it counts",
        );
        let full = sizes.iter().rev().skip(1).all(|size| *size == BLOCK);
        let sized = full && sizes.iter().all(|size| (1..=BLOCK).contains(size));
        check(sized, "its blocks are not of the size they should be");
        let marked = self.blocks.iter().all(|block| block.marks.len() == 4 * block.versions.len());
        check(marked, "its marks are not as many as its orders");
        let ends: Vec<&String> = self.blocks.iter().flat_map(|block| [&block.first, &block.last]).collect();
        let sorted = ends.windows(2).all(|pair| pair.first() <= pair.last());
        check(sorted, "its blocks are not in order");
        let versions: u64 =
            self.blocks.iter().flat_map(|block| &block.versions).fold(0, |a, b| a.saturating_add(*b));
        check(versions == totals.events, "its versions do not sum to the transitions it counts");
        let states: u64 = totals.states.values().sum();
        check(states <= totals.orders, "its states count more orders than there are");
        check(!self.verdict.clean || states == totals.orders, "its states do not count every order");
        check(self.verdict.clean == (self.verdict.violations == 0), "its verdict is not what it counts");
        let range = self.range.as_ref().map(|range| (&range.first_order, &range.last_order));
        let blocks =
            self.blocks.first().zip(self.blocks.last()).map(|(first, last)| (&first.first, &last.last));
        check(range == blocks, "its range is not that of its blocks");
        found
    }
}
