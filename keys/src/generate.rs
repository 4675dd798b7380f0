//! Making RSA keys, and checking ones that came from elsewhere.

use aws_lc_rs::{
    encoding::AsDer as _,
    rsa::{KeyPair, KeySize},
};
use rsa::{
    RsaPrivateKey,
    pkcs1::DecodeRsaPrivateKey as _,
    pkcs8::{DecodePrivateKey as _, EncodePublicKey as _, LineEnding},
    traits::PublicKeyParts as _,
};

use crate::{Error, pem};

/// A new RSA key as PKCS#8 PEM. `bits` is 2048, 3072 or 4096.
///
/// # Errors
/// - [`Error::BadKey`]: another size was asked for.
/// - [`Error::Crypto`]: the library refused.
pub fn generate_rsa_pem(bits: usize) -> Result<String, Error> {
    let size = match bits {
        2048 => KeySize::Rsa2048,
        3072 => KeySize::Rsa3072,
        4096 => KeySize::Rsa4096,
        _ => {
            let problem = format!("{bits} bits asked for, expected 2048, 3072 or 4096");
            return Err(Error::BadKey { what: "a new key", problem });
        }
    };
    let refused = |_| Error::Crypto("make a key");
    let der = KeyPair::generate(size).map_err(refused)?.as_der().map_err(refused)?;
    Ok(pem::write_block("PRIVATE KEY", der.as_ref()))
}

/// The public half of a private key (PKCS#8 or PKCS#1 PEM) as SPKI PEM.
///
/// # Errors
/// - [`Error::NotPem`], [`Error::WrongPem`], [`Error::BadKey`]: by what is wrong with the text.
pub fn public_key_pem(private_pem: &str) -> Result<String, Error> {
    read_private_key(private_pem)?
        .to_public_key()
        .to_public_key_pem(LineEnding::LF)
        .map_err(|_| Error::Crypto("export a public key"))
}

/// Checks a private key by arithmetic (primes, exponents, modulus) and asks for at least 2048 bits; gives its bits.
///
/// # Errors
/// - [`Error::NotPem`], [`Error::WrongPem`], [`Error::BadKey`]: by what is wrong with the text.
pub fn check_private_key(private_pem: &str) -> Result<usize, Error> {
    let key = read_private_key(private_pem)?;
    let bad = |problem| Error::BadKey { what: "the private key", problem };
    key.validate().map_err(|e| bad(e.to_string()))?;
    match key.n().bits() {
        bits if bits >= 2048 => Ok(bits),
        bits => Err(bad(format!("{bits} bits, expected at least 2048"))),
    }
}

/// A private key by `rsa`, from PKCS#8 or PKCS#1 PEM.
pub(crate) fn read_private_key(text: &str) -> Result<RsaPrivateKey, Error> {
    let block = pem::first_block(text)?;
    let bad = |problem: String| Error::BadKey { what: "the private key", problem };
    match block.label.as_str() {
        "PRIVATE KEY" => RsaPrivateKey::from_pkcs8_der(&block.der).map_err(|e| bad(e.to_string())),
        "RSA PRIVATE KEY" => RsaPrivateKey::from_pkcs1_der(&block.der).map_err(|e| bad(e.to_string())),
        other => Err(Error::WrongPem { expected: "a private key", found: other.to_owned() }),
    }
}
