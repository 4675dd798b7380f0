//! What the card gateway is asked, byte for byte, and what its answers are taken to mean.

use channels::{BillError, Channel as _};
use domain::Scene;
use jiff::civil::date;
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::{
    card_fake::{Fake, Sign, answer, channel},
    number, prepay_ask, refund_ask, refund_no,
    server::{Reply, refusing},
    short, trade_key,
};

fn payment(code: &str, state: &str) -> String {
    let fail_code = if state == "FAILED" { "DAILY_LIMIT" } else { "" };
    json!({ "code": code, "message": "words", "request_id": "r-1", "payment": { "order_no": number().as_str(),
        "vendor_no": "V1", "account_type": "STUDENT_NO", "account_no": "2024000001", "amount": 1250,
        "currency": "CNY", "state": state, "fail_code": fail_code, "subject": "", "attach": "",
        "created_at": "2026-01-01T08:00:00+08:00", "finished_at": "2026-01-01T08:00:01+08:00",
        "refunded_amount": 0, "balance_after": null } })
    .to_string()
}

fn bare(code: &str) -> String {
    json!({ "code": code, "message": "words", "request_id": "r-1" }).to_string()
}

fn refund(state: &str) -> String {
    json!({ "code": "OK", "message": "", "request_id": "r-1", "refund": { "refund_no": refund_no().as_str(),
        "order_no": number().as_str(), "vendor_no": "V2", "amount": 250, "state": state, "fail_code": "CARD_CLOSED",
        "created_at": "2026-01-01T08:00:00+08:00", "finished_at": "2026-01-01T08:01:00+08:00",
        "order_refunded_amount": 250 } })
    .to_string()
}

const CAPTURED: &str = "settled captured 1250 V1 2026-01-01T00:00:01.000Z";

#[tokio::test]
async fn requests_are_the_golden_ones() {
    let fake = Fake::saying(200, "{}", Sign::Good).await;
    let (channel, server) = (&fake.channel, &fake.server);
    channel.prepay(&prepay_ask(Scene::Native)).await;
    insta::assert_snapshot!(server.last().golden(), @r#"
    POST /ccp/v1/payments
    {"order_no":"01j0000000e00800000000000101","account_type":"STUDENT_NO","account_no":"2024000001","amount":1250,"currency":"CNY","subject":"牛肉面","notify_url":"https://pay.example.com/notify/campus_card"}
    "#);
    channel.query(&trade_key()).await;
    insta::assert_snapshot!(server.last().golden(), @"GET /ccp/v1/payments/01j0000000e00800000000000101");
    channel.close(&trade_key()).await;
    insta::assert_snapshot!(server.last().golden(), @r#"
    POST /ccp/v1/payments/01j0000000e00800000000000101/close
    {"if_paid":"KEEP","reason":"order ended"}
    "#);
    channel.refund(&refund_ask()).await;
    insta::assert_snapshot!(server.last().golden(), @r#"
    POST /ccp/v1/refunds
    {"refund_no":"01j0000000e008000000000001r01","order_no":"01j0000000e00800000000000101","amount":250,"reason":"paid twice","notify_url":"https://pay.example.com/notify/campus_card"}
    "#);
    channel.refund_query(&refund_ask()).await;
    insta::assert_snapshot!(server.last().golden(), @"GET /ccp/v1/refunds/01j0000000e008000000000001r01");
    let nonces: std::collections::HashSet<String> =
        server.requests.lock().unwrap().iter().map(|r| r.header("x-card-nonce").to_owned()).collect();
    assert_eq!(nonces.len(), 5, "a new nonce for every call");
}

#[tokio::test]
async fn every_debit_and_query_answer_has_its_place() {
    let declined = "settled declined DAILY_LIMIT Payer";
    let table: &[(u16, String, &str, &str)] = &[
        (200, payment("OK", "SUCCEEDED"), CAPTURED, CAPTURED),
        (200, payment("OK", "PROCESSING"), "accepted None", "accepted Pending"),
        (200, payment("OK", "NEW_STATE"), "accepted None", "accepted Pending"),
        (200, payment("OK", "FAILED"), declined, declined),
        (200, payment("DAILY_LIMIT", "FAILED"), declined, declined),
        (200, bare("DAILY_LIMIT"), declined, declined),
        (200, payment("DAILY_LIMIT", "SUCCEEDED"), CAPTURED, CAPTURED),
        (200, payment("OK", "CLOSED"), "settled closed", "settled closed"),
        (200, payment("ORDER_CLOSED", "REVERSED"), "settled closed", "settled closed"),
        (200, bare("ORDER_CLOSED"), "settled closed", "settled closed"),
        (200, payment("UNKNOWN_RESULT", "PROCESSING"), "accepted None", "accepted Pending"),
        (200, bare("NEW_CODE"), "accepted None", "accepted Pending"),
        (200, bare("DUPLICATE_ORDER"), "declined DUPLICATE_ORDER State", "declined DUPLICATE_ORDER State"),
        (200, bare("ORDER_NOT_FOUND"), "silent", "accepted NotFound"),
        (503, bare("SYSTEM_BUSY"), "never sent", "never sent"),
        (503, bare("SERVICE_CLOSED"), "never sent", "never sent"),
        (401, bare("STALE_TIMESTAMP"), "declined STALE_TIMESTAMP Ours", "declined STALE_TIMESTAMP Ours"),
        (401, bare("REPLAYED"), "silent", "silent"),
        (400, bare("BAD_REQUEST"), "declined BAD_REQUEST Ours", "declined BAD_REQUEST Ours"),
        (200, bare("OK"), "silent", "silent"),
        (200, payment("OK", "SUCCEEDED").replace("00101", "00102"), "silent", "silent"),
        (200, payment("OK", "SUCCEEDED").replace("\"V1\"", "\"\""), "silent", "silent"),
        (200, payment("OK", "SUCCEEDED").replace("1250", "-1250"), "silent", "silent"),
        (200, "[]".to_owned(), "silent", "silent"),
        (500, "<html>".to_owned(), "silent", "silent"),
    ];
    for (status, body, paid, queried) in table {
        let fake = Fake::saying(*status, body, Sign::Good).await;
        assert_eq!(short(&fake.channel.prepay(&prepay_ask(Scene::H5)).await), *paid, "{status} {body}");
        assert_eq!(short(&fake.channel.query(&trade_key()).await), *queried, "{status} {body}");
    }
}

#[tokio::test]
async fn every_close_answer_has_its_place() {
    let table: &[(String, &str)] = &[
        (payment("OK", "CLOSED"), "settled closed"),
        (payment("ALREADY_PAID", "SUCCEEDED"), CAPTURED),
        (payment("OK", "FAILED"), "settled declined DAILY_LIMIT Payer"),
        (payment("UNKNOWN_RESULT", "PROCESSING"), "accepted Pending"),
        (bare("ALREADY_PAID"), "silent"),
    ];
    for (body, expected) in table {
        let fake = Fake::saying(200, body, Sign::Good).await;
        assert_eq!(short(&fake.channel.close(&trade_key()).await), *expected, "{body}");
    }
}

#[tokio::test]
async fn every_refund_answer_has_its_place_when_asked_for_and_when_asked_about() {
    let refunded = "settled refunded 250 V2 2026-01-01T00:01:00.000Z";
    let table: &[(u16, String, &str, &str)] = &[
        (200, refund("SUCCEEDED"), refunded, refunded),
        (200, refund("PROCESSING"), "accepted Processing", "accepted Processing"),
        (200, refund("FAILED"), "settled failed CARD_CLOSED", "settled failed CARD_CLOSED"),
        (200, bare("CARD_CLOSED"), "settled failed CARD_CLOSED", "settled failed CARD_CLOSED"),
        (200, bare("ORDER_NOT_FOUND"), "declined ORDER_NOT_FOUND State", "accepted NotFound"),
        (200, bare("ORDER_NOT_PAID"), "declined ORDER_NOT_PAID State", "declined ORDER_NOT_PAID State"),
        (200, bare("REFUND_EXCEEDS"), "declined REFUND_EXCEEDS Ours", "declined REFUND_EXCEEDS Ours"),
        (
            200,
            bare("MERCHANT_BALANCE"),
            "declined MERCHANT_BALANCE Channel",
            "declined MERCHANT_BALANCE Channel",
        ),
        (200, bare("UNKNOWN_RESULT"), "accepted Processing", "accepted Processing"),
        (200, bare("NEW_CODE"), "accepted Processing", "accepted Processing"),
        (200, refund("SUCCEEDED").replace("r01", "r02"), "silent", "silent"),
        (503, bare("SYSTEM_BUSY"), "never sent", "never sent"),
    ];
    for (status, body, asked, queried) in table {
        let fake = Fake::saying(*status, body, Sign::Good).await;
        assert_eq!(short(&fake.channel.refund(&refund_ask()).await), *asked, "{status} {body}");
        assert_eq!(short(&fake.channel.refund_query(&refund_ask()).await), *queried, "{status} {body}");
    }
}

#[tokio::test]
async fn an_answer_that_is_not_signed_for_this_very_request_is_silence() {
    use Sign::{Missing, OtherKey, OtherNonce, OtherStatus, Stale, Wrong};
    for sign in [Missing, Wrong, OtherNonce, OtherKey, Stale, OtherStatus] {
        let paid = Fake::saying(200, &payment("OK", "SUCCEEDED"), sign).await;
        assert_eq!(short(&paid.channel.prepay(&prepay_ask(Scene::H5)).await), "silent", "{sign:?}");
        let busy = Fake::saying(503, &bare("SYSTEM_BUSY"), sign).await;
        assert_eq!(short(&busy.channel.prepay(&prepay_ask(Scene::H5)).await), "silent", "{sign:?}");
    }
    let unsigned = Fake::saying(401, &bare("BAD_SIGNATURE"), Missing).await;
    assert_eq!(short(&unsigned.channel.refund(&refund_ask()).await), "silent");
}

#[tokio::test]
async fn a_debit_that_never_left_is_told_apart_from_one_that_got_no_answer() {
    let hang_up = Fake::start(|_| Reply::HangUp).await;
    assert_eq!(short(&hang_up.channel.prepay(&prepay_ask(Scene::H5)).await), "silent");
    assert_eq!(hang_up.server.requests.lock().unwrap().len(), 1, "a debit is never repeated inside");
    let cut_off = Fake::start(|_| Reply::CutOff).await;
    assert_eq!(short(&cut_off.channel.prepay(&prepay_ask(Scene::H5)).await), "silent");
    let (_socket, base) = refusing();
    assert_eq!(short(&channel(&base).prepay(&prepay_ask(Scene::H5)).await), "never sent");
    let mut nameless = prepay_ask(Scene::H5);
    nameless.payer_id = "学号".to_owned();
    assert_eq!(short(&hang_up.channel.prepay(&nameless).await), "declined INCOMPLETE_ASK Ours");
}

#[tokio::test]
async fn a_statement_is_signed_whole_or_not_at_all() {
    async fn bill(content_type: &'static str, body: &'static str, sign: Sign) -> Result<Vec<u8>, BillError> {
        let fake = Fake::start(move |request| {
            assert_eq!(request.target, "/ccp/v1/statements/2026-01-01");
            answer(request, 200, content_type, body.as_bytes(), sign)
        })
        .await;
        fake.channel.bill(date(2026, 1, 1)).await.map(|bytes| bytes.to_vec())
    }
    const CSV: &str = "text/csv; charset=utf-8";
    let whole = "#CARD-STATEMENT,1,M1001,2026-01-01,CNY\nrow_type\n#TRAILER,0,0,0,0,0,0,0,0,0\n";
    assert_eq!(bill(CSV, whole, Sign::Good).await.unwrap(), whole.as_bytes());
    assert!(matches!(bill(CSV, "#CARD-STATEMENT\nrow", Sign::Good).await, Err(BillError::Damaged(_))));
    assert!(matches!(bill(CSV, "", Sign::Good).await, Err(BillError::Damaged(_))));
    assert!(matches!(bill(CSV, whole, Sign::Wrong).await, Err(BillError::Silent(_))));
    let not_ready = r#"{"code":"STATEMENT_NOT_READY","message":"","request_id":"r"}"#;
    assert!(matches!(bill("application/json", not_ready, Sign::Good).await, Err(BillError::NotReady)));
}

fn any_json() -> impl Strategy<Value = String> {
    let text = prop_oneof![
        ".{0,20}",
        Just("OK".to_owned()),
        Just("SUCCEEDED".to_owned()),
        Just("FAILED".to_owned()),
        Just(number().as_str().to_owned()),
    ];
    (proptest::collection::vec(text, 6), any::<i64>(), any::<bool>()).prop_map(|(texts, amount, whole)| {
        let object: Value = json!({ "order_no": texts[1], "refund_no": texts[1], "vendor_no": texts[2],
            "amount": amount, "state": texts[3], "fail_code": texts[4], "finished_at": texts[5] });
        if whole {
            json!({ "code": texts[0], "payment": object, "refund": object }).to_string()
        } else {
            texts[0].clone()
        }
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_signed_answer_is_read_without_a_panic_and_money_is_never_negative(body in any_json(), status in 200u16..600) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            // These two carry no body on the wire.
            let status = if [204, 304].contains(&status) { 200 } else { status };
            let fake = Fake::saying(status, &body, Sign::Good).await;
            let query = short(&fake.channel.query(&trade_key()).await);
            prop_assert!(!query.contains("captured -"), "{}", query);
            let refund = short(&fake.channel.refund(&refund_ask()).await);
            prop_assert!(!refund.contains("refunded -"), "{}", refund);
            Ok(())
        })?;
    }
}
