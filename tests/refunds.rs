//! Refunds that a channel gives up on: told, listed for people, and healed by the channel's later word.

#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

mod common;

use common::{House, order};
use serde_json::json;

/// A paid order, and a refund of it that WeChat ends so.
async fn given_up(house: &House, no: &str, outcome: &str) -> String {
    let (_, shown) = house.post_text("/v1/orders", &order(no).to_string(), "wait=10").await;
    let id = shown["id"].as_str().unwrap().to_owned();
    assert_eq!(house.pay(&shown).await.0, 200);
    house.until(&id, |o| o["state"] == "success").await;
    house.faults(&json!({ "wechat": { "refund_outcome": outcome } })).await;
    let body = json!({ "refund_no": format!("R-{no}"), "amount_fen": 850, "reason": "no egg" });
    let (status, answer) = house.post(&format!("/v1/orders/{id}/refunds"), &body).await;
    assert!(status < 300, "{answer:#}");
    id
}

#[actix_web::test]
async fn a_refund_that_wechat_ends_as_abnormal_or_closed_is_told_and_listed_for_people_and_no_money_is_booked()
 {
    let house = House::start("").await;
    let mut ids = Vec::new();
    for (no, outcome) in [("RA", "ABNORMAL"), ("RC", "CLOSED")] {
        let id = given_up(&house, no, outcome).await;
        let order = house.until(&id, |o| o["refunds"][0]["state"] == "failed").await;
        assert_eq!(order["refunds"][0]["fail_code"], outcome, "{order:#}");
        // The order stays paid: nothing went back, and nothing is booked as if it had.
        assert_eq!((&order["state"], &order["net_captured_fen"]), (&json!("success"), &json!(1850)));
        let (_, page) = house.get("/v1/events?limit=1000").await;
        let told = page["events"]
            .as_array()
            .unwrap()
            .iter()
            .any(|e| e["event"]["type"] == "refund.failed" && e["event"]["data"]["id"] == json!(id));
        assert!(told, "{page:#}");
        ids.push(id);
    }
    let (_, list) = house.get("/admin/v1/orders?attention=true").await;
    for id in &ids {
        assert!(list["orders"].as_array().unwrap().iter().any(|o| o["id"] == json!(id)), "{list:#}");
    }
    // The number is used up; a new refund under a new number is free to succeed.
    house.faults(&json!({ "wechat": {} })).await;
    let body = json!({ "refund_no": "R-again", "amount_fen": 850, "reason": "no egg" });
    let (status, answer) = house.post(&format!("/v1/orders/{}/refunds", ids[0]), &body).await;
    assert!(status < 300, "{answer:#}");
    house.until(&ids[0], |o| o["net_captured_fen"] == 1000).await;
    let (_, list) = house.get("/admin/v1/orders?attention=true").await;
    let listed: Vec<&str> =
        list["orders"].as_array().unwrap().iter().map(|o| o["id"].as_str().unwrap()).collect();
    assert_eq!(listed, [ids[1].as_str()], "what was made good is off the list");
    let (code, out, err) = house.command(&["audit", "--sandbox", &house.control()]);
    assert_eq!(code, 0, "{out}{err}");
}
