//! A cache that lives as long as its house: every crash loses it, as a process loses its memory.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use async_trait::async_trait;
use domain::{ChannelId, OrderId};
use parking_lot::Mutex;
use store::Cache;

/// Views by order: version and body.
type Views = BTreeMap<OrderId, (u64, Arc<[u8]>)>;

/// The cache. No eviction and no expiry: moka's are decided by the machine's clock and hash keys.
#[derive(Debug, Default)]
pub(crate) struct PlainCache {
    views: Mutex<Views>,
    payers: Mutex<BTreeMap<String, ChannelId>>,
}

#[async_trait]
impl Cache for PlainCache {
    async fn order_status_put(&self, id: OrderId, version: u64, body: Arc<[u8]>, _settled: bool) {
        let mut views = self.views.lock();
        if views.get(&id).is_none_or(|(known, _)| *known < version) {
            views.insert(id, (version, body));
        }
    }

    async fn order_status_get(&self, id: OrderId) -> Option<(u64, Arc<[u8]>)> {
        self.views.lock().get(&id).cloned()
    }

    async fn rate_take(&self, _key: &str, _limit: u64, _window: Duration) -> bool {
        true // the front door's business; no simulated call passes it
    }

    async fn payer_channel_get(&self, payer: &str) -> Option<ChannelId> {
        self.payers.lock().get(payer).cloned()
    }

    async fn payer_channel_put(&self, payer: &str, channel: &ChannelId) {
        self.payers.lock().insert(payer.to_owned(), channel.clone());
    }

    fn failures(&self) -> u64 {
        0
    }
}
