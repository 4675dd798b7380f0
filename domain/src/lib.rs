//! The rules of Rushpay, and nothing else.
//!
//! Everything here is a pure function of its arguments: no I/O, no clock, no randomness, no runtime.
//! Time arrives as [`Timestamp`], amounts as [`Money`], what a channel said as [`Answer`] and [`Evidence`].
//! The heart is [`order`]: `decide` turns an event into facts and effects, `resume` derives the effects
//! that are still owed from the state alone.

pub mod audit;
pub mod books;
pub mod channel;
pub mod ids;
pub mod money;
pub mod order;
pub mod pace;
mod planted;
pub mod polling;
pub mod reconciliation;
pub mod routing;
pub mod settlement;
pub mod splitting;
pub mod time;
pub mod tuning;
pub mod webhook;

pub use channel::{
    Answer, Capture, ChannelKind, Credential, Evidence, EvidenceSource, Found, Refusal, Scene,
};
pub use ids::{AttemptNo, ChannelId, ChannelOrderNo, MerchantId, OrderId, RefundNo, SplitNo};
pub use money::Money;
pub use time::Timestamp;
