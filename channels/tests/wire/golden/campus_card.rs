//! The campus card, CARD1 (protocol sections B1 to B9).

use bytes::Bytes;
use channels::{Channel as _, NotificationCall, campus_card::CampusCard};
use domain::Scene;
use keys::{hmac_sha256, sha256_hex};
use serde_json::{Value, json};

use super::{Book, NOW, Served, clock, fetched, spoilt};
use crate::{number, prepay_ask, refund_ask, refund_no, server::Request, trade_key};

const SECRET: &str = "sandbox-secret-do-not-use-0123456789abcdef";

pub(super) struct Made {
    pub(super) channel: CampusCard,
}

pub(super) fn make(base: &str) -> Made {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let options = json!({ "base_url": format!("{base}/ccp"), "merchant_id": "M1001", "key_id": "k1", "secret": SECRET,
        "notify_url": "https://pay.example.com/notify/campus_card" });
    let options = serde_json::from_value(options).unwrap();
    Made { channel: CampusCard::build("campus_card".parse().unwrap(), &options, clock()).unwrap() }
}

fn code(lines: &[&str]) -> String {
    hex::encode(hmac_sha256(SECRET.as_bytes(), lines.join("\n").as_bytes()))
}

/// Checks what is masked in the sample, and signs the answer for the nonce of the request.
fn serve(request: &Request, status: u16, kind: &str, body: &str, good: bool) -> Served {
    let (time, nonce) = (NOW.to_string(), request.header("x-card-nonce"));
    let hash = sha256_hex(&request.body);
    let wanted =
        code(&["CARD1-REQUEST", "M1001", "k1", &time, nonce, &request.method, &request.target, &hash]);
    assert_eq!(request.header("x-card-signature"), wanted);
    let hash = sha256_hex(body.as_bytes());
    let signature = code(&["CARD1-RESPONSE", "M1001", "k1", &time, nonce, &status.to_string(), &hash]);
    let headers = vec![
        ("Content-Type", kind.to_owned()),
        ("X-Card-Merchant", "M1001".to_owned()),
        ("X-Card-Key", "k1".to_owned()),
        ("X-Card-Timestamp", time),
        ("X-Card-Nonce", nonce.to_owned()),
        ("X-Card-Signature", if good { signature } else { spoilt(&signature) }),
    ];
    Served::new(status, headers, body)
}

fn answering(
    status: u16,
    body: &Value,
) -> impl Fn(&Request, bool) -> Served + Send + Sync + Clone + 'static + use<> {
    let body = body.to_string();
    move |request, good| serve(request, status, "application/json", &body, good)
}

fn payment(state: &str) -> Value {
    let mut payment = json!({ "order_no": number().as_str(), "vendor_no": "V0000000001", "account_type": "STUDENT_NO",
        "account_no": "2024000001", "amount": 1250, "refunded_amount": 0, "currency": "CNY", "state": state,
        "created_at": "2026-01-01T08:00:00+08:00", "finished_at": "2026-01-01T08:00:01+08:00" });
    if state == "FAILED" {
        (payment["fail_code"], payment["vendor_no"]) = (json!("DAILY_LIMIT"), json!(""));
    }
    payment
}

fn refund(state: &str) -> Value {
    json!({ "refund_no": refund_no().as_str(), "order_no": number().as_str(), "vendor_no": "V0000000002",
        "amount": 250, "currency": "CNY", "state": state, "created_at": "2026-01-01T08:00:59+08:00",
        "finished_at": "2026-01-01T08:01:00+08:00" })
}

fn word(code: &str, name: &str, object: &Value) -> Value {
    json!({ "code": code, "message": "", "request_id": "r-0000000001", name: object })
}

pub(super) fn notification(event: &str, name: &str, object: &Value, good: bool) -> NotificationCall {
    let body =
        json!({ "event_id": "e-0000000001", "event_type": event, "occurred_at": "2026-01-01T08:00:02+08:00",
        name: object })
        .to_string();
    let (time, nonce, target) =
        (NOW.to_string(), format!("c-{event:0>20}").replace('.', "-"), "/notify/campus_card");
    let signature =
        code(&["CARD1-NOTIFY", "M1001", "k1", &time, &nonce, "POST", target, &sha256_hex(body.as_bytes())]);
    let headers = [
        ("Content-Type", "application/json"),
        ("X-Card-Merchant", "M1001"),
        ("X-Card-Key", "k1"),
        ("X-Card-Timestamp", &time),
        ("X-Card-Nonce", &nonce),
        ("X-Card-Signature", &if good { signature.clone() } else { spoilt(&signature) }),
    ]
    .map(|(n, v)| (n.to_owned(), v.to_owned()))
    .to_vec();
    NotificationCall {
        method: "POST".to_owned(),
        target: target.to_owned(),
        headers,
        body: Bytes::from(body),
        remote: None,
    }
}

pub(super) fn paid(good: bool) -> NotificationCall {
    notification("payment.succeeded", "payment", &payment("SUCCEEDED"), good)
}

const STATEMENT: &str = "#CARD-STATEMENT,1,M1001,2026-01-01,CNY
row_type,order_no,refund_no,vendor_no,account_type,account_no,amount,fee,finished_at,terminal_id,subject
PAY,\"01j0000000e00800000000000101\",\"\",\"V0000000001\",\"STUDENT_NO\",\"2024000001\",1250,0,2026-01-01T08:00:01+08:00,\"\",\"牛肉面\"
#TRAILER,1,1,1250,0,0,0,0,0,1250
";

#[tokio::test]
async fn every_message_of_the_campus_card_is_its_sample() {
    let mut book = Book::open("campus_card");
    let done = answering(200, &word("OK", "payment", &payment("SUCCEEDED")));
    for (name, scene) in
        [("prepay_native", Scene::Native), ("prepay_jsapi", Scene::Jsapi), ("prepay_h5", Scene::H5)]
    {
        book.call(name, make, done.clone(), async |m| m.channel.prepay(&prepay_ask(scene)).await).await;
    }
    let limit = answering(402, &word("DAILY_LIMIT", "payment", &payment("FAILED")));
    let ask = prepay_ask(Scene::Native);
    book.call("prepay_above_the_daily_limit", make, limit, async |m| m.channel.prepay(&ask).await).await;
    book.call("query", make, done.clone(), async |m| m.channel.query(&trade_key()).await).await;
    let closed = answering(200, &word("OK", "payment", &payment("CLOSED")));
    book.call("close", make, closed, async |m| m.channel.close(&trade_key()).await).await;
    let unknown =
        json!({ "code": "ORDER_NOT_FOUND", "message": "no such order", "request_id": "r-0000000001" });
    book.call("probe", make, answering(404, &unknown), async |m| m.channel.probe().await).await;
    let booked = answering(200, &word("OK", "refund", &refund("SUCCEEDED")));
    book.call("refund", make, booked.clone(), async |m| m.channel.refund(&refund_ask()).await).await;
    book.call("refund_query", make, booked, async |m| m.channel.refund_query(&refund_ask()).await).await;
    let bill =
        |request: &Request, good: bool| serve(request, 200, "text/csv; charset=utf-8", STATEMENT, good);
    book.call("bill", make, bill, async |m| fetched(&m.channel).await).await;

    let made = make("http://127.0.0.1:1");
    for (name, event, object, value) in [
        ("notification_payment", "payment.succeeded", "payment", payment("SUCCEEDED")),
        ("notification_payment_failed", "payment.failed", "payment", payment("FAILED")),
        ("notification_refund", "refund.succeeded", "refund", refund("SUCCEEDED")),
    ] {
        let call = |good| notification(event, object, &value, good);
        book.notification(name, &made.channel, &call(true), &call(false));
    }
    book.close();
}
