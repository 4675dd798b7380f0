//! Answers: signed when they succeed, with header names in the case that the official SDKs look for.

use ::keys::Signer as _;
use actix_web::{HttpResponse, HttpResponseBuilder, http::StatusCode};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::Value;

use super::{Wechat, keys::Keys, refusal::Refusal};
use crate::world::World;

/// A success.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Done {
    /// 200 with a body.
    Body(Value),
    /// 204.
    Empty,
    /// 200 with a file, which is not signed.
    File(Vec<u8>),
}

/// The five headers over a body, for an answer or a callback.
pub(crate) fn sign_headers(
    keys: &Keys,
    wanted: Option<&str>,
    at_s: i64,
    body: &[u8],
    spoiled: bool,
) -> Option<Vec<(String, String)>> {
    let (serial, signer) = keys.platform_for(wanted);
    let nonce = crate::world::nonce();
    let mut message = format!("{at_s}\n{nonce}\n").into_bytes();
    message.extend_from_slice(body);
    message.push(b'\n');
    if spoiled {
        message.push(b'!'); // a good signature over other bytes is the likeliest forgery to slip through
    }
    let signature = STANDARD.encode(signer.sign(&message).ok()?);
    Some(vec![
        ("Wechatpay-Timestamp".to_owned(), at_s.to_string()),
        ("Wechatpay-Nonce".to_owned(), nonce),
        ("Wechatpay-Serial".to_owned(), serial),
        ("Wechatpay-Signature".to_owned(), signature),
        ("Wechatpay-Signature-Type".to_owned(), "WECHATPAY2-SHA256-RSA2048".to_owned()),
    ])
}

/// A signed success.
pub(crate) fn signed(me: &Wechat, serial: Option<&str>, done: &Done, spoiled: bool) -> HttpResponse {
    let (status, body) = match done {
        Done::Body(value) => (StatusCode::OK, serde_json::to_vec(value).unwrap_or_default()),
        Done::Empty => (StatusCode::NO_CONTENT, Vec::new()),
        Done::File(bytes) => {
            return HttpResponse::Ok().content_type("application/octet-stream").body(bytes.clone());
        }
    };
    let now = me.world.clock.now();
    let Some(headers) = sign_headers(&me.keys, serial, now.secs(), &body, spoiled) else {
        return HttpResponse::InternalServerError().finish();
    };
    let mut answer = common(status, &me.world, 0);
    for (name, value) in headers {
        answer.insert_header((name, value));
    }
    titled(if body.is_empty() { answer.finish() } else { answer.body(body) })
}

/// An unsigned refusal.
pub(crate) fn refused(world: &World, refusal: &Refusal) -> HttpResponse {
    let status = StatusCode::from_u16(refusal.status).unwrap_or(StatusCode::BAD_REQUEST);
    titled(common(status, world, refusal.number()).body(refusal.body().to_string()))
}

fn common(status: StatusCode, world: &World, number: u32) -> HttpResponseBuilder {
    let mut answer = HttpResponse::build(status);
    if status != StatusCode::NO_CONTENT {
        answer.insert_header(("Content-Type", "application/json; charset=utf-8"));
    }
    answer
        .insert_header(("Request-ID", format!("08F5{:016X}-{number}", world.next_serial())))
        .insert_header(("Cache-Control", "no-cache, must-revalidate"))
        .insert_header(("Content-Language", "zh-CN"));
    answer
}

/// One official SDK's header map minds the case of names.
fn titled(mut answer: HttpResponse) -> HttpResponse {
    answer.head_mut().set_camel_case_headers(true);
    answer
}
