//! The whole house under a paused clock, with four misbehaving channels: one seed decides everything.
//!
//! Owns the world outside of the house (channels, payers, backends, a disk and a process that fail), and an oracle that
//! knows what really happened. The house is the one of production, on its own store, in memory: actors, journal, rules.
//! Same seed, same story, byte for byte; a violation is therefore a command that repeats it.
//! Leaves wire formats to the channels' own tests, and threads to the chaos runs.

mod backend;
mod bill_store;
mod bills;
mod cache;
mod channel;
mod clients;
mod clock;
mod dice;
mod life;
mod night;
mod oracle;
mod panics;
mod parts;
mod store;
mod trades;
mod tuner;
mod weather;
mod world;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use ::store::{SqliteStore, Store as _, StoredEvent};
use actors::{Clock as _, reconciliation::BillMemory};
use anyhow::Context as _;
use domain::{OrderId, Timestamp, order::Order};
use serde::Serialize;

use dice::{Dice, HouseDice};
use life::{Day, End, Site};
use night::Night;
pub use oracle::Violation;
use panics::Ear;
use world::Reality;

/// The first simulated morning, 11:00 at the campus.
const MORNING: Timestamp = Timestamp::from_secs(1_767_236_400);
const A_DAY: Duration = Duration::from_secs(86_400);

/// What to simulate.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Decides everything.
    pub seed: u64,
    /// Orders over all days.
    pub orders: u64,
    /// Lunches they are spread over; at least one.
    pub days: u64,
}

/// What came of it.
#[derive(Debug, Clone, Serialize)]
pub struct Outcome {
    /// The seed.
    pub seed: u64,
    /// Orders that arrived.
    pub orders: u64,
    /// Days lived through, the last one perhaps in part.
    pub days: u64,
    /// Simulated seconds with a house.
    pub simulated_s: f64,
    /// Transitions committed.
    pub commits: u64,
    /// Orders by their state in the end.
    pub states: BTreeMap<String, u64>,
    /// How often each misbehaviour, and each thing worth counting, happened.
    pub counts: BTreeMap<&'static str, u64>,
    /// How long after its detection the refund of each surplus started, in milliseconds, sorted: of those whose channel
    /// could be reached, under the delivered thresholds, in a process that lived.
    #[serde(skip)]
    pub refund_starts_ms: Vec<u64>,
    /// The same of the others.
    #[serde(skip)]
    pub refund_starts_excused_ms: Vec<u64>,
    /// Over everything that became durable, in its order: equal for equal seeds.
    pub digest: String,
    /// How many violations there are; not all of them are listed.
    pub found: u64,
    /// The first of them.
    pub violations: Vec<Violation>,
    /// The first bad order with its history.
    #[serde(skip)]
    pub story: Option<(Order, Vec<StoredEvent>)>,
}

/// The quantile of sorted numbers; zero of none.
#[must_use]
pub fn quantile_of(sorted: &[u64], quantile: f64) -> u64 {
    let share = sorted.iter().enumerate().find(|(i, _)| {
        let rank = f64::from(u32::try_from(i + 1).unwrap_or(u32::MAX));
        rank >= quantile * f64::from(u32::try_from(sorted.len()).unwrap_or(u32::MAX))
    });
    share.map_or(0, |(_, value)| *value)
}

/// Simulates; `progress` hears now and then how many orders have arrived. Uses the calling thread, which must not be
/// inside another runtime. The same options give the same outcome.
///
/// # Errors
/// The simulation itself could not run: no memory database, no runtime.
pub fn simulate(options: &Options, progress: &dyn Fn(u64)) -> anyhow::Result<Outcome> {
    let ear = Ear::open();
    let reality = Arc::new(Reality::new(options.seed, MORNING));
    let store = Arc::new(SqliteStore::in_memory().context("making a store in memory")?);
    let chance = Arc::new(HouseDice::new(options.seed));
    let site = Site { reality: reality.clone(), store: store.clone(), chance, bills: BillMemory::default() };
    let reader = tokio::runtime::Builder::new_current_thread().build().context("making a runtime")?;
    let mut shape = Dice::new(options.seed, 3);
    let (days, mut lived, mut simulated) = (options.days.max(1), 0, Duration::ZERO);
    let mut states = BTreeMap::new();
    for number in 0..days {
        let to_come = options.orders / days + u64::from(number < options.orders % days);
        let arrivals_per_s = 2.0 * 12.0_f64.powf(shape.share());
        let mut day = Day::new(to_come, arrivals_per_s);
        let lasts =
            Duration::from_secs_f64(f64::from(u32::try_from(to_come).unwrap_or(u32::MAX)) / arrivals_per_s);
        let cuts = u32::try_from(to_come / 2_000).unwrap_or(u32::MAX).saturating_add(1);
        reality.with(|world| world.morning(cuts, lasts + Duration::from_secs(60)));
        let began = reality.clock.now();
        let mut end = lives(&site, &mut day, &ear, progress)?;
        lived += 1;
        simulated += reality.clock.now().since(began);
        if end == End::DayOver {
            reality.clock.skip(night::begins(reality.clock.now()).since(reality.clock.now()));
            let dusk = reality.clock.now();
            reality.with(|world| world.without_house(dusk));
            day.night = Some(Night::new(dusk));
            end = lives(&site, &mut day, &ear, progress)?;
            simulated += reality.clock.now().since(dusk);
        }
        if end == End::Stuck {
            let what = site.left(&reader);
            reality.with(|world| world.outrage("day_without_end", None, what));
        }
        let bad = {
            let mut world = reality.lock();
            states = reader.block_on(world.evening(&store)).context("the evening's audit")?;
            world.oracle.found > 0
        };
        if bad {
            break;
        }
        reality.clock.skip(A_DAY.saturating_sub(reality.clock.now().since(began)));
    }
    let mut outcome = reality.with(|world| {
        let oracle = &mut world.oracle;
        Outcome {
            seed: options.seed,
            orders: u64::try_from(world.clients.len()).unwrap_or(u64::MAX),
            days: lived,
            simulated_s: simulated.as_secs_f64(),
            commits: oracle.commits,
            states,
            counts: world.counts.clone(),
            refund_starts_ms: sorted_ms(&oracle.waited),
            refund_starts_excused_ms: sorted_ms(&oracle.waited_excused),
            digest: format!("{:016x}", oracle.digest),
            found: oracle.found,
            violations: std::mem::take(&mut oracle.violations),
            story: None,
        }
    });
    if let Some(id) = outcome.violations.iter().find_map(|v| v.order) {
        outcome.story = reader.block_on(story(&store, id)).context("reading the first bad order's story")?;
    }
    Ok(outcome)
}

/// Life after life, until the day or its night is over.
fn lives(site: &Site, day: &mut Day, ear: &Ear, progress: &dyn Fn(u64)) -> anyhow::Result<End> {
    let reality = &site.reality;
    loop {
        let end = site.live(day)?;
        reality.with(|world| {
            progress(u64::try_from(world.clients.len()).unwrap_or(u64::MAX));
            for said in ear.take() {
                world.outrage("panic", None, said);
            }
        });
        if end != End::Died {
            return Ok(end);
        }
        let down = reality.with(|world| {
            world.cut_off();
            world.dice.ms(200, 8_000)
        });
        reality.clock.skip(down);
        let until = reality.clock.now();
        reality.with(|world| world.without_house(until));
    }
}

fn sorted_ms(waits: &[Duration]) -> Vec<u64> {
    let mut ms: Vec<u64> =
        waits.iter().map(|wait| u64::try_from(wait.as_millis()).unwrap_or(u64::MAX)).collect();
    ms.sort_unstable();
    ms
}

async fn story(
    store: &SqliteStore,
    id: OrderId,
) -> Result<Option<(Order, Vec<StoredEvent>)>, ::store::Error> {
    let order = store.order_load(id).await?;
    let history = store.order_history(id).await?;
    Ok(order.map(|order| (order, history)))
}
