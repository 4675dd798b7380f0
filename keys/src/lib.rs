//! Keys and signature primitives that the channels and the sandbox share.
//!
//! Owns signing and verifying (SHA256withRSA, HMAC-SHA256, Ed25519), sealing (AES-256-GCM), the facts of a certificate
//! and the reading of key files. Knows no channel: what is signed is the caller's text.
//! The hot path runs on aws-lc-rs; the `rsa` crate makes, reads and checks keys and is the second opinion
//! ([`mod@reference`]) that a test compares byte for byte.
//! Fails with [`Error`], which names what is wrong with which key and never shows a secret.

mod certificate;
mod chain;
mod cipher;
mod digest;
mod ed25519;
mod error;
mod files;
mod generate;
pub mod pem;
mod pkcs12;
pub mod reference;
mod sealing;
mod secret;
mod signing;

pub use certificate::{CertificateFacts, serial_eq};
pub use chain::{Anchors, Untrusted};
pub use cipher::{open, seal};
pub use digest::{
    HmacKey, hmac_sha256, md5_hex, sha1_hex, sha1_hex_of, sha256_hex, sha256_hex_of, slices_equal,
};
pub use ed25519::{Ed25519Signer, Ed25519Verifier};
pub use error::{BadSignature, Error};
pub use files::KeyFile;
pub use generate::{check_private_key, generate_rsa_pem, public_key_pem};
pub use pkcs12::{Identity, write_pkcs12};
pub use sealing::{oaep_open, oaep_seal};
pub use secret::Secret;
pub use signing::{RsaSigner, RsaVerifier};

/// Makes signatures. Signing costs about a quarter of a millisecond of CPU: keep it off event loops.
pub trait Signer: Send + Sync {
    /// The SHA256withRSA (PKCS#1 v1.5) signature over `message`; the same message gives the same bytes.
    ///
    /// # Errors
    /// - [`Error::Crypto`]: the library refused; nothing about the message can cause it.
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Error>;
}

/// Checks signatures.
pub trait Verifier: Send + Sync {
    /// Whether `signature` is a SHA256withRSA (PKCS#1 v1.5) signature over `message`.
    ///
    /// # Errors
    /// - [`BadSignature`]: it is not, for whatever reason; the cause is not revealed.
    fn verify(&self, message: &[u8], signature: &[u8]) -> Result<(), BadSignature>;
}
