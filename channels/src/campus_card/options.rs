//! What an operator writes under `[channels.campus_card]`.

use std::time::Duration;

use domain::Money;
use keys::Secret;
use serde::Deserialize;

use crate::config::{Faults, LimitRule, defaults as shared, text_or_number};

/// Options of the campus card channel. Required: everything without a default.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Options {
    /// Address of the card gateway, with its base path: `https://card.example.edu/ccp`.
    pub base_url: String,
    /// Our merchant id there.
    #[serde(deserialize_with = "text_or_number")]
    pub merchant_id: String,
    /// Id of the shared secret.
    #[serde(deserialize_with = "text_or_number")]
    pub key_id: String,
    /// The shared secret, at least 32 bytes.
    pub secret: Secret,
    /// The full public address that the gateway calls, such as `https://pay.example.com/notify/campus_card`.
    pub notify_url: String,
    /// The largest amount of one attempt, fen.
    #[serde(default = "defaults::limit_fen")]
    pub limit_fen: i64,
    /// Lower limits for some account types or scenes; the lowest that fits counts.
    #[serde(default)]
    pub limits: Vec<LimitRule>,
    /// How long connecting may take, milliseconds (1 to 60 000). The gateway's deadline covers the rest.
    #[serde(default = "shared::connect_timeout_ms")]
    pub connect_timeout_ms: u64,
}

/// One place for every default of its own.
mod defaults {
    pub(super) fn limit_fen() -> i64 {
        50_000
    }
}

impl Options {
    /// Every fault of the values, with its key.
    pub(super) fn check(&self, faults: &mut Faults) {
        faults.check_url("base_url", &self.base_url, 255);
        faults.check_url("notify_url", &self.notify_url, 256);
        for (key, text) in [("merchant_id", &self.merchant_id), ("key_id", &self.key_id)] {
            let good = (1..=32).contains(&text.len())
                && text.bytes().all(|c| c.is_ascii_alphanumeric() || b"_-".contains(&c));
            faults.check(good, key, "expected 1 to 32 of letters, digits, '_', '-'");
        }
        faults.check(self.secret.expose().len() >= 32, "secret", "expected at least 32 bytes");
        faults.check((1..=999_999_999).contains(&self.limit_fen), "limit_fen", "expected 1 to 999999999");
        faults.check_limits(&self.limits);
        faults.check_connect_timeout(self.connect_timeout_ms);
    }

    pub(super) fn limit(&self) -> Money {
        Money::from_fen(self.limit_fen).unwrap_or_default()
    }

    pub(super) fn connect_timeout(&self) -> Duration {
        Duration::from_millis(self.connect_timeout_ms)
    }
}
