//! The keys folder: made once, kept, readable by any SDK.

use std::path::Path;

use ::keys::{CertificateFacts, RsaSigner, RsaVerifier, generate_rsa_pem, public_key_pem};
use anyhow::Context as _;
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
    pub(crate) certificate_pem: String,
    pub(crate) certificate: CertificateFacts,
    platform: RsaSigner,
    public_key_id: String,
    public_key: RsaSigner,
}

impl Keys {
    pub(crate) fn open(dir: &Path, base_url: &str) -> anyhow::Result<Keys> {
        folder::make(dir)?;
        let merchant_pem = folder::kept(dir, "merchant_key.pem", || Ok(generate_rsa_pem(2048)?))?;
        let merchant_cert =
            folder::kept(dir, "merchant_cert.pem", || certificate(&merchant_pem, "sandbox merchant"))?;
        let platform_pem = folder::kept(dir, "platform_key.pem", || Ok(generate_rsa_pem(2048)?))?;
        let platform_cert =
            folder::kept(dir, "platform_cert.pem", || certificate(&platform_pem, "sandbox platform"))?;
        let public_pem =
            folder::kept(dir, "platform_public_key_private.pem", || Ok(generate_rsa_pem(2048)?))?;
        folder::kept(dir, "platform_public_key.pem", || Ok(public_key_pem(&public_pem)?))?;
        let apiv3_text = folder::kept(dir, "apiv3_key.txt", || Ok(crate::world::nonce()))?;
        let public_key_id = folder::kept(dir, "public_key_id.txt", || Ok(new_public_key_id()))?;
        let merchant = CertificateFacts::from_pem(&merchant_cert).context("merchant_cert.pem")?;
        let credentials = format!(
            "# Made by the sandbox; no real account. The keys are the options of `[channels.wechat]`.\n\
             base_url = \"{base_url}\"\nmchid = \"{MCHID}\"\nappid = \"{APPID}\"\n\
             merchant_serial = \"{}\"\nmerchant_key = \"{}\"\napiv3_key = \"{}\"\n\
             public_key_id = \"{}\"\npublic_key = \"{}\"\n",
            merchant.serial_hex,
            folder::absolute(dir, "merchant_key.pem").display(),
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
            certificate: CertificateFacts::from_pem(&platform_cert).context("platform_cert.pem")?,
            certificate_pem: platform_cert,
            platform: RsaSigner::from_pkcs8_pem(&platform_pem).context("platform_key.pem")?,
            public_key_id: public_key_id.trim().to_owned(),
            public_key: RsaSigner::from_pkcs8_pem(&public_pem).context("platform_public_key_private.pem")?,
        })
    }

    /// The key that a request names; the platform certificate's if it names none of ours.
    pub(crate) fn platform_for(&self, wanted: Option<&str>) -> (&str, &RsaSigner) {
        match wanted {
            Some(id) if id == self.public_key_id => (&self.public_key_id, &self.public_key),
            _ => (&self.certificate.serial_hex, &self.platform),
        }
    }

    /// The id of the public key.
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
