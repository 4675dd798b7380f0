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
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use actors::{Clock, SystemClock, reconciliation::ReconciliationOptions};
use channels::{BillKind, BillLine};
use common::{Bill, Double, House, house_at, open, request, until};
use domain::{ChannelKind, ChannelOrderNo, Money, Timestamp, tuning::Tuning};
use store::{BillRun, DifferenceFilter, RunFilter, RunState};

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
