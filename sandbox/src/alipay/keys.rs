//! The keys folder: made once, kept, readable by any SDK.

use std::path::Path;

use ::keys::{CertificateFacts, RsaSigner, RsaVerifier, generate_rsa_pem, md5_hex, public_key_pem};
use anyhow::Context as _;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use rcgen::{BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair};

use serde_json::{Value, json};

use super::{GATEWAY, refusal::Refusal, wire::Call};
use crate::folder;

const APP_ID: &str = "2021000000000001";
const SELLER_ID: &str = "2088000000000002";

/// Everything that signs or verifies.
pub(crate) struct Keys {
    pub(crate) app_id: String,
    pub(crate) seller_id: String,
    pub(crate) merchant: RsaVerifier,
    pub(crate) platform: RsaSigner,
    /// What a call in certificate mode must name.
    pub(crate) app_cert_sn: String,
    pub(crate) root_cert_sn: String,
    /// What an answer in certificate mode names, and what a client may fetch by that name.
    pub(crate) alipay_cert_sn: String,
    pub(crate) alipay_cert: String,
}

/// How Alipay names a certificate: MD5 over issuer and decimal serial (protocol section 1.5).
fn serial_name(pem: &str) -> anyhow::Result<String> {
    let facts = CertificateFacts::from_pem(pem)?;
    Ok(md5_hex(format!("{}{}", facts.issuer, facts.serial_decimal).as_bytes()))
}

fn named(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    let mut who = DistinguishedName::new();
    who.push(DnType::CountryName, "CN");
    who.push(DnType::OrganizationName, "Sandbox");
    who.push(DnType::OrganizationalUnitName, "Certification Authority");
    who.push(DnType::CommonName, name);
    params.distinguished_name = who;
    params.not_before = rcgen::date_time_ymd(2025, 1, 1);
    params.not_after = rcgen::date_time_ymd(2034, 12, 31);
    params
}

/// The three certificates of certificate mode: root, app, Alipay's. The root's key is not kept.
fn certificates(dir: &Path, app_pem: &str, alipay_pem: &str) -> anyhow::Result<()> {
    let root_key = KeyPair::from_pem(&generate_rsa_pem(2048)?)?;
    let mut root = named("Sandbox Root R1");
    root.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    folder::write(&dir.join("alipay_root_cert.crt"), &root.self_signed(&root_key)?.pem())?;
    let issuer = Issuer::new(root, &root_key);
    for (file, name, pem) in
        [("app_cert.crt", "sandbox merchant", app_pem), ("alipay_cert.crt", "sandbox alipay", alipay_pem)]
    {
        let certificate = named(name).signed_by(&KeyPair::from_pem(pem)?, &issuer)?;
        folder::write(&dir.join(file), &certificate.pem())?;
    }
    Ok(())
}

impl Keys {
    pub(crate) fn open(dir: &Path, base_url: &str) -> anyhow::Result<Keys> {
        folder::make(dir)?;
        let merchant = folder::kept(dir, "merchant_key.pem", || Ok(generate_rsa_pem(2048)?))?;
        let merchant_public =
            folder::kept(dir, "merchant_public_key.pem", || Ok(public_key_pem(&merchant)?))?;
        let platform = folder::kept(dir, "platform_key.pem", || Ok(generate_rsa_pem(2048)?))?;
        folder::kept(dir, "platform_public_key.pem", || Ok(public_key_pem(&platform)?))?;
        if !dir.join("alipay_cert.crt").exists() {
            certificates(dir, &merchant, &platform)?;
        }
        let read = |name: &str| {
            std::fs::read_to_string(dir.join(name)).with_context(|| format!("{}", dir.join(name).display()))
        };
        let alipay_cert = read("alipay_cert.crt")?;
        let credentials = format!(
            "# Made by the sandbox; no real account.\n\
             base_url = \"{base_url}{GATEWAY}\"\napp_id = \"{APP_ID}\"\nseller_id = \"{SELLER_ID}\"\n\
             merchant_key = \"{}\"\npublic_key = \"{}\"\n\
             # Certificate mode: these three instead of public_key.\n\
             # app_cert = \"{}\"\n# alipay_cert = \"{}\"\n# alipay_root_cert = \"{}\"\n",
            folder::absolute(dir, "merchant_key.pem").display(),
            folder::absolute(dir, "platform_public_key.pem").display(),
            folder::absolute(dir, "app_cert.crt").display(),
            folder::absolute(dir, "alipay_cert.crt").display(),
            folder::absolute(dir, "alipay_root_cert.crt").display(),
        );
        folder::write(&dir.join("credentials.toml"), &credentials)?;
        Ok(Keys {
            app_id: APP_ID.to_owned(),
            seller_id: SELLER_ID.to_owned(),
            merchant: RsaVerifier::from_spki_pem(&merchant_public).context("merchant_public_key.pem")?,
            app_cert_sn: serial_name(&read("app_cert.crt")?).context("app_cert.crt")?,
            root_cert_sn: serial_name(&read("alipay_root_cert.crt")?).context("alipay_root_cert.crt")?,
            alipay_cert_sn: serial_name(&alipay_cert).context("alipay_cert.crt")?,
            alipay_cert,
            platform: RsaSigner::from_pkcs8_pem(&platform).context("platform_key.pem")?,
        })
    }
}

/// `alipay.open.app.alipaycert.download`: the certificate of a name that an answer bore.
pub(crate) fn download(keys: &Keys, call: &Call) -> Result<Value, Refusal> {
    let wanted = call.biz.get("alipay_cert_sn").and_then(Value::as_str).unwrap_or_default();
    if wanted != keys.alipay_cert_sn {
        return Err(Refusal::business("isv.invalid-alipay-cert-sn", "支付宝公钥证书SN不存在"));
    }
    Ok(json!({ "alipay_cert_content": STANDARD.encode(&keys.alipay_cert) }))
}
