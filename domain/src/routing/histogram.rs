//! Latencies in few, fixed buckets: exact below 32 ms, then 16 buckets to each doubling, up to 65 s.
//!
//! A bucket answers with its middle, so a quantile is off by at most one part in 32 (3.2 %). The size is
//! fixed (under a kilobyte); anything above the top counts as the top. Adding two of them is exact.

const SUB: u64 = 16;
const SUB_BITS: u32 = 4;
/// The largest latency told apart; a call that takes longer counts as this.
pub(super) const TOP_MS: u64 = 65_535;
/// 16 exact values and 12 doublings (16 to 65,535) of 16 buckets.
const BUCKETS: usize = 16 + 12 * 16;

#[derive(Debug, Clone)]
pub(super) struct Histogram {
    counts: [u32; BUCKETS],
    total: u32,
}

impl Histogram {
    pub(super) const fn new() -> Histogram {
        Histogram { counts: [0; BUCKETS], total: 0 }
    }

    pub(super) fn add(&mut self, ms: u64) {
        if let Some(count) = self.counts.get_mut(bucket(ms)) {
            *count = count.saturating_add(1);
            self.total = self.total.saturating_add(1);
        }
    }

    pub(super) fn merge(&mut self, other: &Histogram) {
        for (mine, theirs) in self.counts.iter_mut().zip(other.counts) {
            *mine = mine.saturating_add(theirs);
        }
        self.total = self.total.saturating_add(other.total);
    }

    pub(super) const fn total(&self) -> u32 {
        self.total
    }

    /// The smallest latency that at least the share `quantile` of the calls does not exceed; 0 without calls.
    pub(super) fn quantile(&self, quantile: f64) -> u64 {
        // The small allowance keeps 0.9 of 10 from becoming a tenth call through rounding.
        let wanted = quantile * f64::from(self.total) - 1e-6;
        let mut seen = 0_u32;
        for (index, count) in self.counts.iter().enumerate() {
            seen = seen.saturating_add(*count);
            if *count > 0 && f64::from(seen) >= wanted {
                return middle(index);
            }
        }
        0
    }

    /// How many calls took longer than `ms`, by the buckets' middles.
    pub(super) fn above(&self, ms: u64) -> u32 {
        let slow = self.counts.iter().enumerate().filter(|(index, _)| middle(*index) > ms);
        slow.fold(0, |sum, (_, count)| sum.saturating_add(*count))
    }
}

fn bucket(ms: u64) -> usize {
    let ms = ms.min(TOP_MS);
    if ms < SUB {
        return usize::try_from(ms).unwrap_or_default();
    }
    let doubling = ms.ilog2() - SUB_BITS;
    let place = SUB * (u64::from(doubling) + 1) + ((ms >> doubling) - SUB);
    usize::try_from(place).unwrap_or_default()
}

fn middle(index: usize) -> u64 {
    let index = u64::try_from(index).unwrap_or_default();
    if index < SUB {
        return index;
    }
    let (doubling, place) = (index / SUB - 1, index % SUB);
    let low = (SUB + place) << doubling;
    low + (1 << doubling) / 2
}

#[cfg(test)]
#[allow(clippy::as_conversions, reason = "tests")]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_bucket_is_within_five_percent_of_every_latency_in_it(ms in 0..=TOP_MS) {
            let shown = middle(bucket(ms));
            prop_assert!(shown.abs_diff(ms) * 20 <= ms, "{ms} shown as {shown}");
        }

        #[test]
        fn buckets_keep_the_order_of_latencies(a in 0..200_000_u64, b in 0..200_000_u64) {
            prop_assert!(bucket(a.min(b)) <= bucket(a.max(b)));
            prop_assert!(bucket(a) < BUCKETS);
        }

        #[test]
        fn quantiles_are_those_of_the_sorted_latencies(
            mut all in prop::collection::vec(0..=TOP_MS, 1..300), q in 0.5..=0.999_f64,
        ) {
            let mut halves = (Histogram::new(), Histogram::new());
            for (n, ms) in all.iter().enumerate() {
                if n % 2 == 0 { halves.0.add(*ms) } else { halves.1.add(*ms) }
            }
            halves.0.merge(&halves.1);
            all.sort_unstable();
            let rank = (1..=all.len()).find(|r| *r as f64 >= q * all.len() as f64 - 1e-6).unwrap();
            let exact = all[rank - 1];
            let shown = halves.0.quantile(q);
            prop_assert!(shown.abs_diff(exact) * 20 <= exact, "{exact} shown as {shown}");
        }
    }

    #[test]
    fn it_is_small_and_the_edges_hold() {
        assert!(size_of::<Histogram>() < 1_024);
        let mut h = Histogram::new();
        assert_eq!((h.quantile(0.9), h.above(0)), (0, 0));
        h.add(u64::MAX);
        assert!(h.quantile(0.5) > 60_000);
        assert_eq!((h.above(800), h.total()), (1, 1));
    }
}
