//! Reconciliation: a day of a channel from "wanted" to "matched", whoever asks for it.
//!
//! [`Reconciliation`] owns the work on one run at a time: fetch the bill (it may not exist yet), keep the file under
//! its hash, check it whole, import it, match it both ways. Each step commits its breakpoint with what it did and holds a
//! lease, so a crash costs a step and two workers never share a run. It needs a store and channels and no house: the
//! service's [`Reconciler`](crate::reconciler) and the command line use the same code. It moves no money.

mod day;
mod files;
mod import;
mod matching;

use std::{collections::BTreeMap, path::PathBuf, sync::Arc, time::Duration};

use channels::{BillError, BillRefused, Channel};
use domain::{ChannelId, Timestamp, reconciliation::Terms};
use jiff::civil::Date;
use store::{BillRun, RunState, Store, Told};
use tracing::{info, warn};

pub use day::{campus_day, campus_hour, parse_day};
pub use files::BillMemory;
pub use matching::EDGE;

use crate::{causes::causes, clock::Clock};
use files::Files;

/// Nobody else may work on a run for so long after a step; each step renews it.
const LEASE: Duration = Duration::from_secs(15);
/// Fetching is one step, and its call has no deadline of its own.
const FETCH_DEADLINE: Duration = Duration::from_secs(120);
/// A channel that says "no bill" this long after the day's end means "no trade".
const EMPTY_AFTER: Duration = Duration::from_secs(12 * 3_600);
/// Pauses between tries for a bill that is not there: they double up to the last.
const PAUSE_FIRST: Duration = Duration::from_secs(60);
const PAUSE_LAST: Duration = Duration::from_secs(3_600);

/// What reconciliation is made of.
#[derive(Clone)]
pub struct Reconciliation {
    store: Arc<dyn Store>,
    channels: BTreeMap<ChannelId, Arc<dyn Channel>>,
    clock: Arc<dyn Clock>,
    files: Files,
    terms: BTreeMap<ChannelId, Terms>,
    /// Whether anybody wants to be told of differences.
    tells: bool,
    before_the_end: bool,
    owner: String,
}

/// How it is set up.
#[derive(Debug, Clone, Default)]
pub struct ReconciliationOptions {
    /// Bills are kept here, each under its hash.
    pub folder: PathBuf,
    /// What was agreed with channels.
    pub terms: BTreeMap<ChannelId, Terms>,
    /// Who is told of differences, by webhook; none: nobody.
    pub operations_url: Option<String>,
    /// A bill may be taken before its day is over. For a sandbox, whose days end on command: of a real day the rest
    /// would never be compared.
    pub before_the_end: bool,
    /// Bills are kept here instead of in the folder, and read on the calling thread.
    pub memory: Option<BillMemory>,
    /// How often the house looks whether something is due; none: every second.
    pub look_every: Option<Duration>,
}

/// How far a run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// What is being done.
    pub phase: Phase,
    /// Lines or numbers that are done.
    pub done: u64,
    /// Of so many, as far as known.
    pub total: u64,
}

/// What is being done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// The bill is asked for.
    Fetching,
    /// The file is checked whole.
    Checking,
    /// Its lines are imported.
    Importing,
    /// Both sides are compared.
    Matching,
}

impl Phase {
    /// For people.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Phase::Fetching => "fetching",
            Phase::Checking => "checking",
            Phase::Importing => "importing",
            Phase::Matching => "matching",
        }
    }
}

/// Takes note of progress.
pub type OnProgress<'a> = &'a (dyn Fn(Progress) + Send + Sync);

/// How working on a run ended, for now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Worked {
    /// Both sides were compared.
    Done(BillRun),
    /// It was done before; nothing changed.
    Already(BillRun),
    /// The bill is not there yet, or could not be used; the run says why and when to try again.
    NotYet(BillRun),
}

/// Why a run was not worked on, or not to its end. What was committed before stays, and the next try goes on there.
#[derive(Debug, thiserror::Error)]
pub enum WorkError {
    /// No such channel is configured.
    #[error("channel {0} is not configured")]
    UnknownChannel(String),
    /// Another process works on it.
    #[error("another process works on the bill of {channel} for {day}; it is free at {until} at the latest")]
    Busy {
        /// Whose bill.
        channel: String,
        /// Which day's.
        day: String,
        /// When its lease ends.
        until: Timestamp,
    },
    /// The day was reconciled, or is being, with another file.
    #[error("{channel} {day} is {state} with another file (SHA-256 {hash}); nothing changed", state = .state.as_str())]
    OtherFile {
        /// Whose bill.
        channel: String,
        /// Which day's.
        day: String,
        /// Where the run stands.
        state: RunState,
        /// The file it has.
        hash: String,
    },
    /// The file is refused whole; nothing of it was imported.
    #[error("the bill is refused at {0}; nothing of it was imported")]
    Refused(#[source] BillRefused),
    /// A file cannot be read or written.
    #[error("{what}")]
    File {
        /// Which, and what was tried.
        what: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The store did not answer.
    #[error("the store did not answer")]
    Store(#[from] store::Error),
    /// The lease ran out in the middle and somebody else went on.
    #[error("another process took the run over")]
    LeaseLost,
}

impl Reconciliation {
    /// Prepares for work; nothing is read or written yet.
    #[must_use]
    pub fn new(
        store: Arc<dyn Store>,
        channels: &[Arc<dyn Channel>],
        clock: Arc<dyn Clock>,
        options: &ReconciliationOptions,
    ) -> Reconciliation {
        Reconciliation {
            store,
            channels: channels.iter().map(|c| (c.profile().id.clone(), c.clone())).collect(),
            clock,
            files: Files::new(options.folder.clone(), options.memory.clone()),
            terms: options.terms.clone(),
            tells: options.operations_url.is_some(),
            before_the_end: options.before_the_end,
            owner: uuid::Uuid::new_v4().to_string(),
        }
    }

    /// The configured channels.
    pub fn channels(&self) -> impl Iterator<Item = &ChannelId> {
        self.channels.keys()
    }

    pub(crate) fn channel(&self, name: &str) -> Result<&Arc<dyn Channel>, WorkError> {
        let found = self.channels.iter().find(|(id, _)| id.as_str() == name);
        found.map(|(_, channel)| channel).ok_or_else(|| WorkError::UnknownChannel(name.to_owned()))
    }

    /// The run of a channel's day, made if there is none. Repeating is safe.
    ///
    /// # Errors
    /// [`WorkError::UnknownChannel`], [`WorkError::Store`].
    pub async fn want(&self, channel: &str, day: Date, by: &str) -> Result<BillRun, WorkError> {
        self.channel(channel)?;
        Ok(self.store.bills().bill_run_want(channel, &day.to_string(), by, self.clock.now()).await?)
    }

    /// Lets the next try for a bill be now.
    pub(crate) async fn hurry(&self, run: BillRun) -> Result<BillRun, WorkError> {
        if run.state == RunState::Done {
            return Ok(run);
        }
        let mut run = match self.take(&run).await {
            Ok(run) => run,
            Err(WorkError::Busy { .. }) => return Ok(run),
            Err(error) => return Err(error),
        };
        run.next_at = self.clock.now();
        self.put_back(run.clone()).await?;
        Ok(run)
    }

    /// Takes a run under a lease.
    pub(crate) async fn take(&self, run: &BillRun) -> Result<BillRun, WorkError> {
        self.claim(run).await
    }

    /// Writes a run back and ends its lease.
    pub(crate) async fn put_back(&self, mut run: BillRun) -> Result<(), WorkError> {
        self.save(&mut run).await?;
        self.let_go(run).await;
        Ok(())
    }

    /// Works on a run as far as it goes. A run that is done is left alone. Repeating is safe.
    ///
    /// # Errors
    /// [`WorkError`]; what was committed stays.
    pub async fn work(&self, run: &BillRun, progress: OnProgress<'_>) -> Result<Worked, WorkError> {
        if run.state == RunState::Done {
            return Ok(Worked::Already(run.clone()));
        }
        let mut run = self.claim(run).await?;
        let worked = self.go_on(&mut run, progress).await;
        self.let_go(run).await;
        worked
    }

    /// As [`work`](Self::work), with a bill that an operator brings. The file is copied.
    ///
    /// # Errors
    /// As [`work`](Self::work); [`WorkError::OtherFile`] and [`WorkError::Refused`]: nothing changed.
    pub async fn work_on_file(
        &self,
        run: &BillRun,
        path: &std::path::Path,
        progress: OnProgress<'_>,
    ) -> Result<Worked, WorkError> {
        let hash = Files::hash(path)?;
        if run.state != RunState::Waiting && run.file_hash.as_deref() != Some(&hash) {
            return Err(WorkError::OtherFile {
                channel: run.channel.clone(),
                day: run.day.clone(),
                state: run.state,
                hash: run.file_hash.clone().unwrap_or_default(),
            });
        }
        if run.state != RunState::Waiting {
            return self.work(run, progress).await;
        }
        let mut run = self.claim(run).await?;
        if !self.is_over(&mut run).await? {
            self.let_go(run.clone()).await;
            return Ok(Worked::NotYet(run));
        }
        let worked = match self.files.copy(path, &hash) {
            Ok(()) => match self.check(&mut run, &hash, progress).await {
                Ok(()) => self.go_on(&mut run, progress).await,
                Err(error) => Err(error),
            },
            Err(error) => Err(error),
        };
        self.let_go(run).await;
        worked
    }

    async fn claim(&self, run: &BillRun) -> Result<BillRun, WorkError> {
        let now = self.clock.now();
        let claimed = self.store.bills().bill_run_claim(run.id, &self.owner, now, now.plus(LEASE)).await?;
        if let Some(claimed) = claimed {
            return Ok(claimed);
        }
        let fresh = self.store.bills().bill_run_want(&run.channel, &run.day, &run.asked_by, now).await?;
        Err(WorkError::Busy { channel: fresh.channel, day: fresh.day, until: fresh.lease_until })
    }

    /// Ends the lease, so that nobody waits for it to run out.
    async fn let_go(&self, run: BillRun) {
        let now = self.clock.now();
        if let Err(error) = self.store.bills().bill_run_claim(run.id, &self.owner, now, now).await {
            warn!(error = %causes(&error), "a lease runs out by itself");
        }
    }

    async fn go_on(&self, run: &mut BillRun, progress: OnProgress<'_>) -> Result<Worked, WorkError> {
        if run.state == RunState::Waiting && !self.fetch(run, progress).await? {
            return Ok(Worked::NotYet(run.clone()));
        }
        if run.state == RunState::Importing {
            self.import(run, progress).await?;
        }
        if run.state == RunState::Matching {
            self.match_both_ways(run, progress).await?;
        }
        Ok(Worked::Done(run.clone()))
    }

    /// Writes the run back under a renewed lease.
    async fn save(&self, run: &mut BillRun) -> Result<(), WorkError> {
        run.lease_until = self.clock.now().plus(LEASE);
        if self.store.bills().bill_run_save(run).await? { Ok(()) } else { Err(WorkError::LeaseLost) }
    }

    /// Asks for the bill. True: it is here and checked (or the day had no trade). False: later, and the run says why.
    async fn fetch(&self, run: &mut BillRun, progress: OnProgress<'_>) -> Result<bool, WorkError> {
        if !self.is_over(run).await? {
            return Ok(false);
        }
        progress(Progress { phase: Phase::Fetching, done: 0, total: 0 });
        let channel = self.channel(&run.channel)?;
        let day = parse_day(&run.day).ok_or_else(|| WorkError::UnknownChannel(run.day.clone()))?;
        run.tries = run.tries.saturating_add(1);
        run.lease_until = self.clock.now().plus(FETCH_DEADLINE + LEASE);
        if !self.store.bills().bill_run_save(run).await? {
            return Err(WorkError::LeaseLost);
        }
        let answer = match tokio::time::timeout(FETCH_DEADLINE, channel.bill(day)).await {
            Ok(answer) => answer,
            Err(_) => Err(BillError::Silent(format!("no answer within {} s", FETCH_DEADLINE.as_secs()))),
        };
        let now = self.clock.now();
        let problem = match answer {
            Ok(file) => {
                let hash = self.files.keep(&file)?;
                drop(file);
                match self.check(run, &hash, progress).await {
                    Ok(()) => return Ok(true),
                    Err(WorkError::Refused(refused)) => {
                        warn!(channel.name = run.channel, day = run.day, %refused, file = hash, "a bill is refused");
                        format!("the bill is refused at {refused}")
                    }
                    Err(error) => return Err(error),
                }
            }
            Err(BillError::NoBill) if self.may_be_empty(run, channel.bill_span(day), now).await? => {
                info!(channel.name = run.channel, day = run.day, "the channel had no trade that day");
                run.state = RunState::Matching;
                run.fetched_at = Some(now);
                run.file_hash = Some(String::new());
                run.problem = None;
                self.save(run).await?;
                return Ok(true);
            }
            Err(error) => error.to_string(),
        };
        let doubled = PAUSE_FIRST.saturating_mul(1 << run.tries.saturating_sub(1).min(10));
        run.next_at = now.plus(doubled.min(PAUSE_LAST));
        info!(channel.name = run.channel, day = run.day, tries = run.tries, next_at = %run.next_at, problem, "no bill yet");
        run.problem = Some(problem);
        self.save(run).await?;
        Ok(false)
    }

    /// Whether the run's day is over; if not, it is looked at again when it is.
    async fn is_over(&self, run: &mut BillRun) -> Result<bool, WorkError> {
        let day = parse_day(&run.day).unwrap_or_default();
        let (_, end) = self.channel(&run.channel)?.bill_span(day);
        if self.before_the_end || self.clock.now() >= end {
            return Ok(true);
        }
        run.problem = Some("the day is not over".to_owned());
        run.next_at = end;
        self.save(run).await?;
        Ok(false)
    }

    /// "No bill" is "no trade" if it is said late, or if we know of no trade either.
    async fn may_be_empty(
        &self,
        run: &BillRun,
        span: (Timestamp, Timestamp),
        now: Timestamp,
    ) -> Result<bool, WorkError> {
        if now >= span.1.plus(EMPTY_AFTER) {
            return Ok(true);
        }
        Ok(now >= span.1 && !matching::anything(&*self.store, &run.channel, span).await?)
    }

    /// Whether a message about this run's differences is owed.
    const fn owed(&self, differences: u64) -> Told {
        if self.tells && differences > 0 { Told::Due } else { Told::None }
    }
}
