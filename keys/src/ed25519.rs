//! Ed25519 (RFC 8032): signatures on certificates of our own, where no channel says which kind to use.

use std::{fmt, path::Path};

use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair as _, ParsedPublicKey};

use crate::{BadSignature, Error, KeyFile, pem};

/// A private key that signs.
pub struct Ed25519Signer {
    key: Ed25519KeyPair,
}

impl Ed25519Signer {
    /// A new private key as PKCS#8 PEM.
    ///
    /// # Errors
    /// - [`Error::Crypto`]: the library refused.
    pub fn generate_pem() -> Result<String, Error> {
        let refused = |_| Error::Crypto("make a key");
        let key = Ed25519KeyPair::generate().map_err(refused)?;
        let der = key.to_pkcs8().map_err(refused)?;
        Ok(pem::write_block("PRIVATE KEY", der.as_ref()))
    }

    /// Reads PKCS#8 PEM.
    ///
    /// # Errors
    /// - [`Error::NotPem`], [`Error::WrongPem`], [`Error::BadKey`]: by what is wrong with the text.
    pub fn from_pkcs8_pem(text: &str) -> Result<Ed25519Signer, Error> {
        let block = pem::first_block(text)?;
        if block.label != "PRIVATE KEY" {
            return Err(Error::WrongPem { expected: "a private key", found: block.label });
        }
        let key = Ed25519KeyPair::from_pkcs8(&block.der)
            .map_err(|e| Error::BadKey { what: "the Ed25519 key", problem: e.to_string() })?;
        Ok(Ed25519Signer { key })
    }

    /// Reads a private key file.
    ///
    /// # Errors
    /// - [`Error::Unreadable`], [`Error::TooOpen`]: the file, as with every private key.
    /// - [`Error::File`]: its content, as [`from_pkcs8_pem`](Ed25519Signer::from_pkcs8_pem).
    pub fn read(path: &Path) -> Result<Ed25519Signer, Error> {
        let in_file = |source| Error::File { path: path.to_owned(), source: Box::new(source) };
        let text =
            String::from_utf8(KeyFile::read_private_bytes(path)?).map_err(|_| in_file(Error::NotPem))?;
        Ed25519Signer::from_pkcs8_pem(&text).map_err(in_file)
    }

    /// The 32 bytes of the public key.
    #[must_use]
    pub fn public_key(&self) -> Vec<u8> {
        self.key.public_key().as_ref().to_vec()
    }

    /// The 64 bytes of the signature over `message`; the same message gives the same bytes.
    #[must_use]
    pub fn sign(&self, message: &[u8]) -> Vec<u8> {
        self.key.sign(message).as_ref().to_vec()
    }
}

impl fmt::Debug for Ed25519Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Ed25519Signer")
    }
}

/// A public key that verifies.
#[derive(Clone)]
pub struct Ed25519Verifier {
    key: ParsedPublicKey,
}

impl Ed25519Verifier {
    /// From the 32 bytes of the public key.
    ///
    /// # Errors
    /// - [`Error::BadKey`]: they are no public key.
    pub fn new(bytes: &[u8]) -> Result<Ed25519Verifier, Error> {
        let key = ParsedPublicKey::new(&ED25519, bytes)
            .map_err(|e| Error::BadKey { what: "the Ed25519 public key", problem: e.to_string() })?;
        Ok(Ed25519Verifier { key })
    }

    /// Checks a signature.
    ///
    /// # Errors
    /// - [`BadSignature`]: it is not one over `message` by this key.
    pub fn verify(&self, message: &[u8], signature: &[u8]) -> Result<(), BadSignature> {
        self.key.verify_sig(message, signature).map_err(|_| BadSignature)
    }
}

impl fmt::Debug for Ed25519Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Ed25519Verifier")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 8032, section 7.1, test 2.
    #[test]
    fn the_vector_of_the_rfc_verifies_and_a_changed_bit_does_not() {
        let key = hex::decode("3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c").unwrap();
        let signature = hex::decode(
            "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da\
             085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
        )
        .unwrap();
        let verifier = Ed25519Verifier::new(&key).unwrap();
        assert_eq!(verifier.verify(&[0x72], &signature), Ok(()));
        assert_eq!(verifier.verify(&[0x73], &signature), Err(BadSignature));
        assert!(Ed25519Verifier::new(&key[..31]).is_err());
    }

    #[test]
    fn a_new_key_is_kept_closed_and_signs_what_its_public_key_verifies() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("audit.pem");
        KeyFile::write_private(&path, &Ed25519Signer::generate_pem().unwrap()).unwrap();
        assert!(KeyFile::write_private(&path, "another").is_err(), "a key is never overwritten");
        let signer = Ed25519Signer::read(&path).unwrap();
        let verifier = Ed25519Verifier::new(&signer.public_key()).unwrap();
        assert_eq!(verifier.verify(b"lunch", &signer.sign(b"lunch")), Ok(()));
        assert_eq!(verifier.verify(b"dinner", &signer.sign(b"lunch")), Err(BadSignature));
        let rsa = crate::generate_rsa_pem(2048).unwrap();
        assert!(matches!(Ed25519Signer::from_pkcs8_pem(&rsa), Err(Error::BadKey { .. })));
    }
}
