//! The channels as local HTTP servers, wire-compatible, with faults on command.
//!
//! Every channel has a port, signatures, books and errors of its own; a control port beside them sets faults, pays
//! credentials and shows the books. The keys folder holds what an SDK needs. The sandbox shares nothing with
//! our own adapters but `domain` and the signature primitives, so that one mistake cannot hide on both sides.

mod alipay;
mod bill_faults;
mod books;
mod campus_card;
mod clock;
mod control;
mod faults;
mod fee;
mod folder;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod html;
mod notify;
mod page;
mod payer;
mod unionpay;
mod wechat;
mod world;

use std::{collections::BTreeMap, net::TcpListener, path::PathBuf, sync::Arc, time::Duration};

use actix_web::{App, HttpServer, dev::ServerHandle, web};
use anyhow::Context as _;

pub use faults::{FaultSet, Late, Latency, NotifyFaults};

/// A script in the keys folder that takes an order from creation to payment.
pub const EXAMPLE: &str = "example.sh";

/// How a sandbox is started.
#[derive(Debug, Clone)]
pub struct Options {
    /// The keys folder; made if it is not there, kept if it is.
    pub dir: PathBuf,
    /// The control port; the channels follow on the next ports. 0 takes free ones.
    pub port_base: u16,
    /// Decides every fault.
    pub seed: u64,
    /// Faults from the start, by channel.
    pub faults: BTreeMap<String, FaultSet>,
}

/// A running sandbox.
pub struct Sandbox {
    /// Address of the control port.
    pub control_url: String,
    /// Base address by channel.
    pub channels: BTreeMap<String, String>,
    servers: Vec<ServerHandle>,
}

impl Sandbox {
    /// Stops the servers; calls under way have two seconds.
    pub async fn stop(self) {
        let all = self.servers.iter().map(|server| server.stop(true));
        let _too_slow = tokio::time::timeout(Duration::from_secs(2), futures::future::join_all(all)).await;
    }
}

/// Starts the channels and the control port on this machine's loopback address. Needs an actix system.
///
/// # Errors
/// A port that is taken, a folder that cannot be written, a fault set that cannot be.
pub async fn start(options: Options) -> anyhow::Result<Sandbox> {
    for (channel, set) in &options.faults {
        set.validate().map_err(|problem| anyhow::anyhow!("faults of {channel}: {problem}"))?;
    }
    let world = Arc::new(world::World::new(options.seed).context("preparing the notification client")?);
    world.set_faults(options.faults);
    folder::make(&options.dir)?;
    let (control, control_url) = listen(options.port_base, 0)?;
    let (wechat_at, wechat_url) = listen(options.port_base, 1)?;
    let (card_at, card_origin) = listen(options.port_base, 2)?;
    let (alipay_at, alipay_origin) = listen(options.port_base, 3)?;
    let (unionpay_at, unionpay_url) = listen(options.port_base, 4)?;
    let card_url = format!("{card_origin}/ccp");
    let alipay_url = format!("{alipay_origin}{}", alipay::GATEWAY);
    let wechat = wechat::Wechat::open(&options.dir.join("wechat"), &wechat_url, Arc::clone(&world))?;
    let card =
        campus_card::CampusCard::open(&options.dir.join("campus_card"), &card_url, Arc::clone(&world))?;
    let alipay = alipay::Alipay::open(&options.dir.join("alipay"), &alipay_origin, Arc::clone(&world))?;

    let unionpay =
        unionpay::UnionPay::open(&options.dir.join("unionpay"), &unionpay_url, Arc::clone(&world))?;

    let mut servers = Vec::new();
    let serves = Arc::clone(&wechat);
    servers.push(run(wechat_at, move |cfg| serves.configure(cfg))?);
    let serves = Arc::clone(&card);
    servers.push(run(card_at, move |cfg| serves.configure(cfg))?);
    let serves = Arc::clone(&alipay);
    servers.push(run(alipay_at, move |cfg| serves.configure(cfg))?);
    let serves = Arc::clone(&unionpay);
    servers.push(run(unionpay_at, move |cfg| serves.configure(cfg))?);
    let channels = BTreeMap::from([
        (unionpay::NAME.to_owned(), unionpay_url),
        (wechat::NAME.to_owned(), wechat_url),
        (campus_card::NAME.to_owned(), card_url),
        (alipay::NAME.to_owned(), alipay_url),
    ]);
    let merchant_serial = wechat.merchant_serial().to_owned();
    let state = web::Data::new(control::Control {
        world,
        wechat,
        card,
        alipay,
        unionpay,
        channels: channels.clone(),
    });
    servers.push(run(control, move |cfg| control::configure(cfg, &state))?);

    let folder = options.dir.canonicalize().unwrap_or_else(|_| options.dir.clone());
    let example = include_str!("example.sh")
        .replace("@BASE@", channels.get(wechat::NAME).map(String::as_str).unwrap_or_default())
        .replace("@CONTROL@", &control_url)
        .replace("@FOLDER@", &format!("'{}'", folder.display()))
        .replace("@SERIAL@", &merchant_serial);
    folder::write(&options.dir.join(EXAMPLE), &example)?;

    // Written last: whoever finds this file finds everything else.
    let addresses: BTreeMap<_, _> =
        channels.iter().map(|(name, url)| (name, serde_json::json!({ "base_url": url }))).collect();
    let ready = serde_json::json!({
        "control_url": control_url, "channels": addresses, "pid": std::process::id(),
    });
    folder::write(&options.dir.join("sandbox.json"), &format!("{ready:#}\n"))?;
    Ok(Sandbox { control_url, channels, servers })
}

fn listen(base: u16, offset: u16) -> anyhow::Result<(TcpListener, String)> {
    let port = if base == 0 { 0 } else { base.saturating_add(offset) };
    let listener = TcpListener::bind(("127.0.0.1", port))
        .with_context(|| format!("cannot listen on 127.0.0.1:{port}: is another sandbox running?"))?;
    let url = format!("http://{}", listener.local_addr()?);
    Ok((listener, url))
}

fn run<F>(listener: TcpListener, configure: F) -> anyhow::Result<ServerHandle>
where
    F: Fn(&mut web::ServiceConfig) + Clone + Send + 'static,
{
    let server = HttpServer::new(move || App::new().configure(configure.clone()))
        .workers(1)
        .backlog(4096)
        .max_connections(50_000)
        .keep_alive(Duration::from_secs(75))
        .client_request_timeout(Duration::from_secs(10))
        .disable_signals()
        .shutdown_timeout(2)
        .listen(listener)?
        .run();
    let handle = server.handle();
    actix_web::rt::spawn(server);
    Ok(handle)
}
