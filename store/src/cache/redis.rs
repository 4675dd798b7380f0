//! The cache in Redis, for several nodes.
//!
//! One pooled, multiplexed connection is shared, which pipelines by itself. Every question has a short
//! deadline; after a failure Redis is left alone for a moment, so that a dead Redis costs a lunch microseconds
//! and not timeouts. Versions are compared inside Redis, in one step.

use std::{
    sync::{
        Arc, LazyLock,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use async_trait::async_trait;
use bb8_redis::{RedisConnectionManager, bb8::Pool};
use domain::{ChannelId, OrderId};
use redis::{FromRedisValue, Script, aio::MultiplexedConnection};
use tracing::warn;

use super::Cache;
use crate::Error;

const DEADLINE: Duration = Duration::from_millis(150);
/// How long Redis is left alone after a failure.
const REST: Duration = Duration::from_secs(1);
const OPEN_TTL_S: u64 = 7200;
const SETTLED_TTL_S: u64 = 600;
const PAYER_TTL_S: u64 = 30 * 24 * 3600;

static PUT_IF_NEWER: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "local v = redis.call('HGET', KEYS[1], 'v') \
         if v and tonumber(v) >= tonumber(ARGV[1]) then return 0 end \
         redis.call('HSET', KEYS[1], 'v', ARGV[1], 'b', ARGV[2]) \
         redis.call('EXPIRE', KEYS[1], ARGV[3]) return 1",
    )
});
static TAKE: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "local n = redis.call('INCR', KEYS[1]) \
         if n == 1 then redis.call('PEXPIRE', KEYS[1], ARGV[2]) end \
         if n > tonumber(ARGV[1]) then return 0 end return 1",
    )
});

/// Where Redis is.
#[derive(Debug, Clone)]
pub struct RedisOptions {
    /// `redis://host:port/db`.
    pub url: String,
    /// Put before every key, so that several houses can share a Redis.
    pub prefix: String,
}

/// The cache in Redis.
pub struct RedisCache {
    pool: Pool<RedisConnectionManager>,
    prefix: String,
    started: Instant,
    /// Milliseconds since `started` until which Redis is left alone.
    rests_until: AtomicU64,
    failures: AtomicU64,
}

impl RedisCache {
    /// Connects lazily: a Redis that is down at the start is a cache that knows nothing yet.
    ///
    /// # Errors
    /// [`Error::Open`] if the address is not one.
    pub async fn connect(options: &RedisOptions) -> Result<RedisCache, Error> {
        let manager = RedisConnectionManager::new(options.url.as_str())
            .map_err(|e| Error::Open(format!("redis.url {:?} is not an address: {e}", options.url)))?;
        let pool = Pool::builder()
            .max_size(2)
            .connection_timeout(DEADLINE)
            .test_on_check_out(false)
            .build_unchecked(manager);
        Ok(RedisCache {
            pool,
            prefix: options.prefix.clone(),
            started: Instant::now(),
            rests_until: AtomicU64::new(0),
            failures: AtomicU64::new(0),
        })
    }

    fn millis(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Asks Redis within the deadline; a failure is counted and answered with `None`.
    async fn ask<T, F>(&self, question: impl FnOnce(MultiplexedConnection) -> F) -> Option<T>
    where
        T: FromRedisValue,
        F: Future<Output = redis::RedisResult<T>>,
    {
        if self.millis() < self.rests_until.load(Ordering::Relaxed) {
            return None;
        }
        let answer = tokio::time::timeout(DEADLINE, async {
            // Cloned out of the pool at once: the connection is multiplexed, waiting for it would serialise.
            let connection = self.pool.get().await.map_err(|e| e.to_string())?.clone();
            question(connection).await.map_err(|e| e.to_string())
        })
        .await;
        let problem = match answer {
            Ok(Ok(value)) => return Some(value),
            Ok(Err(problem)) => problem,
            Err(_) => "no answer in time".to_owned(),
        };
        if self.failures.fetch_add(1, Ordering::Relaxed).is_multiple_of(100) {
            warn!(problem, "redis does not answer; going on without the cache");
        }
        let rest = u64::try_from(REST.as_millis()).unwrap_or(1000);
        self.rests_until.store(self.millis().saturating_add(rest), Ordering::Relaxed);
        None
    }

    fn key(&self, kind: &str, id: impl std::fmt::Display) -> String {
        format!("{}:{kind}:{id}", self.prefix)
    }
}

#[async_trait]
impl Cache for RedisCache {
    async fn order_status_put(&self, id: OrderId, version: u64, body: Arc<[u8]>, settled: bool) {
        let key = self.key("order", id);
        let ttl = if settled { SETTLED_TTL_S } else { OPEN_TTL_S };
        self.ask(|mut c| async move {
            PUT_IF_NEWER.key(key).arg(version).arg(&body[..]).arg(ttl).invoke_async::<i64>(&mut c).await
        })
        .await;
    }

    async fn order_status_get(&self, id: OrderId) -> Option<(u64, Arc<[u8]>)> {
        let key = self.key("order", id);
        let found: (Option<u64>, Option<Vec<u8>>) =
            self.ask(|mut c| async move {
                redis::cmd("HMGET").arg(key).arg("v").arg("b").query_async(&mut c).await
            })
            .await?;
        Some((found.0?, found.1?.into()))
    }

    async fn rate_take(&self, key: &str, limit: u64, window: Duration) -> bool {
        let key = self.key("rate", key);
        let window_ms = u64::try_from(window.as_millis()).unwrap_or(u64::MAX);
        let taken =
            self.ask(|mut c| async move {
                TAKE.key(key).arg(limit).arg(window_ms).invoke_async::<i64>(&mut c).await
            })
            .await;
        taken != Some(0)
    }

    async fn payer_channel_get(&self, payer: &str) -> Option<ChannelId> {
        let key = self.key("payer", payer);
        let found: Option<String> =
            self.ask(|mut c| async move { redis::cmd("GET").arg(key).query_async(&mut c).await }).await?;
        ChannelId::new(&found?).ok()
    }

    async fn payer_channel_put(&self, payer: &str, channel: &ChannelId) {
        let (key, channel) = (self.key("payer", payer), channel.to_string());
        self.ask::<(), _>(|mut c| async move {
            redis::cmd("SET").arg(key).arg(channel).arg("EX").arg(PAYER_TTL_S).query_async(&mut c).await
        })
        .await;
    }

    fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }
}
