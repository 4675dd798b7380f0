//! The schedule of mischief, decided before it starts: one seed, one schedule.
//!
//! Three lanes run beside each other: what is done to the service and its disk, one thing at a time; what is done to
//! the connections to the channels; what is done to the channels' clock. Moments are "not before": a service that
//! takes long to come back delays what follows in its lane, and nothing is left out.

use std::{fmt, time::Duration};

use rand::{RngExt as _, SeedableRng as _, seq::SliceRandom as _};
use rand_chacha::ChaCha12Rng;

use crate::cli::MischiefKind as Kind;

/// The load has the house to itself for so long at first.
const WARM_UP_S: f64 = 3.0;
/// And so long at last.
const TAIL_S: f64 = 4.0;
/// A kill for so many seconds of a run, with time for the rest.
const KILL_EVERY_S: f64 = 10.0;

/// One thing to be done, not before its moment.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Act {
    pub(super) at: Duration,
    pub(super) what: What,
}

/// What is done.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum What {
    /// SIGKILL, and perhaps another one in the middle of the start that follows.
    Kill { down: Duration, again_after: Option<Duration> },
    /// SIGSTOP past every deadline; ended by SIGCONT or, if `killed`, by SIGKILL.
    Freeze { lasts: Duration, killed: bool },
    /// The disk is full, from the first order that is refused for it on; with `killed` the service is killed meanwhile
    /// and has to start without room.
    Disk { lasts: Duration, killed: bool },
    /// Connections to these channels break.
    Cut { channels: Vec<String>, how: Break, lasts: Duration },
    /// The channels' clock is ahead of ours, or behind.
    Clock { offset_s: i64, lasts: Duration },
}

/// How connections break.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Break {
    /// Before anything is read.
    Before,
    /// After the call was carried out, before its answer.
    After,
    /// Before anything is read, and notifications are lost as well.
    BothWays,
}

impl What {
    pub(super) fn kind(&self) -> Kind {
        match self {
            What::Kill { .. } => Kind::Kill,
            What::Freeze { .. } => Kind::Freeze,
            What::Disk { .. } => Kind::Disk,
            What::Cut { .. } => Kind::Cut,
            What::Clock { .. } => Kind::Clock,
        }
    }

    /// How many kills there are in it.
    pub(super) fn kills(&self) -> u32 {
        match self {
            What::Kill { again_after, .. } => 1 + u32::from(again_after.is_some()),
            What::Freeze { killed, .. } | What::Disk { killed, .. } => u32::from(*killed),
            What::Cut { .. } | What::Clock { .. } => 0,
        }
    }

    /// About how long its lane is busy with it, in seconds: a start takes a second or two, and a full disk is
    /// noticed when the write-ahead log has to grow.
    fn costs_s(&self) -> f64 {
        match self {
            What::Kill { down, again_after } => {
                2.0 + down.as_secs_f64() + again_after.map_or(0.0, |after| 1.0 + after.as_secs_f64())
            }
            What::Freeze { lasts, killed } => 2.0 + lasts.as_secs_f64() + f64::from(u8::from(*killed)),
            What::Disk { lasts, killed } => 5.0 + lasts.as_secs_f64() + 2.0 * f64::from(u8::from(*killed)),
            What::Cut { lasts, .. } | What::Clock { lasts, .. } => lasts.as_secs_f64(),
        }
    }
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let s = |d: &Duration| format!("{:.2} s", d.as_secs_f64());
        match self {
            What::Kill { down, again_after: None } => write!(f, "killed, down for {}", s(down)),
            What::Kill { down, again_after: Some(after) } => {
                write!(f, "killed, down for {}, killed again {} into its start", s(down), s(after))
            }
            What::Freeze { lasts, killed: false } => write!(f, "frozen for {}", s(lasts)),
            What::Freeze { lasts, killed: true } => write!(f, "frozen for {}, then killed", s(lasts)),
            What::Disk { lasts, killed: false } => write!(f, "disk full for {}", s(lasts)),
            What::Disk { lasts, killed: true } => {
                write!(f, "disk full for {}, and killed meanwhile", s(lasts))
            }
            What::Cut { channels, how, lasts } => {
                let how = match how {
                    Break::Before => "break before anything is read",
                    Break::After => "break after the call was carried out",
                    Break::BothWays => "break, and notifications are lost",
                };
                write!(f, "connections to {} {how}, for {}", channels.join(", "), s(lasts))
            }
            What::Clock { offset_s, lasts } => {
                write!(f, "the channels' clock is off by {offset_s:+} s for {}", s(lasts))
            }
        }
    }
}

/// What was asked for.
#[derive(Debug, Clone)]
pub(super) struct Wishes {
    pub(super) seed: u64,
    pub(super) kinds: Vec<Kind>,
    /// As many as the time suggests, if nobody says.
    pub(super) kills: Option<u32>,
    /// How long the load lasts; as long as the mischief needs, if nobody says.
    pub(super) lasts_s: Option<f64>,
    pub(super) channels: Vec<String>,
}

/// The schedule.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Plan {
    pub(super) lasts_s: f64,
    pub(super) house: Vec<Act>,
    pub(super) connections: Vec<Act>,
    pub(super) clock: Vec<Act>,
}

impl Plan {
    /// # Errors
    /// The time does not suffice for the kills; the text says how long it takes.
    pub(super) fn new(wishes: &Wishes) -> anyhow::Result<Plan> {
        let mut dice = ChaCha12Rng::seed_from_u64(wishes.seed);
        let has = |kind| wishes.kinds.contains(&kind);
        // Without a time: what the kills need with the rest, and never less than one of each takes.
        let needed_s = wishes.kills.map_or(0.0, |kills| KILL_EVERY_S * f64::from(kills));
        let about_s = wishes.lasts_s.unwrap_or(needed_s.max(60.0));
        let each = |every_s: f64| times(about_s / every_s);
        let kills = wishes.kills.unwrap_or_else(|| each(KILL_EVERY_S).max(1));
        let kills = if has(Kind::Kill) { kills } else { 0 };
        let mut house = Vec::new();
        if has(Kind::Disk) {
            // One full disk is waited out, the next one meets a kill, and so on; never fewer than one of both.
            let kinds = if kills > 1 { 2 } else { 1 };
            let lasts = |dice: &mut ChaCha12Rng| seconds(dice.random_range(2.0..5.0));
            house.extend(
                (0..each(90.0).max(1) * kinds)
                    .map(|n| What::Disk { lasts: lasts(&mut dice), killed: n % 2 == 1 }),
            );
        }
        if has(Kind::Freeze) {
            // Longer than a call (5 s), an open breaker (5 s), a long poll (10 s); the last one of a long run also
            // longer than an order lives (40 s) and may stay uncertified (15 s).
            let freezes = each(100.0).max(1);
            house.extend((0..freezes).map(|n| {
                let lasts = if n > 0 && n + 1 == freezes { 60.0..65.0 } else { 11.0..16.0 };
                let spare = kills > freezes;
                What::Freeze { lasts: seconds(dice.random_range(lasts)), killed: spare && n % 3 == 1 }
            }));
        }
        if has(Kind::Kill) {
            let mut left = kills.saturating_sub(house.iter().map(What::kills).sum());
            let mut first = true;
            while left > 0 {
                // The first one that can be is a double: a recovery that is killed must be among them.
                let double = left > 1 && (std::mem::take(&mut first) || dice.random_bool(0.3));
                let again_after = double.then(|| seconds(dice.random_range(0.01..0.8)));
                house.push(What::Kill { down: seconds(dice.random_range(0.05..1.5)), again_after });
                left -= 1 + u32::from(double);
            }
        }
        house.shuffle(&mut dice);
        let busy_s: f64 = house.iter().map(What::costs_s).sum();
        let needs_s = WARM_UP_S + busy_s + TAIL_S;
        let lasts_s = match wishes.lasts_s {
            Some(lasts_s) if lasts_s < needs_s => anyhow::bail!(
                "{kills} kills and the rest take about {:.1} minutes; give --minutes at least that, or fewer kills",
                needs_s / 60.0
            ),
            Some(lasts_s) => lasts_s,
            None => about_s.max(needs_s * 1.15),
        };
        let house = spread(house, lasts_s, &mut dice);
        let connections = if has(Kind::Cut) {
            let cuts = (0..each(45.0).max(1)).map(|_| cut(&wishes.channels, &mut dice)).collect();
            spread(cuts, lasts_s, &mut dice)
        } else {
            Vec::new()
        };
        let clock = if has(Kind::Clock) {
            let skews = (0..each(75.0).max(1)).map(|_| skew(&mut dice)).collect();
            spread(skews, lasts_s, &mut dice)
        } else {
            Vec::new()
        };
        Ok(Plan { lasts_s, house, connections, clock })
    }

    /// All acts, by their moments.
    pub(super) fn acts(&self) -> Vec<&Act> {
        let mut all: Vec<&Act> = self.house.iter().chain(&self.connections).chain(&self.clock).collect();
        all.sort_by_key(|act| act.at);
        all
    }

    /// How many kills there are in it.
    pub(super) fn kills(&self) -> u32 {
        self.acts().iter().map(|act| act.what.kills()).sum()
    }
}

fn cut(channels: &[String], dice: &mut ChaCha12Rng) -> What {
    let how = match dice.random_range(0..3) {
        0 => Break::Before,
        1 => Break::After,
        _ => Break::BothWays,
    };
    let mut channels = channels.to_vec();
    // Half of the cuts meet every channel: then nothing can be changed over to. The others leave some of those out
    // that come after the preferred one.
    if dice.random_bool(0.5) {
        let left_out = dice.random_range(1..channels.len().max(2));
        channels.truncate(channels.len().saturating_sub(left_out).max(1));
    }
    What::Cut { channels, how, lasts: seconds(dice.random_range(2.0..9.0)) }
}

/// Signatures are stale beyond five minutes; some skews stay within.
fn skew(dice: &mut ChaCha12Rng) -> What {
    let size = dice.random_range(60..1_200);
    let offset_s = if dice.random_bool(0.5) { size } else { -size };
    What::Clock { offset_s, lasts: seconds(dice.random_range(4.0..10.0)) }
}

/// Lays acts out over the time with gaps of random lengths between them.
fn spread(whats: Vec<What>, lasts_s: f64, dice: &mut ChaCha12Rng) -> Vec<Act> {
    let busy_s: f64 = whats.iter().map(What::costs_s).sum();
    let spare_s = (lasts_s - WARM_UP_S - TAIL_S - busy_s).max(0.0);
    let mut gaps: Vec<f64> =
        whats.iter().map(|_| dice.random_range(0.0..spare_s.max(f64::EPSILON))).collect();
    gaps.sort_by(f64::total_cmp);
    let mut before_s = 0.0;
    whats
        .into_iter()
        .zip(gaps)
        .map(|(what, gap_s)| {
            let at = seconds(WARM_UP_S + gap_s + before_s);
            before_s += what.costs_s();
            Act { at, what }
        })
        .collect()
}

/// Rounded to hundredths, so that what is printed is what is done.
fn seconds(value: f64) -> Duration {
    Duration::try_from_secs_f64((value.max(0.0) * 100.0).round() / 100.0).unwrap_or_default()
}

#[expect(clippy::as_conversions, reason = "float casts saturate; a day has 864 of the shortest spans")]
fn times(value: f64) -> u32 {
    value.round() as u32
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    const ALL: [Kind; 5] = [Kind::Kill, Kind::Freeze, Kind::Disk, Kind::Cut, Kind::Clock];

    fn wishes(seed: u64, kills: u32, lasts_s: Option<f64>) -> Wishes {
        let channels = ["wechat", "campus_card"].map(str::to_owned).to_vec();
        Wishes { seed, kinds: ALL.to_vec(), kills: Some(kills), lasts_s, channels }
    }

    #[test]
    fn one_seed_is_one_schedule() {
        let plan = |seed| Plan::new(&wishes(seed, 12, None)).unwrap();
        assert_eq!(plan(1), plan(1));
        assert_ne!(plan(1), plan(2));
    }

    #[test]
    fn every_kind_that_was_asked_for_is_there_and_no_other_and_kills_come_to_their_number() {
        for seed in 0..200 {
            for kills in [1, 6, 50] {
                let plan = Plan::new(&wishes(seed, kills, None)).unwrap();
                assert_eq!(plan.kills(), kills, "seed {seed}");
                for kind in ALL {
                    assert!(plan.acts().iter().any(|act| act.what.kind() == kind), "seed {seed}: {kind:?}");
                }
                let recoveries_killed = |w: &What| matches!(w, What::Kill { again_after: Some(_), .. });
                assert!(
                    kills < 6 || plan.house.iter().any(|act| recoveries_killed(&act.what)),
                    "seed {seed}"
                );
            }
            let only = Wishes { kinds: vec![Kind::Cut], ..wishes(seed, 6, None) };
            let plan = Plan::new(&only).unwrap();
            assert!(plan.kills() == 0 && plan.house.is_empty() && plan.clock.is_empty());
        }
    }

    #[test]
    fn a_lane_does_one_thing_at_a_time_within_the_load() {
        for seed in 0..100 {
            let plan = Plan::new(&wishes(seed, 20, Some(400.0))).unwrap();
            for lane in [&plan.house, &plan.connections, &plan.clock] {
                let mut ends = lane.iter().map(|act| act.at.as_secs_f64() + act.what.costs_s());
                for (end, next) in ends.clone().zip(lane.iter().skip(1)) {
                    assert!(next.at.as_secs_f64() >= end - 0.02, "seed {seed}");
                }
                assert!(ends.next_back().is_some_and(|end| end <= 400.0 - TAIL_S + 0.1), "seed {seed}");
            }
        }
    }

    #[test]
    fn too_little_time_is_refused_with_the_time_it_takes() {
        let refused = Plan::new(&wishes(1, 50, Some(60.0))).unwrap_err().to_string();
        assert!(refused.contains("50 kills") && refused.contains("minutes"), "{refused}");
    }
}
