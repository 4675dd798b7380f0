//! The scenario's goals, judged. A missed goal is shown, not punished: a busy machine is no defect.

use serde::{Deserialize, Serialize};

use crate::{
    num,
    report::Report,
    scenario::{Goals, SwitchGoal},
    watch::Switch,
};

/// One goal and what became of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GoalResult {
    /// In words, with the figure to reach.
    pub goal: String,
    /// What was measured, in words.
    pub measured: String,
    /// Whether it was reached.
    pub met: bool,
}

pub(super) fn judge(goals: &Goals, report: &Report) -> Vec<GoalResult> {
    let mut results = Vec::new();
    let mut at_most = |name: &str, goal: Option<f64>, measured: f64, count: u64| {
        if let Some(goal) = goal {
            results.push(GoalResult {
                goal: format!("{name} at most {} ms", num::rounded(goal, 3)),
                measured: if count == 0 { "nothing measured".into() } else { format!("{measured:.1} ms") },
                met: count > 0 && measured <= goal,
            });
        }
    };
    let (accept, certainty) = (report.accept_ms, report.certainty_ms);
    at_most("accepted, p99", goals.accept_p99_ms, accept.p99, accept.count);
    at_most("certain, p50", goals.certainty_p50_ms, certainty.p50, certainty.count);
    at_most("certain, p99", goals.certainty_p99_ms, certainty.p99, certainty.count);
    if let Some(goal) = goals.failure_rate {
        results.push(GoalResult {
            goal: format!("failures of willing payers at most {} %", num::rounded(goal * 100.0, 3)),
            measured: format!("{} % of {}", num::rounded(report.failure_rate * 100.0, 3), report.willing),
            met: report.willing > 0 && report.failure_rate <= goal,
        });
    }
    let mut at_least = |name: &str, goal: Option<f64>, measured: f64| {
        if let Some(goal) = goal {
            results.push(GoalResult {
                goal: format!("{name} at least {goal:.0}/s"),
                measured: format!("{measured:.0}/s"),
                met: measured >= goal,
            });
        }
    };
    at_least("accepted", goals.accepted_per_s, report.accepted_per_s);
    at_least("finished", goals.finished_per_s, report.finished_per_s);
    if let Some(goal) = &goals.switch_away {
        results.push(switched(goal, &report.switches, leaves, "left"));
    }
    if let Some(goal) = &goals.switch_back {
        results.push(switched(goal, &report.switches, returns_to, "used again"));
    }
    results
}

fn leaves(switch: &Switch, channel: &str) -> bool {
    switch.from == channel
        || (switch.channel.as_deref() == Some(channel) && matches!(switch.to.as_str(), "slow" | "open"))
}

fn returns_to(switch: &Switch, channel: &str) -> bool {
    switch.to == channel || (switch.channel.as_deref() == Some(channel) && switch.to == "healthy")
}

fn switched(goal: &SwitchGoal, switches: &[Switch], is: fn(&Switch, &str) -> bool, word: &str) -> GoalResult {
    let found = switches.iter().find(|switch| switch.at_s >= goal.at_s && is(switch, &goal.channel));
    let after = found.map(|switch| switch.at_s - goal.at_s);
    GoalResult {
        goal: format!("{} {word} within {} s of second {}", goal.channel, goal.within_s, goal.at_s),
        measured: after.map_or_else(|| "never".into(), |s| format!("after {s:.2} s")),
        met: after.is_some_and(|s| s <= goal.within_s),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn switch(at_s: f64, from: &str, to: &str, channel: Option<&str>) -> Switch {
        Switch {
            at_s,
            from: from.into(),
            to: to.into(),
            reason: String::new(),
            channel: channel.map(Into::into),
        }
    }

    #[test]
    fn a_switch_goal_is_met_by_the_first_matching_switch_after_its_cause() {
        let goal = SwitchGoal { channel: "wechat".into(), at_s: 15.0, within_s: 2.0 };
        let by_channel =
            [switch(3.0, "wechat", "campus_card", None), switch(16.2, "wechat", "campus_card", None)];
        let result = switched(&goal, &by_channel, leaves, "left");
        assert!(result.met && result.measured == "after 1.20 s", "{result:?}");
        let by_state = [switch(18.0, "healthy", "slow", Some("wechat"))];
        let result = switched(&goal, &by_state, leaves, "left");
        assert!(!result.met && result.measured == "after 3.00 s", "{result:?}");
        assert_eq!(switched(&goal, &[], leaves, "left").measured, "never");
        assert!(
            switched(&goal, &[switch(16.0, "probing", "healthy", Some("wechat"))], returns_to, "back").met
        );
    }
}
