//! The server, as a signing client sees it.

#![allow(clippy::indexing_slicing, reason = "tests")]

use std::sync::Arc;

use ::keys::{RsaSigner, RsaVerifier, Signer as _, Verifier as _};
use actix_web::{App, test, web};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use super::{Wechat, pay};
use crate::payer::Outcome;
use crate::world::World;

struct Client {
    dir: tempfile::TempDir,
    server: Arc<Wechat>,
    signer: RsaSigner,
}

fn client() -> Client {
    let dir = tempfile::tempdir().unwrap();
    let world = Arc::new(World::new(1).unwrap());
    let server = Wechat::open(dir.path(), "http://127.0.0.1:1", world).unwrap();
    let key = std::fs::read_to_string(dir.path().join("merchant_key.pem")).unwrap();
    Client { dir, server, signer: RsaSigner::from_pkcs8_pem(&key).unwrap() }
}

fn order(no: &str) -> Value {
    json!({ "appid": "wx0000000000000001", "mchid": "1900000001", "description": "牛肉面", "out_trade_no": no,
        "notify_url": "http://127.0.0.1:1/notify", "amount": { "total": 1850, "currency": "CNY" } })
}

struct Said {
    status: u16,
    body: Value,
    text: String,
    signed: bool,
}

impl Client {
    async fn call(&self, method: &str, target: &str, body: Option<&Value>) -> Said {
        let at = self.server.world.clock.now().secs();
        self.send(method, target, &body.map(Value::to_string).unwrap_or_default(), at, "").await
    }

    async fn send(&self, method: &str, target: &str, body: &str, at: i64, spoil: &str) -> Said {
        let server = Arc::clone(&self.server);
        let app = test::init_service(App::new().configure(|cfg| server.configure(cfg))).await;
        let nonce = crate::world::nonce();
        let message = format!("{method}\n{target}\n{at}\n{nonce}\n{body}\n{spoil}");
        let signature = STANDARD.encode(self.signer.sign(message.as_bytes()).unwrap());
        let serial = &self.server.keys.merchant_serial;
        let authorization = format!(
            "WECHATPAY2-SHA256-RSA2048 mchid=\"1900000001\",nonce_str=\"{nonce}\",signature=\"{signature}\",\
             timestamp=\"{at}\",serial_no=\"{serial}\""
        );
        let request = test::TestRequest::with_uri(target)
            .method(method.parse().unwrap())
            .insert_header(("Accept", "application/json"))
            .insert_header(("User-Agent", "tests"))
            .insert_header(("Authorization", authorization))
            .insert_header(("Wechatpay-Serial", self.server.keys.public_key_id()))
            .set_payload(body.to_owned())
            .to_request();
        let answer = test::call_service(&app, request).await;
        let status = answer.status().as_u16();
        let header = |name: &str| answer.headers().get(name).map(|v| v.to_str().unwrap().to_owned());
        let head =
            header("Wechatpay-Timestamp").zip(header("Wechatpay-Nonce")).zip(header("Wechatpay-Signature"));
        let bytes = test::read_body(answer).await;
        let key = std::fs::read_to_string(self.dir.path().join("platform_public_key.pem")).unwrap();
        let signed = head.is_some_and(|((at, nonce), signature)| {
            let message = [format!("{at}\n{nonce}\n").as_bytes(), &bytes, b"\n"].concat();
            let signature = STANDARD.decode(signature).unwrap();
            RsaVerifier::from_spki_pem(&key).unwrap().verify(&message, &signature).is_ok()
        });
        let text = String::from_utf8_lossy(&bytes).into_owned();
        Said { status, body: serde_json::from_slice(&bytes).unwrap_or(Value::Null), text, signed }
    }

    async fn prepay(&self, order: &Value) -> Said {
        self.call("POST", "/v3/pay/transactions/native", Some(order)).await
    }

    fn pays(&self, code_url: &Value) -> Outcome {
        pay(&web::Data::from(Arc::clone(&self.server)), code_url, "somebody")
    }
}

fn code(said: &Said) -> (u16, &str) {
    (said.status, said.body["code"].as_str().unwrap_or_default())
}

#[actix_web::test]
async fn an_order_is_created_paid_found_and_refunded_and_every_success_is_signed() {
    let client = client();
    let created = client.prepay(&order("T20260101")).await;
    assert!(created.status == 200 && created.signed, "{}", created.body);
    let query = "/v3/pay/transactions/out-trade-no/T20260101?mchid=1900000001";
    let open = client.call("GET", query, None).await;
    assert!(open.signed && open.body["trade_state"] == "NOTPAY");
    assert!(matches!(client.pays(&created.body["code_url"]), Outcome::Paid { .. }));
    assert_eq!(client.pays(&created.body["code_url"]), Outcome::Refused("already_paid"));
    let paid = client.call("GET", query, None).await;
    assert_eq!(
        (&paid.body["trade_state"], &paid.body["amount"]["payer_total"]),
        (&json!("SUCCESS"), &json!(1850))
    );
    let by_id =
        format!("/v3/pay/transactions/id/{}?mchid=1900000001", paid.body["transaction_id"].as_str().unwrap());
    assert_eq!(client.call("GET", &by_id, None).await.body["out_trade_no"], "T20260101");
    let close = "/v3/pay/transactions/out-trade-no/T20260101/close";
    assert_eq!(
        code(&client.call("POST", close, Some(&json!({ "mchid": "1900000001" }))).await),
        (400, "ORDERPAID")
    );
    let refund = |no: &str, fen: i64| {
        json!({ "out_trade_no": "T20260101", "out_refund_no": no,
            "amount": { "refund": fen, "total": 1850, "currency": "CNY" } })
    };
    let refunds = "/v3/refund/domestic/refunds";
    for (no, fen, expected) in [
        ("R1", 850, (200, "")),
        ("R1", 850, (200, "")),
        ("R1", 851, (400, "INVALID_REQUEST")),
        ("R2", 1001, (400, "INVALID_REQUEST")),
    ] {
        assert_eq!(code(&client.call("POST", refunds, Some(&refund(no, fen))).await), expected, "{no} {fen}");
    }
    client.server.world.clock.set_offset_s(1);
    assert_eq!(client.call("GET", &format!("{refunds}/R1"), None).await.body["status"], "SUCCESS");
    let kinds: Vec<&str> = client.server.world.books.after(0, 10).iter().map(|line| line.kind).collect();
    assert_eq!(kinds, ["capture", "refund"]);
}

#[actix_web::test]
async fn a_repeat_is_the_same_order_and_a_closed_number_is_dead() {
    let client = client();
    let first = client.prepay(&order("T20260101")).await;
    let second = client.prepay(&order("T20260101")).await;
    assert_ne!(
        first.body["code_url"], second.body["code_url"],
        "a repeat gets a fresh code, and the old one dies"
    );
    assert_eq!(client.pays(&first.body["code_url"]), Outcome::Refused("unknown_credential"));
    let mut other = order("T20260101");
    other["amount"]["total"] = json!(1851);
    assert_eq!(code(&client.prepay(&other).await), (403, "OUT_TRADE_NO_USED"));
    let close = "/v3/pay/transactions/out-trade-no/T20260101/close";
    for _ in 0..2 {
        let closed = client.call("POST", close, Some(&json!({ "mchid": "1900000001" }))).await;
        assert!(closed.status == 204 && closed.signed);
    }
    assert_eq!(client.pays(&second.body["code_url"]), Outcome::Refused("closed"));
    assert_eq!(code(&client.prepay(&order("T20260101")).await), (400, "ORDER_CLOSED"));
    let unknown = "/v3/pay/transactions/out-trade-no/T29999999?mchid=1900000001";
    assert_eq!(code(&client.call("GET", unknown, None).await), (404, "ORDER_NOT_EXIST"));
}

#[actix_web::test]
async fn every_wrong_field_is_refused_unsigned_with_its_place() {
    let client = client();
    let table = [
        ("/out_trade_no", json!("T1")),
        ("/out_trade_no", json!("T 2026 0101")),
        ("/description", json!("")),
        ("/description", json!("x".repeat(128))),
        ("/description", json!("noodles 🍜")),
        ("/notify_url", json!("https://pay.example.com/n?x=1")),
        ("/amount/total", json!(0)),
        ("/amount/total", json!("1850")),
        ("/amount/currency", json!("USD")),
        ("/attach", json!(null)),
        ("/colour", json!("red")),
        ("/time_expire", json!("tomorrow")),
    ];
    for (pointer, value) in table {
        let mut wrong = order("T20260101");
        match pointer.strip_prefix("/amount/") {
            Some(key) => wrong["amount"][key] = value,
            None => wrong[pointer.trim_start_matches('/')] = value,
        }
        let said = client.prepay(&wrong).await;
        assert_eq!(code(&said), (400, "PARAM_ERROR"), "{pointer}: {}", said.body);
        assert_eq!(said.body["detail"]["field"], pointer);
        assert!(!said.signed, "refusals are not signed");
    }
    let said = client.call("POST", "/v3/pay/transactions/jsapi", Some(&order("T20260101"))).await;
    assert_eq!(said.body["detail"]["field"], "/payer/openid");
}

#[actix_web::test]
async fn a_wrong_signature_is_shown_what_the_server_signed_and_an_old_clock_is_told_so() {
    let client = client();
    let now = client.server.world.clock.now().secs();
    let target = "/v3/pay/transactions/out-trade-no/T20260101?mchid=1900000001";
    let said = client.send("GET", target, "", now, "x").await;
    assert_eq!(code(&said), (401, "SIGN_ERROR"));
    assert_eq!(said.body["detail"]["sign_information"]["url"], target);
    let late = client.send("GET", target, "", now - 301, "").await;
    assert_eq!(code(&late), (401, "SIGN_ERROR"));
    assert!(late.body["message"].as_str().unwrap().contains("5分钟"));
}

#[actix_web::test]
async fn the_platform_certificate_opens_under_the_apiv3_key() {
    let client = client();
    let listed = client.call("GET", "/v3/certificates", None).await;
    let sealed = &listed.body["data"][0]["encrypt_certificate"];
    let nonce: [u8; 12] = sealed["nonce"].as_str().unwrap().as_bytes().try_into().unwrap();
    let text = STANDARD.decode(sealed["ciphertext"].as_str().unwrap()).unwrap();
    let open = ::keys::open(&client.server.keys.apiv3, &nonce, b"certificate", &text).unwrap();
    assert_eq!(open, std::fs::read(client.dir.path().join("platform_cert.pem")).unwrap());
    assert_eq!(listed.body["data"][0]["serial_no"].as_str().unwrap().len(), 40);
}

#[actix_web::test]
async fn the_keys_folder_is_kept_and_closed_to_others() {
    use std::os::unix::fs::PermissionsExt as _;

    let client = client();
    let read = || std::fs::read(client.dir.path().join("merchant_key.pem")).unwrap();
    let before = read();
    Wechat::open(client.dir.path(), "http://127.0.0.1:2", Arc::clone(&client.server.world)).unwrap();
    assert_eq!(read(), before);
    for entry in std::fs::read_dir(client.dir.path()).unwrap() {
        let entry = entry.unwrap();
        assert_eq!(entry.metadata().unwrap().permissions().mode() & 0o077, 0, "{}", entry.path().display());
    }
    let text = std::fs::read_to_string(client.dir.path().join("credentials.toml")).unwrap();
    assert!(text.contains("base_url = \"http://127.0.0.1:2\""), "{text}");
}

#[actix_web::test]
async fn a_days_bills_have_its_money_and_their_hash_and_today_has_none() {
    let client = client();
    let made = client.prepay(&order("BILL0001")).await;
    client.pays(&made.body["code_url"]);
    let refund = json!({ "out_trade_no": "BILL0001", "out_refund_no": "BR1",
        "amount": { "refund": 850, "total": 1850, "currency": "CNY" } });
    assert_eq!(client.call("POST", "/v3/refund/domestic/refunds", Some(&refund)).await.status, 200);
    let day = |offset: i64| {
        let at = domain::Timestamp::from_secs(client.server.world.clock.now().secs() + offset * 86_400);
        crate::clock::beijing(at).chars().take(10).collect::<String>()
    };
    let bill =
        |kind: &str, more: &str, offset: i64| format!("/v3/bill/{kind}?bill_date={}{more}", day(offset));
    let today = client.call("GET", &bill("tradebill", "", 0), None).await;
    assert_eq!(code(&today), (400, "STATEMENT_CREATING"));
    assert_eq!(
        code(&client.call("GET", &bill("tradebill", "", -1), None).await),
        (400, "NO_STATEMENT_EXIST")
    );
    let wrong = client.call("GET", "/v3/bill/tradebill?bill_date=yesterday", None).await;
    assert_eq!(code(&wrong), (400, "PARAM_ERROR"));
    client.server.world.end_day();
    for (kind, more, columns, lines) in [
        ("tradebill", "", 27, 5),
        ("tradebill", "&bill_type=SUCCESS", 20, 4),
        ("tradebill", "&bill_type=REFUND", 29, 4),
        ("fundflowbill", "", 11, 6),
    ] {
        let address = client.call("GET", &bill(kind, more, -1), None).await;
        assert!(address.signed, "{}", address.body);
        let url = address.body["download_url"].as_str().unwrap();
        let file = client.call("GET", url.strip_prefix("http://127.0.0.1:1").unwrap(), None).await;
        assert_eq!(::keys::sha1_hex(file.text.as_bytes()), address.body["hash_value"].as_str().unwrap());
        let text: Vec<&str> = file.text.lines().collect();
        assert_eq!((text[0].split(',').count(), text.len()), (columns, lines), "{kind}{more}");
        let rows = &text[1..lines - 2];
        assert!(rows.iter().all(|row| row.split(",`").count() == columns), "{rows:#?}");
    }
    let address = client.call("GET", &bill("tradebill", "", -1), None).await;
    let url =
        address.body["download_url"].as_str().unwrap().strip_prefix("http://127.0.0.1:1").unwrap().to_owned();
    let file = client.call("GET", &url, None).await;
    assert!(file.text.contains("`2,`18.50,`8.50,`0.00,`0.06000,`18.50,`8.50"), "{}", file.text);
    client.server.world.clock.set_offset_s(301);
    assert_eq!(code(&client.call("GET", &url, None).await), (400, "INVALID_REQUEST"), "the address is over");
}

#[actix_web::test]
async fn frozen_money_is_split_up_to_the_limits_returned_and_unfrozen() {
    let client = client();
    let mut frozen = order("SHARE001");
    frozen["settle_info"] = json!({ "profit_sharing": true });
    frozen["amount"]["total"] = json!(10_000);
    let made = client.prepay(&frozen).await;
    client.pays(&made.body["code_url"]);
    let found = client.call("GET", "/v3/pay/transactions/out-trade-no/SHARE001?mchid=1900000001", None).await;
    let id = found.body["transaction_id"].as_str().unwrap();
    let amounts = format!("/v3/profitsharing/transactions/{id}/amounts");
    assert_eq!(
        client.call("GET", &amounts, None).await.body["unsplit_amount"],
        9_940,
        "the fee is not split"
    );

    let public = std::fs::read_to_string(client.dir.path().join("platform_public_key.pem")).unwrap();
    let name = STANDARD.encode(::keys::oaep_seal(&public, "第一食堂".as_bytes()).unwrap());
    let receiver = json!({ "appid": "wx0000000000000001", "type": "MERCHANT_ID", "account": "1900000109",
        "name": name, "relation_type": "STORE" });
    let add = "/v3/profitsharing/receivers/add";
    assert_eq!(client.call("POST", add, Some(&receiver)).await.status, 200);
    let mut unreadable = receiver.clone();
    unreadable["name"] = json!("第一食堂");
    assert_eq!(code(&client.call("POST", add, Some(&unreadable)).await), (400, "PARAM_ERROR"));

    let split = |no: &str, account: &str, fen: i64| {
        json!({ "appid": "wx0000000000000001", "transaction_id": id, "out_order_no": no, "unfreeze_unsplit": false,
            "receivers": [{ "type": "MERCHANT_ID", "account": account, "amount": fen, "description": "分给档口" }] })
    };
    let splits = "/v3/profitsharing/orders";
    let early = client.call("POST", splits, Some(&split("P1", "1900000109", 2_000))).await;
    assert_eq!(code(&early), (403, "RULE_LIMIT"), "a minute has not passed");
    client.server.world.clock.set_offset_s(61);
    for (no, account, fen, expected) in [
        ("P1", "1900000109", 2_000, (200, "")),
        ("P1", "1900000109", 2_000, (200, "")),
        ("P1", "1900000109", 2_001, (400, "INVALID_REQUEST")),
        ("P2", "1900000109", 1_001, (403, "RULE_LIMIT")),
        ("P3", "1900000110", 500, (200, "")),
        ("P4", "1900000109", 0, (400, "PARAM_ERROR")),
    ] {
        let said = client.call("POST", splits, Some(&split(no, account, fen))).await;
        assert_eq!(code(&said), expected, "{no} {fen}: {}", said.body);
    }
    client.server.world.clock.set_offset_s(62);
    let stranger = client.call("GET", &format!("{splits}/P3?transaction_id={id}"), None).await;
    assert_eq!(stranger.body["receivers"][0]["fail_reason"], "NO_RELATION");
    let done = client.call("GET", &format!("{splits}/P1?transaction_id={id}"), None).await;
    assert_eq!(
        (&done.body["state"], &done.body["receivers"][0]["result"]),
        (&json!("FINISHED"), &json!("SUCCESS"))
    );
    assert_eq!(client.call("GET", &amounts, None).await.body["unsplit_amount"], 7_940);

    let back = |no: &str, fen: i64| {
        json!({ "out_order_no": "P1", "out_return_no": no, "return_mchid": "1900000109", "amount": fen,
            "description": "退餐" })
    };
    let returns = "/v3/profitsharing/return-orders";
    assert_eq!(client.call("POST", returns, Some(&back("X1", 1_500))).await.body["result"], "SUCCESS");
    assert_eq!(code(&client.call("POST", returns, Some(&back("X2", 501))).await), (403, "NOT_ENOUGH"));
    let asked = client.call("GET", &format!("{returns}/X1?out_order_no=P1"), None).await;
    assert_eq!(asked.body["amount"], 1_500);
    let free = json!({ "transaction_id": id, "out_order_no": "U1", "description": "解冻" });
    assert_eq!(client.call("POST", &format!("{splits}/unfreeze"), Some(&free)).await.status, 200);
    assert_eq!(client.call("GET", &amounts, None).await.body["unsplit_amount"], 0);
    let late = client.call("POST", splits, Some(&split("P5", "1900000109", 1))).await;
    assert_eq!(code(&late), (403, "RULE_LIMIT"));
}

#[actix_web::test]
async fn during_a_switch_over_old_and_new_certificate_stand_side_by_side() {
    let client = client();
    let before = client.server.keys.platforms()[0].facts.serial_hex.clone();
    let serial = client.server.rotate().unwrap();
    let listed = client.call("GET", "/v3/certificates", None).await;
    let serials: Vec<&str> =
        listed.body["data"].as_array().unwrap().iter().map(|c| c["serial_no"].as_str().unwrap()).collect();
    assert_eq!(serials, [serial.as_str(), before.as_str()]);
    assert_eq!(client.server.keys.platform_for(None).0, serial, "the newest signs");
    assert_eq!(client.server.keys.platform_for(Some(&before)).0, before, "the old one for who asks for it");
    let world = Arc::new(World::new(1).unwrap());
    let again = Wechat::open(client.dir.path(), "http://127.0.0.1:1", world).unwrap();
    assert_eq!(again.keys.platforms().len(), 2, "kept over a restart");
}

#[actix_web::test]
async fn a_refund_that_ends_badly_gives_nothing_back_until_somebody_handles_it() {
    let client = client();
    let made = client.prepay(&order("ABNORMAL1")).await;
    client.pays(&made.body["code_url"]);
    let refunds = "/v3/refund/domestic/refunds";
    let refund = |no: &str| {
        json!({ "out_trade_no": "ABNORMAL1", "out_refund_no": no,
            "amount": { "refund": 850, "total": 1850, "currency": "CNY" } })
    };
    for (outcome, no) in [("ABNORMAL", "A1"), ("CLOSED", "C1")] {
        let set = crate::FaultSet { refund_outcome: Some(outcome.to_owned()), ..crate::FaultSet::default() };
        client.server.world.set_faults([("wechat".to_owned(), set)].into());
        assert_eq!(client.call("POST", refunds, Some(&refund(no))).await.body["status"], "PROCESSING");
        client.server.world.clock.set_offset_s(1);
        let found = client.call("GET", &format!("{refunds}/{no}"), None).await;
        assert_eq!((&found.body["status"], found.body.get("success_time")), (&json!(outcome), None));
        client.server.world.clock.set_offset_s(0);
    }
    let given = || client.server.world.books.after(0, 10).iter().filter(|l| l.kind == "refund").count();
    assert_eq!(given(), 0);
    let found = client.call("GET", &format!("{refunds}/A1"), None).await;
    let handle = format!("{refunds}/{}/apply-abnormal-refund", found.body["refund_id"].as_str().unwrap());
    let wanted = json!({ "out_refund_no": "A1", "type": "MERCHANT_BANK_CARD" });
    assert_eq!(client.call("POST", &handle, Some(&wanted)).await.status, 200);
    assert_eq!(given(), 1);
    let wrong = json!({ "out_refund_no": "C1", "type": "MERCHANT_BANK_CARD" });
    assert_eq!(client.call("POST", &handle, Some(&wrong)).await.status, 404, "the path names another refund");
}
