//! The trace of an order's callbacks: what happened at the channel, what we were told, what we asked, and the gaps.
//!
//! Pure: put together from the order, its history and the log of calls.

use domain::{
    AttemptNo, Timestamp,
    order::{Attempt, Fact, Order, RefundState},
};
use store::{NotificationRow, StoredEvent};

/// One line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Line {
    /// When; by the channel's clock for what happened there.
    pub at: Timestamp,
    /// Which channel.
    pub channel: String,
    /// `shown`, `paid`, `notified`, `found`, `gap`, `refund`.
    pub kind: &'static str,
    /// In words.
    pub text: String,
}

/// Everything about the callbacks of an order, in the order of time.
pub(crate) fn trace(order: &Order, history: &[StoredEvent], calls: &[NotificationRow]) -> Vec<Line> {
    let mut lines = Vec::new();
    for attempt in &order.attempts {
        let number = order.id.channel_order_no(attempt.no);
        let told: Vec<&NotificationRow> =
            calls.iter().filter(|row| row.channel_order_no.as_deref() == Some(number.as_str())).collect();
        of_attempt(attempt, history, &told, &mut lines);
    }
    for refund in &order.refunds {
        let channel = order.attempt(refund.attempt).map(|a| a.channel.to_string()).unwrap_or_default();
        let told: Vec<&NotificationRow> =
            calls.iter().filter(|row| row.channel_order_no.as_deref() == Some(refund.no.as_str())).collect();
        notified(&told, &mut lines);
        if refund.state == RefundState::Succeeded {
            let settled = settled_by(
                history,
                |fact| matches!(fact, Fact::RefundSucceeded { refund_no, .. } if *refund_no == refund.no),
            );
            if let Some((at, source)) = settled {
                let text = match told.is_empty() {
                    true => format!("refund {}: no notification seen, found by {source}", refund.no),
                    false => format!("refund {}: settled by {source}", refund.no),
                };
                lines.push(Line { at, channel, kind: "refund", text });
            }
        }
    }
    lines.sort_by_key(|line| line.at);
    lines
}

/// When and by which source a fact was first written.
fn settled_by(history: &[StoredEvent], wanted: impl Fn(&Fact) -> bool) -> Option<(Timestamp, String)> {
    let event = history.iter().find(|event| event.facts.iter().any(&wanted))?;
    Some((event.at, event.cause.source.clone()))
}

fn captured(history: &[StoredEvent], wanted: AttemptNo) -> Option<(Timestamp, String)> {
    settled_by(history, |fact| matches!(fact, Fact::Captured { no, .. } if *no == wanted))
}

fn notified(told: &[&NotificationRow], lines: &mut Vec<Line>) {
    for row in told {
        let from = if row.remote.is_empty() { String::new() } else { format!(" from {}", row.remote) };
        let text = format!(
            "notification {}{from}: {}, answered {} in {:.1} ms",
            row.id,
            row.reason,
            row.answer_status,
            f64::from(u32::try_from(row.took_us).unwrap_or(u32::MAX)) / 1_000.0
        );
        lines.push(Line { at: row.received_at, channel: row.channel.clone(), kind: "notified", text });
    }
}

fn of_attempt(attempt: &Attempt, history: &[StoredEvent], told: &[&NotificationRow], lines: &mut Vec<Line>) {
    let channel = attempt.channel.to_string();
    let mut add = |at, kind, text| lines.push(Line { at, channel: channel.clone(), kind, text });
    if let Some(at) = attempt.exposed_at {
        add(at, "shown", format!("attempt {}: the payer can pay", attempt.no));
    }
    if let Some(capture) = &attempt.capture {
        add(
            capture.at,
            "paid",
            format!("attempt {}: paid at the channel, {} fen", attempt.no, capture.amount.fen()),
        );
        if let Some((at, source)) = captured(history, attempt.no) {
            if source != "notification" {
                add(at, "found", format!("attempt {}: found by {source}", attempt.no));
            }
            let clock = |at: Timestamp| at.to_string().get(11..19).unwrap_or_default().to_owned();
            let first = told.iter().map(|row| row.received_at).min();
            match first {
                None if source != "notification" => {
                    let text = format!(
                        "attempt {}: paid at the channel {}, no notification seen, found by {source} {}",
                        attempt.no,
                        clock(capture.at),
                        clock(at)
                    );
                    add(at, "gap", text);
                }
                Some(first) if first > at => {
                    let text = format!(
                        "attempt {}: the notification came {:.1} s after {source} had found the payment",
                        attempt.no,
                        first.since(at).as_secs_f64()
                    );
                    add(first, "gap", text);
                }
                _ => {}
            }
        }
    }
    notified(told, lines);
}
