//! What an operator should know of `[channels.wechat]` before it goes live.

use keys::{KeyFile, serial_eq};
use serde_json::Value;

use super::Options;
use crate::{
    config::Faults,
    inspect::{Class, Look},
};

pub(crate) fn inspect(options: &Value, look: &mut Look) {
    let Some(options) = look.options::<Options>(options) else { return };
    let mut faults = Faults::default();
    options.check(&mut faults);
    look.faults(faults.done(), &[]);
    look.addresses(&options.base_url, &options.notify_url);
    look.test_id("mchid", &options.mchid, &["1900000001", "1900000109", "1230000109"]);
    look.test_id("appid", &options.appid, &["wx000000000000000", "wxd678efh567hg6787"]);
    let private = look.private_key("merchant_key", &options.merchant_key);
    if let Some(path) = &options.merchant_cert
        && let Some((_, facts)) = look.certificate("merchant_cert", path)
    {
        if let Some(private) = &private {
            look.pair("merchant_cert", private, &facts);
        }
        if !serial_eq(&facts.serial_hex, &options.merchant_serial) {
            let problem = format!("the certificate's serial is {}", facts.serial_hex);
            look.add(Class::SerialMismatch, "merchant_serial", problem);
        }
    }
    if let Some(path) = &options.public_key {
        let platform = look.public_key("public_key", path);
        look.not_ours("public_key", platform, private.as_ref());
    }
    let secret = match &options.apiv3_key_file {
        Some(path) => {
            look.path("apiv3_key_file", path);
            KeyFile::read_secret(path).map_err(|e| e.to_string())
        }
        None => Ok(options.apiv3_key.clone()),
    };
    match secret {
        Ok(secret) => look.secret("apiv3_key", &secret, 32..=32),
        Err(problem) => look.add(Class::KeyFileMissing, "apiv3_key_file", problem),
    }
}
