//! With a bug planted (a feature of this crate, see `domain/src/planted.rs`) the simulator must find it within
//! 10,000 orders, or it is worth nothing. Without a feature there is nothing to test; `scripts/planted` has them all.

#![cfg(any(
    feature = "planted-expose-early",
    feature = "planted-failed-on-silence",
    feature = "planted-forgotten-refund",
    feature = "planted-double-count",
    feature = "planted-kept-part",
    feature = "planted-panic"
))]
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "tests")]

use simulator::{Options, simulate};

#[test]
fn the_planted_bug_is_caught_within_ten_thousand_orders() {
    const ORDERS: u64 = 250;
    for seed in 1..=10_000 / ORDERS {
        let outcome = simulate(&Options { seed, orders: ORDERS, days: 1 }, &|_| {}).unwrap();
        if let Some(first) = outcome.violations.first() {
            println!("caught after at most {} orders: {}: {}", seed * ORDERS, first.code, first.detail);
            return;
        }
    }
    panic!("10,000 orders with a planted bug, and nothing was found");
}
