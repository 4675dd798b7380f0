//! One signed call of the gateway, and what its answer proves (protocol sections 1.2, 1.3 and 4).

use std::collections::BTreeMap;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use domain::{Answer, Refusal, Timestamp, channel::Fault};
use keys::Verifier as _;
use reqwest::{
    Method,
    header::{CONTENT_TYPE, HeaderMap, HeaderValue},
};
use serde::Deserialize;
use serde_json::{Value, value::RawValue};

use super::{
    platform::{Found, Platform},
    text::{Params, string_to_sign, time},
};
use crate::{
    Clock, counters,
    signing_pool::SigningPool,
    wire::{ANSWER_MAX, Http, Lost},
};

/// Speaks for one app.
pub(super) struct Client {
    pub(super) http: Http,
    pub(super) gateway: String,
    pub(super) app_id: String,
    pub(super) pool: SigningPool,
    pub(super) platform: Platform,
    pub(super) clock: Clock,
}

/// A signed answer.
pub(super) enum Heard {
    /// Code 10000.
    Done(Word),
    /// A refusal, sorted.
    Refused(Meaning, Refusal),
}

/// The node of a signed answer.
#[derive(Debug, Deserialize)]
pub(super) struct Word {
    code: String,
    #[serde(default)]
    msg: String,
    #[serde(default)]
    sub_code: String,
    #[serde(default)]
    sub_msg: String,
    #[serde(flatten)]
    members: BTreeMap<String, Value>,
    #[serde(skip)]
    pub(super) at: Timestamp,
}

impl Word {
    /// A member as text; empty members count as absent.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.members.get(name).and_then(Value::as_str).filter(|text| !text.is_empty())
    }

    /// A member that is a list; absent is empty.
    pub(super) fn list<T: serde::de::DeserializeOwned>(&self, name: &str) -> Result<Vec<T>, String> {
        let list = self.members.get(name).cloned().unwrap_or_else(|| Value::Array(Vec::new()));
        serde_json::from_value(list).map_err(|e| format!("a signed answer whose {name} cannot be read: {e}"))
    }

    /// A member that a success must have.
    pub(super) fn need(&self, name: &str) -> Result<&str, Lost> {
        self.text(name).ok_or_else(|| Lost::Silent(format!("a signed answer without {name}")))
    }
}

/// What a refusal means for the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Meaning {
    /// The gateway knows no such trade (yet).
    NotThere,
    /// Final, by whose fault.
    Refused(Fault),
    /// The gateway itself does not know: ask.
    Unknown,
}

/// Sorts `code` and `sub_code` (section 4). What is new under "business failed" is unknown, never final.
pub(super) fn meaning(code: &str, sub_code: &str) -> Meaning {
    match (code, sub_code) {
        (_, "ACQ.TRADE_NOT_EXIST") => Meaning::NotThere,
        (_, "ACQ.SYSTEM_ERROR" | "AQC.SYSTEM_ERROR") | ("20000", _) => Meaning::Unknown,
        ("40005", _)
        | (
            _,
            "isv.app-call-limited"
            | "ACQ.SELLER_BALANCE_NOT_ENOUGH"
            | "ACQ.REFUND_CHARGE_ERROR"
            | "ACQ.TXN_RESULT_ACCOUNT_BALANCE_NOT_ENOUGH",
        ) => Meaning::Refused(Fault::Channel),
        (
            _,
            "ACQ.TRADE_HAS_SUCCESS"
            | "ACQ.TRADE_HAS_CLOSE"
            | "ACQ.TRADE_HAS_FINISHED"
            | "ACQ.TRADE_STATUS_ERROR"
            | "ACQ.REASON_TRADE_STATUS_INVALID"
            | "ACQ.REASON_ILLEGAL_STATUS"
            | "ACQ.ILLEGAL_SETTLE_STATE"
            | "ACQ.CANCEL_NOT_ALLOWED",
        ) => Meaning::Refused(Fault::State),
        (
            _,
            "ACQ.BUYER_BALANCE_NOT_ENOUGH"
            | "ACQ.BUYER_BANKCARD_BALANCE_NOT_ENOUGH"
            | "ACQ.BUYER_PAYMENT_AMOUNT_DAY_LIMIT_ERROR"
            | "ACQ.BUYER_PAYMENT_AMOUNT_MONTH_LIMIT_ERROR"
            | "ACQ.NO_PAYMENT_INSTRUMENTS_AVAILABLE"
            | "ACQ.PAYMENT_FAIL"
            | "ACQ.PAYMENT_REQUEST_HAS_RISK"
            | "ACQ.BUYER_ENABLE_STATUS_FORBID"
            | "ACQ.BEYOND_PAY_RESTRICTION"
            | "ACQ.BUYER_NOT_EXIST"
            | "ACQ.BUYER_SELLER_EQUAL"
            | "ACQ.TRADE_BUYER_NOT_MATCH"
            | "ACQ.PAYMENT_AUTH_CODE_INVALID",
        ) => Meaning::Refused(Fault::Payer),
        (
            _,
            "ACQ.INVALID_PARAMETER"
            | "ACQ.ACCESS_FORBIDDEN"
            | "ACQ.PARTNER_ERROR"
            | "ACQ.EXIST_FORBIDDEN_WORD"
            | "ACQ.TOTAL_FEE_EXCEED"
            | "ACQ.NOW_TIME_AFTER_EXPIRE_TIME_ERROR"
            | "ACQ.CONTEXT_INCONSISTENT"
            | "ACQ.SELLER_BEEN_BLOCKED"
            | "ACQ.REFUND_AMT_NOT_EQUAL_TOTAL"
            | "ACQ.REASON_TRADE_REFUND_FEE_ERR"
            | "ACQ.NOT_ALLOW_PARTIAL_REFUND"
            | "ACQ.DISCORDANT_REPEAT_REQUEST"
            | "ACQ.TRADE_NOT_ALLOW_REFUND"
            | "ACQ.REASON_TRADE_BEEN_FREEZEN"
            | "ACQ.REFUNDALLOC_UNAUTH_LIMIT"
            | "ACQ.TRADE_SETTLE_ERROR"
            | "ACQ.ALLOC_AMOUNT_VALIDATE_ERROR"
            | "ACQ.ROYALTY_RECEIVER_INVALID"
            | "ACQ.RECEIVER_LIST_EMPTY"
            | "ACQ.RELATION_QUANTITY_LIMIT"
            | "ACQ.PRODUCT_UNSIGN"
            | "ACQ.USER_NOT_EXIST",
        )
        | ("20001" | "40001" | "40002" | "40003" | "40006", _) => Meaning::Refused(Fault::Ours),
        _ => Meaning::Unknown,
    }
}

/// What proves nothing, with the channel's words.
pub(super) fn silent<A, S>(refusal: &Refusal) -> Answer<A, S> {
    Answer::Silent(format!("{} {}", refusal.code, refusal.message))
}

impl Client {
    /// All parameters of a call, signed.
    pub(super) async fn signed(
        &self,
        method: &str,
        biz: &Value,
        notify_url: Option<&str>,
    ) -> Result<Params, Lost> {
        let mut params: Params = [
            ("app_id", self.app_id.clone()),
            ("method", method.to_owned()),
            ("format", "JSON".to_owned()),
            ("charset", "utf-8".to_owned()),
            ("sign_type", "RSA2".to_owned()),
            ("timestamp", time((self.clock)())),
            ("version", "1.0".to_owned()),
            ("notify_url", notify_url.unwrap_or_default().to_owned()),
            ("biz_content", biz.to_string()),
        ]
        .into_iter()
        .chain(self.certificate_names())
        .filter(|(_, value)| !value.is_empty())
        .map(|(name, value)| (name.to_owned(), value))
        .collect();
        let text = string_to_sign(&params, &["sign"]);
        let sign = self.pool.sign(text.into_bytes()).await.map_err(Lost::NeverSent)?;
        params.insert("sign".to_owned(), sign);
        Ok(params)
    }

    fn certificate_names(&self) -> Vec<(&'static str, String)> {
        match &self.platform {
            Platform::Key(_) => Vec::new(),
            Platform::Certificates(ours) => vec![
                ("app_cert_sn", ours.app_cert_sn.clone()),
                ("alipay_root_cert_sn", ours.root_cert_sn.clone()),
            ],
        }
    }

    /// One call; what is not signed by Alipay is no answer. In certificate mode an answer may name a certificate that
    /// is fetched first.
    pub(super) async fn call(
        &self,
        method: &str,
        biz: &Value,
        notify_url: Option<&str>,
    ) -> Result<Heard, Lost> {
        let body = self.exchange(method, biz, notify_url).await?;
        // One key verifies everything in key mode: the answer need not be looked through for a name first.
        if let Platform::Certificates(_) = &self.platform
            && let Found::Unknown(wanted) = self.platform.verifier(named_certificate(&body).as_deref())
        {
            self.fetch_certificate(&wanted).await?;
        }
        let word = self.read(method, &body)?;
        if word.code == "10000" {
            return Ok(Heard::Done(word));
        }
        let code = if word.sub_code.is_empty() { word.code.clone() } else { word.sub_code.clone() };
        let message = if word.sub_msg.is_empty() { word.msg.clone() } else { word.sub_msg.clone() };
        let meaning = meaning(&word.code, &word.sub_code);
        let fault = if let Meaning::Refused(fault) = meaning { fault } else { Fault::Channel };
        Ok(Heard::Refused(meaning, Refusal { code, message, fault }))
    }

    /// Alipay's certificate of a name. It vouches for itself by descending from the configured root.
    async fn fetch_certificate(&self, wanted: &str) -> Result<(), Lost> {
        let method = "alipay.open.app.alipaycert.download";
        let body = self.exchange(method, &serde_json::json!({ "alipay_cert_sn": wanted }), None).await?;
        let root: Value = serde_json::from_slice(&body).unwrap_or_default();
        let content = root.pointer("/alipay_open_app_alipaycert_download_response/alipay_cert_content");
        let pem = content.and_then(Value::as_str).and_then(|text| STANDARD.decode(text).ok());
        let pem = pem.and_then(|bytes| String::from_utf8(bytes).ok());
        let pem =
            pem.ok_or_else(|| Lost::Silent(format!("Alipay's certificate {wanted} could not be fetched")))?;
        let learnt = self.platform.learn(wanted, &pem, (self.clock)().secs());
        learnt.map_err(|problem| {
            tracing::error!(wanted, problem, "a certificate that is not Alipay's");
            Lost::Silent(format!("Alipay's certificate {wanted}: {problem}"))
        })?;
        tracing::info!(wanted, "Alipay changed its certificate");
        Ok(())
    }

    /// One exchange; the body as it came.
    async fn exchange(&self, method: &str, biz: &Value, notify_url: Option<&str>) -> Result<Bytes, Lost> {
        let params = self.signed(method, biz, notify_url).await?;
        let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(&params).finish();
        let mut headers = HeaderMap::new();
        let kind = HeaderValue::from_static("application/x-www-form-urlencoded;charset=utf-8");
        headers.insert(CONTENT_TYPE, kind);
        let target = self.http.target("?charset=utf-8")?;
        let reply = self.http.send(Method::POST, target, headers, Bytes::from(body), ANSWER_MAX).await?;
        if reply.status != 200 {
            return Err(Lost::Silent(format!("HTTP {}", reply.status)));
        }
        Ok(reply.body)
    }

    /// Finds the node by its bytes, checks the signature over exactly them, and only then reads it.
    pub(super) fn read(&self, method: &str, body: &[u8]) -> Result<Word, Lost> {
        let lost = |problem: String| Lost::Silent(problem);
        let root: BTreeMap<&str, &RawValue> =
            serde_json::from_slice(body).map_err(|e| lost(format!("the answer cannot be read: {e}")))?;
        let mut nodes = root.iter().filter(|(name, _)| name.ends_with("_response"));
        let (Some((name, node)), None) = (nodes.next(), nodes.next()) else {
            return Err(lost("the answer has not exactly one node".to_owned()));
        };
        let node = node.get();
        let sign: Option<String> = root.get("sign").and_then(|sign| serde_json::from_str(sign.get()).ok());
        let Some(signature) = sign.filter(|s| !s.is_empty()).and_then(|s| STANDARD.decode(s).ok()) else {
            tracing::error!(method, node, "an unsigned Alipay answer proves nothing; check app_id and keys");
            return Err(lost(format!("an unsigned answer: {}", node.chars().take(200).collect::<String>())));
        };
        let named = root.get("alipay_cert_sn").and_then(|sn| serde_json::from_str::<String>(sn.get()).ok());
        let Found::This(key) = self.platform.verifier(named.as_deref()) else {
            return Err(lost("the answer names a certificate that is not known".to_owned()));
        };
        counters::verified();
        if key.verify(node.as_bytes(), &signature).is_err() {
            tracing::error!(method, "an Alipay answer with a bad signature");
            return Err(lost("the answer's signature is not Alipay's".to_owned()));
        }
        let expected = format!("{}_response", method.replace('.', "_"));
        if **name != expected && **name != *"error_response" {
            return Err(lost(format!("the answer is about {name}")));
        }
        let mut word: Word =
            serde_json::from_str(node).map_err(|e| lost(format!("a signed node cannot be read: {e}")))?;
        word.at = (self.clock)();
        Ok(word)
    }
}

/// The certificate that an answer names.
pub(crate) fn named_certificate(body: &[u8]) -> Option<String> {
    let root: BTreeMap<&str, &RawValue> = serde_json::from_slice(body).ok()?;
    serde_json::from_str(root.get("alipay_cert_sn")?.get()).ok()
}
