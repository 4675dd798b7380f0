//! The payment channels: wire types, signing, verification, status parsing.
//!
//! Owns everything that is peculiar to a channel, behind one trait ([`Channel`]). A folder per channel; the
//! list of channels is in [`registry`] and nowhere else.
//! Promises that an answer is sorted by what may be done next ([`domain::Answer`]) and that nothing unsigned or
//! unverified is ever passed on as a channel's final word.
//! Leaves deadlines, repeats, pace and breakers to the gateway that wraps each call; knows no actors, no store.
//! Fails at start with every fault of a channel's configuration at once ([`Error`]), and never afterwards.

mod bill;
#[cfg(test)]
#[allow(clippy::indexing_slicing, reason = "tests")]
mod bill_tests;
mod channel;
mod clock;
mod config;
mod counters;
mod error;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod inspect;
pub mod registry;
mod replay;
mod settlement;
mod signing_pool;
mod wire;

pub mod alipay;
pub mod campus_card;
pub mod unionpay;
pub mod wechat;

pub use bill::{BillFile, BillKind, BillLine, BillRefused, BillSource, EachLine};
pub use channel::{
    Channel, HttpReply, Notification, NotificationCall, NotificationKind, NotificationRefused,
    RefusedBecause, Verdict,
};
pub use clock::{Clock, system_clock};
pub use config::{ConfigFault, LimitRule};
pub use counters::{SigningCounters, signing_counters};
pub use error::{BillError, Error};
pub use inspect::{Class, Finding, Look};
pub use settlement::Settlement;
