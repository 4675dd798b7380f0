//! Which channel an order starts on, and when a channel is to be left alone.
//!
//! [`Window`] holds what was measured of one kind of call, [`Health`] is the state machine over it,
//! [`Monitor`] is both for one channel, [`choose`] picks a channel for one order. All pure: the router actor
//! measures, asks on every tick, keeps the transitions and passes a random draw in. A restarted router
//! starts with empty windows and healthy channels and relearns within seconds; nothing here is worth
//! storing.

mod breaker;
mod choice;
mod health;
mod histogram;
mod make_up;
mod monitor;
#[cfg(test)]
mod rush_tests;
mod verdict;
mod window;

pub use breaker::{Breaker, Pass};
pub use choice::{ChannelView, Choice, RouteNeed, choose};
pub use health::{ChannelState, Health, Outside, Transition};
pub use make_up::make_up;
pub use monitor::Monitor;
pub use window::{Call, CallStats, Outcome, Window, WindowStats};
