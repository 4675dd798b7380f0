//! Signed requests to WeChat Pay and verified answers from it.
//!
//! Every 2xx must carry a good signature, also 204; 4xx and 5xx are unsigned by design and are read for their
//! code only. A key that is unknown is fetched once (certificate mode) before the answer counts as unverifiable.

use std::sync::Arc;

use bytes::Bytes;
use domain::Timestamp;
use reqwest::{
    Method,
    header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue, USER_AGENT},
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::{
    certificates::Refresh,
    verifying::{Seal, WechatKeys},
};
use crate::{
    Clock, RefusedBecause,
    signing_pool::SigningPool,
    wire::{ANSWER_MAX, Http, Lost, Reply, Target},
};

const SCHEME: &str = "WECHATPAY2-SHA256-RSA2048";
const AGENT: &str = concat!("rushpay/", env!("CARGO_PKG_VERSION"));

/// What all calls share.
pub(super) struct Client {
    pub(super) http: Http,
    pub(super) mchid: String,
    pub(super) appid: String,
    pub(super) merchant_serial: String,
    pub(super) apiv3_key: [u8; 32],
    pub(super) pool: SigningPool,
    pub(super) keys: WechatKeys,
    /// Sent with every request, so that answers come under this key.
    pub(super) public_key_id: Option<String>,
    /// `None` outside certificate mode.
    pub(super) refresh: Option<Refresh>,
    pub(super) clock: Clock,
}

/// An answer that counts.
#[derive(Debug)]
pub(super) enum Heard {
    /// 2xx with a good signature.
    Signed(Signed),
    /// 4xx or 5xx with an error body.
    Error(ErrorWord),
}

/// A verified answer.
#[derive(Debug)]
pub(super) struct Signed {
    pub(super) status: u16,
    pub(super) body: Bytes,
    pub(super) request_id: String,
    /// When WeChat signed it.
    pub(super) at: Timestamp,
}

impl Signed {
    /// The body as JSON.
    pub(super) fn json<T: DeserializeOwned>(&self) -> Result<T, Lost> {
        serde_json::from_slice(&self.body).map_err(|e| {
            tracing::error!(request_id = %self.request_id, error = %e, "a signed WeChat answer cannot be read");
            Lost::Silent(format!("signed answer {} cannot be read: {e}", self.request_id))
        })
    }
}

/// The error body of an unsigned answer.
#[derive(Debug, Clone)]
pub(super) struct ErrorWord {
    pub(super) status: u16,
    pub(super) code: String,
    pub(super) message: String,
    pub(super) request_id: String,
}

#[derive(Deserialize, Default)]
struct ErrorBody {
    #[serde(default)]
    code: String,
    #[serde(default)]
    message: String,
}

impl Client {
    /// A signed GET, verified.
    pub(super) async fn get(self: &Arc<Self>, path: &str) -> Result<Heard, Lost> {
        let target = self.http.target(path)?;
        let reply = self.exchange(Method::GET, target, Bytes::new(), ANSWER_MAX).await?;
        self.hear(reply).await
    }

    /// A signed POST, verified.
    pub(super) async fn post(self: &Arc<Self>, path: &str, body: &impl Serialize) -> Result<Heard, Lost> {
        let body = serde_json::to_vec(body).map_err(|e| Lost::NeverSent(e.to_string()))?;
        let target = self.http.target(path)?;
        let reply = self.exchange(Method::POST, target, body.into(), ANSWER_MAX).await?;
        self.hear(reply).await
    }

    /// Signs and sends; the answer is as it came.
    pub(super) async fn exchange(
        &self,
        method: Method,
        target: Target,
        body: Bytes,
        max: usize,
    ) -> Result<Reply, Lost> {
        let headers = self.headers(&method, &target, &body).await.map_err(Lost::NeverSent)?;
        self.http.send(method, target, headers, body, max).await
    }

    async fn headers(&self, method: &Method, target: &Target, body: &[u8]) -> Result<HeaderMap, String> {
        let (timestamp, nonce) = ((self.clock)().secs(), nonce());
        let mut message = format!("{method}\n{}\n{timestamp}\n{nonce}\n", target.text).into_bytes();
        message.extend_from_slice(body);
        message.push(b'\n');
        let signature = self.pool.sign(message).await?;
        let authorization = format!(
            "{SCHEME} mchid=\"{}\",nonce_str=\"{nonce}\",signature=\"{signature}\",timestamp=\"{timestamp}\",serial_no=\"{}\"",
            self.mchid, self.merchant_serial
        );
        let mut headers = HeaderMap::with_capacity(5);
        let json = HeaderValue::from_static("application/json");
        headers.insert(AUTHORIZATION, HeaderValue::from_str(&authorization).map_err(|e| e.to_string())?);
        headers.insert(USER_AGENT, HeaderValue::from_static(AGENT));
        if !body.is_empty() {
            headers.insert(CONTENT_TYPE, json.clone());
        }
        headers.insert(ACCEPT, json);
        if let Some(id) = &self.public_key_id {
            headers.insert("Wechatpay-Serial", HeaderValue::from_str(id).map_err(|e| e.to_string())?);
        }
        Ok(headers)
    }

    /// Sorts an answer: signed, an error with a code, or nothing that counts.
    async fn hear(self: &Arc<Self>, reply: Reply) -> Result<Heard, Lost> {
        let request_id = reply.header("Request-ID").to_owned();
        if !(200..300).contains(&reply.status) {
            return error_word(&reply, request_id).map(Heard::Error);
        }
        self.refresh_in_background();
        let seal = Seal::read(|name| reply.headers.get(name).and_then(|v| v.to_str().ok()));
        let now = (self.clock)();
        let verdict = match seal {
            Err(missing) => Err(missing),
            Ok(seal) => match self.keys.check(&seal, &reply.body, now) {
                Err(unknown) if unknown.reason == RefusedBecause::UnknownSerial && self.refresh.is_some() => {
                    if let Err(problem) = self.refresh_certificates().await {
                        tracing::warn!(problem, "platform certificates cannot be fetched");
                    }
                    self.keys.check(&seal, &reply.body, now)
                }
                verdict => verdict,
            },
        };
        if let Err(refused) = verdict {
            tracing::warn!(request_id, status = reply.status, %refused, "a WeChat answer is not verifiable");
            return Err(Lost::Silent(format!(
                "answer {} {request_id} is not verifiable: {refused}",
                reply.status
            )));
        }
        let at = reply.header("Wechatpay-Timestamp").parse().map_or(now, Timestamp::from_secs);
        Ok(Heard::Signed(Signed { status: reply.status, body: reply.body, request_id, at }))
    }
}

/// Reads the code of a 4xx or 5xx; without one the answer says nothing.
pub(super) fn error_word(reply: &Reply, request_id: String) -> Result<ErrorWord, Lost> {
    let body: ErrorBody = serde_json::from_slice(&reply.body).unwrap_or_default();
    if body.code.is_empty() && reply.status != 429 {
        return Err(Lost::Silent(format!("status {} without a code ({request_id})", reply.status)));
    }
    Ok(ErrorWord { status: reply.status, code: body.code, message: body.message, request_id })
}

/// 32 random letters and digits.
pub(super) fn nonce() -> String {
    format!("{:032x}", rand::random::<u128>())
}
