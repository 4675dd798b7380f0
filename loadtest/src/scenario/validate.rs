//! What spans fields, and the ranges that a type cannot say. All faults are found, not just the first.

use super::{ArrivalMode, Scenario, Spread};

/// More orders than this need more memory than a run should take.
const ORDERS_MAX: u32 = 5_000_000;

impl Scenario {
    /// One sentence per fault, each starting with the key's path; empty when all is well.
    pub(super) fn problems(&self) -> Vec<String> {
        let mut found = Vec::new();
        let mut check = |good: bool, problem: String| {
            if !good {
                found.push(problem);
            }
        };
        check((1..=ORDERS_MAX).contains(&self.orders), format!("orders: expected 1 to {ORDERS_MAX}"));
        check(positive(self.duration_s), "duration_s: expected more than 0".into());
        check(self.duration_s <= 86_400.0, "duration_s: expected at most 86400 (a day)".into());
        check(positive(self.drain_limit_s), "drain_limit_s: expected more than 0".into());
        check((1..=86_400).contains(&self.expires_in_s), "expires_in_s: expected 1 to 86400".into());
        if self.arrivals.mode == ArrivalMode::Closed {
            check(self.arrivals.in_flight > 0, "arrivals.in_flight: expected at least 1".into());
            check(self.arrivals.profile.is_empty(), "arrivals.profile: a closed loop has none".into());
        }
        let rising = self.arrivals.profile.windows(2).all(|w| match w {
            [a, b] => a.0 < b.0,
            _ => true,
        });
        check(rising, "arrivals.profile: expected rising seconds".into());
        for (second, rate) in &self.arrivals.profile {
            let inside = (0.0..=self.duration_s).contains(second) && rate.is_finite() && *rate >= 0.0;
            check(
                inside,
                format!("arrivals.profile: [{second}, {rate}]: expected 0 ≤ second ≤ duration_s, rate ≥ 0"),
            );
        }
        let flat =
            self.arrivals.profile.is_empty() || self.arrivals.profile.iter().any(|(_, rate)| *rate > 0.0);
        check(flat, "arrivals.profile: expected a rate above 0 somewhere".into());

        let b = &self.basket;
        check(b.min_fen > 0 && b.min_fen <= b.max_fen, "basket: expected 0 < min_fen ≤ max_fen".into());
        check(
            b.median_fen > 0 && b.median_fen <= b.p99_fen,
            "basket: expected 0 < median_fen ≤ p99_fen".into(),
        );

        let m = &self.mix;
        let scenes = !m.scenes.is_empty() && m.scenes.values().all(|w| w.is_finite() && *w >= 0.0);
        check(scenes && m.scenes.values().sum::<f64>() > 0.0, "mix.scenes: expected weights above 0".into());
        for scene in m.scenes.keys() {
            let known = ["native", "jsapi", "h5"].contains(&scene.as_str());
            check(known, format!("mix.scenes.{scene}: expected native, jsapi or h5"));
        }
        check(!m.channels.is_empty(), "mix.channels: expected at least one channel".into());
        check(share(m.consent_share), "mix.consent_share: expected 0 to 1".into());
        for (channel, limit) in &m.limits {
            let fen = (1..=999_999_999).contains(limit);
            check(
                fen && m.channels.contains(channel),
                format!("mix.limits.{channel}: expected 1 to 999999999 fen for a channel of mix.channels"),
            );
        }
        check(m.merchants > 0, "mix.merchants: expected at least 1".into());
        check(m.payers > 0, "mix.payers: expected at least 1".into());

        let p = &self.payer;
        let shares = [
            ("cancels", p.cancels),
            ("walks_away", p.walks_away),
            ("no_balance", p.no_balance),
            ("pays_twice", p.pays_twice),
            ("pays_late", p.pays_late),
        ];
        for (key, value) in shares.iter().chain(&[("hint", p.hint), ("impatient", p.impatient)]) {
            check(share(*value), format!("payer.{key}: expected 0 to 1, found {value}"));
        }
        let sum: f64 = shares.iter().map(|(_, value)| value).sum();
        check(
            sum <= 1.0 + 1e-9,
            format!("payer: the shares of behaviours add up to {sum}, expected at most 1"),
        );
        check(spread(p.think), "payer.think: expected 0 ≤ median_ms ≤ p99_ms".into());
        check(positive(p.patience_s), "payer.patience_s: expected more than 0".into());
        check(positive(p.switch_after_s), "payer.switch_after_s: expected more than 0".into());

        for change in &self.faults {
            let inside = (0.0..=self.duration_s + self.drain_limit_s).contains(&change.at_s);
            check(inside, format!("faults.at_s: {}: expected 0 to duration_s + drain_limit_s", change.at_s));
        }
        for at in &self.node.kill_at_s {
            check(
                (0.0..=self.duration_s).contains(at),
                format!("node.kill_at_s: {at}: expected 0 to duration_s"),
            );
        }
        check(self.node.restart_after_s >= 0.0, "node.restart_after_s: expected 0 or more".into());
        check(share(self.webhook_sink.error_rate), "webhook_sink.error_rate: expected 0 to 1".into());
        found
    }
}

fn share(value: f64) -> bool {
    (0.0..=1.0).contains(&value)
}

fn positive(value: f64) -> bool {
    value.is_finite() && value > 0.0
}

fn spread(value: Spread) -> bool {
    value.median_ms >= 0.0 && value.p99_ms >= value.median_ms && value.p99_ms.is_finite()
}
