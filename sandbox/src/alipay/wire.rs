//! Checking a call, and writing an answer that every SDK's parser takes (protocol sections 1.2 and 1.3).

use ::keys::{Signer as _, Verifier as _};
use actix_web::HttpResponse;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Map, Value};

use super::{
    form::{Params, encoding},
    keys::Keys,
    refusal::Refusal,
    text,
};

/// A verified call.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) method: String,
    pub(crate) app_id: String,
    pub(crate) notify_url: Option<String>,
    pub(crate) return_url: Option<String>,
    pub(crate) biz: Map<String, Value>,
    pub(crate) gbk: bool,
    /// The call named its certificates: so does its answer.
    pub(crate) by_certificate: bool,
}

/// Where an answer stands, and in which charset.
pub(crate) struct Node<'a> {
    pub(crate) method: &'a str,
    pub(crate) gbk: bool,
    pub(crate) by_certificate: bool,
}

/// The string that is signed: everything sent but `without` and what is empty, by name.
pub(crate) fn string_to_sign(params: &Params, without: &[&str]) -> String {
    let kept = params.iter().filter(|(name, value)| !value.is_empty() && !without.contains(&name.as_str()));
    kept.map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("&")
}

/// Checks the common parameters in the gateway's order.
pub(crate) fn check(params: Params, keys: &Keys) -> Result<Call, Refusal> {
    let given = |name: &str| params.get(name).filter(|v| !v.is_empty()).cloned();
    let missing = |name: &str, sub: &str| Refusal::missing(sub, &format!("缺少{name}参数"));
    let app_id = given("app_id").ok_or_else(|| missing("app_id", "isv.missing-app-id").unsigned())?;
    if app_id != keys.app_id {
        return Err(Refusal::invalid("isv.invalid-app-id", "无效的AppID参数").unsigned());
    }
    let method = given("method").ok_or_else(|| missing("method", "isv.missing-method"))?;
    let sign_type = given("sign_type").ok_or_else(|| missing("sign_type", "isv.missing-signature-type"))?;
    if sign_type != "RSA2" {
        return Err(Refusal::invalid("isv.invalid-signature-type", "签名类型只支持RSA2"));
    }
    let charset = given("charset").unwrap_or_else(|| "utf-8".to_owned());
    let encoding =
        encoding(charset.as_bytes()).ok_or_else(|| Refusal::invalid("isv.invalid-charset", "字符集错误"))?;
    let sign = given("sign").ok_or_else(|| missing("sign", "isv.missing-signature"))?;
    let bad = || Refusal::invalid("isv.invalid-signature", "无效签名");
    let signature = STANDARD.decode(&sign).map_err(|_| bad())?;
    let text = string_to_sign(&params, &["sign"]);
    let (signed, _, _) = encoding.encode(&text);
    keys.merchant.verify(&signed, &signature).map_err(|_| bad())?;

    let by_certificate = given("app_cert_sn").is_some();
    if given("app_cert_sn").is_some_and(|sn| sn != keys.app_cert_sn) {
        return Err(Refusal::invalid("isv.invalid-app-cert-sn", "应用公钥证书SN不匹配"));
    }
    if by_certificate && given("alipay_root_cert_sn").as_deref() != Some(&keys.root_cert_sn) {
        return Err(Refusal::invalid("isv.invalid-alipay-root-cert-sn", "支付宝根证书SN不匹配"));
    }
    if given("version").ok_or_else(|| missing("version", "isv.missing-version"))? != "1.0" {
        return Err(Refusal::invalid("isv.invalid-parameter", "version只支持1.0"));
    }
    let timestamp = given("timestamp").ok_or_else(|| missing("timestamp", "isv.missing-timestamp"))?;
    if text::moment(&timestamp).is_none() {
        return Err(Refusal::invalid("isv.invalid-timestamp", "非法的时间戳参数，格式为yyyy-MM-dd HH:mm:ss"));
    }
    if given("format").is_some_and(|format| !format.eq_ignore_ascii_case("json")) {
        return Err(Refusal::invalid("isv.invalid-format", "数据格式只支持JSON"));
    }
    if given("encrypt_type").is_some() {
        return Err(Refusal::invalid("isv.invalid-encrypt-type", "沙箱不支持内容加密"));
    }
    let biz = given("biz_content").unwrap_or_else(|| "{}".to_owned());
    let biz = serde_json::from_str(&biz)
        .map_err(|_| Refusal::invalid("isv.invalid-parameter", "biz_content不是JSON对象"))?;
    let (notify_url, return_url) = (given("notify_url"), given("return_url"));
    let http = |url: &Option<String>| url.as_ref().is_none_or(|u| u.len() <= 256 && u.starts_with("http"));
    if !http(&notify_url) || !http(&return_url) {
        return Err(Refusal::invalid("isv.invalid-parameter", "notify_url或return_url不是http(s)地址"));
    }
    Ok(Call {
        method,
        app_id,
        notify_url,
        return_url,
        biz,
        gbk: encoding == encoding_rs::GBK,
        by_certificate,
    })
}

/// The number that a call is about, before anything is checked; for faults.
pub(crate) fn peek_number(params: &Params) -> String {
    let biz: Value = params.get("biz_content").and_then(|t| serde_json::from_str(t).ok()).unwrap_or_default();
    let text = |name: &str| biz.get(name).and_then(Value::as_str).map(str::to_owned);
    text("out_trade_no").or_else(|| text("trade_no")).unwrap_or_default()
}

/// Node first, `sign` last, no blanks: SDKs search the text.
pub(crate) fn answer(
    keys: &Keys,
    node: &Node<'_>,
    done: Result<Value, Refusal>,
    badly: bool,
) -> HttpResponse {
    let (value, signed) = match done {
        Ok(mut value) => {
            if let Some(members) = value.as_object_mut() {
                members.insert("code".to_owned(), "10000".into());
                members.insert("msg".to_owned(), "Success".into());
            }
            (value, true)
        }
        Err(refusal) => (refusal.node(), refusal.signed),
    };
    let name = if signed && !node.method.is_empty() {
        format!("{}_response", node.method.replace('.', "_"))
    } else {
        "error_response".to_owned()
    };
    let encode = |text: &str| {
        if node.gbk { encoding_rs::GBK.encode(text).0.into_owned() } else { text.as_bytes().to_vec() }
    };
    let text = value.to_string();
    let sign = if signed { sign(keys, &encode(&text), badly) } else { None };
    let cert = if node.by_certificate && sign.is_some() {
        format!(",\"alipay_cert_sn\":\"{}\"", keys.alipay_cert_sn)
    } else {
        String::new()
    };
    let tail = sign.map(|s| format!("{cert},\"sign\":\"{s}\"")).unwrap_or_default();
    let charset = if node.gbk { "gbk" } else { "utf-8" };
    HttpResponse::Ok()
        .content_type(format!("text/html;charset={charset}"))
        .body(encode(&format!("{{\"{name}\":{text}{tail}}}")))
}

/// The gateway's signature as base64.
pub(crate) fn sign(keys: &Keys, bytes: &[u8], badly: bool) -> Option<String> {
    let mut signature = keys.platform.sign(bytes).ok()?;
    if badly && let Some(last) = signature.last_mut() {
        *last ^= 1;
    }
    Some(STANDARD.encode(signature))
}
