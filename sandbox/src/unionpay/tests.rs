//! The gateway, as a signing client sees it.

#![allow(clippy::indexing_slicing, reason = "tests")]

use std::{io::Read as _, sync::Arc};

use ::keys::{Anchors, Identity, RsaSigner, RsaVerifier, Secret, Signer as _, Verifier as _, sha256_hex};
use actix_web::{App, test};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use domain::Timestamp;
use serde_json::{Value, json};

use super::{
    UnionPay,
    fields::{Fields, time},
    pay,
};
use crate::{payer::Outcome, world::World};

struct Client {
    dir: tempfile::TempDir,
    server: Arc<UnionPay>,
    signer: RsaSigner,
    cert_id: String,
}

fn client() -> Client {
    let dir = tempfile::tempdir().unwrap();
    let server = UnionPay::open(dir.path(), "http://127.0.0.1:1", Arc::new(World::new(1).unwrap())).unwrap();
    let file = std::fs::read(dir.path().join("merchant.pfx")).unwrap();
    let merchant = Identity::open(&file, &Secret::new("000000")).unwrap();
    let signer = RsaSigner::from_pkcs8_pem(merchant.key_pem.expose()).unwrap();
    Client { dir, server, signer, cert_id: merchant.certificate.serial_decimal }
}

impl Client {
    fn now(&self) -> String {
        time(self.server.world.clock.now())
    }

    fn fields(&self, kinds: &str, more: &[(&str, &str)]) -> Fields {
        let (kind, sub) = kinds.split_once('/').unwrap();
        let mut fields = Fields::from([
            ("version", "5.1.0"),
            ("encoding", "UTF-8"),
            ("signMethod", "01"),
            ("bizType", "000000"),
            ("accessType", "0"),
            ("merId", "777290058110048"),
            ("channelType", "08"),
            ("currencyCode", "156"),
            ("backUrl", "http://127.0.0.1:9/n"),
        ]);
        fields.set("certId", self.cert_id.clone());
        fields.set("txnType", kind);
        fields.set("txnSubType", sub);
        fields.set("txnTime", self.now());
        for (name, value) in more {
            fields.set(name, *value);
        }
        fields
    }

    fn sign(&self, fields: &mut Fields) {
        let digest = sha256_hex(fields.string_to_sign().as_bytes());
        fields.set("signature", STANDARD.encode(self.signer.sign(digest.as_bytes()).unwrap()));
    }

    async fn send(&self, path: &str, fields: &Fields) -> Fields {
        let app = test::init_service(App::new().configure(|cfg| self.server.configure(cfg))).await;
        let request = test::TestRequest::post().uri(path).set_payload(fields.form()).to_request();
        let answer = test::call_and_read_body(&app, request).await;
        let text = String::from_utf8(answer.to_vec()).unwrap();
        let mut said = Fields::default();
        for pair in text.split('&') {
            let (name, value) = pair.split_once('=').unwrap();
            said.set(name, value);
        }
        self.believe(&said);
        said
    }

    /// As any client must: the certificate leads to the root, and its key made the signature.
    fn believe(&self, said: &Fields) {
        let read = |name: &str| std::fs::read_to_string(self.dir.path().join(name)).unwrap();
        let (root, middle) = (read("root.cer"), read("middle.cer"));
        let anchors = Anchors::from_pem([root.as_str(), &middle]).unwrap();
        let facts = anchors.check(said.get("signPubKeyCert"), 1_767_225_600).unwrap();
        assert_eq!(facts.common_name, "041@Z12@00040000:SIGN@00000001");
        let digest = sha256_hex(said.string_to_sign().as_bytes());
        let signature = STANDARD.decode(said.get("signature")).unwrap();
        let key = RsaVerifier::from_spki_der(&facts.spki_der).unwrap();
        assert!(key.verify(digest.as_bytes(), &signature).is_ok());
    }

    async fn back(&self, kinds: &str, more: &[(&str, &str)]) -> Fields {
        let mut fields = self.fields(kinds, more);
        self.sign(&mut fields);
        self.send("/gateway/api/backTransReq.do", &fields).await
    }

    async fn query(&self, no: &str, txn_time: &str) -> Fields {
        let mut fields = self.fields("00/00", &[("orderId", no), ("txnTime", txn_time)]);
        self.sign(&mut fields);
        self.send("/gateway/api/queryTrans.do", &fields).await
    }
}

fn codes(said: &Fields) -> (&str, &str) {
    (said.get("respCode"), said.get("origRespCode"))
}

#[actix_web::test]
async fn a_code_is_made_paid_asked_about_and_refunded_in_parts() {
    let client = client();
    let at = client.now();
    let order = [("orderId", "20260101080000001"), ("txnAmt", "1850"), ("txnTime", at.as_str())];
    let made = client.back("01/07", &order).await;
    assert_eq!(codes(&made), ("00", ""));
    assert!(made.get("qrCode").starts_with("https://qr.95516.com/"));
    assert_eq!(codes(&client.back("01/07", &order).await), ("12", ""), "a number is used once");
    assert_eq!(codes(&client.query("20260101080000001", &at).await), ("00", "05"));
    assert_eq!(
        codes(&client.query("20260101080000001", "20200101000000").await),
        ("34", ""),
        "the time is part of the name"
    );

    let paid = pay(&client.server, &json!({ "code_url": made.get("qrCode") }));
    assert!(matches!(paid, Outcome::Paid { .. }), "{paid:?}");
    assert_eq!(pay(&client.server, &Value::from(made.get("qrCode"))), Outcome::Refused("already_paid"));
    let found = client.query("20260101080000001", &at).await;
    assert_eq!((codes(&found), found.get("txnAmt")), (("00", "00"), "1850"));

    let id = found.get("queryId");
    let part = |no: &'static str, fen: &'static str| [("orderId", no), ("txnAmt", fen), ("origQryId", id)];
    assert_eq!(codes(&client.back("04/00", &part("REFUND000001", "850")).await), ("00", ""));
    assert_eq!(codes(&client.back("04/00", &part("REFUND000001", "850")).await), ("12", ""));
    assert_eq!(codes(&client.back("04/00", &part("REFUND000002", "1001")).await), ("36", ""));
    assert_eq!(codes(&client.back("31/00", &part("UNDO00000001", "1850")).await), ("45", ""));
    assert_eq!(codes(&client.back("04/00", &part("REFUND000003", "1000")).await), ("00", ""));
    let lines = client.server.world.books.after(0, 10);
    assert_eq!(
        lines.iter().map(|l| (l.kind, l.amount_fen)).collect::<Vec<_>>(),
        [("capture", 1850), ("refund", 850), ("refund", 1000)]
    );
}

#[actix_web::test]
async fn what_is_wrong_with_a_request_is_said_in_the_gateways_codes_and_changes_nothing() {
    let client = client();
    let order = [("orderId", "20260101080000001"), ("txnAmt", "1850")];
    let spoil: [(&str, &str, &str); 9] = [
        ("version", "5.0.0", "10"),
        ("merId", "777290058110097", "31"),
        ("txnTime", "20200101000000", "39"),
        ("orderId", "no-dashes-please", "10"),
        ("txnAmt", "0", "10"),
        ("txnAmt", "1e3", "10"),
        ("currencyCode", "840", "10"),
        ("txnSubType", "99", "10"),
        ("backUrl", "", "13"),
    ];
    for (name, value, code) in spoil {
        let mut fields = client.fields("01/07", &order);
        fields.set(name, value);
        client.sign(&mut fields);
        let said = client.send("/gateway/api/backTransReq.do", &fields).await;
        assert_eq!(said.get("respCode"), code, "{name}={value}: {}", said.get("respMsg"));
    }
    for (name, value) in [("txnAmt", "1851"), ("certId", "12345"), ("signature", "AAAA")] {
        let mut fields = client.fields("01/07", &order);
        client.sign(&mut fields);
        fields.set(name, value);
        assert_eq!(
            client.send("/gateway/api/backTransReq.do", &fields).await.get("respCode"),
            "11",
            "{name}"
        );
    }
    assert_eq!(client.server.world.books.after(0, 10), []);
}

#[actix_web::test]
async fn a_cashier_form_opens_a_page_and_an_unpaid_order_fails_after_its_last_moment() {
    let client = client();
    let at = client.now();
    let until = time(Timestamp::from_secs(client.server.world.clock.now().secs() + 60));
    let mut form = client.fields(
        "01/01",
        &[
            ("orderId", "CASHIER0001"),
            ("txnAmt", "100"),
            ("txnTime", &at),
            ("payTimeout", &until),
            ("bizType", "000201"),
        ],
    );
    let app = test::init_service(App::new().configure(|cfg| client.server.configure(cfg))).await;
    let post = |form: &Fields| {
        test::TestRequest::post().uri(super::cashier::PATH).set_payload(form.form()).to_request()
    };
    client.sign(&mut form);
    let page = test::call_and_read_body(&app, post(&form)).await;
    assert!(String::from_utf8_lossy(&page).contains("class=\"end_error\""), "frontUrl is missing");
    form.set("frontUrl", "http://127.0.0.1:9/back");
    client.sign(&mut form);
    let answer = test::call_service(&app, post(&form)).await;
    assert_eq!(answer.status().as_u16(), 302);
    let place = answer.headers().get("location").unwrap().to_str().unwrap().to_owned();
    let path = place.strip_prefix("http://127.0.0.1:1").unwrap();
    let page = test::call_and_read_body(&app, test::TestRequest::get().uri(path).to_request()).await;
    assert!(String::from_utf8_lossy(&page).contains("¥1.00"));
    assert_eq!(codes(&client.query("CASHIER0001", &at).await), ("00", "05"));
    client.server.world.clock.set_offset_s(120);
    assert_eq!(codes(&client.query("CASHIER0001", &at).await), ("00", "01"));
    let late = test::TestRequest::post().uri(path).set_form([("do", "pay")]).to_request();
    test::call_and_read_body(&app, late).await;
    assert_eq!(client.server.world.books.after(0, 10), [], "nobody pays after the last moment");
}

#[actix_web::test]
async fn the_file_of_a_day_has_its_transactions_at_their_offsets_and_today_has_none_yet() {
    let client = client();
    let at = client.now();
    let made =
        client.back("01/07", &[("orderId", "FILE00000001"), ("txnAmt", "1850"), ("txnTime", &at)]).await;
    pay(&client.server, &Value::from(made.get("qrCode")));
    let day: String = super::fields::settle_day(client.server.world.clock.now()).chars().skip(4).collect();
    let ask = |client: &Client| {
        let mut fields = client.fields("76/01", &[("settleDate", &day), ("fileType", "00")]);
        client.sign(&mut fields);
        fields
    };
    assert_eq!(client.send("/", &ask(&client)).await.get("respCode"), "98", "the day is not over");
    client.server.world.clock.set_offset_s(86_400);
    let said = client.send("/", &ask(&client)).await;
    let packed = STANDARD.decode(said.get("fileContent")).unwrap();
    let mut zip = Vec::new();
    flate2::read::ZlibDecoder::new(packed.as_slice()).read_to_end(&mut zip).unwrap();
    let mut zip = zip::ZipArchive::new(std::io::Cursor::new(zip)).unwrap();
    let mut text = Vec::new();
    zip.by_index(0).unwrap().read_to_end(&mut text).unwrap();
    let line = text.strip_suffix(b"\r\n").unwrap();
    assert_eq!(line.len(), 607);
    let at = |from: usize, len: usize| std::str::from_utf8(&line[from..from + len]).unwrap().trim_end();
    assert_eq!((at(66, 12), at(112, 32), at(215, 2)), ("000000001850", "FILE00000001", "01"));
    assert_eq!(
        (at(166, 13), at(180, 13), at(293, 15)),
        ("D000000000011", "C000000001839", "777290058110048")
    );
}
