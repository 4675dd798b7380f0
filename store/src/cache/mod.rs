//! What may be lost: order status for readers, rate windows, a payer's last channel.
//!
//! One trait, two bodies: in process and Redis. Losing the cache costs speed, never money, so no method can
//! fail: a body in trouble is a cache that knows nothing. A status is written after its commit and only over
//! an older version, so a reader never sees less than what was committed when the writer was told.

mod memory;
mod redis;
#[cfg(test)]
mod tests;

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use domain::{ChannelId, OrderId};

pub use memory::MemoryCache;
pub use redis::{RedisCache, RedisOptions};

/// The cache.
#[async_trait]
pub trait Cache: Send + Sync {
    /// Keeps an order's view if it is newer than the one that is there. A settled one is kept for less long.
    async fn order_status_put(&self, id: OrderId, version: u64, body: Arc<[u8]>, settled: bool);

    /// The newest view known here, with its version.
    async fn order_status_get(&self, id: OrderId) -> Option<(u64, Arc<[u8]>)>;

    /// Takes one from a window of `limit` per `window`; false when it is used up. A cache in trouble says true:
    /// a rate limit protects, and must not stop the lunch.
    async fn rate_take(&self, key: &str, limit: u64, window: Duration) -> bool;

    /// The channel the payer used last.
    async fn payer_channel_get(&self, payer: &str) -> Option<ChannelId>;

    /// Remembers it.
    async fn payer_channel_put(&self, payer: &str, channel: &ChannelId);

    /// How many questions failed since the start; a metric.
    fn failures(&self) -> u64;
}
