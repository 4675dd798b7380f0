//! SHA-256, SHA-1 for bill files, and HMAC-SHA256.

use aws_lc_rs::{constant_time, digest, hmac};

use crate::BadSignature;

/// Lower-case hex of SHA-256 over `bytes`.
#[must_use]
pub fn sha256_hex(bytes: &[u8]) -> String {
    hex::encode(digest::digest(&digest::SHA256, bytes))
}

/// Lower-case hex of SHA-256 over everything that a reader gives, with little memory.
///
/// # Errors
/// What the reader says.
pub fn sha256_hex_of(reader: impl std::io::Read) -> std::io::Result<String> {
    hex_of(&digest::SHA256, reader)
}

/// Lower-case hex of SHA-1 over `bytes`: only to compare with the hash of a downloaded bill.
#[must_use]
pub fn sha1_hex(bytes: &[u8]) -> String {
    hex::encode(digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, bytes))
}

/// As [`sha1_hex`], over everything that `from` gives.
///
/// # Errors
/// What reading gives.
pub fn sha1_hex_of(from: impl std::io::Read) -> std::io::Result<String> {
    hex_of(&digest::SHA1_FOR_LEGACY_USE_ONLY, from)
}

fn hex_of(algorithm: &'static digest::Algorithm, mut reader: impl std::io::Read) -> std::io::Result<String> {
    let (mut context, mut buffer) = (digest::Context::new(algorithm), vec![0; 64 * 1024]);
    loop {
        match reader.read(&mut buffer) {
            Ok(0) => return Ok(hex::encode(context.finish())),
            Ok(n) => context.update(buffer.get(..n).unwrap_or_default()),
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
}

/// Lower-case hex of MD5 over `bytes`: only to name certificates as Alipay does.
#[must_use]
pub fn md5_hex(bytes: &[u8]) -> String {
    use md5::Digest as _;
    hex::encode(md5::Md5::digest(bytes))
}

/// Whether two byte strings are equal, in time that does not depend on where they differ.
#[must_use]
pub fn slices_equal(a: &[u8], b: &[u8]) -> bool {
    constant_time::verify_slices_are_equal(a, b).is_ok()
}

/// HMAC-SHA256 of `message` under `key`.
#[must_use]
pub fn hmac_sha256(key: &[u8], message: &[u8]) -> [u8; 32] {
    HmacKey::new(key).sign(message)
}

/// A key for HMAC-SHA256, prepared once.
#[derive(Clone)]
pub struct HmacKey(hmac::Key);

impl HmacKey {
    /// From the bytes of the secret.
    #[must_use]
    pub fn new(key: &[u8]) -> HmacKey {
        HmacKey(hmac::Key::new(hmac::HMAC_SHA256, key))
    }

    /// The 32 bytes of the code over `message`.
    #[must_use]
    pub fn sign(&self, message: &[u8]) -> [u8; 32] {
        let mut code = [0; 32];
        code.copy_from_slice(hmac::sign(&self.0, message).as_ref());
        code
    }

    /// Compares in constant time.
    ///
    /// # Errors
    /// - [`BadSignature`]: `code` is not the code over `message` under this key.
    pub fn verify(&self, message: &[u8], code: &[u8]) -> Result<(), BadSignature> {
        hmac::verify(&self.0, message, code).map_err(|_| BadSignature)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Campus card protocol, vector C1.
    const C1: &str = "CARD1-REQUEST\nM1001\nk1\n1767225600\nn-0000000000000001\nPOST\n/ccp/v1/payments\n\
                      f2081f3a6a7225c212c8d7706bf8631bc72e9e1903f9958b7108554ebe8a1097";

    #[test]
    fn the_worked_vector_of_the_campus_card_verifies_and_a_changed_bit_does_not() {
        let key = HmacKey::new(b"sandbox-secret-do-not-use-0123456789abcdef");
        let code = hex::decode("65476bd7e8ddc0487fc336a3c68e03c554e4e9a181a8f3272736c9ab773b13ce").unwrap();
        assert_eq!(key.sign(C1.as_bytes()).as_slice(), code);
        assert_eq!(key.verify(C1.as_bytes(), &code), Ok(()));
        assert_eq!(key.verify(C1.replace("POST", "PUT").as_bytes(), &code), Err(BadSignature));
        assert_eq!(key.verify(C1.as_bytes(), code.get(..31).unwrap()), Err(BadSignature));
    }

    #[test]
    fn hashes_of_nothing_are_the_known_ones() {
        assert_eq!(sha256_hex(b""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
        assert_eq!(sha256_hex_of(&[7; 200_000][..]).unwrap(), sha256_hex(&[7; 200_000]));
        assert_eq!(sha1_hex(b""), "da39a3ee5e6b4b0d3255bfef95601890afd80709");
    }
}
