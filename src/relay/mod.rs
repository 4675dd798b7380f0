//! A small forwarder for a public host: passes channels' calls on to an inner server unchanged, and keeps them on disk
//! while that is down.
//!
//! Holds no key and judges nothing: the inner server's answer is the channel's answer. What could not be passed on is
//! written durably, answered with 503 (so the channel calls again, too) and delivered, oldest first, once the inner
//! server is back. Repeats are harmless there. WeChat Pay and the campus card refuse calls that are older than five
//! minutes; a longer outage is made good by queries.

mod spool;

use std::{
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use actix_web::{App, HttpRequest, HttpResponse, HttpServer, http::StatusCode, web};
use anyhow::Context as _;
use tracing::{info, warn};

pub(crate) use spool::Spool;
use spool::{Call, Full};

/// The channel waits five seconds for its answer.
const PATIENCE: Duration = Duration::from_secs(4);
const BODY_MAX: usize = 64 * 1024;
const PAUSE_MIN: Duration = Duration::from_millis(250);
const PAUSE_MAX: Duration = Duration::from_secs(5);
/// About one hop: not the caller's to pass on.
const HOP: [&str; 8] = [
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// How a relay is started.
pub(crate) struct Options {
    pub listen: std::net::SocketAddr,
    pub to: String,
    pub dir: PathBuf,
    pub max_bytes: u64,
}

struct Relay {
    client: reqwest::Client,
    to: String,
    spool: Spool,
}

/// What became of a call at the inner server.
enum Passed {
    /// It answered; whatever it said is final for this delivery.
    Answered(u16, Option<String>, bytes::Bytes),
    /// It is down, or not able to take it now.
    NotNow(String),
}

impl Relay {
    async fn pass(&self, call: &Call) -> Passed {
        let method = reqwest::Method::from_bytes(call.method.as_bytes()).unwrap_or(reqwest::Method::POST);
        let mut request =
            self.client.request(method, format!("{}{}", self.to, call.target)).body(call.body.clone());
        for (name, value) in &call.headers {
            request = request.header(name, value);
        }
        match request.send().await {
            Err(e) => Passed::NotNow(e.without_url().to_string()),
            Ok(answer) if answer.status().is_server_error() => {
                Passed::NotNow(format!("HTTP {}", answer.status().as_u16()))
            }
            Ok(answer) => {
                let (status, kind) =
                    (answer.status().as_u16(), answer.headers().get("content-type").cloned());
                let kind = kind.and_then(|v| v.to_str().ok().map(str::to_owned));
                match answer.bytes().await {
                    Ok(body) => Passed::Answered(status, kind, body),
                    Err(e) => Passed::NotNow(e.without_url().to_string()),
                }
            }
        }
    }

    /// Delivers what waits, oldest first, for ever.
    async fn deliver(&self) {
        let mut pause = PAUSE_MIN;
        loop {
            tokio::time::sleep(pause).await;
            let waiting = match self.spool.oldest() {
                Ok(None) => {
                    pause = PAUSE_MIN;
                    continue;
                }
                Ok(Some(waiting)) => waiting,
                Err(error) => {
                    warn!(%error, "the spool cannot be read");
                    pause = PAUSE_MAX;
                    continue;
                }
            };
            let (path, call) = waiting;
            match self.pass(&call).await {
                Passed::Answered(status, _, _) => {
                    info!(target = call.target, status, "a kept call was delivered");
                    if let Err(error) = self.spool.remove(&path) {
                        warn!(%error, "a delivered call stays in the spool and will be delivered again");
                        pause = PAUSE_MAX;
                        continue;
                    }
                    pause = Duration::ZERO; // what waits behind it goes at once
                }
                Passed::NotNow(problem) => {
                    warn!(problem, waiting = self.spool.len(), "the inner server takes nothing");
                    pause = (pause * 2).clamp(PAUSE_MIN, PAUSE_MAX);
                }
            }
        }
    }
}

async fn take(relay: web::Data<Relay>, req: HttpRequest, body: web::Bytes) -> HttpResponse {
    let started = Instant::now();
    let peer = req.peer_addr().map(|addr| addr.ip().to_string()).unwrap_or_default();
    let mut headers: Vec<(String, String)> = req
        .headers()
        .iter()
        .filter(|(name, _)| {
            !HOP.contains(&name.as_str()) && *name != "content-length" && *name != "x-forwarded-for"
        })
        .filter_map(|(name, value)| Some((name.to_string(), value.to_str().ok()?.to_owned())))
        .collect();
    // Whom we heard, behind whom the caller says it heard.
    let heard = req.headers().get("x-forwarded-for").and_then(|v| v.to_str().ok());
    headers
        .push(("x-forwarded-for".to_owned(), heard.map_or(peer.clone(), |list| format!("{list}, {peer}"))));
    let target = req.uri().path_and_query().map_or_else(|| "/".to_owned(), ToString::to_string);
    let call = Call { method: req.method().to_string(), target, headers, body: body.to_vec() };
    match relay.pass(&call).await {
        Passed::Answered(status, kind, body) => {
            info!(target = call.target, status, took_ms = started.elapsed().as_millis(), peer, "passed on");
            let status = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_GATEWAY);
            let mut answer = HttpResponse::build(status);
            if let Some(kind) = kind {
                answer.insert_header(("content-type", kind));
            }
            answer.body(body)
        }
        Passed::NotNow(problem) => {
            let kept = web::block({
                let (relay, call) = (relay.clone(), call.clone());
                move || relay.spool.keep(&call)
            })
            .await;
            match kept {
                Ok(Ok(())) => {
                    warn!(target = call.target, problem, peer, "kept: the inner server takes nothing")
                }
                Ok(Err(Full)) => warn!(target = call.target, problem, peer, "refused: the spool is full"),
                Err(error) => warn!(target = call.target, problem, peer, %error, "refused: not kept"),
            }
            HttpResponse::ServiceUnavailable()
                .insert_header(("retry-after", "1"))
                .body("the inner server takes nothing now; call again")
        }
    }
}

/// Runs until it is told to stop.
///
/// # Errors
/// The folder cannot be written, or the address not be listened on.
pub(crate) async fn run(
    options: Options,
    stop: impl Future<Output = anyhow::Result<()>>,
) -> anyhow::Result<()> {
    let client = reqwest::Client::builder()
        .timeout(PATIENCE)
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .no_proxy();
    let client = if options.to.starts_with("http:") { client.tls_certs_only([]) } else { client };
    let relay = web::Data::new(Relay {
        client: client.build().context("preparing the client")?,
        to: options.to.trim_end_matches('/').to_owned(),
        spool: Spool::open(&options.dir, options.max_bytes)?,
    });
    let data = relay.clone();
    let server = HttpServer::new(move || {
        App::new()
            .app_data(data.clone())
            .app_data(web::PayloadConfig::new(BODY_MAX))
            .route("/notify/{channel}", web::post().to(take))
            .route("/healthz", web::get().to(|| async { HttpResponse::Ok().body("ok\n") }))
            .default_service(web::to(|| async {
                HttpResponse::NotFound().body("only /notify/{channel} is passed on\n")
            }))
    })
    .workers(1)
    .disable_signals()
    .shutdown_timeout(5)
    .bind(options.listen)
    .with_context(|| format!("--listen: cannot listen on {}", options.listen))?;
    for address in server.addrs() {
        info!(%address, to = relay.to, waiting = relay.spool.len(), "the relay is ready");
    }
    let server = server.run();
    let handle = server.handle();
    actix_web::rt::spawn(server);
    let relay: Arc<Relay> = relay.into_inner();
    tokio::select! {
        () = relay.deliver() => {}
        stopped = stop => stopped?,
    }
    handle.stop(true).await;
    Ok(())
}
