//! Calls from WeChat: the worked one, each reason to refuse, and any bytes at all.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use channels::{
    Channel as _, HttpReply, NotificationCall, NotificationKind, RefusedBecause, Verdict, system_clock,
    wechat::WeChat,
};
use domain::{Timestamp, channel::RefundFound};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::{
    Brief as _, number, refund_no,
    wechat_fake::{APIV3, KEY_ID, Sign, now, options, seal, write_key},
};

/// A callback of WeChat with `body`.
pub(crate) fn call(body: &str, sign: Sign) -> NotificationCall {
    NotificationCall {
        method: "POST".to_owned(),
        target: "/notify/wechat".to_owned(),
        headers: seal(sign, body.as_bytes()).into_iter().map(|(n, v)| (n.to_lowercase(), v)).collect(),
        body: Bytes::copy_from_slice(body.as_bytes()),
        remote: None,
    }
}

fn envelope(event_type: &str, clear: &Value) -> String {
    let key = APIV3.as_bytes().try_into().unwrap();
    let sealed = keys::seal(key, b"sandboxnonce", b"", clear.to_string().as_bytes()).unwrap();
    json!({ "id": "e-1", "create_time": "2026-01-01T08:00:09+08:00", "resource_type": "encrypt-resource",
        "event_type": event_type, "summary": "", "resource": { "algorithm": "AEAD_AES_256_GCM",
        "ciphertext": STANDARD.encode(sealed), "nonce": "sandboxnonce", "original_type": "x" } })
    .to_string()
}

fn trade() -> Value {
    json!({ "mchid": "1900000001", "appid": "wx0000000000000001", "out_trade_no": number().as_str(),
        "transaction_id": "42", "trade_state": "SUCCESS", "success_time": "2026-01-01T08:00:09+08:00",
        "amount": { "total": 1250 } })
}

/// The callback of a paid trade.
pub(crate) fn paid_callback() -> String {
    envelope("TRANSACTION.SUCCESS", &trade())
}

fn channel(more: Value) -> (WeChat, tempfile::TempDir) {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let dir = tempfile::tempdir().unwrap();
    let options = options(&dir, "http://127.0.0.1:1", more);
    (WeChat::build("wechat".parse().unwrap(), &options, system_clock()).unwrap(), dir)
}

#[test]
fn the_worked_callback_is_a_payment_and_its_repeat_says_the_same() {
    let vectors: Value =
        serde_json::from_str(include_str!("../../../keys/tests/vectors/wechat-pay-v3.json")).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let der = STANDARD.decode(vectors["public_key_spki"].as_str().unwrap()).unwrap();
    let path = write_key(dir.path(), "vector.pem", &keys::pem::write_block("PUBLIC KEY", &der));
    let (channel, _dir) = channel(json!({ "public_key": path }));
    let vector = &vectors["vectors"]["W5"];
    let call = NotificationCall {
        method: "POST".to_owned(),
        target: "/notify/wechat".to_owned(),
        headers: [
            ("Wechatpay-Timestamp", "1767225610"),
            ("Wechatpay-Nonce", "SANDBOXNONCE00000000000000000005"),
            ("Wechatpay-Serial", KEY_ID),
            ("Wechatpay-Signature", vector["signature"].as_str().unwrap()),
        ]
        .map(|(n, v)| (n.to_owned(), v.to_owned()))
        .to_vec(),
        body: Bytes::copy_from_slice(vector["body"].as_str().unwrap().as_bytes()),
        remote: None,
    };
    for _ in 0..2 {
        let heard = channel.parse_notification(&call, Timestamp::from_secs(1_767_225_611)).unwrap();
        assert_eq!(heard.event_id, "00000000-0000-5000-8000-000000000001");
        let NotificationKind::Payment { number, found } = heard.kind else { panic!("{heard:?}") };
        assert_eq!(number.as_str(), "T20260101000001");
        assert_eq!(found.brief(), "captured 1250 4200000000202601010000000001 2026-01-01T00:00:09.000Z");
    }
    let refused = channel.parse_notification(&call, Timestamp::from_secs(1_767_225_910)).unwrap_err();
    assert_eq!(refused.reason, RefusedBecause::StaleTimestamp);
}

#[test]
fn refunds_and_events_of_other_kinds_are_read() {
    let (channel, _dir) = channel(json!({}));
    let at = Timestamp::from_secs(now());
    let hear = |body: &str| channel.parse_notification(&call(body, Sign::Good), at).unwrap().kind;
    let refund = |status: &str| {
        json!({ "mchid": "1900000001", "out_refund_no": refund_no().as_str(), "refund_id": "R42",
            "refund_status": status, "success_time": "2026-01-01T08:01:00+08:00", "amount": { "refund": 250 } })
    };
    let NotificationKind::Refund { refund_no: heard, found } =
        hear(&envelope("REFUND.SUCCESS", &refund("SUCCESS")))
    else {
        panic!("no refund")
    };
    assert_eq!((heard, found.brief().as_str()), (refund_no(), "refunded 250 R42 2026-01-01T00:01:00.000Z"));
    let failed = NotificationKind::Refund {
        refund_no: refund_no(),
        found: RefundFound::Failed { code: "ABNORMAL".to_owned() },
    };
    assert_eq!(hear(&envelope("REFUND.ABNORMAL", &refund("ABNORMAL"))), failed);
    for (event, clear) in [("REFUND.NEW", refund("NEW")), ("COUPON.USE", json!({}))] {
        assert_eq!(hear(&envelope(event, &clear)), NotificationKind::Other { event_type: event.to_owned() });
    }
}

#[test]
fn each_broken_call_is_refused_for_its_own_reason() {
    use RefusedBecause as B;
    let (channel, _dir) = channel(json!({}));
    let at = Timestamp::from_secs(now());
    let good = paid_callback();
    let with = |key: &str, value: Value| {
        let mut clear = trade();
        clear[key] = value;
        envelope("TRANSACTION.SUCCESS", &clear)
    };
    let table = [
        (call(&good, Sign::Missing), B::Malformed),
        (call(&good, Sign::Wrong), B::BadSignature),
        (call(&good, Sign::Probe), B::BadSignature),
        (call(&good, Sign::Stale), B::StaleTimestamp),
        (call(&good, Sign::Serial("7B00")), B::UnknownSerial),
        (call("", Sign::Good), B::Malformed),
        (call("[]", Sign::Good), B::Malformed),
        (call(&good.replace("\"e-1\"", "\"\""), Sign::Good), B::Malformed),
        (call(&good.replace("sandboxnonce", "anothernonce"), Sign::Good), B::Undecryptable),
        (call(&good.replace("sandboxnonce", "short"), Sign::Good), B::Undecryptable),
        (call(&good.replace("AEAD_AES_256_GCM", "ROT13"), Sign::Good), B::Undecryptable),
        (call(&with("mchid", json!("1900000002")), Sign::Good), B::WrongMerchant),
        (call(&with("appid", json!("wx2")), Sign::Good), B::WrongMerchant),
        (call(&with("out_trade_no", json!("a/b")), Sign::Good), B::Malformed),
        (call(&with("amount", json!(null)), Sign::Good), B::Malformed),
        (call(&with("amount", json!({ "total": -1 })), Sign::Good), B::Malformed),
    ];
    for (call, reason) in table {
        let refused = channel.parse_notification(&call, at).unwrap_err();
        assert_eq!(refused.reason, reason, "{}", refused.detail);
    }
    let mut tampered = call(&good, Sign::Good);
    tampered.body = Bytes::from(good.replace("e-1", "e-2"));
    assert_eq!(channel.parse_notification(&tampered, at).unwrap_err().reason, B::BadSignature);
    let mut other_kind = call(&good, Sign::Good);
    let kind = other_kind.headers.iter_mut().find(|(name, _)| name == "wechatpay-signature-type").unwrap();
    kind.1 = "WECHATPAY2-SM2-WITH-SM3".to_owned();
    assert_eq!(channel.parse_notification(&other_kind, at).unwrap_err().reason, B::BadSignature);
}

#[test]
fn wechat_is_answered_in_its_own_form() {
    let (channel, _dir) = channel(json!({}));
    let taken = HttpReply { status: 204, content_type: None, body: Bytes::new() };
    assert_eq!(channel.notification_answer(&Verdict::Taken), taken);
    let refused = channel.notification_answer(&Verdict::Refused("wrong \"amount\"".to_owned()));
    assert_eq!((refused.status, refused.content_type), (400, Some("application/json")));
    let body: Value = serde_json::from_slice(&refused.body).unwrap();
    assert_eq!(body, json!({ "code": "FAIL", "message": "wrong \"amount\"" }));
    assert_eq!(channel.notification_answer(&Verdict::NotNow).status, 503);
}

/// Building checks the key files, which is dear in an unoptimised build: one channel for all cases.
fn shared() -> &'static WeChat {
    static CHANNEL: std::sync::OnceLock<(WeChat, tempfile::TempDir)> = std::sync::OnceLock::new();
    &CHANNEL.get_or_init(|| channel(json!({}))).0
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_signed_bytes_are_read_or_refused_without_a_panic(body in ".{0,200}") {
        let heard = shared().parse_notification(&call(&body, Sign::Good), Timestamp::from_secs(now()));
        prop_assert_eq!(heard.unwrap_err().reason, RefusedBecause::Malformed);
    }

    #[test]
    fn any_sealed_text_is_read_or_refused_without_a_panic(
        state in ".{0,12}", number in ".{0,40}", total: Option<i64>, time in proptest::option::of(".{0,30}"),
        refund: bool,
    ) {
        let clear = json!({ "mchid": "1900000001", "out_trade_no": number, "out_refund_no": number,
            "trade_state": state, "refund_status": state, "transaction_id": number, "success_time": time,
            "amount": { "total": total, "refund": total } });
        let event = if refund { "REFUND.X" } else { "TRANSACTION.X" };
        let heard = shared().parse_notification(&call(&envelope(event, &clear), Sign::Good), Timestamp::from_secs(now()));
        if let Ok(heard) = heard {
            prop_assert_eq!(heard.event_id, "e-1");
        }
    }

    #[test]
    fn any_headers_are_refused_without_a_panic(values in proptest::collection::vec(".{0,60}", 5)) {
        let names = ["Wechatpay-Timestamp", "Wechatpay-Nonce", "Wechatpay-Serial", "Wechatpay-Signature", "X"];
        let headers = names.iter().map(|n| (*n).to_owned()).zip(values).collect();
        let call = NotificationCall { headers, ..call(&paid_callback(), Sign::Missing) };
        prop_assert!(shared().parse_notification(&call, Timestamp::from_secs(now())).is_err());
    }
}
