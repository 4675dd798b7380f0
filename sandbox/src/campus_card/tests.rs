//! The server, as a signing client sees it.

use std::{collections::BTreeMap, sync::Arc};

use actix_web::{App, http::StatusCode, test};
use serde_json::{Value, json};

use super::{CampusCard, credentials::Credentials, wire::sign_text};
use crate::world::World;

const SECRET: &str = "sandbox-secret-do-not-use-0123456789abcdef";

struct Client {
    card: Arc<CampusCard>,
    n: std::cell::Cell<u32>,
}

fn client() -> Client {
    let world = Arc::new(World::new(1).unwrap());
    let card = CampusCard {
        keys: Credentials::of(SECRET),
        nonces: Default::default(),
        ledger: Default::default(),
        world,
    };
    Client { card: Arc::new(card), n: 0.into() }
}

impl Client {
    async fn call(&self, method: &str, path: &str, body: Option<Value>) -> (StatusCode, Value) {
        self.n.set(self.n.get() + 1);
        let nonce = format!("n-{:016}", self.n.get());
        let at = self.card.world.clock.now().secs().to_string();
        self.send(method, path, body, &nonce, &at, "").await
    }

    async fn send(
        &self,
        method: &str,
        path: &str,
        body: Option<Value>,
        nonce: &str,
        at: &str,
        spoil: &str,
    ) -> (StatusCode, Value) {
        let card = Arc::clone(&self.card);
        let app = test::init_service(App::new().configure(|cfg| card.configure(cfg))).await;
        let body = body.map(|b| b.to_string()).unwrap_or_default();
        let hash = keys::sha256_hex(body.as_bytes());
        let target = format!("/ccp/v1{path}");
        let lines = ["CARD1-REQUEST", "M1001", "k1", at, nonce, method, &target, &hash];
        let text = sign_text(&lines) + spoil;
        let signature = hex::encode(keys::hmac_sha256(SECRET.as_bytes(), text.as_bytes()));
        let req = test::TestRequest::with_uri(&target)
            .method(method.parse().unwrap())
            .insert_header(("X-Card-Merchant", "M1001"))
            .insert_header(("X-Card-Key", "k1"))
            .insert_header(("X-Card-Timestamp", at))
            .insert_header(("X-Card-Nonce", nonce))
            .insert_header(("X-Card-Signature", signature))
            .set_payload(body)
            .to_request();
        let answer = test::call_service(&app, req).await;
        let status = answer.status();
        let header = |name: &str| answer.headers().get(name).map(|v| v.to_str().unwrap().to_owned());
        let signed = header("X-Card-Signature").zip(header("X-Card-Timestamp"));
        let bytes = test::try_read_body(answer).await.unwrap_or_default();
        if let Some((signature, at)) = signed {
            let hash = keys::sha256_hex(&bytes);
            let lines = ["CARD1-RESPONSE", "M1001", "k1", &at, nonce, status.as_str(), &hash];
            let good = hex::encode(keys::hmac_sha256(SECRET.as_bytes(), sign_text(&lines).as_bytes()));
            if good != signature {
                return (status, json!("badly signed"));
            }
        }
        let text = String::from_utf8_lossy(&bytes).into_owned();
        (status, serde_json::from_slice(&bytes).unwrap_or(Value::String(text)))
    }

    async fn pay(&self, no: &str, student: &str, amount: i64) -> Value {
        let body = json!({ "order_no": no, "account_type": "STUDENT_NO", "account_no": student,
            "amount": amount, "currency": "CNY", "subject": "noodles" });
        self.call("POST", "/payments", Some(body)).await.1
    }

    async fn close(&self, no: &str, if_paid: &str) -> (String, String) {
        let (_, body) =
            self.call("POST", &format!("/payments/{no}/close"), Some(json!({ "if_paid": if_paid }))).await;
        (text(&body, "/code"), text(&body, "/payment/state"))
    }

    fn books(&self) -> Vec<(String, i64)> {
        self.card.world.books.after(0, 100).into_iter().map(|l| (l.kind.to_owned(), l.amount_fen)).collect()
    }
}

fn text(body: &Value, pointer: &str) -> String {
    body.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned()
}

#[actix_web::test]
async fn a_repeat_with_the_same_content_debits_once_and_another_content_is_refused() {
    let client = client();
    for _ in 0..3 {
        assert_eq!(text(&client.pay("P1", "2024000001", 1250).await, "/payment/state"), "SUCCEEDED");
    }
    assert_eq!(text(&client.pay("P1", "2024000001", 1251).await, "/code"), "DUPLICATE_ORDER");
    assert_eq!(client.books(), [("capture".to_owned(), 1250)]);
}

#[actix_web::test]
async fn every_special_student_behaves_as_the_page_says() {
    let client = client();
    let table = BTreeMap::from([
        ("2024000001", ("OK", "SUCCEEDED")),
        ("2024000002", ("INSUFFICIENT_BALANCE", "FAILED")),
        ("2024000003", ("CARD_FROZEN", "FAILED")),
        ("2024000004", ("CARD_LOST", "FAILED")),
        ("2024000005", ("CARD_CLOSED", "FAILED")),
        ("2024000006", ("SINGLE_LIMIT", "FAILED")),
        ("2024000007", ("OK", "PROCESSING")),
        ("2024000008", ("OK", "PROCESSING")),
        ("2024000010", ("SYSTEM_BUSY", "")),
        ("2024000011", ("UNKNOWN_RESULT", "PROCESSING")),
        ("2024000013", ("OK", "SUCCEEDED")),
        ("2024000014", ("OK", "SUCCEEDED")),
        ("1999000001", ("CARD_UNKNOWN", "FAILED")),
    ]);
    for (student, (code, state)) in table {
        let body = client.pay(&format!("S{student}"), student, 600).await;
        assert_eq!(
            (text(&body, "/code").as_str(), text(&body, "/payment/state").as_str()),
            (code, state),
            "{student}"
        );
    }
    assert_eq!(client.pay("B1", "2024000012", 600).await, json!("badly signed"));
    // The debit happened, and then the line went dead: only a query knows.
    client.pay("D1", "2024000009", 600).await;
    let (_, found) = client.call("GET", "/payments/D1", None).await;
    assert_eq!(text(&found, "/payment/state"), "SUCCEEDED");
    // Two more tries, and the busy one has done it.
    client.pay("S2024000010", "2024000010", 600).await;
    assert_eq!(text(&client.pay("S2024000010", "2024000010", 600).await, "/payment/state"), "SUCCEEDED");
    // Daily limit: two of 500 are 1,000.
    for (no, code) in [("L1", "OK"), ("L2", "OK"), ("L3", "DAILY_LIMIT")] {
        assert_eq!(text(&client.pay(no, "2024000006", 500).await, "/code"), code, "{no}");
    }
    // The undecided ones are decided after five seconds.
    client.card.world.clock.set_offset_s(6);
    for (no, state) in
        [("S2024000007", "SUCCEEDED"), ("S2024000008", "FAILED"), ("S2024000011", "PROCESSING")]
    {
        let (_, found) = client.call("GET", &format!("/payments/{no}"), None).await;
        assert_eq!(text(&found, "/payment/state"), state, "{no}");
    }
}

#[actix_web::test]
async fn a_closed_number_is_never_debited_and_a_paid_one_is_kept_or_given_back_as_asked() {
    let client = client();
    let pair = |code: &str, state: &str| (code.to_owned(), state.to_owned());
    assert_eq!(client.close("C1", "KEEP").await, pair("OK", "CLOSED"));
    assert_eq!(text(&client.pay("C1", "2024000001", 100).await, "/code"), "ORDER_CLOSED");
    client.pay("C2", "2024000001", 100).await;
    assert_eq!(client.close("C2", "KEEP").await, pair("ALREADY_PAID", "SUCCEEDED"));
    assert_eq!(client.close("C2", "REVERSE").await, pair("OK", "REVERSED"));
    assert_eq!(client.close("C2", "REVERSE").await, pair("OK", "REVERSED"));
    client.pay("C3", "2024000011", 100).await;
    assert_eq!(client.close("C3", "KEEP").await, pair("OK", "CLOSED"));
    client.pay("C4", "2024000001", 100).await;
    client.card.world.clock.set_offset_s(86_400);
    assert_eq!(client.close("C4", "REVERSE").await, pair("ALREADY_SETTLED", "SUCCEEDED"));
    assert_eq!(
        client.books().iter().map(|(kind, _)| kind.as_str()).collect::<Vec<_>>(),
        ["capture", "refund", "capture"]
    );
}

#[actix_web::test]
async fn refunds_never_exceed_the_payment_and_repeat_safely() {
    let client = client();
    client.pay("P1", "2024000001", 1000).await;
    let refund = |no: &'static str, amount: i64| {
        client.call("POST", "/refunds", Some(json!({ "refund_no": no, "order_no": "P1", "amount": amount })))
    };
    for (no, amount, code) in [
        ("R1", 400, "OK"),
        ("R1", 400, "OK"),
        ("R1", 401, "DUPLICATE_ORDER"),
        ("R2", 601, "REFUND_EXCEEDS"),
        ("R3", 600, "OK"),
        ("R4", 1, "REFUND_EXCEEDS"),
    ] {
        assert_eq!(text(&refund(no, amount).await.1, "/code"), code, "{no} {amount}");
    }
    let (_, found) = client.call("GET", "/refunds/R3", None).await;
    assert_eq!(found.pointer("/refund/order_refunded_amount"), Some(&json!(1000)));
    assert_eq!(text(&client.call("GET", "/refunds/R9", None).await.1, "/code"), "ORDER_NOT_FOUND");
}

#[actix_web::test]
async fn a_wrong_signature_an_old_timestamp_and_a_used_nonce_are_refused() {
    let client = client();
    let now = client.card.world.clock.now().secs();
    let ask = |nonce: &'static str, at: i64, spoil: &'static str| {
        let at = at.to_string();
        let client = &client;
        async move { client.send("GET", "/payments/P1", None, nonce, &at, spoil).await }
    };
    let code = |(status, body): (StatusCode, Value)| (status.as_u16(), text(&body, "/code"));
    let is = |status: u16, code: &str| (status, code.to_owned());
    assert_eq!(code(ask("0123456789abcdef", now, "x").await), is(401, "BAD_SIGNATURE"));
    assert_eq!(code(ask("0123456789abcdef", now - 301, "").await), is(401, "STALE_TIMESTAMP"));
    assert_eq!(code(ask("0123456789abcdef", now, "").await), is(200, "ORDER_NOT_FOUND"));
    assert_eq!(code(ask("0123456789abcdef", now, "").await), is(401, "REPLAYED"));
    assert_eq!(code(ask("short", now, "").await), is(400, "BAD_REQUEST"));
    let (status, body) = client.call("GET", "/nowhere", None).await;
    assert_eq!((status.as_u16(), text(&body, "/code")), is(404, "BAD_REQUEST"));
}

#[actix_web::test]
async fn a_statement_lists_the_day_and_adds_up() {
    let client = client();
    client.pay("P1", "2024000001", 1250).await;
    client
        .call("POST", "/refunds", Some(json!({ "refund_no": "R1", "order_no": "P1", "amount": 250 })))
        .await;
    let day = super::ledger::day(client.card.world.clock.now());
    let path = format!("/statements/{day}");
    assert_eq!(text(&client.call("GET", &path, None).await.1, "/code"), "STATEMENT_NOT_READY");
    client.card.world.clock.set_offset_s(2 * 86_400);
    let (_, csv) = client.call("GET", &path, None).await;
    let csv = csv.as_str().unwrap();
    assert!(csv.starts_with(&format!("#CARD-STATEMENT,1,M1001,{day},CNY\n")), "{csv}");
    assert!(csv.ends_with("#TRAILER,2,1,1250,0,0,1,250,0,1000\n"), "{csv}");
}

/// The worked requests of section B11, sent as they are printed there.
#[actix_web::test]
async fn the_pages_own_requests_are_accepted_with_the_pages_own_signatures() {
    const C1: &str = r#"{"order_no":"P20260101000001","account_type":"STUDENT_NO","account_no":"2024000001","amount":1250,"currency":"CNY","subject":"宿舍电费","notify_url":"https://pay.example.com/n/card"}"#;
    let client = client();
    let now = client.card.world.clock.now().secs();
    client.card.world.clock.set_offset_s(1_767_225_600 - now);
    let card = Arc::clone(&client.card);
    let app = test::init_service(App::new().configure(|cfg| card.configure(cfg))).await;
    let vectors = [
        (
            ("POST", "/ccp/v1/payments", C1, "1767225600", "n-0000000000000001"),
            "65476bd7e8ddc0487fc336a3c68e03c554e4e9a181a8f3272736c9ab773b13ce",
        ),
        (
            ("GET", "/ccp/v1/payments/P20260101000001", "", "1767225605", "n-0000000000000002"),
            "7d4fcfeb04157cd2b5d93753c147de51edcf77da3a33fbe2b8f1d99b2235282c",
        ),
    ];
    for ((method, path, body, at, nonce), signature) in vectors {
        let req = test::TestRequest::with_uri(path)
            .method(method.parse().unwrap())
            .insert_header(("X-Card-Merchant", "M1001"))
            .insert_header(("X-Card-Key", "k1"))
            .insert_header(("X-Card-Timestamp", at))
            .insert_header(("X-Card-Nonce", nonce))
            .insert_header(("X-Card-Signature", signature))
            .set_payload(body)
            .to_request();
        let answer: Value = test::call_and_read_body_json(&app, req).await;
        assert_eq!(text(&answer, "/payment/subject"), "宿舍电费", "{method}: {answer}");
    }
}

#[actix_web::test]
async fn a_member_that_comes_twice_is_refused_at_any_depth() {
    for body in [r#"{"a":1,"a":2}"#, r#"{"x":{"b":1,"b":1}}"#, r#"[{"c":[{"d":0,"d":0}]}]"#] {
        let refused = super::strict::read::<Value>(body.as_bytes());
        assert!(refused.is_err_and(|e| e.contains("twice")), "{body}");
    }
    assert!(super::strict::read::<Value>(br#"{"a":{"a":[null,true,1.5,"a"]}}"#).is_ok());
}

#[actix_web::test]
async fn a_card_number_is_its_students_account() {
    let client = client();
    let body = json!({ "order_no": "K1", "account_type": "CARD_NO", "account_no": "C2024000001",
        "amount": 250, "currency": "CNY", "subject": "tea" });
    let (_, paid) = client.call("POST", "/payments", Some(body)).await;
    let (_, shown) = client.call("GET", "/accounts/STUDENT_NO/2024000001", None).await;
    assert_eq!(text(&paid, "/payment/state"), "SUCCEEDED", "{paid}");
    assert_eq!(shown.pointer("/account/balance"), paid.pointer("/payment/balance_after"), "{shown}");
}
