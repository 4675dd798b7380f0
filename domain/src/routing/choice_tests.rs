//! The table of choices, line by line.

use proptest::prelude::*;

use super::*;
use ChannelState as S;

fn id(name: &str) -> ChannelId {
    ChannelId::new(name).unwrap()
}

fn yuan(yuan: i64) -> Money {
    Money::from_fen(yuan * 100).unwrap()
}

/// Three channels in order: two with a credential (the second without JSAPI, with a high limit), one direct.
fn views(states: [ChannelState; 3]) -> Vec<ChannelView> {
    let all = vec![Scene::Native, Scene::Jsapi, Scene::H5];
    let rows = [
        ("wechat", ChannelKind::Credential, all.clone(), 1_000),
        ("alipay", ChannelKind::Credential, vec![Scene::Native, Scene::H5], 5_000),
        ("campus_card", ChannelKind::Direct, all, 200),
    ];
    rows.into_iter()
        .zip(states)
        .map(|((name, kind, scenes, limit), state)| ChannelView {
            profile: ChannelProfile { id: id(name), kind, scenes, limit: yuan(limit), limits: Vec::new() },
            state,
            probe_due: false,
            reason: format!("{name} p90 is what it is"),
        })
        .collect()
}

/// An order of 18 yuan that consents to the campus card.
fn need() -> RouteNeed {
    RouteNeed { consents: vec![id("campus_card")], ..RouteNeed::new(Scene::Native, yuan(18)) }
}

/// No probe is drawn.
const NO_PROBE: f64 = 0.5;

fn chosen(need: &RouteNeed, states: [ChannelState; 3], draw: f64) -> String {
    match choose(need, &views(states), draw, &Tuning::default()) {
        Choice::Use { channel, hedge_at_once, .. } => {
            format!("{channel}{}", if hedge_at_once { ", hedged at once" } else { "" })
        }
        Choice::Wait { .. } => "wait".to_owned(),
        Choice::Exhausted { .. } => "exhausted".to_owned(),
    }
}

#[test]
fn the_order_of_preference_by_state() {
    const PROBE: f64 = 0.019;
    let table = [
        ([S::Healthy, S::Healthy, S::Healthy], NO_PROBE, "wechat"),
        ([S::Slow, S::Healthy, S::Healthy], NO_PROBE, "alipay"),
        ([S::Open, S::Slow, S::Healthy], NO_PROBE, "campus_card"),
        ([S::Disabled, S::Healthy, S::Healthy], NO_PROBE, "alipay"),
        // A probing channel has its share, and no more while something healthy is there.
        ([S::Probing, S::Healthy, S::Healthy], NO_PROBE, "alipay"),
        ([S::Probing, S::Healthy, S::Healthy], PROBE, "wechat, hedged at once"),
        ([S::Healthy, S::Probing, S::Healthy], PROBE, "alipay, hedged at once"),
        ([S::Healthy, S::Probing, S::Healthy], 0.02, "wechat"),
        ([S::Healthy, S::Healthy, S::Probing], PROBE, "wechat"), // a silent debit could not be hedged
        // Nothing healthy: probing before slow, slow before waiting.
        ([S::Slow, S::Probing, S::Open], NO_PROBE, "alipay"),
        ([S::Slow, S::Probing, S::Open], PROBE, "alipay"),
        ([S::Slow, S::Slow, S::Probing], NO_PROBE, "campus_card"),
        ([S::Slow, S::Slow, S::Slow], NO_PROBE, "wechat"),
        ([S::Open, S::Disabled, S::Slow], NO_PROBE, "campus_card"),
        ([S::Open, S::Open, S::Open], NO_PROBE, "wait"),
        ([S::Disabled, S::Disabled, S::Disabled], NO_PROBE, "wait"),
    ];
    for (states, draw, expected) in table {
        assert_eq!(chosen(&need(), states, draw), expected, "{states:?} at {draw}");
    }
}

#[test]
fn what_the_order_brings_decides_within_the_states() {
    const ALL: [ChannelState; 3] = [S::Healthy; 3];
    let wechat_down = [S::Open, S::Healthy, S::Healthy];
    let with = |change: fn(&mut RouteNeed)| {
        let mut changed = need();
        change(&mut changed);
        changed
    };
    let table: Vec<(&str, RouteNeed, [ChannelState; 3], &str)> = vec![
        ("asked for", with(|n| n.want = Some(id("alipay"))), ALL, "alipay"),
        (
            "asked for, slow",
            with(|n| n.want = Some(id("alipay"))),
            [S::Healthy, S::Slow, S::Healthy],
            "alipay",
        ),
        (
            "asked for, open",
            with(|n| n.want = Some(id("alipay"))),
            [S::Healthy, S::Open, S::Healthy],
            "wechat",
        ),
        ("asked for, not configured", with(|n| n.want = Some(id("quickpass"))), ALL, "wechat"),
        ("last used", with(|n| n.last_used = Some(id("campus_card"))), ALL, "campus_card"),
        (
            "last used, slow",
            with(|n| n.last_used = Some(id("alipay"))),
            [S::Healthy, S::Slow, S::Healthy],
            "wechat",
        ),
        (
            "asked for before last used",
            with(|n| (n.want, n.last_used) = (Some(id("alipay")), Some(id("campus_card")))),
            ALL,
            "alipay",
        ),
        (
            "the backend's order",
            with(|n| n.allowed = vec![id("campus_card"), id("wechat")]),
            ALL,
            "campus_card",
        ),
        ("the backend's order, twice", with(|n| n.allowed = vec![id("alipay"), id("alipay")]), ALL, "alipay"),
        ("only one allowed, open", with(|n| n.allowed = vec![id("wechat")]), wechat_down, "wait"),
        (
            "only one allowed, refused",
            with(|n| {
                n.allowed = vec![id("wechat")];
                n.exclude = vec![id("wechat")];
            }),
            ALL,
            "exhausted",
        ),
        ("none allowed is configured", with(|n| n.allowed = vec![id("quickpass")]), ALL, "exhausted"),
        ("refused", with(|n| n.exclude = vec![id("wechat")]), ALL, "alipay"),
        ("unreachable just now", with(|n| n.avoid = vec![id("wechat")]), ALL, "alipay"),
        (
            "all unreachable just now",
            with(|n| {
                n.avoid = vec![id("wechat"), id("alipay"), id("campus_card")];
            }),
            ALL,
            "wait",
        ),
        ("scene", with(|n| n.scene = Scene::Jsapi), wechat_down, "campus_card"),
        ("above one limit", with(|n| n.amount = yuan(1_001)), ALL, "alipay"),
        ("at the limit", with(|n| n.amount = yuan(1_000)), ALL, "wechat"),
        ("above every limit", with(|n| n.amount = yuan(5_001)), ALL, "exhausted"),
        ("no consent", with(|n| n.consents.clear()), [S::Open, S::Open, S::Healthy], "wait"),
        (
            "asked for without consent",
            with(|n| {
                n.consents.clear();
                n.want = Some(id("campus_card"));
            }),
            ALL,
            "wechat",
        ),
        (
            "a debit while another may be paid",
            with(|n| n.direct_ok = false),
            [S::Open, S::Open, S::Healthy],
            "wait",
        ),
        (
            "asked for a debit meanwhile",
            with(|n| {
                n.direct_ok = false;
                n.want = Some(id("campus_card"));
            }),
            ALL,
            "wechat",
        ),
        (
            "nothing but the debit, without consent",
            with(|n| {
                n.consents.clear();
                n.allowed = vec![id("campus_card")];
            }),
            ALL,
            "exhausted",
        ),
    ];
    for (what, need, states, expected) in table {
        assert_eq!(chosen(&need, states, NO_PROBE), expected, "{what}");
    }
}

#[test]
fn a_hedge_takes_another_healthy_channel_or_none() {
    let hedge = RouteNeed { hedge_of: Some(id("wechat")), ..need() };
    let table = [
        ([S::Healthy, S::Healthy, S::Healthy], "alipay"),
        ([S::Slow, S::Slow, S::Healthy], "campus_card"),
        ([S::Healthy, S::Slow, S::Probing], "wait"),
        ([S::Healthy, S::Open, S::Disabled], "wait"),
    ];
    for (states, expected) in table {
        assert_eq!(chosen(&hedge, states, 0.0), expected, "{states:?}");
    }
    let no_debit = RouteNeed { direct_ok: false, ..hedge.clone() };
    assert_eq!(chosen(&no_debit, [S::Slow, S::Slow, S::Healthy], 0.0), "wait");
    let nothing_else = RouteNeed { allowed: vec![id("wechat")], exclude: vec![id("wechat")], ..hedge };
    assert_eq!(chosen(&nothing_else, [S::Healthy; 3], 0.0), "wait", "a missing rival fails no order");
}

#[test]
fn a_probe_that_is_due_takes_the_next_order_whatever_is_drawn() {
    let mut channels = views([S::Probing, S::Healthy, S::Healthy]);
    channels[0].probe_due = true;
    let choice = choose(&need(), &channels, 0.999, &Tuning::default());
    assert!(
        matches!(choice, Choice::Use { hedge_at_once: true, ref channel, .. } if *channel == id("wechat"))
    );
    // Without a healthy channel behind it the order is no probe: there is nothing to hedge with.
    channels[1].state = S::Slow;
    channels[2].state = S::Open;
    let choice = choose(&need(), &channels, 0.999, &Tuning::default());
    assert!(
        matches!(choice, Choice::Use { hedge_at_once: false, ref channel, .. } if *channel == id("wechat"))
    );
}

#[test]
fn every_answer_says_why() {
    let tuning = Tuning::default();
    let reason = |need: &RouteNeed, states| match choose(need, &views(states), NO_PROBE, &tuning) {
        Choice::Use { reason, .. } | Choice::Wait { reason } | Choice::Exhausted { reason } => reason,
    };
    assert_eq!(
        reason(&need(), [S::Slow, S::Healthy, S::Healthy]),
        "alipay: first healthy in order; wechat is slow (wechat p90 is what it is)"
    );
    assert_eq!(
        reason(&RouteNeed { direct_ok: false, ..need() }, [S::Open, S::Disabled, S::Healthy]),
        "wechat: open; alipay: disabled; campus_card: debits at once while another attempt may still be paid"
    );
    let mut none = RouteNeed { exclude: vec![id("wechat")], scene: Scene::Jsapi, ..need() };
    none.consents.clear();
    assert_eq!(
        reason(&none, [S::Healthy; 3]),
        "wechat: refused this order; alipay: not for jsapi; campus_card: no consent"
    );
    assert_eq!(
        choose(&need(), &[], 0.0, &tuning),
        Choice::Wait { reason: "no channel is configured".to_owned() }
    );
}

fn states() -> impl Strategy<Value = [ChannelState; 3]> {
    let one = prop::sample::select(ChannelState::ALL.to_vec());
    [one.clone(), one.clone(), one]
}

fn some_ids() -> impl Strategy<Value = Vec<ChannelId>> {
    prop::sample::subsequence(vec![id("wechat"), id("alipay"), id("campus_card")], 0..=3).prop_shuffle()
}

proptest! {
    #[test]
    fn no_choice_ever_breaks_a_rule_of_money(
        states in states(), allowed in some_ids(), consents in some_ids(), exclude in some_ids(),
        avoid in some_ids(), want in prop::option::of(some_ids()), last in prop::option::of(some_ids()),
        direct_ok in any::<bool>(), hedge in prop::option::of(some_ids()), amount in 1..6_000_i64, draw in 0.0..1.0_f64,
    ) {
        let first = |ids: Option<Vec<ChannelId>>| ids.and_then(|ids| ids.first().cloned());
        let need = RouteNeed {
            account_type: String::new(),
            scene: Scene::Jsapi, amount: yuan(amount), allowed, consents, exclude, avoid,
            want: first(want), last_used: first(last), direct_ok, hedge_of: first(hedge),
        };
        let channels = views(states);
        let fit = channels.iter().any(|v| {
            unfit_because(&need, v).is_none() && (need.allowed.is_empty() || need.allowed.contains(&v.profile.id))
        });
        match choose(&need, &channels, draw, &Tuning::default()) {
            Choice::Use { channel, kind, .. } => {
                let view = channels.iter().find(|v| v.profile.id == channel).unwrap();
                prop_assert_eq!(kind, view.profile.kind);
                prop_assert!(!matches!(view.state, S::Open | S::Disabled));
                prop_assert!(need.allowed.is_empty() || need.allowed.contains(&channel));
                prop_assert!(!need.exclude.contains(&channel) && !need.avoid.contains(&channel));
                prop_assert!(view.profile.scenes.contains(&need.scene) && need.amount <= view.profile.limit);
                if kind == ChannelKind::Direct {
                    prop_assert!(need.direct_ok && need.consents.contains(&channel));
                }
                prop_assert!(need.hedge_of.is_none() || view.state == S::Healthy);
                prop_assert_ne!(need.hedge_of.as_ref(), Some(&channel));
            }
            Choice::Wait { reason } => prop_assert!((fit || need.hedge_of.is_some()) && !reason.is_empty()),
            Choice::Exhausted { reason } => prop_assert!(!fit && !reason.is_empty()),
        }
    }
}

#[test]
fn the_lowest_limit_that_fits_the_payer_and_the_scene_counts() {
    let limit = |account_type: Option<&str>, scene, amount| crate::channel::Limit {
        account_type: account_type.map(str::to_owned),
        scene,
        amount: yuan(amount),
    };
    let profile = ChannelProfile {
        id: id("wechat"),
        kind: ChannelKind::Credential,
        scenes: vec![Scene::Native, Scene::H5],
        limit: yuan(1000),
        limits: vec![
            limit(Some("student"), None, 500),
            limit(Some("student"), Some(Scene::H5), 200),
            limit(None, Some(Scene::H5), 300),
        ],
    };
    for (account_type, scene, expected) in [
        ("student", Scene::Native, 500),
        ("student", Scene::H5, 200),
        ("staff", Scene::Native, 1000),
        ("staff", Scene::H5, 300),
    ] {
        assert_eq!(profile.limit_for(account_type, scene), yuan(expected), "{account_type} {scene:?}");
    }
}
