//! Chance out of one seed. Each purpose has its own stream, so that more draws for one leave the others as they were.

use std::time::Duration;

use parking_lot::Mutex;
use rand::{Rng as _, RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

/// A stream of draws.
#[derive(Debug)]
pub(crate) struct Dice(ChaCha8Rng);

impl Dice {
    /// The stream with this number under this seed.
    pub(crate) fn new(seed: u64, stream: u64) -> Dice {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(stream);
        Dice(rng)
    }

    /// A share between 0 and 1, without 1.
    pub(crate) fn share(&mut self) -> f64 {
        self.0.random()
    }

    /// True with this probability.
    pub(crate) fn happens(&mut self, probability: f64) -> bool {
        self.share() < probability
    }

    /// A whole number below `n`.
    pub(crate) fn below(&mut self, n: u64) -> u64 {
        self.0.random_range(0..n.max(1))
    }

    /// A time between the two, in milliseconds.
    pub(crate) fn ms(&mut self, from: u64, to: u64) -> Duration {
        Duration::from_millis(self.0.random_range(from..=to.max(from)))
    }

    /// The time until the next of events that come `per_s` a second on average and know nothing of each other.
    pub(crate) fn pause(&mut self, per_s: f64) -> Duration {
        Duration::from_secs_f64(-(1.0 - self.share()).ln() / per_s)
    }

    /// Picks by weight; the weights need not sum to anything.
    pub(crate) fn pick<T: Copy>(&mut self, weighted: &[(f64, T)], otherwise: T) -> T {
        let mut left = self.share() * weighted.iter().map(|(weight, _)| weight).sum::<f64>();
        for (weight, what) in weighted {
            if left < *weight {
                return *what;
            }
            left -= weight;
        }
        otherwise
    }
}

/// The house's own stream: its ids and its router's draws.
#[derive(Debug)]
pub(crate) struct HouseDice(Mutex<Dice>);

impl HouseDice {
    pub(crate) fn new(seed: u64) -> HouseDice {
        HouseDice(Mutex::new(Dice::new(seed, 2)))
    }
}

impl actors::Chance for HouseDice {
    fn bits(&self) -> u64 {
        self.0.lock().0.next_u64()
    }
}
