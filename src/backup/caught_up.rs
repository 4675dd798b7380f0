//! Whether a restored store has caught up with its channels: what `restore --finish` wants to see first.
//!
//! The rule: every bill that can hold something of the lost time is reconciled with a bill that was fetched after the
//! restore, and none of its differences waits for an operator. The lost time is from when the copy was taken to when it
//! was restored, and a quarter of an hour on both sides, since channels date by their own clocks. A real channel's bill
//! is fetched after its day, and so covers it; a sandbox's bill of the present day covers what came before it was
//! fetched, and that is all of the lost time.

use std::{fmt::Write as _, sync::Arc};

use actors::reconciliation::{EDGE, campus_day};
use anyhow::Context as _;
use channels::Channel;
use domain::{Timestamp, reconciliation::DifferenceState};
use jiff::{Span, civil::Date};
use store::{Difference, DifferenceFilter, RunFilter, RunState, Store};

use super::Restored;

/// Differences that are read of one bill.
const MOST: usize = 100_000;
/// Differences that are named.
const SHOWN: usize = 20;

/// What stands between a restored store and its channels. Nothing: it has caught up.
#[derive(Debug, Default)]
pub(crate) struct Missing {
    /// Bills that are not reconciled since the restore.
    pub bills: Vec<MissingBill>,
    /// Differences of the others that an operator has not dealt with.
    pub differences: Vec<Difference>,
}

/// A bill that is not reconciled since the restore.
#[derive(Debug)]
pub(crate) struct MissingBill {
    pub channel: String,
    pub day: Date,
    /// When its day ends.
    pub ends_at: Timestamp,
    /// Why the last try to get it failed, or what was wrong with it.
    pub problem: Option<String>,
}

impl Missing {
    pub(crate) fn is_empty(&self) -> bool {
        self.bills.is_empty() && self.differences.is_empty()
    }

    /// What is missing, in words that can be kept.
    pub(crate) fn names(&self) -> Vec<String> {
        let bills = self.bills.iter().map(|bill| format!("{} {}", bill.channel, bill.day));
        let differences = self.differences.iter().map(|d| format!("difference {}", d.id));
        bills.chain(differences).collect()
    }

    /// What is missing and what to do about it; `given` are the arguments that name the configuration.
    pub(crate) fn in_words(&self, given: &str, now: Timestamp) -> String {
        let mut text = String::new();
        for bill in &self.bills {
            let MissingBill { channel, day, ends_at, problem } = bill;
            let _infallible = write!(text, "  {channel} {day}: its bill is not reconciled since the restore");
            let _infallible = match problem {
                _ if *ends_at > now => {
                    writeln!(text, "; the day ends at {ends_at}, and its bill exists from {} on", next(*day))
                }
                Some(problem) => writeln!(text, " ({problem})"),
                None => writeln!(text),
            };
        }
        for bill in &self.bills {
            let _infallible =
                writeln!(text, "    rushpay reconcile{given} --date {} --channel {}", bill.day, bill.channel);
        }
        for difference in self.differences.iter().take(SHOWN) {
            let Difference { id, channel, day, state, found, .. } = difference;
            let state = state.as_str();
            let _infallible =
                writeln!(text, "  {channel} {day}: difference {id} is {state}: {}", found.detail);
        }
        if self.differences.len() > SHOWN {
            let _infallible = writeln!(text, "  … and {} more differences", self.differences.len() - SHOWN);
        }
        if !self.differences.is_empty() {
            text +=
                "    operators confirm or write off differences at the running service: /reconciliation\n";
        }
        let latest = self.bills.iter().filter(|bill| bill.ends_at > now).max_by_key(|bill| bill.ends_at);
        if let Some(bill) = latest {
            let _infallible =
                writeln!(text, "it can be finished from {} on, once these bills are there", next(bill.day));
        }
        text
    }
}

/// Bills come the day after.
fn next(day: Date) -> Date {
    day.tomorrow().unwrap_or(day)
}

/// The days whose bills can hold something of a span, by a channel's own days.
fn days(bill_span: impl Fn(Date) -> (Timestamp, Timestamp), from: Timestamp, to: Timestamp) -> Vec<Date> {
    let (from, to) = (from.minus(EDGE), to.plus(EDGE));
    // A channel's day is off the campus's by hours, never by more than one.
    let around =
        |at, days| campus_day(at).checked_add(Span::new().days(days)).unwrap_or_else(|_| campus_day(at));
    let (mut day, last) = (around(from, -1), around(to, 1));
    let mut found = Vec::new();
    while day <= last {
        let (begins, ends) = bill_span(day);
        if begins <= to && ends > from {
            found.push(day);
        }
        day = match day.tomorrow() {
            Ok(day) => day,
            Err(_) => break,
        };
    }
    found
}

/// Looks at every bill that can hold something of the lost time.
///
/// # Errors
/// The store cannot be read.
pub(crate) async fn missing(
    store: &dyn Store,
    channels: &[Arc<dyn Channel>],
    restored: &Restored,
) -> anyhow::Result<Missing> {
    let mut missing = Missing::default();
    for channel in channels {
        let name = channel.profile().id.as_str();
        for day in days(|day| channel.bill_span(day), restored.taken_at, restored.restored_at) {
            let of = RunFilter { day: Some(day.to_string()), channel: Some(name.to_owned()), limit: 1 };
            let runs =
                store.bills().bill_runs_list(&of).await.context("reading the runs of reconciliation")?;
            let run = runs.into_iter().next();
            let done = run.as_ref().is_some_and(|run| run.state == RunState::Done);
            let since =
                run.as_ref().and_then(|run| run.fetched_at).is_some_and(|at| at >= restored.restored_at);
            if !(done && since) {
                let early = "it was reconciled with a bill from before the restore: compare that day by hand";
                let problem = if done { Some(early.to_owned()) } else { run.and_then(|run| run.problem) };
                let ends_at = channel.bill_span(day).1;
                missing.bills.push(MissingBill { channel: name.to_owned(), day, ends_at, problem });
                continue;
            }
            let live = DifferenceFilter {
                states: DifferenceState::ALL.into_iter().filter(|state| state.counts()).collect(),
                day: Some(day.to_string()),
                channel: Some(name.to_owned()),
                limit: MOST,
                ..DifferenceFilter::default()
            };
            let live = store.bills().differences_list(&live).await.context("reading the differences")?;
            missing.differences.extend(live);
        }
    }
    Ok(missing)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bill_that_can_hold_something_of_the_lost_time_is_named() {
        let at = |text: &str| Timestamp::parse(text).unwrap();
        // Midnight to midnight on the campus; one channel's day ends an hour earlier.
        let span = |hour: &'static str| {
            move |day: Date| {
                let end = at(&format!("{day}T{hour}:00+08:00"));
                (end.minus(std::time::Duration::from_secs(86_400)), end)
            }
        };
        let midnight = |day: Date| span("00:00")(day.tomorrow().unwrap());
        let named = |found: Vec<Date>| found.iter().map(ToString::to_string).collect::<Vec<_>>();
        let lost = |from, to| named(days(midnight, at(from), at(to)));
        assert_eq!(lost("2026-11-24T18:00:00+08:00", "2026-11-24T19:00:00+08:00"), ["2026-11-24"]);
        assert_eq!(
            lost("2026-11-23T23:59:00+08:00", "2026-11-25T00:20:00+08:00"),
            ["2026-11-23", "2026-11-24", "2026-11-25"]
        );
        // A channel's clock may put what came at ten past twelve on the bill before, and the other way round.
        assert_eq!(
            lost("2026-11-24T00:10:00+08:00", "2026-11-24T23:50:00+08:00"),
            ["2026-11-23", "2026-11-24", "2026-11-25"]
        );
        let early =
            named(days(span("23:00"), at("2026-11-24T12:00:00+08:00"), at("2026-11-24T23:30:00+08:00")));
        assert_eq!(early, ["2026-11-24", "2026-11-25"]);
    }
}
