//! Names of the metrics this room writes. Labels are words from small sets, never ids.

/// Lives started after a death, by actor.
pub const ACTOR_RESTARTS: &str = "rushpay_actor_restarts_total";
/// Calls to a channel, by channel, call and answer.
pub const CHANNEL_CALLS: &str = "rushpay_channel_calls_total";
/// Seconds from call to answer, by channel and call.
pub const CHANNEL_SECONDS: &str = "rushpay_channel_call_seconds";
/// Calls under way, by channel.
pub const CHANNEL_IN_FLIGHT: &str = "rushpay_channel_in_flight";
/// One for the state a channel is in, by channel and state.
pub const CHANNEL_STATE: &str = "rushpay_channel_state";
/// Switches, by the channel that changed and its new state.
pub const CHANNEL_SWITCHES: &str = "rushpay_channel_switches_total";
/// Polls that are due and not yet made, in seconds of the oldest, by channel.
pub const POLL_LAG: &str = "rushpay_poll_lag_seconds";
/// Orders watched by a poller, by channel.
pub const POLL_WATCHED: &str = "rushpay_poll_watched";
/// Notifications, by channel and verdict.
pub const NOTIFICATIONS: &str = "rushpay_notifications_total";
/// Transitions of orders, by the state entered.
pub const ORDER_STATES: &str = "rushpay_order_states_total";
/// Orders with an actor.
pub const ORDERS_OPEN: &str = "rushpay_orders_open";
/// Orders that wait for a channel.
pub const ORDERS_WAITING: &str = "rushpay_orders_waiting";
/// Rows a commit held.
pub const COMMIT_ROWS: &str = "rushpay_commit_rows";
/// Seconds a commit took.
pub const COMMIT_SECONDS: &str = "rushpay_commit_seconds";
/// One while the store refuses commits, else zero.
pub const STORE_REFUSES: &str = "rushpay_store_refuses";
/// Webhook tries, by outcome.
pub const WEBHOOKS: &str = "rushpay_webhooks_total";
/// Webhooks that are due, now or later.
pub const WEBHOOKS_DUE: &str = "rushpay_webhooks_due";
/// Webhooks that were given up: the dead-letter list.
pub const WEBHOOKS_DEAD: &str = "rushpay_webhooks_dead";
/// Seconds that the longest due webhook waits for its try.
pub const WEBHOOK_OLDEST_DUE: &str = "rushpay_webhook_oldest_due_seconds";
/// Backends that rest after failures.
pub const WEBHOOK_RESTING: &str = "rushpay_webhook_backends_resting";
/// Messages that found a full or dead mailbox, by receiver.
pub const UNDELIVERED: &str = "rushpay_undelivered_total";
/// Channels that an operator took out.
pub const CHANNELS_DISABLED: &str = "rushpay_channels_disabled";
/// Differences that somebody must act on, by channel and kind.
pub const RECONCILIATION_DIFFERENCES: &str = "rushpay_reconciliation_differences";
/// Confirmed fixes without a channel's final word for a day, by channel.
pub const RECONCILIATION_OVERDUE: &str = "rushpay_reconciliation_overdue";
/// Captures of the last day that no notification told us of, by channel and what a query said.
pub const RECONCILIATION_GAPS: &str = "rushpay_reconciliation_gaps";
