//! Profit sharing over our own adapters, end to end with the sandbox: amounts, limits, repeats, errors by cause.

#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

mod common;

use std::{sync::Arc, time::Duration};

use channels::{Channel, Settlement, registry};
use common::House;
use domain::{
    Answer, AttemptNo, Credential, Found, Money, OrderId, Scene, SplitNo, Timestamp,
    channel::{Fault, PrepayAsk, RefundFound, RefundProgress, TradeKey},
    settlement::{
        Part, PartOutcome, Receiver, ReceiverKind, Rest, ReturnAsk, SplitAnswer, SplitAsk, SplitFound,
        SplitKey, SplitProgress,
    },
};
use serde_json::{Value, json};

/// The channel over the house's sandbox, with or without freezing what is paid.
fn adapter(house: &House, name: &str, profit_sharing: bool) -> Arc<dyn Channel> {
    let path = house.keys_folder().join(name).join("credentials.toml");
    let table: toml::Table = std::fs::read_to_string(path).unwrap().parse().unwrap();
    let mut options = serde_json::to_value(table).unwrap();
    options["notify_url"] = json!(format!("http://127.0.0.1:9/notify/{name}"));
    options["profit_sharing"] = json!(profit_sharing);
    registry::build(&[(name.to_owned(), options)].into()).unwrap().pop().unwrap()
}

fn now() -> Timestamp {
    Timestamp::from_secs(jiff::Timestamp::now().as_second())
}

/// The channel's own number of a trade over ¥12.50 that was just paid.
async fn paid(house: &House, channel: &dyn Channel, n: u128) -> String {
    let number = OrderId::from_u128((0x0190 << 112) + n).channel_order_no(AttemptNo::new(1).unwrap());
    let (planned_at, expires_at) = (now(), now().plus(Duration::from_secs(900)));
    let ask = PrepayAsk {
        channel_order_no: number.clone(),
        planned_at,
        amount: Money::from_fen(1_250).unwrap(),
        description: "牛肉面".to_owned(),
        scene: Scene::Native,
        payer_id: "2024000001".to_owned(),
        account_type: "student".to_owned(),
        openid: None,
        client_ip: None,
        expires_at,
    };
    let answer = channel.prepay(&ask).await;
    let Answer::Accepted(Some(Credential::Qr { code_url })) = answer else { panic!("{answer:?}") };
    let name = channel.profile().id.as_str();
    let credential = json!({ "kind": "qr", "code_url": code_url });
    let (status, body) =
        house.sandbox_pay(&json!({ "channel": name, "credential": credential, "payer": "someone" })).await;
    assert_eq!(status, 200, "{body:#}");
    let found = channel.query(&TradeKey { number, planned_at, expires_at }).await;
    let Answer::Settled(Found::Captured(capture)) = found else { panic!("{found:?}") };
    capture.trade_no
}

fn receiver(kind: ReceiverKind, account: &str, name: Option<&str>) -> Receiver {
    Receiver { kind, account: account.to_owned(), name: name.map(str::to_owned) }
}

fn part(receiver: &Receiver, fen: i64) -> Part {
    let amount = Money::from_fen(fen).unwrap();
    Part { receiver: receiver.clone(), amount, description: "meals of today".to_owned() }
}

fn no(text: &str) -> SplitNo {
    SplitNo::new(text).unwrap()
}

fn ask(number: &str, trade_no: &str, parts: Vec<Part>) -> SplitAsk {
    SplitAsk { split_no: no(number), trade_no: trade_no.to_owned(), parts, rest: Rest::Kept }
}

fn key(number: &str, trade_no: &str) -> SplitKey {
    SplitKey { split_no: no(number), trade_no: trade_no.to_owned() }
}

/// Code and fault of a refusal.
fn refusal<A: std::fmt::Debug, S: std::fmt::Debug>(answer: Answer<A, S>) -> (String, Fault) {
    match answer {
        Answer::Declined(refusal) => (refusal.code, refusal.fault),
        other => panic!("{other:?}"),
    }
}

/// The final word on a split, asked for until it comes.
async fn settled(channel: &dyn Settlement, key: &SplitKey) -> SplitFound {
    let until = tokio::time::Instant::now() + Duration::from_secs(20);
    loop {
        match channel.split_query(key).await {
            SplitAnswer::Settled(found) => return found,
            SplitAnswer::Accepted(SplitProgress::Processing) => {}
            other => panic!("{other:?}"),
        }
        assert!(tokio::time::Instant::now() < until, "the split is not carried out");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn outcomes(found: &SplitFound) -> Vec<(&str, i64, &str)> {
    let word = |outcome: &PartOutcome| match outcome {
        PartOutcome::Paid { .. } => "paid".to_owned(),
        PartOutcome::Failed { code } => code.clone(),
    };
    found.parts.iter().map(|p| (p.account.as_str(), p.amount.fen(), &*word(&p.outcome).leak())).collect()
}

async fn later(house: &House, offset_s: i64) {
    let call = house.http.post(format!("{}/_sandbox/clock", house.control()));
    let answer = call.body(json!({ "offset_s": offset_s }).to_string()).send().await.unwrap();
    assert!(answer.status().is_success(), "{}", answer.text().await.unwrap());
}

async fn left(channel: &dyn Settlement, trade_no: &str) -> i64 {
    let answer = channel.remaining(trade_no).await;
    let Answer::Settled(left) = answer else { panic!("{answer:?}") };
    left.fen()
}

#[actix_web::test]
async fn wechat_splits_frozen_money_takes_parts_back_and_releases_the_rest() {
    let house = House::start("").await;
    let channel = adapter(&house, "wechat", true);
    let trade = paid(&house, &*channel, 1).await;
    let sharing = channel.settlement().unwrap();
    let stall = receiver(ReceiverKind::Merchant, "1900000109", Some("第三食堂有限公司"));
    let cook = receiver(ReceiverKind::Person, "oSANDBOX0000000000000000009", None);
    let stranger = receiver(ReceiverKind::Merchant, "1900000999", Some("nobody"));

    assert_eq!(left(sharing, &trade).await, 1_242, "the amount less WeChat's fee");
    let early = sharing.split(&ask("S0", &trade, vec![part(&stall, 100)])).await;
    assert_eq!(refusal(early), ("RULE_LIMIT".to_owned(), Fault::State), "within a minute of the payment");
    later(&house, 61).await;

    for _ in 0..2 {
        assert_eq!(sharing.receiver_add(&stall).await, Answer::Settled(()));
        assert_eq!(sharing.receiver_add(&cook).await, Answer::Settled(()));
    }
    let nameless = receiver(ReceiverKind::Merchant, "1900000110", None);
    assert_eq!(refusal(sharing.receiver_add(&nameless).await).1, Fault::Ours);

    let split = ask("S1", &trade, vec![part(&stall, 200), part(&cook, 100), part(&stranger, 50)]);
    for _ in 0..2 {
        let taken = sharing.split(&split).await;
        assert!(matches!(taken, Answer::Accepted(SplitProgress::Processing)), "{taken:?}");
    }
    let found = settled(sharing, &key("S1", &trade)).await;
    let wanted = [
        ("1900000109", 200, "paid"),
        ("oSANDBOX0000000000000000009", 100, "paid"),
        ("1900000999", 50, "NO_RELATION"),
    ];
    assert_eq!(outcomes(&found), wanted, "each part ends alone");
    assert!(!found.channel_split_id.is_empty());
    assert_eq!(left(sharing, &trade).await, 942, "what failed is frozen still");

    let other = sharing.split(&ask("S1", &trade, vec![part(&stall, 201)])).await;
    assert_eq!(refusal(other), ("INVALID_REQUEST".to_owned(), Fault::Ours), "the number with other content");
    let greedy = sharing.split(&ask("S2", &trade, vec![part(&stall, 76)])).await;
    assert_eq!(refusal(greedy), ("RULE_LIMIT".to_owned(), Fault::State), "30 % of 1,250 are 375");
    let twice = sharing.split(&ask("S2", &trade, vec![part(&stall, 1), part(&stall, 2)])).await;
    assert_eq!(refusal(twice), ("INCOMPLETE_ASK".to_owned(), Fault::Ours));
    let unknown = sharing.split_query(&key("S9", &trade)).await;
    assert!(matches!(unknown, Answer::Accepted(SplitProgress::NotFound)), "{unknown:?}");

    let back = |number: &str, fen| ReturnAsk {
        return_no: no(number),
        split_no: no("S1"),
        account: "1900000109".to_owned(),
        amount: Money::from_fen(fen).unwrap(),
        description: "a refund".to_owned(),
    };
    for _ in 0..2 {
        let given = sharing.give_back(&back("R1", 150)).await;
        let Answer::Settled(RefundFound::Succeeded { amount, .. }) = given else { panic!("{given:?}") };
        assert_eq!(amount.fen(), 150);
    }
    assert!(matches!(sharing.give_back_query(&back("R1", 150)).await, Answer::Settled(_)));
    let missing = sharing.give_back_query(&back("R9", 150)).await;
    assert!(matches!(missing, Answer::Accepted(RefundProgress::NotFound)), "{missing:?}");
    let too_much = sharing.give_back(&back("R2", 51)).await;
    assert_eq!(refusal(too_much), ("NOT_ENOUGH".to_owned(), Fault::State));

    let released = sharing.release(&key("S3", &trade)).await;
    assert!(matches!(released, Answer::Accepted(SplitProgress::Processing)), "{released:?}");
    let rest = settled(sharing, &key("S3", &trade)).await;
    assert_eq!((rest.parts.len(), rest.parts[0].amount.fen()), (1, 942), "the rest is the merchant's");
    assert_eq!(left(sharing, &trade).await, 0);
    let late = sharing.split(&ask("S4", &trade, vec![part(&stall, 10)])).await;
    assert_eq!(refusal(late), ("RULE_LIMIT".to_owned(), Fault::State), "released");

    assert_eq!(sharing.receiver_delete(&stall).await, Answer::Settled(()));
    let plain = adapter(&house, "wechat", false);
    let unfrozen = paid(&house, &*plain, 2).await;
    later(&house, 122).await;
    let refused = plain.settlement().unwrap().split(&ask("S5", &unfrozen, vec![part(&cook, 10)])).await;
    assert_eq!(refusal(refused), ("INVALID_REQUEST".to_owned(), Fault::Ours), "nothing was frozen");
    assert_eq!(left(plain.settlement().unwrap(), &unfrozen).await, 0);
    let nothing = sharing.remaining("4200000000000000000000000000").await;
    assert!(matches!(nothing, Answer::Accepted(())), "{nothing:?}");
}

#[actix_web::test]
async fn alipay_settles_frozen_money_and_releases_the_rest() {
    let house = House::start("").await;
    let channel = adapter(&house, "alipay", true);
    let trade = paid(&house, &*channel, 1).await;
    let sharing = channel.settlement().unwrap();
    let stall = receiver(ReceiverKind::Merchant, "2088000000000109", Some("第三食堂"));
    let cook = receiver(ReceiverKind::Person, "cook@example.edu", None);

    assert_eq!(left(sharing, &trade).await, 1_250);
    let stranger = sharing.split(&ask("S0", &trade, vec![part(&stall, 100)])).await;
    assert_eq!(refusal(stranger), ("ACQ.ROYALTY_RECEIVER_INVALID".to_owned(), Fault::Ours), "not bound yet");
    for _ in 0..2 {
        assert_eq!(sharing.receiver_add(&stall).await, Answer::Settled(()));
        assert_eq!(sharing.receiver_add(&cook).await, Answer::Settled(()));
    }
    let split = ask("S1", &trade, vec![part(&stall, 200), part(&cook, 100)]);
    for _ in 0..2 {
        let taken = sharing.split(&split).await;
        assert!(matches!(taken, Answer::Accepted(SplitProgress::Processing)), "{taken:?}");
    }
    let found = settled(sharing, &key("S1", &trade)).await;
    assert_eq!(outcomes(&found), [("2088000000000109", 200, "paid"), ("cook@example.edu", 100, "paid")]);
    assert_eq!(left(sharing, &trade).await, 950);

    let other = sharing.split(&ask("S1", &trade, vec![part(&stall, 201)])).await;
    assert_eq!(refusal(other), ("ACQ.DISCORDANT_REPEAT_REQUEST".to_owned(), Fault::Ours));
    let greedy = sharing.split(&ask("S2", &trade, vec![part(&stall, 76)])).await;
    assert_eq!(refusal(greedy), ("ACQ.ALLOC_AMOUNT_VALIDATE_ERROR".to_owned(), Fault::State));
    let unknown = sharing.split_query(&key("S9", &trade)).await;
    assert!(matches!(unknown, Answer::Accepted(SplitProgress::NotFound)), "{unknown:?}");

    let released = sharing.release(&key("S3", &trade)).await;
    assert!(matches!(released, Answer::Accepted(SplitProgress::Processing)), "{released:?}");
    assert_eq!(left(sharing, &trade).await, 0);
    let late = sharing.split(&ask("S4", &trade, vec![part(&stall, 10)])).await;
    assert_eq!(refusal(late).1, Fault::State, "released");
    assert_eq!(sharing.receiver_delete(&cook).await, Answer::Settled(()));
    let nothing: Value = json!(format!("{:?}", sharing.remaining("2026010122001499999999999999").await));
    assert_eq!(nothing, "Accepted(())");
}

#[actix_web::test]
async fn channels_without_profit_sharing_say_so() {
    let house = House::start("").await;
    for name in ["unionpay", "campus_card"] {
        let path = house.keys_folder().join(name).join("credentials.toml");
        let table: toml::Table = std::fs::read_to_string(path).unwrap().parse().unwrap();
        let mut options = serde_json::to_value(table).unwrap();
        options["notify_url"] = json!(format!("http://127.0.0.1:9/notify/{name}"));
        let channel = registry::build(&[(name.to_owned(), options)].into()).unwrap().pop().unwrap();
        assert!(channel.settlement().is_none(), "{name}");
    }
}
