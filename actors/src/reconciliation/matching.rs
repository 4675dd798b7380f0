//! Both ways: from the bill to our rows, then from our captures and refunds to the bill.
//!
//! The rules are the domain's; here are the pages, the breakpoints, and the neighbouring days: what happened close to
//! midnight may stand on the bill beside, so it waits for that bill before it counts.

use std::{collections::HashMap, time::Duration};

use domain::{
    ChannelId, OrderId, RefundNo, Timestamp,
    reconciliation::{Difference, DifferenceState, Ours, Subject, absent, compare, near},
};
use jiff::{Span, civil::Date};
use metrics::gauge;
use store::{BillRun, DifferenceFilter, DifferenceStep, Page, RunFilter, RunState, RunStep, Store, Told};
use tracing::info;

use super::{OnProgress, Phase, Progress, Reconciliation, WorkError, parse_day};
use crate::metric_definitions as metric;

/// Numbers of one page, and of one commit.
const PAGE: usize = 1_000;
/// How far from midnight a line may stand on the neighbouring bill: channels date by their own clocks, and a refund by
/// when it was asked for or by when it was done.
pub const EDGE: Duration = Duration::from_secs(15 * 60);
/// A difference that waits longer than this for a bill counts.
const MOST: usize = 100_000;

/// The bills beside a run's, once they are matched; their runs.
struct Neighbours {
    before: Option<i64>,
    after: Option<i64>,
}

impl Neighbours {
    fn runs(&self) -> Vec<i64> {
        self.before.into_iter().chain(self.after).collect()
    }
}

/// Whether we captured or gave back anything in a span.
pub(super) async fn anything(
    store: &dyn Store,
    channel: &str,
    span: (Timestamp, Timestamp),
) -> Result<bool, WorkError> {
    let one = Page { after: String::new(), limit: 1 };
    for subject in [Subject::Payment, Subject::Refund] {
        if !store.bills().ours_of_span(subject, channel, span, &one).await?.0.is_empty() {
            return Ok(true);
        }
    }
    Ok(false)
}

fn subject_of(cursor: &str) -> Option<(Subject, &str)> {
    let (subject, number) = cursor.split_once('/')?;
    Some((Subject::parse(subject)?, number))
}

impl Reconciliation {
    /// Compares, from the breakpoint on, and ends the run.
    pub(super) async fn match_both_ways(
        &self,
        run: &mut BillRun,
        progress: OnProgress<'_>,
    ) -> Result<(), WorkError> {
        if run.step == RunStep::Theirs {
            self.walk_their_side(run, progress).await?;
            (run.step, run.cursor) = (RunStep::Payments, String::new());
            self.save(run).await?;
        }
        if run.step == RunStep::Payments {
            self.walk_our_side(run, Subject::Payment, progress).await?;
            (run.step, run.cursor) = (RunStep::Refunds, String::new());
            self.save(run).await?;
        }
        self.walk_our_side(run, Subject::Refund, progress).await?;
        self.end(run).await
    }

    async fn walk_their_side(&self, run: &mut BillRun, progress: OnProgress<'_>) -> Result<(), WorkError> {
        let channel = self.channel(&run.channel)?.profile().id.clone();
        let terms = self.terms.get(&channel).copied().unwrap_or_default();
        let (mut subject, mut after) = match subject_of(&run.cursor) {
            Some((subject, number)) => (subject, number.to_owned()),
            None => (Subject::Payment, String::new()),
        };
        loop {
            let page = Page { after: after.clone(), limit: PAGE };
            let theirs = self.store.bills().bill_theirs(run.id, subject, &page).await?;
            let Some(last) = theirs.last() else {
                if subject == Subject::Refund {
                    return Ok(());
                }
                (subject, after) = (Subject::Refund, String::new());
                continue;
            };
            after.clone_from(&last.number);
            let numbers: Vec<String> = theirs.iter().map(|t| t.number.clone()).collect();
            let ours = self.store.bills().ours_by_number(subject, &numbers).await?;
            let ours: HashMap<&str, &Ours> = ours.iter().map(|o| (o.number.as_str(), o)).collect();
            // A refund that nobody here knows may come from a life that this store has lost: its number says whose it is.
            let unknown = numbers.iter().filter(|number| !ours.contains_key(number.as_str()));
            let unknown = unknown.filter(|_| subject == Subject::Refund);
            let orders: Vec<OrderId> = unknown.filter_map(|no| RefundNo::new(no).ok()?.order()).collect();
            let attempts = match orders.is_empty() {
                true => Vec::new(),
                false => self.store.bills().ours_of_orders(&orders).await?,
            };
            let mut of_order: HashMap<Option<OrderId>, Vec<Ours>> = HashMap::new();
            for attempt in attempts {
                of_order.entry(attempt.order).or_default().push(attempt);
            }
            let mut found = Vec::new();
            for theirs in &theirs {
                let known = ours.get(theirs.number.as_str()).copied();
                let order = RefundNo::new(&theirs.number).ok().and_then(|no| no.order());
                let attempts = order.and_then(|_| of_order.get(&order)).map_or(&[][..], Vec::as_slice);
                let differences = compare(&channel, theirs, known, attempts, &terms);
                found.extend(differences.into_iter().map(|d| (d, false)));
            }
            run.cursor = format!("{}/{after}", subject.as_str());
            self.keep(run, &found, theirs.len(), progress).await?;
        }
    }

    async fn walk_our_side(
        &self,
        run: &mut BillRun,
        subject: Subject,
        progress: OnProgress<'_>,
    ) -> Result<(), WorkError> {
        let channel = self.channel(&run.channel)?;
        let day = parse_day(&run.day).unwrap_or_default();
        let (from, end) = channel.bill_span(day);
        // A bill knows nothing of what came after it was made.
        let to = run.fetched_at.map_or(end, |fetched_at| end.min(fetched_at));
        let neighbours = self.neighbours(&run.channel, day).await?;
        let runs: Vec<i64> = std::iter::once(run.id).chain(neighbours.runs()).collect();
        loop {
            let page = Page { after: run.cursor.clone(), limit: PAGE };
            let (ours, next) =
                self.store.bills().ours_of_span(subject, &run.channel, (from, to), &page).await?;
            let numbers: Vec<String> = ours.iter().map(|o| o.number.clone()).collect();
            let known = self.store.bills().bill_numbers_known(&runs, subject, &numbers).await?;
            let found: Vec<(Difference, bool)> = ours
                .iter()
                .filter(|ours| !known.contains(&ours.number))
                .map(|ours| {
                    let at = ours.at.unwrap_or(from);
                    let waits = (near(at, from, EDGE) && neighbours.before.is_none())
                        || (near(at, end, EDGE) && neighbours.after.is_none());
                    (absent(ours), waits)
                })
                .collect();
            run.cursor = next.clone().unwrap_or_default();
            if ours.is_empty() || next.is_none() {
                return self.keep(run, &found, ours.len(), progress).await;
            }
            self.keep(run, &found, ours.len(), progress).await?;
        }
    }

    async fn keep(
        &self,
        run: &mut BillRun,
        found: &[(Difference, bool)],
        compared: usize,
        progress: OnProgress<'_>,
    ) -> Result<(), WorkError> {
        run.matched += i64::try_from(compared).unwrap_or(0);
        let now = self.clock.now();
        run.lease_until = now.plus(super::LEASE);
        if !self.store.bills().differences_add(run, found, now).await? {
            return Err(WorkError::LeaseLost);
        }
        let (done, lines) = (u64::try_from(run.matched).unwrap_or(0), u64::try_from(run.lines).unwrap_or(0));
        // Both sides are about as long.
        progress(Progress { phase: Phase::Matching, done, total: done.max(lines.saturating_mul(2)) });
        Ok(())
    }

    async fn end(&self, run: &mut BillRun) -> Result<(), WorkError> {
        let now = self.clock.now();
        run.state = RunState::Done;
        run.ended_at = Some(now);
        run.problem = None;
        self.save(run).await?;
        let mine = DifferenceFilter {
            states: vec![DifferenceState::Open],
            day: Some(run.day.clone()),
            channel: Some(run.channel.clone()),
            limit: MOST,
            ..DifferenceFilter::default()
        };
        let open = u64::try_from(self.store.bills().differences_list(&mine).await?.len()).unwrap_or(u64::MAX);
        run.told = self.owed(open);
        (run.told_at, run.told_since) = (Some(now), (run.told != Told::None).then_some(now));
        run.next_at = now;
        self.save(run).await?;
        self.look_at_what_waited(run).await?;
        info!(
            channel.name = run.channel,
            day = run.day,
            lines = run.lines,
            matched = run.matched,
            differences = open,
            "a day is reconciled"
        );
        self.publish().await
    }

    /// Those of the neighbouring days that waited for this bill.
    async fn look_at_what_waited(&self, run: &BillRun) -> Result<(), WorkError> {
        let day = parse_day(&run.day).unwrap_or_default();
        for beside in [-1, 1] {
            let Ok(other) = day.checked_add(Span::new().days(beside)) else { continue };
            let waiting = DifferenceFilter {
                states: vec![DifferenceState::Waiting],
                day: Some(other.to_string()),
                channel: Some(run.channel.clone()),
                limit: MOST,
                ..DifferenceFilter::default()
            };
            let (from, end) = self.channel(&run.channel)?.bill_span(other);
            let neighbours = self.neighbours(&run.channel, other).await?;
            for difference in self.store.bills().differences_list(&waiting).await? {
                let number = difference.found.number.clone();
                let asked = std::slice::from_ref(&number);
                let here =
                    self.store.bills().bill_numbers_known(&[run.id], difference.found.subject, asked).await?;
                let at = difference.found.at.unwrap_or(from);
                let still_waits = (near(at, from, EDGE) && neighbours.before.is_none())
                    || (near(at, end, EDGE) && neighbours.after.is_none());
                let (to, act) = match (here.contains(&number), still_waits) {
                    (true, _) => (DifferenceState::Resolved, "found_beside"),
                    (false, true) => continue,
                    (false, false) => (DifferenceState::Open, "not_beside"),
                };
                let step = DifferenceStep {
                    from: DifferenceState::Waiting,
                    to,
                    chosen: None,
                    first_by: None,
                    second_by: None,
                    refund_no: None,
                    outcome: None,
                    at: self.clock.now(),
                    by: "reconciliation".to_owned(),
                    act,
                    note: format!("the bill of {} was read", run.day),
                    // The day's message was sent without it.
                    tells: self.tells && to == DifferenceState::Open,
                };
                self.store.bills().difference_step(difference.id, &step).await?;
            }
        }
        Ok(())
    }

    /// The bills of the days beside that are read.
    async fn neighbours(&self, channel: &str, day: Date) -> Result<Neighbours, WorkError> {
        let mut runs = [None, None];
        for (slot, beside) in runs.iter_mut().zip([-1, 1]) {
            let Ok(other) = day.checked_add(Span::new().days(beside)) else { continue };
            let filter =
                RunFilter { day: Some(other.to_string()), channel: Some(channel.to_owned()), limit: 1 };
            let found = self.store.bills().bill_runs_list(&filter).await?;
            *slot = found.into_iter().find(|run| run.state >= RunState::Matching).map(|run| run.id);
        }
        let [before, after] = runs;
        Ok(Neighbours { before, after })
    }

    /// Shows the differences that count as a metric, by channel and kind; what went to zero is shown as zero.
    pub(crate) async fn publish(&self) -> Result<(), WorkError> {
        let counts = self.store.bills().differences_count().await?;
        for channel in self.channels.keys().map(ChannelId::as_str) {
            for kind in domain::reconciliation::DifferenceKind::ALL {
                let n = counts.iter().find(|(c, k, _)| c == channel && *k == kind).map_or(0, |(_, _, n)| *n);
                let n = f64::from(u32::try_from(n).unwrap_or(u32::MAX));
                gauge!(metric::RECONCILIATION_DIFFERENCES, "channel" => channel.to_owned(), "kind" => kind.as_str())
                    .set(n);
            }
        }
        Ok(())
    }
}
