//! The keys folder: an own authority (root, middle), UnionPay's signer under it, the merchant's PKCS#12 file.

use std::path::Path;

use ::keys::{Identity, RsaSigner, RsaVerifier, Secret, generate_rsa_pem, write_pkcs12};
use anyhow::Context as _;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair, SerialNumber,
};

use crate::folder;

const MER_ID: &str = "777290058110048";
/// The password of every merchant file of UnionPay's test environment.
const PASSWORD: &str = "000000";
/// As the test environment names its signers; only its third part is looked at.
const SIGNER_NAME: &str = "041@Z12@00040000:SIGN@00000001";

/// Everything that signs or verifies.
pub(crate) struct Keys {
    pub(crate) mer_id: String,
    pub(crate) cert_id: String,
    pub(crate) merchant: RsaVerifier,
    pub(crate) signer: RsaSigner,
    pub(crate) signer_cert: String,
    pub(crate) encryption_cert: String,
}

impl Keys {
    pub(crate) fn open(dir: &Path, origin: &str) -> anyhow::Result<Keys> {
        folder::make(dir)?;
        if !dir.join("merchant.pfx").exists() {
            make(dir)?;
        }
        let read = |name: &str| {
            std::fs::read_to_string(dir.join(name)).with_context(|| format!("{}", dir.join(name).display()))
        };
        let pfx = dir.join("merchant.pfx");
        let bytes = std::fs::read(&pfx).with_context(|| format!("cannot read {}", pfx.display()))?;
        let merchant = Identity::open(&bytes, &Secret::new(PASSWORD)).context("merchant.pfx")?;
        let path = |name: &str| folder::absolute(dir, name).display().to_string();
        let credentials = format!(
            "# Made by the sandbox; no real account.\n\
             base_url = \"{origin}\"\nmer_id = \"{MER_ID}\"\nsign_cert = \"{}\"\nsign_cert_password = \"{PASSWORD}\"\n\
             root_cert = \"{}\"\nmiddle_cert = \"{}\"\n\
             # The sandbox's signer bears the test environment's name. Never set this in production.\n\
             accept_test_signer = true\nscenes = [\"native\", \"h5\"]\nfront_url = \"{origin}/returned\"\n",
            path("merchant.pfx"),
            path("root.cer"),
            path("middle.cer"),
        );
        folder::write(&dir.join("credentials.toml"), &credentials)?;
        Ok(Keys {
            mer_id: MER_ID.to_owned(),
            cert_id: merchant.certificate.serial_decimal,
            merchant: RsaVerifier::from_spki_der(&merchant.certificate.spki_der)?,
            signer: RsaSigner::from_pkcs8_pem(&read("signer_key.pem")?).context("signer_key.pem")?,
            signer_cert: read("signer.cer")?.trim_end().to_owned(),
            encryption_cert: read("encryption.cer")?.trim_end().to_owned(),
        })
    }
}

/// Makes all keys at once, on as many threads: each takes a good part of a second on a slow machine.
fn make(dir: &Path) -> anyhow::Result<()> {
    let threads: Vec<_> = (0..4).map(|_| std::thread::spawn(|| generate_rsa_pem(2048))).collect();
    let mut pems = Vec::new();
    for thread in threads {
        pems.push(thread.join().map_err(|_| anyhow::anyhow!("making a key failed"))??);
    }
    let [root_pem, middle_pem, signer_pem, merchant_pem] = pems.as_slice() else {
        anyhow::bail!("four keys were made");
    };
    let key = |pem: &str| KeyPair::from_pem(pem).context("a key made a moment ago");
    let (root_key, middle_key) = (key(root_pem)?, key(middle_pem)?);
    let root = params("Sandbox Test Root CA", true);
    let root_cert = root.self_signed(&root_key)?.pem();
    let root = Issuer::new(root, &root_key);
    let middle = params("Sandbox Test OCA1", true);
    let middle_cert = middle.signed_by(&middle_key, &root)?.pem();
    let middle = Issuer::new(middle, &middle_key);
    let issue = |name: &str, pem: &str| -> anyhow::Result<String> {
        Ok(params(name, false).signed_by(&key(pem)?, &middle)?.pem())
    };
    let merchant_cert = issue("051@sandbox@merchant@00000002", merchant_pem)?;
    for (name, text) in [
        ("root.cer", root_cert),
        ("middle.cer", middle_cert),
        ("signer_key.pem", signer_pem.clone()),
        ("signer.cer", issue(SIGNER_NAME, signer_pem)?),
        // Fields that it would seal are never sent by us; one key for both purposes does for reading it.
        ("encryption.cer", issue("041@Z12@00040000:ENCRYPT@00000003", signer_pem)?),
        ("merchant.cer", merchant_cert.clone()),
        ("password.txt", PASSWORD.to_owned()),
    ] {
        folder::write(&dir.join(name), &text)?;
    }
    // Last: its presence says that all the others are there.
    let pfx = write_pkcs12(merchant_pem, &merchant_cert, PASSWORD)?;
    folder::write_bytes(&dir.join("merchant.pfx"), &pfx)
}

fn params(name: &str, authority: bool) -> CertificateParams {
    let mut params = CertificateParams::default();
    let mut who = DistinguishedName::new();
    who.push(DnType::CountryName, "CN");
    who.push(DnType::CommonName, name);
    params.distinguished_name = who;
    // Ten bytes, the first bit clear: longer than 64 bits, as the protocol warns, and never negative.
    let random = uuid::Uuid::new_v4().into_bytes();
    let serial: Vec<u8> = std::iter::once(0x10).chain(random.into_iter().take(9)).collect();
    params.serial_number = Some(SerialNumber::from(serial));
    params.not_before = rcgen::date_time_ymd(2025, 1, 1);
    params.not_after = rcgen::date_time_ymd(2034, 12, 31);
    if authority {
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    }
    params
}
