//! Bad input gets an answer that says what and where, and changes nothing.

#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

mod common;

use std::process::Command;

use common::{BIN, House, order, output};
use serde_json::{Value, json};

#[actix_web::test]
async fn every_wrong_body_is_refused_with_its_field_and_nothing_is_stored() {
    let house = House::start("[service]\nmerchants = [\"canteen-3\"]\n").await;
    let with = |pointer: &str, value: Value| {
        let mut body = order("B1");
        match pointer.strip_prefix("/payer/") {
            Some(key) => body["payer"][key] = value,
            None => body[pointer.trim_start_matches('/')] = value,
        }
        body
    };
    let table = [
        ("/order_no", json!("")),
        ("/order_no", json!("no spaces please")),
        ("/order_no", json!("x".repeat(65))),
        ("/merchant_id", json!("")),
        ("/merchant_id", json!("canteen-4")),
        ("/amount_fen", json!(0)),
        ("/amount_fen", json!(-1)),
        ("/description", json!("")),
        ("/description", json!("x".repeat(128))),
        ("/description", json!("noodles 🍜")),
        ("/payer/id", json!("")),
        ("/payer/client_ip", json!("here")),
        ("/channels", json!(["gold"])),
        ("/channels", json!(["wechat", "wechat"])),
        ("/consents", json!(["gold"])),
        ("/notify_url", json!("ftp://example.com")),
        ("/expires_in_s", json!(5)),
    ];
    for (field, value) in table {
        let (status, refused) = house.post("/v1/orders", &with(field, value.clone())).await;
        assert_eq!(
            (status, &refused["code"]),
            (422, &json!("invalid_fields")),
            "{field} {value}: {refused:#}"
        );
        assert_eq!(refused["errors"][0]["field"], field, "{refused:#}");
    }
    let (status, refused) = house.post("/v1/orders", &with("/scene", json!("jsapi"))).await;
    assert_eq!((status, &refused["errors"][0]["field"]), (422, &json!("/payer/openid")));
    let (status, refused) = house.post("/v1/orders", &with("/amount_fen", json!(100_000_000))).await;
    assert_eq!((status, &refused["code"]), (422, &json!("amount_above_limit")));
    let texts = ["", "{", "[]", "{\"order_no\": \"x\"}", "null", "{\"a\":1,\"a\":2}"];
    let more = [with("/amount_fen", json!("18.50")).to_string(), with("/colour", json!("red")).to_string()];
    for text in texts.into_iter().chain(more.iter().map(String::as_str)) {
        let (status, refused) = house.post_text("/v1/orders", text, "").await;
        assert_eq!((status, &refused["code"]), (400, &json!("invalid_json")), "{text}");
    }
    let (status, _) = house.post_text("/v1/orders", &"x".repeat(70_000), "").await;
    assert_eq!(status, 413);
    for path in ["/v1/orders/nonsense", "/v1/orders/00000000000000000000000000", "/v1/nowhere", "/nowhere"] {
        assert_eq!(house.get(path).await.0, 404, "{path}");
    }
    let (_, orders) = house.get("/admin/v1/orders").await;
    assert_eq!(orders["orders"], json!([]), "nothing was stored");
}

#[actix_web::test]
async fn a_forged_notification_has_no_effect_and_is_kept_in_the_log() {
    let house = House::start("").await;
    let (_, shown) = house.post_text("/v1/orders", &order("F1").to_string(), "wait=10").await;
    let (status, _) = house.post_text("/notify/wechat", "{\"id\":\"x\"}", "").await;
    assert!((400..500).contains(&status), "{status}");
    assert_eq!(house.post_text("/notify/gold", "{}", "").await.0, 404);
    house.faults(&json!({ "wechat": { "notify": { "forged": 1.0, "wrong_amount": 1.0 } } })).await;
    assert_eq!(house.pay(&shown).await.0, 200);
    let paid = house.until(shown["id"].as_str().unwrap(), |o| o["state"] == "success").await;
    assert_eq!(paid["net_captured_fen"], 1850);
    let (_, calls) = house.get("/admin/v1/notifications").await;
    let refused = calls["notifications"].as_array().unwrap().iter().filter(|c| c["answer_status"] != 200);
    assert!(refused.count() >= 1, "{calls:#}");
}

#[test]
fn a_wrong_start_says_what_is_wrong_and_starts_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let run = |text: &str| {
        let path = dir.path().join("c.toml");
        std::fs::write(&path, text).unwrap();
        let mut command = Command::new(BIN);
        command.current_dir(dir.path()).args(["serve", "--config"]).arg(&path);
        let (code, _, err) = output(command);
        assert!(!dir.path().join("rushpay.db-wal").exists());
        (code, err)
    };
    let secret = format!("[webhooks]\nsecret = \"{}\"\n", common::SECRET);
    let key = dir.path().join("open.pem");
    std::fs::write(&key, keys::generate_rsa_pem(2048).unwrap()).unwrap();
    std::fs::set_permissions(&key, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
    let wechat = |key: &str| {
        format!(
            "{secret}[channels]\norder = [\"wechat\"]\n[channels.wechat]\nbase_url = \"https://wx.example.com\"\n\
             mchid = \"1900000001\"\nappid = \"wx1\"\nmerchant_serial = \"5A\"\nmerchant_key = \"{key}\"\n\
             apiv3_key = \"sandbox-apiv3-key-do-not-use-001\"\nplatform_certificate_mode = true\n\
             notify_url = \"https://pay.example.com/notify/wechat\"\n"
        )
    };
    let table = [
        ("[http]\nlisten = \"nonsense\"\n".to_owned(), "http.listen"),
        ("[htp]\n".to_owned(), "htp"),
        (String::new(), "webhooks.secret"),
        (secret.clone(), "channels: none is configured"),
        (wechat("/nowhere/key.pem"), "/nowhere/key.pem"),
        (wechat(&key.display().to_string()), "chmod 600"),
        (format!("{secret}[redis]\nurl = \"nonsense\"\n"), "redis.url"),
    ];
    for (text, words) in table {
        let (code, err) = run(&text);
        assert!(code == 2 && err.contains(words), "exit {code}, expected {words:?} in: {err}");
    }
    let mut missing = Command::new(BIN);
    missing.current_dir(dir.path()).args(["audit", "--config", "/nowhere.toml"]);
    let (code, _, err) = output(missing);
    assert!(code == 2 && err.contains("/nowhere.toml"), "{err}");
}

#[actix_web::test]
async fn a_taken_port_is_named() {
    let house = House::start("").await;
    let port = house.api.rsplit(':').next().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let mut second = Command::new(BIN);
    second
        .current_dir(dir.path())
        .args(["serve", "--sandbox"])
        .env("RUSHPAY__HTTP__LISTEN", format!("127.0.0.1:{port}"));
    let (code, _, err) = output(second);
    assert!(code == 1 && err.contains("http.listen") && err.contains(port), "{code}: {err}");
}
