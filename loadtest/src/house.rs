//! The service and the sandbox as a payer and a backend reach them: over HTTP, and stubbornly.
//!
//! A request without an answer, or with 408, 429 or 5xx, is repeated unchanged until it is answered or the run's
//! time is up: every call here is safe to repeat (orders by their number, the rest by nature). How often
//! that happened is counted. Connections are kept alive and opened as needed.

use std::{
    cell::{Cell, RefCell, RefMut},
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use bytes::Bytes;
use reqwest::{Client, Method, StatusCode, header};
use serde::{Serialize, de::DeserializeOwned};
use url::Url;

use crate::{
    tally::{Clock, Tally},
    wire::{self, OrderView, Paid, Problem},
};

/// First pause after a request without an answer; doubles up to [`PAUSE_MAX`].
const PAUSE_MIN: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(1);
/// What a call may take beyond the waiting that it asks for.
const PATIENCE: Duration = Duration::from_secs(15);
/// How long one long poll waits; the API's limit.
const POLL_S: u64 = 10;

/// Where to find the two servers.
pub(crate) struct House {
    http: Client,
    api: String,
    sandbox: String,
    pub(crate) clock: Clock,
    /// When the run gives up on whatever is still open.
    deadline: Cell<Instant>,
    tally: RefCell<Tally>,
}

/// An answer that ended a call.
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    body: Bytes,
}

/// The run's time was up before an answer came.
#[derive(Debug, Clone, Copy)]
pub(crate) struct OutOfTime;

impl Reply {
    pub(crate) fn read<T: DeserializeOwned>(&self) -> anyhow::Result<T> {
        serde_json::from_slice(&self.body).with_context(|| {
            let text = String::from_utf8_lossy(&self.body);
            format!("unexpected answer {}: {}", self.status, text.chars().take(300).collect::<String>())
        })
    }

    /// The stable code of a refusal, or its status.
    pub(crate) fn code(&self) -> String {
        let problem: Problem = serde_json::from_slice(&self.body).unwrap_or_default();
        problem.code.unwrap_or_else(|| self.status.as_u16().to_string())
    }
}

/// A client for plain use and for many connections.
///
/// # Errors
/// When the system's root certificates are needed (`https`) and cannot be read.
pub(crate) fn client(url: &Url) -> anyhow::Result<Client> {
    if rustls::crypto::CryptoProvider::get_default().is_none() {
        // Losing a race against another installer is fine: there is one then.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    }
    let builder = Client::builder()
        .no_proxy()
        .connect_timeout(Duration::from_secs(2))
        // Below the five seconds after which servers commonly hang up on idle connections.
        .pool_idle_timeout(Duration::from_secs(4));
    let builder = if url.scheme() == "http" { builder.tls_certs_only([]) } else { builder };
    builder.build().context("preparing the HTTP client")
}

impl House {
    pub(crate) fn new(api: &Url, sandbox: &Url, clock: Clock, deadline: Instant) -> anyhow::Result<House> {
        Ok(House {
            http: client(api)?,
            api: api.as_str().trim_end_matches('/').to_owned(),
            sandbox: sandbox.as_str().trim_end_matches('/').to_owned(),
            clock,
            deadline: Cell::new(deadline),
            tally: RefCell::new(Tally::default()),
        })
    }

    /// The counts. Never held across an await.
    pub(crate) fn tally(&self) -> RefMut<'_, Tally> {
        self.tally.borrow_mut()
    }

    /// Hands the counts over at the end of a run.
    pub(crate) fn take_tally(&self) -> Tally {
        self.tally.take()
    }

    /// Grants the calls after the run's end at least this much time.
    pub(crate) fn extend_deadline(&self, by: Duration) {
        self.deadline.set(self.deadline.get().max(Instant::now() + by));
    }

    /// `POST /v1/orders`.
    pub(crate) async fn create(&self, order: &wire::NewOrder<'_>) -> Result<Reply, OutOfTime> {
        let body = encode(order);
        self.call(Method::POST, "/v1/orders", Some(body), PATIENCE).await
    }

    /// Waits until the order differs from `version`; at most one long poll's time.
    pub(crate) async fn look(&self, id: &str, version: u64) -> Result<Reply, OutOfTime> {
        let left = self.deadline.get().saturating_duration_since(Instant::now());
        if left.is_zero() {
            // A service that answers every poll, and never with news, must not keep the run from ending.
            return Err(OutOfTime);
        }
        let wait = POLL_S.min(left.as_secs().max(1));
        let path = format!("/v1/orders/{id}?wait={wait}&version={version}");
        self.call(Method::GET, &path, None, PATIENCE + Duration::from_secs(wait)).await
    }

    /// The order as it stands, without waiting.
    pub(crate) async fn peek(&self, id: &str) -> Result<Reply, OutOfTime> {
        self.call(Method::GET, &format!("/v1/orders/{id}"), None, PATIENCE).await
    }

    /// `POST /v1/orders/{id}/{action}` with a JSON body; the answer's status decides nothing for the payer.
    pub(crate) async fn act(&self, id: &str, action: &str, body: &str) -> Result<Reply, OutOfTime> {
        let path = format!("/v1/orders/{id}/{action}");
        self.call(Method::POST, &path, Some(Bytes::copy_from_slice(body.as_bytes())), PATIENCE).await
    }

    async fn call(
        &self,
        method: Method,
        path: &str,
        body: Option<Bytes>,
        timeout: Duration,
    ) -> Result<Reply, OutOfTime> {
        let url = format!("{}{path}", self.api);
        let mut pause = PAUSE_MIN;
        loop {
            self.tally().requests += 1;
            let sent = send(&self.http, method.clone(), &url, body.clone(), timeout).await;
            let wait = match sent {
                Ok((StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE, _, after)) => {
                    let mut tally = self.tally();
                    tally.pushed_back += 1;
                    tally.second(self.clock.now()).pushed_back += 1;
                    after.unwrap_or(pause).max(PAUSE_MIN)
                }
                // A server that stood still for a while calls the request that waited meanwhile too late (408).
                Ok((status, body, _))
                    if !status.is_server_error() && status != StatusCode::REQUEST_TIMEOUT =>
                {
                    return Ok(Reply { status, body });
                }
                Ok(_) | Err(_) => {
                    let mut tally = self.tally();
                    tally.unanswered += 1;
                    tally.second(self.clock.now()).unanswered += 1;
                    pause
                }
            };
            if Instant::now() + wait >= self.deadline.get() {
                return Err(OutOfTime);
            }
            tokio::time::sleep(wait).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    /// Pays at the sandbox. `Ok` is its word, paid or not; the control port has no faults, so silence there
    /// is an error of the run.
    pub(crate) async fn pay(&self, pay: &wire::Pay<'_>) -> anyhow::Result<Paid> {
        let url = format!("{}/_sandbox/pay", self.sandbox);
        let (status, body, _) = send(&self.http, Method::POST, &url, Some(encode(pay)), PATIENCE)
            .await
            .context("the sandbox did not answer a payment")?;
        let reply = Reply { status, body };
        match status {
            StatusCode::OK | StatusCode::CONFLICT => reply.read(),
            _ => bail!("the sandbox refused a payment: {status}: {}", String::from_utf8_lossy(&reply.body)),
        }
    }

    /// A control call to the sandbox (`PUT /_sandbox/…`) that must be obeyed.
    pub(crate) async fn command(&self, path: &str, body: &serde_json::Value) -> anyhow::Result<()> {
        let url = format!("{}{path}", self.sandbox);
        obeyed(send(&self.http, Method::PUT, &url, Some(encode(body)), PATIENCE).await, &url)
    }

    /// `PATCH /admin/v1/tuning`, which must be obeyed.
    pub(crate) async fn tune(
        &self,
        values: &serde_json::Map<String, serde_json::Value>,
    ) -> anyhow::Result<()> {
        let url = format!("{}/admin/v1/tuning", self.api);
        obeyed(send(&self.http, Method::PATCH, &url, Some(encode(values)), PATIENCE).await, &url)
    }

    /// A side question to the service; `None` if it does not answer now.
    pub(crate) async fn ask<T: DeserializeOwned>(&self, path: &str) -> Option<T> {
        let url = format!("{}{path}", self.api);
        let (status, body, _) =
            send(&self.http, Method::GET, &url, None, Duration::from_secs(2)).await.ok()?;
        (status == StatusCode::OK).then(|| serde_json::from_slice(&body).ok()).flatten()
    }
}

/// Reads an order from an answer.
pub(crate) fn order(reply: &Reply) -> anyhow::Result<OrderView> {
    reply.read()
}

fn encode(value: &impl Serialize) -> Bytes {
    // Only maps with keys that are not text can fail, and there are none.
    Bytes::from(serde_json::to_vec(value).unwrap_or_default())
}

type Sent = reqwest::Result<(StatusCode, Bytes, Option<Duration>)>;

async fn send(http: &Client, method: Method, url: &str, body: Option<Bytes>, timeout: Duration) -> Sent {
    let mut request = http.request(method, url).timeout(timeout);
    if let Some(body) = body {
        request = request.header(header::CONTENT_TYPE, "application/json").body(body);
    }
    let response = request.send().await?;
    let status = response.status();
    let after = wire::retry_after(response.headers().get(header::RETRY_AFTER).and_then(|v| v.to_str().ok()));
    Ok((status, response.bytes().await?, after))
}

fn obeyed(sent: Sent, url: &str) -> anyhow::Result<()> {
    match sent.with_context(|| format!("{url} did not answer"))? {
        (status, _, _) if status.is_success() => Ok(()),
        (status, body, _) => bail!("{url} refused: {status}: {}", String::from_utf8_lossy(&body)),
    }
}
