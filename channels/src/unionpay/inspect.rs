//! What an operator should know of `[channels.unionpay]` before it goes live.

use keys::{Error, Identity, KeyFile};
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
    look.test_id("mer_id", &options.mer_id, &["777"]);
    look.debug_switch(
        "accept_test_signer",
        options.accept_test_signer,
        "signers of the test environment would be believed: anybody with a test certificate could confirm payments",
    );
    look.path("sign_cert", &options.sign_cert);
    match KeyFile::read_private_bytes(&options.sign_cert) {
        Err(error @ Error::TooOpen { .. }) => look.add(Class::KeyFileOpen, "sign_cert", error.to_string()),
        Err(error) => look.add(Class::KeyFileMissing, "sign_cert", error.to_string()),
        Ok(bytes) => match Identity::open(&bytes, &options.sign_cert_password) {
            Err(error) => look.add(Class::Pkcs12Unreadable, "sign_cert", error.to_string()),
            Ok(identity) => {
                look.facts("sign_cert", &identity.certificate);
                look.pair("sign_cert", &identity.key_pem, &identity.certificate);
            }
        },
    }
    let root = look.certificate("root_cert", &options.root_cert);
    if let (Some((middle, _)), Some((root, _))) =
        (look.certificate("middle_cert", &options.middle_cert), root)
    {
        look.chain("middle_cert", &middle, &[&root]);
    }
}
