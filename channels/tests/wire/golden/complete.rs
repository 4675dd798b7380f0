//! No channel lacks a sample of any call that the trait has.

use std::{fs, path::Path};

use super::{Book, Channel, alipay, campus_card, unionpay, wechat};

/// Calls that make no message of their own.
const SILENT: [&str; 6] =
    ["profile", "bill_span", "read_bill", "parse_notification", "notification_answer", "settlement"];
/// Channels to which a call sends nothing, and why.
const NOTHING_SENT: [(&str, &str, &str); 5] = [
    ("alipay", "settlement_give_back", "a part comes back with a refund only"),
    ("alipay", "settlement_give_back_query", "a part comes back with a refund only"),
    (
        "alipay",
        "warm_up",
        "keys are files; a new certificate is fetched when an answer names it: certificates.txt",
    ),
    ("unionpay", "warm_up", "keys are files"),
    ("campus_card", "warm_up", "the secret is configured"),
];

/// The methods of a trait, read from its source: a new one asks its question here.
fn calls(source: &'static str, of: &str) -> Vec<&'static str> {
    let (_, rest) = source.split_once(of).unwrap();
    let body = rest.split("\n}\n").next().unwrap();
    let name = |line: &'static str| {
        let line = line.trim().trim_start_matches("async ");
        line.strip_prefix("fn ").and_then(|rest| rest.split('(').next())
    };
    body.lines().filter_map(name).collect()
}

#[test]
fn every_call_of_the_trait_has_a_sample_for_every_channel() {
    let mut own = calls(include_str!("../../../src/channel.rs"), "pub trait Channel");
    assert!(own.len() > 10 && own.contains(&"refund_query"), "{own:?}");
    own.retain(|call| !SILENT.contains(call) && *call != "prepay");
    let mut sharing = calls(include_str!("../../../src/settlement.rs"), "pub trait Settlement");
    assert!(sharing.len() > 7 && sharing.contains(&"release"), "{sharing:?}");
    sharing.retain(|call| *call != "settlement_limits");
    let base = "http://127.0.0.1:1";
    let (a, b, c, d) =
        (wechat::make(base), alipay::make(base), unionpay::make(base), campus_card::make(base));
    let built: [(&str, &dyn Channel); 4] = [
        ("wechat", &a.channel),
        ("alipay", &b.channel),
        ("unionpay", &c.channel),
        ("campus_card", &d.channel),
    ];
    assert_eq!(
        built.map(|(name, _)| name).to_vec(),
        channels::registry::names().collect::<Vec<_>>(),
        "a channel without samples"
    );
    for (name, channel) in built {
        let dir = Book::open(name).dir;
        let there = |message: &str| dir.join(format!("{message}.txt")).is_file();
        let mut wanted: Vec<String> = own.iter().map(|call| (*call).to_owned()).collect();
        wanted.extend(channel.profile().scenes.iter().map(|s| format!("prepay_{}", s.as_str())));
        if channel.settlement().is_some() {
            wanted.extend(sharing.iter().map(|call| format!("settlement_{call}")));
        }
        for message in &wanted {
            let sends = |(channel, silent, _): &(&str, &str, &str)| (*channel, *silent) != (name, message);
            assert!(!NOTHING_SENT.iter().all(sends) || there(message), "{name} lacks {message}.txt");
        }
        assert!(there("notification_payment"), "{name} lacks notification_payment.txt");
    }
}

/// Whoever reads a sample sees the good and the bad side by side.
#[test]
fn every_sample_with_an_answer_that_is_signed_shows_what_a_spoilt_signature_means() {
    let unsigned = ["wechat/probe.txt", "wechat/close_of_a_paid_trade.txt"];
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/wire/golden");
    let mut seen = 0;
    for name in channels::registry::names() {
        for file in fs::read_dir(dir.join(name)).unwrap() {
            let path = file.unwrap().path();
            let text = fs::read_to_string(&path).unwrap();
            let label = path.strip_prefix(&dir).unwrap().display().to_string();
            let Some((_, spoilt)) = text.split_once("== with a spoilt signature\n") else {
                // Nothing was answered, or the channel signs no refusals.
                let nothing_to_spoil = !text.contains("== answer") || unsigned.contains(&label.as_str());
                assert!(nothing_to_spoil, "{label} shows no spoilt signature");
                continue;
            };
            let nothing = ["Silent(", "NotificationRefused {", "WarmUp {"];
            assert!(
                nothing.iter().any(|word| spoilt.contains(word)),
                "{label}: a spoilt signature was believed"
            );
            assert!(!spoilt.contains("Settled") && !spoilt.contains("Captured"), "{label}");
            seen += 1;
        }
    }
    assert!(seen > 30, "{seen} samples");
}
