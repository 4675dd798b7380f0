//! One order through the front door, from acceptance to refund, and everything an operator asks about it.

#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

mod common;

use std::path::Path;

use common::{House, order};
use serde_json::{Value, json};

#[actix_web::test]
async fn an_order_is_accepted_paid_refunded_and_every_fen_explained() {
    let mut house = House::start("").await;
    let body = order("A1").to_string();
    let (status, shown) = house.post_text("/v1/orders", &body, "wait=10").await;
    assert_eq!((status, &shown["state"]), (201, &json!("processing")), "{shown:#}");
    let id = shown["id"].as_str().unwrap().to_owned();

    // The same body is the same order, however it is spelt; another body under its number is refused.
    let (status, again) = house.post_text("/v1/orders", &body.replace(":", ": "), "").await;
    assert_eq!((status, &again["id"]), (202, &json!(id)));
    let mut other = order("A1");
    other["amount_fen"] = json!(1851);
    let (status, refused) = house.post("/v1/orders", &other).await;
    assert_eq!((status, &refused["code"]), (409, &json!("order_no_used")));

    let (status, svg) = house.get(&format!("/v1/orders/{id}/qr.svg")).await;
    assert!(status == 200 && svg.as_str().unwrap().contains("<svg"));

    // Nothing to refund yet; then the payer pays, and a waiting poll hears of it.
    let refund = json!({ "refund_no": "R1", "amount_fen": 850, "reason": "no egg" });
    let (status, early) = house.post(&format!("/v1/orders/{id}/refunds"), &refund).await;
    assert_eq!((status, &early["code"]), (409, &json!("not_paid")));
    assert_eq!(house.pay(&shown).await.0, 200);
    let paid = house.until(&id, |o| o["state"] == "success").await;
    assert_eq!((&paid["truth"]["code"], &paid["net_captured_fen"]), (&json!("charged"), &json!(1850)));
    assert_eq!(house.pay(&shown).await.1["reason"], "already_paid");

    for _ in 0..2 {
        let (status, booked) = house.post(&format!("/v1/orders/{id}/refunds"), &refund).await;
        assert_eq!(status, 200);
        assert_eq!(
            booked["refunds"][0]["refund_no"], "R1",
            "the answer shows what was just booked: {booked:#}"
        );
    }
    let back = house.until(&id, |o| o["net_captured_fen"] == 1000).await;
    assert_eq!(back["refunds"].as_array().unwrap().len(), 1, "{back:#}");
    let more = json!({ "refund_no": "R2", "amount_fen": 1001 });
    let (status, over) = house.post(&format!("/v1/orders/{id}/refunds"), &more).await;
    assert_eq!((status, &over["code"]), (422, &json!("refund_exceeds")));

    // What a webhook said is there to catch up with; the stream ends with the final state; the story has causes.
    let (_, events) = house.get("/v1/events?after=0").await;
    let kinds: Vec<&Value> =
        events["events"].as_array().unwrap().iter().map(|e| &e["event"]["type"]).collect();
    assert!(kinds.contains(&&json!("order.succeeded")), "{kinds:?}");
    let (_, stream) = house.get(&format!("/v1/orders/{id}/events")).await;
    assert!(stream.as_str().unwrap().starts_with("event: order\nid: "), "{stream}");
    let (_, story) = house.get(&format!("/admin/v1/orders/{id}/story")).await;
    assert!(story["story"].as_array().unwrap().len() >= 4, "{story:#}");
    let (_, calls) = house.get(&format!("/admin/v1/notifications?order={id}")).await;
    assert!(!calls["notifications"].as_array().unwrap().is_empty());

    let control = house.control();
    let (code, out, err) = house.command(&["audit", "--sandbox", &control]);
    assert_eq!(code, 0, "{out}{err}");
    let (code, out, _) = house.command(&["explain", &id]);
    assert!(code == 0 && out.contains("certificate: captured") && out.contains("pays the order"), "{out}");
    assert!(out.contains("850 fen, refund, succeeded"), "{out}");
    assert_eq!(house.stop().await, Some(0), "{}", house.log());
    let (code, out, _) = house.command(&["audit"]);
    assert!(code == 0 && out.contains("1850 fen, given back 850 fen"), "{out}");
}

#[actix_web::test]
async fn an_altered_fen_fails_the_audit_and_is_named() {
    let mut house = House::start("").await;
    let (_, shown) = house.post_text("/v1/orders", &order("A1").to_string(), "wait=10").await;
    assert_eq!(house.pay(&shown).await.0, 200);
    let id = shown["id"].as_str().unwrap().to_owned();
    house.until(&id, |o| o["state"] == "success").await;
    house.stop().await;
    let path = house.dir.path().join("rushpay.db");
    {
        use diesel::{Connection as _, RunQueryDsl as _};
        let mut db = diesel::SqliteConnection::establish(path.to_str().unwrap()).unwrap();
        let altered =
            diesel::sql_query("UPDATE attempts SET capture_fen = capture_fen - 1").execute(&mut db).unwrap();
        assert_eq!(altered, 1);
    }
    let (code, out, err) = house.command(&["audit"]);
    assert!(code == 1 && out.contains(&id) && out.contains("VIOLATION"), "{code} {out}{err}");
}

#[actix_web::test]
async fn a_cancelled_order_fails_and_cannot_be_paid_any_more() {
    let house = House::start("").await;
    let (_, shown) = house.post_text("/v1/orders", &order("C1").to_string(), "wait=10").await;
    let id = shown["id"].as_str().unwrap().to_owned();
    assert_eq!(house.post(&format!("/v1/orders/{id}/close"), &json!({})).await.0, 200);
    let ended = house.until(&id, |o| o["state"] == "failed").await;
    assert_eq!((&ended["reason"], &ended["net_captured_fen"]), (&json!("cancelled"), &json!(0)));
    assert_eq!(house.pay(&shown).await.1["reason"], "closed");
}

#[actix_web::test]
async fn a_silent_wechat_is_hedged_to_the_card_of_a_payer_who_agreed() {
    let house = House::start("").await;
    let body = json!({ "unknown_accounts": { "balance_fen": 10_000 } }).to_string();
    let url = format!("{}/_sandbox/accounts", house.control());
    assert!(house.http.put(url).body(body).send().await.unwrap().status().is_success());
    let slow = json!({ "wechat": { "prepay_latency": { "median_ms": 5000, "p99_ms": 5000 } } });
    house.faults(&slow).await;
    let mut wanted = order("H1");
    wanted["channels"] = json!(["wechat", "campus_card"]);
    wanted["consents"] = json!(["campus_card"]);
    let (_, shown) = house.post("/v1/orders", &wanted).await;
    let paid = house.until(shown["id"].as_str().unwrap(), |o| o["state"] == "success").await;
    assert_eq!((&paid["channel"], paid["attempts"].as_array().unwrap().len()), (&json!("campus_card"), 2));
    let (_, stats) = house.get("/admin/v1/stats").await;
    assert_eq!(stats["hedges"], 1);
}

#[actix_web::test]
async fn what_an_operator_changed_at_runtime_is_in_force_and_survives_a_restart() {
    let mut house = House::start("").await;
    let (status, changed) = house.patch("/admin/v1/tuning", &json!({ "hedge_after_ms": 600 })).await;
    assert_eq!((status, &changed["tuning"]["hedge_after_ms"]), (200, &json!(600)), "{changed:#}");
    let (status, refused) =
        house.patch("/admin/v1/tuning", &json!({ "hedge_after_ms": 1, "nonsense": 2 })).await;
    assert_eq!((status, refused["errors"].as_array().unwrap().len()), (422, 2), "{refused:#}");
    let api = house.api.clone();
    let mut tune = std::process::Command::new(common::BIN);
    tune.args(["tune", "poll_every_ms", "700", "--target", &api]);
    let (code, out, _) = common::output(tune);
    assert!(code == 0 && out.contains("poll_every_ms: 500 -> 700"), "{out}");
    assert_eq!(house.patch("/admin/v1/channels/wechat", &json!({ "disabled": true })).await.0, 200);
    house.stop().await;
    house.start_again().await;
    let wechat_is = |state: &'static str| move |c: &serde_json::Value| c["channels"][0]["state"] == state;
    house.until_at("/admin/v1/channels", wechat_is("disabled")).await;
    assert_eq!(house.patch("/admin/v1/channels/wechat", &json!({ "disabled": false })).await.0, 200);
    house.until_at("/admin/v1/channels", wechat_is("healthy")).await;
    let (_, tuning) = house.get("/admin/v1/tuning").await;
    assert_eq!(
        (&tuning["tuning"]["hedge_after_ms"], &tuning["tuning"]["poll_every_ms"]),
        (&json!(600), &json!(700))
    );
}

#[actix_web::test]
async fn a_payer_whose_client_cannot_pay_in_place_gets_a_page_for_the_browser() {
    let house = House::start("").await;
    let mut body = order("E1");
    (body["scene"], body["payer"]["openid"]) = (json!("jsapi"), json!("oXyz"));
    let (status, shown) = house.post_text("/v1/orders", &body.to_string(), "wait=10").await;
    assert_eq!((status, &shown["credential"]["kind"]), (201, &json!("jsapi")), "{shown:#}");
    let id = shown["id"].as_str().unwrap().to_owned();
    let path = format!("/v1/orders/{id}/switch");
    let (status, refused) = house.post(&path, &json!({ "scene": "h5" })).await;
    assert_eq!((status, &refused["code"]), (422, &json!("client_ip_needed")));
    let elsewhere = json!({ "scene": "h5", "client_ip": "10.1.2.3" });
    assert_eq!(house.post(&path, &elsewhere).await.0, 200);
    let page = house.until(&id, |o| o["credential"]["kind"] == "h5").await;
    assert_eq!(
        (&page["attempts"][0]["certificate"], page["attempts"].as_array().unwrap().len()),
        (&json!("closed"), 2)
    );
    assert_eq!(house.pay(&page).await.0, 200);
    house.until(&id, |o| o["state"] == "success").await;
}

#[actix_web::test]
async fn a_log_that_cannot_be_written_costs_its_lines_and_nothing_else() {
    // What a full disk does to a log on it. Complaining of that on standard error would panic the thread that logs.
    let house = House::start_logging("", Some(Path::new("/dev/full"))).await;
    // Something is logged on every thread: what cannot be read, a payer's refusal, a channel that fails.
    house.faults(&json!({ "wechat": { "error_rate": 0.5, "notify": { "forged": 1.0 } } })).await;
    for n in 0..4 {
        let (_, shown) = house.post_text("/v1/orders", &order(&format!("F{n}")).to_string(), "wait=10").await;
        let id = shown["id"].as_str().unwrap().to_owned();
        let shown = house.until(&id, |o| !o["credential"].is_null()).await;
        assert_eq!(house.pay(&shown).await.0, 200);
        house.until(&id, |o| o["state"] == "success").await;
    }
}
