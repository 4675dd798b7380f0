//! A certificate against the store it was made of, later.
//!
//! Orders are compared at the version that was certified; what was appended since is no contradiction. Whatever is
//! not appended is named: the block, the order, and where the chain itself is broken the row.

use super::{Block, BlockDigest, Certificate, Totals, mark};
use crate::{
    Timestamp,
    audit::{OrderAccount, Violation, chain::Hash, judge},
};

/// Ids are made a moment before their order is durable; so long after a certificate an order may turn up within its
/// range and be new all the same.
const LATE_MICROS: i64 = 300_000_000;

/// Compares as orders are read, by id, within the certificate's range.
#[derive(Debug)]
pub struct Comparison<'c> {
    certificate: &'c Certificate,
    block: usize,
    waiting: Vec<OrderAccount>,
    totals: Totals,
    outcome: Outcome,
}

/// What was found.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// What contradicts.
    pub violations: Vec<Violation>,
    /// Orders that were found as certified, up to the certified version.
    pub as_certified: u64,
    /// Of these, orders that have moved on since.
    pub moved_on: u64,
    /// Orders within the range that were being accepted while the certificate was made.
    pub added: u64,
}

impl<'c> Comparison<'c> {
    /// A comparison that has read nothing.
    #[must_use]
    pub fn new(certificate: &'c Certificate) -> Comparison<'c> {
        Comparison {
            certificate,
            block: 0,
            waiting: Vec::new(),
            totals: Totals::default(),
            outcome: Outcome::default(),
        }
    }

    /// Reads the next order.
    pub fn order(&mut self, account: OrderAccount) {
        if account.row.is_none() {
            self.outcome.violations.extend(judge(&account, None).violations);
            return;
        }
        while self.certificate.blocks.get(self.block).is_some_and(|block| block.last < account.id) {
            self.close();
        }
        self.waiting.push(account);
    }

    /// Notes what cannot be read.
    pub fn violated(&mut self, violation: Violation) {
        self.outcome.violations.push(violation);
    }

    /// Judges what only shows at the end.
    #[must_use]
    pub fn finish(mut self) -> Outcome {
        while self.block < self.certificate.blocks.len() {
            self.close();
        }
        if self.outcome.violations.is_empty() && self.totals != self.certificate.totals {
            let detail = format!(
                "the histories at the certified versions come to {:?}, the certificate says {:?}",
                self.totals, self.certificate.totals
            );
            self.outcome.violations.push(Violation::general("certificate_totals_differ", detail));
        }
        self.outcome
    }

    /// Judges a block whose orders have all been read.
    fn close(&mut self) {
        let accounts = std::mem::take(&mut self.waiting);
        let Some(block) = self.certificate.blocks.get(self.block) else { return };
        let name = format!("block {} ({} to {})", self.block, block.first, block.last);
        self.block += 1;
        let before = self.outcome.violations.len();
        let mut digest = BlockDigest::new();
        for (certified, account) in align(block, &accounts) {
            match (certified, account) {
                (Some(place), Some(account)) => self.found(block, place, account, &name, &mut digest),
                (Some(place), None) => self.missing(block, place, &name),
                (None, Some(account)) => self.added(account, &name),
                (None, None) => {}
            }
        }
        if digest.finish() != block.digest && self.outcome.violations.len() == before {
            let detail = format!("{name}: its orders are not those that were certified");
            self.outcome.violations.push(Violation::general("certificate_block_differs", detail));
        }
    }

    fn found(
        &mut self,
        block: &Block,
        place: usize,
        account: &OrderAccount,
        name: &str,
        digest: &mut BlockDigest,
    ) {
        let id = &account.id;
        let version = block.versions.get(place).copied().unwrap_or_default();
        let present = u64::try_from(account.events.len()).unwrap_or(u64::MAX);
        let judgement = judge(account, Some(version));
        self.outcome.violations.extend(judgement.violations);
        self.totals.add(version, judgement.figures.as_ref());
        let head = head(account, version);
        digest.order(id, version, &head.unwrap_or_default());
        if head.is_some_and(|head| certified_mark(block, place) == Some(mark(&head).as_str())) || version == 0
        {
            self.outcome.as_certified += 1;
            self.outcome.moved_on += u64::from(present > version);
            return;
        }
        let (code, detail) = if present < version {
            let detail =
                format!("{name}: order {id} had {version} transitions when it was certified, now {present}");
            ("certificate_order_shortened", detail)
        } else {
            let detail = format!(
                "{name}: order {id} was rewritten: the link of its transition {version} is not the certified one, \
                 which begins with {}",
                certified_mark(block, place).unwrap_or_default()
            );
            ("certificate_order_altered", detail)
        };
        let place = format!("order_events, version {version}");
        self.outcome.violations.push(Violation::at(code, id, place, detail));
    }

    fn missing(&mut self, block: &Block, place: usize, name: &str) {
        let id = match place {
            0 => Some(&block.first),
            last if last + 1 == block.versions.len() => Some(&block.last),
            _ => None,
        };
        let which =
            id.map_or_else(|| format!("the order at place {} of it", place + 1), |id| format!("order {id}"));
        let detail = format!("{name}: {which} was certified, and is gone");
        let violation = Violation::general("certificate_order_missing", detail);
        self.outcome.violations.push(Violation { order: id.cloned(), ..violation });
    }

    fn added(&mut self, account: &OrderAccount, name: &str) {
        self.outcome.violations.extend(judge(account, None).violations);
        let created_at = account.row.as_ref().map_or(i64::MIN, |row| row.created_at);
        let made_at = self.certificate.made_at;
        if created_at >= made_at.micros().saturating_sub(LATE_MICROS) {
            self.outcome.added += 1;
            return;
        }
        let detail = format!(
            "{name}: order {} was not there when the certificate was made at {made_at}, and says it was accepted at {}",
            account.id,
            Timestamp::from_micros(created_at)
        );
        self.outcome.violations.push(Violation::of("certificate_order_added", &account.id, detail));
    }
}

/// The link at the end of a version.
fn head(account: &OrderAccount, version: u64) -> Option<Hash> {
    let index = usize::try_from(version.checked_sub(1)?).ok()?;
    account.events.get(index)?.hash.as_slice().try_into().ok()
}

fn certified_mark(block: &Block, place: usize) -> Option<&str> {
    block.marks.get(4 * place..4 * place + 4)
}

/// Which order stands for which certified one. As many as were certified are taken in their order; otherwise the
/// marks say where one is missing or too many.
fn align<'a>(block: &Block, accounts: &'a [OrderAccount]) -> Vec<(Option<usize>, Option<&'a OrderAccount>)> {
    let (n, m) = (block.versions.len(), accounts.len());
    let marked = |i: usize, j: usize| {
        let version = block.versions.get(i).copied().unwrap_or_default();
        let head = accounts.get(j).and_then(|account| head(account, version));
        head.is_some_and(|head| certified_mark(block, i) == Some(mark(&head).as_str()))
    };
    let (mut i, mut j, mut pairs) = (0, 0, Vec::new());
    while i < n || j < m {
        // With as many left on both sides, a stranger is an altered order, not another one.
        let even = n - i == m - j;
        if i < n && j < m && (even || marked(i, j)) {
            pairs.push((Some(i), accounts.get(j)));
            (i, j) = (i + 1, j + 1);
        } else if i < n && (j == m || n - i > m - j) {
            pairs.push((Some(i), None));
            i += 1;
        } else {
            pairs.push((None, accounts.get(j)));
            j += 1;
        }
    }
    pairs
}
