//! The house as a whole: a real store, channel doubles for faults at a given step.

#![allow(
    missing_docs,
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::as_conversions,
    reason = "tests"
)]

mod common;

use std::time::Duration;

use actors::HearError;
use common::{Double, house, request, until};
use diesel::{Connection as _, SqliteConnection, connection::SimpleConnection as _};
use domain::{ChannelKind, ChannelOrderNo, order::Event, tuning::Tuning};
use store::Cause;

fn number(view: &serde_json::Value, attempt: usize) -> ChannelOrderNo {
    ChannelOrderNo::new(view["attempts"][attempt]["channel_order_no"].as_str().unwrap()).unwrap()
}

#[actix_rt::test]
async fn an_order_is_exposed_paid_found_by_a_query_and_settled_and_the_same_number_is_the_same_order() {
    let dir = tempfile::tempdir().unwrap();
    let wechat = Double::new("wechat", ChannelKind::Credential);
    let house = house(dir.path(), vec![wechat.clone()], Tuning::default()).await;
    let accepted = house.service.accept(request("A1", 1850, &[]), "hash".to_owned()).await.unwrap();
    let again = house.service.accept(request("A1", 1850, &[]), "hash".to_owned()).await.unwrap();
    assert_eq!((accepted.fresh, again.fresh, again.id), (true, false, accepted.id));
    assert!(house.service.accept(request("A1", 1851, &[]), "other".to_owned()).await.is_err());

    let shown = until(&house.service, accepted.id, |v| !v["credential"].is_null()).await;
    assert_eq!(shown["state"], "processing");
    wechat.pay(&number(&shown, 0), 1850);
    let paid = until(&house.service, accepted.id, |v| v["state"] == "success").await;
    assert_eq!(paid["net_captured_fen"], 1850);
    assert_eq!(paid["truth"]["code"], "charged");
    house.running.stop(Duration::from_secs(2)).await;
}

#[actix_rt::test]
async fn a_silent_prepay_is_hedged_onto_the_card_and_a_late_credential_is_never_shown() {
    let dir = tempfile::tempdir().unwrap();
    let wechat = Double::new("wechat", ChannelKind::Credential);
    let card = Double::new("campus_card", ChannelKind::Direct);
    wechat.script.lock().unwrap().prepay_takes = Duration::from_millis(700);
    let tuning = Tuning { hedge_after_ms: 150, ..Tuning::default() };
    let house = house(dir.path(), vec![wechat.clone(), card.clone()], tuning).await;
    let id = house.service.accept(request("B1", 900, &["campus_card"]), "h".to_owned()).await.unwrap().id;
    let paid = until(&house.service, id, |v| v["state"] == "success").await;
    assert_eq!(paid["channel"], "campus_card");
    assert_eq!(paid["attempts"][0]["certificate"], "never_exposed");
    // The credential that came too late is closed at leisure, and the order then settles.
    let numbers = number(&paid, 0).to_string();
    let deadline = tokio::time::Instant::now() + Duration::from_secs(15);
    while !wechat.script.lock().unwrap().closed.contains(&numbers) {
        assert!(tokio::time::Instant::now() < deadline, "the withheld attempt was not closed");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let view = until(&house.service, id, |_| true).await;
    assert!(view["credential"].is_null());
    house.running.stop(Duration::from_secs(2)).await;
}

#[actix_rt::test]
async fn a_code_that_nobody_scanned_ends_the_order_after_its_end_and_not_before() {
    let dir = tempfile::tempdir().unwrap();
    let alipay = Double::new("alipay", ChannelKind::Credential);
    alipay.script.lock().unwrap().unscanned = true;
    let tuning = Tuning { certify_grace_s: 2, poll_every_ms: 100, ..Tuning::default() };
    let house = house(dir.path(), vec![alipay.clone()], tuning).await;
    let mut wanted = request("U1", 900, &[]);
    wanted.expires_at = wanted.expires_at.minus(Duration::from_secs(598));
    let end = wanted.expires_at;
    let id = house.service.accept(wanted, "h".to_owned()).await.unwrap().id;
    let failed = until(&house.service, id, |v| v["state"] == "failed").await;
    assert!(house.service.now() >= end.plus(Duration::from_secs(1)), "failed before anybody could know");
    assert_eq!(failed["attempts"][0]["certificate"], "closed");
    assert!(alipay.script.lock().unwrap().queries > 2);
    house.running.stop(Duration::from_secs(2)).await;
}

#[actix_rt::test]
async fn a_second_capture_is_refunded_without_anyones_doing() {
    let dir = tempfile::tempdir().unwrap();
    let wechat = Double::new("wechat", ChannelKind::Credential);
    let house = house(dir.path(), vec![wechat.clone()], Tuning::default()).await;
    let id = house.service.accept(request("C1", 700, &[]), "h".to_owned()).await.unwrap().id;
    until(&house.service, id, |v| !v["credential"].is_null()).await;
    // Called off; then the money arrives after all.
    house.service.hear(id, Event::CancelAsked, Cause::new("cancel_asked", "test", "")).await.unwrap();
    let failed = until(&house.service, id, |v| v["state"] == "failed").await;
    assert_eq!(failed["reason"], "cancelled");
    let capture = domain::Capture {
        amount: domain::Money::from_fen(700).unwrap(),
        trade_no: "late".to_owned(),
        at: domain::Timestamp::from_secs(1),
    };
    let evidence = domain::Evidence {
        source: domain::EvidenceSource::Bill,
        reference: "line 7".to_owned(),
        found: domain::Found::Captured(capture),
    };
    let no = domain::AttemptNo::new(1).unwrap();
    house
        .service
        .hear(id, Event::Found { no, evidence }, Cause::new("found", "bill", "line 7"))
        .await
        .unwrap();
    let back = until(&house.service, id, |v| v["refunds"][0]["state"] == "succeeded").await;
    assert_eq!((&back["state"], &back["net_captured_fen"]), (&"failed".into(), &0.into()));
    assert_eq!(wechat.script.lock().unwrap().refunds, [(format!("{id}r01"), 700)]);
    house.running.stop(Duration::from_secs(2)).await;
}

#[actix_rt::test]
async fn open_orders_resume_after_a_restart_from_the_store_alone() {
    let dir = tempfile::tempdir().unwrap();
    let wechat = Double::new("wechat", ChannelKind::Credential);
    let first = house(dir.path(), vec![wechat.clone()], Tuning::default()).await;
    let id = first.service.accept(request("D1", 500, &[]), "h".to_owned()).await.unwrap().id;
    let shown = until(&first.service, id, |v| !v["credential"].is_null()).await;
    first.running.stop(Duration::from_secs(2)).await;
    drop((first.service, first.store));

    wechat.pay(&number(&shown, 0), 500);
    let second = house(dir.path(), vec![wechat.clone()], Tuning::default()).await;
    let paid = until(&second.service, id, |v| v["state"] == "success").await;
    assert_eq!(paid["attempts"].as_array().unwrap().len(), 1);
    let story = second.service.order_history(id).await.unwrap();
    assert_eq!(story.last().unwrap().cause.source, "query");
    second.running.stop(Duration::from_secs(2)).await;
}

#[actix_rt::test]
async fn thresholds_change_at_runtime_are_validated_and_survive_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let first =
        house(dir.path(), vec![Double::new("wechat", ChannelKind::Credential)], Tuning::default()).await;
    let bad = first.service.tune(vec![("hedge_after_ms".to_owned(), "-1".to_owned())], "op").await;
    assert!(bad.is_err());
    let good = first.service.tune(vec![("hedge_after_ms".to_owned(), "300".to_owned())], "op").await.unwrap();
    assert_eq!(good.len(), 1);
    assert_eq!(first.service.tuning().hedge_after_ms, 300);
    first.running.stop(Duration::from_secs(2)).await;
    drop((first.service, first.store));
    let second =
        house(dir.path(), vec![Double::new("wechat", ChannelKind::Credential)], Tuning::default()).await;
    assert_eq!(second.service.tuning().hedge_after_ms, 300);
    second.running.stop(Duration::from_secs(2)).await;
}

#[actix_rt::test]
async fn two_operators_in_one_moment_both_count_and_a_channel_that_is_out_stays_out_from_the_start_on() {
    let dir = tempfile::tempdir().unwrap();
    let (wechat, alipay) =
        (Double::new("wechat", ChannelKind::Credential), Double::new("alipay", ChannelKind::Credential));
    let channels = || vec![wechat.clone(), alipay.clone()];
    let first = house(dir.path(), channels(), Tuning::default()).await;
    let (one, two) = (domain::ChannelId::new("wechat").unwrap(), domain::ChannelId::new("alipay").unwrap());
    let set = |key: &str| first.service.tune(vec![(key.to_owned(), "700".to_owned())], "op");
    let (a, b, c, d) = tokio::join!(
        first.service.disable(&one, true, "op"),
        first.service.disable(&two, true, "another"),
        set("hedge_after_ms"),
        set("poll_every_ms"),
    );
    assert!(a.is_ok() && b.is_ok() && c.is_ok() && d.is_ok());
    let tuning = first.service.tuning();
    assert_eq!((tuning.hedge_after_ms, tuning.poll_every_ms), (700, 700));
    first.running.stop(Duration::from_secs(2)).await;
    drop((first.service, first.store));

    let second = house(dir.path(), channels(), Tuning::default()).await;
    let id = second.service.accept(request("O1", 500, &[]), "h".to_owned()).await.unwrap().id;
    tokio::time::sleep(Duration::from_millis(300)).await;
    let order = second.service.order_load(id).await.unwrap().unwrap();
    assert!(order.attempts.is_empty(), "{:?}", order.attempts);
    second.running.stop(Duration::from_secs(2)).await;
}

fn held(fen: i64) -> Event {
    let capture = domain::Capture {
        amount: domain::Money::from_fen(fen).unwrap(),
        trade_no: "T".to_owned(),
        at: domain::Timestamp::from_secs(1),
    };
    let source = domain::EvidenceSource::Operator;
    let found = domain::Found::Captured(capture);
    Event::Found {
        no: domain::AttemptNo::new(1).unwrap(),
        evidence: domain::Evidence { source, reference: "ticket 7".to_owned(), found },
    }
}

#[actix_rt::test]
async fn money_of_another_amount_is_held_and_listed_until_a_person_decides() {
    let dir = tempfile::tempdir().unwrap();
    let wechat = Double::new("wechat", ChannelKind::Credential);
    let house = house(dir.path(), vec![wechat.clone()], Tuning::default()).await;
    let id = house.service.accept(request("H1", 1850, &[]), "hash".to_owned()).await.unwrap().id;
    let shown = until(&house.service, id, |v| !v["credential"].is_null()).await;
    wechat.pay(&number(&shown, 0), 1849);
    let held_view = until(&house.service, id, |v| v["state"] == "suspicious").await;
    assert_eq!((&held_view["attempts"][0]["held"], &held_view["refunds"][0]), (&true.into(), &().into()));
    assert!(wechat.script.lock().unwrap().refunds.is_empty(), "nothing goes back on a doubtful word");
    let filter = store::OrderFilter { attention: true, limit: 10, ..Default::default() };
    let listed = house.store.orders_list(&filter).await.unwrap();
    assert_eq!(listed.iter().map(|line| line.id).collect::<Vec<_>>(), [id]);

    let cause = Cause::new("found", "an operator", "ticket 7");
    house.service.hear(id, held(1849), cause).await.unwrap();
    let back = until(&house.service, id, |v| v["state"] == "failed").await;
    assert_eq!((&back["net_captured_fen"], &back["reason"]), (&0.into(), &"returned".into()));
    assert!(house.store.orders_list(&filter).await.unwrap().is_empty());
    house.running.stop(Duration::from_secs(2)).await;
}

#[actix_rt::test]
async fn orders_made_up_after_an_outage_go_oldest_first() {
    let dir = tempfile::tempdir().unwrap();
    let wechat = Double::new("wechat", ChannelKind::Credential);
    let tuning = Tuning { make_up_per_s: 20, make_up_every_ms: 200, ..Tuning::default() };
    let house = house(dir.path(), vec![wechat.clone()], tuning).await;
    let channel = domain::ChannelId::new("wechat").unwrap();
    house.service.disable(&channel, true, "a test").await.unwrap();
    let out = || house.service.channels().iter().any(|c| c.state == "disabled");
    let patience = tokio::time::Instant::now() + Duration::from_secs(10);
    while !out() {
        assert!(tokio::time::Instant::now() < patience, "the channel is not taken out");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let mut ids = Vec::new();
    for n in 0..12 {
        let accepted = house.service.accept(request(&format!("M{n}"), 1850, &[]), n.to_string()).await;
        ids.push(accepted.unwrap().id);
    }
    for id in &ids {
        let waits = until(&house.service, *id, |v| {
            v["truth"]["sentence"].as_str().unwrap().contains("no way to pay can be reached")
        });
        assert_eq!(waits.await["state"], "pending");
    }
    house.service.disable(&channel, false, "a test").await.unwrap();
    for id in &ids {
        until(&house.service, *id, |v| !v["credential"].is_null()).await;
    }
    let asked = wechat.script.lock().unwrap().prepays.clone();
    let mut by_age = asked.clone();
    by_age.sort_unstable();
    assert_eq!((asked.len(), &asked), (12, &by_age), "numbers begin with the order's id, which is its age");
    house.running.stop(Duration::from_secs(2)).await;
}

/// The view of the part whose turn it is.
async fn part_shown(service: &actors::Service, whole: domain::OrderId, no: usize) -> serde_json::Value {
    let turn = until(service, whole, |v| v["parts"][no - 1]["state"] == "payable").await;
    let part = turn["parts"][no - 1]["order"].as_str().unwrap().rsplit('/').next().unwrap().parse().unwrap();
    until(service, part, |v| !v["credential"].is_null()).await
}

#[actix_rt::test]
async fn a_split_order_goes_on_with_its_next_part_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let wechat = Double::new("wechat", ChannelKind::Credential);
    let first = house(dir.path(), vec![wechat.clone()], Tuning::default()).await;
    // The double takes 100,000 fen a payment.
    let id = first.service.accept(request("P1", 150_001, &[]), "hash".to_owned()).await.unwrap().id;
    let one = part_shown(&first.service, id, 1).await;
    first.running.stop(Duration::from_secs(2)).await;
    wechat.pay(&number(&one, 0), 75_001);

    let second = house(dir.path(), vec![wechat.clone()], Tuning::default()).await;
    let two = part_shown(&second.service, id, 2).await;
    wechat.pay(&number(&two, 0), 75_000);
    let paid = until(&second.service, id, |v| v["state"] == "success").await;
    assert_eq!(paid["net_captured_fen"], 150_001);
    let again = second.service.accept(request("P1", 150_001, &[]), "hash".to_owned()).await.unwrap();
    assert_eq!((again.fresh, again.id), (false, id));
    let events = second.store.events_after(0, 10).await.unwrap();
    assert_eq!(events.len(), 1, "told once, about the whole");
    second.running.stop(Duration::from_secs(2)).await;
}

#[actix_rt::test]
async fn an_order_that_could_not_be_read_at_the_start_is_read_without_anybodys_asking() {
    let dir = tempfile::tempdir().unwrap();
    let wechat = Double::new("wechat", ChannelKind::Credential);
    let first = house(dir.path(), vec![wechat.clone()], Tuning::default()).await;
    let id = first.service.accept(request("S1", 1850, &[]), "h".to_owned()).await.unwrap().id;
    let shown = until(&first.service, id, |v| !v["credential"].is_null()).await;
    first.running.stop(Duration::from_secs(2)).await;
    drop(first.store);

    // The order is there, its history is not: the sweep finds it, and its actor cannot load it.
    let store = common::open(dir.path()).await; // checked as it opens, so before it is spoilt
    let mut tables = SqliteConnection::establish(&dir.path().join("rushpay.db").to_string_lossy()).unwrap();
    tables.batch_execute("ALTER TABLE order_events RENAME TO away").unwrap();
    let second = common::house_over(store, vec![wechat.clone()], Tuning::default()).await;
    wechat.pay(&number(&shown, 0), 1850);
    let bound = tokio::time::Instant::now() + Duration::from_secs(15);
    while second.service.stats().open_orders == 0 {
        assert!(tokio::time::Instant::now() < bound, "the sweep found nothing");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    // Who tells it something hears at once that nothing is confirmed.
    let asked = tokio::time::Instant::now();
    let unread = second.service.hear(id, Event::Tick, Cause::new("tick", "test", "")).await;
    assert_eq!(unread, Err(HearError::Unconfirmed));
    assert!(asked.elapsed() < Duration::from_secs(3), "{:?}", asked.elapsed());
    tables.batch_execute("ALTER TABLE away RENAME TO order_events").unwrap();

    // Only the store is asked from here on, so that nothing but the actor itself makes it try again.
    while !matches!(&second.store.order_load(id).await, Ok(Some(order)) if order.state.is_terminal()) {
        assert!(tokio::time::Instant::now() < bound, "nobody read the order again");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    second.running.stop(Duration::from_secs(2)).await;
}
