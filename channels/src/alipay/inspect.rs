//! What an operator should know of `[channels.alipay]` before it goes live.

use keys::RsaVerifier;
use serde_json::Value;

use super::Options;
use crate::{config::Faults, inspect::Look};

pub(crate) fn inspect(options: &Value, look: &mut Look) {
    let Some(options) = look.options::<Options>(options) else { return };
    let mut faults = Faults::default();
    options.check(&mut faults);
    look.faults(faults.done(), &[]);
    look.addresses(&options.base_url, &options.notify_url);
    look.test_id("app_id", &options.app_id, &["2021000000000001", "9021000"]);
    look.test_id("seller_id", &options.seller_id, &["2088000000000002"]);
    let private = look.private_key("merchant_key", &options.merchant_key);
    if let Some(path) = &options.public_key {
        let platform = look.public_key("public_key", path);
        look.not_ours("public_key", platform, private.as_ref());
    }
    let app = options.app_cert.as_ref().and_then(|path| look.certificate("app_cert", path));
    if let (Some((_, facts)), Some(private)) = (&app, &private) {
        look.pair("app_cert", private, facts);
    }
    let alipay = options.alipay_cert.as_ref().and_then(|path| look.certificate("alipay_cert", path));
    let root = options.alipay_root_cert.as_ref().and_then(|path| look.certificate("alipay_root_cert", path));
    if let Some((pem, facts)) = &alipay {
        look.not_ours("alipay_cert", RsaVerifier::from_spki_der(&facts.spki_der).ok(), private.as_ref());
        if let Some((root, _)) = &root {
            look.chain("alipay_cert", pem, &[root]);
        }
    }
}
