//! The house's reconciler: bills every day at two o'clock campus time, fixes that operators confirmed, gaps, the message.
//!
//! One actor on a thread of its own, since the store's writer is held for batches. It keeps nothing: what is due is in the
//! rows (days that were never reconciled, runs that are not done, fixes under way, messages not delivered), so a restart
//! resumes, and an outage is caught up. One round at a time; a round that fails is repeated after a pause.

mod asking;
mod fixes;
mod gaps;
mod overdue;
mod telling;

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use actix::{Actor, AsyncContext as _, Context, Handler, Message};
use domain::{Timestamp, reconciliation::Fix};
use jiff::{Span, civil::Date};
use store::{BillRun, Difference, RunFilter, RunState, Told};
use tokio::sync::oneshot;
use tracing::{error, warn};

pub use asking::ReconcileError;
pub use fixes::ConfirmError;
use overdue::Overdue;

use crate::{
    causes::causes,
    courier::WebhookOptions,
    house::House,
    reconciliation::{Reconciliation, ReconciliationOptions, WorkError, campus_day, campus_hour},
    service::Service,
};

/// How often it looks whether something is due.
const TICK: Duration = Duration::from_secs(1);
/// A failed round is repeated after so long.
const PAUSE: Duration = Duration::from_secs(30);
/// Runs of one round.
const RUNS: usize = 8;

/// An operator confirms a fix. Sent by the front door.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Confirm {
    pub(crate) id: i64,
    pub(crate) asked: Confirmation,
    pub(crate) reply: oneshot::Sender<Result<Difference, ConfirmError>>,
}

/// What an operator confirms.
#[derive(Debug, Clone)]
pub struct Confirmation {
    /// Which fix; none: the prepared one.
    pub fix: Option<Fix>,
    /// Why. A write-off needs it.
    pub note: String,
    /// The operator's name.
    pub operator: String,
}

/// Somebody wants a day's bills now. Sent by the front door.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct WantDay {
    pub(crate) day: Date,
    pub(crate) channel: Option<String>,
    pub(crate) by: String,
    pub(crate) reply: oneshot::Sender<Result<Vec<BillRun>, WorkError>>,
}

/// What the tasks of the actor share.
struct Inner {
    house: Arc<House>,
    service: Service,
    work: Reconciliation,
    options: ReconciliationOptions,
    webhooks: WebhookOptions,
    /// Days up to this one were asked for in this life.
    wanted_until: Cell<Option<Date>>,
    busy: Cell<bool>,
    not_before: Cell<Timestamp>,
    gaps_at: Cell<Timestamp>,
    overdue: RefCell<Overdue>,
}

/// The actor.
pub(crate) struct Reconciler {
    inner: Rc<Inner>,
}

impl Reconciler {
    pub(crate) fn new(
        house: Arc<House>,
        options: ReconciliationOptions,
        webhooks: WebhookOptions,
    ) -> Reconciler {
        let channels: Vec<_> = house.lines.values().map(|line| line.channel.clone()).collect();
        let work = Reconciliation::new(house.store.clone(), &channels, house.clock.clone(), &options);
        let beginning = Timestamp::from_micros(i64::MIN);
        let inner = Inner {
            service: Service::new(house.clone()),
            house,
            work,
            options,
            webhooks,
            wanted_until: Cell::default(),
            busy: Cell::default(),
            not_before: Cell::new(beginning),
            gaps_at: Cell::new(beginning),
            overdue: RefCell::default(),
        };
        Reconciler { inner: Rc::new(inner) }
    }
}

impl Inner {
    /// One round. What was done stays done; what was not is due again.
    async fn round(&self) -> Result<(), WorkError> {
        let now = self.house.clock.now();
        self.want_days(now).await?;
        for run in self.house.store.bills().bill_runs_due(now, RUNS).await? {
            if self.house.is_closing() {
                return Ok(());
            }
            if run.state == RunState::Done {
                if run.told == Told::Due {
                    self.tell(&run).await?;
                }
                continue;
            }
            match self.work.work(&run, &|_| {}).await {
                Ok(_) | Err(WorkError::Busy { .. } | WorkError::LeaseLost) => {}
                // A channel that was taken out of the configuration: its old runs wait until it is back.
                Err(WorkError::UnknownChannel(_)) => {}
                Err(error) => return Err(error),
            }
        }
        self.resume_fixes().await?;
        self.look_for_gaps(now).await
    }

    /// Every day that is over gets its runs, also after an outage; so far back as the thresholds say.
    async fn want_days(&self, now: Timestamp) -> Result<(), WorkError> {
        let tuning = self.house.tuning.get();
        let back = if campus_hour(now) >= tuning.reconcile_at_h { 1 } else { 2 };
        let Ok(last) = campus_day(now).checked_sub(Span::new().days(back)) else { return Ok(()) };
        if self.wanted_until.get() == Some(last) {
            return Ok(());
        }
        if let Some(first) = self.house.store.bills().first_capture_at().await? {
            let most = i64::try_from(tuning.reconcile_catch_up_days).unwrap_or(1) - 1;
            let oldest = last.checked_sub(Span::new().days(most)).unwrap_or(last);
            let mut day = campus_day(first).max(oldest);
            while day <= last {
                for channel in self.work.channels() {
                    let known = RunFilter {
                        day: Some(day.to_string()),
                        channel: Some(channel.to_string()),
                        limit: 1,
                    };
                    if self.house.store.bills().bill_runs_list(&known).await?.is_empty() {
                        self.work.want(channel.as_str(), day, "daily").await?;
                    }
                }
                day = day.tomorrow().unwrap_or(Date::MAX);
            }
        }
        self.work.publish().await?;
        self.wanted_until.set(Some(last));
        Ok(())
    }

    async fn want_day(&self, day: Date, channel: Option<&str>, by: &str) -> Result<Vec<BillRun>, WorkError> {
        let names: Vec<String> = match channel {
            Some(name) => vec![name.to_owned()],
            None => self.work.channels().map(ToString::to_string).collect(),
        };
        let mut runs = Vec::new();
        for name in names {
            let run = self.work.want(&name, day, by).await?;
            runs.push(self.work.hurry(run).await?);
        }
        Ok(runs)
    }
}

impl Actor for Reconciler {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        let every = self.inner.options.look_every.unwrap_or(TICK);
        ctx.run_interval(every, |reconciler, _| {
            let inner = reconciler.inner.clone();
            let now = inner.house.clock.now();
            if inner.house.is_closing() || now < inner.not_before.get() || inner.busy.replace(true) {
                return;
            }
            actix::spawn(async move {
                if let Err(error) = inner.round().await {
                    error!(error = %causes(&error), "a round of reconciliation failed; it is repeated");
                    inner.not_before.set(inner.house.clock.now().plus(PAUSE));
                }
                inner.busy.set(false);
            });
        });
    }
}

impl Handler<Confirm> for Reconciler {
    type Result = ();

    fn handle(&mut self, message: Confirm, _: &mut Self::Context) {
        let inner = self.inner.clone();
        actix::spawn(async move {
            let confirmed = inner.confirm(message.id, &message.asked).await;
            if let Err(error) = inner.work.publish().await {
                warn!(error = %causes(&error), "the metric of differences is behind");
            }
            let _caller_gone = message.reply.send(confirmed);
        });
    }
}

impl Handler<WantDay> for Reconciler {
    type Result = ();

    fn handle(&mut self, message: WantDay, _: &mut Self::Context) {
        let inner = self.inner.clone();
        actix::spawn(async move {
            let wanted = inner.want_day(message.day, message.channel.as_deref(), &message.by).await;
            inner.not_before.set(Timestamp::from_micros(i64::MIN));
            let _caller_gone = message.reply.send(wanted);
        });
    }
}
