//! A lunch rush against the pure rules: when the router leaves a slow channel, and when it is back.
//!
//! Orders arrive at random (from a seed), start where [`choose`] says, and take as long as the script of the
//! channel says at the moment they begin; the router looks every 200 ms. No clock, no threads.
#![allow(clippy::as_conversions, reason = "tests")]

use std::time::Duration;

use super::*;
use crate::{ChannelId, ChannelKind, Money, Scene, Timestamp, channel::ChannelProfile, tuning::Tuning};

const START: Timestamp = Timestamp::from_millis(1_700_000_000_370);
const TICK_MS: u64 = 200;

/// A small generator of numbers: the same seed gives the same rush.
struct Dice(u64);

impl Dice {
    /// 0 (included) to 1 (excluded).
    fn draw(&mut self) -> f64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// The time to the next of so many a second, in ms.
    fn gap(&mut self, per_s: f64) -> f64 {
        -(1.0 - self.draw()).ln() * 1_000.0 / per_s
    }
}

struct Rush {
    transitions: Vec<(f64, ChannelState, String)>,
    /// Orders started on WeChat per second of the rush.
    on_wechat: Vec<u32>,
    orders: Vec<u32>,
}

impl Rush {
    /// `latency(ms since start, dice)` is WeChat's prepay latency; its queries always take 40 ms.
    fn run(
        seed: u64,
        per_s: f64,
        queries_per_s: f64,
        seconds: u64,
        tuning: &Tuning,
        latency: impl Fn(u64, &mut Dice) -> u64,
    ) -> Rush {
        let wechat = ChannelId::new("wechat").unwrap();
        let profile = |id: &ChannelId| ChannelProfile {
            id: id.clone(),
            kind: ChannelKind::Credential,
            scenes: vec![Scene::Native],
            limit: Money::from_fen(100_000).unwrap(),
            limits: Vec::new(),
        };
        let backup = ChannelView {
            profile: profile(&ChannelId::new("alipay").unwrap()),
            state: ChannelState::Healthy,
            probe_due: false,
            reason: String::new(),
        };
        let need = RouteNeed::new(Scene::Native, Money::from_fen(1_850).unwrap());
        let mut dice = Dice(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
        let mut monitor = Monitor::new(wechat.clone(), START);
        let mut in_flight: Vec<(u64, u64, Call)> = Vec::new(); // began, ends, kind
        let size = usize::try_from(seconds).unwrap();
        let mut rush = Rush { transitions: vec![], on_wechat: vec![0; size], orders: vec![0; size] };
        let (mut order_at, mut query_at) = (dice.gap(per_s), dice.gap(queries_per_s));
        for ms in 0..seconds * 1_000 {
            let now = START.plus(Duration::from_millis(ms));
            in_flight.retain(|(began, ends, call)| {
                if *ends <= ms {
                    monitor.record(now, *call, ends - began, Outcome::Answered);
                }
                *ends > ms
            });
            while query_at <= ms as f64 {
                query_at += dice.gap(queries_per_s);
                in_flight.push((ms, ms + 40, Call::Query));
            }
            while order_at <= ms as f64 {
                order_at += dice.gap(per_s);
                let view = ChannelView {
                    profile: profile(&wechat),
                    state: monitor.state(),
                    probe_due: monitor.probe_due(now, tuning),
                    reason: monitor.health().reason().to_owned(),
                };
                let choice = choose(&need, &[view, backup.clone()], dice.draw(), tuning);
                let Choice::Use { channel, hedge_at_once, .. } = choice else { panic!("{choice:?}") };
                let second = usize::try_from(ms / 1_000).unwrap();
                rush.orders[second] += 1;
                if channel == wechat {
                    rush.on_wechat[second] += 1;
                    in_flight.push((ms, ms + latency(ms, &mut dice), Call::Prepay));
                    if hedge_at_once {
                        monitor.note_probe(now);
                    }
                }
            }
            if ms % TICK_MS == 0 {
                let ages = in_flight.iter().map(|(began, _, call)| (*call, ms - began));
                if let Some(t) = monitor.assess(now, ages, Outside::default(), tuning) {
                    rush.transitions.push((ms as f64 / 1_000.0, t.to, t.reason));
                }
            }
        }
        rush
    }

    fn first(&self, state: ChannelState) -> Option<f64> {
        self.transitions.iter().find(|(_, to, _)| *to == state).map(|(at, _, _)| *at)
    }

    fn count(&self, state: ChannelState) -> usize {
        self.transitions.iter().filter(|(_, to, _)| *to == state).count()
    }
}

fn usual(dice: &mut Dice) -> u64 {
    80 + (dice.draw() * 120.0) as u64
}

/// 2 s from `from_ms` to `to_ms`, otherwise as usual.
fn slow_down(from_ms: u64, to_ms: u64) -> impl Fn(u64, &mut Dice) -> u64 {
    move |ms, dice| if (from_ms..to_ms).contains(&ms) { 2_000 } else { usual(dice) }
}

#[test]
fn the_switch_comes_within_two_seconds_and_the_return_within_fifteen() {
    let tuning = Tuning::default();
    println!("orders/s | seeds | left after (worst) | back after (worst) | share while slow (worst)");
    // The end falls anywhere within a rest: the return must be in time wherever that is.
    for (per_s, leave_s, back_s) in [(20.0, 2.0, 15.0), (65.0, 2.0, 15.0), (300.0, 2.0, 15.0)] {
        let (mut left, mut back, mut share): (f64, f64, f64) = (0.0, 0.0, 0.0);
        for seed in 1..=24 {
            let end_ms = 30_000 + seed * 211;
            let rush = Rush::run(seed, per_s, 100.0, 52, &tuning, slow_down(15_000, end_ms));
            let slow = rush.first(ChannelState::Slow).unwrap();
            let well = rush.first(ChannelState::Healthy).unwrap();
            let ended = end_ms as f64 / 1_000.0;
            assert!(slow > 15.8 && well > ended, "{:?}", rush.transitions);
            assert_eq!(rush.count(ChannelState::Healthy), 1, "no flapping: {:?}", rush.transitions);
            let tried: u32 = rush.on_wechat[18..30].iter().sum();
            let all: u32 = rush.orders[18..30].iter().sum();
            left = left.max(slow - 15.0);
            back = back.max(well - ended);
            share = share.max(f64::from(tried) / f64::from(all));
            let after: u32 = rush.on_wechat[48..].iter().sum();
            assert_eq!(after, rush.orders[48..].iter().sum::<u32>(), "everybody is back on WeChat");
        }
        println!("{per_s:8} | {:5} | {left:16.1} s | {back:16.1} s | {:.1} %", 24, share * 100.0);
        assert!(left <= leave_s, "{per_s}/s: left after {left} s");
        assert!(back <= back_s, "{per_s}/s: back after {back} s");
        // A probe is forced every 750 ms: that is a twentieth of 20 orders/s and little of a rush.
        assert!(share <= if per_s < 60.0 { 0.08 } else { 0.04 }, "{per_s}/s: {share}");
    }
}

#[test]
fn a_slow_down_in_the_middle_of_noise_is_found_and_noise_alone_is_not() {
    let tuning = Tuning::default();
    for seed in 1..=12 {
        // One call in twenty takes 1.5 s on a good day: p90 is well below the threshold.
        let noisy = |_: u64, dice: &mut Dice| if dice.draw() < 0.05 { 1_500 } else { usual(dice) };
        let rush = Rush::run(seed, 65.0, 100.0, 120, &tuning, noisy);
        assert!(rush.transitions.is_empty(), "seed {seed}: {:?}", rush.transitions);
        // One in four is not.
        let bad = |ms: u64, dice: &mut Dice| {
            if ms > 15_000 && dice.draw() < 0.25 { 1_500 } else { usual(dice) }
        };
        let rush = Rush::run(seed, 65.0, 100.0, 40, &tuning, bad);
        let slow = rush.first(ChannelState::Slow).unwrap();
        assert!(slow > 15.0 && slow < 23.0, "seed {seed}: {:?}", rush.transitions);
    }
}

#[test]
fn a_channel_that_comes_and_goes_is_left_alone_for_longer_each_time() {
    let tuning = Tuning::default();
    for seed in 1..=6 {
        // 12 s well, 4 s slow, for ten minutes: 37 slow-downs.
        let moody = |ms: u64, dice: &mut Dice| if ms % 16_000 > 12_000 { 2_000 } else { usual(dice) };
        let rush = Rush::run(seed, 65.0, 100.0, 600, &tuning, moody);
        let returns = rush.count(ChannelState::Healthy);
        assert!((2..=14).contains(&returns), "seed {seed}: {returns} returns");
    }
}

#[test]
fn a_standstill_is_left_as_soon_as_enough_calls_hang() {
    let tuning = Tuning::default();
    let dead = |ms: u64, dice: &mut Dice| if ms >= 15_000 { 60_000 } else { usual(dice) };
    for seed in 1..=12 {
        let rush = Rush::run(seed, 65.0, 100.0, 40, &tuning, dead);
        let (at, to, reason) = &rush.transitions[0];
        assert!(*to == ChannelState::Slow && *at <= 16.8, "{at} {reason}");
        assert!(reason.contains("unanswered for more than 800 ms"), "{reason}");
        assert_eq!(rush.count(ChannelState::Healthy), 0);
    }
}

#[test]
fn without_traffic_a_query_is_asked_for_and_a_few_of_them_bring_the_channel_back() {
    let tuning = Tuning::default();
    let mut monitor = Monitor::new(ChannelId::new("wechat").unwrap(), START);
    let breaker = Outside { breaker_open: true, disabled: false };
    monitor.assess(START, [], breaker, &tuning).unwrap();
    assert!(!monitor.query_probe_due(START.plus(Duration::from_secs(60)), &tuning), "not while it is open");
    let (mut queries, mut back_ms) = (0, None);
    for ms in (200..30_000).step_by(200) {
        let now = START.plus(Duration::from_millis(ms));
        if monitor.query_probe_due(now, &tuning) {
            monitor.note_probe(now);
            monitor.record(now.plus(Duration::from_millis(60)), Call::Query, 60, Outcome::Answered);
            queries += 1;
        }
        let to = monitor.assess(now, [], Outside::default(), &tuning).map(|t| t.to);
        if to == Some(ChannelState::Healthy) && back_ms.is_none() {
            back_ms = Some(ms);
        }
    }
    assert_eq!(queries, 5);
    assert!(back_ms.unwrap() <= 10_000, "{back_ms:?}");
    assert!(!monitor.probe_due(START.plus(Duration::from_secs(99)), &tuning), "nor once it is healthy");
}
