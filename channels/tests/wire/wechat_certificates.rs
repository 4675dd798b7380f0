//! Certificate mode: the list is fetched, opened and verified; both kinds of keys work side by side.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use channels::{Channel as _, Error, RefusedBecause};
use domain::Timestamp;
use rcgen::{CertificateParams, KeyPair, SerialNumber};
use serde_json::{Value, json};

use crate::{
    server::Reply,
    short, trade_key,
    wechat_calls::{call, paid_callback},
    wechat_fake::{APIV3, Fake, KEY_ID, Sign, answer, keys, now},
};

const SERIAL: &str = "7A0000000000000000000000000000000000CAFE";
const NOT_FOUND: &str = r#"{"code":"ORDER_NOT_EXIST","message":""}"#;
const OPEN: &str = r#"{"mchid":"1900000001","appid":"wx0000000000000001","out_trade_no":"01j0000000e00800000000000101","trade_state":"NOTPAY","trade_state_desc":""}"#;

fn certificate() -> String {
    let key = KeyPair::from_pem(&keys().wechat).unwrap();
    let mut params = CertificateParams::new(vec![]).unwrap();
    params.serial_number = Some(SerialNumber::from_slice(&hex::decode(SERIAL).unwrap()));
    params.self_signed(&key).unwrap().pem()
}

/// The list with one certificate, sealed with `apiv3`, said to have the serial `serial`.
fn list(apiv3: &str, serial: &str) -> String {
    let key = apiv3.as_bytes().try_into().unwrap();
    let sealed = keys::seal(key, b"0a1b2c3d4e5f", b"certificate", certificate().as_bytes()).unwrap();
    json!({ "data": [{ "serial_no": serial, "effective_time": "2026-01-01T00:00:00+08:00",
        "expire_time": "2030-12-31T00:00:00+08:00", "encrypt_certificate": { "algorithm": "AEAD_AES_256_GCM",
        "nonce": "0a1b2c3d4e5f", "associated_data": "certificate", "ciphertext": STANDARD.encode(sealed) } }] })
    .to_string()
}

/// Without a public key.
fn certificates_only() -> Value {
    json!({ "platform_certificate_mode": true, "public_key_id": null, "public_key": null,
        "certificate_refresh_pause_ms": 0 })
}

async fn fake(more: Value, list: String, list_sign: Sign, answer_sign: Sign) -> Fake {
    Fake::with(more, move |request| match request.target.as_str() {
        "/v3/certificates" => answer(200, &list, list_sign),
        _ => answer(200, OPEN, answer_sign),
    })
    .await
}

#[tokio::test]
async fn the_first_list_is_verified_with_what_is_inside_it_and_then_verifies_answers() {
    let fake =
        fake(certificates_only(), list(APIV3, SERIAL), Sign::Serial(SERIAL), Sign::Serial(SERIAL)).await;
    fake.channel.warm_up().await.unwrap();
    assert_eq!(short(&fake.channel.query(&trade_key()).await), "accepted Pending");
    let requests = fake.server.requests.lock().unwrap();
    assert!(requests.iter().all(|r| r.header("wechatpay-serial").is_empty()), "no public key, no id of it");
    assert_eq!(requests.len(), 2, "a fresh list is not fetched again");
}

#[tokio::test]
async fn a_list_that_does_not_open_or_verify_changes_nothing() {
    let other_key = "another-apiv3-key-of-32-letters!";
    for (body, sign) in [
        (list(other_key, SERIAL), Sign::Serial(SERIAL)),
        (list(APIV3, "7B00"), Sign::Serial("7B00")),
        (list(APIV3, SERIAL), Sign::Wrong),
        (list(APIV3, SERIAL), Sign::Missing),
        (list(APIV3, SERIAL), Sign::Serial("7B00")),
        ("[]".to_owned(), Sign::Serial(SERIAL)),
    ] {
        let fake = fake(certificates_only(), body, sign, Sign::Serial(SERIAL)).await;
        assert!(matches!(fake.channel.warm_up().await, Err(Error::WarmUp { .. })), "{sign:?}");
        assert_eq!(short(&fake.channel.query(&trade_key()).await), "silent", "{sign:?}");
    }
}

#[tokio::test]
async fn an_unknown_serial_is_looked_up_once_and_both_kinds_of_keys_work_side_by_side() {
    let certificate_turn = Arc::new(AtomicBool::new(false));
    let fetched = Arc::new(AtomicUsize::new(0));
    let (turn, count, list) = (Arc::clone(&certificate_turn), Arc::clone(&fetched), list(APIV3, SERIAL));
    let more = json!({ "platform_certificate_mode": true, "certificate_refresh_pause_ms": 3_600_000 });
    let fake = Fake::with(more, move |request| {
        if request.target == "/v3/certificates" {
            count.fetch_add(1, SeqCst);
            return answer(200, &list, Sign::Good);
        }
        let sign = if turn.load(SeqCst) { Sign::Serial(SERIAL) } else { Sign::Good };
        answer(200, OPEN, sign)
    })
    .await;
    certificate_turn.store(true, SeqCst);
    assert_eq!(short(&fake.channel.query(&trade_key()).await), "accepted Pending", "fetched within the call");
    certificate_turn.store(false, SeqCst);
    assert_eq!(
        short(&fake.channel.query(&trade_key()).await),
        "accepted Pending",
        "the public key still works"
    );
    assert_eq!(fetched.load(SeqCst), 1);
    let requests = fake.server.requests.lock().unwrap();
    assert!(requests.iter().all(|r| r.header("wechatpay-serial") == KEY_ID));
}

#[tokio::test]
async fn serials_nobody_knows_do_not_make_us_fetch_without_end() {
    let more = json!({ "platform_certificate_mode": true, "certificate_refresh_pause_ms": 3_600_000 });
    let fake = fake(more, list(APIV3, SERIAL), Sign::Good, Sign::Serial("7B00")).await;
    for _ in 0..5 {
        assert_eq!(short(&fake.channel.query(&trade_key()).await), "silent");
    }
    let requests = fake.server.requests.lock().unwrap();
    assert_eq!(requests.iter().filter(|r| r.target == "/v3/certificates").count(), 1);
}

#[tokio::test]
async fn a_merchant_with_only_the_public_key_goes_on_without_certificates() {
    let fake =
        Fake::with(json!({ "platform_certificate_mode": true }), |request| match request.target.as_str() {
            "/v3/certificates" => answer(404, r#"{"code":"RESOURCE_NOT_EXISTS","message":""}"#, Sign::Good),
            _ => answer(404, NOT_FOUND, Sign::Good),
        })
        .await;
    fake.channel.warm_up().await.unwrap();
    assert_eq!(short(&fake.channel.probe().await), "accepted NotFound");
}

#[tokio::test]
async fn warming_up_without_any_key_and_without_an_answer_is_an_error_each_time() {
    let more = json!({ "platform_certificate_mode": true, "public_key_id": null, "public_key": null });
    let fake = Fake::with(more, |_| Reply::HangUp).await;
    assert!(fake.channel.warm_up().await.is_err());
    assert!(fake.channel.warm_up().await.is_err(), "too early for a second try is no success");
}

#[tokio::test]
async fn a_call_under_an_unknown_serial_is_refused_and_its_repeat_finds_the_key() {
    let fake = fake(certificates_only(), list(APIV3, SERIAL), Sign::Serial(SERIAL), Sign::Good).await;
    let call = call(&paid_callback(), Sign::Serial(SERIAL));
    let at = Timestamp::from_secs(now());
    let refused = fake.channel.parse_notification(&call, at).unwrap_err();
    assert_eq!(refused.reason, RefusedBecause::UnknownSerial);
    let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(10);
    while fake.channel.parse_notification(&call, at).is_err() {
        assert!(tokio::time::Instant::now() < deadline, "the key was never fetched");
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
}
