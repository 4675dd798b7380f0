//! Whose signature counts: the certificate in the message must descend from the configured ones **and** bear
//! UnionPay's name (protocol section 3.4). Any customer of the same authority passes the first check.

use std::{collections::HashMap, sync::Arc};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use domain::Timestamp;
use keys::{Anchors, RsaVerifier, Verifier as _, sha256_hex};
use parking_lot::Mutex;

use super::message::{Fields, string_to_sign};
use crate::counters;

const PRODUCTION_NAME: &str = "中国银联股份有限公司";
const TEST_NAME: &str = "00040000:SIGN";
/// UnionPay has a handful of signers; whoever sends more texts than this is not UnionPay.
const KNOWN_MAX: usize = 64;

/// A signer that was checked before.
#[derive(Clone)]
struct Known {
    key: Arc<RsaVerifier>,
    not_after_secs: i64,
}

/// Checks certificates once and signatures always.
pub(super) struct Trust {
    anchors: Anchors,
    accept_test_signer: bool,
    known: Mutex<HashMap<String, Known>>,
}

impl Trust {
    pub(super) fn new(anchors: Anchors, accept_test_signer: bool) -> Trust {
        Trust { anchors, accept_test_signer, known: Mutex::default() }
    }

    /// Whether UnionPay signed these fields; the sentence says what is wrong.
    pub(super) fn check(&self, fields: &Fields, now: Timestamp) -> Result<(), String> {
        let given = |name: &str| fields.get(name).ok_or_else(|| format!("it has no {name}"));
        if given("version")? != "5.1.0" || given("signMethod")? != "01" {
            return Err("it is not version 5.1.0 with signMethod 01".to_owned());
        }
        let key = self.signer(given("signPubKeyCert")?, now)?;
        let signature =
            STANDARD.decode(given("signature")?).map_err(|_| "signature is not base64".to_owned())?;
        counters::verified();
        let digest = sha256_hex(string_to_sign(fields).as_bytes());
        key.verify(digest.as_bytes(), &signature)
            .map_err(|_| "the signature does not belong to it".to_owned())
    }

    fn signer(&self, pem: &str, now: Timestamp) -> Result<Arc<RsaVerifier>, String> {
        if let Some(known) = self.known.lock().get(pem).filter(|known| now.secs() <= known.not_after_secs) {
            return Ok(Arc::clone(&known.key));
        }
        let facts = self.anchors.check(pem, now.secs()).map_err(|e| format!("signPubKeyCert: {e}"))?;
        let name = facts.common_name.split('@').nth(2).unwrap_or_default();
        if name != PRODUCTION_NAME && !(self.accept_test_signer && name == TEST_NAME) {
            return Err(format!("signPubKeyCert is {name:?}'s, not UnionPay's"));
        }
        let key = RsaVerifier::from_spki_der(&facts.spki_der).map_err(|e| e.to_string())?;
        let known = Known { key: Arc::new(key), not_after_secs: facts.not_after_secs };
        let mut all = self.known.lock();
        if all.len() >= KNOWN_MAX {
            all.clear();
        }
        all.insert(pem.to_owned(), known.clone());
        Ok(known.key)
    }
}
