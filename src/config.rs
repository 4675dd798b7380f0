//! The configuration: defaults, then files in their order, then the environment; every fault named with its key.

mod load;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    num::NonZeroUsize,
    path::PathBuf,
};

use domain::tuning::Tuning;
use ipnet::IpNet;
use keys::Secret;
use serde::Deserialize;

use crate::http::operators::Scope;

pub(crate) use load::{channels_of_sandbox, load};

/// Everything that is settled at the start.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Config {
    /// The front door.
    pub http: Http,
    /// Durable memory.
    pub store: StoreConfig,
    /// The cache.
    pub redis: Redis,
    /// Our calls to the backends.
    pub webhooks: Webhooks,
    /// The house.
    pub service: ServiceConfig,
    /// What is written to the log.
    pub log: Log,
    /// Comparing our books with the channels' bills.
    pub reconciliation: ReconciliationConfig,
    /// Who may act behind `/admin`, on what.
    #[serde(default)]
    pub operators: Vec<OperatorConfig>,
    /// Thresholds to start with; changes at runtime go on top.
    pub tuning: Tuning,
    /// The channels.
    pub channels: Channels,
}

/// `[http]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Http {
    /// Address and port.
    pub listen: SocketAddr,
    /// Threads that read requests.
    pub workers: NonZeroUsize,
    /// How long a client may take for its headers.
    pub header_timeout_ms: u64,
    /// The largest body.
    pub body_max_bytes: usize,
    /// Requests per client address and second.
    pub rate_per_s: u32,
    /// What `/admin` asks for.
    pub admin_token: Secret,
    /// Proxies whose `X-Forwarded-For` is believed, as networks: `127.0.0.1/32`. Without one the peer is the client.
    pub trusted_proxies: Vec<IpNet>,
    /// Open connections per worker.
    pub max_connections: usize,
}

/// `[store]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct StoreConfig {
    /// The SQLite file.
    pub path: PathBuf,
    /// Connections for reading.
    pub readers: u32,
}

/// `[redis]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Redis {
    /// Empty: no Redis.
    pub url: String,
    /// Before every key.
    pub prefix: String,
}

/// `[webhooks]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Webhooks {
    /// `whsec_` and base64.
    pub secret: Secret,
}

/// `[service]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ServiceConfig {
    /// Threads for orders alone; with none they live on the channels' thread.
    pub order_threads: usize,
    /// The merchants (stalls) that are served; empty: all.
    pub merchants: Vec<String>,
    /// From where a channel may call, by channel, as networks; a channel that is not named may call from anywhere.
    pub notify_from: BTreeMap<String, Vec<IpNet>>,
    /// How the channels reach us.
    pub notify_base_url: String,
    /// Who is told of differences in reconciliation, by webhook; empty: nobody.
    pub operations_url: String,
    /// How long a shutdown takes at most.
    pub shutdown_deadline_s: u64,
}

/// `[reconciliation]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ReconciliationConfig {
    /// Bill files are kept here; empty: `bills` beside the store.
    pub folder: PathBuf,
    /// Agreed fees by channel, in hundredths of a percent; a channel that is not named: fees are not compared.
    pub fees: BTreeMap<String, u32>,
}

/// `[[operators]]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct OperatorConfig {
    /// Acts are kept under this name.
    pub name: String,
    /// What proves it.
    pub token: Secret,
    /// What this operator may do.
    pub scopes: BTreeSet<Scope>,
}

/// `[log]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Log {
    /// A level or a filter.
    pub level: String,
    /// For people or for machines.
    pub format: LogFormat,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// `[channels]`
#[derive(Debug, Clone, Default, Deserialize)]
pub(crate) struct Channels {
    /// Preference, best first.
    pub order: Vec<String>,
    /// The options of each channel.
    #[serde(flatten)]
    pub each: BTreeMap<String, serde_json::Value>,
}

/// What is wrong with a configuration.
#[derive(Debug, thiserror::Error)]
#[error("the configuration cannot be used:\n{}", .0.iter().map(|f| format!("  {f}")).collect::<Vec<_>>().join("\n"))]
pub(crate) struct BadConfig(pub Vec<String>);
