//! The actors: orders, registry, journal, router, pollers, gateways, webhook sender, and their guardians.
//!
//! Owns the running house ([`start`], [`Service`]). One actor per open order hears, decides (the domain's
//! rule), commits (the journal), acts. A message is only a poke: whatever must happen follows from committed
//! rows, so a lost message, a dead actor or a dead process costs a delay and never a payment.
//! Leaves HTTP to the front door, SQL to the store, wire formats to the channels.

mod accept;
mod board;
mod breaker;
mod causes;
mod chance;
mod clock;
mod courier;
mod gateway;
mod guardian;
mod handle;
mod house;
mod intake;
mod journal;
mod make_up;
mod meter;
pub mod metric_definitions;
mod notification;
mod order;
mod poller;
mod reconciler;
pub mod reconciliation;
mod registry;
mod router;
mod service;
mod start;
mod stats;
mod tuning;
pub mod view;
mod webhook_sender;
mod webhooks;

pub use accept::{AcceptError, Accepted};
pub use causes::causes;
pub use chance::{Chance, SystemChance};
pub use clock::{Clock, SystemClock};
pub use courier::{Courier, HttpCourier, Parcel, WebhookOptions};
pub use journal::JournalError;
pub use order::{HearError, Heard};
pub use reconciler::{ConfirmError, Confirmation, ReconcileError};
pub use router::ChannelStatus;
pub use service::{OrderBody, Service, TuneError};
pub use start::{Parts, Running, StartError, Threads, start};
pub use stats::{Stats, StatsView};
pub use tuning::TuningHandle;
pub use webhook_sender::LaneStatus;
pub use webhooks::ResendError;
