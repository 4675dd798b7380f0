//! One signed call of the gateway, and what its answer proves (protocol sections 1 to 3).

use bytes::Bytes;
use domain::{Answer, Refusal, Timestamp, channel::Fault};
use keys::sha256_hex;
use reqwest::{
    Method,
    header::{CONTENT_TYPE, HeaderMap, HeaderValue},
};

use super::{
    meaning::{Meaning, meaning},
    message::{Fields, split, string_to_sign, time},
    trust::Trust,
};
use crate::{
    Clock,
    signing_pool::SigningPool,
    wire::{ANSWER_MAX, BILL_MAX, Http, Lost},
};

pub(super) const BACK: &str = "/gateway/api/backTransReq.do";
pub(super) const FRONT: &str = "/gateway/api/frontTransReq.do";
pub(super) const QUERY: &str = "/gateway/api/queryTrans.do";

/// Speaks for one merchant.
pub(super) struct Client {
    pub(super) http: Http,
    pub(super) files: Http,
    pub(super) mer_id: String,
    pub(super) cert_id: String,
    pub(super) pool: SigningPool,
    pub(super) trust: Trust,
    pub(super) clock: Clock,
}

/// What names a transaction: its kind, number and time.
#[derive(Clone, Copy)]
pub(super) struct Named<'a> {
    /// `txnType/txnSubType`.
    pub(super) kind: (&'static str, &'static str),
    pub(super) biz_type: &'static str,
    pub(super) number: &'a str,
    pub(super) at: Timestamp,
}

/// A signed answer.
pub(super) struct Said {
    pub(super) fields: Fields,
    pub(super) at: Timestamp,
}

impl Said {
    pub(super) fn text(&self, name: &str) -> &str {
        self.fields.get(name).map(String::as_str).unwrap_or_default()
    }

    /// What `respCode` says of the call.
    pub(super) fn meaning(&self) -> Meaning {
        meaning(self.text("respCode"))
    }

    /// What `origRespCode` says of the transaction that was asked about.
    pub(super) fn original(&self) -> Meaning {
        meaning(self.text("origRespCode"))
    }

    /// The gateway's own words, as a refusal.
    pub(super) fn refusal(&self, prefix: &str, fault: Fault) -> Refusal {
        let text = |name: &str| self.text(&format!("{prefix}{name}")).to_owned();
        match prefix {
            "" => Refusal { code: text("respCode"), message: text("respMsg"), fault },
            _ => Refusal { code: text("RespCode"), message: text("RespMsg"), fault },
        }
    }

    /// What proves nothing, with the gateway's words.
    pub(super) fn silent<A, S>(&self) -> Answer<A, S> {
        Answer::Silent(format!("respCode {} {}", self.text("respCode"), self.text("respMsg")))
    }
}

impl Client {
    /// All fields of a request, signed.
    pub(super) async fn signed(&self, named: &Named<'_>, more: &[(&str, &str)]) -> Result<Fields, Lost> {
        let txn_time = time(named.at);
        let common = [
            ("version", "5.1.0"),
            ("encoding", "UTF-8"),
            ("signMethod", "01"),
            ("certId", &self.cert_id),
            ("txnType", named.kind.0),
            ("txnSubType", named.kind.1),
            ("bizType", named.biz_type),
            ("channelType", "08"),
            ("accessType", "0"),
            ("merId", &self.mer_id),
            ("orderId", named.number),
            ("txnTime", &txn_time),
        ];
        let all = common.iter().chain(more).filter(|(_, value)| !value.is_empty());
        let mut fields: Fields = all.map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let digest = sha256_hex(string_to_sign(&fields).as_bytes());
        let signature = self.pool.sign(digest.into_bytes()).await.map_err(Lost::NeverSent)?;
        fields.insert("signature".to_owned(), signature);
        Ok(fields)
    }

    /// One call; what UnionPay did not sign for our merchant is no answer.
    pub(super) async fn call(
        &self,
        path: &str,
        named: &Named<'_>,
        more: &[(&str, &str)],
    ) -> Result<Said, Lost> {
        let (http, max) = if path == "/" { (&self.files, BILL_MAX) } else { (&self.http, ANSWER_MAX) };
        let fields = self.signed(named, more).await?;
        let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(&fields).finish();
        let mut headers = HeaderMap::new();
        let kind = HeaderValue::from_static("application/x-www-form-urlencoded;charset=UTF-8");
        headers.insert(CONTENT_TYPE, kind);
        let target = http.target(path)?;
        let reply = http.send(Method::POST, target, headers, Bytes::from(body), max).await?;
        if reply.status != 200 {
            return Err(Lost::Silent(format!("HTTP {}", reply.status)));
        }
        self.read(named, &reply.body)
    }

    /// Checks the signature, and that the answer is about what was asked.
    pub(super) fn read(&self, named: &Named<'_>, body: &[u8]) -> Result<Said, Lost> {
        let text =
            std::str::from_utf8(body).map_err(|_| Lost::Silent("the answer is not UTF-8".to_owned()))?;
        let said = Said { fields: split(text), at: (self.clock)() };
        if let Err(problem) = self.trust.check(&said.fields, said.at) {
            tracing::error!(problem, "an answer that UnionPay did not sign");
            return Err(Lost::Silent(format!("the answer proves nothing: {problem}")));
        }
        let txn_time = time(named.at);
        let asked = [("merId", self.mer_id.as_str()), ("orderId", named.number), ("txnTime", &txn_time)];
        // What the gateway repeats must be what was sent; a file names no order.
        for (name, sent) in asked {
            let got = said.text(name);
            if got != sent && !(got.is_empty() && named.kind.0 == "76") {
                tracing::error!(name, sent, got, "a signed UnionPay answer about something else");
                return Err(Lost::Silent(format!("the answer is about {name} {got:?}")));
            }
        }
        Ok(said)
    }
}

/// Text for `orderDesc` and `reqReserved`: without what breaks parsers, at most `max` characters.
pub(super) fn plain(text: &str, max: usize) -> String {
    let kept = text.chars().map(|c| if "&={}[]".contains(c) || c.is_control() { ' ' } else { c });
    kept.take(max).collect::<String>().trim().to_owned()
}
