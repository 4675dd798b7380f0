//! The keys folder: made once, kept, readable by any SDK.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use ::keys::{CertificateFacts, RsaSigner, RsaVerifier, Secret, generate_rsa_pem, public_key_pem, serial_eq};
use anyhow::Context as _;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use parking_lot::RwLock;
use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair, SerialNumber};

use crate::folder;

const MCHID: &str = "1900000001";
const APPID: &str = "wx0000000000000001";

/// Everything that signs, verifies or seals.
pub(crate) struct Keys {
    pub(crate) mchid: String,
    pub(crate) appid: String,
    pub(crate) merchant_serial: String,
    pub(crate) merchant: RsaVerifier,
    pub(crate) apiv3: [u8; 32],
    /// Platform certificates, the newest last: it signs what names no other.
    platforms: RwLock<Vec<Arc<Platform>>>,
    dir: PathBuf,
    public_key_id: String,
    public_key: Arc<RsaSigner>,
    public_key_pem: Secret,
}

/// A platform certificate and its key.
pub(crate) struct Platform {
    pub(crate) pem: String,
    pub(crate) facts: CertificateFacts,
    signer: Arc<RsaSigner>,
    key_pem: Secret,
}

impl Platform {
    /// The `n`th of a folder, made if it is not there. The first has no number in its name.
    fn open(dir: &Path, n: usize) -> anyhow::Result<Platform> {
        let number = if n == 0 { String::new() } else { format!("_{n}") };
        let key = folder::kept(dir, &format!("platform_key{number}.pem"), || Ok(generate_rsa_pem(2048)?))?;
        let name = format!("platform_cert{number}.pem");
        let pem = folder::kept(dir, &name, || certificate(&key, "sandbox platform"))?;
        let signer = Arc::new(RsaSigner::from_pkcs8_pem(&key).context("platform_key.pem")?);
        Ok(Platform {
            facts: CertificateFacts::from_pem(&pem).context(name)?,
            pem,
            signer,
            key_pem: Secret::new(key),
        })
    }
}

impl Keys {
    pub(crate) fn open(dir: &Path, base_url: &str) -> anyhow::Result<Keys> {
        folder::make(dir)?;
        let merchant_pem = folder::kept(dir, "merchant_key.pem", || Ok(generate_rsa_pem(2048)?))?;
        let merchant_cert =
            folder::kept(dir, "merchant_cert.pem", || certificate(&merchant_pem, "sandbox merchant"))?;
        let made = (1..).take_while(|n| dir.join(format!("platform_cert_{n}.pem")).exists()).count();
        let platforms =
            (0..=made).map(|n| Ok(Arc::new(Platform::open(dir, n)?))).collect::<anyhow::Result<_>>()?;
        let public_pem =
            folder::kept(dir, "platform_public_key_private.pem", || Ok(generate_rsa_pem(2048)?))?;
        folder::kept(dir, "platform_public_key.pem", || Ok(public_key_pem(&public_pem)?))?;
        let apiv3_text = folder::kept(dir, "apiv3_key.txt", || Ok(crate::world::nonce()))?;
        let public_key_id = folder::kept(dir, "public_key_id.txt", || Ok(new_public_key_id()))?;
        let merchant = CertificateFacts::from_pem(&merchant_cert).context("merchant_cert.pem")?;
        let credentials = format!(
            "# Made by the sandbox; no real account. The keys are the options of `[channels.wechat]`.\n\
             base_url = \"{base_url}\"\nmchid = \"{MCHID}\"\nappid = \"{APPID}\"\n\
             merchant_serial = \"{}\"\nmerchant_key = \"{}\"\nmerchant_cert = \"{}\"\napiv3_key = \"{}\"\n\
             public_key_id = \"{}\"\npublic_key = \"{}\"\n",
            merchant.serial_hex,
            folder::absolute(dir, "merchant_key.pem").display(),
            folder::absolute(dir, "merchant_cert.pem").display(),
            apiv3_text.trim(),
            public_key_id.trim(),
            folder::absolute(dir, "platform_public_key.pem").display(),
        );
        folder::write(&dir.join("credentials.toml"), &credentials)?;
        let apiv3 = apiv3_text.trim().as_bytes().try_into().ok();
        Ok(Keys {
            mchid: MCHID.to_owned(),
            appid: APPID.to_owned(),
            merchant: RsaVerifier::from_spki_der(&merchant.spki_der)?,
            merchant_serial: merchant.serial_hex,
            apiv3: apiv3.with_context(|| {
                format!("{}: expected 32 characters", dir.join("apiv3_key.txt").display())
            })?,
            platforms: RwLock::new(platforms),
            dir: dir.to_owned(),
            public_key_id: public_key_id.trim().to_owned(),
            public_key: Arc::new(
                RsaSigner::from_pkcs8_pem(&public_pem).context("platform_public_key_private.pem")?,
            ),
            public_key_pem: Secret::new(public_pem),
        })
    }

    /// The key that a request names; the newest platform certificate's if it names none of ours.
    pub(crate) fn platform_for(&self, wanted: Option<&str>) -> (String, Arc<RsaSigner>) {
        if wanted == Some(self.public_key_id.as_str()) {
            return (self.public_key_id.clone(), Arc::clone(&self.public_key));
        }
        let all = self.platforms.read();
        let named = all.iter().find(|p| wanted.is_some_and(|serial| serial_eq(serial, &p.facts.serial_hex)));
        match named.or(all.last()) {
            Some(platform) => (platform.facts.serial_hex.clone(), Arc::clone(&platform.signer)),
            None => (self.public_key_id.clone(), Arc::clone(&self.public_key)),
        }
    }

    /// Opens a sensitive field that was sealed for the key that the request names.
    pub(crate) fn unseal(&self, wanted: Option<&str>, sealed: &str) -> Option<String> {
        let bytes = STANDARD.decode(sealed).ok()?;
        let all = self.platforms.read();
        let pem = match wanted {
            Some(id) if id == self.public_key_id => &self.public_key_pem,
            Some(serial) => &all.iter().find(|p| serial_eq(serial, &p.facts.serial_hex))?.key_pem,
            None => return None,
        };
        String::from_utf8(::keys::oaep_open(pem, &bytes).ok()?).ok()
    }

    /// All platform certificates, the newest first.
    pub(crate) fn platforms(&self) -> Vec<Arc<Platform>> {
        self.platforms.read().iter().rev().map(Arc::clone).collect()
    }

    /// Makes a new platform certificate, which signs from now on; the old ones stay. Its serial.
    ///
    /// # Errors
    /// The folder cannot be written.
    pub(crate) fn rotate(&self) -> anyhow::Result<String> {
        let mut all = self.platforms.write();
        let new = Arc::new(Platform::open(&self.dir, all.len())?);
        let serial = new.facts.serial_hex.clone();
        all.push(new);
        Ok(serial)
    }

    /// The id of the public key.
    #[cfg(test)]
    pub(crate) fn public_key_id(&self) -> &str {
        &self.public_key_id
    }
}

fn certificate(private_pem: &str, name: &str) -> anyhow::Result<String> {
    let key = KeyPair::from_pem(private_pem).context("a key made a moment ago")?;
    let mut params = CertificateParams::default();
    let mut who = DistinguishedName::new();
    who.push(DnType::CommonName, name);
    params.distinguished_name = who;
    // Twenty bytes whose first bit is clear and whose first digit is not zero: forty hex digits, as the real ones.
    let mut serial: Vec<u8> = std::iter::once(0x5a).chain(uuid::Uuid::new_v4().into_bytes()).collect();
    serial.extend([0xca, 0xfe, 0x01]);
    params.serial_number = Some(SerialNumber::from(serial));
    params.not_before = rcgen::date_time_ymd(2025, 1, 1);
    params.not_after = rcgen::date_time_ymd(2034, 12, 31);
    Ok(params.self_signed(&key)?.pem())
}

fn new_public_key_id() -> String {
    let digits = uuid::Uuid::new_v4().as_u128() % 10_u128.pow(31);
    format!("PUB_KEY_ID_{digits:031}")
}
