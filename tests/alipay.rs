//! Orders over Alipay, through the front door and the sandbox's gateway.

#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

mod common;

use common::{House, order};
use serde_json::{Value, json};

fn over_alipay(order_no: &str, scene: &str) -> Value {
    let mut wanted = order(order_no);
    wanted["channels"] = json!(["alipay"]);
    wanted["scene"] = json!(scene);
    wanted["payer"]["openid"] = json!("2088000000000001");
    wanted["payer"]["client_ip"] = json!("10.0.0.7");
    wanted
}

#[actix_web::test]
async fn every_scene_is_paid_refunded_in_parts_and_audited() {
    let house = House::start("").await;
    for scene in ["native", "jsapi", "h5"] {
        let body = over_alipay(&format!("L-{scene}"), scene).to_string();
        let (status, shown) = house.post_text("/v1/orders", &body, "wait=10").await;
        assert_eq!((status, &shown["state"]), (201, &json!("processing")), "{shown:#}");
        let id = shown["id"].as_str().unwrap();
        let paid = house.pay_over("alipay", &shown).await;
        assert_eq!(paid.0, 200, "{scene}: {} of {shown:#}", paid.1);
        house.until(id, |o| o["state"] == "success").await;
        for (no, fen) in [("1", 850), ("2", 1000)] {
            let refund = json!({ "refund_no": format!("{scene}-{no}"), "amount_fen": fen });
            let (status, answer) = house.post(&format!("/v1/orders/{id}/refunds"), &refund).await;
            assert_eq!(status, 200, "{answer:#}");
        }
        house.until(id, |o| o["net_captured_fen"] == 0).await;
    }
    let control = house.control();
    let (code, out, err) = house.command(&["audit", "--sandbox", &control]);
    assert!(code == 0 && out.contains("5550 fen, given back 5550 fen"), "{out}{err}");
}

#[actix_web::test]
async fn with_every_notification_lost_the_query_finds_the_money_and_with_every_answer_forged_nothing_is_believed()
 {
    let house = House::start("").await;
    house.faults(&json!({ "alipay": { "notify": { "lost": 1.0 } } })).await;
    let (_, shown) = house.post_text("/v1/orders", &over_alipay("Q1", "native").to_string(), "wait=10").await;
    assert_eq!(house.pay_over("alipay", &shown).await.0, 200);
    house.until(shown["id"].as_str().unwrap(), |o| o["state"] == "success").await;

    house.faults(&json!({ "alipay": { "bad_signature_rate": 1.0 } })).await;
    let (status, silent) =
        house.post_text("/v1/orders", &over_alipay("Q2", "native").to_string(), "wait=2").await;
    assert_eq!((status, &silent["state"]), (202, &json!("pending")), "{silent:#}");
    house.faults(&json!({ "alipay": {} })).await;
    let id = silent["id"].as_str().unwrap();
    let shown = house.until(id, |o| o["state"] == "processing").await;
    assert_eq!(house.pay_over("alipay", &shown).await.0, 200);
    house.until(id, |o| o["state"] == "success").await;
}

#[actix_web::test]
async fn forged_and_altered_notifications_move_nothing_and_stay_in_the_log() {
    let house = House::start("").await;
    house.faults(&json!({ "alipay": { "notify": { "forged": 1.0, "doubled": 1.0 } } })).await;
    let (_, shown) = house.post_text("/v1/orders", &over_alipay("F1", "native").to_string(), "wait=10").await;
    let id = shown["id"].as_str().unwrap();
    assert_eq!(house.pay_over("alipay", &shown).await.0, 200);
    let paid = house.until(id, |o| o["state"] == "success").await;
    assert_eq!(paid["net_captured_fen"], 1850);
    let refused = |log: &Value| {
        log["notifications"]
            .as_array()
            .unwrap()
            .iter()
            .any(|n| n["reason"].as_str().unwrap().contains("bad_signature"))
    };
    house.until_at("/admin/v1/notifications?channel=alipay", refused).await;
    let control = house.control();
    let (code, out, err) = house.command(&["audit", "--sandbox", &control]);
    assert_eq!(code, 0, "{out}{err}");
}

#[actix_web::test]
async fn a_payer_has_an_id_per_channel_and_a_student_is_never_offered_credit() {
    let mut house = House::start("").await;
    let mut wanted = over_alipay("C1", "jsapi");
    wanted["payer"]["openid"] = json!("oWECHAT-of-the-same-person");
    wanted["payer"]["accounts"] = json!({ "alipay": "2088000000000001" });
    let (status, shown) = house.post_text("/v1/orders", &wanted.to_string(), "wait=10").await;
    assert_eq!(status, 201, "{shown:#}");
    let credit = json!({ "channel": "alipay", "credential": shown["credential"], "outcome": "credit" });
    let (status, refused) = house.sandbox_pay(&credit).await;
    assert_eq!((status, &refused["reason"]), (409, &json!("no_payment_instruments")));
    assert_eq!(house.pay_over("alipay", &shown).await.0, 200);
    house.until(shown["id"].as_str().unwrap(), |o| o["state"] == "success").await;

    // The next order of the same person needs no ids, and begins where the last one worked, over a restart too.
    let payer = wanted["payer"]["id"].as_str().unwrap();
    let profile = house.until_at(&format!("/v1/payers/{payer}"), |p| p["last_channel"] == "alipay").await;
    assert_eq!(profile["accounts"], json!({ "alipay": "2088000000000001" }), "{profile:#}");
    house.stop().await;
    house.start_again().await;
    let mut plain = order("C3");
    plain["payer"] = json!({ "id": payer, "openid": "oWECHAT-of-the-same-person" });
    plain["scene"] = json!("jsapi");
    plain["channels"] = json!(["wechat", "alipay"]);
    let (_, again) = house.post_text("/v1/orders", &plain.to_string(), "wait=10").await;
    assert_eq!(again["channel"], "alipay", "{again:#}");
    let (status, _) = house.get("/v1/payers/nobody").await;
    assert_eq!(status, 404);
    let mut strange = over_alipay("C2", "jsapi");
    strange["payer"]["accounts"] = json!({ "gold": "1" });
    let (status, problem) = house.post("/v1/orders", &strange).await;
    assert!(status == 422 && problem.to_string().contains("/payer/accounts"), "{problem:#}");
}
