//! What the window may say, and what it must not.

use super::*;

const START: Timestamp = Timestamp::from_secs(1_000_000);

fn at(ms: u64) -> Timestamp {
    START.plus(Duration::from_millis(ms))
}

fn fast(window: &mut Window, from_ms: u64, to_ms: u64, every_ms: usize) {
    for ms in (from_ms..to_ms).step_by(every_ms) {
        window.record(at(ms), 100, Outcome::Answered);
    }
}

#[test]
fn fresh_calls_in_flight_never_make_a_channel_look_faster() {
    let tuning = Tuning::default();
    let mut window = Window::new();
    for n in 0..30 {
        window.record(at(n * 10), 1_200, Outcome::Answered);
    }
    let without = window.stats(at(300), [], &tuning);
    let with = window.stats(at(300), (0..500).map(|n| n % 800), &tuning);
    assert_eq!(without, with, "five hundred calls younger than the threshold say nothing");
    assert!(with.quantile_ms > 1_100);
}

#[test]
fn calls_that_wait_past_the_threshold_count_before_they_are_answered() {
    let tuning = Tuning::default();
    let mut window = Window::new();
    fast(&mut window, 0, 5_000, 10);
    let healthy = window.stats(at(5_000), [], &tuning);
    assert_eq!((healthy.samples, healthy.slow, healthy.overdue), (500, 0, 0));
    assert!(healthy.quantile_ms.abs_diff(100) <= 5);
    // A backlog of 60 against 500 fast answers: more than a tenth, so p90 is the backlog's age.
    let backlog = window.stats(at(5_900), (0..60).map(|n| 801 + n), &tuning);
    assert_eq!((backlog.samples, backlog.slow, backlog.overdue), (560, 60, 60));
    assert!(backlog.quantile_ms > 800, "{backlog:?}");
}

#[test]
fn seconds_leave_the_window_and_memory_stays_bounded() {
    let tuning = Tuning::default();
    let mut window = Window::new();
    fast(&mut window, 0, 600_000, 100);
    assert!(window.slices.len() <= SLICES_MAX);
    window.forget_old(at(600_000), &tuning);
    assert!(window.slices.len() <= 11);
    let stats = window.stats(at(600_000), [], &tuning);
    assert!((85..=100).contains(&stats.samples), "{stats:?}");
    assert_eq!(window.stats(at(620_000), [], &tuning), WindowStats::default());
}

#[test]
fn payers_faults_are_not_held_against_the_channel_and_errors_are() {
    let tuning = Tuning::default();
    let mut window = Window::new();
    window.record(at(100), 5_000, Outcome::PayerFault);
    assert_eq!(window.stats(at(100), [], &tuning), WindowStats::default());
    window.record(at(6_000), 5_000, Outcome::Error);
    window.record(at(6_000), 50, Outcome::Answered);
    let stats = window.stats(at(6_000), [], &tuning);
    assert_eq!((stats.samples, stats.errors, stats.slow), (2, 1, 1));
    assert!((stats.error_share() - 0.5).abs() < 1e-9);
}

#[test]
fn a_cleared_window_ignores_answers_and_ages_of_calls_from_before() {
    let tuning = Tuning::default();
    let mut window = Window::new();
    fast(&mut window, 0, 1_000, 10);
    window.clear(at(3_000));
    window.record(at(4_000), 2_000, Outcome::Answered);
    assert_eq!(window.stats(at(4_000), [1_500, 3_999], &tuning), WindowStats::default());
    window.record(at(4_100), 100, Outcome::Answered);
    let stats = window.stats(at(4_100), [1_000], &tuning);
    assert_eq!((stats.samples, stats.overdue), (2, 1));
}

#[test]
fn answers_of_the_last_second_are_counted_to_a_tenth() {
    let tuning = Tuning::default();
    let mut window = Window::new();
    fast(&mut window, 0, 5_000, 20);
    assert_eq!(window.stats(at(4_999), [], &tuning).answered_lately, 50);
    assert_eq!(window.stats(at(5_500), [], &tuning).answered_lately, 20);
    assert_eq!(window.stats(at(6_000), [], &tuning).answered_lately, 0);
}

#[test]
fn a_clock_that_steps_back_does_no_lasting_harm() {
    let tuning = Tuning::default();
    let mut window = Window::new();
    fast(&mut window, 100_000, 101_000, 10);
    window.forget_old(at(0), &tuning);
    fast(&mut window, 0, 1_000, 10);
    assert_eq!(window.stats(at(1_000), [], &tuning).samples, 100);
}
