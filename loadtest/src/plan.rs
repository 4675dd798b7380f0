//! The whole run, decided before it starts: who orders what, when, and how each payer will behave.
//!
//! One seed gives one plan. Each order draws from a stream of its own, so that what one payer is like never
//! depends on how many numbers another one used. Nothing here looks at a clock; answers cannot move it.

use std::time::Duration;

use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha12Rng;

use crate::{
    num,
    scenario::{ArrivalMode, Scenario, Spread},
};

/// The z value that 99 % of a normal distribution stay below.
const Z_P99: f64 = 2.326_347_874;

/// One order of the plan.
#[derive(Debug, Clone, PartialEq)]
pub struct PlannedOrder {
    /// Running number from 0.
    pub index: u32,
    /// When it is sent, counted from the start; zero throughout in a closed loop.
    pub at: Duration,
    /// Amount in fen.
    pub amount_fen: u64,
    /// `native`, `jsapi` or `h5`.
    pub scene: &'static str,
    /// Number of the stall, from 1.
    pub merchant: u32,
    /// Number of the student, from 1.
    pub payer: u32,
    /// Whether the payer consents to the scenario's direct channels.
    pub consents: bool,
    /// What the payer does with a credential.
    pub behaviour: Behaviour,
    /// From seeing the credential to acting on it.
    pub think: Duration,
    /// Whether the mini program reports the payer's return.
    pub hint: bool,
    /// Whether the payer asks for another channel when no credential comes.
    pub impatient: bool,
}

/// What a payer does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Behaviour {
    /// Pays.
    Pays,
    /// Cancels the order.
    Cancels,
    /// Is never seen again.
    WalksAway,
    /// Has not enough money, then cancels.
    NoBalance,
    /// Pays, asks to pay another way, and pays that too if it is offered.
    SwitchesAfterPaying,
    /// Asks to pay another way, then pays the old credential as well.
    PaysOldAfterSwitching,
    /// Pays the same credential from two phones.
    TwoPhones,
    /// Cancels, then pays the old credential.
    PaysLate,
}

impl Behaviour {
    /// Whether this payer can pay, wants to, and does: only these count when orders fail.
    #[must_use]
    pub const fn willing(self) -> bool {
        match self {
            Behaviour::Pays
            | Behaviour::SwitchesAfterPaying
            | Behaviour::PaysOldAfterSwitching
            | Behaviour::TwoPhones => true,
            Behaviour::Cancels | Behaviour::WalksAway | Behaviour::NoBalance | Behaviour::PaysLate => false,
        }
    }
}

/// The plan of `orders` orders, sorted by time.
#[must_use]
pub fn plan(scenario: &Scenario, orders: u32, seed: u64) -> Vec<PlannedOrder> {
    let times = arrival_times(scenario, orders, seed);
    let mut stream = 0u64;
    let one = |(index, at): (u32, Duration)| {
        stream += 1;
        let mut rng = ChaCha12Rng::seed_from_u64(seed);
        rng.set_stream(stream);
        order(scenario, index, at, &mut rng)
    };
    (0..orders).zip(times).map(one).collect()
}

/// Sorted arrival times. Given how many arrive, the times of a Poisson process are independent draws from
/// its rate profile; drawing them so keeps the number exact and the gaps as irregular as real ones.
fn arrival_times(scenario: &Scenario, orders: u32, seed: u64) -> Vec<Duration> {
    let mut rng = ChaCha12Rng::seed_from_u64(seed);
    if scenario.arrivals.mode == ArrivalMode::Closed {
        return vec![Duration::ZERO; usize::try_from(orders).unwrap_or(usize::MAX)];
    }
    let profile = Profile::new(&scenario.arrivals.profile, scenario.duration_s);
    let mut times: Vec<Duration> =
        (0..orders).map(|_| num::seconds(profile.time_at(rng.random::<f64>()))).collect();
    times.sort_unstable();
    times
}

fn order(scenario: &Scenario, index: u32, at: Duration, rng: &mut impl Rng) -> PlannedOrder {
    let basket = &scenario.basket;
    let spread = Spread { median_ms: num::float(basket.median_fen), p99_ms: num::float(basket.p99_fen) };
    let amount_fen = num::whole(log_normal(spread, rng)).clamp(basket.min_fen, basket.max_fen);
    let payer = &scenario.payer;
    PlannedOrder {
        index,
        at,
        amount_fen,
        scene: scene(scenario, rng.random()),
        merchant: rng.random_range(1..=scenario.mix.merchants.max(1)),
        payer: rng.random_range(1..=scenario.mix.payers.max(1)),
        consents: rng.random::<f64>() < scenario.mix.consent_share,
        behaviour: behaviour(scenario, rng.random(), rng.random()),
        think: num::seconds(log_normal(payer.think, rng) / 1_000.0),
        hint: rng.random::<f64>() < payer.hint,
        impatient: rng.random::<f64>() < payer.impatient,
    }
}

fn scene(scenario: &Scenario, draw: f64) -> &'static str {
    let scenes = &scenario.mix.scenes;
    let mut left = draw * scenes.values().sum::<f64>();
    for name in ["native", "jsapi", "h5"] {
        let weight = scenes.get(name).copied().unwrap_or(0.0);
        if left < weight {
            return name;
        }
        left -= weight;
    }
    "native"
}

fn behaviour(scenario: &Scenario, draw: f64, how_twice: f64) -> Behaviour {
    let p = &scenario.payer;
    let twice = if how_twice < 0.4 {
        Behaviour::SwitchesAfterPaying
    } else if how_twice < 0.8 {
        Behaviour::PaysOldAfterSwitching
    } else {
        Behaviour::TwoPhones
    };
    let shares = [
        (p.cancels, Behaviour::Cancels),
        (p.walks_away, Behaviour::WalksAway),
        (p.no_balance, Behaviour::NoBalance),
        (p.pays_twice, twice),
        (p.pays_late, Behaviour::PaysLate),
    ];
    let mut left = draw;
    for (share, what) in shares {
        if left < share {
            return what;
        }
        left -= share;
    }
    Behaviour::Pays
}

/// A log-normal draw with the given median and 99th percentile, in their unit.
fn log_normal(spread: Spread, rng: &mut impl Rng) -> f64 {
    if spread.median_ms <= 0.0 || spread.p99_ms <= spread.median_ms {
        return spread.median_ms.max(0.0);
    }
    let sigma = (spread.p99_ms / spread.median_ms).ln() / Z_P99;
    // Box and Muller; 1 - u keeps the logarithm away from zero.
    let (u, v): (f64, f64) = (1.0 - rng.random::<f64>(), rng.random());
    let normal = (-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos();
    spread.median_ms * (sigma * normal).exp()
}

/// A rate over time made of straight lines, and its inverse: which second a share of all arrivals is up to.
struct Profile {
    /// Start, length, rate at start, rate at end, arrivals before it.
    pieces: Vec<(f64, f64, f64, f64, f64)>,
    total: f64,
}

impl Profile {
    fn new(points: &[(f64, f64)], duration_s: f64) -> Profile {
        let mut corners: Vec<(f64, f64)> = points.to_vec();
        match (corners.first().copied(), corners.last().copied()) {
            (Some((first, early)), Some((last, late))) => {
                if first > 0.0 {
                    corners.insert(0, (0.0, early));
                }
                if last < duration_s {
                    corners.push((duration_s, late));
                }
            }
            _ => corners.extend([(0.0, 1.0), (duration_s, 1.0)]),
        }
        let mut total = 0.0;
        let mut pieces = Vec::with_capacity(corners.len());
        for pair in corners.windows(2) {
            if let [(from, early), (to, late)] = pair {
                pieces.push((*from, to - from, *early, *late, total));
                total += (to - from) * (early + late) / 2.0;
            }
        }
        Profile { pieces, total }
    }

    /// The second before which the share `u` (0 to 1) of all arrivals falls.
    fn time_at(&self, u: f64) -> f64 {
        let goal = u * self.total;
        let at = self.pieces.partition_point(|piece| piece.4 <= goal).saturating_sub(1);
        let Some((start, length, early, late, before)) = self.pieces.get(at).copied() else { return 0.0 };
        let slope = (late - early) / length;
        let want = goal - before;
        // Area under a straight line: early·t + slope·t²/2 = want.
        let t = if slope.abs() < 1e-12 {
            want / early.max(f64::MIN_POSITIVE)
        } else {
            ((early * early + 2.0 * slope * want).max(0.0).sqrt() - early) / slope
        };
        start + t.clamp(0.0, length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lunch() -> Scenario {
        Scenario::find("lunch-rush").unwrap()
    }

    #[test]
    fn one_seed_gives_one_plan_and_another_seed_another() {
        let scenario = lunch();
        let first = plan(&scenario, 3_000, 7);
        assert_eq!(first, plan(&scenario, 3_000, 7));
        assert_ne!(first, plan(&scenario, 3_000, 8));
        assert_eq!(first.len(), 3_000);
        assert!(first.is_sorted_by_key(|order| order.at));
        assert!(first.last().unwrap().at <= Duration::from_secs(45));
    }

    #[test]
    fn what_a_payer_is_like_does_not_depend_on_how_many_others_there_are() {
        let (few, many) = (plan(&lunch(), 10, 7), plan(&lunch(), 1_000, 7));
        for (a, b) in few.iter().zip(&many) {
            assert_eq!(
                (a.amount_fen, a.behaviour, a.think, a.payer),
                (b.amount_fen, b.behaviour, b.think, b.payer)
            );
        }
    }

    #[test]
    fn arrivals_follow_the_profile_and_are_irregular_as_poisson() {
        let mut scenario = lunch();
        scenario.duration_s = 10.0;
        scenario.arrivals.profile = vec![(0.0, 0.0), (10.0, 1.0)];
        let times = arrival_times(&scenario, 20_000, 3);
        // A rate that rises from zero puts a quarter of the arrivals into the first half.
        let early = times.iter().filter(|t| t.as_secs_f64() < 5.0).count();
        assert!((4_700..5_300).contains(&early), "{early}");
        // Over a flat stretch, counts per slot have a variance near their mean.
        scenario.arrivals.profile.clear();
        let mut slots = vec![0f64; 1_000];
        for t in arrival_times(&scenario, 20_000, 3) {
            slots[num::index(t.as_secs_f64() * 100.0).min(999)] += 1.0;
        }
        let mean = slots.iter().sum::<f64>() / 1_000.0;
        let variance = slots.iter().map(|n| (n - mean).powi(2)).sum::<f64>() / 999.0;
        assert!((0.85..1.15).contains(&(variance / mean)), "{}", variance / mean);
    }

    #[test]
    fn shares_and_spreads_come_out_as_written() {
        let scenario = lunch();
        let orders = plan(&scenario, 20_000, 1);
        let cancels = orders.iter().filter(|o| o.behaviour == Behaviour::Cancels).count();
        assert!((220..380).contains(&cancels), "{cancels}");
        let mut amounts: Vec<u64> = orders.iter().map(|o| o.amount_fen).collect();
        amounts.sort_unstable();
        assert!((1_780..1_920).contains(&amounts[10_000]), "{}", amounts[10_000]);
        assert!((5_500..6_500).contains(&amounts[19_800]), "{}", amounts[19_800]);
        let mut thinks: Vec<Duration> = orders.iter().map(|o| o.think).collect();
        thinks.sort_unstable();
        assert!((1_440..1_560).contains(&thinks[10_000].as_millis()), "{:?}", thinks[10_000]);
    }
}
