//! `GET /v3/certificates`: the platform certificate, sealed under the APIv3 key.

use std::sync::Arc;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use domain::Timestamp;
use serde_json::json;

use super::{
    keys::{Keys, Platform},
    refusal::Refusal,
    respond::Done,
};
use crate::clock::beijing;

/// All of them: during a switch-over the old one and the new one stand side by side.
pub(crate) fn list(keys: &Keys) -> Result<Done, Refusal> {
    let time = |secs: i64| beijing(Timestamp::from_micros(secs.saturating_mul(1_000_000)));
    let one = |platform: Arc<Platform>| {
        let (nonce, sealed) = seal(keys, b"certificate", platform.pem.as_bytes())
            .ok_or_else(|| Refusal::by_code("SYSTEM_ERROR", "系统错误"))?;
        Ok(json!({
            "serial_no": platform.facts.serial_hex,
            "effective_time": time(platform.facts.not_before_secs),
            "expire_time": time(platform.facts.not_after_secs),
            "encrypt_certificate": {
                "algorithm": "AEAD_AES_256_GCM", "nonce": nonce,
                "associated_data": "certificate", "ciphertext": sealed,
            },
        }))
    };
    let data = keys.platforms().into_iter().map(one).collect::<Result<Vec<_>, Refusal>>()?;
    Ok(Done::Body(json!({ "data": data })))
}

/// Seals a text under a fresh nonce; the nonce is text of twelve characters, as on the wire.
pub(crate) fn seal(keys: &Keys, aad: &[u8], text: &[u8]) -> Option<(String, String)> {
    let nonce: String = crate::world::nonce().chars().take(12).collect();
    let bytes: [u8; 12] = nonce.as_bytes().try_into().ok()?;
    let sealed = ::keys::seal(&keys.apiv3, &bytes, aad, text).ok()?;
    Some((nonce, STANDARD.encode(sealed)))
}
