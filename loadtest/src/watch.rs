//! Looks at the service from outside during a run: its counters and its switches.
//!
//! The counters belong to one life of the process. When one of them falls, the process was started again
//! and everything since counts as new; what it counted between the last look (at most a second) and its end
//! is missing. A service that does not answer is simply asked again a second later.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::{
    house::House,
    wire::{SwitchList, SwitchView},
};

/// Values that rise and fall; the rest only grow within one life of the process.
const GAUGES: [&str; 1] = ["open_orders"];

/// Sums of counters over all lives of the service.
#[derive(Debug, Clone, Default)]
pub struct Counters {
    latest: BTreeMap<String, u64>,
    sums: BTreeMap<String, u64>,
    started: bool,
}

impl Counters {
    /// Takes in one look. The first one is the zero point: what was counted before the run is not ours.
    fn look(&mut self, stats: &BTreeMap<String, Value>) {
        let now: BTreeMap<String, u64> =
            stats.iter().filter_map(|(name, value)| Some((name.clone(), value.as_u64()?))).collect();
        if self.started {
            for (name, value) in now.iter().filter(|(name, _)| !GAUGES.contains(&name.as_str())) {
                let before = self.latest.get(name).copied().unwrap_or(0);
                let more = value.checked_sub(before).unwrap_or(*value);
                *self.sums.entry(name.clone()).or_default() += more;
            }
        }
        self.started = true;
        self.latest = now;
    }

    /// How much a counter grew during the run; `None` if the service has no such counter.
    #[must_use]
    pub fn grown(&self, name: &str) -> Option<u64> {
        self.sums.get(name).copied()
    }

    /// Every counter's growth.
    #[must_use]
    pub fn all(&self) -> BTreeMap<String, u64> {
        self.sums.clone()
    }

    /// Made-up growth, for tests.
    #[cfg(test)]
    pub(crate) fn of(sums: &[(&str, u64)]) -> Counters {
        let sums = sums.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect();
        Counters { sums, ..Counters::default() }
    }

    /// The last value seen, for gauges.
    #[must_use]
    pub fn latest(&self, name: &str) -> Option<u64> {
        self.latest.get(name).copied()
    }
}

/// One switch of the run.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Switch {
    /// Second of the run.
    pub at_s: f64,
    /// Where from: a channel, or a state of `channel`.
    pub from: String,
    /// Where to.
    pub to: String,
    /// The router's words.
    pub reason: String,
    /// The channel concerned, where the router names one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channel: Option<String>,
}

impl Switch {
    /// True if new orders start elsewhere from here; otherwise a channel that was not in use changed its state.
    pub(crate) fn moves(&self) -> bool {
        self.from != self.to
    }

    /// Where new orders start.
    pub(crate) fn label(&self) -> String {
        if self.moves() { format!("{} → {}", self.from, self.to) } else { format!("stays on {}", self.to) }
    }
}

/// What has been seen so far.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    pub(crate) counters: Counters,
    pub(crate) switches: Vec<Switch>,
}

/// What one look brought back; nothing where the service did not answer.
pub(crate) struct Glance {
    stats: Option<BTreeMap<String, Value>>,
    switches: Option<SwitchList>,
}

impl Glance {
    /// One look at counters and switches. Dropping it halfway loses nothing but this look.
    pub(crate) async fn at(house: &House) -> Glance {
        Glance { stats: house.ask("/admin/v1/stats").await, switches: house.ask("/admin/v1/switches").await }
    }
}

impl Seen {
    /// Takes in one look.
    pub(crate) fn take_in(&mut self, house: &House, glance: Glance) {
        if let Some(stats) = glance.stats {
            self.counters.look(&stats);
        }
        if let Some(list) = glance.switches {
            self.switches = in_run(house, list.switches);
        }
    }
}

/// Those of this run, oldest first.
fn in_run(house: &House, views: Vec<SwitchView>) -> Vec<Switch> {
    let mut switches: Vec<Switch> = views
        .into_iter()
        .filter_map(|view| {
            let at_s = house.clock.second_of(view.at_us()?);
            (at_s >= 0.0).then(|| Switch {
                at_s: crate::num::rounded(at_s, 3),
                from: view.from.unwrap_or_else(|| "none".into()),
                to: view.to.unwrap_or_else(|| "none".into()),
                reason: view.reason,
                channel: view.channel,
            })
        })
        .collect();
    switches.sort_by(|a, b| a.at_s.total_cmp(&b.at_s));
    switches
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stats(polls: u64) -> BTreeMap<String, Value> {
        [("polls".to_owned(), polls.into()), ("since".to_owned(), "2026".into())].into()
    }

    #[test]
    fn counters_start_at_the_first_look_and_go_on_over_a_restart() {
        let mut counters = Counters::default();
        counters.look(&stats(100));
        assert_eq!(counters.grown("polls"), None);
        counters.look(&stats(130));
        counters.look(&stats(20));
        counters.look(&stats(25));
        assert_eq!(counters.grown("polls"), Some(55));
        assert_eq!(counters.latest("polls"), Some(25));
        assert_eq!(counters.grown("since"), None);
    }
}
