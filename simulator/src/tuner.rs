//! Operators: they change thresholds and take channels out while orders run, by the call of the admin API.
//!
//! What is in force must be what they were told, whole, at once and after every crash; a change whose answer was lost
//! counts or does not, as a whole. What is not valid is refused and changes nothing. No attempt begins on a channel
//! that is out. Sometimes two of them act in the same moment.

use std::{collections::BTreeMap, time::Duration};

use actors::{Service, TuneError};
use domain::{ChannelId, Timestamp, tuning::Tuning};

use crate::{
    dice::Dice,
    world::{Errand, Reality, World},
};

/// A channel that was taken out gets no attempt from so long after the answer on.
const IN_FORCE: Duration = Duration::from_secs(1);
/// Under which the store keeps the channels that are out.
const OUT: &str = "channels.disabled";

/// Thresholds and what operators set them to: wide, and such that a day still ends.
const KNOBS: [(&str, u64, u64); 28] = [
    ("hedge_after_ms", 50, 4_000),
    ("latency_threshold_ms", 200, 4_000),
    ("recover_threshold_ms", 50, 2_000),
    ("window_s", 1, 60),
    ("min_samples", 1, 100),
    ("min_stay_s", 1, 30),
    ("max_stay_s", 1, 120),
    ("probe_retry_max_s", 1, 30),
    ("recover_after_s", 1, 20),
    ("probe_min_samples", 1, 20),
    ("poll_first_ms", 200, 5_000),
    ("poll_every_ms", 250, 3_000),
    ("poll_last_every_ms", 1_000, 20_000),
    ("poll_budget_per_s", 20, 2_000),
    ("poll_concurrency", 4, 500),
    ("call_deadline_ms", 1_000, 20_000),
    ("breaker_failures", 1, 60),
    ("breaker_slow_ms", 500, 6_000),
    ("breaker_open_s", 1, 30),
    ("channel_concurrency", 128, 2_000),
    ("channel_pace_per_s", 100, 4_000),
    ("intake_max", 20, 100_000),
    ("attempts_max", 2, 30),
    ("close_patience_ms", 100, 10_000),
    ("make_up_per_s", 1, 500),
    ("webhook_concurrency", 1, 100),
    ("webhook_deadline_ms", 500, 10_000),
    ("reconcile_second_above_fen", 100, 100_000),
];
/// Shares, in percent.
const SHARES: [(&str, u64, u64); 3] = [("quantile", 50, 99), ("error_share", 2, 100), ("probe_share", 0, 20)];
/// What no house accepts: out of range, unreadable, unknown, against another threshold.
const WRONG: [(&str, &str); 8] = [
    ("hedge_after_ms", "0"),
    ("quantile", "NaN"),
    ("attempts_max", "100"),
    ("poll_budget_per_s", "-1"),
    ("switch_enabled", "perhaps"),
    ("call_deadline_ms", "60"),
    ("no_such_threshold", "1"),
    ("webhook_rest_s", "3000"),
];

/// What is set: thresholds and channels that are out.
#[derive(Debug, Clone, PartialEq)]
struct Set {
    tuning: Tuning,
    out: Vec<String>,
}

/// What an operator asks for.
#[derive(Debug, Clone)]
enum Act {
    Thresholds(Vec<(String, String)>),
    /// Not valid.
    Nonsense(Vec<(String, String)>),
    /// A channel is taken out (`true`) or put back.
    Channel(ChannelId, bool),
}

/// The operators, as one memory.
#[derive(Debug)]
pub(crate) struct Operators {
    /// What was set at their last look.
    set: Set,
    /// What they asked for since, in this order. What was not answered (`false`) may be set or not.
    asked: Vec<(Act, bool)>,
    /// Channels that are out for certain, and since when.
    out_since: BTreeMap<ChannelId, Timestamp>,
    on_duty: bool,
}

impl Default for Operators {
    fn default() -> Operators {
        let set = Set { tuning: Tuning::default(), out: Vec::new() };
        Operators { set, asked: Vec::new(), out_since: BTreeMap::new(), on_duty: false }
    }
}

impl Act {
    /// What is set afterwards.
    fn applied(&self, to: &Set) -> Set {
        let mut next = to.clone();
        match self {
            // Beside another change it may contradict that; then it is refused.
            Act::Thresholds(changes) => {
                next.tuning = to.tuning.patch(changes.clone()).unwrap_or_else(|_| to.tuning.clone());
            }
            Act::Nonsense(_) => {}
            Act::Channel(id, out) => {
                next.out.retain(|name| name != id.as_str());
                if *out {
                    next.out.push(id.to_string());
                    next.out.sort_unstable();
                }
            }
        }
        next
    }

    fn draw(dice: &mut Dice, lines: &[ChannelId], set: &Set) -> Act {
        if dice.happens(0.3) {
            let n = usize::try_from(dice.below(4)).unwrap_or(0);
            if let Some(id) = lines.get(n) {
                // They come back sooner than they go: with every channel out there would be nothing to see.
                let is_out = set.out.iter().any(|name| name == id.as_str());
                return Act::Channel(id.clone(), dice.happens(if is_out { 0.1 } else { 0.25 }));
            }
        }
        let mut changes: Vec<(String, String)> = Vec::new();
        for _ in 0..=dice.below(4) {
            let n = usize::try_from(dice.below(33)).unwrap_or(0);
            changes.push(if let Some((key, from, to)) = KNOBS.get(n) {
                ((*key).to_owned(), (from + dice.below(to - from + 1)).to_string())
            } else if let Some((key, from, to)) = SHARES.get(n - KNOBS.len()) {
                let percent = u32::try_from(from + dice.below(to - from + 1)).unwrap_or(50);
                ((*key).to_owned(), (f64::from(percent) / 100.0).to_string())
            } else {
                let key = if dice.happens(0.5) { "switch_enabled" } else { "hedge_enabled" };
                (key.to_owned(), dice.happens(0.6).to_string())
            });
        }
        if dice.happens(0.2) {
            let n = usize::try_from(dice.below(8)).unwrap_or(0);
            changes.extend(WRONG.get(n).map(|(key, value)| ((*key).to_owned(), (*value).to_owned())));
            return Act::Nonsense(changes);
        }
        // Operators read the refusal before they ask; what is left of it is the case above.
        if set.tuning.patch(changes.clone()).is_err() {
            changes.clear();
            changes.push(("make_up_per_s".to_owned(), (1 + dice.below(300)).to_string()));
        }
        Act::Thresholds(changes)
    }
}

impl World {
    /// The operators begin their day.
    pub(crate) fn operators_come(&mut self) {
        if !std::mem::replace(&mut self.operators.on_duty, true) {
            let first = self.dice.ms(5_000, 60_000);
            self.errand(first, Errand::Operate);
        }
    }

    /// True if the thresholds are the delivered ones, as far as operators know.
    pub(crate) fn as_delivered(&self) -> bool {
        self.operators.asked.is_empty() && self.operators.set.tuning == Tuning::default()
    }

    /// True if operators have taken this channel out, and the house has had its time to know.
    pub(crate) fn is_out(&self, channel: &ChannelId, at: Timestamp) -> bool {
        self.operators.out_since.get(channel).is_some_and(|since| at > since.plus(IN_FORCE))
    }

    /// Compares what is in force and what is kept with what operators were told; returns false if that is untrue.
    fn compare(&mut self, seen: &Set) {
        let Operators { set, asked, .. } = &self.operators;
        // Each of the unanswered acts counts or does not.
        let possible = (0..1_u32 << asked.len().min(8)).any(|taken| {
            let acts = asked.iter().enumerate().filter(|(i, (_, done))| *done || taken & (1 << i) != 0);
            acts.fold(set.clone(), |set, (_, (act, _))| act.applied(&set)) == *seen
        });
        if !possible {
            let changes = seen.tuning.changes_since(&set.tuning);
            let what = format!(
                "since the last look {changes:?} came into force; out are {:?} and were {:?}; asked and answered were {asked:?}",
                seen.out, set.out
            );
            self.outrage("tuning_untrue", None, what);
        }
        let now = self.now;
        let of = &mut self.operators;
        of.out_since.retain(|id, _| seen.out.iter().any(|name| name == id.as_str()));
        for id in seen.out.iter().filter_map(|name| ChannelId::new(name).ok()) {
            of.out_since.entry(id).or_insert(now);
        }
        of.set = seen.clone();
        of.asked.clear();
    }

    /// What they do next; nothing once the day is over and every channel is back.
    fn operators_act(&mut self) -> Vec<Act> {
        let lines: Vec<ChannelId> = self.lines.iter().map(|line| line.id.clone()).collect();
        let back = |name: &String| Some(Act::Channel(ChannelId::new(name).ok()?, false));
        let acts: Vec<Act> = if self.calm {
            self.operators.set.out.iter().filter_map(back).take(1).collect()
        } else {
            let both = self.dice.happens(0.2);
            let set = self.operators.set.clone();
            (0..=usize::from(both)).map(|_| Act::draw(&mut self.dice, &lines, &set)).collect()
        };
        for act in &acts {
            self.count(match act {
                Act::Thresholds(_) => "thresholds changed",
                Act::Nonsense(_) => "thresholds refused",
                Act::Channel(_, true) => "channels taken out",
                Act::Channel(_, false) => "channels put back",
            });
            if let Act::Channel(id, false) = act {
                self.operators.out_since.remove(id);
            }
        }
        self.operators.asked = acts.iter().map(|act| (act.clone(), false)).collect();
        acts
    }

    /// What was answered, and with "done" or not.
    fn answered(&mut self, asked: Vec<(Act, bool)>) {
        let now = self.now;
        for (act, done) in &asked {
            match act {
                Act::Channel(id, true) if *done => {
                    self.operators.out_since.entry(id.clone()).or_insert(now);
                }
                // Without an answer it may be back all the same.
                Act::Channel(id, false) => drop(self.operators.out_since.remove(id)),
                Act::Channel(_, true) | Act::Thresholds(_) | Act::Nonsense(_) => {}
            }
        }
        self.operators.asked = asked;
    }
}

/// One visit: look whether everything is as it was left, then act.
pub(crate) async fn operate(reality: &Reality, service: &Service) {
    // A store that cannot be read shows nothing; the next visit looks again.
    if let Some(seen) = look(service).await {
        reality.with(|world| world.compare(&seen));
        let acts = reality.with(World::operators_act);
        let done = match acts.as_slice() {
            [] => Vec::new(),
            [one] => vec![act(one, reality, service).await],
            [one, two, ..] => {
                let (first, second) = tokio::join!(act(one, reality, service), act(two, reality, service));
                vec![first, second]
            }
        };
        reality.with(|world| world.answered(acts.into_iter().zip(done).collect()));
    }
    reality.with(|world| {
        let idle = world.calm && world.operators.set.out.is_empty() && world.operators.asked.is_empty();
        world.operators.on_duty = !idle;
        if !idle {
            let after = world.dice.ms(2_000, 40_000);
            world.errand(after, Errand::Operate);
        }
    });
}

async fn look(service: &Service) -> Option<Set> {
    let rows = service.store().tuning_all().await.ok()?;
    let out = rows.into_iter().find(|row| row.key == OUT).map(|row| row.value).unwrap_or_default();
    let out = out.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect();
    Some(Set { tuning: (*service.tuning()).clone(), out })
}

/// True if it was answered, with "done" or (what is not valid) with a refusal.
async fn act(act: &Act, reality: &Reality, service: &Service) -> bool {
    match act {
        Act::Channel(id, out) => service.disable(id, *out, "operator").await.is_ok(),
        Act::Thresholds(changes) => match service.tune(changes.clone(), "operator").await {
            Ok(_) => true,
            // Valid alone, and not beside what another operator changed in the same moment.
            Err(TuneError::Invalid(_)) => true,
            Err(TuneError::Store(_)) => false,
        },
        Act::Nonsense(changes) => {
            let before = service.tuning();
            let answer = service.tune(changes.clone(), "operator").await;
            if !matches!(answer, Err(TuneError::Invalid(_))) {
                let what =
                    format!("{changes:?} is not valid, and the answer was {answer:?}; before: {before:?}");
                reality.with(|world| world.outrage("nonsense_taken", None, what));
            }
            true
        }
    }
}
