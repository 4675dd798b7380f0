//! What must be true, judged by what really happened and by nothing that the house thinks.
//!
//! Every commit is looked at when it becomes durable: its facts against the channels' books. Every day ends with the
//! audit against those books and with what only the world knows: who was told "accepted", whom a backend heard of, how
//! long the payer of a surplus waited for it to start back. A violation has a code and a sentence.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use domain::{
    OrderId, Timestamp,
    audit::{Auditor, ChannelLine},
    order::{Attempt, Certificate, Fact, NeverExposed, Order, OrderState, RefundCause},
};
use serde::Serialize;
use store::{AuditRange, Error, OrderCommit, SqliteStore, Store as _};

use crate::{
    bills::{is_beside, is_foreign},
    parts::Wholes,
    trades::{Books, Stands, Trade},
    world::World,
};

/// So many violations are kept; the first is the one that matters.
const KEPT: usize = 100;

/// What was true of no house that keeps its promises.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Violation {
    /// A stable word.
    pub code: String,
    /// The order, if it is about one.
    pub order: Option<OrderId>,
    /// When, by the simulated clock.
    pub at: String,
    /// A sentence with the numbers.
    pub detail: String,
}

/// The oracle's memory.
#[derive(Debug)]
pub(crate) struct Oracle {
    pub(crate) violations: Vec<Violation>,
    /// All of them, also those that were not kept.
    pub(crate) found: u64,
    /// Numbers whose credential some payer has seen.
    pub(crate) shown: BTreeSet<String>,
    /// Numbers that the house knows to have taken money, and how much.
    pub(crate) captured: BTreeMap<String, i64>,
    /// Refunds that the house knows to have gone back, and how much.
    pub(crate) given_back: BTreeMap<String, i64>,
    /// Surpluses whose refund has not started yet, by refund number: since when, and with an excuse or without.
    waiting: BTreeMap<String, (Timestamp, bool)>,
    /// How long those waited whose channel could be reached, under the delivered thresholds, in a process that lived.
    pub(crate) waited: Vec<Duration>,
    /// The same with an excuse: the channel was out of reach when the surplus was found, or the process died meanwhile.
    pub(crate) waited_excused: Vec<Duration>,
    /// Orders in parts, as they were cut, and whose each part is.
    pub(crate) wholes: Wholes,
    pub(crate) commits: u64,
    /// FNV-1a over everything that became durable.
    pub(crate) digest: u64,
}

impl Default for Oracle {
    fn default() -> Oracle {
        Oracle {
            violations: Vec::new(),
            found: 0,
            shown: BTreeSet::new(),
            captured: BTreeMap::new(),
            given_back: BTreeMap::new(),
            waiting: BTreeMap::new(),
            waited: Vec::new(),
            waited_excused: Vec::new(),
            wholes: Wholes::default(),
            commits: 0,
            digest: 0xcbf2_9ce4_8422_2325,
        }
    }
}

impl Oracle {
    fn absorb(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.digest = (self.digest ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }

    /// The first call for this refund leaves.
    pub(crate) fn refund_started(&mut self, refund_no: &str, now: Timestamp) {
        if let Some((booked, excused)) = self.waiting.remove(refund_no) {
            let waited = if excused { &mut self.waited_excused } else { &mut self.waited };
            waited.push(now.since(booked));
        }
    }

    /// The process died: whatever waits now has an excuse.
    pub(crate) fn died(&mut self) {
        self.waiting.values_mut().for_each(|(_, excused)| *excused = true);
    }

    /// True if some channel took exactly this much for the order.
    pub(crate) fn holds_exactly(&self, books: &Books, id: OrderId, fen: i64) -> bool {
        if let Some(parts) = self.wholes.parts(id) {
            let sum: i64 = parts.iter().map(|part| part.amount.fen()).sum();
            return sum == fen
                && parts.iter().all(|part| self.holds_exactly(books, part.id, part.amount.fen()));
        }
        let id = id.to_string();
        let of = books.trades.range(id.clone()..).take_while(|(number, _)| number.starts_with(&id));
        of.into_iter().any(|(_, e)| matches!(&e.trade, Trade::Paid(capture) if capture.amount.fen() == fen))
    }
}

impl World {
    /// Notes a violation.
    pub(crate) fn outrage(&mut self, code: &str, order: Option<OrderId>, detail: String) {
        self.oracle.found += 1;
        if self.oracle.violations.len() < KEPT {
            let at = self.now.to_string();
            self.oracle.violations.push(Violation { code: code.to_owned(), order, at, detail });
        }
    }

    /// A transition is durable.
    pub(crate) fn committed(&mut self, commit: &OrderCommit) {
        let order = &commit.next;
        self.oracle.commits += 1;
        self.oracle.absorb(&order.id.as_u128().to_be_bytes());
        self.oracle.absorb(&commit.at.micros().to_be_bytes());
        self.oracle.absorb(&order.version.to_be_bytes());
        match serde_json::to_vec(&commit.facts) {
            Ok(facts) => self.oracle.absorb(&facts),
            Err(error) => self.outrage("facts_unwritable", Some(order.id), error.to_string()),
        }
        self.part_committed(order, &commit.facts);
        for fact in &commit.facts {
            if let Some((code, detail)) = self.untrue(order, fact) {
                self.outrage(code, Some(order.id), detail);
            }
        }
        let live = |prebooked| {
            order.attempts.iter().filter(move |a| a.is_live() && a.refund_prebooked == prebooked).count()
        };
        if live(false) > 1 || live(true) > 1 {
            let detail = format!("order {} has several credentials that can be paid", order.id);
            self.outrage("two_exposed", Some(order.id), detail);
        }
        for (code, detail) in std::mem::take(&mut self.books.outrages) {
            self.outrage(code, Some(order.id), detail);
        }
    }

    /// What is wrong with a fact, seen from the channels.
    fn untrue(&mut self, order: &Order, fact: &Fact) -> Option<(&'static str, String)> {
        let now = self.now;
        let number = |no| order.id.channel_order_no(no).to_string();
        match fact {
            Fact::AttemptPlanned { channel, at, .. } if self.is_out(channel, *at) => Some((
                "begun_on_a_channel_that_is_out",
                format!("order {} begins on {channel}, which operators have taken out", order.id),
            )),
            Fact::Captured { no, capture, .. } => {
                let number = number(*no);
                let truth = self.books.capture(&number).cloned();
                self.oracle.captured.insert(number.clone(), capture.amount.fen());
                let same = truth
                    .as_ref()
                    .is_some_and(|t| t.amount == capture.amount && t.trade_no == capture.trade_no);
                (!same).then(|| {
                    (
                        "capture_untrue",
                        format!("{number} is said to have taken {}; in truth {truth:?}", capture.amount),
                    )
                })
            }
            Fact::Certified { no, certificate } => {
                let number = number(*no);
                let payable = self.books.payable(&number, now);
                match certificate {
                    Certificate::Closed | Certificate::Declined { .. } if payable => Some((
                        "ended_without_evidence",
                        format!("{number} is certified {} and can be paid", certificate.as_str()),
                    )),
                    // A close that found no trade leaves a closed one of nothing: that is no call that was sent.
                    Certificate::NeverExposed(NeverExposed::NotSent)
                        if self.books.trades.get(&number).is_some_and(|trade| !trade.amount.is_zero()) =>
                    {
                        Some((
                            "sent_after_all",
                            format!("{number} is certified as never sent, and its channel knows it"),
                        ))
                    }
                    Certificate::NeverExposed(_) if self.oracle.shown.contains(&number) => Some((
                        "shown_after_all",
                        format!("{number} is certified as never exposed, and a payer has seen it"),
                    )),
                    Certificate::Closed
                    | Certificate::Declined { .. }
                    | Certificate::NeverExposed(_)
                    | Certificate::Captured => None,
                }
            }
            Fact::RefundSucceeded { refund_no, .. } => {
                let fen = order.refund(refund_no).map_or(0, |refund| refund.amount.fen());
                self.oracle.given_back.insert(refund_no.to_string(), fen);
                None
            }
            Fact::RefundBooked { refund_no, no, cause, .. } if *cause != RefundCause::Asked => {
                let channel = self.books.trades.get(&number(*no)).and_then(|t| self.lines.get(t.channel));
                // A breaker that operators have made touchy may keep a refund waiting in the best of weather.
                let excused =
                    channel.is_none_or(|line| line.weather.is_out_of_reach()) || !self.as_delivered();
                self.oracle.waiting.insert(refund_no.to_string(), (now, excused));
                None
            }
            Fact::StateChanged { to: OrderState::Success, .. } if order.is_split() => {
                (!self.oracle.holds_exactly(&self.books, order.id, order.request.amount.fen())).then(|| {
                    (
                        "success_untrue",
                        format!(
                            "order {} of {} succeeds, and its parts did not take that",
                            order.id, order.request.amount
                        ),
                    )
                })
            }
            Fact::StateChanged { to: OrderState::Success, .. } => {
                let taken = order.kept.and_then(|no| self.books.capture(&number(no)).map(|c| c.amount));
                (taken != Some(order.request.amount)).then(|| {
                    (
                        "success_untrue",
                        format!(
                            "order {} of {} succeeds; the channel took {taken:?}",
                            order.id, order.request.amount
                        ),
                    )
                })
            }
            Fact::StateChanged { to: OrderState::Failed, .. } => {
                let payable = |a: &&Attempt| a.is_exposed() && self.books.payable(&number(a.no), now);
                order.attempts.iter().find(payable).map(|a| {
                    (
                        "failed_and_payable",
                        format!("order {} failed, and {} can still be paid", order.id, number(a.no)),
                    )
                })
            }
            _ => None,
        }
    }

    /// The channels' own books, line by line.
    fn channel_lines(&self) -> impl Iterator<Item = ChannelLine> + '_ {
        let name = |channel: usize| self.lines.get(channel).map(|l| l.id.to_string()).unwrap_or_default();
        // Money that was never ours is judged by itself.
        let ours = self.books.trades.iter().filter(|(number, _)| !is_foreign(number));
        let captures = ours.filter_map(move |(number, entry)| match &entry.trade {
            Trade::Paid(capture) => Some(ChannelLine {
                channel: name(entry.channel),
                channel_order_no: number.clone(),
                kind: "capture".to_owned(),
                amount_fen: self.taken_for_the_order(number, capture.amount.fen()),
                refund_no: None,
            }),
            Trade::Open | Trade::Closed | Trade::Declined(_) => None,
        });
        let given = |stands: Stands| matches!(stands, Stands::Done(_));
        let refunds = (self.books.refunds.iter())
            .filter(move |(no, r)| given(r.stands) && !is_foreign(&r.number) && !is_beside(no))
            .map(move |(no, r)| ChannelLine {
                channel: name(r.channel),
                channel_order_no: r.number.clone(),
                kind: "refund".to_owned(),
                amount_fen: r.amount.fen(),
                refund_no: Some(no.clone()),
            });
        captures.chain(refunds)
    }

    /// The evening's reckoning: every fen, every promise. Returns how many orders there are in each state.
    ///
    /// # Errors
    /// The store cannot be read.
    pub(crate) async fn evening(&mut self, store: &SqliteStore) -> Result<BTreeMap<String, u64>, Error> {
        let mut auditor = Auditor::with_channels();
        let (mut there, mut wholes) = (BTreeSet::new(), Vec::new());
        let mut pages = store.audit_scan(AuditRange::default()).await?;
        while let Some(page) = pages.recv().await {
            let page = match page {
                Ok(page) => page,
                Err(bad) => {
                    self.outrage("unreadable", None, bad.what);
                    continue;
                }
            };
            for account in &page {
                auditor.order(account);
                let Some(row) = &account.row else { continue };
                let id: Option<OrderId> = account.id.parse().ok();
                there.extend(id);
                if let Some(id) = id.filter(|_| row.parts > 0) {
                    wholes.push((id, row.state.clone()));
                }
                if row.settled == 0 {
                    let what = format!(
                        "order {} is {} and still owes something at the end of the day",
                        account.id, row.state
                    );
                    self.outrage("still_open", id, what);
                }
                let kind = match row.state.as_str() {
                    "success" => "order.succeeded",
                    _ => "order.failed",
                };
                let wants = account.webhooks.iter().any(|w| w.kind == kind && w.state != "none");
                if wants && !self.told.contains(&(account.id.clone(), kind.to_owned())) {
                    let what =
                        format!("order {} is {}, and its backend never heard of it", account.id, row.state);
                    self.outrage("never_told", id, what);
                }
            }
        }
        self.channel_lines().for_each(|line| auditor.channel_line(&line));
        self.money_beside_orders_went_back();
        for (code, detail) in std::mem::take(&mut self.books.outrages) {
            self.outrage(code, None, detail);
        }
        for (id, state) in wholes {
            self.whole_in_the_evening(id, &state);
        }
        let report = auditor.finish();
        for violation in report.violations {
            let order = violation.order.and_then(|id| id.parse().ok());
            self.outrage(&violation.code, order, violation.detail);
        }
        let lost: Vec<OrderId> =
            self.clients.iter().filter_map(|c| c.accepted).filter(|id| !there.contains(id)).collect();
        for id in lost {
            self.outrage(
                "accepted_and_lost",
                Some(id),
                format!("order {id} was accepted, and there is no trace of it"),
            );
        }
        for (refund_no, (booked, _)) in std::mem::take(&mut self.oracle.waiting) {
            let order = refund_no.get(..26).and_then(|id| id.parse().ok());
            let what = format!("refund {refund_no} of a surplus is owed since {booked} and was never sent");
            self.outrage("refund_forgotten", order, what);
        }
        let states: BTreeSet<&str> = report.states.keys().map(String::as_str).collect();
        self.oracle.absorb(format!("{states:?}{:?}", report.captured_fen - report.refunded_fen).as_bytes());
        Ok(report.states)
    }
}
