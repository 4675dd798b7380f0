//! Group commit: everything that waits goes into one transaction, and replies come after the commit.
//!
//! An idle journal commits at once; what queues up during a commit goes into the next one, so a busy
//! journal commits ever larger groups at the same cost. What is in no hurry (log rows of notifications and of
//! webhook tries) starts no commit of its own for a moment, and mostly rides along with an order's. A conflict fails alone; the store sees to that.
//! If the journal dies, its senders see [`JournalError::Unknown`] and read the row: it may or may not be there.

use std::{sync::Arc, time::Duration};

use actix::{
    Actor, ActorFutureExt, AsyncContext as _, Context, ContextFutureSpawner, Handler, Message, WrapFuture,
    fut::ready,
};
use store::{AppendError, Appended, Entry, Store};
use tokio::{sync::oneshot, time::Instant};
use tracing::{error, info};

use crate::{handle::Handle, metric_definitions as metric, stats::Stats};

/// How many entries one transaction holds at most: more would make the first of them wait for the last.
const GROUP_MAX: usize = 512;
/// How long an entry without haste waits for a commit that starts anyway.
const LEISURE: Duration = Duration::from_millis(20);
/// Entries that may wait in the mailbox; the intake bound is far below it.
const MAILBOX: usize = 65_536;

/// Why an entry is not known to be durable.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The store refused this entry, and nothing of it was written.
    #[error("the store refused the entry")]
    Refused(#[source] AppendError),
    /// Nobody knows whether it was written: read the row.
    #[error("the journal died while it held the entry")]
    Unknown,
    /// The journal takes nothing at the moment; nothing was written.
    #[error("the journal is not taking entries")]
    Closed,
}

/// An entry and where its outcome goes.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Append {
    entry: Entry,
    reply: oneshot::Sender<Result<Appended, AppendError>>,
    urgent: bool,
}

/// The journal: the only writer of the store.
pub(crate) struct Journal {
    store: Arc<dyn Store>,
    stats: Arc<Stats>,
    waiting: Vec<Append>,
    urgent: bool,
    timer: bool,
    committing: bool,
}

impl Journal {
    pub(crate) fn new(store: Arc<dyn Store>, stats: Arc<Stats>) -> Journal {
        Journal { store, stats, waiting: Vec::new(), urgent: false, timer: false, committing: false }
    }

    /// Commits what waits, or lets entries without haste wait for company.
    fn consider(&mut self, ctx: &mut Context<Self>) {
        if self.committing || self.waiting.is_empty() {
            return;
        }
        if self.urgent {
            self.commit_next(ctx);
        } else if !self.timer {
            self.timer = true;
            ctx.run_later(LEISURE, |journal, ctx| {
                journal.timer = false;
                journal.urgent = true;
                journal.consider(ctx);
            });
        }
    }

    /// One commit. The group is taken when the mailbox has been emptied, not before: a store that holds this
    /// thread during its commit finds everything that came meanwhile in the next one.
    fn commit_next(&mut self, ctx: &mut Context<Self>) {
        self.committing = true;
        ready(())
            .into_actor(self)
            .then(|(), journal, _| {
                let group = journal.take();
                commit(journal.store.clone(), journal.stats.clone(), group).into_actor(journal)
            })
            .map(|(), journal, ctx| {
                journal.committing = false;
                journal.consider(ctx);
            })
            .spawn(ctx);
    }

    fn take(&mut self) -> Vec<Append> {
        let rest = self.waiting.split_off(self.waiting.len().min(GROUP_MAX));
        self.urgent = rest.iter().any(|a| a.urgent);
        std::mem::replace(&mut self.waiting, rest)
    }
}

async fn commit(store: Arc<dyn Store>, stats: Arc<Stats>, group: Vec<Append>) {
    let (entries, replies): (Vec<Entry>, Vec<_>) = group.into_iter().map(|a| (a.entry, a.reply)).unzip();
    let (rows, started) = (replies.len(), Instant::now());
    let outcomes = store.append(entries).await;
    stats.commits.one();
    stats.commit_rows.add(u64::try_from(rows).unwrap_or(u64::MAX));
    metrics::histogram!(metric::COMMIT_SECONDS).record(started.elapsed().as_secs_f64());
    metrics::histogram!(metric::COMMIT_ROWS).record(f64::from(u32::try_from(rows).unwrap_or(u32::MAX)));
    watch(&stats, &outcomes);
    for (reply, outcome) in replies.into_iter().zip(outcomes) {
        // A sender that hung up finds the row when it looks.
        let _hung_up = reply.send(outcome);
    }
}

/// Says once that the store refuses commits, and once that it takes them again: a full disk at noon is one line in the
/// log, with the reason, and not one for every order.
fn watch(stats: &Stats, outcomes: &[Result<Appended, AppendError>]) {
    let refusal = outcomes.iter().find_map(|outcome| match outcome {
        Err(AppendError::Unavailable { what }) => Some(what),
        Ok(_) | Err(_) => None,
    });
    let before = stats.store_refuses.set(u64::from(refusal.is_some()));
    match refusal {
        Some(what) if before == 0 => {
            error!(what, "the store refuses commits; orders are turned away until it takes them")
        }
        None if before > 0 => info!("the store takes commits again"),
        Some(_) | None => return,
    }
    metrics::gauge!(metric::STORE_REFUSES).set(if refusal.is_some() { 1.0 } else { 0.0 });
}

impl Actor for Journal {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(MAILBOX);
    }
}

impl Handler<Append> for Journal {
    type Result = ();

    fn handle(&mut self, append: Append, ctx: &mut Self::Context) {
        self.urgent |= append.urgent;
        self.waiting.push(append);
        self.consider(ctx);
    }
}

/// Answers once everything handed over before is committed. Sent at the stop of the house.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Flush(oneshot::Sender<()>);

impl Handler<Flush> for Journal {
    type Result = ();

    fn handle(&mut self, flush: Flush, ctx: &mut Self::Context) {
        self.urgent = true;
        self.consider(ctx);
        if self.committing {
            ctx.run_later(std::time::Duration::from_millis(5), |_, ctx| ctx.notify(flush));
        } else {
            let _stopper_gave_up = flush.0.send(());
        }
    }
}

/// What the rest of the house holds of the journal.
#[derive(Clone, Default)]
pub(crate) struct JournalHandle(pub(crate) Handle<Journal>);

impl JournalHandle {
    /// Makes one entry durable; answers after its commit.
    ///
    /// # Errors
    /// [`JournalError`], by what is known of the entry.
    pub(crate) async fn append(&self, entry: Entry) -> Result<Appended, JournalError> {
        self.queue(entry, true)?.await.map_err(|_| JournalError::Unknown)?.map_err(JournalError::Refused)
    }

    /// As [`append`](Self::append), for what may take [`LEISURE`] longer.
    ///
    /// # Errors
    /// As [`append`](Self::append).
    pub(crate) async fn append_at_leisure(&self, entry: Entry) -> Result<Appended, JournalError> {
        self.queue(entry, false)?.await.map_err(|_| JournalError::Unknown)?.map_err(JournalError::Refused)
    }

    /// Hands over a log row that nobody waits for.
    ///
    /// # Errors
    /// [`JournalError::Closed`]: it was not taken.
    pub(crate) fn queue_at_leisure(&self, entry: Entry) -> Result<(), JournalError> {
        self.queue(entry, false).map(drop)
    }

    /// Waits until everything handed over before is committed.
    pub(crate) async fn flush(&self) {
        let (tx, rx) = oneshot::channel();
        if self.0.tell(Flush(tx)).is_ok() {
            let _journal_died = rx.await;
        }
    }

    /// Hands an entry over and returns where its outcome will be; order of hand-over is order of commit.
    fn queue(
        &self,
        entry: Entry,
        urgent: bool,
    ) -> Result<oneshot::Receiver<Result<Appended, AppendError>>, JournalError> {
        let (reply, outcome) = oneshot::channel();
        self.0.tell(Append { entry, reply, urgent }).map_err(|why| {
            error!(%why, "the journal took no entry");
            JournalError::Closed
        })?;
        Ok(outcome)
    }
}
