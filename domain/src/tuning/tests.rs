//! What operators rely on when they change a setting.

use super::*;

#[test]
fn the_defaults_are_consistent_and_every_key_is_documented_with_its_unit() {
    let defaults = Tuning::default();
    assert_eq!(defaults.validate(), Ok(()));
    for key in Tuning::keys() {
        assert!(key.about.ends_with('.'), "{}: {:?}", key.key, key.about);
        assert!(key.range.holds(key.default), "{}", key.key);
        assert_eq!(defaults.get(key.key), Some(key.default));
        let measured = ["_ms", "_s", "_fen", "_h"].iter().any(|end| key.key.ends_with(end));
        assert_eq!(!key.unit.is_empty(), measured, "{}", key.key);
    }
    assert_eq!(defaults.rules(), Rules::default());
    assert_eq!(defaults.hedge_after_ms, 800);
    assert_eq!(defaults.latency_threshold_ms, 800);
    assert_eq!(defaults.recover_threshold_ms, 600);
}

#[test]
fn every_key_can_be_set_to_its_own_default_and_to_both_ends_of_its_range() {
    for key in Tuning::keys() {
        let mut tuning = Tuning::default();
        tuning.set(key.key, &key.default.to_string()).unwrap();
        assert_eq!(tuning, Tuning::default());
        let ends = match key.range {
            Range::Whole { min, max } => vec![Value::Whole(min), Value::Whole(max)],
            Range::Share { min, max } => vec![Value::Share(min), Value::Share(max)],
            Range::Switch => vec![Value::Switch(true), Value::Switch(false)],
        };
        for end in ends {
            // A far end may contradict another setting, but is never out of its own range.
            if let Err(error) = tuning.set(key.key, &end.to_string()) {
                assert!(error.faults.iter().all(|f| f.problem.contains("must be at most")), "{error}");
            } else {
                assert_eq!(tuning.get(key.key), Some(end));
            }
        }
    }
}

#[test]
fn one_refusal_names_every_fault_with_key_value_and_range_and_changes_nothing() {
    let before = Tuning::default();
    let changes = [
        ("hedge_after_ms", "5"),
        ("quantile", "1.5"),
        ("window_s", "ten"),
        ("switch_enabled", "maybe"),
        ("min_samples", "-1"),
        ("probe_share", "NaN"),
        ("poll_budget", "3"),
    ];
    let error = before.patch(changes).unwrap_err();
    let mut named: Vec<&str> = error.faults.iter().map(|f| f.key.as_str()).collect();
    named.sort_unstable();
    let mut given: Vec<&str> = changes.iter().map(|(k, _)| *k).collect();
    given.sort_unstable();
    assert_eq!(named, given);
    let text = error.to_string();
    assert!(text.contains("hedge_after_ms = 5: is out of range; allowed: 20 to 60000 ms"), "{text}");
    assert!(text.contains("window_s = ten: is not a whole number; allowed: 1 to 120 s"), "{text}");
    assert!(text.contains("poll_budget_per_s"), "the unknown key's neighbours are named: {text}");
    assert_eq!(before, Tuning::default());
}

#[test]
fn settings_that_contradict_each_other_are_refused_alone_and_accepted_together() {
    let mut tuning = Tuning::default();
    let error = tuning.set("latency_threshold_ms", "500").unwrap_err();
    assert_eq!(error.faults[0].key, "recover_threshold_ms");
    assert!(error.faults[0].problem.contains("latency_threshold_ms (500)"));
    let tuning = tuning.patch([("latency_threshold_ms", "500"), ("recover_threshold_ms", "400")]).unwrap();
    assert_eq!((tuning.latency_threshold_ms, tuning.recover_threshold_ms), (500, 400));
    for (lesser, greater, _) in AT_MOST {
        assert!(Tuning::default().get(lesser).is_some() && Tuning::default().get(greater).is_some());
    }
}

#[test]
fn a_change_is_described_by_what_was_and_what_is() {
    let before = Tuning::default();
    let mut after = before.clone();
    after.set("hedge_after_ms", " 900 ").unwrap();
    after.set("switch_enabled", "off").unwrap();
    let keys: Vec<_> = after.changes_since(&before).iter().map(|c| (c.key, c.from, c.to)).collect();
    assert_eq!(
        keys,
        [
            ("switch_enabled", Value::Switch(true), Value::Switch(false)),
            ("hedge_after_ms", Value::Whole(800), Value::Whole(900)),
        ]
    );
}

#[test]
fn it_is_a_flat_map_on_disk_where_missing_keys_are_defaults_and_unknown_ones_an_error() {
    let tuning: Tuning = serde_json::from_str(r#"{"hedge_after_ms": 900}"#).unwrap();
    assert_eq!(tuning, Tuning { hedge_after_ms: 900, ..Tuning::default() });
    assert!(serde_json::from_str::<Tuning>(r#"{"hedge_after": 900}"#).is_err());
    let text = serde_json::to_string(&tuning).unwrap();
    assert_eq!(serde_json::from_str::<Tuning>(&text).unwrap(), tuning);
    let keys: Vec<_> = Tuning::keys().iter().map(|k| k.key.to_owned()).collect();
    let map: std::collections::BTreeMap<String, serde_json::Value> = serde_json::from_str(&text).unwrap();
    assert_eq!(map.len(), keys.len());
}
