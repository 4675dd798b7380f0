//! Counters that a report reads in one look (`GET /admin/v1/stats`). Prometheus has its own, richer set.

use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;
use utoipa::ToSchema;

/// One running number.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// One more.
    pub fn one(&self) {
        self.add(1);
    }

    /// `n` more.
    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    /// One less.
    pub fn less(&self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }

    /// Another value; gives the one before.
    pub fn set(&self, n: u64) -> u64 {
        self.0.swap(n, Ordering::Relaxed)
    }

    /// The present value.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

macro_rules! stats {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {
        /// Counters since the process started, but for the gauges among them, which say so.
        #[derive(Debug, Default)]
        pub struct Stats { $($(#[$doc])* pub $name: Counter,)* }

        /// The counters at one moment.
        #[derive(Debug, Clone, Default, Serialize, ToSchema)]
        pub struct StatsView { $($(#[$doc])* pub $name: u64,)* }

        impl Stats {
            /// Reads every counter.
            #[must_use]
            pub fn view(&self) -> StatsView {
                StatsView { $($name: self.$name.get(),)* }
            }
        }
    };
}

stats! {
    /// Orders accepted (repeats of the same order not counted).
    accepted,
    /// Orders turned away with 503.
    turned_away,
    /// Gauge: orders that have an actor.
    open_orders,
    /// Prepay calls to channels.
    prepays,
    /// Queries to channels.
    polls,
    /// Closes sent to channels.
    closes,
    /// Refund calls and refund queries.
    refund_calls,
    /// Second prepays for orders whose first was silent.
    hedges,
    /// Switches of channels by the router.
    switches,
    /// Notifications received, whatever their verdict.
    notifications,
    /// Notifications refused.
    notifications_refused,
    /// Transactions committed by the journal.
    commits,
    /// Entries in these transactions.
    commit_rows,
    /// Gauge: 1 while the store refuses commits.
    store_refuses,
    /// Transitions of orders.
    transitions,
    /// Webhooks delivered.
    webhooks_delivered,
    /// Webhook tries that failed.
    webhooks_failed,
    /// Messages that found a full or dead mailbox; the row stays due.
    undelivered,
    /// RSA signatures made, for the signature floor.
    signatures,
    /// RSA signatures verified.
    verifications,
}
