//! Doors for the fuzz targets: every reader of outside bytes, with keys that nobody else has.

use std::sync::{Arc, OnceLock};

use domain::Timestamp;
use serde_json::json;

use crate::{Channel, NotificationCall, alipay, campus_card, registry, unionpay, wechat};

const NOW: i64 = 1_767_225_600;

/// Reads a bill; `which` chooses the channel.
pub fn bill(which: u8, file: &[u8]) {
    let mut file = std::io::Cursor::new(file);
    let each: crate::EachLine<'_> = &mut |line| assert!(line.amount.fen() >= 0);
    let _refused = match which % 4 {
        0 => wechat::bill_file::read(&mut file, "1900000001", each),
        1 => alipay::bill_file::read(&mut file, each),
        2 => unionpay::bill_file::read(&mut file, "777290058110048", Timestamp::from_secs(NOW), each),
        _ => campus_card::statement_file::read(&mut file, "M1001", "2026-01-01", each),
    };
}

/// Channels with keys made for this run.
fn channels() -> &'static [Arc<dyn Channel>] {
    static ALL: OnceLock<Vec<Arc<dyn Channel>>> = OnceLock::new();
    ALL.get_or_init(|| {
        let dir = std::env::temp_dir().join(format!("rushpay-fuzz-{}", std::process::id()));
        made(&dir).unwrap_or_else(|problem| panic!("{problem}"))
    })
}

fn made(dir: &std::path::Path) -> Result<Vec<Arc<dyn Channel>>, Box<dyn std::error::Error>> {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::create_dir_all(dir)?;
    let _first = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let (key, public) = (dir.join("key.pem"), dir.join("public.pem"));
    let pem = keys::generate_rsa_pem(2048)?;
    std::fs::write(&key, &pem)?;
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600))?;
    std::fs::write(&public, keys::public_key_pem(&pem)?)?;
    let configured = json!({
        "wechat": { "base_url": "http://127.0.0.1:1", "mchid": "1900000001", "appid": "wx1", "merchant_serial": "0A01",
            "merchant_key": key, "apiv3_key": "Zf3kQ9xT7bLm2Vw8Rn5Yc1Hd6Js4Pg0A", "public_key_id": "PUB_KEY_ID_01",
            "public_key": public, "notify_url": "https://pay.example.com/n" },
        "alipay": { "base_url": "http://127.0.0.1:1/gateway.do", "app_id": "2021000000000001",
            "seller_id": "2088000000000002", "merchant_key": key, "public_key": public,
            "notify_url": "https://pay.example.com/n" },
        "campus_card": { "base_url": "http://127.0.0.1:1/ccp", "merchant_id": "M1001", "key_id": "k1",
            "secret": "sandbox-secret-do-not-use-0123456789abcdef", "notify_url": "https://pay.example.com/n" },
    });
    Ok(registry::build(&serde_json::from_value(configured)?)?)
}

/// Parses a call of a channel: header lines, an empty line, the body. What nobody signed is always refused.
///
/// # Panics
/// Bytes without a signature were believed.
pub fn notification(which: u8, call: &[u8]) {
    let all = channels();
    let Some(channel) = all.get(usize::from(which) % all.len()) else { return };
    let cut = call.windows(2).position(|pair| pair == b"\n\n").unwrap_or(call.len());
    let head = String::from_utf8_lossy(call.get(..cut).unwrap_or_default()).into_owned();
    let call = NotificationCall {
        method: "POST".to_owned(),
        target: "/notify".to_owned(),
        headers: head
            .lines()
            .filter_map(|l| l.split_once(':'))
            .map(|(n, v)| (n.to_owned(), v.trim().to_owned()))
            .collect(),
        body: call.get(cut + 2..).unwrap_or_default().to_vec().into(),
        remote: None,
    };
    assert!(
        channel.parse_notification(&call, Timestamp::from_secs(NOW)).is_err(),
        "an unsigned call was believed"
    );
}

/// Cuts an answer as the readers of UnionPay and Alipay do.
pub fn answer(bytes: &[u8]) {
    if let Ok(text) = std::str::from_utf8(bytes) {
        let fields = unionpay::message::split(text);
        assert!(fields.values().all(|value| !value.is_empty()), "an empty value is left out");
        let _cut = unionpay::message::moment(text, Timestamp::from_secs(NOW));
        let _cut = (
            alipay::text::money(text).is_ok(),
            alipay::text::moment(text),
            alipay::text::subject(text, 64).len(),
        );
    }
    let _cut = alipay::client::named_certificate(bytes);
}
