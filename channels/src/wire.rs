//! One HTTP exchange with a channel: bytes out, bytes in, and the difference between "never left" and "silent".
//!
//! One client per channel with a generous keep-alive pool. No redirects, no repeats, no proxy from the
//! environment: a signed request goes where the configuration says or nowhere.
//! Answers are read up to a bound; a longer one is no answer.

use std::{error::Error as _, time::Duration};

use bytes::{Bytes, BytesMut};
use domain::Answer;
use reqwest::{Client, Method, Url, header::HeaderMap, redirect};

use crate::BillError;

/// JSON answers are a few kilobytes.
pub(crate) const ANSWER_MAX: usize = 1 << 20;
/// A busy day's bill is about 300 bytes a row.
pub(crate) const BILL_MAX: usize = 256 << 20;

/// Speaks HTTP to one base address.
pub(crate) struct Http {
    client: Client,
    base: Url,
}

/// An address to call, and its path and query exactly as they will stand on the request line.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    url: Url,
    /// What is signed.
    pub(crate) text: String,
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Reply {
    /// A header as text; empty if it is absent or not text.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }
}

/// An exchange without an answer.
#[derive(Debug)]
pub(crate) enum Lost {
    /// The request certainly did not leave.
    NeverSent(String),
    /// It may have left, and nothing that proves anything came back.
    Silent(String),
}

impl<A, S> From<Lost> for Answer<A, S> {
    fn from(lost: Lost) -> Answer<A, S> {
        match lost {
            Lost::NeverSent(why) => Answer::NeverSent(why),
            Lost::Silent(why) => Answer::Silent(why),
        }
    }
}

/// A bill that could not be asked for and one that did not come are the same to whoever waits for it.
impl From<Lost> for BillError {
    fn from(lost: Lost) -> BillError {
        match lost {
            Lost::NeverSent(why) | Lost::Silent(why) => BillError::Silent(why),
        }
    }
}

impl Http {
    /// A client for `base` (checked before: an http or https address without query).
    pub(crate) fn new(base: &str, connect_timeout: Duration) -> Result<Http, String> {
        let base = Url::parse(base.trim_end_matches('/')).map_err(|e| e.to_string())?;
        let mut client = Client::builder();
        if base.scheme() == "http" {
            // A channel on this machine needs no roots; reading the system's takes time and fails where there are none.
            client = client.tls_certs_only([]);
        }
        let client = client
            .connect_timeout(connect_timeout)
            .tcp_nodelay(true)
            .pool_max_idle_per_host(1_024)
            .pool_idle_timeout(Duration::from_secs(50))
            .redirect(redirect::Policy::none())
            .retry(reqwest::retry::never())
            .no_proxy()
            .http1_only()
            .build()
            .map_err(|e| chain(&e))?;
        Ok(Http { client, base })
    }

    /// `path_and_query` (starting with a slash) below the base address.
    pub(crate) fn target(&self, path_and_query: &str) -> Result<Target, Lost> {
        Http::parse(&format!("{}{path_and_query}", self.base.as_str().trim_end_matches('/')))
    }

    /// Path and query of a full address that the channel named, at *our* base's host: the host is not signed,
    /// and a signed request shall not follow an answer to a stranger.
    pub(crate) fn target_of(&self, address: &str) -> Result<Target, Lost> {
        let named =
            Url::parse(address).map_err(|e| Lost::Silent(format!("{address:?} is no address: {e}")))?;
        let mut url = self.base.clone();
        url.set_path(named.path());
        url.set_query(named.query());
        Http::parse(url.as_str())
    }

    /// A full address that the channel named, at its own host; for files that are fetched without a signature.
    pub(crate) fn address(address: &str) -> Result<Target, Lost> {
        Http::parse(address)
    }

    fn parse(address: &str) -> Result<Target, Lost> {
        let url =
            Url::parse(address).map_err(|e| Lost::NeverSent(format!("{address:?} is no address: {e}")))?;
        let text = match url.query() {
            Some(query) => format!("{}?{query}", url.path()),
            None => url.path().to_owned(),
        };
        Ok(Target { url, text })
    }

    /// Sends and reads the whole answer, up to `max` bytes.
    pub(crate) async fn send(
        &self,
        method: Method,
        target: Target,
        headers: HeaderMap,
        body: Bytes,
        max: usize,
    ) -> Result<Reply, Lost> {
        let mut request = self.client.request(method, target.url).headers(headers);
        if !body.is_empty() {
            request = request.body(body);
        }
        let mut response = request.send().await.map_err(lost)?;
        let (status, headers) = (response.status().as_u16(), std::mem::take(response.headers_mut()));
        let mut body = BytesMut::new();
        while let Some(chunk) = response.chunk().await.map_err(|e| Lost::Silent(chain(&e.without_url())))? {
            if body.len() + chunk.len() > max {
                return Err(Lost::Silent(format!("the answer is longer than {max} bytes")));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Reply { status, headers, body: body.freeze() })
    }
}

/// Only what failed before a connection stood is known to be unsent.
fn lost(error: reqwest::Error) -> Lost {
    let error = error.without_url();
    if error.is_connect() || error.is_builder() {
        Lost::NeverSent(chain(&error))
    } else {
        Lost::Silent(chain(&error))
    }
}

/// An error with its causes on one line.
fn chain(error: &reqwest::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
