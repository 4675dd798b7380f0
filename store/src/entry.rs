//! What can be made durable.

use std::{collections::BTreeMap, sync::Arc};

use domain::{
    ChannelId, Timestamp,
    order::{Fact, Order},
};
use serde::{Deserialize, Serialize};

/// One entry of a group; committed whole or not at all.
#[derive(Debug, Clone)]
pub enum Entry {
    /// A transition of an order.
    Order(Box<OrderCommit>),
    /// A channel's call.
    Notification(NotificationRow),
    /// One try of a webhook; moves its row on.
    WebhookTry(WebhookTry),
    /// An operator sends webhooks again.
    WebhookResend(WebhookResend),
    /// Webhooks whose time is over, at a backend that does not answer.
    WebhooksOver(WebhooksOver),
    /// A channel's change of state.
    Switch(SwitchRow),
    /// Thresholds that were changed together: in force together, or not at all.
    Tuning(Vec<TuningChange>),
    /// What is known of a payer now.
    Payer(PayerRow),
    /// Nothing but the wish to know whether a commit succeeds; it leaves one mark, the same each time.
    Probe,
}

/// What is known of a payer. No evidence: it only decides what is offered first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PayerRow {
    /// The campus's number for the person.
    pub payer_id: String,
    /// Such as `student`.
    pub account_type: String,
    /// Ids at channels that the person's orders brought along.
    pub accounts: BTreeMap<ChannelId, String>,
    /// The channel of the last payment that the person chose or was given first.
    pub last_channel: ChannelId,
    /// When that was.
    pub last_paid_at: Timestamp,
}

/// Who or what caused a transition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cause {
    /// The event's word.
    pub event: String,
    /// Where it came from: `api`, `notification`, `query`, `close`, `router`, `clock`, an operator's name.
    pub source: String,
    /// What to look up there.
    pub reference: String,
}

impl Cause {
    /// A cause.
    #[must_use]
    pub fn new(event: &str, source: &str, reference: &str) -> Cause {
        Cause { event: event.to_owned(), source: source.to_owned(), reference: reference.to_owned() }
    }
}

/// A transition of an order.
#[derive(Debug, Clone)]
pub struct OrderCommit {
    /// Why.
    pub cause: Cause,
    /// When.
    pub at: Timestamp,
    /// Only with the first transition: what identifies the accepted body.
    pub body_hash: Option<String>,
    /// What happened.
    pub facts: Vec<Fact>,
    /// The version these facts were decided on; the commit makes it one more.
    pub before_version: u64,
    /// The order as it is afterwards.
    pub next: Arc<Order>,
    /// What the backend is told.
    pub outbox: Vec<OutboxNew>,
}

/// A webhook to be.
#[derive(Debug, Clone)]
pub struct OutboxNew {
    /// Its id: the backend's key against repeats.
    pub id: String,
    /// Its type.
    pub kind: String,
    /// Its body.
    pub payload: String,
    /// Where it goes; without it the line is only for `/v1/events`.
    pub url: Option<String>,
}

/// A channel's call, as it came, with what became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotificationRow {
    /// Our id for it.
    pub id: String,
    /// Which channel called.
    pub channel: String,
    /// When.
    pub received_at: Timestamp,
    /// From where.
    pub remote: String,
    /// Path and query.
    pub target: String,
    /// Headers in order.
    pub headers: Vec<(String, String)>,
    /// The raw body.
    pub body: Vec<u8>,
    /// One word: `taken`, `repeat`, or why it was refused.
    pub verdict: String,
    /// The sentence.
    pub reason: String,
    /// The attempt it was about, once verified.
    pub channel_order_no: Option<String>,
    /// The status we answered.
    pub answer_status: i32,
    /// The body we answered.
    pub answer_body: String,
    /// How long the answer took, in microseconds.
    pub took_us: i64,
}

/// One try of a webhook.
#[derive(Debug, Clone)]
pub struct WebhookTry {
    /// Which webhook.
    pub webhook_id: String,
    /// The beginning of the schedule it belongs to: of a schedule begun anew meanwhile it uses up no try.
    pub since: Timestamp,
    /// When the try began.
    pub at: Timestamp,
    /// What the backend answered.
    pub status: Option<i32>,
    /// Why it does not count.
    pub error: Option<String>,
    /// How long it took, in milliseconds.
    pub took_ms: i64,
    /// True if the backend took it.
    pub delivered: bool,
    /// When to try again; none with `delivered`, or when there is no try left.
    pub next_at: Option<Timestamp>,
}

/// An operator's act: the schedule begins anew, under the same ids.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebhookResend {
    /// Our id for the act.
    pub id: String,
    /// When.
    pub at: Timestamp,
    /// By whom.
    pub by: String,
    /// Which webhooks.
    pub what: Resend,
}

/// Which webhooks are sent again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Resend {
    /// This one, whatever its state, if it has an address.
    One(String),
    /// The dead ones of this backend, oldest first, at most 10,000 with one act.
    DeadOf(String),
}

/// What is past its time at a backend becomes dead without a try of its own: the backend has just failed another's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebhooksOver {
    /// Whose.
    pub backend: String,
    /// Schedules begun before this are over.
    pub since_before: Timestamp,
}

/// A channel's change of state and what it meant for new orders.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SwitchRow {
    /// When.
    pub at: Timestamp,
    /// Whose state changed.
    pub channel: String,
    /// Before.
    pub from_state: String,
    /// After.
    pub to_state: String,
    /// Where new orders started before.
    pub from_channel: String,
    /// Where they start now.
    pub to_channel: String,
    /// Why.
    pub reason: String,
}

/// A threshold was changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TuningChange {
    /// Which.
    pub key: String,
    /// To what.
    pub value: String,
    /// When.
    pub at: Timestamp,
    /// By whom.
    pub by: String,
}

/// An entry is durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Appended;
