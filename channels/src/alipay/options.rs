//! What an operator writes under `[channels.alipay]`.

use std::{num::NonZeroUsize, path::PathBuf, time::Duration};

use domain::{Money, Scene};
use serde::Deserialize;

use crate::config::{Faults, LimitRule, defaults as shared, text_or_number};

/// Options of the Alipay channel. Required: everything without a default.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Options {
    /// The gateway: `https://openapi.alipay.com/gateway.do`, or the sandbox's.
    pub base_url: String,
    /// The app's id, digits.
    #[serde(deserialize_with = "text_or_number")]
    pub app_id: String,
    /// The merchant's own user id, `2088` and twelve digits; notifications for another seller are refused.
    #[serde(deserialize_with = "text_or_number")]
    pub seller_id: String,
    /// The mini program that pays, if it is another app than `app_id`.
    #[serde(default)]
    pub op_app_id: Option<String>,
    /// Path of the app's private key, PEM. The file must be closed to other users.
    pub merchant_key: PathBuf,
    /// Path of **Alipay's** public key (not the app's), PEM. Key mode: this, or the three certificates.
    #[serde(default)]
    pub public_key: Option<PathBuf>,
    /// Certificate mode: path of the app's certificate, PEM.
    #[serde(default)]
    pub app_cert: Option<PathBuf>,
    /// Certificate mode: path of Alipay's certificate, PEM. A newer one is fetched when an answer names it.
    #[serde(default)]
    pub alipay_cert: Option<PathBuf>,
    /// Certificate mode: path of the bundle of Alipay's roots, PEM.
    #[serde(default)]
    pub alipay_root_cert: Option<PathBuf>,
    /// The full public address that Alipay calls, such as `https://pay.example.com/notify/alipay`.
    pub notify_url: String,
    /// Scenes the merchant has been granted: `native` (precreate), `jsapi` (mini program), `h5` (cashier page).
    #[serde(default = "defaults::scenes")]
    pub scenes: Vec<Scene>,
    /// What the payer's wallet hides. The default hides every kind of credit.
    #[serde(default = "defaults::disable_pay_channels")]
    pub disable_pay_channels: String,
    /// Account types that may pay on credit: for them nothing is hidden. Students are not among them unless named.
    #[serde(default)]
    pub credit_account_types: Vec<String>,
    /// Freezes what is paid, so that it can be split (分账). The merchant must have been granted it.
    #[serde(default)]
    pub profit_sharing: bool,
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
        vec![Scene::Native, Scene::Jsapi, Scene::H5]
    }
    pub(super) fn disable_pay_channels() -> String {
        "credit_group".to_owned()
    }
    pub(super) fn limit_fen() -> i64 {
        1_000_000
    }
}

impl Options {
    /// Every fault of the values themselves, with its key; key files are looked at when the channel is built.
    pub(super) fn check(&self, faults: &mut Faults) {
        faults.check_url("base_url", &self.base_url, 255);
        faults.check_url("notify_url", &self.notify_url, 255);
        let digits = |text: &str, max| {
            !text.is_empty() && text.len() <= max && text.bytes().all(|c| c.is_ascii_digit())
        };
        faults.check(digits(&self.app_id, 32), "app_id", "expected 1 to 32 digits");
        let seller =
            digits(&self.seller_id, 16) && self.seller_id.starts_with("2088") && self.seller_id.len() == 16;
        faults.check(seller, "seller_id", "expected 2088 and twelve more digits");
        let three = [&self.app_cert, &self.alipay_cert, &self.alipay_root_cert];
        let one_mode = match (&self.public_key, three.iter().filter(|path| path.is_some()).count()) {
            (Some(_), given) => given == 0,
            (None, given) => given == three.len(),
        };
        let problem = "give either public_key, or all of app_cert, alipay_cert and alipay_root_cert";
        faults.check(one_mode, "public_key", problem);
        faults.check(!self.scenes.is_empty(), "scenes", "expected at least one of native, jsapi, h5");
        faults.check(self.limit_fen >= 1, "limit_fen", "expected 1 or more");
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
