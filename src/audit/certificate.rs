//! The certificate's envelope: the exact text that was signed, the signature, and the key.
//!
//! The signature is over the bytes of `certificate` as they stand in the file, so a reader needs no canonical form;
//! a file that was formatted anew no longer verifies, though nothing in it changed.

use std::path::Path;

use anyhow::Context as _;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use domain::audit::certificate::Certificate;
use keys::{Ed25519Signer, Ed25519Verifier, KeyFile};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

const PREFIX: &str = "ed25519:";

/// A signed certificate as it is kept in a file.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Signed {
    /// What was signed, byte by byte.
    certificate: Box<RawValue>,
    /// Ed25519 (RFC 8032) over those bytes, in base64.
    signature: String,
    /// The key that signed: `ed25519:` and base64. Whether to trust it is the reader's decision.
    public_key: String,
}

/// What is known of the key that signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trust {
    /// It is the one that was asked for.
    Given,
    /// It is merely the one in the file.
    Embedded,
}

impl Signed {
    /// Signs a certificate.
    ///
    /// # Errors
    /// The library refused.
    pub(crate) fn new(certificate: &Certificate, signer: &Ed25519Signer) -> anyhow::Result<Signed> {
        let text = RawValue::from_string(serde_json::to_string_pretty(certificate)?)?;
        let signature = STANDARD.encode(signer.sign(text.get().as_bytes()));
        let public_key = format!("{PREFIX}{}", STANDARD.encode(signer.public_key()));
        Ok(Signed { certificate: text, signature, public_key })
    }

    /// Reads a file.
    ///
    /// # Errors
    /// It cannot be read, or is no signed certificate.
    pub(crate) fn read(path: &Path) -> anyhow::Result<Signed> {
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("the certificate {} cannot be read", path.display()))?;
        serde_json::from_str(&text).with_context(|| format!("{} is no signed certificate", path.display()))
    }

    /// Writes a file that must not exist.
    ///
    /// # Errors
    /// It exists, or cannot be written.
    pub(crate) fn write(&self, path: &Path) -> anyhow::Result<()> {
        let cannot = || format!("the certificate {} cannot be written", path.display());
        let mut file =
            std::fs::File::options().write(true).create_new(true).open(path).with_context(cannot)?;
        serde_json::to_writer(&mut file, self).with_context(cannot)?;
        file.sync_all().with_context(cannot)
    }

    /// The key that signed.
    pub(crate) fn public_key(&self) -> &str {
        &self.public_key
    }

    /// What the next certificate names as the one before it.
    pub(crate) fn digest(&self) -> String {
        keys::sha256_hex(self.certificate.get().as_bytes())
    }

    /// The certificate, if the signature is good and by `trusted`, or by the embedded key if none is given.
    ///
    /// # Errors
    /// Another key signed, the signature is bad, or what was signed is no certificate.
    pub(crate) fn open(&self, trusted: Option<&str>) -> anyhow::Result<(Certificate, Trust)> {
        let trust = if trusted.is_some() { Trust::Given } else { Trust::Embedded };
        let key = trusted.unwrap_or(&self.public_key).trim();
        anyhow::ensure!(
            key == self.public_key,
            "the certificate was signed by {}, and {key} is trusted",
            self.public_key
        );
        let bytes = key.strip_prefix(PREFIX).and_then(|text| STANDARD.decode(text).ok());
        let bytes = bytes.with_context(|| format!("{key:?} is no public key (ed25519: and base64)"))?;
        let signature = STANDARD.decode(&self.signature).context("the signature is not base64")?;
        Ed25519Verifier::new(&bytes)?
            .verify(self.certificate.get().as_bytes(), &signature)
            .context("the certificate was altered, or another key signed it")?;
        let certificate = serde_json::from_str(self.certificate.get())
            .context("what was signed is no certificate that this version knows")?;
        Ok((certificate, trust))
    }
}

/// The signer of a key file; the file is made if it is not there.
///
/// # Errors
/// The file cannot be read or made, is open to others, or is no key.
pub(crate) fn signer(path: &Path) -> anyhow::Result<Ed25519Signer> {
    if !path.exists() {
        KeyFile::write_private(path, &Ed25519Signer::generate_pem()?)?;
        eprintln!("a new key was made: {}", path.display());
    }
    Ok(Ed25519Signer::read(path)?)
}
