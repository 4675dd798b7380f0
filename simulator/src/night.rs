//! The night: the house reconciles the day that is over, and operators confirm what is prepared for each difference.
//!
//! Two of them are needed above an amount; sometimes the first one tries to be the second, too. The process may die
//! between any two looks. It is over when every bill was compared and every difference is ended.

use std::time::Duration;

use actors::{ConfirmError, Confirmation, Service, reconciliation::campus_day};
use channels::Channel as _;
use domain::{
    Timestamp,
    order::Event,
    reconciliation::{DifferenceState, Fix, fix::Unconfirmed},
};
use jiff::{
    civil::Date,
    tz::{Offset, TimeZone},
};
use store::{Cause, Difference, DifferenceFilter, RunFilter, RunState, Store as _, Told};

use crate::{
    channel::SimChannel,
    life::{Day, End, Site},
    world::CHANNELS,
};

/// The bills of the day before are asked for at two; the house is looked at from a little before on.
const BEGINS: Duration = Duration::from_secs(2 * 3_600 - 60);
/// A night that takes longer does not end.
const BOUND: Duration = Duration::from_secs(2 * 3_600);
const MOST: usize = 100_000;

/// Where a night stands; it outlives the lives.
#[derive(Debug)]
pub(crate) struct Night {
    /// The day that is reconciled.
    of: Date,
    ends: Timestamp,
    asked_again: bool,
}

/// When the night after `now` begins.
pub(crate) fn begins(now: Timestamp) -> Timestamp {
    let next = campus_day(now).tomorrow().unwrap_or_default();
    let midnight = next.to_zoned(TimeZone::fixed(Offset::constant(8)));
    midnight.map_or(now, |at| Timestamp::from_micros(at.timestamp().as_microsecond()).plus(BEGINS))
}

impl Night {
    /// The night after a day, at its beginning.
    pub(crate) fn new(now: Timestamp) -> Night {
        let of = campus_day(now).yesterday().unwrap_or_default();
        Night { of, ends: now.plus(BOUND), asked_again: false }
    }
}

impl Site {
    /// One look of the night: judges what is reconciled, confirms what is open, and says whether all is done.
    pub(crate) async fn by_night(&self, day: &mut Day, service: &Service, now: Timestamp) -> Option<End> {
        let night = day.night.as_mut()?;
        if now >= night.ends {
            return Some(End::Stuck);
        }
        if self.reality.with(|world| world.dice.happens(0.03)) {
            self.reality.with(|world| world.crash("crashes by night"));
            return None;
        }
        let bills = self.store.bills();
        let (mut done, mut left) = (0, 0);
        for channel in 0..CHANNELS.len() {
            let Some(line) = SimChannel::new(channel, &self.reality) else { continue };
            let name = line.profile().id.to_string();
            let filter = RunFilter { day: Some(night.of.to_string()), channel: Some(name.clone()), limit: 1 };
            let runs = bills.bill_runs_list(&filter).await.unwrap_or_default();
            if !runs.iter().any(|run| run.state == RunState::Done && run.told != Told::Due) {
                continue;
            }
            done += 1;
            let of_the_day = DifferenceFilter {
                day: Some(night.of.to_string()),
                channel: Some(name),
                limit: MOST,
                ..DifferenceFilter::default()
            };
            let found = bills.differences_list(&of_the_day).await.unwrap_or_default();
            self.reality.with(|world| world.judge(channel, night.of, line.bill_span(night.of), &found));
            for difference in found {
                match difference.state {
                    DifferenceState::Open | DifferenceState::ConfirmedOnce => {
                        left += 1;
                        self.confirm(service, &difference).await;
                    }
                    DifferenceState::Fixing | DifferenceState::Waiting => left += 1,
                    DifferenceState::Fixed
                    | DifferenceState::WrittenOff
                    | DifferenceState::Resolved
                    | DifferenceState::Stale => {}
                }
            }
        }
        if done < CHANNELS.len() || left > 0 {
            return None;
        }
        // The same day once more: nothing may come of it, which the next look sees.
        if !night.asked_again {
            night.asked_again = service.reconcile(night.of, None, "an operator").await.is_ok();
            return None;
        }
        for (id, no) in self.held().await {
            let event = Event::HeldReturned { no };
            let cause = Cause::new(event.label(), "operator", "the simulated night");
            let _declined_or_heard = service.hear(id, event, cause).await;
        }
        let open = self.store.orders_open(None, MOST).await.unwrap_or_default();
        let due = self.store.webhook_totals().await.unwrap_or_default().iter().any(|totals| totals.due > 0);
        (open.is_empty() && !due && self.unknown_captures().is_empty()).then_some(End::DayOver)
    }

    async fn confirm(&self, service: &Service, difference: &Difference) {
        let (who, again) = self.reality.with(|world| {
            let who = world.dice.pick(&[(1.0, "maria"), (1.0, "chen"), (1.0, "li")], "maria");
            (who, world.dice.happens(0.3))
        });
        let first =
            difference.first_by.clone().filter(|_| difference.state == DifferenceState::ConfirmedOnce);
        let operator = match &first {
            Some(first) if again => first.clone(),
            _ => who.to_owned(),
        };
        let same = first.as_ref() == Some(&operator);
        let above = u64::try_from(difference.found.fix_fen).unwrap_or(0)
            > service.tuning().reconcile_second_above_fen;
        let asked = Confirmation { fix: None, note: "seen".to_owned(), operator };
        let answer = service.difference_confirm(difference.id, asked).await;
        self.reality.with(|world| match answer {
            Ok(_) if same => {
                let what = format!("difference {} was confirmed twice by {first:?}", difference.id);
                world.outrage("confirmed_alone", difference.found.order, what);
            }
            Ok(after) if above && first.is_none() && after.state != DifferenceState::ConfirmedOnce => {
                let what =
                    format!("difference {} of {} fen needed one operator", after.id, after.found.fix_fen);
                world.outrage("confirmed_alone", difference.found.order, what);
            }
            Ok(_) => world.count(match difference.found.fix {
                Fix::Mark => "fixes confirmed: mark",
                Fix::Refund => "fixes confirmed: refund",
                Fix::WriteOff => "fixes confirmed: write off",
            }),
            Err(ConfirmError::Unconfirmed(Unconfirmed::SameOperator)) if same => {
                world.count("second confirmations refused");
            }
            Err(ConfirmError::Stale { .. }) => world.count("differences stale"),
            Err(ConfirmError::Busy | ConfirmError::Store(_)) => world.count("confirmations repeated"),
            Err(error) => {
                let what = format!("difference {} cannot be confirmed: {error}", difference.id);
                world.outrage("fix_refused", difference.found.order, what);
            }
        });
    }
}
