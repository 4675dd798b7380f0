//! Signed requests to the card gateway and verified answers from it (protocol B2, B3).
//!
//! An answer that is unsigned, badly signed, for another nonce or out of the window proves nothing, whatever
//! its status: the caller gets silence. Codes are computed inline: a few microseconds.

use bytes::Bytes;
use domain::{Refusal, Timestamp, channel::Fault};
use reqwest::{
    Method,
    header::{CONTENT_TYPE, HeaderMap, HeaderValue},
};
use serde::{Deserialize, Serialize};

use super::signing::Signing;
use crate::{
    Clock,
    clock::within_five_minutes,
    wire::{ANSWER_MAX, Http, Lost, Reply},
};

/// What all calls share.
pub(super) struct Client {
    pub(super) http: Http,
    pub(super) signing: Signing,
    pub(super) clock: Clock,
}

/// The frame of every JSON answer.
#[derive(Debug, Deserialize)]
pub(super) struct Word {
    pub(super) code: String,
    #[serde(default)]
    pub(super) message: String,
    #[serde(default)]
    pub(super) request_id: String,
    #[serde(default)]
    pub(super) payment: Option<super::payment::Payment>,
    #[serde(default)]
    pub(super) refund: Option<super::refund::Refund>,
    /// When the gateway signed it.
    #[serde(skip)]
    pub(super) at: Timestamp,
}

impl Word {
    /// A refusal in the gateway's words.
    pub(super) fn refusal(self, fault: Fault) -> Refusal {
        if fault == Fault::Ours {
            tracing::error!(
                code = self.code,
                message = self.message,
                request_id = self.request_id,
                "the card gateway refuses a call"
            );
        }
        Refusal { code: self.code, message: self.message, fault }
    }

    /// The code and request id, for a log line.
    pub(super) fn label(&self) -> String {
        format!("{} ({})", self.code, self.request_id)
    }
}

impl Client {
    /// A signed GET, verified.
    pub(super) async fn get(&self, path: &str) -> Result<Word, Lost> {
        let (reply, at) = self.exchange(Method::GET, path, Bytes::new(), ANSWER_MAX).await?;
        read(&reply, at)
    }

    /// A signed POST, verified.
    pub(super) async fn post(&self, path: &str, body: &impl Serialize) -> Result<Word, Lost> {
        let body = serde_json::to_vec(body).map_err(|e| Lost::NeverSent(e.to_string()))?;
        let (reply, at) = self.exchange(Method::POST, path, body.into(), ANSWER_MAX).await?;
        read(&reply, at)
    }

    /// Signs, sends, checks the answer's signature; gives it with its time.
    pub(super) async fn exchange(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
        max: usize,
    ) -> Result<(Reply, Timestamp), Lost> {
        let target = self.http.target(path)?;
        let (timestamp, nonce) =
            ((self.clock)().secs().to_string(), format!("{:032x}", rand::random::<u128>()));
        let code = self.signing.request(&timestamp, &nonce, method.as_str(), &target.text, &body);
        let mut headers = HeaderMap::with_capacity(6);
        for (name, value) in [
            ("x-card-merchant", self.signing.merchant.as_str()),
            ("x-card-key", self.signing.key_id.as_str()),
            ("x-card-timestamp", timestamp.as_str()),
            ("x-card-nonce", nonce.as_str()),
            ("x-card-signature", code.as_str()),
        ] {
            headers.insert(name, HeaderValue::from_str(value).map_err(|e| Lost::NeverSent(e.to_string()))?);
        }
        if !body.is_empty() {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        let reply = self.http.send(method, target, headers, body, max).await?;
        match self.check(&reply, &nonce) {
            Ok(at) => Ok((reply, at)),
            Err(problem) => {
                report(&reply, &problem);
                Err(Lost::Silent(format!("answer {} proves nothing: {problem}", reply.status)))
            }
        }
    }

    fn check(&self, reply: &Reply, nonce: &str) -> Result<Timestamp, String> {
        let timestamp = reply.header("x-card-timestamp");
        let code = reply.header("x-card-signature");
        if timestamp.is_empty() || code.is_empty() {
            return Err("it is not signed".to_owned());
        }
        if reply.header("x-card-merchant") != self.signing.merchant
            || reply.header("x-card-key") != self.signing.key_id
        {
            return Err("it is signed for another merchant or key".to_owned());
        }
        if reply.header("x-card-nonce") != nonce {
            return Err("it answers another request".to_owned());
        }
        self.signing
            .check_answer(code, timestamp, nonce, reply.status, &reply.body)
            .map_err(|e| e.to_string())?;
        match within_five_minutes(timestamp, (self.clock)()) {
            Some(true) => {
                timestamp.parse().map(Timestamp::from_secs).map_err(|_| "its time is no number".to_owned())
            }
            Some(false) => Err("it was signed more than five minutes away from now".to_owned()),
            None => Err("its time is no number".to_owned()),
        }
    }
}

/// `BAD_SIGNATURE` and `BAD_REQUEST` come unsigned: they prove nothing, but somebody must look at our key.
fn report(reply: &Reply, problem: &str) {
    #[derive(Deserialize, Default)]
    struct Unsigned {
        #[serde(default)]
        code: String,
    }
    let code = serde_json::from_slice::<Unsigned>(&reply.body).unwrap_or_default().code;
    if ["BAD_SIGNATURE", "BAD_REQUEST"].contains(&code.as_str()) {
        tracing::error!(
            code,
            status = reply.status,
            "the card gateway does not accept how we sign; check merchant, key and clock"
        );
    } else {
        tracing::warn!(status = reply.status, problem, "a card answer proves nothing");
    }
}

fn read(reply: &Reply, at: Timestamp) -> Result<Word, Lost> {
    let word: Word = serde_json::from_slice(&reply.body).map_err(|e| {
        tracing::error!(status = reply.status, error = %e, "a signed card answer cannot be read");
        Lost::Silent(format!("the signed answer cannot be read: {e}"))
    })?;
    Ok(Word { at, ..word })
}
