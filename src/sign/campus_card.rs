//! The campus card gateway: eight lines under a shared secret (protocol section B1).

use keys::sha256_hex;

use super::{Request, View};

pub(super) fn view(request: &Request) -> Result<View, String> {
    let need = |name: &str| request.header(name).ok_or(format!("the request has no header {name}"));
    let (merchant, key, at, nonce) =
        (need("X-Card-Merchant")?, need("X-Card-Key")?, need("X-Card-Timestamp")?, need("X-Card-Nonce")?);
    let signature = need("X-Card-Signature")?;
    let lines = |method: &str, target: &str, hash: &str| {
        ["CARD1-REQUEST", merchant, key, at, nonce, method, target, hash].join("\n").into_bytes()
    };
    let hash = sha256_hex(&request.body);
    let (method, target) = (request.method.as_str(), request.target.as_str());
    let right = lines(method, target, &hash);
    let mut view = View {
        text: right.clone(),
        signed: right.clone(),
        signature: hex::decode(signature).ok(),
        mistakes: Vec::new(),
        remarks: Vec::new(),
        serial: Some(key.to_owned()),
        at: at.parse().ok(),
        server: None,
    };
    if view.signature.is_none() {
        view.remark("signature_not_hex", "the signature is lower-case hex");
    }
    if at.len() != 10 || view.at.is_none() {
        view.remark("timestamp_unit", format!("timestamp {at:?} is not Unix time in seconds (ten digits)"));
    }
    let path = target.split('?').next().unwrap_or_default();
    view.mistake(
        "query_left_out",
        "the target is path and query, exactly as sent",
        lines(method, path, &hash),
    );
    view.mistake("body_left_out", "the body's hash is signed", lines(method, target, &sha256_hex(b"")));
    view.mistake(
        "hash_upper_case",
        "the body's hash is lower-case hex",
        lines(method, target, &hash.to_ascii_uppercase()),
    );
    view.mistake(
        "last_line_feed",
        "there is no line feed behind the last line",
        [right.as_slice(), b"\n"].concat(),
    );
    Ok(view)
}
