//! Orders above WeChat's campus limit, through the front door: paid in parts, all of them or none.

#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

mod common;

use common::{House, order};
use serde_json::{Value, json};

/// 2,500 yuan; the sandbox's WeChat takes 1,000 a payment.
const AMOUNT: i64 = 250_000;

async fn accepted(house: &House, no: &str) -> Value {
    let mut body = order(no);
    body["amount_fen"] = json!(AMOUNT);
    let (status, shown) = house.post_text("/v1/orders", &body.to_string(), "wait=10").await;
    assert_eq!((status, &shown["parts"][2]["state"]), (201, &json!("waiting")), "{shown:#}");
    shown
}

/// The payer pays the part whose turn it is, as the whole shows it.
async fn pay_part(house: &House, id: &str, no: usize) -> Value {
    let turn = |o: &Value| o["parts"][no - 1]["state"] == "payable" && !o["credential"].is_null();
    let shown = house.until(id, turn).await;
    let (status, paid) = house.pay(&shown).await;
    assert_eq!(status, 200, "{paid:#}");
    house.until(id, |o| o["parts"][no - 1]["state"] == "paid").await
}

async fn audited(house: &mut House) {
    let control = house.control();
    let (code, out, err) = house.command(&["audit", "--sandbox", &control]);
    assert_eq!(code, 0, "{out}{err}");
    assert_eq!(house.stop().await, Some(0), "{}", house.log());
}

#[actix_web::test]
async fn an_order_above_the_limit_is_paid_in_parts_and_refunded_over_them() {
    let mut house = House::start("").await;
    let shown = accepted(&house, "S1").await;
    let id = shown["id"].as_str().unwrap().to_owned();
    let amounts: Vec<i64> =
        shown["parts"].as_array().unwrap().iter().map(|p| p["amount_fen"].as_i64().unwrap()).collect();
    assert_eq!(amounts, [83_334, 83_333, 83_333]);
    let (status, svg) = house.get(&format!("/v1/orders/{id}/qr.svg")).await;
    assert!(status == 200 && svg.as_str().unwrap().contains("<svg"));

    let one = pay_part(&house, &id, 1).await;
    let sentence = one["truth"]["sentence"].as_str().unwrap();
    assert_eq!(sentence, "1 of 3 parts are paid: 833.34 of 2500.00 yuan.");
    // Money is the whole's business; a part refers to it.
    let part = one["parts"][0]["order"].as_str().unwrap();
    let refund = json!({ "refund_no": "R1", "amount_fen": 100_000, "reason": "fewer guests" });
    let (status, refused) = house.post(&format!("{part}/refunds"), &refund).await;
    assert_eq!((status, &refused["code"]), (409, &json!("part_of_order")));
    let (status, early) = house.post(&format!("/v1/orders/{id}/refunds"), &refund).await;
    assert_eq!((status, &early["code"]), (409, &json!("not_paid")));

    pay_part(&house, &id, 2).await;
    let turn = |o: &Value| o["parts"][2]["state"] == "payable" && !o["credential"].is_null();
    let third = house.until(&id, turn).await;
    assert_eq!(house.pay(&third).await.0, 200);
    let paid = house.until(&id, |o| o["state"] == "success").await;
    assert_eq!((&paid["net_captured_fen"], &paid["truth"]["code"]), (&json!(AMOUNT), &json!("charged")));

    for _ in 0..2 {
        let (status, booked) = house.post(&format!("/v1/orders/{id}/refunds"), &refund).await;
        assert_eq!((status, booked["refunds"].as_array().unwrap().len()), (200, 1), "{booked:#}");
    }
    let back = house.until(&id, |o| o["refunds"][0]["state"] == "succeeded").await;
    assert_eq!(back["net_captured_fen"], AMOUNT - 100_000);

    // The backend heard of one order and one refund.
    let (_, events) = house.get("/v1/events?after=0").await;
    let told: Vec<(&Value, &Value)> = events["events"]
        .as_array()
        .unwrap()
        .iter()
        .map(|e| (&e["event"]["type"], &e["event"]["data"]["id"]))
        .collect();
    let whole = json!(id);
    assert_eq!(told, [(&json!("order.succeeded"), &whole), (&json!("refund.succeeded"), &whole)]);
    audited(&mut house).await;
}

#[actix_web::test]
async fn if_the_payer_gives_up_the_paid_parts_come_back_and_the_whole_fails() {
    let mut house = House::start("").await;
    let id = accepted(&house, "S2").await["id"].as_str().unwrap().to_owned();
    pay_part(&house, &id, 1).await;
    house.until(&id, |o| o["parts"][1]["state"] == "payable").await;
    let (status, asked) = house.post(&format!("/v1/orders/{id}/close"), &json!({})).await;
    assert_eq!(status, 200, "{asked:#}");
    let failed = house.until(&id, |o| o["state"] == "failed").await;
    let states: Vec<&Value> = failed["parts"].as_array().unwrap().iter().map(|p| &p["state"]).collect();
    assert_eq!(states, ["returned", "failed", "waiting"]);
    assert_eq!((&failed["net_captured_fen"], &failed["reason"]), (&json!(0), &json!("cancelled")));
    assert_eq!(
        failed["truth"]["sentence"],
        "One part of the payment failed; what was paid is back where it came from."
    );
    audited(&mut house).await;
}

#[actix_web::test]
async fn an_amount_that_would_take_too_many_parts_is_refused_with_the_numbers() {
    let house = House::start("").await;
    let mut body = order("S3");
    body["amount_fen"] = json!(2_000_001);
    let (status, refused) = house.post("/v1/orders", &body).await;
    assert_eq!((status, &refused["code"]), (422, &json!("amount_above_limit")));
    let detail = refused["detail"].as_str().unwrap();
    assert!(detail.contains("21 payments") && detail.contains("at most 20"), "{detail}");
}
