//! The merchant's id, key id and shared secret: made once, kept in the one file that an SDK reads.

use std::{fs, io::ErrorKind, path::Path};

use anyhow::{Context as _, anyhow, ensure};
use keys::HmacKey;
use serde::Deserialize;

use crate::folder;

const MERCHANT: &str = "M1001";
const KEY_ID: &str = "k1";
/// Section B2.
const SECRET_MIN: usize = 32;

/// What signs and is signed with.
pub(crate) struct Credentials {
    pub(crate) merchant: String,
    pub(crate) key_id: String,
    pub(crate) key: HmacKey,
}

/// What outlives a restart; the rest of the file is written anew.
#[derive(Deserialize)]
struct Kept {
    secret: String,
}

impl Credentials {
    pub(crate) fn open(dir: &Path, base_url: &str) -> anyhow::Result<Credentials> {
        folder::make(dir)?;
        let path = dir.join("credentials.toml");
        let secret = match fs::read_to_string(&path) {
            // The parser's own text would quote the line, and with it the secret.
            Ok(text) => {
                toml::from_str::<Kept>(&text)
                    .map_err(|e| anyhow!("cannot understand {}: {}", path.display(), e.message()))?
                    .secret
            }
            Err(e) if e.kind() == ErrorKind::NotFound => {
                format!("{}{}", crate::world::nonce(), crate::world::nonce())
            }
            Err(e) => return Err(e).with_context(|| format!("cannot read {}", path.display())),
        };
        ensure!(secret.len() >= SECRET_MIN, "{}: secret is shorter than {SECRET_MIN} bytes", path.display());
        let quoted = |text: &str| toml::Value::String(text.to_owned()).to_string();
        let text = format!(
            "# Made by the sandbox; no real account. The keys are the options of `[channels.campus_card]`.\n\
             base_url = {}\nmerchant_id = {}\nkey_id = {}\nsecret = {}\n",
            quoted(base_url),
            quoted(MERCHANT),
            quoted(KEY_ID),
            quoted(&secret)
        );
        folder::write(&path, &text)?;
        Ok(Credentials::of(&secret))
    }

    pub(crate) fn of(secret: &str) -> Credentials {
        Credentials {
            merchant: MERCHANT.to_owned(),
            key_id: KEY_ID.to_owned(),
            key: HmacKey::new(secret.as_bytes()),
        }
    }
}
