//! The protocol page's own vectors, and messages that prove nothing, each beside one that does.

use std::{path::Path, sync::Arc};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use domain::{Answer, ChannelId, ChannelOrderNo, Found, Money, Timestamp, channel::TradeKey};
use keys::{RsaSigner, RsaVerifier, Signer as _, Verifier as _, sha256_hex};
use proptest::prelude::*;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use serde_json::json;

use super::{
    UnionPay,
    client::Named,
    message::{Fields, string_to_sign},
};
use crate::{NotificationCall, NotificationKind, RefusedBecause};

const NOW: i64 = 1_767_225_600;
const U1: &str = "accessType=0&bizType=000000&certId=68759663125&encoding=UTF-8&merId=777290058110048&orderId=20260101080000001&signMethod=01&txnSubType=00&txnTime=20260101080000&txnType=00&version=5.1.0";
const U1_SIGN: &str = "YJZcUqVIwKDA9Vn3CjN+UPrJsf7CJtnPGxjf7mO8pXH/EASv1Q5Woy9PFZIgZVZ98Asgl67muFULxVLayKiZ9WCckf45T8RsvkhMnW4m/mPeitjVUYrB7HNAFIyXs0GaHPLvf8EcJkf7FqDcAD/hLnOJcJ0h7ohTTtJa520srSQ+21V3kew6S7+MZWeSL+o0UKcrX3g0+rGQjPxXlfuZ+g92o968SXNNDEkHEoLmtzUnqtaqs5fL6xwFXT3bDBYqpfOGOgrtpJGV8ySnrG7mTKy7UEAO6RCS4iAzORdYEbbQb2w+X480v7IP8K6myJ19ussmOs9JIHQomcwM65E0DQ==";
const SPKI: &str = "MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAk5luhfvebXQQ2BNe8FVUOrU5vHj5t1zy7jxV3M/MBhHD+kHMOvcRNAHWXnXTX7GsWTzDnntzKQUw5ZOYSiLy6oKV/JC6RMaOxD9wdE7FvrmJ34qnPEvMB12h1FilUXPdPOn/w/rnoiASYG8XjVjvn0xLQaeX0mJhhcJuPvkgzIkko+EVPLvA8KQvmEOUORPW3RskBVOsSFghzzHQhXNlVPExCK/w0CdjP664oXDuV/Ct3wIP+7tSRIJy8ZtF1H+wLhtwiyqqmaWN7lTSaJlZ7wUBFbKtJeS5h5JqQNpjA2Rw39s5MT4pjlBDuODDPbdqS6JRs2Xz9wJ68a0ef3o3ywIDAQAB";

#[test]
fn the_pages_request_makes_the_pages_string_and_its_signature_is_over_the_hex_text() {
    let fields: Fields = U1
        .split('&')
        .rev()
        .filter_map(|p| p.split_once('='))
        .map(|(k, v)| (k.to_owned(), v.to_owned()))
        .collect();
    assert_eq!(string_to_sign(&fields), U1);
    let digest = sha256_hex(U1.as_bytes());
    assert_eq!(digest, "5ec74f57218a5d67bff800474b629838b7ac98b46cd7067186a84e230d903588");
    assert_eq!(
        sha256_hex(digest.as_bytes()),
        "95359211cc67ab2d5ac8f4472f20bfc3505f18febbfcc1bb556caa2365c118d1"
    );
    let key = RsaVerifier::from_spki_der(&STANDARD.decode(SPKI).unwrap()).unwrap();
    let signature = STANDARD.decode(U1_SIGN).unwrap();
    assert!(key.verify(digest.as_bytes(), &signature).is_ok());
    assert!(key.verify(U1.as_bytes(), &signature).is_err(), "hashed once is another signature");
}

/// UnionPay and its authority, as a test needs them.
struct Gateway {
    signer: RsaSigner,
    certificate: String,
    /// Another customer of the same authority.
    stranger: (RsaSigner, String),
    channel: UnionPay,
}

fn write(path: &Path, bytes: &[u8]) {
    std::fs::write(path, bytes).unwrap();
    std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
}

fn gateway() -> Gateway {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let dir = tempfile::tempdir().unwrap();
    let pem = || keys::generate_rsa_pem(2048).unwrap();
    let params = |name: &str, ca: bool| {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.not_before = rcgen::date_time_ymd(2025, 1, 1);
        params.not_after = rcgen::date_time_ymd(2034, 1, 1);
        if ca {
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        }
        params
    };
    let (root_pem, signer_pem, other_pem) = (pem(), pem(), pem());
    let root_key = KeyPair::from_pem(&root_pem).unwrap();
    let root = params("root", true);
    let root_cert = root.self_signed(&root_key).unwrap().pem();
    let issuer = Issuer::new(root, &root_key);
    let issue = |name: &str, key: &str| {
        params(name, false).signed_by(&KeyPair::from_pem(key).unwrap(), &issuer).unwrap().pem()
    };
    let certificate = issue("041@8310000000083040@中国银联股份有限公司@00016495", &signer_pem);
    let stranger = issue("041@Z12@00040000:SIGN@00000001", &other_pem);
    let path = |name: &str| dir.path().join(name);
    write(&path("root.cer"), root_cert.as_bytes());
    let pfx = keys::write_pkcs12(&other_pem, &stranger, "000000").unwrap();
    write(&path("merchant.pfx"), &pfx);
    let options = json!({ "base_url": "http://127.0.0.1:1", "mer_id": "777290058110048",
        "sign_cert": path("merchant.pfx"), "sign_cert_password": "000000", "root_cert": path("root.cer"),
        "middle_cert": path("root.cer"), "notify_url": "https://pay.example.com/notify/unionpay" });
    let clock: crate::Clock = Arc::new(|| Timestamp::from_secs(NOW));
    let options = serde_json::from_value(options).unwrap();
    let channel = UnionPay::build(ChannelId::new("unionpay").unwrap(), options, clock).unwrap();
    let signer = |pem: &str| RsaSigner::from_pkcs8_pem(pem).unwrap();
    Gateway { signer: signer(&signer_pem), certificate, stranger: (signer(&other_pem), stranger), channel }
}

impl Gateway {
    fn fields(&self, more: &[(&str, &str)]) -> Fields {
        let common = [
            ("version", "5.1.0"),
            ("encoding", "UTF-8"),
            ("signMethod", "01"),
            ("merId", "777290058110048"),
            ("orderId", "20260101080000001"),
            ("txnTime", "20260101080000"),
            ("respCode", "00"),
            ("signPubKeyCert", &self.certificate),
        ];
        common.iter().chain(more).map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
    }

    fn sign(&self, mut fields: Fields, signer: &RsaSigner) -> Fields {
        let digest = sha256_hex(string_to_sign(&fields).as_bytes());
        fields.insert("signature".to_owned(), STANDARD.encode(signer.sign(digest.as_bytes()).unwrap()));
        fields
    }
}

fn raw(fields: &Fields) -> String {
    fields.iter().map(|(k, v)| format!("{k}={v}")).collect::<Vec<_>>().join("&")
}

fn asked() -> Named<'static> {
    Named {
        kind: ("00", "00"),
        biz_type: "000000",
        number: "20260101080000001",
        at: Timestamp::from_secs(NOW),
    }
}

#[tokio::test]
async fn an_answer_is_unionpays_own_about_our_order_or_it_is_silence() {
    let gateway = gateway();
    let read = |fields: &Fields| {
        gateway
            .channel
            .client
            .read(&asked(), raw(fields).as_bytes())
            .map(|said| said.text("respCode").to_owned())
    };
    let good = gateway.sign(gateway.fields(&[("queryId", "1")]), &gateway.signer);
    assert_eq!(read(&good).unwrap(), "00");
    let wrapped = format!("{{{}}}", raw(&good));
    assert!(gateway.channel.client.read(&asked(), wrapped.as_bytes()).is_ok(), "braces around the whole");

    let altered = |name: &str, value: &str| {
        let mut fields = good.clone();
        fields.insert(name.to_owned(), value.to_owned());
        fields
    };
    let resigned = |name: &str, value: &str| gateway.sign(altered(name, value), &gateway.signer);
    let (stranger, certificate) = &gateway.stranger;
    let strangers = gateway.sign(gateway.fields(&[("signPubKeyCert", certificate)]), stranger);
    for (why, bad) in [
        ("a field was altered", altered("queryId", "2")),
        ("a field was added", altered("txnAmt", "1")),
        ("no signature", altered("signature", "")),
        ("not base64", altered("signature", "%%%")),
        ("another certificate", altered("signPubKeyCert", certificate)),
        ("signed by another customer of the authority", strangers),
        ("another merchant's", resigned("merId", "777290058110097")),
        ("about another order", resigned("orderId", "20260101080000002")),
        ("about another time", resigned("txnTime", "20260101080001")),
        ("the old version", resigned("version", "5.0.0")),
        ("another way of signing", resigned("signMethod", "11")),
    ] {
        assert!(read(&bad).is_err(), "{why}");
    }
    for bytes in [&b""[..], b"<html>", b"\xff\xfe", b"respCode=00"] {
        assert!(gateway.channel.client.read(&asked(), bytes).is_err());
    }
}

fn notice(body: String) -> NotificationCall {
    NotificationCall {
        method: "POST".to_owned(),
        target: "/notify/unionpay".to_owned(),
        headers: Vec::new(),
        body: body.into(),
        remote: None,
    }
}

#[tokio::test]
async fn a_notification_tells_of_a_payment_or_a_refund_and_a_forged_one_of_nothing() {
    let gateway = gateway();
    let now = Timestamp::from_secs(NOW);
    let paid = [
        ("txnType", "01"),
        ("queryId", "202601010800000000001"),
        ("txnAmt", "1850"),
        ("traceTime", "0101080005"),
    ];
    let parse = |fields: &Fields| {
        let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        gateway.channel.parse(&notice(body), now)
    };
    let good = gateway.sign(gateway.fields(&paid), &gateway.signer);
    let NotificationKind::Payment { number, found: Found::Captured(capture) } = parse(&good).unwrap().kind
    else {
        panic!("a payment");
    };
    assert_eq!(
        (number.as_str(), capture.amount, capture.at.secs()),
        ("20260101080000001", Money::from_fen(1850).unwrap(), NOW + 5)
    );
    let mut refund = gateway.fields(&paid);
    refund.insert("txnType".to_owned(), "04".to_owned());
    let kind = parse(&gateway.sign(refund, &gateway.signer)).unwrap().kind;
    assert!(matches!(kind, NotificationKind::Refund { .. }), "{kind:?}");

    let mut forged = good.clone();
    forged.insert("txnAmt".to_owned(), "1".to_owned());
    assert_eq!(parse(&forged).unwrap_err().reason, RefusedBecause::BadSignature);
    let mut theirs = gateway.fields(&paid);
    theirs.insert("merId".to_owned(), "777290058110097".to_owned());
    let theirs = gateway.sign(theirs, &gateway.signer);
    assert_eq!(parse(&theirs).unwrap_err().reason, RefusedBecause::WrongMerchant);
    let mut unsigned = good;
    unsigned.remove("signature");
    assert_eq!(parse(&unsigned).unwrap_err().reason, RefusedBecause::Malformed);
}

#[tokio::test]
async fn an_unpaid_trade_ends_only_after_its_last_moment_and_doubt_never_ends_it() {
    let gateway = gateway();
    let answer = |resp: &str, orig: &str, expires_at: i64| {
        let more = [("queryId", "1"), ("txnAmt", "1850"), ("origRespCode", orig)];
        let mut fields = gateway.fields(&more);
        fields.insert("respCode".to_owned(), resp.to_owned());
        fields.retain(|_, value| !value.is_empty());
        let fields = gateway.sign(fields, &gateway.signer);
        let said = gateway.channel.client.read(&asked(), raw(&fields).as_bytes()).unwrap();
        match super::trade::read_trade(&said, Timestamp::from_secs(expires_at)) {
            Answer::Settled(Found::Captured(_)) => "captured",
            Answer::Settled(_) => "ended",
            Answer::Accepted(domain::channel::StillOpen::NotFound) => "not found",
            other => other.label(),
        }
    };
    let (later, before) = (NOW + 600, NOW - 600);
    for (resp, orig, expires_at, expected) in [
        ("00", "00", later, "captured"),
        ("00", "A6", later, "captured"),
        ("00", "42", before, "captured"),
        ("00", "64", later, "accepted"),
        ("00", "64", before, "ended"),
        ("00", "64", NOW - 5, "accepted"),
        ("00", "05", before, "accepted"),
        ("00", "74", before, "accepted"),
        ("00", "", before, "accepted"),
        ("34", "", later, "not found"),
        ("34", "", before, "not found"),
        ("37", "", before, "declined"),
        ("11", "", before, "declined"),
        ("03", "", before, "silent"),
        ("12", "", before, "silent"),
    ] {
        assert_eq!(answer(resp, orig, expires_at), expected, "{resp} {orig} {expires_at}");
    }
}

#[tokio::test]
async fn a_channel_that_cannot_be_reached_was_never_asked() {
    let gateway = gateway();
    let at = Timestamp::from_secs(NOW);
    let trade = TradeKey {
        number: ChannelOrderNo::new("20260101080000001").unwrap(),
        planned_at: at,
        expires_at: at,
    };
    assert_eq!(gateway.channel.ask_query(&trade).await.label(), "never_sent");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn whatever_bytes_arrive_there_is_an_answer_and_no_panic(body in prop::collection::vec(any::<u8>(), 0..300)) {
        thread_local!(static GATEWAY: Gateway = gateway());
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let _inside = runtime.enter();
        GATEWAY.with(|gateway| {
            prop_assert!(gateway.channel.client.read(&asked(), &body).is_err());
            let call = NotificationCall { body: body.clone().into(), ..notice(String::new()) };
            prop_assert!(gateway.channel.parse(&call, Timestamp::from_secs(NOW)).is_err());
            Ok(())
        })?;
    }
}
