//! How many signatures this process made and checked for its channels.
//!
//! A report multiplies these by the measured cost of one to get the floor under the CPU time of an order.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

static SIGNATURES: AtomicU64 = AtomicU64::new(0);
static VERIFICATIONS: AtomicU64 = AtomicU64::new(0);
static HMACS: AtomicU64 = AtomicU64::new(0);

/// Counts since the process started, over all channels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SigningCounters {
    /// RSA signatures made.
    pub rsa_signatures: u64,
    /// RSA signatures checked, good or bad.
    pub rsa_verifications: u64,
    /// HMAC codes computed, for requests and for checks.
    pub hmacs: u64,
}

/// The counts as of now.
#[must_use]
pub fn signing_counters() -> SigningCounters {
    SigningCounters {
        rsa_signatures: SIGNATURES.load(Relaxed),
        rsa_verifications: VERIFICATIONS.load(Relaxed),
        hmacs: HMACS.load(Relaxed),
    }
}

pub(crate) fn signed() {
    SIGNATURES.fetch_add(1, Relaxed);
}

pub(crate) fn verified() {
    VERIFICATIONS.fetch_add(1, Relaxed);
}

pub(crate) fn hmac() {
    HMACS.fetch_add(1, Relaxed);
}
