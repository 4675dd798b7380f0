//! The faults of a run in a few words each, for marks on charts. The full tables are in the scenario.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::scenario::{FaultSet, Scenario};

/// Something that was done to a channel or to the service.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Weather {
    /// Second of the run; 0 for what held from the start.
    pub at_s: f64,
    /// The channel, or `service`.
    pub on: String,
    /// What, in short.
    pub what: String,
}

pub(super) fn of(scenario: &Scenario) -> Vec<Weather> {
    let from_start = scenario.initial_faults.iter().map(|(channel, set)| (0.0, channel, set));
    let later = scenario.faults.iter().map(|change| (change.at_s, &change.channel, &change.set));
    let mut all: Vec<Weather> = from_start
        .chain(later)
        .map(|(at_s, channel, set)| Weather { at_s, on: channel.clone(), what: in_short(set) })
        .collect();
    let kills = scenario.node.kill_at_s.iter();
    all.extend(kills.map(|at_s| Weather { at_s: *at_s, on: "service".into(), what: "killed".into() }));
    all.sort_by(|a, b| a.at_s.total_cmp(&b.at_s));
    all
}

/// `latency 2000 ms, error_rate 0.6, lost 0.05`
fn in_short(set: &FaultSet) -> String {
    let mut words = Vec::new();
    for (name, value) in set {
        match value {
            Value::Object(inner) if inner.contains_key("median_ms") => {
                words.push(format!("{name} {} ms", inner.get("median_ms").unwrap_or(&Value::Null)));
            }
            // A table such as `notify`: its plain shares say enough.
            Value::Object(inner) => words.extend(
                inner
                    .iter()
                    .filter(|(_, v)| v.is_number())
                    .map(|(inner_name, v)| format!("{inner_name} {v}")),
            ),
            Value::Bool(true) => words.push(name.clone()),
            Value::Bool(false) | Value::Null => {}
            other => words.push(format!("{name} {other}")),
        }
    }
    if words.is_empty() { "fair".into() } else { words.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_table_becomes_a_few_words() {
        let all = of(&Scenario::find("lunch-rush").unwrap());
        let slow = all.iter().find(|w| w.at_s == 15.0).unwrap();
        assert_eq!((slow.on.as_str(), slow.what.contains("latency 2000 ms")), ("wechat", true), "{slow:?}");
        assert!(slow.what.contains("lost 0.05"), "{slow:?}");
        let all = of(&Scenario::find("wechat-down").unwrap());
        assert!(all.iter().any(|w| w.what == "unreachable"));
        let all = of(&Scenario::find("kill-nine").unwrap());
        assert_eq!(all.iter().filter(|w| w.on == "service").count(), 2);
    }
}
