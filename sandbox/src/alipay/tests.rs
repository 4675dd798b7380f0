//! The gateway, as a signing client sees it.

#![allow(clippy::indexing_slicing, reason = "tests")]

use std::{sync::Arc, time::Duration};

use ::keys::{RsaSigner, RsaVerifier, Signer as _, Verifier as _};
use actix_web::{App, HttpServer, test, web};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use parking_lot::Mutex;
use serde_json::{Value, json};

use super::{Alipay, form::Params, pay, wire};
use crate::{payer::Outcome, world::World};

const SPKI: &str = "MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAk5luhfvebXQQ2BNe8FVUOrU5vHj5t1zy7jxV3M/MBhHD+kHMOvcRNAHWXnXTX7GsWTzDnntzKQUw5ZOYSiLy6oKV/JC6RMaOxD9wdE7FvrmJ34qnPEvMB12h1FilUXPdPOn/w/rnoiASYG8XjVjvn0xLQaeX0mJhhcJuPvkgzIkko+EVPLvA8KQvmEOUORPW3RskBVOsSFghzzHQhXNlVPExCK/w0CdjP664oXDuV/Ct3wIP+7tSRIJy8ZtF1H+wLhtwiyqqmaWN7lTSaJlZ7wUBFbKtJeS5h5JqQNpjA2Rw39s5MT4pjlBDuODDPbdqS6JRs2Xz9wJ68a0ef3o3ywIDAQAB";

struct Client {
    dir: tempfile::TempDir,
    server: Arc<Alipay>,
    signer: RsaSigner,
    platform: RsaVerifier,
}

struct Said {
    node: Value,
    name: String,
    cert_sn: String,
    signed: bool,
}

impl Said {
    fn code(&self) -> (&str, &str) {
        (self.node["code"].as_str().unwrap(), self.node["sub_code"].as_str().unwrap_or(""))
    }
}

fn client() -> Client {
    let dir = tempfile::tempdir().unwrap();
    let world = Arc::new(World::new(1).unwrap());
    let server = Alipay::open(dir.path(), "http://127.0.0.1:1", world).unwrap();
    let read = |name: &str| std::fs::read_to_string(dir.path().join(name)).unwrap();
    let signer = RsaSigner::from_pkcs8_pem(&read("merchant_key.pem")).unwrap();
    let platform = RsaVerifier::from_spki_pem(&read("platform_public_key.pem")).unwrap();
    Client { dir, server, signer, platform }
}

fn params(method: &str, biz: &Value) -> Params {
    [
        ("app_id", "2021000000000001"),
        ("method", method),
        ("format", "JSON"),
        ("charset", "utf-8"),
        ("sign_type", "RSA2"),
        ("timestamp", "2026-01-01 08:00:00"),
        ("version", "1.0"),
        ("biz_content", &biz.to_string()),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .collect()
}

fn encoded(params: &Params) -> String {
    url::form_urlencoded::Serializer::new(String::new()).extend_pairs(params).finish()
}

impl Client {
    fn sign(&self, mut params: Params) -> Params {
        let text = wire::string_to_sign(&params, &["sign"]);
        let sign = STANDARD.encode(self.signer.sign(text.as_bytes()).unwrap());
        params.insert("sign".to_owned(), sign);
        params
    }

    async fn call(&self, method: &str, biz: &Value) -> Said {
        self.send(&self.sign(params(method, biz))).await
    }

    /// Common parameters in the query, `biz_content` in the body, as the official SDKs send them.
    async fn send(&self, params: &Params) -> Said {
        let (body, query): (Params, Params) =
            params.clone().into_iter().partition(|(name, _)| name == "biz_content");
        self.raw(&encoded(&query), encoded(&body)).await
    }

    async fn raw(&self, query: &str, body: String) -> Said {
        let server = Arc::clone(&self.server);
        let app = test::init_service(App::new().configure(|cfg| server.configure(cfg))).await;
        let request = test::TestRequest::post()
            .uri(&format!("/gateway.do?{query}"))
            .insert_header(("Content-Type", "application/x-www-form-urlencoded;charset=utf-8"))
            .set_payload(body)
            .to_request();
        let answer = test::call_service(&app, request).await;
        assert_eq!(answer.status().as_u16(), 200);
        let bytes = test::read_body(answer).await;
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        let (name, rest) = text.strip_prefix("{\"").unwrap().split_once("\":").unwrap();
        // Cut as SDKs do: from the node's brace to the signature behind it.
        let (raw, sign) = rest.split_once(",\"sign\":\"").unwrap_or((rest.strip_suffix('}').unwrap(), ""));
        let (raw, cert_sn) = raw.split_once(",\"alipay_cert_sn\":\"").unwrap_or((raw, ""));
        let signature = STANDARD.decode(sign.trim_end_matches("\"}")).unwrap();
        Said {
            node: serde_json::from_str(raw).unwrap(),
            name: name.to_owned(),
            cert_sn: cert_sn.trim_end_matches('"').to_owned(),
            signed: self.platform.verify(raw.as_bytes(), &signature).is_ok(),
        }
    }

    async fn status(&self, no: &str) -> String {
        let said = self.call("alipay.trade.query", &json!({ "out_trade_no": no })).await;
        said.node["trade_status"].as_str().unwrap_or(said.code().1).to_owned()
    }

    fn pays(&self, credential: &Value) -> Outcome {
        pay(&self.server, credential, "2088000000000001", false)
    }
}

fn order(no: &str) -> Value {
    json!({ "out_trade_no": no, "total_amount": "18.50", "subject": "牛肉面", "product_code": "JSAPI_PAY",
        "op_app_id": "2021000000000009", "buyer_id": "2088000000000001" })
}

#[actix_web::test]
async fn a_trade_is_created_paid_queried_and_refunded_in_parts_up_to_its_amount() {
    let client = client();
    let made = client.call("alipay.trade.create", &order("T1")).await;
    assert_eq!(
        (made.code(), made.signed, made.name.as_str()),
        (("10000", ""), true, "alipay_trade_create_response")
    );
    assert_eq!(client.status("T1").await, "WAIT_BUYER_PAY");
    let again = client.call("alipay.trade.create", &order("T1")).await;
    assert_eq!(again.node["trade_no"], made.node["trade_no"], "a repeat is the same trade");
    let mut other = order("T1");
    other["total_amount"] = "18.51".into();
    assert_eq!(client.call("alipay.trade.create", &other).await.code().1, "ACQ.CONTEXT_INCONSISTENT");
    assert!(matches!(client.pays(&made.node["trade_no"]), Outcome::Paid { .. }));
    assert_eq!(client.pays(&made.node["trade_no"]), Outcome::Refused("already_paid"));
    assert_eq!(client.status("T1").await, "TRADE_SUCCESS");
    assert_eq!(client.call("alipay.trade.create", &order("T1")).await.code().1, "ACQ.TRADE_HAS_SUCCESS");
    assert_eq!(
        client.call("alipay.trade.close", &json!({ "out_trade_no": "T1" })).await.code().1,
        "ACQ.TRADE_STATUS_ERROR"
    );

    let part = |no: &str, amount: &str| json!({ "out_trade_no": "T1", "refund_amount": amount, "out_request_no": no });
    let first = client.call("alipay.trade.refund", &part("R1", "8.5")).await;
    assert_eq!((&first.node["fund_change"], &first.node["refund_fee"]), (&json!("Y"), &json!("8.50")));
    let repeat = client.call("alipay.trade.refund", &part("R1", "8.50")).await;
    assert_eq!((&repeat.node["fund_change"], &repeat.node["refund_fee"]), (&json!("N"), &json!("8.50")));
    for (no, amount, code) in
        [("R1", "8.51", "ACQ.DISCORDANT_REPEAT_REQUEST"), ("R2", "10.01", "ACQ.REASON_TRADE_REFUND_FEE_ERR")]
    {
        assert_eq!(client.call("alipay.trade.refund", &part(no, amount)).await.code().1, code);
    }
    let rest = client.call("alipay.trade.refund", &part("R2", "10")).await;
    assert_eq!(rest.node["refund_fee"], "18.50", "the sum of all refunds");
    assert_eq!(client.status("T1").await, "TRADE_CLOSED");
    let asked = |no: &str| json!({ "out_trade_no": "T1", "out_request_no": no });
    let known = client.call("alipay.trade.fastpay.refund.query", &asked("R2")).await;
    assert_eq!(
        (&known.node["refund_status"], &known.node["refund_amount"]),
        (&json!("REFUND_SUCCESS"), &json!("10.00"))
    );
    let unknown = client.call("alipay.trade.fastpay.refund.query", &asked("R9")).await;
    assert_eq!((unknown.code().0, unknown.node.get("refund_status")), ("10000", None));
    let books = client.server.world.books.after(0, 9);
    assert_eq!(
        books.iter().map(|l| (l.kind, l.amount_fen)).collect::<Vec<_>>(),
        [("capture", 1850), ("refund", 850), ("refund", 1000)]
    );
}

#[actix_web::test]
async fn a_code_is_no_trade_before_it_is_scanned_and_cancel_undoes_whatever_happened() {
    let client = client();
    let code = |no: &str| json!({ "out_trade_no": no, "total_amount": 5, "subject": "包子" });
    let made = client.call("alipay.trade.precreate", &code("Q1")).await;
    assert_eq!(client.status("Q1").await, "ACQ.TRADE_NOT_EXIST");
    assert_eq!(
        client.call("alipay.trade.close", &json!({ "out_trade_no": "Q1" })).await.code().1,
        "ACQ.TRADE_NOT_EXIST"
    );
    assert!(
        matches!(client.pays(&json!({ "code_url": made.node["qr_code"] })), Outcome::Paid { .. }),
        "its code still works"
    );
    let undone = client.call("alipay.trade.cancel", &json!({ "out_trade_no": "Q1" })).await;
    assert_eq!((&undone.node["action"], &undone.node["retry_flag"]), (&json!("refund"), &json!("N")));
    assert_eq!(client.status("Q1").await, "TRADE_CLOSED");
    let again = client.call("alipay.trade.cancel", &json!({ "out_trade_no": "Q1" })).await;
    assert_eq!((again.code().0, client.server.world.books.after(0, 9).len()), ("10000", 2), "refunded once");

    let made = client.call("alipay.trade.precreate", &code("Q2")).await;
    client.call("alipay.trade.cancel", &json!({ "out_trade_no": "Q2" })).await;
    assert_eq!(client.pays(&made.node["qr_code"]), Outcome::Refused("expired"));
    assert_eq!(
        client.call("alipay.trade.cancel", &json!({ "out_trade_no": "Q9" })).await.node.get("action"),
        None
    );
}

#[actix_web::test]
async fn a_cashier_address_makes_its_trade_when_it_is_opened_and_credit_can_be_forbidden() {
    let client = client();
    let mut biz = json!({ "out_trade_no": "W1", "total_amount": "9.90", "subject": "奶茶 <大杯>",
        "product_code": "QUICK_WAP_WAY", "disable_pay_channels": "credit_group" });
    let address = |biz: &Value| {
        let signed = client.sign(params("alipay.trade.wap.pay", biz));
        json!({ "h5_url": format!("http://127.0.0.1:1/gateway.do?{}", encoded(&signed)) })
    };
    assert_eq!(pay(&client.server, &address(&biz), "", true), Outcome::Refused("no_payment_instruments"));
    assert!(matches!(client.pays(&address(&biz)), Outcome::Paid { .. }));
    assert_eq!(client.pays(&address(&biz)), Outcome::Refused("already_paid"));
    biz["total_amount"] = "0.90".into();
    let forged = address(&biz)["h5_url"].as_str().unwrap().replace("0.90", "0.10");
    assert_eq!(
        client.pays(&json!(forged)),
        Outcome::Refused("unknown_credential"),
        "another amount than was signed"
    );
}

#[actix_web::test]
async fn every_wrong_call_is_named_and_only_a_known_app_gets_a_signature() {
    let client = client();
    let good = params("alipay.trade.create", &order("E1"));
    let spoilt = |name: &str, value: &str| {
        let mut params = good.clone();
        params.insert(name.to_owned(), value.to_owned());
        client.sign(params)
    };
    for (name, value, code, sub_code, signed) in [
        ("app_id", "2021000000000002", "40002", "isv.invalid-app-id", false),
        ("app_id", "", "40001", "isv.missing-app-id", false),
        ("method", "alipay.trade.nonsense", "40002", "isv.invalid-method", true),
        ("sign_type", "RSA", "40002", "isv.invalid-signature-type", true),
        ("sign_type", "", "40001", "isv.missing-signature-type", true),
        ("charset", "latin1", "40002", "isv.invalid-charset", true),
        ("version", "2.0", "40002", "isv.invalid-parameter", true),
        ("timestamp", "2026-01-01T08:00:00", "40002", "isv.invalid-timestamp", true),
        ("timestamp", "", "40001", "isv.missing-timestamp", true),
        ("biz_content", "[]", "40002", "isv.invalid-parameter", true),
        ("biz_content", "{}", "40004", "ACQ.INVALID_PARAMETER", true),
    ] {
        let said = client.send(&spoilt(name, value)).await;
        assert_eq!((said.code(), said.signed), ((code, sub_code), signed), "{name}={value}");
    }
    let mut unsigned = client.sign(good.clone());
    unsigned.insert("subject".to_owned(), "one more".to_owned());
    assert_eq!(client.send(&unsigned).await.code().1, "isv.invalid-signature");
    let twice = encoded(&client.sign(good.clone()));
    assert_eq!(client.raw(&twice, "version=2.0".to_owned()).await.code().1, "isv.invalid-parameter");
    for (member, value) in [
        ("total_amount", json!("1.005")),
        ("total_amount", json!("0")),
        ("out_trade_no", json!("a b")),
        ("subject", json!("a=b")),
        ("timeout_express", json!("1.5h")),
        ("buyer_id", json!("")),
        ("op_app_id", Value::Null),
    ] {
        let mut biz = order("E2");
        biz[member] = value;
        assert_eq!(
            client.call("alipay.trade.create", &biz).await.code().1,
            "ACQ.INVALID_PARAMETER",
            "{member}"
        );
    }
    let mut late = order("E3");
    late["time_expire"] = "2020-01-01 00:00:00".into();
    assert_eq!(
        client.call("alipay.trade.create", &late).await.code().1,
        "ACQ.NOW_TIME_AFTER_EXPIRE_TIME_ERROR"
    );
    assert_eq!(client.status("E1").await, "ACQ.TRADE_NOT_EXIST", "nothing was made by any of them");
}

#[actix_web::test]
async fn a_notification_is_signed_without_sign_type_and_taken_by_the_word_success_alone() {
    let client = client();
    let heard = web::Data::new(Mutex::new(Vec::<web::Bytes>::new()));
    let (state, listener) = (heard.clone(), std::net::TcpListener::bind("127.0.0.1:0").unwrap());
    let url = format!("http://{}/paid?mine=1", listener.local_addr().unwrap());
    let server = HttpServer::new(move || {
        App::new().app_data(state.clone()).default_service(web::to(
            async |body: web::Bytes, heard: web::Data<Mutex<Vec<web::Bytes>>>| {
                let mut heard = heard.lock();
                heard.push(body);
                if heard.len() == 1 { "SUCCESS" } else { "success" }
            },
        ))
    });
    let server = server.workers(1).disable_signals().listen(listener).unwrap().run();
    let stop = server.handle();
    actix_web::rt::spawn(server);
    for no in ["N1", "N2"] {
        let mut asked = params("alipay.trade.create", &order(no));
        asked.insert("notify_url".to_owned(), url.clone());
        let made = client.send(&client.sign(asked)).await;
        assert!(matches!(client.pays(&made.node["trade_no"]), Outcome::Paid { .. }));
    }
    let counted =
        |what: &str| client.server.world.counts().get(&format!("alipay.notifications.{what}")).copied();
    let both = async {
        while (counted("taken"), counted("refused")) != (Some(1), Some(1)) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), both).await.unwrap();
    stop.stop(false).await;
    let form = heard.lock()[0].clone();
    let params: Params = url::form_urlencoded::parse(&form).into_owned().collect();
    let text = wire::string_to_sign(&params, &["sign", "sign_type"]);
    assert!(client.platform.verify(text.as_bytes(), &STANDARD.decode(&params["sign"]).unwrap()).is_ok());
    assert_eq!(
        (params["trade_status"].as_str(), params["total_amount"].as_str()),
        ("TRADE_SUCCESS", "18.50")
    );
}

/// The protocol page's own vectors.
#[::core::prelude::v1::test]
fn the_worked_vectors_of_the_protocol_page_verify() {
    let key = RsaVerifier::from_spki_der(&STANDARD.decode(SPKI).unwrap()).unwrap();
    let verify =
        |text: &str, sign: &str| key.verify(text.as_bytes(), &STANDARD.decode(sign).unwrap()).is_ok();
    let mut request = params("alipay.trade.create", &Value::Null);
    let biz = "{\"out_trade_no\":\"T20260101000001\",\"total_amount\":\"0.01\",\"subject\":\"宿舍 电费\",\"product_code\":\"JSAPI_PAY\",\"buyer_id\":\"2088000000000001\"}";
    request.insert("biz_content".to_owned(), biz.to_owned());
    request.insert("notify_url".to_owned(), "https://pay.example.com/n/alipay?c=1&d=+2".to_owned());
    request.insert("return_url".to_owned(), String::new());
    let text = wire::string_to_sign(&request, &["sign"]);
    assert_eq!(text.len(), 338);
    assert!(verify(
        &text,
        "aY43b4xgxyHAx5af+44YluYl2cNbIXg0+fNeCU74nEr2qRCGFIlwHMCztSaW1aqR0FGhgR8NeHh8kilk0qNCJnm2fLKSy0XRwtOporj83gf5HGhRs5xtkrpMrYHNZcUANXc6/Te/+EatJfc8VkhcmKz8qcbH5F8SqGh1gB7v/tBLPT3ISjUXcG/2ZEINv485bT9ZJ4DzzO8jqBds9i28Jx5G1SxxsfZgeSGnYp4waRlI6wmIEsPOQZIqT2d440Ihj2oxX2V+V96RNv69TEf3k6+tbItf6py5hz1CC3lEYycBVoLR3wleImdU7vTG5XryMf8Gi6mIrD5TzZwB7lJcyw=="
    ));
    let form = "app_id=2021000000000001&charset=utf-8&gmt_create=2026-01-01+08%3A00%3A05&gmt_payment=2026-01-01+08%3A00%3A09&notify_id=20260101000000000000000000000001&notify_time=2026-01-01+08%3A00%3A10&notify_type=trade_status_sync&out_trade_no=T20260101000001&seller_id=2088000000000002&sign_type=RSA2&subject=%E5%AE%BF%E8%88%8D+%E7%94%B5%E8%B4%B9&total_amount=0.01&trade_no=2026010122001400000000000001&trade_status=TRADE_SUCCESS&version=1.0&sign=G6cxv91R3Lw9Rwm8K2HUs%2FxNbC0NzxjPF9uptP3b9o7lt9ZW5Ivg6o2udLgl80%2BklSrhbe91ym58BxTtNJi4Kr4Fro6D61UxjsjZXa1ILIB0Nd%2BoTBDERGThv%2FKvJY2%2BFDsWVWfQNfX3PPUi3bxKexKaXD0LZXJzgFz08FqtvxuV5Q92r7d7diI07xtuKZhLRwJ4qCw%2BMew8lcQqJw%2BKcgbBeDP4EpcI0653Nud2Ugy326hbMy0Jr48QlqmyscYyaQVXQh9inaqdn7%2Bf%2FSLcxjqNnpm2Ys1T6%2BggdZMaliJCYR%2BseQU8fqDczaLRsjZNLx%2BO30H3sawpLQJ4GptqxA%3D%3D";
    let notice = super::form::read(form.as_bytes(), b"", "").unwrap();
    let text = wire::string_to_sign(&notice, &["sign", "sign_type"]);
    assert_eq!(text.len(), 378);
    assert!(verify(&text, &notice["sign"]));
}

#[actix_web::test]
async fn a_call_in_certificate_mode_is_answered_with_the_name_of_alipays_certificate() {
    let client = client();
    let keys = &client.server.keys;
    let with = |app: &str, root: &str| {
        let mut asked = params("alipay.trade.query", &json!({ "out_trade_no": "nobodys" }));
        asked.insert("app_cert_sn".to_owned(), app.to_owned());
        asked.insert("alipay_root_cert_sn".to_owned(), root.to_owned());
        client.sign(asked)
    };
    let (app, root) = (keys.app_cert_sn.clone(), keys.root_cert_sn.clone());
    assert_eq!(app.len(), 32, "MD5 in hex");
    let good = client.send(&with(&app, &root)).await;
    assert_eq!((good.code().1, good.signed), ("ACQ.TRADE_NOT_EXIST", true));
    assert_eq!(good.cert_sn, keys.alipay_cert_sn);
    assert_eq!(client.send(&with("00", &root)).await.code().1, "isv.invalid-app-cert-sn");
    assert_eq!(client.send(&with(&app, "00")).await.code().1, "isv.invalid-alipay-root-cert-sn");
    let wanted = json!({ "alipay_cert_sn": keys.alipay_cert_sn });
    let given = client.call("alipay.open.app.alipaycert.download", &wanted).await;
    let pem = STANDARD.decode(given.node["alipay_cert_content"].as_str().unwrap()).unwrap();
    let root = std::fs::read_to_string(client.dir.path().join("alipay_root_cert.crt")).unwrap();
    let anchors = ::keys::Anchors::from_pem([root.as_str()]).unwrap();
    assert!(anchors.check(std::str::from_utf8(&pem).unwrap(), 1_767_225_600).is_ok());
}

#[actix_web::test]
async fn a_days_bill_has_its_payments_and_refunds_in_gbk_and_an_empty_day_says_so() {
    let client = client();
    let made = client.call("alipay.trade.create", &order("B1")).await;
    client.pays(&made.node["trade_no"]);
    let refund = json!({ "out_trade_no": "B1", "refund_amount": "8.50", "out_request_no": "BR1" });
    client.call("alipay.trade.refund", &refund).await;
    let day = |offset: i64| {
        let at = domain::Timestamp::from_secs(client.server.world.clock.now().secs() + offset * 86_400);
        super::text::time(at).chars().take(10).collect::<String>()
    };
    let method = "alipay.data.dataservice.bill.downloadurl.query";
    let ask = |date: String| json!({ "bill_type": "trade", "bill_date": date });
    assert_eq!(client.call(method, &ask(day(0))).await.code().1, "BILL_NOT_EXIST");
    assert_eq!(client.call(method, &ask("soon".to_owned())).await.code().1, "INVAILID_ARGUMENTS");
    assert_eq!(client.call(method, &ask(day(-1))).await.node["bill_file_code"], "EMPTY_DATA_WITH_BILL_FILE");
    client.server.world.end_day();
    let told = client.call(method, &ask(day(-1))).await;
    let url = told.node["bill_download_url"].as_str().unwrap();
    let path = url.strip_prefix("http://127.0.0.1:1").unwrap();
    let app = test::init_service(App::new().configure(|cfg| client.server.configure(cfg))).await;
    let file = test::call_and_read_body(&app, test::TestRequest::get().uri(path).to_request()).await;
    let mut zip = zip::ZipArchive::new(std::io::Cursor::new(file.to_vec())).unwrap();
    let mut text = Vec::new();
    std::io::Read::read_to_end(&mut zip.by_index(0).unwrap(), &mut text).unwrap();
    let text = encoding_rs::GBK.decode_without_bom_handling_and_without_replacement(&text).unwrap();
    let rows: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
    assert_eq!((rows.len(), rows[0].split(',').count()), (3, 25));
    assert!(rows[1].contains("\t,交易\t,牛肉面\t,") && rows[1].contains("18.50\t"), "{}", rows[1]);
    assert!(
        rows[2].contains("\t,退款\t,") && rows[2].contains("-8.50\t") && rows[2].contains("BR1\t"),
        "{}",
        rows[2]
    );
    client.server.world.clock.set_offset_s(31);
    let late = test::call_service(&app, test::TestRequest::get().uri(path).to_request()).await;
    assert_eq!(late.status().as_u16(), 403, "the address lives thirty seconds");
}

#[actix_web::test]
async fn frozen_money_is_settled_with_bound_receivers_up_to_the_ratio() {
    let client = client();
    let mut frozen = order("RO1");
    frozen["total_amount"] = "100.00".into();
    frozen["extend_params"] = json!({ "royalty_freeze": "true" });
    let made = client.call("alipay.trade.create", &frozen).await;
    let id = made.node["trade_no"].as_str().unwrap();
    let settle = |no: &str, to: &str, amount: &str| {
        json!({ "out_request_no": no, "trade_no": id, "royalty_parameters": [
            { "royalty_type": "transfer", "trans_in_type": "userId", "trans_in": to, "amount": amount, "desc": "档口" }] })
    };
    let method = "alipay.trade.order.settle";
    let unpaid = client.call(method, &settle("X1", "2088000000000009", "1.00")).await;
    assert_eq!(unpaid.code().1, "ACQ.ILLEGAL_SETTLE_STATE");
    client.pays(&made.node["trade_no"]);
    let bind = json!({ "out_request_no": "B1", "receiver_list": [{ "type": "userId", "account": "2088000000000009" }] });
    assert_eq!(client.call("alipay.trade.royalty.relation.bind", &bind).await.node["result_code"], "SUCCESS");
    for (no, to, amount, expected) in [
        ("X1", "2088000000000008", "1.00", "ACQ.ROYALTY_RECEIVER_INVALID"),
        ("X1", "2088000000000009", "30.01", "ACQ.ALLOC_AMOUNT_VALIDATE_ERROR"),
        ("X1", "2088000000000009", "20.00", ""),
        ("X1", "2088000000000009", "20.00", ""),
        ("X1", "2088000000000009", "20.01", "ACQ.DISCORDANT_REPEAT_REQUEST"),
        ("X2", "2088000000000009", "10.01", "ACQ.ALLOC_AMOUNT_VALIDATE_ERROR"),
    ] {
        assert_eq!(
            client.call(method, &settle(no, to, amount)).await.code().1,
            expected,
            "{no} {to} {amount}"
        );
    }
    let asked = client
        .call("alipay.trade.order.settle.query", &json!({ "out_request_no": "X1", "trade_no": id }))
        .await;
    assert_eq!(asked.node["royalty_detail_list"][0]["amount"], "20.00");
    let named = json!({ "trade_no": id });
    let left = || client.call("alipay.trade.order.onsettle.query", &named);
    assert_eq!(left().await.node["unsettled_amount"], "80.00");
    let end =
        json!({ "out_request_no": "X9", "trade_no": id, "extend_params": { "royalty_finish": "true" } });
    assert_eq!(client.call(method, &end).await.code().0, "10000");
    assert_eq!(left().await.node["unsettled_amount"], "0.00");
    let listed = client
        .call("alipay.trade.royalty.relation.batchquery", &json!({ "out_request_no": "Q1", "page_num": 1 }))
        .await;
    assert_eq!(listed.node["receiver_list"].as_array().unwrap().len(), 1);
}

#[actix_web::test]
async fn a_scanned_payer_pays_at_once() {
    let client = client();
    let mut pay = json!({ "out_trade_no": "PAY1", "total_amount": "18.50", "subject": "牛肉面", "scene": "bar_code",
        "auth_code": "28763443825664394" });
    let paid = client.call("alipay.trade.pay", &pay).await;
    assert_eq!((paid.code().0, &paid.node["total_amount"]), ("10000", &json!("18.50")));
    assert_eq!(client.status("PAY1").await, "TRADE_SUCCESS");
    pay["auth_code"] = "123".into();
    pay["out_trade_no"] = "PAY2".into();
    assert_eq!(client.call("alipay.trade.pay", &pay).await.code().1, "ACQ.PAYMENT_AUTH_CODE_INVALID");
}
