//! Platform certificates: fetched, opened, verified with what was opened, kept.
//!
//! The list is sealed with the APIv3 key, which is what makes its first fetch trustworthy; the answer's own
//! signature is then checked with the keys found inside. Fetched at warm-up, when a serial is unknown (not
//! more often than the configured pause), and in the background once half of the allowed twelve hours passed.
//! A failed fetch changes nothing: the keys known so far stay in force.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use keys::{CertificateFacts, RsaVerifier, serial_eq};
use parking_lot::Mutex;
use reqwest::Method;
use serde::Deserialize;

use super::{
    client::{Client, error_word},
    verifying::{KeyMap, Seal, check_with},
};
use crate::wire::{ANSWER_MAX, Lost};

const PATH: &str = "/v3/certificates";
/// WeChat asks for a look at least every 12 hours.
const PERIOD: Duration = Duration::from_secs(6 * 3_600);
/// A background fetch has no gateway around it, so it brings its own deadline.
const BACKGROUND_DEADLINE: Duration = Duration::from_secs(10);

/// When to fetch.
pub(super) struct Refresh {
    pause: Duration,
    /// One fetch at a time; the others wait and then see its result.
    turn: tokio::sync::Mutex<()>,
    times: Mutex<Times>,
}

#[derive(Default)]
struct Times {
    tried: Option<Instant>,
    succeeded: Option<Instant>,
}

impl Refresh {
    pub(super) fn new(pause: Duration) -> Refresh {
        Refresh { pause, turn: tokio::sync::Mutex::new(()), times: Mutex::default() }
    }

    /// Notes a try, unless the last one was too short a while ago.
    fn may_try(&self) -> bool {
        let mut times = self.times.lock();
        let may = times.tried.is_none_or(|at| at.elapsed() >= self.pause);
        if may {
            times.tried = Some(Instant::now());
        }
        may
    }

    fn is_due(&self) -> bool {
        let times = self.times.lock();
        times.succeeded.is_none_or(|at| at.elapsed() >= PERIOD)
            && times.tried.is_none_or(|at| at.elapsed() >= self.pause)
    }
}

#[derive(Deserialize)]
struct List {
    data: Vec<Item>,
}

#[derive(Deserialize)]
struct Item {
    serial_no: String,
    encrypt_certificate: Sealed,
}

/// A text sealed with the APIv3 key, as certificates and callbacks carry it.
#[derive(Debug, Deserialize)]
pub(super) struct Sealed {
    algorithm: String,
    nonce: String,
    #[serde(default)]
    associated_data: Option<String>,
    ciphertext: String,
}

impl Sealed {
    /// The text inside.
    pub(super) fn open(&self, key: &[u8; 32]) -> Result<Vec<u8>, String> {
        if self.algorithm != "AEAD_AES_256_GCM" {
            return Err(format!("sealed with {:?}, expected AEAD_AES_256_GCM", self.algorithm));
        }
        let nonce = self.nonce.as_bytes().try_into().map_err(|_| "the nonce is not 12 bytes".to_owned())?;
        let sealed =
            STANDARD.decode(&self.ciphertext).map_err(|_| "the ciphertext is not base64".to_owned())?;
        let aad = self.associated_data.as_deref().unwrap_or_default();
        keys::open(key, nonce, aad.as_bytes(), &sealed).map_err(|e| e.to_string())
    }
}

impl Client {
    /// Fetches the certificates now, unless that was tried a moment ago.
    pub(super) async fn refresh_certificates(&self) -> Result<(), String> {
        let Some(refresh) = &self.refresh else { return Ok(()) };
        let _turn = refresh.turn.lock().await;
        if !refresh.may_try() {
            return Ok(());
        }
        let found = self.fetch_certificates().await.map_err(|lost| match lost {
            Lost::NeverSent(why) | Lost::Silent(why) => why,
        })?;
        let count = found.len();
        self.keys.replace(self.keys.with(found));
        refresh.times.lock().succeeded = Some(Instant::now());
        tracing::info!(count, "platform certificates are fresh");
        Ok(())
    }

    /// Starts a fetch beside the call at hand if the last good one is long ago.
    pub(super) fn refresh_in_background(self: &Arc<Self>) {
        if !self.refresh.as_ref().is_some_and(Refresh::is_due) {
            return;
        }
        self.spawn_refresh();
    }

    /// Starts a fetch beside the call at hand; without a runtime (a test of parsing) there is none to start.
    pub(super) fn spawn_refresh(self: &Arc<Self>) {
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        if self.refresh.is_none() {
            return;
        }
        let client = Arc::clone(self);
        runtime.spawn(async move {
            match tokio::time::timeout(BACKGROUND_DEADLINE, client.refresh_certificates()).await {
                Ok(Ok(())) => {}
                Ok(Err(problem)) => tracing::warn!(problem, "platform certificates cannot be fetched"),
                Err(_) => tracing::warn!("fetching platform certificates takes too long"),
            }
        });
    }

    async fn fetch_certificates(&self) -> Result<KeyMap, Lost> {
        let reply = self.exchange(Method::GET, self.http.target(PATH)?, Bytes::new(), ANSWER_MAX).await?;
        let request_id = reply.header("Request-ID").to_owned();
        if reply.status != 200 {
            let word = error_word(&reply, request_id)?;
            return Err(Lost::Silent(format!("{} {} ({})", word.status, word.code, word.request_id)));
        }
        let list: List = serde_json::from_slice(&reply.body).map_err(|e| Lost::Silent(e.to_string()))?;
        let now = (self.clock)();
        let mut found = KeyMap::new();
        for item in &list.data {
            match self.open_certificate(item, now.secs()) {
                Ok(key) => {
                    found.insert(item.serial_no.clone(), Arc::new(key));
                }
                Err(problem) => {
                    tracing::warn!(serial = item.serial_no, problem, "a platform certificate is left out")
                }
            }
        }
        let seal = Seal::read(|name| reply.headers.get(name).and_then(|v| v.to_str().ok()));
        seal.and_then(|seal| check_with(&self.keys.with(found.clone()), &seal, &reply.body, now))
            .map_err(|refused| Lost::Silent(format!("the list {request_id} is not verifiable: {refused}")))?;
        Ok(found)
    }

    fn open_certificate(&self, item: &Item, now_secs: i64) -> Result<RsaVerifier, String> {
        let pem = item.encrypt_certificate.open(&self.apiv3_key)?;
        let pem = String::from_utf8(pem).map_err(|_| "the certificate is not text".to_owned())?;
        let facts = CertificateFacts::from_pem(&pem).map_err(|e| e.to_string())?;
        if !serial_eq(&facts.serial_hex, &item.serial_no) {
            return Err(format!("its serial is {}", facts.serial_hex));
        }
        if facts.not_after_secs < now_secs {
            return Err("it has expired".to_owned());
        }
        RsaVerifier::from_spki_der(&facts.spki_der).map_err(|e| e.to_string())
    }
}
