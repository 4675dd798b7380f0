//! The sandbox's control port, as the mischief and the judge use it.

use std::{collections::BTreeMap, time::Duration};

use ::loadtest::FaultSet;
use anyhow::{Context as _, bail};
use reqwest::Method;
use serde_json::{Value, json};

/// The control port has no faults: silence there is an error.
const PATIENCE: Duration = Duration::from_secs(10);
/// The kinds of calls that the sandbox counts for each channel.
const KINDS: [&str; 5] = ["prepay", "query", "close", "refund", "other"];

pub(super) struct Sandbox {
    http: reqwest::Client,
    url: String,
}

impl Sandbox {
    pub(super) fn new(url: &str) -> anyhow::Result<Sandbox> {
        let http = reqwest::Client::builder().no_proxy().tls_certs_only([]).timeout(PATIENCE).build()?;
        Ok(Sandbox { http, url: url.trim_end_matches('/').to_owned() })
    }

    /// Sets the faults of the named channels.
    pub(super) async fn faults(&self, channels: &BTreeMap<String, FaultSet>) -> anyhow::Result<()> {
        self.call(Method::PUT, "/_sandbox/faults", Some(json!({ "channels": channels }))).await.map(drop)
    }

    /// Sets the channels' clock off by so many seconds; what it shows then, in seconds since the epoch.
    pub(super) async fn set_clock(&self, offset_s: i64) -> anyhow::Result<i64> {
        let shown = self.call(Method::POST, "/_sandbox/clock", Some(json!({ "offset_s": offset_s }))).await?;
        let now = shown.get("now").and_then(Value::as_str).unwrap_or_default();
        let now: jiff::Timestamp =
            now.parse().with_context(|| format!("the sandbox's clock shows {now:?}"))?;
        Ok(now.as_second())
    }

    /// Calls that these channels have got so far.
    pub(super) async fn calls(&self, channels: &[String]) -> anyhow::Result<u64> {
        let counts = self.call(Method::GET, "/_sandbox/stats", None).await?;
        let count = |name: String| counts.get(name).and_then(Value::as_u64).unwrap_or(0);
        Ok(channels.iter().flat_map(|channel| KINDS.map(|kind| count(format!("{channel}.{kind}")))).sum())
    }

    async fn call(&self, method: Method, path: &str, body: Option<Value>) -> anyhow::Result<Value> {
        let url = format!("{}{path}", self.url);
        let request = self.http.request(method, &url);
        let request = if let Some(body) = body { request.json(&body) } else { request };
        let answer = request.send().await.with_context(|| format!("{url} did not answer"))?;
        let status = answer.status();
        let text = answer.text().await.with_context(|| format!("{url} broke off"))?;
        if !status.is_success() {
            bail!("{url} refused: {status}: {text}");
        }
        serde_json::from_str(&text).with_context(|| format!("{url} makes no sense"))
    }
}
