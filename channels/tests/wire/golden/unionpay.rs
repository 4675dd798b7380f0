//! UnionPay's gateway 5.1.0 (protocol sections 1 to 9).

use std::{collections::BTreeMap, io::Write as _};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use channels::{Channel as _, NotificationCall, unionpay::UnionPay};
use domain::Scene;
use flate2::{Compression, write::ZlibEncoder};
use serde_json::json;
use tempfile::TempDir;

use super::{Book, OURS, Served, clock, fetched, signed_by_them, spoilt, write, zipped};
use crate::{number, prepay_ask, refund_ask, refund_no, server::Request, trade_key};

const SIGNER: &str = include_str!("keys/signer_cert.pem");

pub(super) struct Made {
    pub(super) channel: UnionPay,
    _dir: TempDir,
}

pub(super) fn make(base: &str) -> Made {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let dir = tempfile::tempdir().unwrap();
    let pfx = keys::write_pkcs12(OURS, include_str!("keys/our_cert.pem"), "000000").unwrap();
    let root = write(dir.path(), "root.pem", include_str!("keys/root_cert.pem"));
    let options = json!({ "base_url": base, "mer_id": "777290058110048", "sign_cert": write(dir.path(), "our.pfx", pfx),
        "sign_cert_password": "000000", "root_cert": root, "middle_cert": root, "scenes": ["native", "h5"],
        "front_url": "https://pay.example.com/back", "notify_url": "https://pay.example.com/notify/unionpay",
        "signing_threads": 1 });
    let options = serde_json::from_value(options).unwrap();
    Made { channel: UnionPay::build("unionpay".parse().unwrap(), options, clock()).unwrap(), _dir: dir }
}

type Fields = BTreeMap<String, String>;

/// Fields as UnionPay signs them: sorted, joined, SHA-256 in hex, and that signed.
fn signed(mut fields: Fields, good: bool) -> Fields {
    fields.insert("version".into(), "5.1.0".into());
    fields.insert("encoding".into(), "UTF-8".into());
    fields.insert("signMethod".into(), "01".into());
    fields.insert("signPubKeyCert".into(), SIGNER.trim().replace('\n', "\r\n"));
    let text = fields.iter().map(|(k, v)| format!("{k}={v}")).collect::<Vec<_>>().join("&");
    let signature = signed_by_them(keys::sha256_hex(text.as_bytes()).as_bytes());
    fields.insert("signature".into(), if good { signature } else { spoilt(&signature) });
    fields
}

/// An answer that repeats what was asked and adds `more`; it is not percent-encoded.
fn answering(
    more: &[(&'static str, String)],
) -> impl Fn(&Request, bool) -> Served + Send + Sync + Clone + 'static + use<> {
    let more = more.to_vec();
    move |request, good| {
        let asked: Fields = url::form_urlencoded::parse(&request.body).into_owned().collect();
        let repeated = ["txnType", "txnSubType", "bizType", "accessType", "merId", "orderId", "txnTime"];
        let mut fields: Fields =
            repeated.iter().filter_map(|n| Some(((*n).to_owned(), asked.get(*n)?.clone()))).collect();
        fields.extend(more.iter().map(|(n, v)| ((*n).to_owned(), v.clone())));
        let body = signed(fields, good).iter().map(|(k, v)| format!("{k}={v}")).collect::<Vec<_>>().join("&");
        Served::new(
            200,
            vec![("Content-Type", "application/x-www-form-urlencoded;charset=UTF-8".into())],
            body,
        )
    }
}

fn said(pairs: &[(&'static str, &str)]) -> Vec<(&'static str, String)> {
    let ok = [("respCode", "00"), ("respMsg", "成功[0000000]")];
    ok.iter()
        .filter(|(n, _)| !pairs.iter().any(|(m, _)| m == n))
        .chain(pairs)
        .map(|(n, v)| (*n, (*v).to_owned()))
        .collect()
}

pub(super) fn notification(kind: &str, number: &str, amount: &str, good: bool) -> NotificationCall {
    let fields: Fields = [
        ("txnType", kind),
        ("txnSubType", "07"),
        ("bizType", "000000"),
        ("accessType", "0"),
        ("merId", "777290058110048"),
        ("orderId", number),
        ("txnTime", "20260101080000"),
        ("txnAmt", amount),
        ("currencyCode", "156"),
        ("respCode", "00"),
        ("respMsg", "成功[0000000]"),
        ("queryId", "202601010800000000001"),
        ("settleAmt", amount),
        ("settleDate", "0101"),
        ("traceNo", "000001"),
        ("traceTime", "0101080009"),
    ]
    .into_iter()
    .map(|(n, v)| (n.to_owned(), v.to_owned()))
    .collect();
    let body =
        url::form_urlencoded::Serializer::new(String::new()).extend_pairs(signed(fields, good)).finish();
    let kind = "application/x-www-form-urlencoded;charset=UTF-8".to_owned();
    let (method, target) = ("POST".to_owned(), "/notify/unionpay".to_owned());
    let headers = vec![("Content-Type".to_owned(), kind)];
    NotificationCall { method, target, headers, body: Bytes::from(body), remote: None }
}

pub(super) fn paid(good: bool) -> NotificationCall {
    notification("01", number().as_str(), "1250", good)
}

/// One line of the file: fixed places, in bytes.
fn bill_line() -> Vec<u8> {
    let mut row = vec![b' '; 607];
    let number = number();
    for (at, text) in [
        (0, "E74"),
        (35, "0101080009"),
        (66, "000000001250"),
        (87, "202601010800000000001"),
        (112, number.as_str()),
        (166, "D000000000008"),
        (215, "01"),
        (271, ""),
        (293, "777290058110048"),
    ] {
        row[at..at + text.len()].copy_from_slice(text.as_bytes());
    }
    [row.as_slice(), b"\r\n"].concat()
}

#[tokio::test]
async fn every_message_of_unionpay_is_its_sample() {
    let mut book = Book::open("unionpay");
    let code =
        answering(&said(&[("qrCode", "https://qr.95516.com/00010000/62231232931193000000000000000001")]));
    let native = prepay_ask(Scene::Native);
    book.call("prepay_native", make, code, async |m| m.channel.prepay(&native).await).await;
    // No exchange: the payer's browser posts the signed form to the cashier.
    let h5 = prepay_ask(Scene::H5);
    book.call("prepay_h5", make, answering(&said(&[])), async |m| m.channel.prepay(&h5).await).await;
    let paid_trade = said(&[
        ("origRespCode", "00"),
        ("origRespMsg", "成功[0000000]"),
        ("queryId", "202601010800000000001"),
        ("txnAmt", "1250"),
        ("currencyCode", "156"),
        ("settleDate", "0101"),
        ("traceTime", "0101080009"),
    ]);
    book.call("query", make, answering(&paid_trade), async |m| m.channel.query(&trade_key()).await).await;
    let waiting = said(&[("origRespCode", "05"), ("origRespMsg", "交易已受理，请稍后查询交易结果[0000005]")]);
    // UnionPay knows no close: this is a query.
    book.call("close", make, answering(&waiting), async |m| m.channel.close(&trade_key()).await).await;
    let unknown = said(&[("respCode", "34"), ("respMsg", "查无此交易[1000034]")]);
    book.call("probe", make, answering(&unknown), async |m| m.channel.probe().await).await;
    let taken = said(&[("queryId", "202601010801000000002"), ("origQryId", "T1"), ("txnAmt", "250")]);
    book.call("refund", make, answering(&taken), async |m| m.channel.refund(&refund_ask()).await).await;
    let refunded = said(&[
        ("origRespCode", "00"),
        ("origRespMsg", "成功[0000000]"),
        ("queryId", "202601010801000000002"),
        ("txnAmt", "250"),
        ("traceTime", "0101080100"),
    ]);
    book.call("refund_query", make, answering(&refunded), async |m| {
        m.channel.refund_query(&refund_ask()).await
    })
    .await;
    let mut packed = ZlibEncoder::new(Vec::new(), Compression::default());
    packed.write_all(&zipped("INN26010188ZM_777290058110048", &bill_line())).unwrap();
    let content = STANDARD.encode(packed.finish().unwrap());
    let file = said(&[
        ("settleDate", "0101"),
        ("fileType", "00"),
        ("fileName", "777290058110048_20260101.zip"),
        ("fileContent", &content),
    ]);
    book.call("bill", make, answering(&file), async |m| fetched(&m.channel).await).await;

    let made = make("http://127.0.0.1:1");
    let (order, refund) = (number(), refund_no());
    for (name, kind, number, amount) in [
        ("notification_payment", "01", order.as_str(), "1250"),
        ("notification_refund", "04", refund.as_str(), "250"),
        ("notification_of_another_kind", "31", order.as_str(), "1250"),
    ] {
        let call = |good| notification(kind, number, amount, good);
        book.notification(name, &made.channel, &call(true), &call(false));
    }
    book.close();
}
