//! The merchant's id, key id and shared secret: made once, kept.

use std::path::Path;

use keys::HmacKey;

use crate::folder;

const MERCHANT: &str = "M1001";
const KEY_ID: &str = "k1";

/// What signs and is signed with.
pub(crate) struct Credentials {
    pub(crate) merchant: String,
    pub(crate) key_id: String,
    pub(crate) key: HmacKey,
}

impl Credentials {
    pub(crate) fn open(dir: &Path, base_url: &str) -> anyhow::Result<Credentials> {
        folder::make(dir)?;
        let fresh = || Ok(format!("{}{}", crate::world::nonce(), crate::world::nonce()));
        let secret = folder::kept(dir, "secret.txt", fresh)?;
        let text = format!(
            "# Made by the sandbox; no real account. The keys are the options of `[channels.campus_card]`.\n\
             base_url = \"{base_url}\"\nmerchant_id = \"{MERCHANT}\"\nkey_id = \"{KEY_ID}\"\nsecret = \"{}\"\n",
            secret.trim()
        );
        folder::write(&dir.join("credentials.toml"), &text)?;
        Ok(Credentials::of(secret.trim()))
    }

    pub(crate) fn of(secret: &str) -> Credentials {
        Credentials {
            merchant: MERCHANT.to_owned(),
            key_id: KEY_ID.to_owned(),
            key: HmacKey::new(secret.as_bytes()),
        }
    }
}
