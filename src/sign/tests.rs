//! Every mistake is made for real, and expected by its name.

#![allow(clippy::indexing_slicing, reason = "tests")]

use base64::{Engine as _, engine::general_purpose::STANDARD};
use keys::{RsaSigner, Signer as _, Verifier as _};

use super::*;

struct Signing {
    signer: RsaSigner,
}

impl Signing {
    fn new() -> Signing {
        Signing { signer: RsaSigner::from_pkcs8_pem(&keys::generate_rsa_pem(2048).unwrap()).unwrap() }
    }

    fn sign(&self, text: &[u8]) -> String {
        STANDARD.encode(self.signer.sign(text).unwrap())
    }

    /// The name of what was signed: `right`, a mistake, or nothing known.
    fn verdict(&self, view: &View) -> &'static str {
        let verifier = self.signer.verifier().unwrap();
        let signature = view.signature.as_deref().unwrap_or_default();
        if verifier.verify(&view.signed, signature).is_ok() {
            return "right";
        }
        let fits = view.mistakes.iter().find(|m| verifier.verify(&m.text, signature).is_ok());
        fits.map_or("unknown", |m| m.name)
    }
}

const BODY: &str =
    r#"{"mchid":"1900000001","description":"宿舍 <电费>","amount":{"total":1,"currency":"CNY"}}"#;

fn wechat_request(signature: &str, method: &str, target: &str, body: &str) -> Request {
    let authorization = format!(
        "WECHATPAY2-SHA256-RSA2048 mchid=\"1900000001\",nonce_str=\"n0nce\",signature=\"{signature}\",timestamp=\"1767225600\",serial_no=\"0A01\""
    );
    Request {
        method: method.to_owned(),
        target: target.to_owned(),
        headers: vec![
            ("authorization".to_owned(), authorization),
            ("Host".to_owned(), "api.example.com".to_owned()),
        ],
        body: body.as_bytes().to_vec(),
        answer: None,
    }
}

#[test]
fn wechats_mistakes_are_named_by_the_signature_itself() {
    let signing = Signing::new();
    let target = "/v3/pay/out-trade-no/a%7Cb?mchid=1&a=2";
    let text =
        |method: &str, target: &str, body: &str| format!("{method}\n{target}\n1767225600\nn0nce\n{body}\n");
    let good = text("POST", target, BODY);
    let spaced = "{\"amount\": {\"currency\": \"CNY\", \"total\": 1}, \"description\": \"\\u5bbf\\u820d <\\u7535\\u8d39>\", \"mchid\": \"1900000001\"}";
    let table = [
        ("right", good.clone()),
        ("query_left_out", text("POST", "/v3/pay/out-trade-no/a%7Cb", BODY)),
        ("query_reordered", text("POST", "/v3/pay/out-trade-no/a%7Cb?a=2&mchid=1", BODY)),
        ("url_decoded", text("POST", "/v3/pay/out-trade-no/a|b?mchid=1&a=2", BODY)),
        ("whole_address", text("POST", &format!("https://api.example.com{target}"), BODY)),
        ("method_case", text("post", target, BODY)),
        ("last_line_feed", good.strip_suffix('\n').unwrap().to_owned()),
        ("carriage_returns", good.replace('\n', "\r\n")),
        ("body_left_out", text("POST", target, "")),
        ("body_re_encoded", text("POST", target, spaced)),
        ("unknown", "something else".to_owned()),
    ];
    for (expected, signed) in table {
        let request = wechat_request(&signing.sign(signed.as_bytes()), "POST", target, BODY);
        assert_eq!(signing.verdict(&view(Scheme::Wechat, &request).unwrap()), expected);
    }
    let remarks = |request: &Request| -> Vec<&str> {
        view(Scheme::Wechat, request).unwrap().remarks.iter().map(|r| r.name).collect()
    };
    let mut odd = wechat_request("not base64", "post", "/v3/订单", &BODY.replace("1900000001", "2"));
    odd.headers[0].1 = odd.headers[0].1.replace("1767225600", "1767225600000");
    assert_eq!(
        remarks(&odd),
        ["signature_not_base64", "timestamp_unit", "method_case", "not_percent_encoded", "merchant_differs"]
    );
    assert!(view(Scheme::Wechat, &Request::default()).is_err());
}

fn alipay_request(sign: &str) -> Request {
    let biz = r#"{"out_trade_no":"T1","total_amount":"0.01","subject":"宿舍 电费"}"#;
    let fields = [
        ("method", "alipay.trade.create"),
        ("app_id", "2021000000000001"),
        ("charset", "utf-8"),
        ("sign_type", "RSA2"),
        ("return_url", ""),
        ("notify_url", "https://pay.example.com/n?c=1&d=+2"),
        ("version", "1.0"),
        ("biz_content", biz),
        ("sign", sign),
    ];
    let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
    Request {
        method: "POST".to_owned(),
        target: "/gateway.do".to_owned(),
        body: body.into_bytes(),
        ..Request::default()
    }
}

#[test]
fn alipays_mistakes_are_named_by_the_signature_itself() {
    let signing = Signing::new();
    let plain = view(Scheme::Alipay, &alipay_request("AAAA")).unwrap();
    let right = String::from_utf8(plain.text.clone()).unwrap();
    assert!(
        right.starts_with("app_id=") && !right.contains("return_url") && right.contains("sign_type=RSA2"),
        "{right}"
    );
    let named = |name: &str| plain.mistakes.iter().find(|m| m.name == name).unwrap().text.clone();
    for name in [
        "not_sorted",
        "sign_type_left_out",
        "signed_encoded",
        "body_left_out",
        "empty_kept",
        "body_re_encoded",
        "charset_differs",
    ] {
        let request = alipay_request(&signing.sign(&named(name)));
        assert_eq!(signing.verdict(&view(Scheme::Alipay, &request).unwrap()), name);
    }
    assert_eq!(
        signing.verdict(&view(Scheme::Alipay, &alipay_request(&signing.sign(right.as_bytes()))).unwrap()),
        "right"
    );
    let mut raw = alipay_request("AAAA");
    raw.body = "sign=a b&biz_content={\"subject\":\"¥&=\"}".into();
    let names: Vec<&str> = view(Scheme::Alipay, &raw).unwrap().remarks.iter().map(|r| r.name).collect();
    assert!(
        ["plus_not_encoded", "not_percent_encoded", "value_cut"].iter().all(|n| names.contains(n)),
        "{names:?}"
    );
}

#[test]
fn unionpays_mistakes_are_named_by_the_signature_itself() {
    let signing = Signing::new();
    let request = |signature: &str| {
        let fields = [
            ("version", "5.1.0"),
            ("txnType", "01"),
            ("certId", "68759663125"),
            ("signMethod", "01"),
            ("frontUrl", ""),
            ("backUrl", "https://pay.example.com/n"),
            ("orderId", "20260101080000001"),
            ("signature", signature),
        ];
        let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        Request {
            method: "POST".to_owned(),
            target: "/gateway/api/backTransReq.do".to_owned(),
            body: body.into_bytes(),
            ..Request::default()
        }
    };
    let plain = view(Scheme::Unionpay, &request("AAAA")).unwrap();
    assert_eq!(
        signing.verdict(&view(Scheme::Unionpay, &request(&signing.sign(&plain.signed))).unwrap()),
        "right"
    );
    for name in [
        "hashed_once",
        "not_sorted",
        "signed_encoded",
        "empty_kept",
        "certid_left_out",
        "signmethod_left_out",
    ] {
        let text = &plain.mistakes.iter().find(|m| m.name == name).unwrap().text;
        assert_eq!(signing.verdict(&view(Scheme::Unionpay, &request(&signing.sign(text))).unwrap()), name);
    }
}

#[test]
fn a_dump_is_read_as_curl_and_proxies_write_it() {
    let curl = "* Connected\n> POST /v3/pay?a=1 HTTP/1.1\n> Host: api.example.com\n> Authorization: X y=\"1\"\n>\n{\"a\":1}\n< HTTP/1.1 401 Unauthorized\n< Content-Type: application/json\n<\n{\"code\":\"SIGN_ERROR\"}\n";
    let request = Request::from_dump(curl).unwrap();
    assert_eq!(
        (request.method.as_str(), request.target.as_str(), request.body.as_slice()),
        ("POST", "/v3/pay?a=1", &b"{\"a\":1}"[..])
    );
    assert_eq!(request.header("AUTHORIZATION"), Some("X y=\"1\""));
    assert_eq!(request.answer.as_deref(), Some(&b"{\"code\":\"SIGN_ERROR\"}"[..]));
    let plain =
        Request::from_dump("GET https://api.example.com/v3/x?b=2#frag HTTP/1.1\r\nA: b\r\n\r\n").unwrap();
    assert_eq!((plain.target.as_str(), plain.body.len(), plain.answer), ("/v3/x?b=2", 0, None));
    assert!(Request::from_dump("hello").is_err());
}

#[test]
fn the_first_difference_is_shown_with_its_bytes() {
    let shown = difference(b"POST\n/v3\nx", b"POST\n/v3\r\nx", false).unwrap();
    assert!(
        shown.starts_with("byte 8 (line 2)") && shown.contains("\\n") && shown.contains("\\r"),
        "{shown}"
    );
    assert_eq!(difference(b"abc", b"abc", false), None);
    assert_eq!(difference(b"abcdef", b"abc", true), None, "theirs is cut off");
    assert!(difference(b"abcdef", b"abc", false).unwrap().contains("here it ends"));
}
