//! The cache in this process: moka, bounded by bytes.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use domain::{ChannelId, OrderId};
use moka::{ops::compute::Op, sync::Cache as Moka};

use super::Cache;

/// Views of orders, in bytes.
const STATUS_BYTES_MAX: u64 = 64 * 1024 * 1024;
const ENTRIES_MAX: u64 = 100_000;
const STATUS_TTL: Duration = Duration::from_secs(2 * 3600);
const PAYER_TTL: Duration = Duration::from_secs(30 * 24 * 3600);
const RATE_TTL: Duration = Duration::from_secs(120);

#[derive(Clone)]
struct Status {
    version: u64,
    body: Arc<[u8]>,
}

/// The embedded cache.
#[derive(Clone)]
pub struct MemoryCache {
    status: Moka<OrderId, Status>,
    payers: Moka<String, ChannelId>,
    rates: Moka<String, (Instant, u64)>,
}

impl Default for MemoryCache {
    fn default() -> MemoryCache {
        let weigh = |_: &OrderId, status: &Status| u32::try_from(status.body.len() + 128).unwrap_or(u32::MAX);
        MemoryCache {
            status: Moka::builder()
                .max_capacity(STATUS_BYTES_MAX)
                .weigher(weigh)
                .time_to_live(STATUS_TTL)
                .build(),
            payers: Moka::builder().max_capacity(ENTRIES_MAX).time_to_live(PAYER_TTL).build(),
            rates: Moka::builder().max_capacity(ENTRIES_MAX).time_to_live(RATE_TTL).build(),
        }
    }
}

#[async_trait]
impl Cache for MemoryCache {
    async fn order_status_put(&self, id: OrderId, version: u64, body: Arc<[u8]>, _settled: bool) {
        self.status.entry(id).and_compute_with(|present| match present {
            Some(entry) if entry.value().version >= version => Op::Nop,
            Some(_) | None => Op::Put(Status { version, body }),
        });
    }

    async fn order_status_get(&self, id: OrderId) -> Option<(u64, Arc<[u8]>)> {
        self.status.get(&id).map(|status| (status.version, status.body))
    }

    async fn rate_take(&self, key: &str, limit: u64, window: Duration) -> bool {
        let mut taken = false;
        self.rates.entry(key.to_owned()).and_compute_with(|present| {
            let fresh = (Instant::now(), 0);
            let (since, used) = present
                .map(moka::Entry::into_value)
                .filter(|(since, _)| since.elapsed() < window)
                .unwrap_or(fresh);
            taken = used < limit;
            if taken { Op::Put((since, used + 1)) } else { Op::Nop }
        });
        taken
    }

    async fn payer_channel_get(&self, payer: &str) -> Option<ChannelId> {
        self.payers.get(payer)
    }

    async fn payer_channel_put(&self, payer: &str, channel: &ChannelId) {
        self.payers.insert(payer.to_owned(), channel.clone());
    }

    fn failures(&self) -> u64 {
        0
    }
}
