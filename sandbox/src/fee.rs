//! What every channel of the sandbox keeps of a payment.

/// Six of a thousand, rounded to fen.
pub(crate) fn fee(fen: i64) -> i64 {
    (fen * 6 + 500) / 1_000
}
