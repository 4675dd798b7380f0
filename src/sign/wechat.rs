//! WeChat Pay v3: five lines, each with its line feed (protocol section 2).

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::Value;

use super::{Request, View};

fn claims(authorization: &str) -> Vec<(String, String)> {
    let rest = authorization.trim_start_matches("WECHATPAY2-SHA256-RSA2048").trim();
    let claim = |part: &str| {
        let (name, value) = part.trim().split_once('=')?;
        Some((name.to_owned(), value.trim_matches('"').to_owned()))
    };
    rest.split(',').filter_map(claim).collect()
}

fn message(method: &str, target: &str, at: &str, nonce: &str, body: &[u8]) -> Vec<u8> {
    [format!("{method}\n{target}\n{at}\n{nonce}\n").as_bytes(), body, b"\n"].concat()
}

/// JSON written anew in the ways that libraries write it.
fn rewritten(body: &[u8]) -> Vec<Vec<u8>> {
    let Ok(value) = serde_json::from_slice::<Value>(body) else { return Vec::new() };
    let compact = value.to_string();
    // As Python's default: blanks behind commas and colons; and with everything beyond ASCII escaped.
    let mut spaced = String::new();
    let (mut inside, mut escaped) = (false, false);
    for c in compact.chars() {
        spaced.push(c);
        if inside {
            inside = c != '"' || escaped;
            escaped = c == '\\' && !escaped;
        } else if c == '"' {
            inside = true;
        } else if matches!(c, ',' | ':') {
            spaced.push(' ');
        }
    }
    let ascii = |text: &str| {
        let mut out = String::new();
        for c in text.chars() {
            if c.is_ascii() {
                out.push(c);
            } else {
                let mut units = [0; 2];
                for unit in c.encode_utf16(&mut units) {
                    out.push_str(&format!("\\u{unit:04x}"));
                }
            }
        }
        out
    };
    let pretty = serde_json::to_string_pretty(&value).unwrap_or_default();
    let html = compact.replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026");
    let texts = [ascii(&spaced), ascii(&compact), spaced, compact, pretty, html];
    let lines = texts.clone().map(|text| format!("{text}\n"));
    texts.into_iter().chain(lines).map(String::into_bytes).collect()
}

pub(super) fn view(request: &Request) -> Result<View, String> {
    let authorization = request.header("authorization").ok_or("the request has no Authorization header")?;
    let claims = claims(authorization);
    let claim = |name: &str| claims.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str());
    let need = |name: &str| claim(name).ok_or(format!("Authorization has no {name}"));
    let (at, nonce) = (need("timestamp")?, need("nonce_str")?);
    let (method, target, body) = (request.method.as_str(), request.target.as_str(), request.body.as_slice());
    let right = message(&method.to_ascii_uppercase(), target, at, nonce, body);
    let signature = need("signature")?;
    let server = request.answer.as_deref().and_then(|answer| {
        let said: Value = serde_json::from_slice(answer).ok()?;
        let text = said.pointer("/detail/sign_information/truncated_sign_message")?.as_str()?;
        Some(text.as_bytes().to_vec())
    });
    let mut view = View {
        text: right.clone(),
        signed: right.clone(),
        signature: STANDARD.decode(signature).ok(),
        mistakes: Vec::new(),
        remarks: Vec::new(),
        serial: claim("serial_no").map(str::to_owned),
        at: at.parse().ok(),
        server,
    };
    if !authorization.starts_with("WECHATPAY2-SHA256-RSA2048 ") {
        view.remark(
            "scheme_wrong",
            "Authorization must begin with \"WECHATPAY2-SHA256-RSA2048 \", one blank behind it",
        );
    }
    if view.signature.is_none() {
        view.remark("signature_not_base64", "the signature is not base64 with padding in one line");
    }
    if at.len() != 10 || view.at.is_none() {
        view.remark("timestamp_unit", format!("timestamp {at:?} is not Unix time in seconds (ten digits)"));
    }
    if method != method.to_ascii_uppercase() {
        view.remark("method_case", "the method is signed in upper case");
    }
    if target.contains(' ') || !target.is_ascii() {
        let problem = "the target has characters that must be percent-encoded; sign exactly what is sent";
        view.remark("not_percent_encoded", problem);
    }
    if let Ok(fields) = serde_json::from_slice::<Value>(body)
        && let (Some(theirs), Some(ours)) = (fields.get("mchid").and_then(Value::as_str), claim("mchid"))
        && theirs != ours
    {
        view.remark("merchant_differs", format!("Authorization names mchid {ours:?}, the body {theirs:?}"));
    }
    let path = target.split('?').next().unwrap_or_default();
    let host = request.header("host").unwrap_or("api.mch.weixin.qq.com");
    let decoded = percent_decoded(target);
    let mut sorted: Vec<&str> = request.query().split('&').collect();
    sorted.sort_unstable();
    let with = |target: &str| message(method, target, at, nonce, body);
    view.mistake("query_left_out", "the URL line is path and query, exactly as sent", with(path));
    view.mistake(
        "query_reordered",
        "sign the query in the order in which it is sent",
        with(&format!("{path}?{}", sorted.join("&"))),
    );
    view.mistake(
        "url_decoded",
        "sign the target percent-encoded, as it is on the request line",
        with(&decoded),
    );
    view.mistake(
        "whole_address",
        "the URL line has no scheme and no host",
        with(&format!("https://{host}{target}")),
    );
    view.mistake(
        "whole_address",
        "the URL line has no scheme and no host",
        with(&format!("http://{host}{target}")),
    );
    view.mistake(
        "method_case",
        "the method is signed in upper case",
        message(&method.to_ascii_lowercase(), target, at, nonce, body),
    );
    let cut = |bytes: &[u8]| bytes.strip_suffix(b"\n").unwrap_or(bytes).to_vec();
    view.mistake("last_line_feed", "every line ends with a line feed, the last one too", cut(&right));
    let crlf = String::from_utf8_lossy(&right).replace('\n', "\r\n");
    view.mistake("carriage_returns", "lines end with \\n alone", crlf);
    view.mistake("body_left_out", "the body is signed for POST", message(method, target, at, nonce, b""));
    for body in rewritten(body) {
        let advice =
            "the body was written again after it was signed: make its bytes once, sign and send these";
        view.mistake("body_re_encoded", advice, message(method, target, at, nonce, &body));
    }
    Ok(view)
}

fn percent_decoded(text: &str) -> String {
    // A plus stays one: this is a path, not a form.
    let kept = text.replace('+', "%2B");
    let parsed = url::form_urlencoded::parse(kept.replace('&', "%26").replace('=', "%3D").as_bytes())
        .next()
        .map(|(k, _)| k.into_owned());
    parsed.unwrap_or_default()
}
