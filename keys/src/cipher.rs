//! AES-256-GCM with a nonce that the message carries.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};

use crate::Error;

/// Ciphertext followed by the 16-byte tag. A nonce must never be used twice under one key.
///
/// # Errors
/// - [`Error::Crypto`]: the library refused; only a text beyond 64 GiB can cause it.
pub fn seal(key: &[u8; 32], nonce: &[u8; 12], aad: &[u8], plaintext: &[u8]) -> Result<Vec<u8>, Error> {
    let refused = |_| Error::Crypto("seal");
    let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key).map_err(refused)?);
    let mut text = plaintext.to_vec();
    key.seal_in_place_append_tag(Nonce::assume_unique_for_key(*nonce), Aad::from(aad), &mut text)
        .map_err(refused)?;
    Ok(text)
}

/// The text that [`seal`] was given, if key, nonce and associated data are the same.
///
/// # Errors
/// - [`Error::Sealed`]: they are not, or the text was changed or cut.
pub fn open(key: &[u8; 32], nonce: &[u8; 12], aad: &[u8], sealed: &[u8]) -> Result<Vec<u8>, Error> {
    let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key).map_err(|_| Error::Crypto("open"))?);
    let mut text = sealed.to_vec();
    let length = key
        .open_in_place(Nonce::assume_unique_for_key(*nonce), Aad::from(aad), &mut text)
        .map_err(|_| Error::Sealed)?
        .len();
    text.truncate(length);
    Ok(text)
}

#[cfg(test)]
mod tests {
    use base64::{Engine as _, engine::general_purpose::STANDARD};

    use super::*;

    const KEY: &[u8; 32] = b"sandbox-apiv3-key-do-not-use-001";
    const NONCE: &[u8; 12] = b"sandboxnonce";

    #[test]
    fn the_worked_text_with_empty_associated_data_opens_and_seals_to_the_same_bytes() {
        let sealed = STANDARD.decode("Dd3ExbAmb5vXzJ1/uXZWmbORHwUy").unwrap();
        assert_eq!(open(KEY, NONCE, b"", &sealed).unwrap(), b"hello");
        assert_eq!(seal(KEY, NONCE, b"", b"hello").unwrap(), sealed);
    }

    #[test]
    fn another_key_nonce_data_or_a_cut_text_does_not_open() {
        let sealed = seal(KEY, NONCE, b"transaction", b"hello").unwrap();
        let mut flipped = sealed.clone();
        flipped[0] ^= 1;
        assert!(open(&[0; 32], NONCE, b"transaction", &sealed).is_err());
        assert!(open(KEY, &[0; 12], b"transaction", &sealed).is_err());
        assert!(open(KEY, NONCE, b"refund", &sealed).is_err());
        assert!(open(KEY, NONCE, b"transaction", &flipped).is_err());
        assert!(open(KEY, NONCE, b"transaction", &sealed[..3]).is_err());
        assert!(open(KEY, NONCE, b"transaction", b"").is_err());
    }
}
