//! The card gateway as the tests need it: checks requests, answers as told, signs as told.

use bytes::Bytes;
use channels::{
    NotificationCall,
    campus_card::{CampusCard, Options},
    system_clock,
};
use keys::{hmac_sha256, sha256_hex};
use serde_json::json;

use crate::{
    server::{Reply, Request, Server},
    wechat_fake::now,
};

pub(crate) const SECRET: &str = "sandbox-secret-do-not-use-0123456789abcdef";

/// How an answer is signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sign {
    Good,
    Missing,
    Wrong,
    OtherNonce,
    OtherKey,
    Stale,
    OtherStatus,
}

fn code(lines: &[&str]) -> String {
    hex::encode(hmac_sha256(SECRET.as_bytes(), lines.join("\n").as_bytes()))
}

/// Checks the request's five headers; panics (and so hangs up) on one that the protocol refuses.
fn check_signed(request: &Request) {
    let (time, nonce) = (request.header("x-card-timestamp"), request.header("x-card-nonce"));
    let hash = sha256_hex(&request.body);
    let expected =
        code(&["CARD1-REQUEST", "M1001", "k1", time, nonce, &request.method, &request.target, &hash]);
    assert_eq!(request.header("x-card-signature"), expected);
    assert_eq!((request.header("x-card-merchant"), request.header("x-card-key")), ("M1001", "k1"));
    assert!((16..=64).contains(&nonce.len()));
    assert!(time.parse::<i64>().unwrap().abs_diff(now()) < 10);
}

pub(crate) fn answer(request: &Request, status: u16, content_type: &str, body: &[u8], sign: Sign) -> Reply {
    let mut headers = vec![("Content-Type", content_type.to_owned())];
    if sign != Sign::Missing {
        let time = if sign == Sign::Stale { now() - 301 } else { now() }.to_string();
        let own = request.header("x-card-nonce");
        let nonce = if sign == Sign::OtherNonce { "n-0000000000000009" } else { own };
        let signed_status = if sign == Sign::OtherStatus { status + 1 } else { status };
        let label = if sign == Sign::Wrong { "CARD1-REQUEST" } else { "CARD1-RESPONSE" };
        let key = if sign == Sign::OtherKey { "k2" } else { "k1" };
        let hash = sha256_hex(body);
        let code = code(&[label, "M1001", key, &time, nonce, &signed_status.to_string(), &hash]);
        headers.extend([
            ("X-Card-Merchant", "M1001".to_owned()),
            ("X-Card-Key", key.to_owned()),
            ("X-Card-Timestamp", time),
            ("X-Card-Nonce", nonce.to_owned()),
            ("X-Card-Signature", code),
        ]);
    }
    Reply::Http { status, headers, body: body.to_vec() }
}

/// A call of the gateway to us.
pub(crate) fn call(body: &str, nonce: &str, time: i64) -> NotificationCall {
    let (time, target) = (time.to_string(), "/notify/campus_card");
    let code =
        code(&["CARD1-NOTIFY", "M1001", "k1", &time, nonce, "POST", target, &sha256_hex(body.as_bytes())]);
    let headers = [
        ("x-card-merchant", "M1001"),
        ("x-card-key", "k1"),
        ("x-card-timestamp", &time),
        ("x-card-nonce", nonce),
        ("x-card-signature", &code),
    ];
    NotificationCall {
        method: "POST".to_owned(),
        target: target.to_owned(),
        headers: headers.map(|(n, v)| (n.to_owned(), v.to_owned())).to_vec(),
        body: Bytes::copy_from_slice(body.as_bytes()),
        remote: None,
    }
}

pub(crate) fn channel(base: &str) -> CampusCard {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let options: Options = serde_json::from_value(json!({
        "base_url": format!("{base}/ccp"), "merchant_id": "M1001", "key_id": "k1", "secret": SECRET,
        "notify_url": "https://pay.example.com/notify/campus_card",
    }))
    .unwrap();
    CampusCard::build("campus_card".parse().unwrap(), &options, system_clock()).unwrap()
}

/// A channel and the gateway it speaks to.
pub(crate) struct Fake {
    pub(crate) channel: CampusCard,
    pub(crate) server: Server,
}

impl Fake {
    pub(crate) async fn start(handler: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Fake {
        let server = Server::start(move |request| {
            check_signed(request);
            handler(request)
        })
        .await;
        Fake { channel: channel(&server.base), server }
    }

    /// Always the same JSON answer.
    pub(crate) async fn saying(status: u16, body: &str, sign: Sign) -> Fake {
        let body = body.to_owned();
        Fake::start(move |request| answer(request, status, "application/json", body.as_bytes(), sign)).await
    }
}
