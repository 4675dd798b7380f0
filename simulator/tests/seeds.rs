//! Every seed that ever found something, lived through again; and the same seed twice is the same story.

#![allow(clippy::unwrap_used, reason = "tests")]

use simulator::{Options, Outcome, simulate};

fn live(seed: u64, orders: u64) -> Outcome {
    simulate(&Options { seed, orders, days: 1 }, &|_| {}).unwrap()
}

#[test]
fn seeds_that_found_something_find_nothing_any_more() {
    for line in include_str!("../seeds.txt").lines().filter(|line| !line.starts_with('#')) {
        let (seed, rest) = line.split_once(' ').unwrap();
        let (orders, found) = rest.split_once(' ').unwrap();
        let outcome = live(seed.parse().unwrap(), orders.parse().unwrap());
        assert_eq!(outcome.orders, orders.parse::<u64>().unwrap());
        assert!(outcome.violations.is_empty(), "{found}: {:#?}", outcome.violations);
    }
}

#[test]
fn the_same_seed_is_the_same_story_byte_for_byte_and_another_one_is_another() {
    let (once, again, other) = (live(7, 120), live(7, 120), live(8, 120));
    assert_eq!(serde_json::to_string(&once).unwrap(), serde_json::to_string(&again).unwrap());
    assert_ne!(once.digest, other.digest);
    assert!(once.counts.contains_key("crashes"), "{:?}", once.counts);
}
