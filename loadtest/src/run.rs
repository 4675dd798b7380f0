//! Drives a run from the first order to the last certainty.
//!
//! Everything lives on one thread of its own, so that a busy caller cannot slow the generator. In an open
//! loop each order is sent at its planned moment whatever became of the others; how late the generator was
//! is measured, and a generator that fell behind makes the run worthless (see [`crate::Report`]). The run
//! ends when every payer has an answer, or when the drain limit is up. Dropping the future ends the run.

use std::{cell::RefCell, collections::BTreeMap, rc::Rc, sync::Arc, time::Duration};

use anyhow::{Context, anyhow};
use tokio::{
    sync::{Semaphore, oneshot},
    task::{JoinSet, LocalSet},
    time::{Instant, sleep_until},
};
use url::Url;

use crate::{
    house::{self, House},
    limits, num,
    payer::{Acceptance, Story, Town, live},
    plan::{PlannedOrder, plan},
    process,
    progress::{Console, Observer, Tick},
    scenario::{ArrivalMode, FaultChange, Scenario},
    sink::{Sink, SinkCounts, WebhookSecret},
    tally::{Clock, Ending, Tally},
    watch::{Counters, Glance, Seen, Switch},
    wire::State,
};

/// A look at the service, once a second, takes at most so long.
const LOOK_MAX: Duration = Duration::from_millis(700);

/// Where the load goes.
#[derive(Debug, Clone)]
pub struct Target {
    /// Base URL of the service.
    pub api_url: String,
    /// Base URL of the sandbox's control port.
    pub sandbox_url: String,
    /// The secret that the service signs webhooks with, `whsec_…`.
    pub webhook_secret: String,
}

/// What the command line may change.
#[derive(Debug, Clone, Default)]
pub struct RunOptions {
    /// Another number of orders over the same time, so at another rate.
    pub orders: Option<u32>,
    /// The seed of the plan.
    pub seed: u64,
    /// No progress on the terminal; the observer is told all the same.
    pub quiet: bool,
}

/// Everything a run has to tell; [`crate::Report`] makes sense of it.
#[derive(Debug, Clone)]
pub struct RunResult {
    /// What was run.
    pub scenario: Scenario,
    /// The plan's seed.
    pub seed: u64,
    /// Orders planned.
    pub orders: u32,
    /// Second of the last planned arrival (closed loop: of the last order sent).
    pub last_arrival_s: f64,
    /// Second at which the run ended.
    pub ended_s: f64,
    /// When it started, microseconds since the epoch.
    pub started_wall_us: i64,
    /// What the payers saw.
    pub tally: Tally,
    /// Every order that the service said it has.
    pub accepted: Vec<Acceptance>,
    /// What the service counted.
    pub counters: Counters,
    /// What the router decided.
    pub switches: Vec<Switch>,
    /// What the backend received.
    pub webhooks: SinkCounts,
    /// CPU time of the generator, microseconds.
    pub generator_cpu_us: u64,
}

/// Runs a scenario to its end. May take `duration_s + drain_limit_s`.
///
/// `observer` is told about the start and about each second, on the run's thread: be quick there.
///
/// # Errors
/// Before the first order: a bad address or secret, a service that is not ready, refused tuning or faults.
/// Later only if the sandbox's control port fails. A silent service is no error: payers wait and repeat.
pub async fn run(
    target: Target,
    scenario: &Scenario,
    options: RunOptions,
    observer: Arc<dyn Observer>,
) -> anyhow::Result<RunResult> {
    limits::raise_open_files();
    let scenario = scenario.clone();
    let (finished, result) = oneshot::channel();
    let (keep, dropped) = oneshot::channel::<()>();
    std::thread::Builder::new()
        .name("loadtest".into())
        .spawn(move || {
            let outcome = on_own_thread(target, scenario, options, observer, dropped);
            // Nobody waits any more if the caller dropped the future.
            let _ = finished.send(outcome);
        })
        .context("starting the generator's thread")?;
    let outcome = result.await.map_err(|_| anyhow!("the generator ended without a result"))?;
    drop(keep);
    outcome
}

fn on_own_thread(
    target: Target,
    scenario: Scenario,
    options: RunOptions,
    observer: Arc<dyn Observer>,
    dropped: oneshot::Receiver<()>,
) -> anyhow::Result<RunResult> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let tasks = LocalSet::new();
    let outcome = tasks.block_on(&runtime, async {
        tokio::select! {
            outcome = drive(target, scenario, options, observer) => outcome,
            _ = dropped => Err(anyhow!("the run was called off")),
        }
    });
    drop(tasks);
    outcome
}

async fn drive(
    target: Target,
    scenario: Scenario,
    options: RunOptions,
    observer: Arc<dyn Observer>,
) -> anyhow::Result<RunResult> {
    let api =
        Url::parse(&target.api_url).with_context(|| format!("service address \"{}\"", target.api_url))?;
    let sandbox = Url::parse(&target.sandbox_url)
        .with_context(|| format!("sandbox address \"{}\"", target.sandbox_url))?;
    let secret = WebhookSecret::parse(&target.webhook_secret)?;
    let orders = options.orders.unwrap_or(scenario.orders);
    let planned = plan(&scenario, orders, options.seed);
    let sink = Sink::start(secret, scenario.webhook_sink.error_rate, options.seed).await?;
    let before = prepare(&api, &sandbox, &scenario).await?;

    let clock = Clock::starting_now();
    let limit = num::seconds(scenario.duration_s + scenario.drain_limit_s);
    let town = Rc::new(Town {
        house: House::new(&api, &sandbox, clock, clock.start + limit)?,
        scenario,
        notify_url: sink.url.clone(),
        run: format!("L{:x}", clock.start_wall_us),
    });
    let seen = Rc::new(RefCell::new(before));
    observer.started(clock.start);
    let console =
        (!options.quiet).then(|| Console::new(&town.scenario.name, orders, limit, town.scenario.payer.pays));
    let (stop, stopped) = oneshot::channel();
    let ticker =
        tokio::task::spawn_local(tick(Rc::clone(&town), Rc::clone(&seen), observer, console, stopped));
    let weather = tokio::task::spawn_local(change_weather(Rc::clone(&town)));
    let cpu_before = process::this_thread_cpu_us();

    let (stories, last_arrival) = match town.scenario.arrivals.mode {
        ArrivalMode::Open => open_loop(&town, planned).await?,
        ArrivalMode::Closed => closed_loop(&town, planned).await?,
    };
    let ended = clock.now();
    if weather.is_finished() {
        weather.await.context("the fault timeline")??;
    } else {
        weather.abort();
    }
    let accepted = stories.iter().filter_map(|story| story.accepted.clone()).collect();
    if town.scenario.payer.pays {
        last_words(&town, stories).await;
    }
    let generator_cpu_us = process::this_thread_cpu_us().saturating_sub(cpu_before);
    drop(stop);
    ticker.await.context("the progress task")?;
    look(&town, &seen).await;
    let Seen { counters, switches } = seen.take();
    Ok(RunResult {
        seed: options.seed,
        orders,
        last_arrival_s: last_arrival.as_secs_f64(),
        ended_s: ended.as_secs_f64(),
        started_wall_us: clock.start_wall_us,
        tally: town.house.take_tally(),
        accepted,
        counters,
        switches,
        webhooks: sink.counts(),
        generator_cpu_us,
        scenario: town.scenario.clone(),
    })
}

/// Weather, balances and tuning before the first order.
///
/// Returns the zero point of the service's counters.
async fn prepare(api: &Url, sandbox: &Url, scenario: &Scenario) -> anyhow::Result<Seen> {
    let clock = Clock::starting_now();
    let house = House::new(api, sandbox, clock, clock.start + Duration::from_secs(30))?;
    let mut channels: BTreeMap<&str, serde_json::Value> =
        scenario.mix.channels.iter().map(|channel| (channel.as_str(), serde_json::json!({}))).collect();
    channels.extend(scenario.faults.iter().map(|change| (change.channel.as_str(), serde_json::json!({}))));
    channels.extend(scenario.initial_faults.iter().map(|(name, set)| (name.as_str(), set.clone().into())));
    house.command("/_sandbox/faults", &serde_json::json!({ "channels": channels })).await?;
    // Enough for every lunch of the run; a payer without money says so with its payment.
    let rich = serde_json::json!({ "unknown_accounts": { "balance_fen": 100_000_000 } });
    house.command("/_sandbox/accounts", &rich).await?;
    if !scenario.tuning.is_empty() {
        house.tune(&scenario.tuning).await?;
    }
    let mut seen = Seen::default();
    seen.take_in(&house, Glance::at(&house).await);
    Ok(seen)
}

async fn look(town: &Town, seen: &RefCell<Seen>) {
    let glance = Glance::at(&town.house).await;
    seen.borrow_mut().take_in(&town.house, glance);
}

async fn tick(
    town: Rc<Town>,
    seen: Rc<RefCell<Seen>>,
    observer: Arc<dyn Observer>,
    mut console: Option<Console>,
    mut stopped: oneshot::Receiver<()>,
) {
    for second in 1u32.. {
        let next = Instant::from_std(town.house.clock.start) + Duration::from_secs(second.into());
        tokio::select! {
            () = sleep_until(next) => {}
            _ = &mut stopped => return,
        }
        // A service that stands still must not stop the clock of those who watch it.
        let _no_answer = tokio::time::timeout(LOOK_MAX, look(&town, &seen)).await;
        let tick = {
            let mut tally = town.house.tally();
            let in_flight = tally.in_flight;
            let at = Duration::from_secs(u64::from(second) - 1);
            tally.second(at).in_flight = in_flight;
            let line = tally.second(at).clone();
            Tick::new(second, &tally, line, seen.borrow().switches.iter().rev().find(|s| s.moves()))
        };
        observer.tick(&tick);
        if let Some(console) = &mut console {
            console.show(&tick);
        }
    }
}

async fn change_weather(town: Rc<Town>) -> anyhow::Result<()> {
    let mut changes: Vec<FaultChange> = town.scenario.faults.clone();
    changes.sort_by(|a, b| a.at_s.total_cmp(&b.at_s));
    let start = Instant::from_std(town.house.clock.start);
    for change in changes {
        sleep_until(start + num::seconds(change.at_s)).await;
        let body = serde_json::json!({ "channels": { change.channel: change.set } });
        town.house.command("/_sandbox/faults", &body).await?;
    }
    Ok(())
}

type Stories = JoinSet<anyhow::Result<Story>>;

async fn open_loop(town: &Rc<Town>, planned: Vec<PlannedOrder>) -> anyhow::Result<(Vec<Story>, Duration)> {
    let clock = town.house.clock;
    let mut under_way = Stories::new();
    let mut told = Vec::new();
    let mut last = Duration::ZERO;
    for order in planned {
        let intended = order.at;
        last = intended;
        sleep_until(Instant::from_std(clock.start) + intended).await;
        send(town, order, intended, &mut under_way);
        while let Some(story) = under_way.try_join_next() {
            told.push(home(town, story)?);
        }
    }
    while let Some(story) = under_way.join_next().await {
        told.push(home(town, story)?);
    }
    Ok((told, last))
}

async fn closed_loop(town: &Rc<Town>, planned: Vec<PlannedOrder>) -> anyhow::Result<(Vec<Story>, Duration)> {
    let clock = town.house.clock;
    let seats = Arc::new(Semaphore::new(usize::try_from(town.scenario.arrivals.in_flight).unwrap_or(1)));
    let until = num::seconds(town.scenario.duration_s);
    let mut under_way = Stories::new();
    let mut told = Vec::new();
    let mut last = Duration::ZERO;
    for order in planned {
        let Ok(seat) = Arc::clone(&seats).acquire_owned().await else { break };
        if clock.now() >= until {
            break;
        }
        last = clock.now();
        town.house.tally().second(last).offered += 1;
        let town_of_payer = Rc::clone(town);
        count_in(town);
        under_way.spawn_local(async move {
            let story = live(town_of_payer, order, last).await;
            drop(seat);
            story
        });
        while let Some(story) = under_way.try_join_next() {
            told.push(home(town, story)?);
        }
    }
    while let Some(story) = under_way.join_next().await {
        told.push(home(town, story)?);
    }
    Ok((told, last))
}

fn send(town: &Rc<Town>, order: PlannedOrder, intended: Duration, under_way: &mut Stories) {
    let lag = town.house.clock.now().saturating_sub(intended);
    let mut tally = town.house.tally();
    tally.lag.record(lag);
    tally.second(intended).offered += 1;
    drop(tally);
    count_in(town);
    under_way.spawn_local(live(Rc::clone(town), order, intended));
}

fn count_in(town: &Town) {
    let mut tally = town.house.tally();
    tally.sent += 1;
    tally.in_flight += 1;
}

fn home(town: &Town, story: Result<anyhow::Result<Story>, tokio::task::JoinError>) -> anyhow::Result<Story> {
    town.house.tally().in_flight -= 1;
    story.context("a payer's task ended unexpectedly")?
}

/// Payers who left, and those whose time was up, know nothing of their order's end: looks once at each.
async fn last_words(town: &Rc<Town>, stories: Vec<Story>) {
    town.house.extend_deadline(Duration::from_secs(10));
    for story in stories {
        if !matches!(story.ending, Ending::Left | Ending::OutOfTime) {
            continue;
        }
        let Some(Acceptance { id, .. }) = story.accepted else {
            town.house.tally().never_accepted += 1;
            continue;
        };
        let reply = town.house.peek(&id).await;
        let mut tally = town.house.tally();
        let Ok(reply) = reply else {
            tally.open += 1;
            continue;
        };
        match house::order(&reply).map(|view| view.state) {
            Ok(State::Failed) => tally.failed += 1,
            Ok(State::Success) => tally.succeeded += 1,
            Ok(State::Suspicious) => tally.suspicious += 1,
            Ok(State::Pending | State::Processing) => tally.open += 1,
            Err(_) if reply.status == reqwest::StatusCode::NOT_FOUND => tally.forgotten += 1,
            Err(_) => tally.open += 1,
        }
    }
}
