//! The sender over a real store and backends that do what a test says, on a clock that jumps: days in moments.

use std::{
    path::Path,
    sync::{Arc, Mutex, atomic::AtomicBool},
    time::Duration,
};

use arc_swap::ArcSwap;
use async_trait::async_trait;
use domain::{
    MerchantId, Money, OrderId, Scene, Timestamp,
    order::{OrderRequest, Payer, accept},
    tuning::Tuning,
};
use store::{
    Cause, Entry, MemoryCache, OrderCommit, OutboxNew, Resend, SqliteOptions, SqliteStore, Store,
    WebhookFilter, WebhookLine,
};
use tokio::{sync::watch, time::Instant};

use super::*;
use crate::{
    board::Board,
    chance::SystemChance,
    clock::Clock,
    courier::{Courier, Parcel},
    journal::{Journal, JournalHandle},
    make_up::MakeUp,
    router::Routes,
    service::Service,
    stats::Stats,
    tuning::TuningHandle,
};

const BEGIN: Timestamp = Timestamp::from_secs(1_767_225_600);
const DEAD: &str = "http://dead.test/paid";
const ALIVE: &str = "http://alive.test/paid";

/// Tokio's clock as the house's: paused, it jumps to the next timer.
struct Hurried {
    begin: Timestamp,
    started: Instant,
}

impl Clock for Hurried {
    fn now(&self) -> Timestamp {
        self.begin.plus(self.started.elapsed())
    }
}

/// What a backend does with a call.
#[derive(Clone, Copy)]
enum Reply {
    Status(u16),
    /// No answer within the deadline.
    Hangs,
}

type Script = dyn Fn(&str, Duration) -> Reply + Send + Sync;

/// Every backend there is: counts, and answers by the script, which sees the address and the time since the beginning.
struct Backends {
    script: Box<Script>,
    calls: Mutex<Vec<(Duration, String, String)>>,
    under_way: Mutex<(usize, usize)>,
    clock: ArcSwap<Box<dyn Clock>>,
}

impl Backends {
    fn new(script: impl Fn(&str, Duration) -> Reply + Send + Sync + 'static) -> Arc<Backends> {
        let clock: Box<dyn Clock> = Box::new(crate::clock::SystemClock);
        Arc::new(Backends {
            script: Box::new(script),
            calls: Mutex::default(),
            under_way: Mutex::default(),
            clock: ArcSwap::from_pointee(clock),
        })
    }

    /// When each call was made, since the beginning, and for which webhook.
    fn calls_to(&self, url: &str) -> Vec<(Duration, String)> {
        let calls = self.calls.lock().unwrap();
        calls.iter().filter(|(_, to, _)| to == url).map(|(at, _, id)| (*at, id.clone())).collect()
    }

    fn seconds(&self, url: &str) -> Vec<u64> {
        self.calls_to(url).iter().map(|(at, _)| at.as_secs()).collect()
    }
}

#[async_trait]
impl Courier for Backends {
    async fn deliver(&self, parcel: &Parcel<'_>) -> Result<u16, String> {
        let at = self.clock.load().now().since(BEGIN);
        self.calls.lock().unwrap().push((at, parcel.url.to_owned(), parcel.id.to_owned()));
        let count = |more: bool| {
            let mut under_way = self.under_way.lock().unwrap();
            under_way.0 = if more { under_way.0 + 1 } else { under_way.0 - 1 };
            under_way.1 = under_way.1.max(under_way.0);
        };
        count(true);
        let answer = match (self.script)(parcel.url, at) {
            Reply::Status(status) => {
                tokio::time::sleep(Duration::from_millis(20)).await;
                Ok(status)
            }
            Reply::Hangs => {
                tokio::time::sleep(parcel.deadline).await;
                Err("no answer in time".to_owned())
            }
        };
        count(false);
        answer
    }
}

/// One life of the sender.
struct Life {
    house: Arc<House>,
    service: Service,
}

/// Runs a life of the sender over the store in a folder, or over a new one in memory, beginning so long after
/// [`BEGIN`]; ends like a crash.
fn live<T, F: Future<Output = T>>(
    dir: Option<&Path>,
    after: Duration,
    backends: &Arc<Backends>,
    test: impl FnOnce(Life) -> F + 'static,
) -> T {
    let system = actix::System::with_tokio_rt(|| {
        tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap()
    });
    system.block_on(async {
        let store = match dir {
            Some(dir) => SqliteStore::open(&dir.join("rushpay.db"), &SqliteOptions::default()).await,
            None => SqliteStore::in_memory(),
        };
        let store: Arc<dyn Store> = Arc::new(store.unwrap());
        let begin = BEGIN.plus(after);
        let clock = || Hurried { begin, started: Instant::now() };
        backends.clock.store(Arc::new(Box::new(clock())));
        let tuning = TuningHandle::new(Tuning::default());
        let house = Arc::new(House {
            store,
            cache: Arc::new(MemoryCache::default()),
            clock: Arc::new(clock()),
            routes: Routes::new(Vec::new(), Vec::new(), tuning.clone(), Arc::new(SystemChance)),
            chance: Arc::new(SystemChance),
            operators: tokio::sync::Mutex::default(),
            make_up: MakeUp::default(),
            tuning,
            journal: JournalHandle::default(),
            lines: BTreeMap::new(),
            preference: Vec::new(),
            board: Board::default(),
            stats: Arc::new(Stats::default()),
            registries: Vec::new(),
            webhooks: Handle::default(),
            reconciler: Handle::default(),
            backends: ArcSwap::default(),
            told: watch::Sender::default(),
            closing: AtomicBool::new(false),
        });
        house.journal.0.set(Journal::new(house.store.clone(), house.stats.clone()).start());
        let options = WebhookOptions { secret: Arc::from(&b"secret"[..]), courier: backends.clone() };
        let sender = WebhookSender::new(house.clone(), house.webhooks.clone(), options);
        house.webhooks.set(sender.start());
        test(Life { service: Service::new(house.clone()), house }).await
    })
}

fn entry(n: u32, urls: &[&str], at: Timestamp) -> Entry {
    let request = OrderRequest {
        order_no: format!("A{n}"),
        merchant_id: MerchantId::new("canteen-1").unwrap(),
        amount: Money::from_fen(1_850).unwrap(),
        description: "Beef noodles".to_owned(),
        payer: Payer {
            id: "stu-1".to_owned(),
            account_type: "student".to_owned(),
            openid: None,
            accounts: BTreeMap::new(),
            client_ip: None,
        },
        scene: Scene::Native,
        channels: Vec::new(),
        consents: Vec::new(),
        notify_url: None,
        keep_late: false,
        part_of: None,
        expires_at: at.plus(Duration::from_secs(900)),
    };
    let decision = accept(OrderId::from_u128((0x0190 << 112) + u128::from(n)), Arc::new(request), at);
    let outbox = urls.iter().enumerate().map(|(place, url)| OutboxNew {
        id: format!("w{n:05}-{place}"),
        kind: "order.succeeded".to_owned(),
        payload: "{}".to_owned(),
        url: Some((*url).to_owned()),
    });
    Entry::Order(Box::new(OrderCommit {
        cause: Cause::new("accepted", "api", ""),
        at,
        body_hash: Some("hash".to_owned()),
        facts: decision.facts,
        before_version: 0,
        outbox: outbox.collect(),
        next: Arc::new(decision.next),
    }))
}

impl Life {
    /// Orders with these numbers, each with a webhook to every address; found by looking.
    async fn tell(&self, numbers: std::ops::Range<u32>, urls: &[&str]) {
        let now = self.house.clock.now();
        for group in numbers.collect::<Vec<_>>().chunks(500) {
            let entries = group.iter().map(|n| entry(*n, urls, now)).collect();
            assert!(self.house.store.append(entries).await.iter().all(Result::is_ok));
        }
    }

    async fn list(&self, state: &str) -> Vec<WebhookLine> {
        let filter =
            WebhookFilter { state: Some(state.to_owned()), limit: 100_000, ..WebhookFilter::default() };
        self.house.store.webhooks_list(&filter).await.unwrap()
    }
}

async fn pass(secs: u64) {
    tokio::time::sleep(Duration::from_secs(secs)).await;
}

#[test]
fn a_webhook_that_nobody_takes_is_tried_on_schedule_for_a_day_and_is_a_dead_letter_then() {
    let backends = Backends::new(|_, _| Reply::Status(503));
    let dead = live(None, Duration::ZERO, &backends, async |life: Life| {
        life.tell(1..2, &[DEAD]).await;
        pass(25 * 3_600).await;
        assert!(life.list("due").await.is_empty());
        life.list("dead").await
    });
    let calls = backends.calls_to(DEAD);
    println!("{} tries, at seconds {:?} …", calls.len(), &backends.seconds(DEAD)[..8]);
    assert_eq!((dead.len(), dead[0].tries, calls.len()), (1, 99, 99));
    let pauses = [0, 5, 25, 90].into_iter().chain(std::iter::repeat(900));
    let mut before = Duration::ZERO;
    for ((at, id), pause) in calls.iter().zip(pauses) {
        let late = at.checked_sub(before + Duration::from_secs(pause)).expect("not early");
        assert!(late <= Duration::from_secs(1), "{late:?} late at {at:?}");
        assert_eq!(id, "w00001-0");
        before = *at;
    }
    assert!(before <= Duration::from_secs(86_400));
}

#[test]
fn a_restart_goes_on_at_the_same_try_and_repeats_none() {
    let dir = tempfile::tempdir().unwrap();
    let backends = Backends::new(|_, since| Reply::Status(if since.as_secs() < 3_000 { 500 } else { 200 }));
    live(Some(dir.path()), Duration::ZERO, &backends, async |life: Life| {
        life.tell(1..2, &[DEAD]).await;
        pass(200).await;
    });
    assert_eq!(backends.seconds(DEAD), [0, 5, 30, 120]);
    let delivered = live(Some(dir.path()), Duration::from_secs(300), &backends, async |life: Life| {
        assert_eq!(life.list("due").await[0].tries, 4);
        pass(5_000).await;
        life.list("delivered").await
    });
    let seconds = backends.seconds(DEAD);
    println!("tries at seconds {seconds:?}, with a restart between 200 and 300");
    assert_eq!(seconds.len(), 8);
    assert!(seconds[4].abs_diff(1_020) <= 3 && seconds[5].abs_diff(1_920) <= 5, "{seconds:?}");
    assert_eq!((delivered[0].tries, delivered[0].calls.len()), (8, 8));
}

#[test]
fn ten_thousand_webhooks_of_a_backend_that_hangs_hold_up_no_other_backend() {
    let backends = Backends::new(|url, _| if url == ALIVE { Reply::Status(200) } else { Reply::Hangs });
    let life = live(None, Duration::ZERO, &backends, async |life: Life| {
        life.tell(1..10_001, &[DEAD]).await;
        pass(3).await;
        life.tell(10_001..10_002, &[ALIVE]).await;
        pass(60).await;
        life.tell(10_002..10_003, &[ALIVE]).await;
        pass(60).await;
        assert_eq!(life.list("delivered").await.len(), 2);
        let lanes = life.service.webhook_lanes();
        assert!(lanes[0].resting_until.is_some() && lanes[0].backend == "dead.test", "{lanes:?}");
        life.list("due").await
    });
    let (alive, dead) = (backends.calls_to(ALIVE), backends.calls_to(DEAD));
    println!(
        "taken {:?} and {:?} after the beginning; {} calls to the dead",
        alive[0].0,
        alive[1].0,
        dead.len()
    );
    assert!(alive[0].0 < Duration::from_secs(4) && alive[1].0 < Duration::from_millis(64_000), "{alive:?}");
    // The first slots' worth, then single calls between rests of 5, 10, 20, 40 s.
    assert!((64..=64 + 6).contains(&dead.len()), "{} calls", dead.len());
    assert_eq!(life.iter().map(|w| usize::try_from(w.tries).unwrap()).sum::<usize>(), dead.len());
    assert!(backends.under_way.lock().unwrap().1 <= 65);
}

#[test]
fn a_backend_that_comes_back_gets_its_backlog_oldest_first_slowly_at_first_and_each_order_in_order() {
    const BACK: Duration = Duration::from_secs(40 * 60);
    let backends = Backends::new(|_, since| Reply::Status(if since < BACK { 502 } else { 200 }));
    let delivered = live(None, Duration::ZERO, &backends, async |life: Life| {
        for batch in 0..20 {
            life.tell(batch * 50 + 1..batch * 50 + 51, &[DEAD, DEAD]).await;
            pass(60).await;
        }
        pass(40 * 60).await;
        assert!(life.list("due").await.is_empty() && life.list("dead").await.is_empty());
        life.list("delivered").await
    });
    assert_eq!(delivered.len(), 2_000);
    let calls = backends.calls_to(DEAD);
    let taken: Vec<&(Duration, String)> = calls.iter().filter(|(at, _)| *at >= BACK).collect();
    assert_eq!(taken.len(), 2_000, "after its return each webhook is called once");
    let tried: HashSet<&str> = calls.iter().filter(|(at, _)| *at < BACK).map(|(_, id)| id.as_str()).collect();
    println!("{} calls to {} webhooks while it was down", calls.len() - taken.len(), tried.len());
    assert!(calls.len() - taken.len() < 250, "a rest uses up no tries");
    // What was never tried comes in the order it was written.
    let fresh: Vec<&str> = taken
        .iter()
        .map(|(_, id)| id.as_str())
        .filter(|id| !tried.contains(id) && id.ends_with("-0"))
        .collect();
    assert!(fresh.is_sorted(), "{fresh:?}");
    let before = |wanted: &str| calls.iter().filter(|(at, id)| *at < BACK && id == wanted).count();
    let mut in_order = 0;
    for n in 1..=1_000 {
        let place = |which| taken.iter().position(|(_, id)| *id == format!("w{n:05}-{which}"));
        // One that was refused four times holds up the others no longer.
        if before(&format!("w{n:05}-0")) < 4 {
            assert!(place(0) < place(1), "order {n}");
            in_order += 1;
        }
    }
    println!("{in_order} of 1000 orders were told in order");
    assert!(in_order > 950);
    let first = taken[0].0;
    let in_half_a_second = taken.iter().filter(|(at, _)| *at - first < Duration::from_millis(100)).count();
    println!("{in_half_a_second} calls in the first 100 ms of {:?}", taken.last().unwrap().0 - first);
    assert!(in_half_a_second < 20);
    assert!(backends.under_way.lock().unwrap().1 <= 64);
}

#[test]
fn after_a_day_a_dead_backends_webhooks_are_dead_letters_and_one_act_sends_them_all_again() {
    const BACK: Duration = Duration::from_secs(26 * 3_600);
    let backends = Backends::new(|_, since| if since < BACK { Reply::Hangs } else { Reply::Status(204) });
    live(None, Duration::ZERO, &backends, async |life: Life| {
        life.tell(1..501, &[DEAD]).await;
        pass(25 * 3_600).await;
        assert_eq!((life.list("due").await.len(), life.list("dead").await.len()), (0, 500));
        let calls = backends_calls(&life);
        println!("{calls} calls in 25 h");
        pass(3_600).await;
        let resent = life.service.resend(Resend::DeadOf("dead.test".to_owned()), "maria").await.unwrap();
        assert_eq!(resent, 500);
        pass(60).await;
        let delivered = life.list("delivered").await;
        assert_eq!(delivered.len(), 500);
        assert!(delivered.iter().all(|w| w.tries == 1), "a fresh schedule");
        let again = life.service.resend(Resend::DeadOf("dead.test".to_owned()), "maria").await.unwrap();
        assert_eq!(again, 0);
        let one = life.service.resend(Resend::One("w00007-0".to_owned()), "maria").await.unwrap();
        assert_eq!(one, 1);
        pass(2).await;
        assert_eq!(life.list("delivered").await.len(), 500);
        let missing = life.service.resend(Resend::One("nobody".to_owned()), "maria").await;
        assert!(matches!(missing, Err(crate::webhooks::ResendError::Missing)));
    });
    let sevenths =
        backends.calls_to(DEAD).into_iter().filter(|(at, id)| *at >= BACK && id == "w00007-0").count();
    assert_eq!(sevenths, 2, "the same id, once for each act");
}

fn backends_calls(life: &Life) -> u64 {
    life.house.stats.webhooks_failed.get()
}

#[test]
fn a_reader_who_waits_for_events_gets_them_with_their_commit() {
    let backends = Backends::new(|_, _| Reply::Status(200));
    live(None, Duration::ZERO, &backends, async |life: Life| {
        let began = Instant::now();
        let none = life.service.events_after(0, 10, Duration::from_secs(30)).await.unwrap();
        assert!(none.is_empty() && began.elapsed() >= Duration::from_secs(30));
        let reader = life.service.clone();
        let waiting = actix::spawn(async move {
            let began = Instant::now();
            (reader.events_after(0, 10, Duration::from_secs(30)).await.unwrap().len(), began.elapsed())
        });
        pass(7).await;
        life.tell(1..3, &[ALIVE]).await;
        life.house.told.send_modify(|times| *times += 1);
        let (events, took) = waiting.await.unwrap();
        assert_eq!((events, took.as_secs()), (2, 7));
    });
}
