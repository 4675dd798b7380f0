//! What an operator writes under `[channels.wechat]`.

use std::{num::NonZeroUsize, path::PathBuf, time::Duration};

use domain::{Money, Scene};
use keys::{KeyFile, Secret};
use serde::Deserialize;

use crate::config::{Faults, LimitRule, defaults as shared, text_or_number};

/// Options of the WeChat Pay channel. Required: everything without a default.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Options {
    /// Address of the API: `https://api.mch.weixin.qq.com`, or the sandbox's.
    pub base_url: String,
    /// Merchant number (商户号), digits.
    #[serde(deserialize_with = "text_or_number")]
    pub mchid: String,
    /// The app id bound to the merchant, `wx…`.
    pub appid: String,
    /// Serial of the merchant API certificate, hex.
    pub merchant_serial: String,
    /// Path of the merchant API private key, PEM. The file must be closed to other users.
    pub merchant_key: PathBuf,
    /// Path of the merchant API certificate, PEM: `rushpay doctor` compares it with key and serial.
    #[serde(default)]
    pub merchant_cert: Option<PathBuf>,
    /// The APIv3 key: exactly 32 characters. Give this or `apiv3_key_file`.
    #[serde(default)]
    pub apiv3_key: Secret,
    /// Path of a file that holds the APIv3 key and nothing else.
    #[serde(default)]
    pub apiv3_key_file: Option<PathBuf>,
    /// Id of the WeChat Pay public key, `PUB_KEY_ID_…`; together with `public_key`.
    #[serde(default)]
    pub public_key_id: Option<String>,
    /// Path of the WeChat Pay public key, PEM.
    #[serde(default)]
    pub public_key: Option<PathBuf>,
    /// True to also (or only) verify with platform certificates, which are fetched and kept fresh. Needed
    /// without a public key; with one it covers the weeks of a switch-over.
    #[serde(default)]
    pub platform_certificate_mode: bool,
    /// At least this long between two fetches of certificates that an unknown serial asks for, milliseconds.
    #[serde(default = "defaults::refresh_pause_ms")]
    pub certificate_refresh_pause_ms: u64,
    /// The full public address that WeChat calls, such as `https://pay.example.com/notify/wechat`.
    pub notify_url: String,
    /// Scenes the merchant has been granted: `native`, `jsapi`, `h5`.
    #[serde(default = "defaults::scenes")]
    pub scenes: Vec<Scene>,
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

    pub(super) fn refresh_pause_ms() -> u64 {
        10_000
    }
    pub(super) fn scenes() -> Vec<Scene> {
        vec![Scene::Native, Scene::Jsapi, Scene::H5]
    }
    pub(super) fn limit_fen() -> i64 {
        100_000
    }
}

impl Options {
    /// Every fault of the values themselves, with its key; key files are looked at when the channel is built.
    pub(super) fn check(&self, faults: &mut Faults) {
        faults.check_url("base_url", &self.base_url, 255);
        faults.check_url("notify_url", &self.notify_url, 255);
        let digits =
            |text: &str| !text.is_empty() && text.len() <= 32 && text.bytes().all(|c| c.is_ascii_digit());
        faults.check(digits(&self.mchid), "mchid", "expected 1 to 32 digits");
        faults.check((1..=32).contains(&self.appid.len()), "appid", "expected 1 to 32 characters");
        let hex =
            !self.merchant_serial.is_empty() && self.merchant_serial.bytes().all(|c| c.is_ascii_hexdigit());
        faults.check(hex, "merchant_serial", "expected the certificate's serial in hex");
        faults.check(!self.scenes.is_empty(), "scenes", "expected at least one of native, jsapi, h5");
        faults.check(self.limit_fen >= 1, "limit_fen", "expected 1 or more");
        faults.check_limits(&self.limits);
        faults.check_connect_timeout(self.connect_timeout_ms);
        let pair = self.public_key_id.is_some() == self.public_key.is_some();
        faults.check(
            pair,
            "public_key",
            "public_key and public_key_id belong together: give both or neither",
        );
        let verifiable = self.public_key.is_some() || self.platform_certificate_mode;
        faults.check(
            verifiable,
            "public_key",
            "answers could not be verified: give public_key_id and public_key, or set platform_certificate_mode",
        );
        let one = self.apiv3_key.is_empty() != self.apiv3_key_file.is_none();
        faults.check(one, "apiv3_key", "give exactly one of apiv3_key and apiv3_key_file");
    }

    /// The APIv3 key, from wherever it is.
    pub(super) fn apiv3(&self, faults: &mut Faults) -> Option<[u8; 32]> {
        let (key, text) = match &self.apiv3_key_file {
            Some(path) => ("apiv3_key_file", faults.take("apiv3_key_file", KeyFile::read_secret(path))?),
            None => ("apiv3_key", self.apiv3_key.clone()),
        };
        let bytes = text.expose().as_bytes().try_into().ok();
        if bytes.is_none() && !text.is_empty() {
            faults.add(key, "expected exactly 32 characters (it is used as it is, not as hex or base64)");
        }
        bytes
    }

    pub(super) fn limit(&self) -> Money {
        Money::from_fen(self.limit_fen).unwrap_or_default()
    }

    pub(super) fn connect_timeout(&self) -> Duration {
        Duration::from_millis(self.connect_timeout_ms)
    }
}
