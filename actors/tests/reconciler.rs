//! The reconciler in a house whose clock the test owns: two o'clock, growing pauses, days without trade.

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

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use actors::{Clock, ConfirmError, Confirmation, SystemClock, reconciliation::ReconciliationOptions};
use channels::{BillKind, BillLine};
use common::{Bill, Double, House, house_at, open, request, until};
use domain::{
    ChannelKind, ChannelOrderNo, Money, OrderId, Timestamp,
    order::{Event, OrderState},
    reconciliation::{DifferenceState, Fix, fix::Unconfirmed},
    tuning::Tuning,
};
use serde_json::json;
use store::{BillRun, Cause, Difference, DifferenceFilter, RunFilter, RunState, Told};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// The machine's clock, moved to where the test wants it.
struct Moved(AtomicI64);

impl Clock for Moved {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(SystemClock.now().micros() + self.0.load(Ordering::SeqCst))
    }
}

impl Moved {
    fn set(&self, text: &str) {
        let wanted = Timestamp::parse(text).unwrap().micros();
        self.0.store(wanted - SystemClock.now().micros(), Ordering::SeqCst);
    }
}

/// Whether a moment is at `text` or a little later.
fn at(moment: Timestamp, text: &str) -> bool {
    let wanted = Timestamp::parse(text).unwrap();
    moment >= wanted && moment.since(wanted) < Duration::from_secs(15)
}

async fn until_run(house: &House, day: &str, wanted: impl Fn(&BillRun) -> bool) -> BillRun {
    let filter = RunFilter { day: Some(day.to_owned()), limit: 9, ..RunFilter::default() };
    for _ in 0..500 {
        let runs = house.store.bills().bill_runs_list(&filter).await.unwrap();
        if let Some(run) = runs.into_iter().find(&wanted) {
            return run;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("{day} did not get there: {:?}", house.store.bills().bill_runs_list(&filter).await);
}

#[actix_rt::test]
async fn yesterday_is_reconciled_at_two_and_asked_for_again_until_its_bill_is_there() {
    let dir = tempfile::tempdir().unwrap();
    let wechat = Double::new("wechat", ChannelKind::Credential);
    let clock = Arc::new(Moved(AtomicI64::new(0)));
    // The double captures in the first second of 1970, at eight in the morning on the campus.
    clock.set("1970-01-02T01:00:00+08:00");
    let options =
        ReconciliationOptions { folder: dir.path().join("bills"), ..ReconciliationOptions::default() };
    let store = open(dir.path()).await;
    let house = house_at(store, vec![wechat.clone()], Tuning::default(), clock.clone(), Some(options)).await;
    let accepted = house.service.accept(request("A1", 1850, &[]), "hash".to_owned()).await.unwrap();
    let shown = until(&house.service, accepted.id, |v| !v["credential"].is_null()).await;
    let number = shown["attempts"][0]["channel_order_no"].as_str().unwrap().to_owned();
    wechat.pay(&ChannelOrderNo::new(&number).unwrap(), 1850);
    until(&house.service, accepted.id, |v| v["state"] == "success").await;
    // Several looks before two o'clock: nothing is asked for.
    tokio::time::sleep(Duration::from_millis(2_500)).await;
    let any = RunFilter { limit: 9, ..RunFilter::default() };
    assert_eq!(house.store.bills().bill_runs_list(&any).await.unwrap(), []);

    clock.set("1970-01-02T02:00:00+08:00");
    let run = until_run(&house, "1970-01-01", |run| run.tries == 1 && run.problem.is_some()).await;
    assert_eq!((run.asked_by.as_str(), run.state), ("daily", RunState::Waiting));
    assert!(at(run.next_at, "1970-01-02T02:01:00+08:00"), "{run:?}");
    clock.set("1970-01-02T02:05:00+08:00");
    let run = until_run(&house, "1970-01-01", |run| run.tries == 2 && run.next_at > clock.now()).await;
    assert!(at(run.next_at, "1970-01-02T02:07:00+08:00"), "the pause has doubled: {run:?}");
    wechat.script.lock().unwrap().bill = Bill::Lines(vec![BillLine {
        line: 2,
        kind: BillKind::Payment,
        channel_order_no: number.clone(),
        refund_no: None,
        trade_no: format!("T{number}"),
        amount: Money::from_fen(1850).unwrap(),
        fee_fen: 0,
        at: Timestamp::from_secs(1),
    }]);
    clock.set("1970-01-02T02:10:00+08:00");
    let run = until_run(&house, "1970-01-01", |run| run.state == RunState::Done).await;
    assert_eq!((run.lines, run.matched), (1, 2), "both ways");

    // A day without trade: the channel has no bill and we have no rows. Today is not over, whoever asks.
    wechat.script.lock().unwrap().bill = Bill::None;
    clock.set("1970-01-03T02:00:00+08:00");
    until_run(&house, "1970-01-02", |run| run.state == RunState::Done && run.lines == 0).await;
    house.service.reconcile("1970-01-03".parse().unwrap(), None, "maria").await.unwrap();
    let run = until_run(&house, "1970-01-03", |run| run.problem.is_some()).await;
    assert_eq!((run.state, run.problem.as_deref()), (RunState::Waiting, Some("the day is not over")));
    assert_eq!(run.next_at, Timestamp::parse("1970-01-04T00:00:00+08:00").unwrap());
    let all = DifferenceFilter { limit: 9, ..DifferenceFilter::default() };
    assert_eq!(house.store.bills().differences_list(&all).await.unwrap(), []);
    house.running.stop(Duration::from_secs(2)).await;
}

fn fen(fen: i64) -> Money {
    Money::from_fen(fen).unwrap()
}

/// A line of the double's bill: a payment, or a refund of it.
fn line(n: usize, trade: &str, refund_no: Option<String>, amount: i64) -> BillLine {
    BillLine {
        line: n,
        kind: if refund_no.is_some() { BillKind::Refund } else { BillKind::Payment },
        channel_order_no: trade.to_owned(),
        trade_no: refund_no.as_ref().map_or_else(|| format!("T{trade}"), |no| format!("B{no}")),
        refund_no,
        amount: fen(amount),
        fee_fen: 0,
        at: Timestamp::from_secs(3),
    }
}

/// Somebody who takes webhooks and keeps their ids and bodies.
async fn operations() -> (String, Arc<Mutex<Vec<(String, serde_json::Value)>>>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/hook", listener.local_addr().unwrap());
    let told: Arc<Mutex<Vec<(String, serde_json::Value)>>> = Arc::default();
    let seen = told.clone();
    actix_rt::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut text = String::new();
            let body = loop {
                let mut bytes = [0; 4096];
                let n = stream.read(&mut bytes).await.unwrap();
                text.push_str(std::str::from_utf8(&bytes[..n]).unwrap());
                let body = text.split_once("\r\n\r\n").and_then(|(_, body)| serde_json::from_str(body).ok());
                if let Some(body) = body {
                    break body;
                }
                assert!(n > 0, "cut off: {text}");
            };
            let id = text.lines().find_map(|line| line.strip_prefix("webhook-id: ")).unwrap().to_owned();
            seen.lock().unwrap().push((id, body));
            stream
                .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
                .await
                .unwrap();
        }
    });
    (url, told)
}

#[actix_rt::test]
async fn a_difference_that_opens_late_is_told_in_a_message_of_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let (url, told) = operations().await;
    let wechat = Double::new("wechat", ChannelKind::Credential);
    let clock = Arc::new(Moved(AtomicI64::new(0)));
    clock.set("1970-01-02T01:00:00+08:00");
    let options = ReconciliationOptions {
        folder: dir.path().join("bills"),
        operations_url: Some(url),
        ..ReconciliationOptions::default()
    };
    let store = open(dir.path()).await;
    let house = house_at(store, vec![wechat.clone()], Tuning::default(), clock.clone(), Some(options)).await;
    // Ten seconds before midnight on the campus: the line may stand on the next day's bill.
    wechat.script.lock().unwrap().captures_at_s = 57_590;
    let id = house.service.accept(request("A1", 1850, &[]), "hash".to_owned()).await.unwrap().id;
    let shown = until(&house.service, id, |v| !v["credential"].is_null()).await;
    let trade = shown["attempts"][0]["channel_order_no"].as_str().unwrap().to_owned();
    wechat.pay(&ChannelOrderNo::new(&trade).unwrap(), 1850);
    until(&house.service, id, |v| v["state"] == "success").await;

    wechat.script.lock().unwrap().bill = Bill::Lines(vec![line(2, "stranger", None, 500)]);
    clock.set("1970-01-02T02:00:00+08:00");
    let first = until_run(&house, "1970-01-01", |run| run.told == Told::Delivered).await;
    wechat.script.lock().unwrap().bill = Bill::None;
    clock.set("1970-01-03T12:00:00+08:00");
    let again = |run: &BillRun| run.told == Told::Delivered && run.told_since > first.told_since;
    until_run(&house, "1970-01-01", again).await;
    let told = told.lock().unwrap().clone();
    let short: Vec<_> = told.iter().map(|(_, body)| (&body["data"]["day"], &body["data"]["kinds"])).collect();
    let day = json!("1970-01-01");
    let (one, both) = (json!({ "missing_here": 1 }), json!({ "missing_at_channel": 1, "missing_here": 1 }));
    assert_eq!(short, [(&day, &one), (&day, &both)]);
    assert_ne!(told[0].0, told[1].0, "a receiver would take it for a repeat");
    house.running.stop(Duration::from_secs(2)).await;
}

/// A house on the second day of 1970 at eight o'clock, whose double captures in the first second of the first.
async fn second_day(dir: &std::path::Path) -> (House, Arc<Double>) {
    let wechat = Double::new("wechat", ChannelKind::Credential);
    let clock = Arc::new(Moved(AtomicI64::new(0)));
    clock.set("1970-01-02T08:00:00+08:00");
    let options = ReconciliationOptions { folder: dir.join("bills"), ..ReconciliationOptions::default() };
    let house =
        house_at(open(dir).await, vec![wechat.clone()], Tuning::default(), clock, Some(options)).await;
    (house, wechat)
}

async fn bill(house: &House, wechat: &Double, lines: Vec<BillLine>) -> Vec<Difference> {
    wechat.script.lock().unwrap().bill = Bill::Lines(lines);
    house.service.reconcile("1970-01-01".parse().unwrap(), None, "maria").await.unwrap();
    until_run(house, "1970-01-01", |run| run.state == RunState::Done).await;
    let all = DifferenceFilter { limit: 9, ..DifferenceFilter::default() };
    house.store.bills().differences_list(&all).await.unwrap()
}

async fn confirm(house: &House, difference: &Difference, who: &str) -> Result<Difference, ConfirmError> {
    let asked = Confirmation { fix: None, note: String::new(), operator: who.to_owned() };
    house.service.difference_confirm(difference.id, asked).await
}

async fn ask_refund(house: &House, id: OrderId, no: &str, amount: i64) {
    let (backend_no, reason) = (no.to_owned(), String::new());
    let event = Event::RefundAsked { backend_no, amount: fen(amount), reason, besides_taken_over: false };
    let cause = Cause::new(event.label(), "test", no);
    house.service.hear(id, event, cause).await.unwrap();
}

#[actix_rt::test]
async fn a_refund_from_a_lost_life_is_taken_over_once_an_operator_confirms() {
    let dir = tempfile::tempdir().unwrap();
    let (house, wechat) = second_day(dir.path()).await;
    let id = house.service.accept(request("A1", 1850, &[]), "hash".to_owned()).await.unwrap().id;
    let shown = until(&house.service, id, |v| !v["credential"].is_null()).await;
    let trade = shown["attempts"][0]["channel_order_no"].as_str().unwrap().to_owned();
    wechat.pay(&ChannelOrderNo::new(&trade).unwrap(), 1850);
    until(&house.service, id, |v| v["state"] == "success").await;

    let refund = |n: usize, place: u8, amount| line(n, &trade, Some(id.refund_no(place).to_string()), amount);
    let lines = vec![line(2, &trade, None, 1850), refund(3, 1, 850), refund(4, 2, 100), refund(5, 7, 1001)];
    let found = bill(&house, &wechat, lines).await;
    let short: Vec<_> = found
        .iter()
        .map(|d| (d.found.fix, d.found.fix_fen, d.found.adopts.as_deref(), d.found.order))
        .collect();
    let expected = |fen| (Fix::Mark, fen, Some(trade.as_str()), Some(id));
    assert_eq!(short, [expected(850), expected(100), expected(1001)]);

    let done = confirm(&house, &found[0], "maria").await.unwrap();
    assert_eq!(done.state, DifferenceState::Fixed, "{done:?}");
    let view = until(&house.service, id, |v| v["net_captured_fen"] == 1000).await;
    assert_eq!(
        (&view["refunds"][0]["state"], view["refunds"][0]["refund_no"].as_str()),
        (&"succeeded".into(), None)
    );
    let again = confirm(&house, &found[0], "maria").await;
    assert!(
        matches!(again, Err(ConfirmError::Unconfirmed(Unconfirmed::NotOpen(DifferenceState::Fixed)))),
        "{again:?}"
    );
    // The number of the second was given out anew before anybody looked: the fix is about another refund than that.
    ask_refund(&house, id, "R2", 60).await;
    let view = until(&house.service, id, |v| v["net_captured_fen"] == 940).await;
    assert_eq!(view["refunds"][1]["channel_refund_no"], id.refund_no(2).to_string());
    match confirm(&house, &found[1], "maria").await {
        Err(ConfirmError::Stale { present }) => {
            assert!(present.contains("r02") && present.contains("is succeeded"), "{present}");
        }
        other => panic!("{other:?}"),
    }
    // More than is left: the order refuses, and an operator decides again.
    let refused = confirm(&house, &found[2], "maria").await.unwrap();
    assert_eq!((refused.state, refused.chosen), (DifferenceState::Open, None));
    assert!(refused.outcome.as_deref().unwrap().contains("exceeds what is left: 9.40"), "{refused:?}");
    let order = house.store.order_load(id).await.unwrap().unwrap();
    assert_eq!((order.refunds.len(), order.net_captured()), (2, fen(940)));
    house.running.stop(Duration::from_secs(2)).await;
}

#[actix_rt::test]
async fn a_refund_of_a_part_is_taken_over_by_the_part_and_its_whole() {
    let dir = tempfile::tempdir().unwrap();
    let (house, wechat) = second_day(dir.path()).await;
    // Above the double's limit: two parts.
    let id = house.service.accept(request("P1", 150_000, &[]), "hash".to_owned()).await.unwrap().id;
    let mut trades = Vec::new();
    for no in [1, 2] {
        let shown = until(&house.service, id, |v| v["parts"][no - 1]["state"] == "payable").await;
        let part: OrderId =
            shown["parts"][no - 1]["order"].as_str().unwrap().rsplit('/').next().unwrap().parse().unwrap();
        let trade = part.channel_order_no(domain::AttemptNo::new(1).unwrap());
        wechat.pay(&trade, shown["parts"][no - 1]["amount_fen"].as_i64().unwrap());
        until(&house.service, id, |v| v["parts"][no - 1]["state"] == "paid").await;
        trades.push((part, trade));
    }
    until(&house.service, id, |v| v["state"] == "success").await;
    let (part, trade) = &trades[0];
    let mut lines: Vec<BillLine> =
        (2..).zip(&trades).map(|(n, (_, trade))| line(n, trade.as_str(), None, 75_000)).collect();
    lines.push(line(9, trade.as_str(), Some(part.refund_no(1).to_string()), 10_000));
    let found = bill(&house, &wechat, lines).await;
    assert_eq!(found.len(), 1, "{found:#?}");
    let done = confirm(&house, &found[0], "maria").await.unwrap();
    assert_eq!(done.state, DifferenceState::Fixed, "{done:?}");
    let whole = house.store.order_load(id).await.unwrap().unwrap();
    assert_eq!((whole.spreads.len(), whole.spreads[0].amount, whole.is_settled()), (1, fen(10_000), true));
    assert_eq!(whole.state, OrderState::Success);
    // What is asked for now comes out of what is left.
    ask_refund(&house, id, "R2", 140_000).await;
    until(&house.service, id, |v| v["refunds"][1]["state"] == "succeeded").await;
    house.running.stop(Duration::from_secs(2)).await;
}
