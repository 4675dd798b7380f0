//! Bugs on purpose, each behind a feature of its own, so that the simulator can show that it catches them.
//!
//! Never on by default and never in a release build. `scripts/planted` builds each and expects a violation.

#[cfg(all(
    not(debug_assertions),
    any(
        feature = "planted-expose-early",
        feature = "planted-failed-on-silence",
        feature = "planted-forgotten-refund",
        feature = "planted-double-count",
        feature = "planted-kept-part",
        feature = "planted-panic"
    )
))]
compile_error!("a planted bug is for the simulator's own test and must not be in a release build");

/// A payer who asks for another way is shown a second credential before the first is certified.
pub(crate) const EXPOSE_EARLY: bool = cfg!(feature = "planted-expose-early");
/// A call without an answer counts as a call that was never sent.
pub(crate) const FAILED_ON_SILENCE: bool = cfg!(feature = "planted-failed-on-silence");
/// A capture too many is noted, and its refund is not booked.
pub(crate) const FORGOTTEN_REFUND: bool = cfg!(feature = "planted-forgotten-refund");
/// The same word about a capture, heard again, is another capture.
pub(crate) const DOUBLE_COUNT: bool = cfg!(feature = "planted-double-count");
/// A paid part of a failed whole counts as sent back, and is not.
pub(crate) const KEPT_PART: bool = cfg!(feature = "planted-kept-part");
/// A refund that a channel gave up ends the actor that hears of it.
pub(crate) const PANIC: bool = cfg!(feature = "planted-panic");
