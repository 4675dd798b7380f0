//! The JSON that goes over the wire, as seen from a backend and a payer.
//!
//! Written from the API's description, not shared with the service, so that a mistake cannot hide on both
//! sides. Only what a payer needs is read; unknown members are ignored, as a client should.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// `POST /v1/orders`.
#[derive(Debug, Serialize)]
pub(crate) struct NewOrder<'a> {
    pub(crate) order_no: &'a str,
    pub(crate) merchant_id: &'a str,
    pub(crate) amount_fen: u64,
    pub(crate) description: &'a str,
    pub(crate) payer: NewPayer<'a>,
    pub(crate) scene: &'a str,
    pub(crate) channels: &'a [String],
    pub(crate) consents: &'a [String],
    pub(crate) notify_url: &'a str,
    pub(crate) expires_in_s: u32,
}

/// Who pays.
#[derive(Debug, Serialize)]
pub(crate) struct NewPayer<'a> {
    pub(crate) id: &'a str,
    pub(crate) account_type: &'a str,
    pub(crate) openid: &'a str,
    /// A browser's address; the h5 scene needs it.
    pub(crate) client_ip: &'a str,
}

/// An order as the API shows it.
#[derive(Debug, Deserialize)]
pub(crate) struct OrderView {
    pub(crate) id: String,
    pub(crate) state: State,
    #[serde(default)]
    pub(crate) version: u64,
    #[serde(default)]
    pub(crate) channel: Option<String>,
    /// Kept as it came: the payer's phone passes it on and understands nothing of it.
    #[serde(default)]
    pub(crate) credential: Option<Box<RawValue>>,
    #[serde(default)]
    pub(crate) refunds: Vec<serde::de::IgnoredAny>,
    #[serde(default)]
    pub(crate) reason: Option<String>,
}

/// The five states of an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum State {
    /// Accepted, nothing exposed.
    Pending,
    /// The payer can pay.
    Processing,
    /// Captured once.
    Success,
    /// Ended, nothing kept.
    Failed,
    /// Evidence is missing or contradicts.
    Suspicious,
}

impl State {
    /// Success and failure end a payer's waiting; a suspicious order is still being looked into.
    pub(crate) fn ends_the_wait(self) -> bool {
        matches!(self, State::Success | State::Failed)
    }
}

/// A refusal, RFC 9457.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Problem {
    #[serde(default)]
    pub(crate) code: Option<String>,
}

/// `POST /_sandbox/pay`.
#[derive(Debug, Serialize)]
pub(crate) struct Pay<'a> {
    pub(crate) channel: &'a str,
    pub(crate) credential: &'a RawValue,
    pub(crate) payer: &'a str,
    pub(crate) outcome: &'a str,
}

/// Its answer.
#[derive(Debug, Deserialize)]
pub(crate) struct Paid {
    pub(crate) paid: bool,
    #[serde(default)]
    pub(crate) paid_at_us: Option<i64>,
    #[serde(default)]
    pub(crate) reason: Option<String>,
}

/// `GET /admin/v1/switches`.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct SwitchList {
    #[serde(default)]
    pub(crate) switches: Vec<SwitchView>,
}

/// One change of channel or of a channel's state, as the router kept it.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct SwitchView {
    /// RFC 3339, or microseconds since the epoch.
    pub(crate) at: serde_json::Value,
    #[serde(default)]
    pub(crate) from: Option<String>,
    #[serde(default)]
    pub(crate) to: Option<String>,
    #[serde(default)]
    pub(crate) reason: String,
    #[serde(default)]
    pub(crate) channel: Option<String>,
}

impl SwitchView {
    /// When, in microseconds since the epoch.
    pub(crate) fn at_us(&self) -> Option<i64> {
        match &self.at {
            serde_json::Value::String(text) => {
                text.parse::<jiff::Timestamp>().ok().map(|t| t.as_microsecond())
            }
            other => other.as_i64(),
        }
    }
}

/// `Retry-After` in seconds; the HTTP-date form is not used by this API.
pub(crate) fn retry_after(text: Option<&str>) -> Option<Duration> {
    text?.trim().parse().ok().map(Duration::from_secs)
}
