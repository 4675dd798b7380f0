//! What the poller relies on: nothing lost, nothing out twice, the most urgent and longest due first.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

const START: Timestamp = Timestamp::from_secs(1_000_000);

fn at(ms: u64) -> Timestamp {
    START.plus(Duration::from_millis(ms))
}

fn key(n: u128) -> PollKey {
    (OrderId::from_u128(n), AttemptNo::new(1).unwrap())
}

#[test]
fn a_short_budget_goes_to_the_awaited_then_the_late_then_the_longest_due() {
    let mut queue = DueQueue::new();
    queue.push(key(1), at(100), Urgency::Routine);
    queue.push(key(2), at(50), Urgency::Routine);
    queue.push(key(3), at(400), Urgency::Late);
    queue.push(key(4), at(450), Urgency::Awaited);
    queue.push(key(5), at(900), Urgency::Awaited);
    queue.push(key(6), at(9_000), Urgency::Routine);
    assert_eq!(queue.lag(at(500)), Duration::from_millis(450));
    assert_eq!(queue.pop_due(at(500), 3), [key(4), key(3), key(2)]);
    assert_eq!(queue.pop_due(at(500), 3), [key(1)]);
    assert_eq!(queue.pop_due(at(500), 3), []);
    assert_eq!((queue.len(), queue.out(), queue.lag(at(500))), (6, 4, Duration::ZERO));
    assert_eq!(queue.next_due(), Some(at(900)));
    assert!(queue.hint(key(6), at(600)));
    assert_eq!(queue.pop_due(at(600), 3), [key(6)]);
}

#[test]
fn a_waiting_reader_moves_an_attempt_to_the_front_and_not_forward_in_time() {
    let mut queue = DueQueue::new();
    queue.push(key(1), at(100), Urgency::Routine);
    queue.push(key(2), at(200), Urgency::Routine);
    assert!(queue.raise(key(2), Urgency::Awaited) && !queue.raise(key(9), Urgency::Awaited));
    assert_eq!(queue.pop_due(at(150), 1), [key(1)], "not due yet");
    queue.finish(key(1), at(180), Urgency::Routine);
    assert_eq!(queue.pop_due(at(200), 1), [key(2)]);
    assert!(queue.raise(key(2), Urgency::Awaited), "out: its urgency comes with its end");
    assert_eq!(queue.pop_due(at(200), 9), [key(1)]);
}

#[test]
fn a_hint_during_a_query_leads_to_another_query_at_once() {
    let mut queue = DueQueue::new();
    queue.push(key(1), at(0), Urgency::Routine);
    assert_eq!(queue.pop_due(at(0), 9), [key(1)]);
    assert!(queue.hint(key(1), at(80)));
    assert_eq!(queue.pop_due(at(80), 9), [], "its query is still out");
    queue.finish(key(1), at(500), Urgency::Routine);
    assert_eq!(queue.pop_due(at(90), 9), [key(1)]);
    queue.finish(key(1), at(590), Urgency::Routine);
    assert_eq!((queue.pop_due(at(589), 9), queue.pop_due(at(590), 9)), (vec![], vec![key(1)]));
}

#[test]
fn a_notification_cancels_the_next_poll_and_the_query_in_flight_leaves_no_trace() {
    let mut queue = DueQueue::new();
    queue.push(key(1), at(0), Urgency::Routine);
    queue.push(key(2), at(0), Urgency::Routine);
    assert_eq!(queue.pop_due(at(0), 1), [key(1)]);
    assert!(queue.remove(key(1)) && queue.remove(key(2)));
    queue.finish(key(1), at(1), Urgency::Routine);
    assert!(queue.is_empty() && queue.out() == 0 && queue.next_due().is_none());
    assert!(!queue.remove(key(1)) && !queue.hint(key(1), at(2)) && !queue.contains(key(1)));
}

#[derive(Debug, Clone)]
enum Step {
    Push(u128, u64, Urgency),
    Hint(u128),
    Remove(u128),
    Pop(usize),
    Finish(u128, u64, Urgency),
    Pass(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let urgency = || prop::sample::select(Urgency::ALL.to_vec());
    let step = prop_oneof![
        (0..12_u128, 0..2_000_u64, urgency()).prop_map(|(k, ms, u)| Step::Push(k, ms, u)),
        (0..12_u128).prop_map(Step::Hint),
        (0..12_u128).prop_map(Step::Remove),
        (0..6_usize).prop_map(Step::Pop),
        (0..12_u128, 0..2_000_u64, urgency()).prop_map(|(k, ms, u)| Step::Finish(k, ms, u)),
        (0..500_u64).prop_map(Step::Pass),
    ];
    prop::collection::vec(step, 1..120)
}

/// The same rules, written the slow and obvious way.
#[derive(Default)]
struct Model {
    waiting: BTreeMap<PollKey, (Urgency, Timestamp)>,
    out: BTreeMap<PollKey, Option<(Urgency, Timestamp)>>,
}

impl Model {
    fn push(&mut self, key: PollKey, due: Timestamp, urgency: Urgency) {
        match self.out.get_mut(&key) {
            Some(again) => *again = Some((urgency, due)),
            None => drop(self.waiting.insert(key, (urgency, due))),
        }
    }

    fn pop(&mut self, now: Timestamp, budget: usize) -> Vec<PollKey> {
        let mut due: Vec<_> = self.waiting.iter().filter(|(_, (_, at))| *at <= now).collect();
        due.sort_by_key(|(key, (urgency, at))| (*urgency, *at, **key));
        let keys: Vec<PollKey> = due.into_iter().take(budget).map(|(key, _)| *key).collect();
        for key in &keys {
            self.waiting.remove(key);
            self.out.insert(*key, None);
        }
        keys
    }
}

proptest! {
    #[test]
    fn it_hands_out_exactly_what_the_obvious_list_would(steps in steps()) {
        let (mut queue, mut model, mut now) = (DueQueue::new(), Model::default(), START);
        for step in steps {
            match step {
                Step::Push(k, ms, urgency) => {
                    let due = now.plus(Duration::from_millis(ms));
                    queue.push(key(k), due, urgency);
                    model.push(key(k), due, urgency);
                }
                Step::Hint(k) => {
                    let known = queue.hint(key(k), now);
                    prop_assert_eq!(known, model.waiting.contains_key(&key(k)) || model.out.contains_key(&key(k)));
                    if known {
                        let due = model.waiting.get(&key(k)).map_or(now, |(_, due)| now.min(*due));
                        model.push(key(k), due, Urgency::Awaited);
                    }
                }
                Step::Remove(k) => {
                    let known = model.waiting.remove(&key(k)).is_some() | model.out.remove(&key(k)).is_some();
                    prop_assert_eq!(queue.remove(key(k)), known);
                }
                Step::Pop(budget) => {
                    let before: Vec<PollKey> = model.out.keys().copied().collect();
                    let popped = queue.pop_due(now, budget);
                    prop_assert!(popped.len() <= budget);
                    prop_assert!(popped.iter().all(|k| !before.contains(k)), "out twice at once");
                    prop_assert_eq!(popped, model.pop(now, budget));
                }
                Step::Finish(k, ms, urgency) => {
                    let next = now.plus(Duration::from_millis(ms));
                    queue.finish(key(k), next, urgency);
                    if let Some(again) = model.out.remove(&key(k)) {
                        let (asked, due) = again.unwrap_or((urgency, next));
                        model.waiting.insert(key(k), (urgency.min(asked), next.min(due)));
                    }
                }
                Step::Pass(ms) => now = now.plus(Duration::from_millis(ms)),
            }
            prop_assert_eq!(queue.len(), model.waiting.len() + model.out.len());
            prop_assert_eq!(queue.out(), model.out.len());
            prop_assert_eq!(queue.line.len(), model.waiting.len());
            let earliest = model.waiting.values().map(|(_, due)| *due).min();
            prop_assert_eq!(queue.next_due(), earliest);
            prop_assert_eq!(queue.lag(now), earliest.map_or(Duration::ZERO, |due| now.since(due)));
        }
        // Never lost: once everything out is finished, all that is registered is handed out in the end.
        for key in model.out.keys() {
            queue.finish(*key, now, Urgency::Routine);
        }
        let all = queue.len();
        prop_assert_eq!(queue.pop_due(now.plus(Duration::from_secs(10_000)), usize::MAX).len(), all);
    }
}
