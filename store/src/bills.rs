//! What the store keeps for reconciliation: runs, lines of bills, differences, acts of operators, gaps.
//!
//! A run is one day of one channel. It is worked on under a lease, and every step commits its breakpoint together with
//! what it did, so a crash costs a step; lines and differences of a run that is not done are invisible to readers.
//! Rows come in pages by number, so that a day of a million lines needs the memory of a page. Writing holds the calling
//! thread until the commit is on the disk, as [`append`](crate::Store::append) does: call it from a thread of its own.

use std::collections::HashSet;

use async_trait::async_trait;
use domain::{
    OrderId, Timestamp,
    reconciliation::{
        self, BillLine, DifferenceKind, DifferenceState, Fix, Ours, Subject, Theirs, fix::OVERDUE_AFTER,
    },
};

use crate::Error;

/// Where a run stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum RunState {
    /// The bill is wanted; it may not exist yet.
    #[default]
    Waiting,
    /// Its lines are being imported.
    Importing,
    /// Its lines are being matched.
    Matching,
    /// Both sides were compared whole.
    Done,
}

/// Which side is being walked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RunStep {
    /// From the bill to our rows.
    #[default]
    Theirs,
    /// From our captures to the bill.
    Payments,
    /// From our refunds to the bill.
    Refunds,
}

/// Where the message about a run's differences stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Told {
    /// There is nothing to say, or nobody to tell.
    #[default]
    None,
    /// It is to be sent.
    Due,
    /// It was taken.
    Delivered,
    /// It was given up.
    Dead,
}

macro_rules! words {
    ($name:ident { $($variant:ident = $word:literal),* }) => {
        impl $name {
            /// The word in the store and the API.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $($name::$variant => $word),* }
            }

            pub(crate) fn parse(word: &str) -> Option<$name> {
                match word { $($word => Some($name::$variant),)* _ => None }
            }
        }
    };
}

words!(RunState { Waiting = "waiting", Importing = "importing", Matching = "matching", Done = "done" });
words!(RunStep { Theirs = "theirs", Payments = "payments", Refunds = "refunds" });
words!(Told { None = "none", Due = "due", Delivered = "delivered", Dead = "dead" });

/// One day of one channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BillRun {
    /// Its number.
    pub id: i64,
    /// Whose bill.
    pub channel: String,
    /// The bill's day, `2026-11-24`.
    pub day: String,
    /// Where it stands.
    pub state: RunState,
    /// When it was first wanted.
    pub asked_at: Timestamp,
    /// By whom: an operator, `daily`, `command`.
    pub asked_by: String,
    /// Tries to fetch the bill.
    pub tries: u32,
    /// When to try again.
    pub next_at: Timestamp,
    /// What kept the last try from succeeding.
    pub problem: Option<String>,
    /// When the bill was fetched.
    pub fetched_at: Option<Timestamp>,
    /// SHA-256 of the file; empty for a day without a bill.
    pub file_hash: Option<String>,
    /// Its size.
    pub file_bytes: i64,
    /// Its lines.
    pub lines: i64,
    /// Taken, by its lines.
    pub paid_fen: i64,
    /// Given or taken back, by its lines.
    pub refunded_fen: i64,
    /// Fees, by its lines.
    pub fee_fen: i64,
    /// Lines of the file up to this one are imported.
    pub line_done: i64,
    /// Which side is walked.
    pub step: RunStep,
    /// Up to where.
    pub cursor: String,
    /// Numbers that were compared, both ways together.
    pub matched: i64,
    /// When it was done.
    pub ended_at: Option<Timestamp>,
    /// Who works on it; empty: nobody.
    pub owner: String,
    /// Until when nobody else may.
    pub lease_until: Timestamp,
    /// Where the message about it stands.
    pub told: Told,
    /// How often it was sent.
    pub told_tries: u32,
    /// When to send it next, or when it was sent last.
    pub told_at: Option<Timestamp>,
    /// Since when it is owed; later than the run's end if a difference opened late.
    pub told_since: Option<Timestamp>,
}

/// Which runs.
#[derive(Debug, Clone, Default)]
pub struct RunFilter {
    /// Only of this day.
    pub day: Option<String>,
    /// Only of this channel.
    pub channel: Option<String>,
    /// At most so many.
    pub limit: usize,
}

/// A page of something that is walked by number.
#[derive(Debug, Clone, Default)]
pub struct Page {
    /// After this cursor; empty: from the beginning.
    pub after: String,
    /// At most so many.
    pub limit: usize,
}

/// A difference with what became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// Its number.
    pub id: i64,
    /// The run that found it.
    pub run_id: i64,
    /// The run's channel.
    pub channel: String,
    /// The run's day.
    pub day: String,
    /// What was found.
    pub found: reconciliation::Difference,
    /// Where it stands.
    pub state: DifferenceState,
    /// The fix that was confirmed.
    pub chosen: Option<Fix>,
    /// Who confirmed.
    pub first_by: Option<String>,
    /// Who confirmed after that.
    pub second_by: Option<String>,
    /// The number of its refund that belongs to no order.
    pub refund_no: Option<String>,
    /// How it ended, or what the last try said.
    pub outcome: Option<String>,
    /// When it was found.
    pub found_at: Timestamp,
    /// When it last changed.
    pub changed_at: Timestamp,
}

impl Difference {
    /// True for a confirmed fix that has been under way for so long that people should look.
    #[must_use]
    pub fn is_overdue(&self, now: Timestamp) -> bool {
        self.state == DifferenceState::Fixing && now >= self.changed_at.plus(OVERDUE_AFTER)
    }
}

/// Which differences.
#[derive(Debug, Clone, Default)]
pub struct DifferenceFilter {
    /// In one of these states; empty: in any.
    pub states: Vec<DifferenceState>,
    /// Only of this day.
    pub day: Option<String>,
    /// Only of this channel.
    pub channel: Option<String>,
    /// Only of this kind.
    pub kind: Option<DifferenceKind>,
    /// Only with numbers above this one.
    pub after: i64,
    /// At most so many.
    pub limit: usize,
}

/// A step of a difference, and the act that it is.
#[derive(Debug, Clone)]
pub struct DifferenceStep {
    /// Where it must stand, or nothing happens.
    pub from: DifferenceState,
    /// Where it stands then.
    pub to: DifferenceState,
    /// The fix that is confirmed from now on.
    pub chosen: Option<Fix>,
    /// Who confirmed first, from now on.
    pub first_by: Option<String>,
    /// Who confirmed second, from now on.
    pub second_by: Option<String>,
    /// The number of its refund.
    pub refund_no: Option<String>,
    /// How it ended.
    pub outcome: Option<String>,
    /// When.
    pub at: Timestamp,
    /// By whom.
    pub by: String,
    /// The act's word.
    pub act: &'static str,
    /// The operator's reason, or the channel's word.
    pub note: String,
    /// The message about the run's differences is owed from now on, also if it was sent before.
    pub tells: bool,
}

/// What somebody did about a difference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Act {
    /// When.
    pub at: Timestamp,
    /// Who.
    pub by: String,
    /// The act's word.
    pub act: String,
    /// Why, or what came of it.
    pub note: String,
}

/// A capture that no notification told us of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gap {
    /// Its number at the channel.
    pub channel_order_no: String,
    /// The channel.
    pub channel: String,
    /// The order.
    pub order: OrderId,
    /// When it was captured.
    pub captured_at: Timestamp,
    /// How we knew.
    pub captured_by: String,
    /// When it was looked at.
    pub checked_at: Timestamp,
    /// `matched`, `differs`, `unanswered`; empty before it was looked at.
    pub verdict: String,
    /// The verdict in words.
    pub detail: String,
}

/// The part of the store that reconciliation uses.
#[async_trait]
pub trait Bills: Send + Sync {
    /// The run of a channel's day, made if there is none. Repeating is safe.
    async fn bill_run_want(
        &self,
        channel: &str,
        day: &str,
        by: &str,
        now: Timestamp,
    ) -> Result<BillRun, Error>;

    /// Runs, newest day first.
    async fn bill_runs_list(&self, filter: &RunFilter) -> Result<Vec<BillRun>, Error>;

    /// Runs that are not done, due at `now`, and nobody's at the moment; oldest day first.
    async fn bill_runs_due(&self, now: Timestamp, limit: usize) -> Result<Vec<BillRun>, Error>;

    /// Takes a run under a lease and returns it as it is then; `None` if it is somebody else's.
    async fn bill_run_claim(
        &self,
        id: i64,
        owner: &str,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<Option<BillRun>, Error>;

    /// Writes a run back. False, and nothing changed, if it is not its owner's any more, or if its message became owed
    /// anew meanwhile.
    async fn bill_run_save(&self, run: &BillRun) -> Result<bool, Error>;

    /// Imports lines and writes the run back with its new breakpoint, or neither. False as above.
    async fn bill_lines_add(&self, run: &BillRun, lines: &[BillLine]) -> Result<bool, Error>;

    /// Keeps differences (those flagged wait for the neighbouring bill) and writes the run back, or neither. One that
    /// is there already stays as it is. False as above.
    async fn differences_add(
        &self,
        run: &BillRun,
        found: &[(reconciliation::Difference, bool)],
        now: Timestamp,
    ) -> Result<bool, Error>;

    /// Drops at most `limit` lines of a run, and its differences with the last of them; says how many lines it dropped.
    async fn bill_lines_drop(&self, run: i64, limit: usize) -> Result<usize, Error>;

    /// The bill of a run by number: all lines of a number together.
    async fn bill_theirs(&self, run: i64, subject: Subject, page: &Page) -> Result<Vec<Theirs>, Error>;

    /// Which of these numbers stand on the bills of these runs.
    async fn bill_numbers_known(
        &self,
        runs: &[i64],
        subject: Subject,
        numbers: &[String],
    ) -> Result<HashSet<String>, Error>;

    /// What our rows say under these numbers, in any order; a number that is not ours is left out.
    async fn ours_by_number(&self, subject: Subject, numbers: &[String]) -> Result<Vec<Ours>, Error>;

    /// What our rows say of every attempt of these orders, by number.
    async fn ours_of_orders(&self, orders: &[OrderId]) -> Result<Vec<Ours>, Error>;

    /// What we hold or gave back at a channel between two moments (the second not included), and the cursor after the
    /// page; none with the last one.
    async fn ours_of_span(
        &self,
        subject: Subject,
        channel: &str,
        span: (Timestamp, Timestamp),
        page: &Page,
    ) -> Result<(Vec<Ours>, Option<String>), Error>;

    /// When a channel captured for the first time.
    async fn first_capture_at(&self) -> Result<Option<Timestamp>, Error>;

    /// Differences of runs that are done, by number.
    async fn differences_list(&self, filter: &DifferenceFilter) -> Result<Vec<Difference>, Error>;

    /// One of them.
    async fn difference(&self, id: i64) -> Result<Option<Difference>, Error>;

    /// How many differences count, by channel and kind.
    async fn differences_count(&self) -> Result<Vec<(String, DifferenceKind, u64)>, Error>;

    /// Moves a difference on and keeps the act, or neither. False if it does not stand where the step begins.
    async fn difference_step(&self, id: i64, step: &DifferenceStep) -> Result<bool, Error>;

    /// Who did what about a difference, oldest first.
    async fn difference_acts(&self, id: i64) -> Result<Vec<Act>, Error>;

    /// Captures between two moments that no notification told us of and that were not looked at yet.
    async fn gaps_new(&self, from: Timestamp, to: Timestamp, limit: usize) -> Result<Vec<Gap>, Error>;

    /// Keeps what was found out about a gap; a later word replaces an earlier one.
    async fn gap_put(&self, gap: &Gap) -> Result<(), Error>;

    /// Gaps, the latest capture first.
    async fn gaps_list(&self, limit: usize) -> Result<Vec<Gap>, Error>;

    /// How many gaps there are since a moment, by channel and verdict.
    async fn gaps_count(&self, since: Timestamp) -> Result<Vec<(String, String, u64)>, Error>;
}
