//! Confirmed fixes whose channel stays silent for a day: shown to people, and gone on with. Unknown is never failed.

use std::collections::BTreeMap;

use domain::Timestamp;
use metrics::gauge;
use store::Difference;
use tracing::warn;

use crate::metric_definitions as metric;

/// The same fix is named again after so long.
const SAY_AGAIN: std::time::Duration = std::time::Duration::from_secs(3_600);

/// What was said, and when.
#[derive(Debug, Default)]
pub(super) struct Overdue {
    said: BTreeMap<i64, Timestamp>,
}

impl Overdue {
    /// Looks at the fixes that are still under way; gives those that are to be named now.
    fn look<'d>(&mut self, under_way: &'d [Difference], now: Timestamp) -> Vec<&'d Difference> {
        let overdue: Vec<&Difference> = under_way.iter().filter(|d| d.is_overdue(now)).collect();
        self.said.retain(|id, _| overdue.iter().any(|d| d.id == *id));
        let silent = |d: &&&Difference| self.said.get(&d.id).is_none_or(|at| now >= at.plus(SAY_AGAIN));
        let named: Vec<&Difference> = overdue.iter().filter(silent).copied().collect();
        self.said.extend(named.iter().map(|d| (d.id, now)));
        named
    }

    /// The metric of every channel, and a warning for each that is overdue, once an hour.
    pub(super) fn show<'c>(
        &mut self,
        under_way: &[Difference],
        channels: impl Iterator<Item = &'c str>,
        now: Timestamp,
    ) {
        for channel in channels {
            let n = under_way.iter().filter(|d| d.channel == channel && d.is_overdue(now)).count();
            let n = f64::from(u32::try_from(n).unwrap_or(u32::MAX));
            gauge!(metric::RECONCILIATION_OVERDUE, "channel" => channel.to_owned()).set(n);
        }
        for difference in self.look(under_way, now) {
            warn!(
                difference = difference.id,
                channel.name = difference.channel,
                day = difference.day,
                fix = difference.chosen.map(domain::reconciliation::Fix::as_str),
                since = %difference.changed_at,
                "a confirmed fix is overdue: the channel gave no final word; it goes on under the same number"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use domain::reconciliation::{self, DifferenceKind, DifferenceState, Fix, Subject};

    use super::*;

    fn fixing(id: i64, since: Timestamp) -> Difference {
        let found = reconciliation::Difference {
            kind: DifferenceKind::MissingHere,
            subject: Subject::Payment,
            number: id.to_string(),
            order: None,
            ours_fen: None,
            theirs_fen: Some(500),
            trade_no: String::new(),
            line: None,
            at: None,
            adopts: None,
            fix: Fix::Refund,
            fix_fen: 500,
            detail: String::new(),
        };
        Difference {
            id,
            run_id: 1,
            channel: "wechat".to_owned(),
            day: "2026-11-24".to_owned(),
            found,
            state: DifferenceState::Fixing,
            chosen: Some(Fix::Refund),
            first_by: None,
            second_by: None,
            refund_no: None,
            outcome: None,
            found_at: since,
            changed_at: since,
        }
    }

    #[test]
    fn a_fix_is_named_after_a_day_and_once_an_hour_until_it_ends() {
        let hour = |n: u64| Timestamp::from_secs(1_767_225_600).plus(Duration::from_secs(n * 3_600));
        let all = [fixing(1, hour(0)), fixing(2, hour(2))];
        let mut overdue = Overdue::default();
        let mut at = |under_way: &[Difference], now| {
            overdue.look(under_way, now).iter().map(|d| d.id).collect::<Vec<_>>()
        };
        assert_eq!(at(&all, hour(23)), [0; 0]);
        assert_eq!(at(&all, hour(24)), [1]);
        assert_eq!(at(&all, hour(24).plus(Duration::from_secs(1))), [0; 0], "it was just said");
        assert_eq!(at(&all, hour(26)), [1, 2]);
        assert_eq!(at(&all[1..], hour(27)), [2], "what has ended is not named");
        let ended = Difference { state: DifferenceState::Open, ..fixing(3, hour(0)) };
        assert!(!ended.is_overdue(hour(99)), "what waits for an operator is open, not overdue");
    }
}
