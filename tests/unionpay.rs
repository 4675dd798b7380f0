//! Orders over UnionPay, through the front door and the sandbox's gateway.

#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

mod common;

use common::{House, order};
use serde_json::{Value, json};

fn over_unionpay(order_no: &str, scene: &str) -> Value {
    let mut wanted = order(order_no);
    wanted["channels"] = json!(["unionpay"]);
    wanted["scene"] = json!(scene);
    wanted["payer"]["client_ip"] = json!("10.0.0.7");
    wanted
}

#[actix_web::test]
async fn a_code_and_a_cashier_form_are_paid_refunded_in_parts_and_audited() {
    let house = House::start("").await;
    for scene in ["native", "h5"] {
        let body = over_unionpay(&format!("U-{scene}"), scene).to_string();
        let (status, shown) = house.post_text("/v1/orders", &body, "wait=10").await;
        assert_eq!((status, &shown["state"]), (201, &json!("processing")), "{shown:#}");
        let id = shown["id"].as_str().unwrap();
        let paid = house.pay_over("unionpay", &shown).await;
        assert_eq!(paid.0, 200, "{scene}: {} of {shown:#}", paid.1);
        house.until(id, |o| o["state"] == "success").await;
        for (no, fen) in [("1", 850), ("2", 1000)] {
            let refund = json!({ "refund_no": format!("{scene}-{no}"), "amount_fen": fen });
            let (status, answer) = house.post(&format!("/v1/orders/{id}/refunds"), &refund).await;
            assert!(status == 200 || status == 202, "{status} {answer:#}");
        }
        house.until(id, |o| o["net_captured_fen"] == 0).await;
    }
    let control = house.control();
    let (code, out, err) = house.command(&["audit", "--sandbox", &control]);
    assert!(code == 0 && out.contains("3700 fen, given back 3700 fen"), "{out}{err}");
}

#[actix_web::test]
async fn with_every_notification_lost_the_query_finds_payment_and_refund() {
    let house = House::start("").await;
    house.faults(&json!({ "unionpay": { "notify": { "lost": 1.0 } } })).await;
    let body = over_unionpay("Q1", "native").to_string();
    let (_, shown) = house.post_text("/v1/orders", &body, "wait=10").await;
    let id = shown["id"].as_str().unwrap();
    assert_eq!(house.pay_over("unionpay", &shown).await.0, 200);
    house.until(id, |o| o["state"] == "success").await;
    // "Being worked on", carried out all the same: a query has the last word.
    house
        .faults(&json!({ "unionpay": { "notify": { "lost": 1.0 }, "error_rate": 1.0, "error_code": "05" } }))
        .await;
    let refund = json!({ "refund_no": "all", "amount_fen": 1850 });
    house.post(&format!("/v1/orders/{id}/refunds"), &refund).await;
    house.until_sandbox("/_sandbox/stats", |counts| counts["unionpay.refund"].as_u64() >= Some(1)).await;
    house.faults(&json!({ "unionpay": { "notify": { "lost": 1.0 } } })).await;
    house.until(id, |o| o["net_captured_fen"] == 0).await;
    let control = house.control();
    let (code, out, err) = house.command(&["audit", "--sandbox", &control]);
    assert!(code == 0 && out.contains("1850 fen, given back 1850 fen"), "{out}{err}");
}

#[actix_web::test]
async fn an_order_that_nobody_pays_waits_for_its_last_moment_and_then_ends() {
    let house = House::start("").await;
    let mut wanted = over_unionpay("W1", "native");
    wanted["expires_in_s"] = json!(60);
    let (_, shown) = house.post_text("/v1/orders", &wanted.to_string(), "wait=10").await;
    let id = shown["id"].as_str().unwrap();
    house.post(&format!("/v1/orders/{id}/close"), &json!({})).await;
    let closing = house.until(id, |o| o["state"] != "pending").await;
    assert_ne!(closing["state"], "failed", "the code can still be paid: {closing:#}");
    assert_eq!(house.pay_over("unionpay", &shown).await.0, 200, "and here somebody does");
    let paid = house.until(id, |o| o["state"] == "success" || o["net_captured_fen"] == 0).await;
    assert!(paid["state"] != "failed" || paid["net_captured_fen"] == 0, "{paid:#}");
}
