//! The same promises for both bodies. Redis is a real one on a port of its own.

use std::{
    process::{Child, Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use domain::{ChannelId, OrderId};

use super::{Cache, MemoryCache, RedisCache, RedisOptions};

struct Redis {
    server: Child,
    url: String,
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _gone_already = self.server.kill();
        let _reaped = self.server.wait();
    }
}

/// A server of its own; `None` where none is installed and nobody insists.
fn redis() -> Option<Redis> {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let spawned = Command::new("redis-server")
        .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"])
        .stdout(Stdio::null())
        .spawn();
    let insisted = std::env::var_os("RUSHPAY_TESTS_REQUIRE_REDIS").is_some();
    let server = match spawned {
        Ok(server) => server,
        Err(error) if insisted => panic!("redis-server: {error}"),
        Err(error) => {
            eprintln!("without redis-server ({error}) only the cache in process is tested");
            return None;
        }
    };
    let redis = Redis { server, url: format!("redis://127.0.0.1:{port}/0") };
    let until = Instant::now() + Duration::from_secs(10);
    while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(Instant::now() < until, "redis-server does not answer");
        std::thread::sleep(Duration::from_millis(10));
    }
    Some(redis)
}

async fn each_cache(promise: impl AsyncFn(Arc<dyn Cache>)) {
    promise(Arc::new(MemoryCache::default())).await;
    if let Some(redis) = redis() {
        let options = RedisOptions { url: redis.url.clone(), prefix: "test".to_owned() };
        promise(Arc::new(RedisCache::connect(&options).await.unwrap())).await;
    }
}

fn id() -> OrderId {
    OrderId::from_u128(7)
}

fn body(text: &str) -> Arc<[u8]> {
    text.as_bytes().into()
}

#[tokio::test]
async fn an_older_status_never_replaces_a_newer_one() {
    each_cache(async |cache| {
        assert_eq!(cache.order_status_get(id()).await, None);
        for (version, text) in [(2, "two"), (1, "one"), (3, "three"), (2, "two again")] {
            cache.order_status_put(id(), version, body(text), false).await;
        }
        assert_eq!(cache.order_status_get(id()).await, Some((3, body("three"))));
        cache.order_status_put(id(), 4, body("settled"), true).await;
        assert_eq!(cache.order_status_get(id()).await, Some((4, body("settled"))));
    })
    .await;
}

#[tokio::test]
async fn a_rate_window_gives_out_its_limit_and_then_no_more() {
    each_cache(async |cache| {
        let hour = Duration::from_secs(3600);
        let mut given = Vec::new();
        for _ in 0..5 {
            given.push(cache.rate_take("canteen-3", 3, hour).await);
        }
        assert_eq!(given, [true, true, true, false, false]);
        assert!(cache.rate_take("canteen-4", 3, hour).await, "another key has a window of its own");
    })
    .await;
}

#[tokio::test]
async fn the_payers_last_channel_is_remembered() {
    each_cache(async |cache| {
        assert_eq!(cache.payer_channel_get("stu-1").await, None);
        for name in ["wechat", "campus_card"] {
            cache.payer_channel_put("stu-1", &ChannelId::new(name).unwrap()).await;
        }
        assert_eq!(cache.payer_channel_get("stu-1").await, ChannelId::new("campus_card").ok());
        assert_eq!(cache.failures(), 0);
    })
    .await;
}

#[tokio::test]
async fn a_redis_that_dies_answers_like_an_empty_cache_and_stops_nobody() {
    let Some(mut redis) = redis() else { return };
    let options = RedisOptions { url: redis.url.clone(), prefix: "test".to_owned() };
    let cache = RedisCache::connect(&options).await.unwrap();
    cache.order_status_put(id(), 1, body("one"), false).await;
    redis.server.kill().unwrap();
    redis.server.wait().unwrap();
    let started = Instant::now();
    cache.order_status_put(id(), 2, body("two"), false).await;
    assert_eq!(cache.order_status_get(id()).await, None);
    assert!(cache.rate_take("canteen-3", 1, Duration::from_secs(1)).await);
    assert!(cache.rate_take("canteen-3", 1, Duration::from_secs(1)).await);
    assert!(cache.failures() > 0);
    assert!(started.elapsed() < Duration::from_secs(10), "a dead cache must not hold callers up");
}
