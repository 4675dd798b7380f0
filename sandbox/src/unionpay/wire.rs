//! Checking a request, and signing what is said (protocol sections 1, 3 and 12).

use ::keys::{Signer as _, Verifier as _, sha256_hex};
use actix_web::HttpResponse;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use domain::Timestamp;

use super::{
    fields::{Fields, moment},
    keys::Keys,
    refusal::Refusal,
};

/// What every request has.
const REQUIRED: [&str; 10] = [
    "version",
    "encoding",
    "certId",
    "signMethod",
    "signature",
    "txnType",
    "txnSubType",
    "bizType",
    "accessType",
    "merId",
];
/// How far a request's `txnTime` may be from the gateway's clock.
const WINDOW_S: u64 = 3_600;
/// What an answer repeats of its request.
const ECHOED: [&str; 9] =
    ["version", "encoding", "bizType", "txnType", "txnSubType", "accessType", "merId", "orderId", "txnTime"];

/// Checks what all requests have in common.
pub(crate) fn check(fields: &Fields, keys: &Keys, now: Timestamp) -> Result<(), Refusal> {
    if let Some(missing) = REQUIRED.iter().find(|name| fields.get(name).is_empty()) {
        return Err(Refusal::missing(missing));
    }
    if fields.get("version") != "5.1.0" {
        return Err(Refusal::format("version"));
    }
    if fields.get("encoding") != "UTF-8" {
        return Err(Refusal::format("encoding"));
    }
    if fields.get("signMethod") != "01" {
        return Err(Refusal::format("signMethod"));
    }
    if fields.get("certId") != keys.cert_id {
        return Err(Refusal::new("11", "验证签名失败：证书未知"));
    }
    let bad = || Refusal::new("11", "验证签名失败");
    let signature = STANDARD.decode(fields.get("signature")).map_err(|_| bad())?;
    let digest = sha256_hex(fields.string_to_sign().as_bytes());
    keys.merchant.verify(digest.as_bytes(), &signature).map_err(|_| bad())?;
    if fields.get("merId") != keys.mer_id {
        return Err(Refusal::new("31", "商户状态不正确"));
    }
    let time = fields.get("txnTime");
    if time.is_empty() {
        return Err(Refusal::missing("txnTime"));
    }
    let time = moment(time).ok_or_else(|| Refusal::format("txnTime"))?;
    // A query names the time of the transaction that it asks about.
    if fields.get("txnType") != "00" && time.secs().abs_diff(now.secs()) > WINDOW_S {
        return Err(Refusal::new("39", "交易不在受理时间范围内"));
    }
    Ok(())
}

/// The signed answer.
pub(crate) fn answer(
    keys: &Keys,
    asked: &Fields,
    done: Result<Fields, Refusal>,
    badly: bool,
) -> HttpResponse {
    let mut said = match done {
        Ok(mut said) => {
            if said.get("respCode").is_empty() {
                said.set("respCode", "00");
                said.set("respMsg", "成功[0000000]");
            }
            said
        }
        Err(refusal) => {
            let message = format!("{}[{}00000]", refusal.message, refusal.code);
            Fields::from([("respCode", refusal.code.as_str()), ("respMsg", &message)])
        }
    };
    // Nothing the gateway repeats may break its own format.
    let plain = |text: &str| !text.contains(['&', '{', '}', '[', ']', '\n', '\r']);
    for name in ECHOED {
        if plain(asked.get(name)) {
            said.echo(asked, &[name]);
        }
    }
    if plain(asked.get("reqReserved")) {
        said.echo(asked, &["reqReserved"]);
    }
    match sign(keys, &mut said, badly) {
        Some(()) => HttpResponse::Ok().content_type("text/html;charset=UTF-8").body(said.raw()),
        None => HttpResponse::InternalServerError().finish(),
    }
}

/// Adds certificate and signature.
pub(crate) fn sign(keys: &Keys, fields: &mut Fields, badly: bool) -> Option<()> {
    fields.set("signMethod", "01");
    fields.set("signPubKeyCert", keys.signer_cert.clone());
    let digest = sha256_hex(fields.string_to_sign().as_bytes());
    let mut signature = keys.signer.sign(digest.as_bytes()).ok()?;
    if badly && let Some(last) = signature.last_mut() {
        *last ^= 1;
    }
    fields.set("signature", STANDARD.encode(&signature));
    Some(())
}
