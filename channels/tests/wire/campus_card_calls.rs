//! Calls from the card gateway: the worked one, each reason to refuse, replays, and any bytes at all.

use channels::{Channel as _, NotificationCall, NotificationKind, RefusedBecause, Verdict};
use domain::Timestamp;
use proptest::prelude::*;
use serde_json::json;

use crate::{
    Brief as _,
    card_fake::{call, channel},
    number, refund_no,
};

const AT: i64 = 1_767_225_610;

fn now() -> Timestamp {
    Timestamp::from_secs(AT)
}

fn event(kind: &str, state: &str) -> String {
    json!({ "event_id": "e-1", "event_type": kind, "occurred_at": "2026-01-01T08:00:00+08:00",
        "payment": { "order_no": number().as_str(), "vendor_no": "V1", "amount": 1250, "state": state,
            "fail_code": "CARD_LOST", "finished_at": "2026-01-01T08:00:01+08:00" },
        "refund": { "refund_no": refund_no().as_str(), "vendor_no": "V2", "amount": 250, "state": state,
            "fail_code": "CARD_CLOSED", "finished_at": "2026-01-01T08:01:00+08:00" } })
    .to_string()
}

fn hear(kind: &str, state: &str) -> String {
    let call = call(&event(kind, state), "c-0000000000000001", AT);
    let heard = channel("http://127.0.0.1:1").parse_notification(&call, now()).unwrap();
    assert_eq!(heard.event_id, "e-1");
    match heard.kind {
        NotificationKind::Payment { number: heard, found } => {
            assert_eq!(heard, number());
            found.brief()
        }
        NotificationKind::Refund { refund_no: heard, found } => {
            assert_eq!(heard, refund_no());
            found.brief()
        }
        NotificationKind::Other { event_type } => format!("other {event_type}"),
    }
}

#[test]
fn the_worked_call_is_a_payment() {
    // Vector C4: target /n/card.
    let payment = r#"{"order_no":"P20260101000001","vendor_no":"V0000000001","account_type":"STUDENT_NO","account_no":"2024000001","amount":1250,"currency":"CNY","state":"SUCCEEDED","fail_code":"","subject":"宿舍电费","attach":"","created_at":"2026-01-01T08:00:00+08:00","finished_at":"2026-01-01T08:00:00+08:00","refunded_amount":0,"balance_after":998750}"#;
    let body = format!(
        r#"{{"event_id":"e-1","event_type":"payment.succeeded","occurred_at":"2026-01-01T08:00:00+08:00","payment":{payment}}}"#
    );
    let mut call = call(&body, "c-0000000000000001", AT);
    call.target = "/n/card".to_owned();
    call.headers[4].1 = "1b6aa61e493d2edf5ce80936866ebe9e01ea47f026a80c21a28f86d75adc4526".to_owned();
    let heard = channel("http://127.0.0.1:1").parse_notification(&call, now()).unwrap();
    let NotificationKind::Payment { number, found } = heard.kind else { panic!("{heard:?}") };
    assert_eq!((number.as_str(), heard.event_id.as_str()), ("P20260101000001", "e-1"));
    assert_eq!(found.brief(), "captured 1250 V0000000001 2026-01-01T00:00:00.000Z");
}

#[test]
fn events_are_read_by_the_state_they_carry() {
    assert_eq!(hear("payment.succeeded", "SUCCEEDED"), "captured 1250 V1 2026-01-01T00:00:01.000Z");
    assert_eq!(hear("payment.failed", "FAILED"), "declined CARD_LOST Payer");
    assert_eq!(hear("payment.closed", "CLOSED"), "closed");
    assert_eq!(hear("payment.reversed", "REVERSED"), "closed");
    assert_eq!(hear("payment.moved", "NEW_STATE"), "other payment.moved");
    assert_eq!(hear("refund.succeeded", "SUCCEEDED"), "refunded 250 V2 2026-01-01T00:01:00.000Z");
    assert_eq!(hear("refund.failed", "FAILED"), "failed CARD_CLOSED");
    assert_eq!(hear("card.lost", "X"), "other card.lost");
}

#[test]
fn each_broken_call_is_refused_for_its_own_reason_and_leaves_its_nonce_unused() {
    use RefusedBecause as B;
    let channel = channel("http://127.0.0.1:1");
    let good = || call(&event("payment.succeeded", "SUCCEEDED"), "c-0000000000000001", AT);
    let with = |header: usize, value: &str| {
        let mut call = good();
        call.headers[header].1 = value.to_owned();
        call
    };
    let mut elsewhere = good();
    elsewhere.target.push_str("?x=1");
    let table = [
        (NotificationCall { headers: vec![], ..good() }, B::Malformed),
        (with(0, "M1002"), B::BadSignature),
        (with(1, "k2"), B::BadSignature),
        (with(2, "soon"), B::Malformed),
        (with(2, "1767225611"), B::BadSignature),
        (with(3, "short"), B::Malformed),
        (with(3, "c-0000000000000002"), B::BadSignature),
        (with(4, "00"), B::BadSignature),
        (with(4, "zz"), B::BadSignature),
        (elsewhere, B::BadSignature),
        (call("{}", "c-0000000000000003", AT), B::Malformed),
        (call(&event("payment.succeeded", "X"), "c-0000000000000001", AT - 300), B::StaleTimestamp),
        (call(&event("payment.succeeded", "X"), "c-0000000000000001", AT + 300), B::StaleTimestamp),
        (call(r#"{"event_id":"e","event_type":"payment.x"}"#, "c-0000000000000004", AT), B::Malformed),
        (call(r#"{"event_id":"e","event_id":"f","event_type":"x"}"#, "c-0000000000000005", AT), B::Malformed),
    ];
    for (call, reason) in table {
        let refused = channel.parse_notification(&call, now()).unwrap_err();
        assert_eq!(refused.reason, reason, "{}", refused.detail);
    }
    assert!(channel.parse_notification(&good(), now()).is_ok(), "bad calls did not use up the nonce");
    assert_eq!(channel.parse_notification(&good(), now()).unwrap_err().reason, B::Replayed);
}

#[test]
fn the_gateway_is_answered_by_status() {
    let channel = channel("http://127.0.0.1:1");
    assert_eq!(channel.notification_answer(&Verdict::Taken).status, 204);
    assert_eq!(channel.notification_answer(&Verdict::Refused("replayed".to_owned())).status, 400);
    assert_eq!(channel.notification_answer(&Verdict::NotNow).status, 503);
}

proptest! {
    #[test]
    fn any_signed_bytes_are_read_or_refused_without_a_panic(body in ".{0,200}", state in ".{0,12}", kind in "(payment|refund)\\.[a-z]{0,9}") {
        let channel = channel("http://127.0.0.1:1");
        prop_assert!(channel.parse_notification(&call(&body, "c-0000000000000001", AT), now()).is_err());
        let _ = channel.parse_notification(&call(&event(&kind, &state), "c-0000000000000002", AT), now());
    }
}
