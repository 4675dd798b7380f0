//! Every transition of the table, one by one, and the words it leaves behind.

use super::*;
use crate::routing::{
    WindowStats,
    verdict::{name, number},
};

const START: Timestamp = Timestamp::from_secs(1_000_000);

fn at(seconds: u64) -> Timestamp {
    START.plus(Duration::from_secs(seconds))
}

fn wechat() -> ChannelId {
    ChannelId::new("wechat").unwrap()
}

fn prepays(samples: u32, quantile_ms: u64, slow: u32) -> CallStats {
    CallStats {
        prepay: WindowStats {
            samples,
            quantile_ms,
            slow,
            answered_lately: samples,
            ..WindowStats::default()
        },
        query: WindowStats::default(),
    }
}

fn failing(samples: u32, errors: u32) -> CallStats {
    CallStats { prepay: WindowStats { samples, errors, ..WindowStats::default() }, ..CallStats::default() }
}

const CLEAR: Outside = Outside { breaker_open: false, disabled: false };
const BREAKER: Outside = Outside { breaker_open: true, disabled: false };
const OPERATOR: Outside = Outside { breaker_open: false, disabled: true };
const BOTH: Outside = Outside { breaker_open: true, disabled: true };

/// A channel brought into `state` at second 0, by the ways of the table alone.
fn brought_to(state: ChannelState) -> Health {
    let (mut health, tuning) = (Health::new(START), Tuning::default());
    let mut step = |stats: CallStats, outside, at| {
        assert!(health.assess(&wechat(), &stats, outside, at, &tuning).is_some());
    };
    match state {
        ChannelState::Healthy => {}
        ChannelState::Slow => step(prepays(57, 1_240, 30), CLEAR, START),
        ChannelState::Open => step(CallStats::default(), BREAKER, START),
        ChannelState::Disabled => step(CallStats::default(), OPERATOR, START),
        ChannelState::Probing => {
            step(CallStats::default(), BREAKER, START);
            step(CallStats::default(), CLEAR, START);
        }
    }
    assert_eq!((health.state(), health.since()), (state, START));
    health
}

#[test]
fn the_table() {
    use ChannelState as S;
    let idle = CallStats::default();
    let fine = prepays(500, 120, 0);
    let slow = prepays(57, 1_240, 30);
    // From, what is measured, what is known besides, the second, and what becomes of it.
    let table = [
        (S::Healthy, fine, CLEAR, 9, S::Healthy),
        (S::Healthy, idle, CLEAR, 9, S::Healthy),
        (S::Healthy, slow, CLEAR, 9, S::Slow),
        (S::Healthy, prepays(19, 5_000, 19), CLEAR, 9, S::Healthy), // too few to judge by
        (S::Healthy, prepays(500, 800, 40), CLEAR, 9, S::Healthy),  // at the threshold is not above it
        (S::Healthy, failing(100, 26), CLEAR, 9, S::Slow),
        (S::Healthy, failing(100, 25), CLEAR, 9, S::Healthy),
        (S::Healthy, fine, BREAKER, 9, S::Open),
        (S::Healthy, fine, OPERATOR, 9, S::Disabled),
        (S::Slow, fine, CLEAR, 1, S::Slow), // its rest is not over
        (S::Slow, fine, CLEAR, 2, S::Probing),
        (S::Slow, slow, CLEAR, 2, S::Probing),
        (S::Slow, slow, BREAKER, 1, S::Open),
        (S::Slow, slow, OPERATOR, 1, S::Disabled),
        (S::Open, fine, BREAKER, 99, S::Open),
        (S::Open, idle, CLEAR, 1, S::Probing),
        (S::Open, idle, BOTH, 1, S::Disabled),
        (S::Probing, prepays(5, 100, 0), CLEAR, 4, S::Probing), // not for long enough
        (S::Probing, prepays(4, 100, 0), CLEAR, 99, S::Probing), // not often enough
        (S::Probing, idle, CLEAR, 99, S::Probing),
        (S::Probing, prepays(5, 100, 0), CLEAR, 5, S::Healthy),
        (S::Probing, prepays(5, 700, 0), CLEAR, 99, S::Probing), // neither well nor slow
        (S::Probing, prepays(1, 2_000, 1), CLEAR, 1, S::Probing), // one may be chance
        (S::Probing, prepays(2, 2_000, 2), CLEAR, 1, S::Slow),
        (S::Probing, prepays(40, 100, 2), CLEAR, 5, S::Healthy), // two of forty are below the quantile
        (S::Probing, failing(2, 2), CLEAR, 1, S::Slow),
        (S::Probing, failing(5, 1), CLEAR, 5, S::Probing),
        (S::Probing, failing(8, 1), CLEAR, 5, S::Healthy),
        (S::Probing, fine, BREAKER, 1, S::Open),
        (S::Probing, fine, OPERATOR, 1, S::Disabled),
        (S::Disabled, fine, OPERATOR, 99, S::Disabled),
        (S::Disabled, fine, BOTH, 99, S::Disabled),
        (S::Disabled, fine, BREAKER, 1, S::Probing), // and open at the next look
        (S::Disabled, fine, CLEAR, 1, S::Probing),
    ];
    for (from, stats, outside, second, to) in table {
        let mut health = brought_to(from);
        let transition = health.assess(&wechat(), &stats, outside, at(second), &Tuning::default());
        assert_eq!(health.state(), to, "{from} with {stats:?} and {outside:?} at {second} s");
        match transition {
            Some(t) => assert_eq!((t.from, t.to, t.at), (from, to, at(second))),
            None => assert_eq!(from, to),
        }
    }
}

#[test]
fn a_reason_names_channel_measure_threshold_window_and_samples() {
    let tuning = Tuning::default();
    let reason = |stats: CallStats, from| {
        let mut health = brought_to(from);
        health.assess(&wechat(), &stats, CLEAR, at(5), &tuning).unwrap();
        health.reason().to_owned()
    };
    assert_eq!(
        reason(prepays(57, 1_240, 30), ChannelState::Healthy),
        "wechat prepay p90 1,240 ms > 800 ms over 10 s, 57 samples"
    );
    assert_eq!(
        reason(failing(80, 40), ChannelState::Healthy),
        "wechat 40 errors in 80 prepay calls > 25 % over 10 s"
    );
    assert_eq!(
        reason(prepays(6, 150, 0), ChannelState::Probing),
        "wechat probes p90 150 ms < 600 ms for 5 s, 6 samples"
    );
    assert_eq!(reason(CallStats::default(), ChannelState::Slow), "wechat 2 s of rest are over");
    let standstill = WindowStats { samples: 400, quantile_ms: 100, overdue: 24, ..WindowStats::default() };
    assert_eq!(
        reason(CallStats { prepay: standstill, ..CallStats::default() }, ChannelState::Healthy),
        "wechat 24 prepay calls unanswered for more than 800 ms, 0 answered in the last second"
    );
    assert_eq!(
        (name(0.5), name(0.999), number(1_234_567)),
        ("p50".into(), "p99.9".into(), "1,234,567".into())
    );
}

#[test]
fn a_backlog_counts_only_against_what_was_answered_meanwhile() {
    let tuning = Tuning::default();
    let stats = |overdue, answered_lately| CallStats {
        prepay: WindowStats {
            samples: 900,
            quantile_ms: 90,
            overdue,
            answered_lately,
            ..WindowStats::default()
        },
        ..CallStats::default()
    };
    for (overdue, answered, state) in [
        (10, 9, ChannelState::Slow),
        (9, 0, ChannelState::Healthy),
        (20, 20, ChannelState::Healthy),
        (60, 285, ChannelState::Healthy),
    ] {
        let mut health = Health::new(START);
        health.assess(&wechat(), &stats(overdue, answered), CLEAR, at(1), &tuning);
        assert_eq!(health.state(), state, "{overdue} against {answered}");
    }
}

#[test]
fn fast_queries_do_not_hide_slow_prepays() {
    let tuning = Tuning::default();
    let stats = CallStats {
        query: WindowStats {
            samples: 2_000,
            quantile_ms: 40,
            answered_lately: 200,
            ..WindowStats::default()
        },
        ..prepays(30, 2_000, 30)
    };
    for from in [ChannelState::Healthy, ChannelState::Probing] {
        let mut health = brought_to(from);
        assert_eq!(health.assess(&wechat(), &stats, CLEAR, at(6), &tuning).unwrap().to, ChannelState::Slow);
    }
}

#[test]
fn the_rest_doubles_with_failed_probes_to_one_cap_and_with_relapses_to_another() {
    let tuning = Tuning::default();
    let slow = prepays(57, 2_000, 50);
    let mut health = Health::new(START);
    let mut now = START;
    let mut step = |health: &mut Health, stats: &CallStats, after_s: u64| {
        now = now.plus(Duration::from_secs(after_s));
        health.assess(&wechat(), stats, CLEAR, now, &tuning).unwrap();
        health.stay().as_secs()
    };
    let mut rests = vec![step(&mut health, &slow, 0)];
    for _ in 0..3 {
        let rest = health.stay().as_secs();
        step(&mut health, &slow, rest);
        rests.push(step(&mut health, &slow, 1));
    }
    assert_eq!(rests, [2, 4, 5, 5], "while it stays slow it is probed at least every five seconds");

    let mut relapses = Vec::new();
    for _ in 0..7 {
        let rest = health.stay().as_secs();
        step(&mut health, &slow, rest);
        step(&mut health, &prepays(9, 100, 0), 5);
        assert_eq!(health.state(), ChannelState::Healthy);
        relapses.push(step(&mut health, &slow, 10));
    }
    assert_eq!(relapses, [4, 8, 16, 32, 60, 60, 60], "a channel that flaps is left alone for longer");
    assert_eq!(health.relapses(), 7);

    step(&mut health, &slow, 60);
    step(&mut health, &prepays(9, 100, 0), 5);
    assert_eq!(step(&mut health, &slow, 120), 2, "two minutes of health are forgiveness");
}

#[test]
fn with_switching_off_no_channel_is_slow_but_breaker_and_operator_still_count() {
    let tuning = Tuning { switch_enabled: false, ..Tuning::default() };
    for (from, outside, to) in [
        (ChannelState::Healthy, CLEAR, ChannelState::Healthy),
        (ChannelState::Slow, CLEAR, ChannelState::Healthy),
        (ChannelState::Probing, CLEAR, ChannelState::Healthy),
        (ChannelState::Healthy, BREAKER, ChannelState::Open),
        (ChannelState::Slow, OPERATOR, ChannelState::Disabled),
    ] {
        let mut health = brought_to(from);
        health.assess(&wechat(), &prepays(57, 2_000, 50), outside, at(0), &tuning);
        assert_eq!(health.state(), to, "{from}");
    }
}
