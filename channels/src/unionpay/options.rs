//! What an operator writes under `[channels.unionpay]`.

use std::{num::NonZeroUsize, path::PathBuf, time::Duration};

use domain::{Money, Scene};
use keys::Secret;
use serde::Deserialize;

use crate::config::{Faults, LimitRule, defaults as shared, text_or_number};

/// Options of the UnionPay channel. Required: everything without a default.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Options {
    /// The gateway: `https://gateway.95516.com`, or the sandbox's.
    pub base_url: String,
    /// Where reconciliation files are, `https://filedownload.95516.com`; the gateway itself if it is not given.
    #[serde(default)]
    pub file_url: Option<String>,
    /// Our merchant id, 15 characters.
    #[serde(deserialize_with = "text_or_number")]
    pub mer_id: String,
    /// Path of the merchant's signing certificate with its key, PKCS#12. The file must be closed to other users.
    pub sign_cert: PathBuf,
    /// The password of that file.
    pub sign_cert_password: Secret,
    /// Path of the root certificate that UnionPay's signers descend from, PEM.
    pub root_cert: PathBuf,
    /// Path of the certificate between that root and the signers, PEM.
    pub middle_cert: PathBuf,
    /// The full public address that UnionPay calls, such as `https://pay.example.com/notify/unionpay`.
    pub notify_url: String,
    /// Where the cashier sends the payer's browser back to; needed for scene `h5`.
    #[serde(default)]
    pub front_url: Option<String>,
    /// Scenes the merchant has been granted: `native` (a code), `h5` (cashier page, needs `front_url`).
    #[serde(default = "defaults::scenes")]
    pub scenes: Vec<Scene>,
    /// Believes signers that bear the name of the test environment (and of the sandbox). Never in production.
    #[serde(default)]
    pub accept_test_signer: bool,
    /// The largest amount of one attempt, fen.
    #[serde(default = "defaults::limit_fen")]
    pub limit_fen: i64,
    /// Lower limits for some account types or scenes; the lowest that fits counts.
    #[serde(default)]
    pub limits: Vec<LimitRule>,
    /// How long connecting may take, milliseconds (1 to 60 000). The gateway's deadline covers the rest.
    #[serde(default = "shared::connect_timeout_ms")]
    pub connect_timeout_ms: u64,
    /// Threads that sign.
    #[serde(default = "shared::signing_threads")]
    pub signing_threads: NonZeroUsize,
}

/// One place for every default of its own.
mod defaults {
    use domain::Scene;

    pub(super) fn scenes() -> Vec<Scene> {
        vec![Scene::Native]
    }
    pub(super) fn limit_fen() -> i64 {
        500_000
    }
}

impl Options {
    /// Every fault of the values themselves, with its key; key files are looked at when the channel is built.
    pub(super) fn check(&self, faults: &mut Faults) {
        faults.check_url("base_url", &self.base_url, 255);
        faults.check_url("notify_url", &self.notify_url, 255);
        for (key, url) in [("file_url", &self.file_url), ("front_url", &self.front_url)] {
            if let Some(url) = url {
                faults.check_url(key, url, 255);
            }
        }
        let mer_id = self.mer_id.len() == 15 && self.mer_id.bytes().all(|c| c.is_ascii_alphanumeric());
        faults.check(mer_id, "mer_id", "expected 15 letters or digits");
        let known = |scene: &Scene| matches!(scene, Scene::Native | Scene::H5);
        let scenes = !self.scenes.is_empty() && self.scenes.iter().all(known);
        faults.check(scenes, "scenes", "expected at least one of native, h5");
        let page = !self.scenes.contains(&Scene::H5) || self.front_url.is_some();
        faults.check(page, "front_url", "scene h5 needs an address that the payer's browser comes back to");
        faults.check(
            (1..=999_999_999_999).contains(&self.limit_fen),
            "limit_fen",
            "expected 1 to 999999999999",
        );
        faults.check_limits(&self.limits);
        faults.check_connect_timeout(self.connect_timeout_ms);
    }

    pub(super) fn file_url(&self) -> &str {
        self.file_url.as_deref().unwrap_or(&self.base_url)
    }

    pub(super) fn limit(&self) -> Money {
        Money::from_fen(self.limit_fen).unwrap_or_default()
    }

    pub(super) fn connect_timeout(&self) -> Duration {
        Duration::from_millis(self.connect_timeout_ms)
    }
}
