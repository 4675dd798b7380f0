//! What WeChat is asked, byte for byte, and what its answers are taken to mean.

use channels::Channel as _;
use domain::{Answer, Credential, Scene};
use keys::Verifier as _;
use proptest::prelude::*;
use serde_json::json;

use crate::{
    number, prepay_ask, refund_ask, refund_no,
    server::{Reply, refusing},
    short, trade_key,
    wechat_fake::{Fake, Sign, answer, keys, options},
};

const PAID: &str = r#"{"mchid":"1900000001","appid":"wx0000000000000001","out_trade_no":"01j0000000e00800000000000101","transaction_id":"42","trade_state":"SUCCESS","trade_state_desc":"ok","success_time":"2026-01-01T08:00:09+08:00","amount":{"total":1250,"payer_total":1000}}"#;

fn trade(state: &str) -> String {
    PAID.replace("SUCCESS", state)
}

fn error(code: &str) -> String {
    json!({ "code": code, "message": "words" }).to_string()
}

fn refund(status: &str) -> String {
    json!({ "refund_id": "R42", "out_refund_no": refund_no().as_str(), "out_trade_no": number().as_str(),
        "status": status, "success_time": "2026-01-01T08:01:00+08:00", "amount": { "refund": 250, "total": 1250 } })
    .to_string()
}

#[tokio::test]
async fn requests_are_the_golden_ones() {
    let fake = Fake::start(|request| match request.target.as_str() {
        "/v3/pay/transactions/h5" => answer(200, r#"{"h5_url":"https://wx.tenpay.com/x"}"#, Sign::Good),
        "/v3/pay/transactions/native" => answer(200, r#"{"code_url":"weixin://x"}"#, Sign::Good),
        "/v3/pay/transactions/jsapi" => answer(200, r#"{"prepay_id":"wx01"}"#, Sign::Good),
        _ => answer(204, "", Sign::Good),
    })
    .await;
    let (channel, server) = (&fake.channel, &fake.server);
    assert_eq!(number().as_str(), "01j0000000e00800000000000101");

    channel.prepay(&prepay_ask(Scene::Native)).await;
    insta::assert_snapshot!(server.last().golden(), @r#"
    POST /v3/pay/transactions/native
    {"appid":"wx0000000000000001","mchid":"1900000001","description":"牛肉面","out_trade_no":"01j0000000e00800000000000101","time_expire":"2026-01-01T08:15:00+08:00","notify_url":"https://pay.example.com/notify/wechat","amount":{"total":1250,"currency":"CNY"}}
    "#);
    channel.prepay(&prepay_ask(Scene::Jsapi)).await;
    insta::assert_snapshot!(server.last().golden(), @r#"
    POST /v3/pay/transactions/jsapi
    {"appid":"wx0000000000000001","mchid":"1900000001","description":"牛肉面","out_trade_no":"01j0000000e00800000000000101","time_expire":"2026-01-01T08:15:00+08:00","notify_url":"https://pay.example.com/notify/wechat","amount":{"total":1250,"currency":"CNY"},"payer":{"openid":"oSANDBOX0000000000000000001"}}
    "#);
    channel.prepay(&prepay_ask(Scene::H5)).await;
    insta::assert_snapshot!(server.last().golden(), @r#"
    POST /v3/pay/transactions/h5
    {"appid":"wx0000000000000001","mchid":"1900000001","description":"牛肉面","out_trade_no":"01j0000000e00800000000000101","time_expire":"2026-01-01T08:15:00+08:00","notify_url":"https://pay.example.com/notify/wechat","amount":{"total":1250,"currency":"CNY"},"scene_info":{"payer_client_ip":"10.0.0.7","h5_info":{"type":"Wap"}}}
    "#);
    channel.query(&trade_key()).await;
    insta::assert_snapshot!(server.last().golden(), @"GET /v3/pay/transactions/out-trade-no/01j0000000e00800000000000101?mchid=1900000001");
    channel.probe().await;
    insta::assert_snapshot!(server.last().golden(), @"GET /v3/pay/transactions/out-trade-no/rushpay-probe-0000?mchid=1900000001");
    channel.close(&trade_key()).await;
    insta::assert_snapshot!(server.last().golden(), @r#"
    POST /v3/pay/transactions/out-trade-no/01j0000000e00800000000000101/close
    {"mchid":"1900000001"}
    "#);
    channel.refund(&refund_ask()).await;
    insta::assert_snapshot!(server.last().golden(), @r#"
    POST /v3/refund/domestic/refunds
    {"out_trade_no":"01j0000000e00800000000000101","out_refund_no":"01j0000000e008000000000001r01","reason":"paid twice","notify_url":"https://pay.example.com/notify/wechat","amount":{"refund":250,"total":1250,"currency":"CNY"}}
    "#);
    channel.refund_query(&refund_ask()).await;
    insta::assert_snapshot!(server.last().golden(), @"GET /v3/refund/domestic/refunds/01j0000000e008000000000001r01");
    assert!(
        server
            .requests
            .lock()
            .unwrap()
            .iter()
            .all(|r| r.header("wechatpay-serial").starts_with("PUB_KEY_ID_"))
    );
}

#[tokio::test]
async fn a_prepay_answer_becomes_a_credential_and_the_mini_program_gets_signed_parameters() {
    let native = Fake::saying(200, r#"{"code_url":"weixin://x","new_member":1}"#, Sign::Good).await;
    let code = Credential::Qr { code_url: "weixin://x".into() };
    assert_eq!(native.channel.prepay(&prepay_ask(Scene::Native)).await, Answer::Accepted(Some(code)));

    let h5 = Fake::saying(200, r#"{"h5_url":"https://wx.tenpay.com/x"}"#, Sign::Good).await;
    let url = Credential::H5 { h5_url: "https://wx.tenpay.com/x".into() };
    assert_eq!(h5.channel.prepay(&prepay_ask(Scene::H5)).await, Answer::Accepted(Some(url)));

    let jsapi = Fake::saying(200, r#"{"prepay_id":"wx01"}"#, Sign::Good).await;
    let Answer::Accepted(Some(Credential::Jsapi { params })) =
        jsapi.channel.prepay(&prepay_ask(Scene::Jsapi)).await
    else {
        panic!("no parameters");
    };
    assert_eq!((params["package"].as_str(), params["signType"].as_str()), ("prepay_id=wx01", "RSA"));
    let message =
        format!("wx0000000000000001\n{}\n{}\nprepay_id=wx01\n", params["timeStamp"], params["nonceStr"]);
    let verifier = keys::RsaSigner::from_pkcs8_pem(&keys().merchant).unwrap().verifier().unwrap();
    let signature =
        base64::Engine::decode(&base64::engine::general_purpose::STANDARD, &params["paySign"]).unwrap();
    assert!(verifier.verify(message.as_bytes(), &signature).is_ok());
}

#[tokio::test]
async fn an_ask_that_lacks_what_its_scene_needs_never_leaves() {
    let fake = Fake::saying(200, "{}", Sign::Good).await;
    let (mut jsapi, mut h5) = (prepay_ask(Scene::Jsapi), prepay_ask(Scene::H5));
    (jsapi.openid, h5.client_ip) = (None, None);
    assert_eq!(short(&fake.channel.prepay(&jsapi).await), "declined INCOMPLETE_ASK Ours");
    assert_eq!(short(&fake.channel.prepay(&h5).await), "declined INCOMPLETE_ASK Ours");
    assert!(fake.server.requests.lock().unwrap().is_empty());
}

#[tokio::test]
async fn every_prepay_answer_has_its_place() {
    let table: &[(u16, String, &str)] = &[
        (200, "{}".into(), "silent"),
        (200, "not json".into(), "silent"),
        (202, r#"{"code":"USERPAYING"}"#.into(), "accepted None"),
        (400, error("PARAM_ERROR"), "declined PARAM_ERROR Ours"),
        (401, error("SIGN_ERROR"), "declined SIGN_ERROR Ours"),
        (403, error("ORDERPAID"), "declined ORDERPAID State"),
        (400, error("ORDER_PAID"), "declined ORDER_PAID State"),
        (400, error("ORDERCLOSED"), "declined ORDERCLOSED State"),
        (403, error("OUT_TRADE_NO_USED"), "declined OUT_TRADE_NO_USED State"),
        (403, error("RULE_LIMIT"), "declined RULE_LIMIT Payer"),
        (429, error("FREQUENCY_LIMITED"), "declined FREQUENCY_LIMITED Channel"),
        (429, String::new(), "declined 429 Channel"),
        (500, error("OPENID_MISMATCH"), "declined OPENID_MISMATCH Ours"),
        (500, error("SYSTEM_ERROR"), "silent"),
        (400, error("NEW_WORD"), "silent"),
        (404, String::new(), "silent"),
        (502, "<html>".into(), "silent"),
        (302, String::new(), "silent"),
    ];
    for (status, body, expected) in table {
        let fake = Fake::saying(*status, body, Sign::Good).await;
        assert_eq!(
            short(&fake.channel.prepay(&prepay_ask(Scene::Native)).await),
            *expected,
            "{status} {body}"
        );
    }
}

#[tokio::test]
async fn every_query_answer_has_its_place() {
    let captured = "settled captured 1250 42 2026-01-01T00:00:09.000Z";
    let table: &[(u16, String, &str)] = &[
        (200, PAID.into(), captured),
        (200, trade("REFUND"), captured),
        (200, trade("NOTPAY"), "accepted Pending"),
        (200, trade("USERPAYING"), "accepted Pending"),
        (200, trade("SOMETHING_NEW"), "accepted Pending"),
        (200, trade("CLOSED"), "settled closed"),
        (200, trade("REVOKED"), "settled closed"),
        (200, trade("PAYERROR"), "settled declined PAYERROR Payer"),
        (200, PAID.replace("1900000001", "1900000002"), "silent"),
        (200, PAID.replace("00101\"", "00102\""), "silent"),
        (200, PAID.replace("\"total\":1250,", ""), "silent"),
        (200, PAID.replace("1250", "-1"), "silent"),
        (202, r#"{"code":"USERPAYING"}"#.into(), "accepted Pending"),
        (404, error("ORDER_NOT_EXIST"), "accepted NotFound"),
        (404, error("ORDERNOTEXIST"), "accepted NotFound"),
        (429, error("RATELIMIT_EXCEEDED"), "declined RATELIMIT_EXCEEDED Channel"),
        (401, error("SIGN_ERROR"), "declined SIGN_ERROR Ours"),
        (500, error("SYSTEMERROR"), "silent"),
        (404, String::new(), "silent"),
    ];
    for (status, body, expected) in table {
        let fake = Fake::saying(*status, body, Sign::Good).await;
        assert_eq!(short(&fake.channel.query(&trade_key()).await), *expected, "{status} {body}");
    }
}

#[tokio::test]
async fn every_close_answer_has_its_place() {
    let table: &[(u16, String, &str)] = &[
        (204, String::new(), "settled closed"),
        (202, r#"{"code":"USERPAYING"}"#.into(), "accepted Pending"),
        (400, error("ORDERPAID"), "declined ORDERPAID State"),
        (404, error("ORDER_NOT_EXIST"), "accepted NotFound"),
        (429, error("FREQUENCY_LIMITED"), "declined FREQUENCY_LIMITED Channel"),
        (500, error("SYSTEM_ERROR"), "silent"),
    ];
    for (status, body, expected) in table {
        let fake = Fake::saying(*status, body, Sign::Good).await;
        assert_eq!(short(&fake.channel.close(&trade_key()).await), *expected, "{status} {body}");
    }
}

#[tokio::test]
async fn every_refund_answer_has_its_place_when_asked_for_and_when_asked_about() {
    let refunded = "settled refunded 250 R42 2026-01-01T00:01:00.000Z";
    let table: &[(u16, String, &str, &str)] = &[
        (200, refund("SUCCESS"), refunded, refunded),
        (200, refund("PROCESSING"), "accepted Processing", "accepted Processing"),
        (200, refund("NEW"), "accepted Processing", "accepted Processing"),
        (200, refund("CLOSED"), "settled failed CLOSED", "settled failed CLOSED"),
        (200, refund("ABNORMAL"), "settled failed ABNORMAL", "settled failed ABNORMAL"),
        (200, refund("SUCCESS").replace("r01", "r02"), "silent", "silent"),
        (200, refund("SUCCESS").replace("\"refund\":250,", ""), "silent", "silent"),
        (403, error("NOT_ENOUGH"), "declined NOT_ENOUGH Channel", "declined NOT_ENOUGH Channel"),
        (
            403,
            error("USER_ACCOUNT_ABNORMAL"),
            "declined USER_ACCOUNT_ABNORMAL Payer",
            "declined USER_ACCOUNT_ABNORMAL Payer",
        ),
        (404, error("RESOURCE_NOT_EXISTS"), "declined RESOURCE_NOT_EXISTS State", "accepted NotFound"),
        (429, error("FREQUENCY_LIMITED"), "silent", "declined FREQUENCY_LIMITED Channel"),
        (500, error("SYSTEM_ERROR"), "silent", "silent"),
    ];
    for (status, body, asked, queried) in table {
        let fake = Fake::saying(*status, body, Sign::Good).await;
        assert_eq!(short(&fake.channel.refund(&refund_ask()).await), *asked, "{status} {body}");
        assert_eq!(short(&fake.channel.refund_query(&refund_ask()).await), *queried, "{status} {body}");
    }
}

#[tokio::test]
async fn a_good_status_without_a_good_signature_is_silence() {
    for sign in [Sign::Missing, Sign::Wrong, Sign::Probe, Sign::Stale, Sign::Serial("PUB_KEY_ID_2")] {
        let query = Fake::saying(200, PAID, sign).await;
        assert_eq!(short(&query.channel.query(&trade_key()).await), "silent", "{sign:?}");
        let close = Fake::saying(204, "", sign).await;
        assert_eq!(short(&close.channel.close(&trade_key()).await), "silent", "{sign:?}");
    }
}

#[tokio::test]
async fn what_never_left_is_told_apart_from_what_got_no_answer() {
    let hang_up = Fake::start(|_| Reply::HangUp).await;
    assert_eq!(short(&hang_up.channel.prepay(&prepay_ask(Scene::Native)).await), "silent");
    assert_eq!(hang_up.server.requests.lock().unwrap().len(), 1, "nothing is repeated inside");
    let cut_off = Fake::start(|_| Reply::CutOff).await;
    assert_eq!(short(&cut_off.channel.refund(&refund_ask()).await), "silent");

    let (_socket, base) = refusing();
    let dir = tempfile::tempdir().unwrap();
    let options = options(&dir, &base, json!({}));
    let channel =
        channels::wechat::WeChat::build("wechat".parse().unwrap(), &options, channels::system_clock())
            .unwrap();
    assert_eq!(short(&channel.query(&trade_key()).await), "never sent");
}

#[tokio::test]
async fn an_answer_without_end_is_silence() {
    let huge = format!("{{\"x\":\"{}\"}}", "y".repeat(2 << 20));
    let fake = Fake::saying(200, &huge, Sign::Good).await;
    assert_eq!(short(&fake.channel.query(&trade_key()).await), "silent");
}

fn any_answer() -> impl Strategy<Value = String> {
    let word = prop_oneof![
        ".{0,20}",
        Just("SUCCESS".to_owned()),
        Just("REFUND".to_owned()),
        Just(number().as_str().to_owned()),
        Just(refund_no().as_str().to_owned()),
    ];
    (proptest::collection::vec(word, 7), any::<i64>(), any::<bool>()).prop_map(|(words, amount, whole)| {
        let object = json!({ "mchid": "1900000001", "out_trade_no": words[0], "out_refund_no": words[1],
            "trade_state": words[2], "status": words[3], "transaction_id": words[4], "refund_id": words[4],
            "success_time": words[5], "prepay_id": words[6], "amount": { "total": amount, "refund": amount } });
        if whole { object.to_string() } else { words[0].clone() }
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn any_signed_answer_is_read_without_a_panic_and_money_is_never_negative(body in any_answer(), status in 200u16..600) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            // These two carry no body on the wire.
            let status = if [204, 304].contains(&status) { 200 } else { status };
            let fake = Fake::saying(status, &body, Sign::Good).await;
            let query = short(&fake.channel.query(&trade_key()).await);
            prop_assert!(!query.contains("captured -"), "{}", query);
            let refund = short(&fake.channel.refund(&refund_ask()).await);
            prop_assert!(!refund.contains("refunded -"), "{}", refund);
            if status >= 300 {
                prop_assert!(!query.starts_with("settled") && !refund.starts_with("settled"), "{} {}", query, refund);
            }
            Ok(())
        })?;
    }
}
