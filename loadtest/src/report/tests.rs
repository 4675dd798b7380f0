//! What scripts and readers rely on.

use std::time::Duration;

use serde_json::Value;

use super::*;
use crate::{
    plan::Behaviour,
    scenario::Scenario,
    sink::SinkCounts,
    tally::{Ending, Tally},
    watch::Counters,
    wire::State,
};

/// A small made-up run: 100 orders, 90 paid over WeChat, 8 over the card, 2 cancelled.
pub(in crate::report) fn sample() -> RunResult {
    let mut tally = Tally { sent: 100, ..Tally::default() };
    for n in 0..100u64 {
        let at = Duration::from_millis(n * 100);
        tally.second(at).offered += 1;
        tally.lag.record(Duration::from_micros(200));
        tally.accepted(at, Duration::from_micros(1_000 + n));
        tally.credential.record(Duration::from_millis(40));
        let (behaviour, state) =
            if n < 98 { (Behaviour::Pays, State::Success) } else { (Behaviour::Cancels, State::Failed) };
        if n < 98 {
            let channel = if n < 90 { "wechat" } else { "campus_card" };
            tally.routed(at, channel);
            Tally::note(&mut tally.by_channel, channel);
            tally.certain(at, Duration::from_millis(100 + 10 * n));
        }
        tally.ended(at + Duration::from_secs(2), behaviour, Ending::Seen(state));
    }
    RunResult {
        scenario: Scenario::find("lunch-rush").unwrap(),
        seed: 42,
        orders: 100,
        last_arrival_s: 9.9,
        ended_s: 12.0,
        started_wall_us: 1_767_225_600_000_000,
        tally,
        accepted: Vec::new(),
        counters: Counters::of(&[("polls", 50), ("hedges", 3), ("signatures", 150), ("verifications", 250)]),
        switches: vec![Switch {
            at_s: 5.25,
            from: "wechat".into(),
            to: "campus_card".into(),
            reason: "wechat p90 1,240 ms > 800 ms over 10 s, 57 samples".into(),
            channel: None,
        }],
        webhooks: SinkCounts { calls: 101, taken: 100, repeated: 1, ..SinkCounts::default() },
        generator_cpu_us: 10_000,
    }
}

fn finished() -> Report {
    let process = ProcessFigures { cpu_us: 60_000, peak_rss_mib: 81.25, sign_us: 200.0, verify_us: 10.0 };
    let audit =
        AuditFigures { clean: true, orders: 100, captured_fen: 181_300, refunded_fen: 0, violations: vec![] };
    Report::from(sample()).finish(Some(process), Some(audit))
}

#[test]
fn the_json_has_every_promised_key_with_its_promised_shape() {
    let json: Value = serde_json::from_str(&serde_json::to_string(&finished()).unwrap()).unwrap();
    for key in [
        "seed",
        "offered",
        "accepted",
        "succeeded",
        "failed",
        "suspicious",
        "failure_rate",
        "drain_s",
        "polls_per_order",
        "cpu_us_per_order",
        "signature_floor_us_per_order",
        "floor_ratio",
        "peak_rss_mib",
        "hedges",
    ] {
        assert!(json[key].is_number(), "{key}: {}", json[key]);
    }
    for object in ["accept_ms", "credential_ms", "certainty_ms"] {
        for key in ["p50", "p90", "p99", "p999", "max"] {
            assert!(json[object][key].is_number(), "{object}.{key}");
        }
    }
    assert_eq!(json["scenario"], "lunch-rush");
    assert!(json["channel_share"]["wechat"].as_f64().unwrap() > 0.9);
    let switch = &json["switches"][0];
    assert_eq!(
        (&switch["at_s"], &switch["from"], &switch["to"]),
        (&5.25.into(), &"wechat".into(), &"campus_card".into())
    );
    assert!(switch["reason"].as_str().unwrap().contains("1,240 ms"));
    let audit = &json["audit"];
    assert_eq!(
        (&audit["clean"], &audit["orders"], &audit["captured_fen"]),
        (&true.into(), &100.into(), &181_300.into())
    );
    assert_eq!(audit["refunded_fen"], 0);
    assert_eq!(audit["violations"].as_array().unwrap().len(), 0);
}

#[test]
fn figures_follow_from_the_counts() {
    let report = finished();
    assert_eq!((report.succeeded, report.failed, report.willing), (98, 2, 98));
    assert_eq!(report.failure_rate, 0.0, "a payer who cancels is no failure of the house");
    assert_eq!(report.polls_per_order, Some(0.5));
    assert_eq!(report.cpu_us_per_order, Some(600.0));
    // 150 signatures of 200 µs and 250 verifications of 10 µs over 100 orders.
    assert_eq!(report.signature_floor_us_per_order, Some(325.0));
    assert_eq!(report.floor_ratio, Some(1.846));
    assert_eq!(report.drain_s, 2.0);
    assert!((report.certainty_ms.p50 - 585.0).abs() < 6.0, "{:?}", report.certainty_ms);
    assert_eq!(report.timeline.iter().map(|l| l.offered).sum::<u32>(), 100);
}

#[test]
fn a_late_generator_an_unclean_audit_and_a_forgotten_order_each_fail_the_run() {
    assert_eq!(finished().failed_reasons(), Vec::<String>::new());
    let mut late = sample();
    for _ in 0..5 {
        late.tally.lag.record(Duration::from_millis(80));
    }
    let reasons = Report::from(late).failed_reasons();
    assert!(reasons.len() == 1 && reasons[0].contains("fell behind"), "{reasons:?}");
    let mut pause = sample();
    pause.tally.lag.record(Duration::from_millis(700));
    assert!(Report::from(pause).generator.fell_behind);
    let unclean = AuditFigures {
        violations: vec!["order x: captured 1 fen too many".into()],
        ..AuditFigures::default()
    };
    let report = Report::from(sample()).finish(None, Some(unclean));
    assert!(report.failed_reasons()[0].contains("1 violations"), "{:?}", report.failed_reasons());
    assert!(report.summary().contains("captured 1 fen too many"));
    let mut forgotten = sample();
    forgotten.tally.forgotten = 1;
    assert_eq!(Report::from(forgotten).failed_reasons().len(), 1);
}

#[test]
fn the_page_contains_everything_and_fetches_nothing() {
    let mut report = finished();
    report.description = "<script>alert(1)</script>".into();
    let comparison = Comparison {
        before_name: "first version".into(),
        before: report.clone(),
        after_name: "everything on".into(),
        after: report.clone(),
    };
    for page in [report.html(), comparison.html()] {
        for fetching in ["http:", "https:", "src=", "href=", "url(", "@import", "<script", "<link", "<img"] {
            assert!(!page.contains(fetching), "{fetching}");
        }
        assert!(page.contains("<svg") && page.contains("prefers-color-scheme:dark"));
    }
    assert!(report.html().contains("1,240 ms &gt; 800 ms"), "the reason of the switch is readable");
}

#[test]
fn a_written_report_reads_back() {
    let dir = tempfile::tempdir().unwrap();
    let report = finished();
    report.write(&dir.path().join("new")).unwrap();
    assert_eq!(Report::read(&dir.path().join("new/report.json")).unwrap(), report);
    assert!(dir.path().join("new/report.html").exists());
}

#[test]
fn a_comparison_names_both_runs_and_the_gain() {
    let (mut before, after) = (finished(), finished());
    before.certainty_ms.p50 = after.certainty_ms.p50 * 5.0;
    before.failure_rate = 0.12;
    let comparison =
        Comparison { before_name: "first version".into(), before, after_name: "everything on".into(), after };
    let text = comparison.summary();
    assert!(text.contains("first version") && text.contains("everything on"), "{text}");
    assert!(text.contains("12 %") && text.contains("5.0 × less"), "{text}");
    assert!((comparison.certainty_gain().unwrap() - 5.0).abs() < 0.01);
}
