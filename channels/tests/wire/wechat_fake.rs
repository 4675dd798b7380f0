//! WeChat as the tests need it: checks that each request is signed, answers as told, signs as told.
//!
//! Signs and checks with the reference bodies, so that a mistake of the hot path cannot hide on both sides.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    sync::{Arc, OnceLock},
    time::{SystemTime, UNIX_EPOCH},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use channels::{
    system_clock,
    wechat::{Options, WeChat},
};
use keys::{
    Signer as _, Verifier as _,
    reference::{ReferenceSigner, ReferenceVerifier},
};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::server::{Reply, Request, Server};

pub(crate) const APIV3: &str = "sandbox-apiv3-key-do-not-use-001";
pub(crate) const KEY_ID: &str = "PUB_KEY_ID_0000000000000000000000000000001";

/// Keys are dear to make in an unoptimised build: one pair for all tests.
pub(crate) struct Keys {
    pub(crate) merchant: String,
    pub(crate) wechat: String,
    merchant_verifier: ReferenceVerifier,
    pub(crate) wechat_signer: ReferenceSigner,
}

pub(crate) fn keys() -> &'static Keys {
    static KEYS: OnceLock<Keys> = OnceLock::new();
    KEYS.get_or_init(|| {
        let (merchant, wechat) =
            (keys::generate_rsa_pem(2048).unwrap(), keys::generate_rsa_pem(2048).unwrap());
        let merchant_verifier = ReferenceSigner::from_pem(&merchant).unwrap().verifier();
        let wechat_signer = ReferenceSigner::from_pem(&wechat).unwrap();
        Keys { merchant, wechat, merchant_verifier, wechat_signer }
    })
}

pub(crate) fn now() -> i64 {
    i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()).unwrap()
}

/// How an answer or a call is signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sign {
    Good,
    Missing,
    Wrong,
    Probe,
    Stale,
    Serial(&'static str),
}

/// The headers of a signed answer or call.
pub(crate) fn seal(sign: Sign, body: &[u8]) -> Vec<(&'static str, String)> {
    let mut headers = vec![("Request-ID", "08F5-0".to_owned())];
    if sign == Sign::Missing {
        return headers;
    }
    let time = if sign == Sign::Stale { now() - 301 } else { now() };
    let mut message = format!("{time}\nnonce-of-wechat\n").into_bytes();
    message.extend_from_slice(body);
    message.push(b'\n');
    if sign == Sign::Wrong {
        message.push(b'x');
    }
    let signature = match sign {
        Sign::Probe => "WECHATPAY/SIGNTEST/abc".to_owned(),
        _ => STANDARD.encode(keys().wechat_signer.sign(&message).unwrap()),
    };
    let serial = match sign {
        Sign::Serial(serial) => serial,
        _ => KEY_ID,
    };
    headers.extend([
        ("Wechatpay-Timestamp", time.to_string()),
        ("Wechatpay-Nonce", "nonce-of-wechat".to_owned()),
        ("Wechatpay-Serial", serial.to_owned()),
        ("Wechatpay-Signature", signature),
        ("Wechatpay-Signature-Type", "WECHATPAY2-SHA256-RSA2048".to_owned()),
    ]);
    headers
}

/// A JSON answer; 4xx and 5xx are not signed.
pub(crate) fn answer(status: u16, body: &str, sign: Sign) -> Reply {
    let sign = if status < 300 { sign } else { Sign::Missing };
    Reply::Http { status, headers: seal(sign, body.as_bytes()), body: body.as_bytes().to_vec() }
}

/// Checks what every request must carry; panics (and so hangs up) on a request the real service would refuse.
pub(crate) fn check_signed(request: &Request) {
    let authorization = request.header("authorization");
    let rest = authorization.strip_prefix("WECHATPAY2-SHA256-RSA2048 ").unwrap();
    let part = |name: &str| {
        let text = rest.split(',').find_map(|part| part.strip_prefix(&format!("{name}=\""))).unwrap();
        text.strip_suffix('"').unwrap().to_owned()
    };
    assert_eq!(part("mchid"), "1900000001");
    assert_eq!(part("serial_no"), "0CAFE0");
    let mut message =
        format!("{}\n{}\n{}\n{}\n", request.method, request.target, part("timestamp"), part("nonce_str"))
            .into_bytes();
    message.extend_from_slice(&request.body);
    message.push(b'\n');
    assert_eq!(part("nonce_str").len(), 32);
    assert!(part("timestamp").parse::<i64>().unwrap().abs_diff(now()) < 10);
    keys().merchant_verifier.verify(&message, &STANDARD.decode(part("signature")).unwrap()).unwrap();
    assert_eq!(request.header("accept"), "application/json");
    assert!(!request.header("user-agent").is_empty());
    if !request.body.is_empty() {
        assert_eq!(request.header("content-type"), "application/json");
    }
}

pub(crate) fn write_key(dir: &Path, name: &str, text: &str) -> String {
    let path = dir.join(name);
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    path.display().to_string()
}

/// Options in public-key mode; `more` overrides.
pub(crate) fn options(dir: &TempDir, base: &str, more: Value) -> Options {
    let public = keys::public_key_pem(&keys().wechat).unwrap();
    let mut options = json!({
        "base_url": base, "mchid": "1900000001", "appid": "wx0000000000000001", "merchant_serial": "0CAFE0",
        "merchant_key": write_key(dir.path(), "merchant_key.pem", &keys().merchant),
        "apiv3_key": APIV3, "public_key_id": KEY_ID,
        "public_key": write_key(dir.path(), "public_key.pem", &public),
        "notify_url": "https://pay.example.com/notify/wechat", "signing_threads": 1,
    });
    for (key, value) in more.as_object().unwrap() {
        options[key] = value.clone();
    }
    serde_json::from_value(options).unwrap()
}

/// A channel in public-key mode and the server it speaks to.
pub(crate) struct Fake {
    pub(crate) channel: WeChat,
    pub(crate) server: Server,
    _dir: TempDir,
}

impl Fake {
    pub(crate) async fn start(handler: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Fake {
        Fake::with(json!({}), handler).await
    }

    pub(crate) async fn with(
        more: Value,
        handler: impl Fn(&Request) -> Reply + Send + Sync + 'static,
    ) -> Fake {
        let server = Server::start(move |request| {
            check_signed(request);
            handler(request)
        })
        .await;
        let dir = tempfile::tempdir().unwrap();
        let options = options(&dir, &server.base, more);
        let channel = WeChat::build("wechat".parse().unwrap(), &options, system_clock()).unwrap();
        Fake { channel, server, _dir: dir }
    }

    /// Always the same answer.
    pub(crate) async fn saying(status: u16, body: &str, sign: Sign) -> Fake {
        let body: Arc<str> = body.into();
        Fake::start(move |_| answer(status, &body, sign)).await
    }
}
