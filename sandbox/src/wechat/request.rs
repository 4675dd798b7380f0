//! Who calls, and whether the signature is theirs: over the raw target and the raw body.

use ::keys::{Verifier as _, serial_eq};
use actix_web::HttpRequest;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use domain::Timestamp;
use serde_json::{Map, Value};

use super::{keys::Keys, refusal::Refusal};

const SCHEME: &str = "WECHATPAY2-SHA256-RSA2048";
/// A clock may be off by so much.
const CLOCK_MAX_S: i64 = 300;

/// The merchant whose signature was good.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    mchid: String,
    /// The key under which the caller wants answers, and so its callbacks.
    pub(crate) wants_serial: Option<String>,
}

impl Caller {
    /// The merchant number in a request must be the signer's.
    pub(crate) fn owns(&self, mchid: Option<String>, location: &str) -> Result<(), Refusal> {
        match mchid {
            None => Err(Refusal::place("/mchid", location, "缺少必填参数")),
            Some(mchid) if mchid != self.mchid => {
                Err(Refusal::place("/mchid", location, "与签名的商户号不一致"))
            }
            Some(_) => Ok(()),
        }
    }
}

/// A header as text.
pub(crate) fn header<'r>(req: &'r HttpRequest, name: &str) -> Option<&'r str> {
    req.headers().get(name).and_then(|value| value.to_str().ok())
}

/// Path and query, exactly as on the request line.
pub(crate) fn target(req: &HttpRequest) -> &str {
    req.uri().path_and_query().map_or("/", |target| target.as_str())
}

/// A parameter of the query.
pub(crate) fn query(req: &HttpRequest, name: &str) -> Option<String> {
    url::form_urlencoded::parse(req.query_string().as_bytes())
        .find(|(key, _)| key == name)
        .map(|(_, value)| value.into_owned())
}

/// A text field of a body that has not been checked yet, to draw its fate.
pub(crate) fn peek(body: &[u8], name: &str) -> String {
    let fields: Option<Map<String, Value>> = serde_json::from_slice(body).ok();
    let text = fields.as_ref().and_then(|f| f.get(name)).and_then(Value::as_str);
    text.unwrap_or_default().to_owned()
}

/// The body as a JSON object.
pub(crate) fn json(body: &[u8]) -> Result<Map<String, Value>, Refusal> {
    match serde_json::from_slice(body) {
        Ok(Value::Object(fields)) => match null_in(&Value::Object(fields.clone()), String::new()) {
            Some(place) => Err(Refusal::field(&place, "不能为null")),
            None => Ok(fields),
        },
        Ok(_) | Err(_) => Err(Refusal::by_code("PARAM_ERROR", "请求体不是合法的JSON对象")),
    }
}

fn null_in(value: &Value, place: String) -> Option<String> {
    match value {
        Value::Null => Some(place),
        Value::Object(fields) => fields.iter().find_map(|(key, v)| null_in(v, format!("{place}/{key}"))),
        Value::Array(items) => items.iter().enumerate().find_map(|(n, v)| null_in(v, format!("{place}/{n}"))),
        Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
    }
}

/// Headers, clock, merchant, signature: in the protocol page's order.
pub(crate) fn check(req: &HttpRequest, body: &[u8], keys: &Keys, now: Timestamp) -> Result<Caller, Refusal> {
    let filled = |name| header(req, name).is_some_and(|text| !text.is_empty());
    if !filled("accept") || !filled("user-agent") {
        return Err(Refusal::by_code("INVALID_REQUEST", "缺少Accept或User-Agent"));
    }
    let accept = header(req, "accept").unwrap_or_default();
    if !(accept.contains("application/json") || accept.contains("*/*")) {
        return Err(Refusal::by_code("INVALID_REQUEST", "Accept只支持application/json"));
    }
    let text = header(req, "authorization").ok_or_else(|| Refusal::sign("Http头缺少Authorization"))?;
    let claim =
        Claim::parse(text).ok_or_else(|| Refusal::sign("Http头Authorization值格式错误，请参考接口规则"))?;
    let at: i64 = claim.timestamp.parse().map_err(|_| Refusal::sign("timestamp格式错误"))?;
    if (now.secs() - at).abs() > CLOCK_MAX_S {
        return Err(Refusal::sign("timestamp与发起请求的时间不得超过5分钟"));
    }
    if claim.mchid != keys.mchid {
        return Err(Refusal::sign("商户号不存在"));
    }
    if !serial_eq(claim.serial_no, &keys.merchant_serial) {
        return Err(Refusal::sign("商户证书序列号有误"));
    }
    let mut message = Vec::with_capacity(body.len() + 256);
    for part in [req.method().as_str(), target(req), claim.timestamp, claim.nonce_str] {
        message.extend_from_slice(part.as_bytes());
        message.push(b'\n');
    }
    message.extend_from_slice(body);
    message.push(b'\n');
    let mismatch = || Refusal::mismatch(req.method().as_str(), target(req), &message);
    let signature = STANDARD.decode(claim.signature).map_err(|_| mismatch())?;
    keys.merchant.verify(&message, &signature).map_err(|_| mismatch())?;
    let wants_serial = header(req, "wechatpay-serial").map(str::to_owned);
    Ok(Caller { mchid: claim.mchid.to_owned(), wants_serial })
}

/// What `Authorization` says.
#[derive(Debug, PartialEq)]
pub(crate) struct Claim<'a> {
    mchid: &'a str,
    nonce_str: &'a str,
    signature: &'a str,
    timestamp: &'a str,
    serial_no: &'a str,
}

impl<'a> Claim<'a> {
    /// One scheme, five quoted parameters in any order.
    pub(crate) fn parse(text: &'a str) -> Option<Claim<'a>> {
        let mut rest = text.strip_prefix(SCHEME)?.strip_prefix(' ')?.trim();
        let [mut mchid, mut nonce_str, mut signature, mut timestamp, mut serial_no] = [None; 5];
        while !rest.is_empty() {
            let (name, after) = rest.split_once("=\"")?;
            let (value, after) = after.split_once('"')?;
            let slot = match name.trim() {
                "mchid" => &mut mchid,
                "nonce_str" => &mut nonce_str,
                "signature" => &mut signature,
                "timestamp" => &mut timestamp,
                "serial_no" => &mut serial_no,
                _ => return None,
            };
            if slot.replace(value).is_some() {
                return None;
            }
            rest = after.trim_start_matches([',', ' ']);
        }
        Some(Claim {
            mchid: mchid?,
            nonce_str: nonce_str?,
            signature: signature?,
            timestamp: timestamp?,
            serial_no: serial_no?,
        })
    }
}
