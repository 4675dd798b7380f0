//! Sealing short texts for the holder of an RSA key: OAEP with SHA-1 and MGF1-SHA-1, as WeChat Pay wants names sealed.

use rsa::{
    Oaep, RsaPrivateKey, RsaPublicKey,
    pkcs8::{DecodePrivateKey as _, DecodePublicKey as _},
};

use crate::{Error, Secret, pem};

/// Seals `text` (at most 214 bytes under 2048 bits) for a public key in PEM (`PUBLIC KEY`).
///
/// # Errors
/// - [`Error::NotPem`], [`Error::BadKey`]: by what is wrong with the key.
/// - [`Error::Crypto`]: the text is too long.
pub fn oaep_seal(public_pem: &str, text: &[u8]) -> Result<Vec<u8>, Error> {
    let bad = |e: rsa::pkcs8::spki::Error| Error::BadKey { what: "the public key", problem: e.to_string() };
    let key = RsaPublicKey::from_public_key_der(&pem::first_block(public_pem)?.der).map_err(bad)?;
    // `rsa` 0.9 takes the random numbers of `rand` 0.8, which it brings along.
    let mut rng = rsa::rand_core::OsRng;
    key.encrypt(&mut rng, Oaep::new::<sha1::Sha1>(), text).map_err(|_| Error::Crypto("seal a text"))
}

/// Opens what was sealed for this private key (PKCS#8 PEM).
///
/// # Errors
/// - [`Error::NotPem`], [`Error::BadKey`]: by what is wrong with the key.
/// - [`Error::Sealed`]: it was not sealed for this key.
pub fn oaep_open(private_pem: &Secret, sealed: &[u8]) -> Result<Vec<u8>, Error> {
    let bad = |e: rsa::pkcs8::Error| Error::BadKey { what: "the private key", problem: e.to_string() };
    let key = RsaPrivateKey::from_pkcs8_der(&pem::first_block(private_pem.expose())?.der).map_err(bad)?;
    key.decrypt(Oaep::new::<sha1::Sha1>(), sealed).map_err(|_| Error::Sealed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sealed_for_a_key_opens_with_it_and_with_no_other() {
        let (ours, theirs) = (crate::generate_rsa_pem(2048).unwrap(), crate::generate_rsa_pem(2048).unwrap());
        let sealed = oaep_seal(&crate::public_key_pem(&ours).unwrap(), "食堂".as_bytes()).unwrap();
        assert_eq!(oaep_open(&Secret::new(ours), &sealed).unwrap(), "食堂".as_bytes());
        assert!(matches!(oaep_open(&Secret::new(theirs), &sealed), Err(Error::Sealed)));
    }
}
