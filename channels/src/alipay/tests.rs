//! The protocol page's own vectors, good and spoilt, and answers that prove nothing.

use std::sync::Arc;

use domain::{ChannelId, Found, Money, Timestamp};
use proptest::prelude::*;
use serde_json::json;

use super::{
    Alipay,
    client::{Meaning, meaning},
    text::{Params, string_to_sign},
};
use crate::{NotificationCall, NotificationKind, RefusedBecause};

const SPKI: &str = "MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAk5luhfvebXQQ2BNe8FVUOrU5vHj5t1zy7jxV3M/MBhHD+kHMOvcRNAHWXnXTX7GsWTzDnntzKQUw5ZOYSiLy6oKV/JC6RMaOxD9wdE7FvrmJ34qnPEvMB12h1FilUXPdPOn/w/rnoiASYG8XjVjvn0xLQaeX0mJhhcJuPvkgzIkko+EVPLvA8KQvmEOUORPW3RskBVOsSFghzzHQhXNlVPExCK/w0CdjP664oXDuV/Ct3wIP+7tSRIJy8ZtF1H+wLhtwiyqqmaWN7lTSaJlZ7wUBFbKtJeS5h5JqQNpjA2Rw39s5MT4pjlBDuODDPbdqS6JRs2Xz9wJ68a0ef3o3ywIDAQAB";
const NODE: &str = r#"{"code":"10000","msg":"Success","out_trade_no":"T20260101000001","trade_no":"2026010122001400000000000001"}"#;
const NODE_SIGN: &str = "E5kRaU3zWPdxgweTc/yRh5vkP1WtUGhgd0lC3wGmRFeDsM5WbL8BuvryhGzbIeo8tUmSV1XTInnTS4uNK/Wu8wdPYhn4kGrlFlZg0uCN4J35IqSi+t0y6tSwMd7kHtU4UvMOW4mnnUQQYilV7WukfbysepVruLhhom+EzuWVdGEjLXxhCyrHrSyTjTytQ9h5rrWs6trFRNvDycpKgAWZ9jVcRU9Cwk5EDsm6XY7ce+ztbvy0n3ev1MTouz/hQSOIacdEkvMqu80bEvABoA+vcs0T11Ff2s3K/9l3zZIHUnNVjz67HTxmBKTSBJZGytlS2uyw6EkkgaW8sQ+LYCHhlg==";
const NOTICE: &str = "app_id=2021000000000001&charset=utf-8&gmt_create=2026-01-01+08%3A00%3A05&gmt_payment=2026-01-01+08%3A00%3A09&notify_id=20260101000000000000000000000001&notify_time=2026-01-01+08%3A00%3A10&notify_type=trade_status_sync&out_trade_no=T20260101000001&seller_id=2088000000000002&sign_type=RSA2&subject=%E5%AE%BF%E8%88%8D+%E7%94%B5%E8%B4%B9&total_amount=0.01&trade_no=2026010122001400000000000001&trade_status=TRADE_SUCCESS&version=1.0&sign=G6cxv91R3Lw9Rwm8K2HUs%2FxNbC0NzxjPF9uptP3b9o7lt9ZW5Ivg6o2udLgl80%2BklSrhbe91ym58BxTtNJi4Kr4Fro6D61UxjsjZXa1ILIB0Nd%2BoTBDERGThv%2FKvJY2%2BFDsWVWfQNfX3PPUi3bxKexKaXD0LZXJzgFz08FqtvxuV5Q92r7d7diI07xtuKZhLRwJ4qCw%2BMew8lcQqJw%2BKcgbBeDP4EpcI0653Nud2Ugy326hbMy0Jr48QlqmyscYyaQVXQh9inaqdn7%2Bf%2FSLcxjqNnpm2Ys1T6%2BggdZMaliJCYR%2BseQU8fqDczaLRsjZNLx%2BO30H3sawpLQJ4GptqxA%3D%3D";

/// The channel of the vectors: Alipay's key is theirs, the app's key a fresh one.
fn channel(app_id: &str) -> Alipay {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let dir = tempfile::tempdir().unwrap();
    let (private, public) = (dir.path().join("app.pem"), dir.path().join("alipay.pem"));
    std::fs::write(&private, keys::generate_rsa_pem(2048).unwrap()).unwrap();
    std::fs::set_permissions(&private, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    std::fs::write(&public, format!("-----BEGIN PUBLIC KEY-----\n{SPKI}\n-----END PUBLIC KEY-----\n"))
        .unwrap();
    let options = json!({ "base_url": "http://127.0.0.1:1/gateway.do", "app_id": app_id,
        "seller_id": "2088000000000002", "merchant_key": private, "public_key": public,
        "notify_url": "https://pay.example.com/notify/alipay" });
    let clock: crate::Clock = Arc::new(|| Timestamp::from_secs(1_767_225_600));
    let options = serde_json::from_value(options).unwrap();
    Alipay::build(ChannelId::new("alipay").unwrap(), options, clock).unwrap()
}

fn notice(body: &str) -> NotificationCall {
    NotificationCall {
        method: "POST".to_owned(),
        target: "/notify/alipay".to_owned(),
        headers: Vec::new(),
        body: body.to_owned().into(),
        remote: None,
    }
}

#[test]
fn the_pages_request_makes_the_pages_string() {
    let params: Params = [
        ("app_id", "2021000000000001"), ("method", "alipay.trade.create"), ("format", "JSON"), ("charset", "utf-8"),
        ("sign_type", "RSA2"), ("timestamp", "2026-01-01 08:00:00"), ("version", "1.0"), ("return_url", ""),
        ("notify_url", "https://pay.example.com/n/alipay?c=1&d=+2"), ("sign", "not part of it"),
        ("biz_content", "{\"out_trade_no\":\"T20260101000001\",\"total_amount\":\"0.01\",\"subject\":\"宿舍 电费\",\"product_code\":\"JSAPI_PAY\",\"buyer_id\":\"2088000000000001\"}"),
    ].into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    let text = string_to_sign(&params, &["sign"]);
    assert_eq!(
        keys::sha256_hex(text.as_bytes()),
        "e292ff9fe2ee1f765cabebf0cdbdb37f24179c9741fd0b94d2e7d257548f1fb4"
    );
}

#[tokio::test]
async fn an_answer_is_good_as_it_came_and_no_other_way() {
    let channel = channel("2021000000000001");
    let read = |body: &str| channel.client.read("alipay.trade.create", body.as_bytes());
    let node = "alipay_trade_create_response";
    let good = format!(r#"{{"{node}":{NODE},"sign":"{NODE_SIGN}"}}"#);
    assert_eq!(read(&good).unwrap().text("trade_no"), Some("2026010122001400000000000001"));
    for (why, bad) in [
        ("a blank inside the node", good.replace("\"code\":", "\"code\": ")),
        ("another number", good.replace("000001\",\"trade", "000002\",\"trade")),
        ("no signature", format!(r#"{{"{node}":{NODE}}}"#)),
        ("an empty signature", format!(r#"{{"{node}":{NODE},"sign":""}}"#)),
        ("another method's node", good.replace(node, "alipay_trade_query_response")),
        ("two nodes", format!(r#"{{"{node}":{NODE},"x_response":{{}},"sign":"{NODE_SIGN}"}}"#)),
        ("no node", format!(r#"{{"sign":"{NODE_SIGN}"}}"#)),
        ("no JSON", "<html>busy</html>".to_owned()),
    ] {
        assert!(read(&bad).is_err(), "{why}");
    }
}

#[tokio::test]
async fn a_notification_is_a_capture_only_if_every_byte_is_alipays() {
    let now = Timestamp::from_secs(1_767_225_700);
    let ours = channel("2021000000000001");
    let parsed = ours.parse(&notice(NOTICE), now).unwrap();
    let NotificationKind::Payment { number, found: Found::Captured(capture) } = parsed.kind else { panic!() };
    assert_eq!((number.as_str(), capture.amount), ("T20260101000001", Money::from_fen(1).unwrap()));
    assert_eq!(capture.at, Timestamp::from_secs(1_767_225_609));
    let refused = |channel: &Alipay, body: &str| channel.parse(&notice(body), now).unwrap_err().reason;
    assert_eq!(
        refused(&ours, &NOTICE.replace("total_amount=0.01", "total_amount=0.02")),
        RefusedBecause::BadSignature
    );
    assert_eq!(refused(&ours, &NOTICE.replace("&sign=", "&sign=x")), RefusedBecause::BadSignature);
    assert_eq!(refused(&ours, &NOTICE.replace("sign_type=RSA2", "sign_type=RSA")), RefusedBecause::Malformed);
    assert_eq!(refused(&ours, ""), RefusedBecause::Malformed);
    assert_eq!(refused(&channel("2021000000000007"), NOTICE), RefusedBecause::WrongMerchant);
}

#[test]
fn what_is_new_or_says_nothing_is_unknown_and_never_final() {
    for (code, sub_code) in [
        ("20000", "isp.unknow-error"),
        ("40004", "ACQ.SYSTEM_ERROR"),
        ("40004", "ACQ.NEW_CODE"),
        ("99999", ""),
    ] {
        assert_eq!(meaning(code, sub_code), Meaning::Unknown, "{code} {sub_code}");
    }
    assert_eq!(meaning("40004", "ACQ.TRADE_NOT_EXIST"), Meaning::NotThere);
}

proptest! {
    #[test]
    fn whatever_bytes_arrive_there_is_an_answer_and_no_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        thread_local!(static CHANNEL: Alipay = channel("2021000000000001"));
        CHANNEL.with(|channel| {
            assert!(channel.client.read("alipay.trade.query", &bytes).is_err());
            let call = NotificationCall { body: bytes.into(), ..notice("") };
            assert!(channel.parse(&call, Timestamp::from_secs(0)).is_err());
        });
    }
}
