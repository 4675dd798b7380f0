//! Is this text signed by WeChat, now, with a key we know?
//!
//! Keys live in a map from id to key: the public key's `PUB_KEY_ID_…` and the serials of platform
//! certificates side by side, because a switch-over brings both. The map is replaced whole, so checking takes
//! no lock. Probe signatures (`WECHATPAY/SIGNTEST/…`) fail like any other bad signature.

use std::{collections::HashMap, sync::Arc};

use arc_swap::ArcSwap;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use domain::Timestamp;
use keys::{RsaVerifier, Verifier as _};

use crate::{NotificationRefused, RefusedBecause, clock::within_five_minutes, counters};

const RSA: &str = "WECHATPAY2-SHA256-RSA2048";

/// The five headers of a signed answer or callback.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seal<'a> {
    pub(super) timestamp: &'a str,
    pub(super) nonce: &'a str,
    pub(super) serial: &'a str,
    pub(super) signature: &'a str,
    /// Absent means RSA.
    pub(super) kind: Option<&'a str>,
}

impl<'a> Seal<'a> {
    /// Reads the headers through `header`, which answers `None` for an absent one.
    pub(super) fn read(header: impl Fn(&str) -> Option<&'a str>) -> Result<Seal<'a>, NotificationRefused> {
        let need = |name: &str| {
            let absent = || NotificationRefused::new(RefusedBecause::Malformed, format!("no header {name}"));
            header(name).filter(|value| !value.is_empty()).ok_or_else(absent)
        };
        Ok(Seal {
            timestamp: need("Wechatpay-Timestamp")?,
            nonce: need("Wechatpay-Nonce")?,
            serial: need("Wechatpay-Serial")?,
            signature: need("Wechatpay-Signature")?,
            kind: header("Wechatpay-Signature-Type").filter(|value| !value.is_empty()),
        })
    }
}

/// Verifiers by id.
pub(super) type KeyMap = HashMap<String, Arc<RsaVerifier>>;

/// The keys that WeChat signs with.
pub(super) struct WechatKeys(ArcSwap<KeyMap>);

impl WechatKeys {
    pub(super) fn new(map: KeyMap) -> WechatKeys {
        WechatKeys(ArcSwap::from_pointee(map))
    }

    /// A copy of the map with `more` added; keys are never taken away while the process lives, except that a
    /// newer key under the same id replaces the older one.
    pub(super) fn with(&self, more: KeyMap) -> KeyMap {
        let mut map = KeyMap::clone(&self.0.load());
        map.extend(more);
        map
    }

    pub(super) fn replace(&self, map: KeyMap) {
        self.0.store(Arc::new(map));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.load().is_empty()
    }

    /// Checks time, key and signature, in this order.
    pub(super) fn check(
        &self,
        seal: &Seal<'_>,
        body: &[u8],
        now: Timestamp,
    ) -> Result<(), NotificationRefused> {
        check_with(&self.0.load(), seal, body, now)
    }
}

/// As [`WechatKeys::check`], with a map that is not in force yet.
pub(super) fn check_with(
    map: &KeyMap,
    seal: &Seal<'_>,
    body: &[u8],
    now: Timestamp,
) -> Result<(), NotificationRefused> {
    let refuse = |reason, detail: String| Err(NotificationRefused::new(reason, detail));
    match within_five_minutes(seal.timestamp, now) {
        Some(true) => {}
        Some(false) => {
            let detail = format!("signed at {}, it is {} now", seal.timestamp, now.secs());
            return refuse(RefusedBecause::StaleTimestamp, detail);
        }
        None => return refuse(RefusedBecause::Malformed, "Wechatpay-Timestamp is not a number".to_owned()),
    }
    if let Some(kind) = seal.kind.filter(|kind| *kind != RSA) {
        return refuse(RefusedBecause::BadSignature, format!("signature type {kind:?} is not in use here"));
    }
    let Some(key) = map.get(seal.serial) else {
        return refuse(RefusedBecause::UnknownSerial, format!("no key with id {:?}", seal.serial));
    };
    let Ok(signature) = STANDARD.decode(seal.signature) else {
        return refuse(RefusedBecause::BadSignature, "the signature is not base64 (a probe?)".to_owned());
    };
    let mut message = Vec::with_capacity(seal.timestamp.len() + seal.nonce.len() + body.len() + 3);
    for part in [seal.timestamp.as_bytes(), seal.nonce.as_bytes(), body] {
        message.extend_from_slice(part);
        message.push(b'\n');
    }
    counters::verified();
    match key.verify(&message, &signature) {
        Ok(()) => Ok(()),
        Err(bad) => refuse(RefusedBecause::BadSignature, format!("{bad} (key {:?})", seal.serial)),
    }
}
