//! Every failure that a look at a channel's configuration finds, built for real and expected by its name.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use channels::{Look, registry};
use domain::Timestamp;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, SerialNumber};
use serde_json::{Value, json};

const NOW: i64 = 1_767_225_600;

/// Keys and certificates of a house that has everything right.
struct Keys {
    dir: tempfile::TempDir,
}

fn write(path: &Path, bytes: &[u8], mode: u32) {
    fs::write(path, bytes).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

fn params(name: &str, ca: bool, years: (i32, i32)) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.serial_number = Some(SerialNumber::from_slice(&[0x0a, 0x01]));
    (params.not_before, params.not_after) =
        (rcgen::date_time_ymd(years.0, 1, 1), rcgen::date_time_ymd(years.1, 1, 1));
    if ca {
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    }
    params
}

impl Keys {
    fn new() -> Keys {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        let pem = || keys::generate_rsa_pem(2048).unwrap();
        let (ours, theirs, root_pem) = (pem(), pem(), pem());
        write(&path("key.pem"), ours.as_bytes(), 0o600);
        write(&path("open.pem"), ours.as_bytes(), 0o644);
        write(&path("other.pem"), theirs.as_bytes(), 0o600);
        write(&path("own_public.pem"), keys::public_key_pem(&ours).unwrap().as_bytes(), 0o600);
        write(&path("public.pem"), keys::public_key_pem(&theirs).unwrap().as_bytes(), 0o600);
        write(&path("damaged.pem"), keys::pem::write_block("PRIVATE KEY", b"x").as_bytes(), 0o600);
        let root_key = KeyPair::from_pem(&root_pem).unwrap();
        let root = params("root", true, (2020, 2040));
        write(&path("root.cer"), root.self_signed(&root_key).unwrap().pem().as_bytes(), 0o600);
        let stray =
            params("stray", true, (2020, 2040)).self_signed(&KeyPair::from_pem(&theirs).unwrap()).unwrap();
        write(&path("stray.cer"), stray.pem().as_bytes(), 0o600);
        let issuer = Issuer::new(root, &root_key);
        let middle = params("middle", true, (2020, 2040));
        let middle = middle.signed_by(&KeyPair::from_pem(&theirs).unwrap(), &issuer).unwrap().pem();
        write(&path("middle.cer"), middle.as_bytes(), 0o600);
        for (name, years, key) in [
            ("cert.cer", (2020, 2040), &ours),
            ("theirs.cer", (2020, 2040), &theirs),
            ("expired.cer", (2020, 2025), &ours),
            ("future.cer", (2030, 2040), &ours),
            ("ending.cer", (2020, 2026), &ours),
        ] {
            let mut made = params("merchant", false, years);
            if name == "ending.cer" {
                made.not_after = rcgen::date_time_ymd(2026, 1, 20);
            }
            let made = made.signed_by(&KeyPair::from_pem(key).unwrap(), &issuer).unwrap().pem();
            write(&path(name), made.as_bytes(), 0o600);
        }
        let cert = fs::read_to_string(path("cert.cer")).unwrap();
        write(&path("merchant.pfx"), &keys::write_pkcs12(&ours, &cert, "123456").unwrap(), 0o600);
        Keys { dir }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn wechat(&self) -> Value {
        json!({ "base_url": "https://api.mch.weixin.qq.com", "mchid": "1612345678", "appid": "wx8888888888888888",
            "merchant_serial": "0A01", "merchant_key": self.path("key.pem"), "merchant_cert": self.path("cert.cer"),
            "apiv3_key": "Zf3kQ9xT7bLm2Vw8Rn5Yc1Hd6Js4Pg0A", "public_key_id": "PUB_KEY_ID_01",
            "public_key": self.path("public.pem"), "notify_url": "https://pay.example.com/notify/wechat" })
    }

    fn alipay(&self) -> Value {
        json!({ "base_url": "https://openapi.alipay.com/gateway.do", "app_id": "2021001234567890",
            "seller_id": "2088123456789012", "merchant_key": self.path("key.pem"),
            "app_cert": self.path("cert.cer"), "alipay_cert": self.path("theirs.cer"),
            "alipay_root_cert": self.path("root.cer"), "notify_url": "https://pay.example.com/notify/alipay" })
    }

    fn unionpay(&self) -> Value {
        json!({ "base_url": "https://gateway.95516.com", "mer_id": "898340183980105",
            "sign_cert": self.path("merchant.pfx"), "sign_cert_password": "123456", "root_cert": self.path("root.cer"),
            "middle_cert": self.path("middle.cer"), "notify_url": "https://pay.example.com/notify/unionpay" })
    }

    fn card() -> Value {
        json!({ "base_url": "https://card.example.edu/ccp", "merchant_id": "CANTEEN", "key_id": "k7",
            "secret": "Zf3kQ9xT7bLm2Vw8Rn5Yc1Hd6Js4Pg0A", "notify_url": "https://pay.example.com/notify/campus_card" })
    }
}

fn classes(channel: &str, options: &Value) -> Vec<(&'static str, String)> {
    let mut look = Look::new(&format!("channels.{channel}"), Timestamp::from_secs(NOW), true);
    registry::inspect(channel, options, &mut look);
    look.findings().0.into_iter().map(|found| (found.class.as_str(), found.key)).collect()
}

#[test]
fn every_failure_has_its_name_and_a_good_configuration_has_none() {
    let keys = Keys::new();
    for (channel, good) in [
        ("wechat", keys.wechat()),
        ("alipay", keys.alipay()),
        ("unionpay", keys.unionpay()),
        ("campus_card", Keys::card()),
    ] {
        assert_eq!(classes(channel, &good), [], "{channel}");
    }
    let file = |name: &str| json!(keys.path(name));
    let relative = json!("key.pem");
    let table: Vec<(&str, &str, Value, &str)> = vec![
        ("wechat", "surprise", json!(1), "option_invalid"),
        ("wechat", "mchid", json!("x"), "option_invalid"),
        ("wechat", "merchant_key", file("nowhere.pem"), "key_file_missing"),
        ("wechat", "merchant_key", file("open.pem"), "key_file_open"),
        ("wechat", "merchant_key", relative, "key_path_relative"),
        ("wechat", "merchant_key", file("own_public.pem"), "key_wrong_kind"),
        ("wechat", "merchant_key", file("damaged.pem"), "key_unusable"),
        ("wechat", "merchant_key", file("other.pem"), "key_certificate_mismatch"),
        ("wechat", "public_key", file("cert.cer"), "key_wrong_kind"),
        ("wechat", "public_key", file("own_public.pem"), "own_key_as_platform_key"),
        ("wechat", "merchant_serial", json!("0A02"), "serial_mismatch"),
        ("wechat", "merchant_cert", file("expired.cer"), "certificate_expired"),
        ("wechat", "merchant_cert", file("future.cer"), "certificate_not_yet_valid"),
        ("wechat", "merchant_cert", file("ending.cer"), "certificate_expires_soon"),
        ("wechat", "merchant_cert", file("theirs.cer"), "key_certificate_mismatch"),
        ("wechat", "apiv3_key", json!("short"), "secret_weak"),
        ("wechat", "mchid", json!("1900000001"), "sandbox_in_production"),
        ("wechat", "base_url", json!("http://127.0.0.1:9101"), "sandbox_in_production"),
        ("wechat", "notify_url", json!("http://127.0.0.1/n"), "callback_not_https"),
        ("wechat", "notify_url", json!("https://10.0.0.7/n"), "callback_private"),
        ("alipay", "app_id", json!("2021000000000001"), "sandbox_in_production"),
        ("alipay", "alipay_cert", file("cert.cer"), "own_key_as_platform_key"),
        ("alipay", "alipay_root_cert", file("stray.cer"), "chain_broken"),
        ("alipay", "app_cert", file("theirs.cer"), "key_certificate_mismatch"),
        ("unionpay", "sign_cert_password", json!("000000"), "pkcs12_unreadable"),
        ("unionpay", "sign_cert", file("nowhere.pfx"), "key_file_missing"),
        ("unionpay", "accept_test_signer", json!(true), "debug_switch"),
        ("unionpay", "mer_id", json!("777290058110048"), "sandbox_in_production"),
        ("unionpay", "root_cert", file("stray.cer"), "chain_broken"),
        ("campus_card", "secret", json!("sandbox-secret-do-not-use-0123456789abcdef"), "secret_weak"),
        ("campus_card", "secret", json!("short"), "secret_weak"),
    ];
    for (channel, key, value, expected) in table {
        let mut options = match channel {
            "wechat" => keys.wechat(),
            "alipay" => keys.alipay(),
            "unionpay" => keys.unionpay(),
            _ => Keys::card(),
        };
        options[key] = value.clone();
        let found = classes(channel, &options);
        assert!(found.iter().any(|(class, _)| *class == expected), "{channel}.{key} = {value}: {found:?}");
    }
}
