//! The keys folder: made once, kept, readable by any SDK.

use std::path::Path;

use ::keys::{RsaSigner, RsaVerifier, generate_rsa_pem, public_key_pem};
use anyhow::Context as _;

use super::GATEWAY;
use crate::folder;

const APP_ID: &str = "2021000000000001";
const SELLER_ID: &str = "2088000000000002";

/// Everything that signs or verifies.
pub(crate) struct Keys {
    pub(crate) app_id: String,
    pub(crate) seller_id: String,
    pub(crate) merchant: RsaVerifier,
    pub(crate) platform: RsaSigner,
}

impl Keys {
    pub(crate) fn open(dir: &Path, base_url: &str) -> anyhow::Result<Keys> {
        folder::make(dir)?;
        let merchant = folder::kept(dir, "merchant_key.pem", || Ok(generate_rsa_pem(2048)?))?;
        let merchant_public =
            folder::kept(dir, "merchant_public_key.pem", || Ok(public_key_pem(&merchant)?))?;
        let platform = folder::kept(dir, "platform_key.pem", || Ok(generate_rsa_pem(2048)?))?;
        folder::kept(dir, "platform_public_key.pem", || Ok(public_key_pem(&platform)?))?;
        let credentials = format!(
            "# Made by the sandbox; no real account.\n\
             base_url = \"{base_url}{GATEWAY}\"\napp_id = \"{APP_ID}\"\nseller_id = \"{SELLER_ID}\"\n\
             merchant_key = \"{}\"\npublic_key = \"{}\"\n",
            folder::absolute(dir, "merchant_key.pem").display(),
            folder::absolute(dir, "platform_public_key.pem").display(),
        );
        folder::write(&dir.join("credentials.toml"), &credentials)?;
        Ok(Keys {
            app_id: APP_ID.to_owned(),
            seller_id: SELLER_ID.to_owned(),
            merchant: RsaVerifier::from_spki_pem(&merchant_public).context("merchant_public_key.pem")?,
            platform: RsaSigner::from_pkcs8_pem(&platform).context("platform_key.pem")?,
        })
    }
}
