//! The second opinion: the same signatures by the `rsa` and `sha2` crates, which share no code with the hot path.
//!
//! About five times slower and never used to talk to a channel: a test signs and verifies across both, byte
//! for byte, and `rushpay doctor` may ask it when the two sides of a signature disagree.

use rsa::{
    RsaPrivateKey, RsaPublicKey,
    pkcs1v15::{Signature, SigningKey, VerifyingKey},
    pkcs8::DecodePublicKey as _,
    signature::{SignatureEncoding as _, Signer as _, Verifier as _},
};
use sha2::Sha256;

use crate::{BadSignature, Error, Signer, Verifier, generate::read_private_key};

/// A private RSA key that signs, by `rsa`.
pub struct ReferenceSigner(SigningKey<Sha256>);

impl ReferenceSigner {
    /// Reads PKCS#8 or PKCS#1 PEM.
    ///
    /// # Errors
    /// - [`Error::NotPem`], [`Error::WrongPem`], [`Error::BadKey`]: by what is wrong with the text.
    pub fn from_pem(text: &str) -> Result<ReferenceSigner, Error> {
        Ok(ReferenceSigner(SigningKey::new(read_private_key(text)?)))
    }

    /// A verifier for this key's own signatures.
    #[must_use]
    pub fn verifier(&self) -> ReferenceVerifier {
        let private: &RsaPrivateKey = self.0.as_ref();
        ReferenceVerifier(VerifyingKey::new(private.to_public_key()))
    }
}

impl Signer for ReferenceSigner {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Error> {
        self.0.try_sign(message).map(|s| s.to_vec()).map_err(|_| Error::Crypto("sign"))
    }
}

/// A public RSA key that verifies, by `rsa`.
pub struct ReferenceVerifier(VerifyingKey<Sha256>);

impl ReferenceVerifier {
    /// Reads SPKI PEM.
    ///
    /// # Errors
    /// - [`Error::BadKey`]: the text is not an RSA public key in PEM.
    pub fn from_spki_pem(text: &str) -> Result<ReferenceVerifier, Error> {
        let key = RsaPublicKey::from_public_key_pem(text)
            .map_err(|e| Error::BadKey { what: "the public key", problem: e.to_string() })?;
        Ok(ReferenceVerifier(VerifyingKey::new(key)))
    }
}

impl Verifier for ReferenceVerifier {
    fn verify(&self, message: &[u8], signature: &[u8]) -> Result<(), BadSignature> {
        let signature = Signature::try_from(signature).map_err(|_| BadSignature)?;
        self.0.verify(message, &signature).map_err(|_| BadSignature)
    }
}
