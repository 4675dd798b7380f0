//! What can be wrong with a key, a file or a sealed text.
//!
//! Every message says what was expected and what to do; none contains key material. File errors name the path.

use std::path::PathBuf;

/// A signature that does not belong to the message and key. Carries no detail on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the signature does not match")]
pub struct BadSignature;

/// Why a key could not be read, made or used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The text holds no PEM block.
    #[error("not PEM: expected a block that starts with -----BEGIN")]
    NotPem,
    /// The PEM block is of another kind than needed.
    #[error("expected {expected} in PEM, found a block named {found:?}")]
    WrongPem {
        /// What was needed.
        expected: &'static str,
        /// The label that was found.
        found: String,
    },
    /// The PEM block does not contain what its label says, or the key is too weak.
    #[error("{what} cannot be used: {problem}")]
    BadKey {
        /// Which thing.
        what: &'static str,
        /// What is wrong with it.
        problem: String,
    },
    /// A sealed text does not open under this key, nonce and associated data.
    #[error("the sealed text does not open under this key, nonce and associated data")]
    Sealed,
    /// The cryptographic library refused an operation that should not fail.
    #[error("the cryptographic library refused to {0}")]
    Crypto(&'static str),
    /// A key file is missing or cannot be read.
    #[error("cannot read key file {}: {source}; check the path and the owner of the file", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A key file cannot be made.
    #[error("cannot write key file {}: {source}", path.display())]
    Unwritable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A secret file can be read or written by everybody on the machine.
    #[error("key file {} is open to everybody (mode {mode:03o}); run: chmod 600 {}", path.display(), path.display())]
    TooOpen {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// A key file was read but its content is not what was needed.
    #[error("key file {}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with the content.
        source: Box<Error>,
    },
}
