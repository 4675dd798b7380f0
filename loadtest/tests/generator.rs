//! The generator against a small fake service: open loop, stubborn, and honest about time.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::as_conversions,
    reason = "tests"
)]

mod fake;

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use fake::{Fake, Manners, SECRET};
use loadtest::{Observer, Report, RunOptions, RunResult, Scenario, Target, Tick, run};

fn scenario(orders: u32, duration_s: f64, rest: &str) -> Scenario {
    let text = format!(
        "name = \"test\"\ndescription = \"a test\"\norders = {orders}\nduration_s = {duration_s:?}\n\
         drain_limit_s = 20.0\n[payer]\nthink = {{ median_ms = 10, p99_ms = 30 }}\n{rest}"
    );
    Scenario::parse(&text, "test").unwrap()
}

async fn drive(fake: &Fake, scenario: &Scenario) -> anyhow::Result<RunResult> {
    drive_watched(fake, scenario, Arc::new(())).await
}

async fn drive_watched(
    fake: &Fake,
    scenario: &Scenario,
    observer: Arc<dyn Observer>,
) -> anyhow::Result<RunResult> {
    let target =
        Target { api_url: fake.url.clone(), sandbox_url: fake.url.clone(), webhook_secret: SECRET.into() };
    let options = RunOptions { seed: 7, quiet: true, ..RunOptions::default() };
    tokio::time::timeout(Duration::from_secs(60), run(target, scenario, options, observer)).await?
}

#[tokio::test]
async fn slow_answers_do_not_slow_the_arrivals() {
    let fake = Fake::start(Manners { accept_delay: Duration::from_millis(800), ..Manners::default() });
    let started = Instant::now();
    let run = drive(&fake, &scenario(150, 1.5, "")).await.unwrap();
    // One after another the answers alone would take two minutes.
    assert!(started.elapsed() < Duration::from_secs(30), "{:?}", started.elapsed());
    let offered: u32 = run.tally.seconds.range(0..2).map(|(_, second)| second.offered).sum();
    assert_eq!(offered, 150, "all were sent in their planned second");
    let report = Report::from(run);
    assert!(report.accept_ms.p50 >= 800.0, "{:?}", report.accept_ms);
    assert_eq!((report.accepted, report.succeeded, report.open), (150, 150, 0));
}

#[tokio::test]
async fn a_pause_of_the_service_shows_in_the_latency_of_every_order_planned_during_it() {
    let stall = Some((Duration::from_millis(500), Duration::from_millis(2_000)));
    let fake = Fake::start(Manners { stall, ..Manners::default() });
    let report = Report::from(drive(&fake, &scenario(300, 2.0, "")).await.unwrap());
    // At least six in ten orders fell into the pause; with a closed loop it would be one per connection.
    let stalled: u32 = report.timeline.iter().map(|line| line.offered).sum();
    assert_eq!(stalled, 300);
    assert!(report.accept_ms.p50 > 300.0 && report.accept_ms.max > 1_000.0, "{:?}", report.accept_ms);
}

#[tokio::test]
async fn the_whole_story_is_told_from_order_to_webhook() {
    let fake = Fake::start(Manners::default());
    let rest = "cancels = 0.2\nno_balance = 0.1\nwalks_away = 0.1\nhint = 1.0\n[initial_faults.wechat]\nerror_rate = 0.1\n\
                [[faults]]\nat_s = 0.5\nchannel = \"wechat\"\nset = { silence_rate = 0.5 }\n[tuning]\nhedge_after_ms = 700\n";
    let report = Report::from(drive(&fake, &scenario(200, 1.0, rest)).await.unwrap());
    let seen = fake.seen();
    assert_eq!(report.accepted, 200);
    assert_eq!(seen.orders, 200);
    assert_eq!(seen.hints as u64, report.succeeded);
    assert_eq!(seen.tuned.as_ref().unwrap()["hedge_after_ms"], 700);
    assert_eq!(seen.faults[0]["channels"]["wechat"]["error_rate"], 0.1);
    assert_eq!(seen.faults[1]["channels"]["wechat"]["silence_rate"], 0.5);
    assert!(report.succeeded > 80 && report.failed > 30, "{} {}", report.succeeded, report.failed);
    // Those who walked away are looked up at the end.
    assert!(report.open > 5 && report.succeeded + report.failed + report.open == 200, "{}", report.open);
    assert_eq!(report.failure_rate, 0.0);
    assert_eq!(report.certainty_ms.count, report.succeeded);
    assert!(report.certainty_ms.p50 < 1_000.0, "{:?}", report.certainty_ms);
    assert_eq!(report.payments_refused.keys().collect::<Vec<_>>(), ["no_balance"]);
    assert_eq!(report.polls_per_order, Some(0.5));
    assert!(report.webhooks.taken > 0 && report.webhooks.refused == 0, "{:?}", report.webhooks);
    assert_eq!(report.channel_share["wechat"], 1.0);
}

#[tokio::test]
async fn a_busy_or_broken_service_is_asked_again_with_the_same_order_number() {
    let fake = Fake::start(Manners { push_back: 30, break_after_taking: 20, ..Manners::default() });
    let run = drive(&fake, &scenario(100, 0.5, "")).await.unwrap();
    let ids: std::collections::HashSet<&str> = run.accepted.iter().map(|a| a.id.as_str()).collect();
    assert!(ids.len() == 100 && run.accepted.iter().all(|a| a.read_success), "every promise is remembered");
    let report = Report::from(run);
    assert_eq!((report.accepted, report.succeeded), (100, 100));
    assert_eq!(fake.seen().orders, 100, "no order was made twice");
    assert_eq!((report.pushed_back, report.unanswered), (30, 20));
    assert_eq!(report.failed_reasons(), Vec::<String>::new());
}

#[tokio::test]
async fn orders_that_never_end_do_not_keep_the_run_from_ending() {
    let fake = Fake::start(Manners { deaf: true, ..Manners::default() });
    let scenario = Scenario { drain_limit_s: 2.0, ..scenario(20, 0.5, "") };
    let started = Instant::now();
    let report = Report::from(drive(&fake, &scenario).await.unwrap());
    assert!(started.elapsed() < Duration::from_secs(20), "{:?}", started.elapsed());
    assert_eq!((report.accepted, report.payments, report.succeeded, report.open), (20, 20, 0, 20));
}

#[derive(Default)]
struct Ticks(Mutex<Vec<u32>>);

impl Observer for Ticks {
    fn tick(&self, tick: &Tick) {
        self.0.lock().unwrap().push(tick.second);
    }
}

#[tokio::test]
async fn a_service_that_does_not_answer_questions_does_not_stop_the_clock_of_who_watches() {
    let fake =
        Fake::start(Manners { mute: true, accept_delay: Duration::from_millis(500), ..Manners::default() });
    let ticks = Arc::new(Ticks::default());
    let result = drive_watched(&fake, &scenario(60, 4.0, ""), ticks.clone()).await.unwrap();
    let seen = ticks.0.lock().unwrap().clone();
    assert!((seen.len() as f64) > result.ended_s - 2.0, "{seen:?} in {} s", result.ended_s);
    assert_eq!(seen, (1..).take(seen.len()).collect::<Vec<u32>>());
}

#[tokio::test]
async fn two_phones_on_one_credential_are_both_tried_and_one_is_turned_down() {
    let fake = Fake::start(Manners::default());
    let report = Report::from(drive(&fake, &scenario(100, 0.5, "pays_twice = 1.0\n")).await.unwrap());
    assert_eq!(report.succeeded, 100);
    assert_eq!(report.second_payments, 0);
    assert!(report.payments_refused["closed"] > 5, "{:?}", report.payments_refused);
}

#[tokio::test]
async fn late_payers_cancel_first_and_then_try_the_old_credential() {
    let fake = Fake::start(Manners::default());
    let report = Report::from(drive(&fake, &scenario(40, 0.5, "pays_late = 1.0\n")).await.unwrap());
    assert_eq!((report.failed, report.late_payments, report.payments), (40, 0, 0));
    assert_eq!(report.payments_refused["closed"], 40);
    assert_eq!(report.failed_because["cancelled"], 40);
}

#[tokio::test]
async fn a_closed_loop_keeps_its_number_of_payers_and_sends_every_order() {
    let fake = Fake::start(Manners { accept_delay: Duration::from_millis(20), ..Manners::default() });
    let rest = "pays = false\n[arrivals]\nmode = \"closed\"\nin_flight = 4\n";
    let report = Report::from(drive(&fake, &scenario(60, 10.0, rest)).await.unwrap());
    assert_eq!((report.offered, report.accepted), (60, 60));
    // Four at a time, 20 ms each: at most 200 a second.
    assert!(report.closed_loop && report.accepted_per_s <= 220.0, "{}", report.accepted_per_s);
    assert_eq!(report.succeeded + report.failed, 0);
}

#[tokio::test]
async fn a_sandbox_that_refuses_the_weather_ends_the_run_before_the_first_order() {
    let fake = Fake::start(Manners { refuse_faults: true, ..Manners::default() });
    let error = drive(&fake, &scenario(10, 0.5, "")).await.unwrap_err();
    assert!(format!("{error:#}").contains("unknown fault"), "{error:#}");
    assert_eq!(fake.seen().creates, 0);
}

#[tokio::test]
async fn nobody_there_is_an_error_that_names_the_address() {
    let scenario = scenario(10, 0.5, "");
    let target = Target {
        api_url: "http://127.0.0.1:9".into(),
        sandbox_url: "http://127.0.0.1:9".into(),
        webhook_secret: SECRET.into(),
    };
    let options = RunOptions { quiet: true, ..RunOptions::default() };
    let error = run(target, &scenario, options, Arc::new(())).await.unwrap_err();
    assert!(format!("{error:#}").contains("127.0.0.1:9"), "{error:#}");
}

#[tokio::test]
async fn a_run_that_nobody_waits_for_any_more_stops_sending() {
    let fake = Fake::start(Manners::default());
    let long = scenario(20_000, 200.0, "");
    let started = Instant::now();
    {
        let running = drive(&fake, &long);
        tokio::pin!(running);
        while fake.seen().creates < 20 && started.elapsed() < Duration::from_secs(20) {
            let step = tokio::time::timeout(Duration::from_millis(20), &mut running).await;
            assert!(step.is_err(), "it would go on for minutes");
        }
    }
    // At a hundred a second, half a second without one more means that it has ended.
    let mut before = fake.seen().creates;
    loop {
        tokio::time::sleep(Duration::from_millis(500)).await;
        let now = fake.seen().creates;
        if now == before {
            break;
        }
        assert!(started.elapsed() < Duration::from_secs(30), "still sending");
        before = now;
    }
    assert!(before >= 20);
}
