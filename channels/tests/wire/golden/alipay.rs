//! Alipay's gateway, key mode and certificate mode (protocol sections 1, 3 and 5).

use std::collections::BTreeMap;

use bytes::Bytes;
use channels::{Channel as _, NotificationCall, Settlement as _, alipay::Alipay};
use domain::Scene;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{Book, OURS, Served, THEIRS, clock, fetched, settlement, signed_by_them, spoilt, write, zipped};
use crate::{number, prepay_ask, refund_ask, refund_no, server::Request, trade_key};

pub(super) struct Made {
    pub(super) channel: Alipay,
    _dir: TempDir,
}

fn with(base: &str, dir: TempDir, more: Value) -> Made {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let mut options = json!({ "base_url": format!("{base}/gateway.do"), "app_id": "2021000000000001",
        "seller_id": "2088000000000002", "merchant_key": write(dir.path(), "key.pem", OURS),
        "notify_url": "https://pay.example.com/notify/alipay", "signing_threads": 1 });
    for (key, value) in more.as_object().unwrap() {
        options[key] = value.clone();
    }
    let options = serde_json::from_value(options).unwrap();
    Made { channel: Alipay::build("alipay".parse().unwrap(), options, clock()).unwrap(), _dir: dir }
}

pub(super) fn make(base: &str) -> Made {
    let dir = tempfile::tempdir().unwrap();
    let public = write(dir.path(), "public.pem", keys::public_key_pem(THEIRS).unwrap());
    with(base, dir, json!({ "public_key": public }))
}

fn with_certificates(base: &str) -> Made {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str, text: &str| write(dir.path(), name, text);
    let more = json!({ "app_cert": path("app.pem", include_str!("keys/our_cert.pem")),
        "alipay_cert": path("alipay.pem", include_str!("keys/alipay_cert.pem")),
        "alipay_root_cert": path("root.pem", include_str!("keys/root_cert.pem")) });
    with(base, dir, more)
}

fn answer(method: &str, node: &Value, cert: Option<&str>, good: bool) -> Served {
    let (name, node) = (format!("{}_response", method.replace('.', "_")), node.to_string());
    let signature = signed_by_them(node.as_bytes());
    let signature = if good { signature } else { spoilt(&signature) };
    let named = cert.map(|sn| format!("\"alipay_cert_sn\":\"{sn}\",")).unwrap_or_default();
    let body = format!("{{\"{name}\":{node},{named}\"sign\":\"{signature}\"}}");
    Served::new(200, vec![("Content-Type", "text/html;charset=utf-8".to_owned())], body)
}

fn form(request: &Request) -> BTreeMap<String, String> {
    url::form_urlencoded::parse(&request.body).into_owned().collect()
}

/// Success with these members.
fn done(more: Value) -> impl Fn(&Request, bool) -> Served + Send + Sync + Clone + 'static {
    let mut node = json!({ "code": "10000", "msg": "Success" });
    for (key, value) in more.as_object().unwrap() {
        node[key] = value.clone();
    }
    move |request, good| answer(&form(request)["method"], &node, None, good)
}

const BILL: &str = "#支付宝业务明细查询\r
#账号：[20880000000000020156]\r
#-----------------------------------------业务明细列表----------------------------------------\r
支付宝交易号,商户订单号,业务类型,商品名称,创建时间,完成时间,门店编号,门店名称,操作员,终端号,对方账户,订单金额（元）,商家实收（元）,支付宝红包（元）,集分宝（元）,支付宝优惠（元）,商家优惠（元）,券核销金额（元）,券名称,商家红包消费金额（元）,卡消费金额（元）,退款批次号/请求号,服务费（元）,分润（元）,备注\r
2026010122001400000000000001\t,01j0000000e00800000000000101\t,交易\t,牛肉面\t,2026-01-01 08:00:05\t,2026-01-01 08:00:09\t,\t,\t,\t,\t,x\t,12.50\t,12.50\t,0.00\t,0.00\t,0.00\t,0.00\t,0.00\t,\t,0.00\t,0.00\t,\t,-0.08\t,0.00\t,\t\r
#-----------------------------------------业务明细列表结束------------------------------------\r
#交易合计：1笔，商家实收共12.50元\r
#退款合计：0笔，商家实收退款共0.00元\r
";

pub(super) fn notification(status: &str, more: &[(&str, &str)], good: bool) -> NotificationCall {
    let number = number();
    let mut params: BTreeMap<&str, &str> = [
        ("app_id", "2021000000000001"),
        ("charset", "utf-8"),
        ("gmt_create", "2026-01-01 08:00:05"),
        ("notify_id", "20260101000000000000000000000001"),
        ("notify_time", "2026-01-01 08:00:10"),
        ("notify_type", "trade_status_sync"),
        ("out_trade_no", number.as_str()),
        ("seller_id", "2088000000000002"),
        ("subject", "牛肉面"),
        ("total_amount", "12.50"),
        ("trade_no", "2026010122001400000000000001"),
        ("trade_status", status),
        ("version", "1.0"),
    ]
    .into();
    params.extend(more.iter().copied());
    // Unlike in requests, `sign_type` is not part of what is signed.
    let text = params.iter().map(|(k, v)| format!("{k}={v}")).collect::<Vec<_>>().join("&");
    let signature = signed_by_them(text.as_bytes());
    let signature = if good { signature } else { spoilt(&signature) };
    params.insert("sign_type", "RSA2");
    params.insert("sign", &signature);
    let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(&params).finish();
    let kind = "application/x-www-form-urlencoded; charset=utf-8".to_owned();
    let (method, target) = ("POST".to_owned(), "/notify/alipay".to_owned());
    let headers = vec![("Content-Type".to_owned(), kind)];
    NotificationCall { method, target, headers, body: Bytes::from(body), remote: None }
}

pub(super) fn paid(good: bool) -> NotificationCall {
    notification("TRADE_SUCCESS", &[("gmt_payment", "2026-01-01 08:00:09")], good)
}

async fn settlement_samples(book: &mut Book) {
    const TRADE: &str = "2026010122001400000000000001";
    const STALL: &str = "2088000000000109";
    const COOK: &str = "cook@example.edu";
    let (ask, key) = (settlement::ask(TRADE, STALL, COOK), settlement::key(1, TRADE));
    let person = settlement::person(COOK);
    let known = || done(json!({ "result_code": "SUCCESS" }));
    book.call("settlement_receiver_add", make, known(), async |m| m.channel.receiver_add(&person).await)
        .await;
    book.call("settlement_receiver_delete", make, known(), async |m| {
        m.channel.receiver_delete(&person).await
    })
    .await;
    let taken = || done(json!({ "trade_no": TRADE, "settle_no": "20260101080200000000000000000001" }));
    book.call("settlement_split", make, taken(), async |m| m.channel.split(&ask).await).await;
    let line = |to: &str, amount: &str, state: &str, error: &str| {
        json!({ "operation_type": "transfer", "state": state, "trans_in": to, "trans_out": "2088000000000002",
            "amount": amount, "detail_id": "00000000000000000001", "execute_dt": "2026-01-01 08:02:00",
            "error_code": error })
    };
    let lines = done(
        json!({ "out_request_no": settlement::split_no(1), "operation_dt": "2026-01-01 08:02:00",
        "royalty_detail_list": [line(STALL, "2.00", "SUCCESS", ""), line(COOK, "1.00", "FAIL", "TXN_RESULT_ACCOUNT_NOT_EXIST")] }),
    );
    book.call("settlement_split_query", make, lines, async |m| m.channel.split_query(&key).await).await;
    let rest = settlement::key(2, TRADE);
    book.call("settlement_release", make, taken(), async |m| m.channel.release(&rest).await).await;
    let left = done(json!({ "unsettled_amount": "9.50" }));
    book.call("settlement_remaining", make, left, async |m| m.channel.remaining(TRADE).await).await;
}

#[tokio::test]
async fn every_message_of_alipay_is_its_sample() {
    let mut book = Book::open("alipay");
    let no = number();
    let qr =
        json!({ "out_trade_no": no.as_str(), "qr_code": "https://qr.alipay.com/bax03431ljhokirwl38f00a7" });
    let native = prepay_ask(Scene::Native);
    book.call("prepay_native", make, done(qr), async |m| m.channel.prepay(&native).await).await;
    let trade = json!({ "out_trade_no": no.as_str(), "trade_no": "2026010122001400000000000001" });
    let mut jsapi = prepay_ask(Scene::Jsapi);
    jsapi.openid = Some("2088000000000001".to_owned());
    book.call("prepay_jsapi", make, done(trade.clone()), async |m| m.channel.prepay(&jsapi).await).await;
    // No exchange: the payer's browser brings the signed request to the gateway.
    let h5 = prepay_ask(Scene::H5);
    book.call("prepay_h5", make, done(json!({})), async |m| m.channel.prepay(&h5).await).await;
    let paid_trade = json!({ "out_trade_no": no.as_str(), "trade_no": "2026010122001400000000000001",
        "trade_status": "TRADE_SUCCESS", "total_amount": "12.50", "send_pay_date": "2026-01-01 08:00:09",
        "buyer_logon_id": "159****5620" });
    book.call("query", make, done(paid_trade.clone()), async |m| m.channel.query(&trade_key()).await).await;
    let unknown = |request: &Request, good: bool| {
        let node = json!({ "code": "40004", "msg": "Business Failed", "sub_code": "ACQ.TRADE_NOT_EXIST",
            "sub_msg": "交易不存在" });
        answer(&form(request)["method"], &node, None, good)
    };
    book.call("probe", make, unknown, async |m| m.channel.probe().await).await;
    book.call("close", make, done(trade), async |m| m.channel.close(&trade_key()).await).await;
    let refunded = json!({ "out_trade_no": no.as_str(), "trade_no": "2026010122001400000000000001",
        "fund_change": "Y", "refund_fee": "2.50", "send_back_fee": "2.50" });
    book.call("refund", make, done(refunded), async |m| m.channel.refund(&refund_ask()).await).await;
    let found = json!({ "out_trade_no": no.as_str(), "trade_no": "2026010122001400000000000001",
        "out_request_no": refund_no().as_str(), "refund_status": "REFUND_SUCCESS", "refund_amount": "2.50",
        "total_amount": "12.50", "gmt_refund_pay": "2026-01-01 08:01:00" });
    book.call("refund_query", make, done(found), async |m| m.channel.refund_query(&refund_ask()).await).await;
    let bill = |request: &Request, good: bool| {
        if request.method == "GET" {
            return Served::new(200, Vec::new(), zipped("2088_detail.csv", &encoding_rs::GBK.encode(BILL).0));
        }
        let url = format!("http://{}/download?fileId=0001", request.header("host"));
        done(json!({ "bill_download_url": url }))(request, good)
    };
    book.call("bill", make, bill, async |m| fetched(&m.channel).await).await;

    // An answer under a certificate that is not known yet: it is fetched, descends from the root, and counts.
    let facts = keys::CertificateFacts::from_pem(include_str!("keys/alipay_new_cert.pem")).unwrap();
    let new_sn = keys::md5_hex(format!("{}{}", facts.issuer, facts.serial_decimal).as_bytes());
    let certificates = move |request: &Request, good: bool| {
        let method = &form(request)["method"];
        if method != "alipay.open.app.alipaycert.download" {
            let mut node = json!({ "code": "10000", "msg": "Success" });
            node.as_object_mut().unwrap().extend(paid_trade.as_object().unwrap().clone());
            return answer(method, &node, Some(&new_sn), good);
        }
        let pem = include_str!("keys/alipay_new_cert.pem");
        let content = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, pem);
        answer(
            method,
            &json!({ "code": "10000", "msg": "Success", "alipay_cert_content": content }),
            None,
            good,
        )
    };
    book.call("certificates", with_certificates, certificates, async |m| m.channel.query(&trade_key()).await)
        .await;

    settlement_samples(&mut book).await;

    let made = make("http://127.0.0.1:1");
    for (name, status, more) in [
        ("notification_payment", "TRADE_SUCCESS", &[("gmt_payment", "2026-01-01 08:00:09")][..]),
        ("notification_closed", "TRADE_CLOSED", &[]),
        ("notification_waiting", "WAIT_BUYER_PAY", &[]),
    ] {
        book.notification(
            name,
            &made.channel,
            &notification(status, more, true),
            &notification(status, more, false),
        );
    }
    book.close();
}
