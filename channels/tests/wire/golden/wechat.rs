//! WeChat Pay v3 (protocol sections 1 to 6).

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use channels::{Channel as _, NotificationCall, Settlement as _, wechat::WeChat};
use domain::Scene;
use keys::{Verifier as _, reference::ReferenceSigner};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{Book, NOW, OURS, Served, THEIRS, clock, fetched, settlement, signed_by_them, spoilt, write};
use crate::{number, prepay_ask, refund_ask, refund_no, server::Request, trade_key};

const APIV3: &str = "sandbox-apiv3-key-do-not-use-001";
const KEY_ID: &str = "PUB_KEY_ID_0000000000000000000000000000001";
/// The serial of the certificate that the list holds, in hex.
const SERIAL: &str = "732A53C526501";

pub(super) struct Made {
    pub(super) channel: WeChat,
    _dir: TempDir,
}

pub(super) fn make(base: &str) -> Made {
    with(base, json!({}))
}

fn with(base: &str, more: Value) -> Made {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let dir = tempfile::tempdir().unwrap();
    let public = keys::public_key_pem(THEIRS).unwrap();
    let mut options = json!({
        "base_url": base, "mchid": "1900000001", "appid": "wx0000000000000001", "merchant_serial": "0CAFE0",
        "merchant_key": write(dir.path(), "key.pem", OURS), "apiv3_key": APIV3, "public_key_id": KEY_ID,
        "public_key": write(dir.path(), "public.pem", public), "signing_threads": 1,
        "notify_url": "https://pay.example.com/notify/wechat",
    });
    for (key, value) in more.as_object().unwrap() {
        options[key] = value.clone();
    }
    let options = serde_json::from_value(options).unwrap();
    Made { channel: WeChat::build("wechat".parse().unwrap(), &options, clock()).unwrap(), _dir: dir }
}

/// What is masked in the sample is checked here: our signature is over exactly this request.
fn check(request: &Request) {
    let authorization = request.header("authorization").to_owned();
    let part = |name: &str| {
        let (_, rest) = authorization.split_once(&format!("{name}=\"")).unwrap();
        rest.split('"').next().unwrap().to_owned()
    };
    let head = format!("{}\n{}\n{NOW}\n{}\n", request.method, request.target, part("nonce_str"));
    let message = [head.as_bytes(), &request.body, b"\n"].concat();
    let verifier = ReferenceSigner::from_pem(OURS).unwrap().verifier();
    verifier.verify(&message, &STANDARD.decode(part("signature")).unwrap()).unwrap();
}

fn seal(body: &[u8], good: bool, serial: &str) -> Vec<(&'static str, String)> {
    let signature = signed_by_them(&[format!("{NOW}\nnonce-of-wechat\n").as_bytes(), body, b"\n"].concat());
    vec![
        ("Request-ID", "08F5-0".to_owned()),
        ("Wechatpay-Timestamp", NOW.to_string()),
        ("Wechatpay-Nonce", "nonce-of-wechat".to_owned()),
        ("Wechatpay-Serial", serial.to_owned()),
        ("Wechatpay-Signature", if good { signature } else { spoilt(&signature) }),
        ("Wechatpay-Signature-Type", "WECHATPAY2-SHA256-RSA2048".to_owned()),
    ]
}

/// An answer to every call; 4xx are not signed.
fn answering(status: u16, body: Value) -> impl Fn(&Request, bool) -> Served + Send + Sync + Clone + 'static {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    move |request, good| {
        check(request);
        let headers = match status {
            200..300 => seal(body.as_bytes(), good, KEY_ID),
            _ => vec![("Request-ID", "08F5-0".to_owned())],
        };
        Served::new(status, headers, body.clone())
    }
}

fn sealed(nonce: &[u8; 12], aad: &str, clear: &[u8]) -> String {
    STANDARD.encode(keys::seal(APIV3.as_bytes().try_into().unwrap(), nonce, aad.as_bytes(), clear).unwrap())
}

fn trade() -> Value {
    json!({ "mchid": "1900000001", "appid": "wx0000000000000001", "out_trade_no": number().as_str(),
        "transaction_id": "4200000000202601010000000001", "trade_type": "NATIVE", "trade_state": "SUCCESS",
        "trade_state_desc": "支付成功", "bank_type": "OTHERS", "attach": "", "success_time": "2026-01-01T08:00:09+08:00",
        "payer": { "openid": "oSANDBOX0000000000000000001" },
        "amount": { "total": 1250, "payer_total": 1250, "currency": "CNY", "payer_currency": "CNY" } })
}

fn refund(name: &str, status: &str) -> Value {
    json!({ "refund_id": "50300000002026010100000000001", "out_refund_no": refund_no().as_str(),
        "transaction_id": "4200000000202601010000000001", "out_trade_no": number().as_str(), "channel": "ORIGINAL",
        "user_received_account": "支付用户零钱", "success_time": "2026-01-01T08:01:00+08:00",
        "create_time": "2026-01-01T08:00:50+08:00", name: status,
        "amount": { "total": 1250, "refund": 250, "payer_total": 1250, "payer_refund": 250, "currency": "CNY" } })
}

pub(super) fn notification(event: &str, clear: &Value, good: bool) -> NotificationCall {
    let resource = json!({ "algorithm": "AEAD_AES_256_GCM", "original_type": "transaction", "nonce": "sandboxnonce",
        "associated_data": "transaction",
        "ciphertext": sealed(b"sandboxnonce", "transaction", clear.to_string().as_bytes()) });
    let body = json!({ "id": "00000000-0000-5000-8000-000000000001", "create_time": "2026-01-01T08:00:10+08:00",
        "resource_type": "encrypt-resource", "event_type": event, "summary": "支付成功", "resource": resource })
    .to_string();
    let headers = seal(body.as_bytes(), good, KEY_ID).into_iter().map(|(n, v)| (n.to_owned(), v)).collect();
    let (method, target) = ("POST".to_owned(), "/notify/wechat".to_owned());
    NotificationCall { method, target, headers, body: Bytes::from(body), remote: None }
}

pub(super) fn paid(good: bool) -> NotificationCall {
    notification("TRANSACTION.SUCCESS", &trade(), good)
}

const BILL: &str = "\u{feff}交易时间,公众账号ID,商户号,特约商户号,设备号,微信订单号,商户订单号,用户标识,交易类型,交易状态,付款银行,货币种类,应结订单金额,代金券金额,微信退款单号,商户退款单号,退款金额,充值券退款金额,退款类型,退款状态,商品名称,商户数据包,手续费,费率,订单金额,申请退款金额,费率备注\r
`2026-01-01 08:00:09,`wx0000000000000001,`1900000001,`0,`,`4200000000202601010000000001,`01j0000000e00800000000000101,`oSANDBOX0000000000000000001,`NATIVE,`SUCCESS,`OTHERS,`CNY,`12.50,`0.00,`0,`0,`0.00,`0.00,`,`,`牛肉面,`,`0.08000,`0.60%,`12.50,`0.00,`\r
总交易单数,应结订单总金额,退款总金额,充值券退款总金额,手续费总金额,订单总金额,申请退款总金额\r
`1,`12.50,`0.00,`0.00,`0.08000,`12.50,`0.00\r
";

const TRADE: &str = "4200000000202601010000000001";
const STALL: &str = "1900000109";
const COOK: &str = "oSANDBOX0000000000000000009";

/// A split with these receivers, in answers.
fn split(n: u8, state: &str, receivers: &[(&str, &str, i64, &str)]) -> Value {
    let receiver = |(kind, account, amount, result): &(&str, &str, i64, &str)| {
        let mut view = json!({ "type": kind, "account": account, "amount": amount, "description": "餐费",
            "result": result, "detail_id": "36000000000000000000001", "create_time": "2026-01-01T08:02:00+08:00" });
        if *result != "PENDING" {
            view["finish_time"] = json!("2026-01-01T08:02:01+08:00");
        }
        if *result == "CLOSED" {
            view["fail_reason"] = json!("NO_RELATION");
        }
        view
    };
    let receivers: Vec<Value> = receivers.iter().map(receiver).collect();
    json!({ "transaction_id": TRADE, "out_order_no": settlement::split_no(n), "order_id": "3008450740201411110007820472",
        "state": state, "receivers": receivers })
}

async fn settlement_samples(book: &mut Book) {
    let (ask, key) = (settlement::ask(TRADE, STALL, COOK), settlement::key(1, TRADE));
    let person = settlement::person(COOK);
    // A merchant's name is sealed anew each time: that part is checked over the sandbox, which opens it.
    let known = json!({ "type": "PERSONAL_OPENID", "account": COOK, "relation_type": "STORE_OWNER" });
    book.call("settlement_receiver_add", make, answering(200, known), async |m| {
        m.channel.receiver_add(&person).await
    })
    .await;
    let gone = json!({ "type": "PERSONAL_OPENID", "account": COOK });
    book.call("settlement_receiver_delete", make, answering(200, gone), async |m| {
        m.channel.receiver_delete(&person).await
    })
    .await;
    let both = |first, second| [("MERCHANT_ID", STALL, 200, first), ("PERSONAL_OPENID", COOK, 100, second)];
    let taken = answering(200, split(1, "PROCESSING", &both("PENDING", "PENDING")));
    book.call("settlement_split", make, taken, async |m| m.channel.split(&ask).await).await;
    let done = answering(200, split(1, "FINISHED", &both("SUCCESS", "CLOSED")));
    book.call("settlement_split_query", make, done, async |m| m.channel.split_query(&key).await).await;
    let own = answering(200, split(2, "PROCESSING", &[("MERCHANT_ID", "1900000001", 942, "PENDING")]));
    let rest = settlement::key(2, TRADE);
    book.call("settlement_release", make, own, async |m| m.channel.release(&rest).await).await;
    let back = settlement::back(STALL);
    let given = json!({ "order_id": "3008450740201411110007820472", "out_order_no": settlement::split_no(1),
        "out_return_no": settlement::split_no(3), "return_id": "3009450740201411110007820473", "return_mchid": STALL,
        "amount": 150, "description": "退款", "result": "SUCCESS", "create_time": "2026-01-01T08:03:00+08:00",
        "finish_time": "2026-01-01T08:03:00+08:00" });
    book.call("settlement_give_back", make, answering(200, given.clone()), async |m| {
        m.channel.give_back(&back).await
    })
    .await;
    book.call("settlement_give_back_query", make, answering(200, given), async |m| {
        m.channel.give_back_query(&back).await
    })
    .await;
    let left = answering(200, json!({ "transaction_id": TRADE, "unsplit_amount": 942 }));
    book.call("settlement_remaining", make, left, async |m| m.channel.remaining(TRADE).await).await;
}

#[tokio::test]
async fn every_message_of_wechat_is_its_sample() {
    let mut book = Book::open("wechat");
    for (name, scene, answer) in [
        ("prepay_native", Scene::Native, json!({ "code_url": "weixin://wxpay/bizpayurl?pr=8HqLk3Zz1" })),
        ("prepay_jsapi", Scene::Jsapi, json!({ "prepay_id": "wx201410272009395522657a690389285100" })),
        (
            "prepay_h5",
            Scene::H5,
            json!({ "h5_url": "https://wx.tenpay.com/cgi-bin/mmpayweb-bin/checkmweb?prepay_id=wx1" }),
        ),
    ] {
        book.call(name, make, answering(200, answer), async |m| m.channel.prepay(&prepay_ask(scene)).await)
            .await;
    }
    book.call("query", make, answering(200, trade()), async |m| m.channel.query(&trade_key()).await).await;
    let unknown = json!({ "code": "ORDER_NOT_EXIST", "message": "订单不存在" });
    book.call("probe", make, answering(404, unknown), async |m| m.channel.probe().await).await;
    book.call("close", make, answering(204, Value::Null), async |m| m.channel.close(&trade_key()).await)
        .await;
    let paid_already = json!({ "code": "ORDERPAID", "message": "该订单已支付" });
    book.call("close_of_a_paid_trade", make, answering(400, paid_already), async |m| {
        m.channel.close(&trade_key()).await
    })
    .await;
    let processing = refund("status", "PROCESSING");
    book.call("refund", make, answering(200, processing), async |m| m.channel.refund(&refund_ask()).await)
        .await;
    let done = answering(200, refund("status", "SUCCESS"));
    book.call("refund_query", make, done, async |m| m.channel.refund_query(&refund_ask()).await).await;
    let named = answering(
        200,
        json!({ "hash_type": "SHA1", "hash_value": keys::sha1_hex(BILL.as_bytes()),
        "download_url": "https://api.mch.weixin.qq.com/v3/billdownload/file?token=a%2Bb" }),
    );
    let bill = move |request: &Request, good| match request.target.starts_with("/v3/billdownload") {
        true => Served::new(200, Vec::new(), BILL),
        false => named(request, good),
    };
    book.call("bill", make, bill, async |m| fetched(&m.channel).await).await;

    let certificate = include_str!("keys/alipay_cert.pem");
    let list = json!({ "data": [{ "serial_no": SERIAL, "effective_time": "2025-01-01T08:00:00+08:00",
        "expire_time": "2043-12-31T00:00:00+08:00", "encrypt_certificate": { "algorithm": "AEAD_AES_256_GCM",
        "nonce": "0a1b2c3d4e5f", "associated_data": "certificate",
        "ciphertext": sealed(b"0a1b2c3d4e5f", "certificate", certificate.as_bytes()) } }] })
    .to_string();
    let certificates = move |request: &Request, good| {
        check(request);
        Served::new(200, seal(list.as_bytes(), good, SERIAL), list.clone())
    };
    let only_certificates = |base: &str| {
        let mode = json!({ "platform_certificate_mode": true, "public_key_id": null, "public_key": null });
        with(base, mode)
    };
    book.call("warm_up", only_certificates, certificates, async |m| m.channel.warm_up().await).await;

    settlement_samples(&mut book).await;

    let made = make("http://127.0.0.1:1");
    for (name, event, clear) in [
        ("notification_payment", "TRANSACTION.SUCCESS", trade()),
        ("notification_refund", "REFUND.SUCCESS", refund("refund_status", "SUCCESS")),
        ("notification_refund_abnormal", "REFUND.ABNORMAL", refund("refund_status", "ABNORMAL")),
        ("notification_refund_closed", "REFUND.CLOSED", refund("refund_status", "CLOSED")),
    ] {
        book.notification(
            name,
            &made.channel,
            &notification(event, &clear, true),
            &notification(event, &clear, false),
        );
    }
    book.close();
}
