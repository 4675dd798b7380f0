//! `rushpay serve`: the service, and its shutdown in a written order.
//!
//! Start: store and its migrations, cache, channels and their keys, the house, last the front door. Stop, on SIGTERM
//! or SIGINT: 1. `/readyz` says no; 2. the front door takes no new connection and answers what is under way;
//! 3. the house stops (actors' `start.rs` has that order); 4. the sandbox, if it runs beside; 5. the process
//! ends. A second signal, or the deadline, ends it at once: everything accepted is durable, and resumes.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use actors::{
    HttpCourier, Parts, SystemChance, SystemClock, Threads, WebhookOptions,
    reconciliation::ReconciliationOptions,
};
use anyhow::Context as _;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use channels::Channel;
use domain::{ChannelId, reconciliation::Terms};
use keys::Secret;
use metrics_exporter_prometheus::PrometheusBuilder;
use store::{Cache, MemoryCache, RedisCache, RedisOptions};
use tokio::signal::unix::{SignalKind, signal};
use tracing::{error, info, warn};

use super::migrate;
use crate::{
    backup::Restored,
    cli::Serve,
    config::{self, BadConfig, Config},
    http, logging,
};

/// Channels prepare (fetch certificates) for at most this long before orders come in.
const WARM_UP: Duration = Duration::from_secs(5);
const SANDBOX_SEED: u64 = 20_261_123;

pub(super) async fn run(args: Serve) -> anyhow::Result<bool> {
    let mut config = config::load(&args.files.config)?;
    logging::start(&config.log)?;
    let sandbox = if args.sandbox { Some(beside(&mut config).await?) } else { None };
    let secret = webhook_secret(&config)?;
    let (store, _held) = migrate::open_held(&config).await?;
    let store = Arc::new(store);
    let restored = Restored::of(&*store).await?;
    if let Some(restored) = &restored {
        let (taken_at, restored_at) = (restored.taken_at, restored.restored_at);
        warn!(%taken_at, %restored_at, "this store was restored: refunds asked for orders accepted before are refused until `rushpay restore --finish`");
    }
    let cache = cache(&config).await?;
    let channels = channels(&config)?;
    let metrics = PrometheusBuilder::new().install_recorder().context("preparing /metrics")?;
    for channel in &channels {
        let name = channel.profile().id.clone();
        match tokio::time::timeout(WARM_UP, channel.warm_up()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => warn!(channel.name = %name, %error, "the channel is not ready yet"),
            Err(_) => warn!(channel.name = %name, "the channel is not ready yet: no answer"),
        }
    }
    let courier = HttpCourier::new().context("preparing the calls to backends")?;
    let reconciliation =
        Some(ReconciliationOptions { before_the_end: args.sandbox, ..reconciliation(&config) });
    let running = actors::start(Parts {
        reconciliation,
        store,
        cache,
        clock: Arc::new(SystemClock),
        chance: Arc::new(SystemChance),
        tuning: config.tuning.clone(),
        channels,
        webhooks: WebhookOptions { secret, courier: Arc::new(courier) },
        threads: Threads::Own { orders: config.service.order_threads },
    })
    .await
    .context("starting the actors")?;
    let (door, server) = http::start(&config, running.service.clone(), metrics.clone())?;
    actix_web::rt::spawn({
        let door = Arc::clone(&door);
        async move {
            loop {
                tokio::time::sleep(Duration::from_secs(5)).await;
                metrics.run_upkeep();
                door.limits.tidy();
            }
        }
    });
    info!(listen = %config.http.listen, "rushpay takes orders");
    stop_asked().await?;

    let deadline = Duration::from_secs(config.service.shutdown_deadline_s);
    info!(deadline_s = deadline.as_secs(), "stopping");
    door.ready.store(false, Ordering::Release);
    let orderly = async {
        server.stop(true).await;
        running.stop(deadline / 2).await;
        if let Some(sandbox) = sandbox {
            sandbox.stop().await;
        }
    };
    tokio::select! {
        () = orderly => info!("stopped"),
        () = tokio::time::sleep(deadline + Duration::from_secs(1)) => {
            error!("not stopped within the deadline; what was under way resumes at the next start");
            return Ok(false);
        }
        again = stop_asked() => {
            again?;
            warn!("stopped at once; what was under way resumes at the next start");
            return Ok(false);
        }
    }
    Ok(true)
}

/// Waits for SIGTERM or SIGINT.
pub(super) async fn stop_asked() -> anyhow::Result<()> {
    let mut term = signal(SignalKind::terminate()).context("listening for SIGTERM")?;
    let mut int = signal(SignalKind::interrupt()).context("listening for SIGINT")?;
    tokio::select! {
        _ = term.recv() => {}
        _ = int.recv() => {}
    }
    Ok(())
}

/// Starts the sandbox beside the service, and lets the configuration point at it.
async fn beside(config: &mut Config) -> anyhow::Result<sandbox::Sandbox> {
    let dir = config.store.path.parent().unwrap_or(Path::new("")).join("sandbox-keys");
    let faults = BTreeMap::new();
    let options = sandbox::Options { dir: dir.clone(), port_base: 0, seed: SANDBOX_SEED, faults };
    let running = sandbox::start(options).await.context("starting the sandbox")?;
    use_sandbox(config, &dir)?;
    if config.webhooks.secret.is_empty() {
        config.webhooks.secret = sandbox_webhook_secret(&dir)?;
    }
    info!(control = running.control_url, keys = %dir.display(), "the sandbox runs beside; no money moves");
    Ok(running)
}

/// Lets the configuration point at the channels of the sandbox whose keys are in `dir`.
pub(super) fn use_sandbox(config: &mut Config, dir: &Path) -> anyhow::Result<()> {
    for (name, table) in config::channels_of_sandbox(dir)? {
        let options = serde_json::to_value(table)?;
        config.channels.each.insert(name, options);
    }
    Ok(())
}

/// How reconciliation is set up.
pub(super) fn reconciliation(config: &Config) -> ReconciliationOptions {
    let (own, told) = (&config.reconciliation, &config.service.operations_url);
    let beside = || config.store.path.parent().unwrap_or(Path::new("")).join("bills");
    let terms =
        |(name, fee): (&String, &u32)| Some((ChannelId::new(name).ok()?, Terms { fee_bp: Some(*fee) }));
    ReconciliationOptions {
        folder: if own.folder.as_os_str().is_empty() { beside() } else { own.folder.clone() },
        terms: own.fees.iter().filter_map(terms).collect(),
        operations_url: (!told.is_empty()).then(|| told.clone()),
        before_the_end: false,
        memory: None,
        look_every: None,
    }
}

/// A secret for the sandbox's webhooks, kept beside its keys.
fn sandbox_webhook_secret(dir: &Path) -> anyhow::Result<Secret> {
    let path = dir.join("webhook_secret.txt");
    if !path.exists() {
        let bytes = [uuid::Uuid::new_v4().into_bytes(), uuid::Uuid::new_v4().into_bytes()].concat();
        std::fs::write(&path, format!("whsec_{}\n", STANDARD.encode(bytes)))
            .with_context(|| format!("cannot write {}", path.display()))?;
        #[cfg(unix)]
        {
            let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
            std::fs::set_permissions(&path, mode)
                .with_context(|| format!("cannot close {} to others", path.display()))?;
        }
    }
    let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(Secret::new(text.trim()))
}

fn webhook_secret(config: &Config) -> anyhow::Result<Arc<[u8]>> {
    let text = config.webhooks.secret.expose();
    let bytes = text.strip_prefix("whsec_").and_then(|text| STANDARD.decode(text).ok());
    let missing = || {
        BadConfig(vec![
            "webhooks.secret: is missing; make one with: echo whsec_$(head -c 32 /dev/urandom | base64)"
                .to_owned(),
        ])
    };
    Ok(bytes.ok_or_else(missing)?.into())
}

async fn cache(config: &Config) -> anyhow::Result<Arc<dyn Cache>> {
    if config.redis.url.is_empty() {
        return Ok(Arc::new(MemoryCache::default()));
    }
    let options = RedisOptions { url: config.redis.url.clone(), prefix: config.redis.prefix.clone() };
    let cache = RedisCache::connect(&options).await.context("redis.url")?;
    Ok(Arc::new(cache))
}

/// The configured channels, best first.
pub(super) fn channels(config: &Config) -> anyhow::Result<Vec<Arc<dyn Channel>>> {
    let mut each = config.channels.each.clone();
    let mut faults = Vec::new();
    for name in each.keys().filter(|name| !config.channels.order.contains(name)) {
        faults.push(format!("channels.{name}: is configured, and channels.order does not name it"));
    }
    if config.channels.order.iter().all(|name| !each.contains_key(name)) {
        faults.push(
            "channels: none is configured; see config/production.example.toml, or start with --sandbox"
                .to_owned(),
        );
    }
    if !faults.is_empty() {
        return Err(BadConfig(faults).into());
    }
    let base = config.service.notify_base_url.trim_end_matches('/');
    for (name, options) in &mut each {
        if let Some(options) = options.as_object_mut() {
            options.entry("notify_url").or_insert_with(|| format!("{base}/notify/{name}").into());
        }
    }
    let mut built = channels::registry::build(&each)?;
    let rank = |c: &Arc<dyn Channel>| config.channels.order.iter().position(|n| n == c.profile().id.as_str());
    built.sort_by_key(rank);
    Ok(built)
}

/// Where a sandbox says that it is ready.
pub(super) fn ready_file(dir: &Path) -> PathBuf {
    dir.join("sandbox.json")
}
