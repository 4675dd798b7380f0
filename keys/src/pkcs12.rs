//! PKCS#12 files (`.pfx`, `.p12`): a private key and its certificate under a password.
//!
//! Reads the old encryptions (RC2, 3DES) as well as the modern one (PBES2 with AES-256); writes the modern one.

use p12_keystore::{Certificate, KeyStore, KeyStoreEntry, PrivateKeyChain};

use crate::{CertificateFacts, Error, Secret, pem};

/// What a PKCS#12 file holds.
#[derive(Debug)]
pub struct Identity {
    /// The private key, PKCS#8 PEM.
    pub key_pem: Secret,
    /// Its certificate, PEM.
    pub certificate_pem: String,
    /// What the certificate says.
    pub certificate: CertificateFacts,
}

impl Identity {
    /// Opens a PKCS#12 file's bytes.
    ///
    /// # Errors
    /// - [`Error::BadKey`]: the password does not fit, the file is damaged, or it has no key with a certificate.
    pub fn open(bytes: &[u8], password: &Secret) -> Result<Identity, Error> {
        let bad = |problem: String| Error::BadKey { what: "the PKCS#12 file", problem };
        let store = KeyStore::from_pkcs12(bytes, password.expose())
            .map_err(|e| bad(format!("it does not open ({e}): is the password right?")))?;
        let (_, chain) =
            store.private_key_chain().ok_or_else(|| bad("it holds no private key".to_owned()))?;
        let leaf = chain.chain().first().ok_or_else(|| bad("the key has no certificate".to_owned()))?;
        let certificate_pem = pem::write_block("CERTIFICATE", leaf.as_der());
        let certificate = CertificateFacts::from_pem(&certificate_pem)?;
        let key_pem = Secret::new(pem::write_block("PRIVATE KEY", chain.key()));
        Ok(Identity { key_pem, certificate_pem, certificate })
    }
}

/// A PKCS#12 file with a key (PKCS#8 PEM) and its certificate (PEM).
///
/// # Errors
/// - [`Error::NotPem`], [`Error::BadKey`]: by what is wrong with the texts.
pub fn write_pkcs12(key_pem: &str, certificate_pem: &str, password: &str) -> Result<Vec<u8>, Error> {
    let bad =
        |e: p12_keystore::error::Error| Error::BadKey { what: "the PKCS#12 file", problem: e.to_string() };
    let key = pem::first_block(key_pem)?.der;
    let certificate = Certificate::from_der(&pem::first_block(certificate_pem)?.der).map_err(bad)?;
    let id = crate::sha1_hex(certificate.as_der());
    let mut store = KeyStore::new();
    store.add_entry("merchant", KeyStoreEntry::PrivateKeyChain(PrivateKeyChain::new(key, id, [certificate])));
    store.writer(password).write().map_err(bad)
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, SerialNumber};

    use super::*;

    #[test]
    fn what_is_written_opens_with_its_password_and_with_no_other() {
        let key = crate::generate_rsa_pem(2048).unwrap();
        let mut params = CertificateParams::default();
        params.serial_number = Some(SerialNumber::from_slice(&[0x10, 0, 0, 0, 0, 0, 0, 0, 0]));
        let certificate = params.self_signed(&KeyPair::from_pem(&key).unwrap()).unwrap().pem();
        let file = write_pkcs12(&key, &certificate, "000000").unwrap();
        let opened = Identity::open(&file, &Secret::new("000000")).unwrap();
        assert_eq!(
            pem::first_block(opened.key_pem.expose()).unwrap().der,
            pem::first_block(&key).unwrap().der
        );
        assert_eq!(opened.certificate.serial_decimal, "295147905179352825856", "longer than 64 bits");
        let wrong = Identity::open(&file, &Secret::new("111111")).unwrap_err();
        assert!(wrong.to_string().contains("password"), "{wrong}");
        assert!(Identity::open(b"not a file", &Secret::new("")).is_err());
    }
}
