//! What all channels of a sandbox share: clock, faults, books, what was seen, how it was counted.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering},
};

use actix_web::{HttpResponse, body::BodyStream};
use bytes::Bytes;
use domain::Timestamp;
use parking_lot::{Mutex, RwLock};
use serde::Serialize;

use crate::{
    books::Books,
    clock::{Clock, beijing},
    faults::{BillFaults, Fate, FaultSet, Kind},
    notify::Notifier,
};

/// Calls that are remembered for the page.
const SEEN_MAX: usize = 500;
/// Fates that are remembered, so that a repeat draws anew.
const NTH_MAX: usize = 400_000;

const DAY_US: i64 = 86_400_000_000;

/// The shared world.
pub(crate) struct World {
    pub clock: Clock,
    pub books: Books,
    pub notifier: Notifier,
    pub seed: u64,
    faults: RwLock<BTreeMap<String, FaultSet>>,
    nth: Mutex<HashMap<(String, Kind), u32>>,
    quota: Mutex<HashMap<&'static str, (i64, u32)>>,
    seen: Mutex<VecDeque<Seen>>,
    counts: Mutex<BTreeMap<String, u64>>,
    serial: AtomicU64,
    /// Everything before this moment is on the bill of the day before it.
    day_ended_us: AtomicI64,
    /// The bill of the present day exists already.
    today_is_billed: AtomicBool,
}

/// One call, for the page.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Seen {
    /// When.
    pub at: String,
    /// Which channel was called.
    pub channel: &'static str,
    /// Method and target.
    pub call: String,
    /// What was answered.
    pub status: u16,
    /// The verdict on its signature, or the code it was refused with.
    pub verdict: String,
}

impl World {
    pub(crate) fn new(seed: u64) -> std::io::Result<World> {
        Ok(World {
            clock: Clock::default(),
            books: Books::default(),
            notifier: Notifier::new()?,
            seed,
            faults: RwLock::default(),
            nth: Mutex::default(),
            quota: Mutex::default(),
            seen: Mutex::default(),
            counts: Mutex::default(),
            serial: AtomicU64::new(1),
            day_ended_us: AtomicI64::new(i64::MIN),
            today_is_billed: AtomicBool::new(false),
        })
    }

    /// A number that no other trade of this sandbox has.
    pub(crate) fn next_serial(&self) -> u64 {
        self.serial.fetch_add(1, Ordering::Relaxed)
    }

    /// Ends the day for bills: what happened until now stands on yesterday's. Without it a client on the real clock
    /// would wait until tomorrow for a bill with a line in it.
    pub(crate) fn end_day(&self) {
        self.day_ended_us.store(self.clock.now().micros(), Ordering::Relaxed);
    }

    /// Makes bills of the present day from now on, under its own date; each shows what happened until it is asked for.
    pub(crate) fn bill_today(&self) {
        self.today_is_billed.store(true, Ordering::Relaxed);
    }

    /// Whether the present day has bills already.
    pub(crate) fn today_is_billed(&self) -> bool {
        self.today_is_billed.load(Ordering::Relaxed)
    }

    /// How a channel's bills are wrong.
    pub(crate) fn bill_faults(&self, channel: &str) -> BillFaults {
        self.faults_of(channel).bill
    }

    /// The moment by which bills date what happened at `at`.
    pub(crate) fn bill_time(&self, at: Timestamp) -> Timestamp {
        let ended = self.day_ended_us.load(Ordering::Relaxed);
        if at.micros() <= ended { Timestamp::from_micros(at.micros() - DAY_US) } else { at }
    }

    /// The present faults of a channel.
    pub(crate) fn faults_of(&self, channel: &str) -> FaultSet {
        self.faults.read().get(channel).cloned().unwrap_or_default()
    }

    /// All present faults.
    pub(crate) fn faults(&self) -> BTreeMap<String, FaultSet> {
        self.faults.read().clone()
    }

    /// Replaces the fault sets of the named channels.
    pub(crate) fn set_faults(&self, sets: BTreeMap<String, FaultSet>) {
        self.faults.write().extend(sets);
    }

    /// What happens to this call; each repeat draws anew.
    pub(crate) fn fate(&self, channel: &'static str, kind: Kind, order_no: &str) -> Fate {
        let set = self.faults_of(channel);
        let nth = {
            let mut nth = self.nth.lock();
            if nth.len() > NTH_MAX {
                nth.clear(); // bounded memory; a very old order draws its first fate again
            }
            let n = nth.entry((format!("{channel}/{order_no}"), kind)).or_insert(0);
            *n += 1;
            *n
        };
        set.fate(self.seed, channel, kind, order_no, nth)
    }

    /// False if the channel's quota of this second is used up.
    pub(crate) fn within_quota(&self, channel: &'static str) -> bool {
        let Some(limit) = self.faults.read().get(channel).and_then(|set| set.quota_per_s) else {
            return true;
        };
        let second = self.clock.now().secs();
        let mut quota = self.quota.lock();
        let entry = quota.entry(channel).or_insert((second, 0));
        if entry.0 != second {
            *entry = (second, 0);
        }
        entry.1 += 1;
        entry.1 <= limit
    }

    /// Counts something for `GET /_sandbox/stats`.
    pub(crate) fn count(&self, what: &str) {
        *self.counts.lock().entry(what.to_owned()).or_default() += 1;
    }

    /// The counts.
    pub(crate) fn counts(&self) -> BTreeMap<String, u64> {
        self.counts.lock().clone()
    }

    /// Remembers a call for the page.
    pub(crate) fn saw(&self, channel: &'static str, call: String, status: u16, verdict: String) {
        let at = beijing(self.clock.now());
        let mut seen = self.seen.lock();
        if seen.len() >= SEEN_MAX {
            seen.pop_front();
        }
        seen.push_back(Seen { at, channel, call, status, verdict });
    }

    /// The latest calls, newest first.
    pub(crate) fn seen(&self, limit: usize) -> Vec<Seen> {
        self.seen.lock().iter().rev().take(limit).cloned().collect()
    }
}

/// An answer that breaks off: the caller sees a lost connection, whatever was done.
pub(crate) fn broken_off() -> HttpResponse {
    let parts =
        futures::stream::iter([Err::<Bytes, _>(std::io::Error::other("the sandbox drops this connection"))]);
    HttpResponse::Ok().force_close().body(BodyStream::new(parts))
}

/// Thirty-two characters that nobody has seen before.
pub(crate) fn nonce() -> String {
    uuid::Uuid::new_v4().simple().to_string()
}
