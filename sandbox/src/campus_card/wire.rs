//! Headers, signatures, replies: sections B2 and B3.

use std::collections::{HashSet, VecDeque};

use actix_web::{HttpRequest, HttpResponse, http::StatusCode};
use domain::Timestamp;
use keys::sha256_hex;
use parking_lot::Mutex;
use serde_json::{Map, Value, json};

use super::credentials::Credentials;

const WINDOW_S: i64 = 300;
/// Nonces are remembered a little longer than a timestamp is good.
const NONCE_KEPT_S: i64 = 11 * 60;

/// The nonces of the last minutes.
#[derive(Default)]
pub(crate) struct Nonces {
    known: HashSet<String>,
    by_age: VecDeque<(i64, String)>,
}

impl Nonces {
    /// False if the nonce was there already.
    fn take(&mut self, nonce: &str, now_s: i64) -> bool {
        while self.by_age.front().is_some_and(|(at, _)| now_s - at > NONCE_KEPT_S) {
            if let Some((_, old)) = self.by_age.pop_front() {
                self.known.remove(&old);
            }
        }
        let fresh = self.known.insert(nonce.to_owned());
        if fresh {
            self.by_age.push_back((now_s, nonce.to_owned()));
        }
        fresh
    }
}

/// The caller, whose signature was good.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    nonce: String,
}

/// A call that was refused before any work; signed only if its signature was good.
pub(crate) struct Refused {
    pub(crate) reply: Reply,
    pub(crate) caller: Option<Caller>,
}

/// An answer before it is signed.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) body: Body,
}

/// What it carries.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Body {
    Json { code: String, message: String, member: Option<(&'static str, Value)> },
    Csv(String),
}

impl Reply {
    /// A business answer.
    pub(crate) fn code_with(code: &str, member: Option<(&'static str, Value)>) -> Reply {
        let status = match code {
            "BAD_REQUEST" => 400,
            "BAD_SIGNATURE" | "STALE_TIMESTAMP" | "REPLAYED" => 401,
            "SYSTEM_BUSY" | "SERVICE_CLOSED" => 503,
            _ => 200,
        };
        Reply { status, body: Body::Json { code: code.to_owned(), message: String::new(), member } }
    }

    pub(crate) fn bad(status: u16, message: &str) -> Reply {
        let (code, message) = ("BAD_REQUEST".to_owned(), message.to_owned());
        Reply { status, body: Body::Json { code, message, member: None } }
    }

    pub(crate) fn busy(code: &str) -> Reply {
        Reply::code_with(if code.is_empty() { "SYSTEM_BUSY" } else { code }, None)
    }

    pub(crate) fn code(&self) -> &str {
        match &self.body {
            Body::Json { code, .. } => code,
            Body::Csv(_) => "OK",
        }
    }
}

/// Path and query, exactly as on the request line.
pub(crate) fn target(req: &HttpRequest) -> &str {
    req.uri().path_and_query().map_or("/", |target| target.as_str())
}

/// A text field of a body that has not been checked yet, to draw its fate.
pub(crate) fn peek(body: &[u8], name: &str) -> String {
    let fields: Option<Map<String, Value>> = serde_json::from_slice(body).ok();
    fields.as_ref().and_then(|f| f.get(name)).and_then(Value::as_str).unwrap_or_default().to_owned()
}

/// The text under an HMAC: lines, no final newline.
pub(crate) fn sign_text(lines: &[&str]) -> String {
    lines.join("\n")
}

/// Section B2's checks, in its order.
pub(crate) fn check(
    req: &HttpRequest,
    body: &[u8],
    keys: &Credentials,
    nonces: &Mutex<Nonces>,
    now: Timestamp,
) -> Result<Caller, Box<Refused>> {
    let unsigned = |reply| Box::new(Refused { reply, caller: None });
    let header = |name: &str| req.headers().get(name).and_then(|v| v.to_str().ok()).unwrap_or_default();
    let word = |text: &str, min: usize, max: usize| {
        (min..=max).contains(&text.len())
            && text.bytes().all(|c| c.is_ascii_alphanumeric() || b"_-".contains(&c))
    };
    let (merchant, key) = (header("X-Card-Merchant"), header("X-Card-Key"));
    let (timestamp, nonce) = (header("X-Card-Timestamp"), header("X-Card-Nonce"));
    let signature = header("X-Card-Signature");
    let hex_ok = signature.len() == 64 && !signature.bytes().any(|c| c.is_ascii_uppercase());
    let code = hex::decode(signature).ok().filter(|_| hex_ok);
    let at: Option<i64> = timestamp.parse().ok().filter(|_| timestamp.bytes().all(|c| c.is_ascii_digit()));
    let (Some(code), Some(at), true) =
        (code, at, word(merchant, 1, 32) && word(key, 1, 32) && word(nonce, 16, 64))
    else {
        return Err(unsigned(Reply::bad(400, "a signed header is missing or malformed")));
    };
    if merchant != keys.merchant || key != keys.key_id {
        return Err(unsigned(Reply::code_with("BAD_SIGNATURE", None)));
    }
    let hash = sha256_hex(body);
    let lines = ["CARD1-REQUEST", merchant, key, timestamp, nonce, req.method().as_str(), target(req), &hash];
    if keys.key.verify(sign_text(&lines).as_bytes(), &code).is_err() {
        return Err(unsigned(Reply::code_with("BAD_SIGNATURE", None)));
    }
    let caller = Caller { nonce: nonce.to_owned() };
    let signed =
        |code: &str| Box::new(Refused { reply: Reply::code_with(code, None), caller: Some(caller.clone()) });
    if (now.secs() - at).abs() > WINDOW_S {
        return Err(signed("STALE_TIMESTAMP"));
    }
    if !nonces.lock().take(nonce, now.secs()) {
        return Err(signed("REPLAYED"));
    }
    Ok(caller)
}

/// The answer, signed if there is somebody to sign for.
pub(crate) fn answer(
    keys: &Credentials,
    caller: Option<&Caller>,
    reply: &Reply,
    now: Timestamp,
    badly: bool,
) -> HttpResponse {
    let (kind, body) = match &reply.body {
        Body::Csv(text) => ("text/csv; charset=utf-8", text.clone()),
        Body::Json { code, message, member } => {
            let mut fields = json!({ "code": code, "message": message, "request_id": crate::world::nonce() });
            if let (Some((name, value)), Some(fields)) = (member, fields.as_object_mut()) {
                fields.insert((*name).to_owned(), value.clone());
            }
            ("application/json", fields.to_string())
        }
    };
    let status = StatusCode::from_u16(reply.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = HttpResponse::build(status);
    response.insert_header(("Content-Type", kind));
    if let Some(caller) = caller {
        let at = now.secs().to_string();
        let hash = if badly { sha256_hex(b"another body") } else { sha256_hex(body.as_bytes()) };
        let status = format!("{:03}", reply.status);
        let lines = ["CARD1-RESPONSE", &keys.merchant, &keys.key_id, &at, &caller.nonce, &status, &hash];
        let signature = hex::encode(keys.key.sign(sign_text(&lines).as_bytes()));
        response
            .insert_header(("X-Card-Merchant", keys.merchant.as_str()))
            .insert_header(("X-Card-Key", keys.key_id.as_str()))
            .insert_header(("X-Card-Timestamp", at))
            .insert_header(("X-Card-Nonce", caller.nonce.as_str()))
            .insert_header(("X-Card-Signature", signature));
    }
    response.body(body)
}
