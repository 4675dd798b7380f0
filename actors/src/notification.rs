//! A channel calls: verify, tell the order, keep the call with verdict and answer, answer in the channel's form.
//!
//! "Taken" is answered only after the order's facts are durable. A call that proves nothing is refused, kept
//! and has no effect; a call that cannot be stored now is refused too, so that the channel calls again.

use channels::{HttpReply, NotificationCall, NotificationKind, NotificationRefused, Verdict};
use domain::{
    Answer, ChannelId, ChannelOrderNo, Evidence, EvidenceSource, OrderId, Timestamp,
    order::{Event, Rejected},
};
use store::{Cause, Entry, NotificationRow};
use tokio::time::Instant;
use tracing::{info, warn};

use crate::{
    causes::causes,
    metric_definitions as metric,
    order::{HearError, Heard},
    service::Service,
};

/// What became of a call, before it is put into the channel's words.
struct Judged {
    verdict: Verdict,
    /// The word in the log: `taken`, `repeat`, or why it was refused.
    word: String,
    number: Option<String>,
}

impl Service {
    /// Takes a channel's call. `None` if there is no such channel. Repeats are harmless.
    pub async fn notification(
        &self,
        channel: &ChannelId,
        call: NotificationCall,
        admitted: Result<(), NotificationRefused>,
    ) -> Option<HttpReply> {
        let house = self.house();
        let line = house.lines.get(channel)?;
        let (started, received_at) = (Instant::now(), house.clock.now());
        house.stats.notifications.one();
        let id = house.new_id(received_at).to_string();
        let parsed = admitted.and_then(|()| line.channel.parse_notification(&call, received_at));
        let judged = match parsed {
            Err(refused) => proves_nothing(&refused),
            Ok(notification) => self.take(&id, notification.kind).await,
        };
        if !matches!(judged.verdict, Verdict::Taken) {
            house.stats.notifications_refused.one();
            warn!(channel.name = %channel, notification.id = id, verdict = judged.word, "notification refused");
        }
        let label = judged.word.split(':').next().unwrap_or_default().to_owned();
        metrics::counter!(metric::NOTIFICATIONS, "channel" => channel.to_string(), "verdict" => label)
            .increment(1);
        let reply = line.channel.notification_answer(&judged.verdict);
        self.keep(id, channel, call, received_at, started, &judged, &reply);
        Some(reply)
    }

    async fn take(&self, id: &str, kind: NotificationKind) -> Judged {
        let (order, event, number) = match kind {
            NotificationKind::Other { event_type } => {
                let word = format!("ignored: {event_type} is not a final word");
                return Judged { verdict: Verdict::Taken, word, number: None };
            }
            NotificationKind::Payment { number, found } => {
                let Some((order, no)) = number.parts() else {
                    return unknown(number);
                };
                let evidence =
                    Evidence { source: EvidenceSource::Notification, reference: id.to_owned(), found };
                (order, Event::Found { no, evidence }, Some(number.to_string()))
            }
            NotificationKind::Refund { refund_no, found } => {
                let Some(order) = refund_no.order() else {
                    let word = format!("unknown_order: no refund of ours has the number {refund_no}");
                    return Judged { verdict: Verdict::Refused(word.clone()), word, number: None };
                };
                let number = refund_no.to_string();
                (order, Event::RefundAnswered { refund_no, answer: Answer::Settled(found) }, Some(number))
            }
        };
        self.judge(order, event, id, number).await
    }

    async fn judge(&self, order: OrderId, event: Event, id: &str, number: Option<String>) -> Judged {
        let cause = Cause {
            event: event.label().to_owned(),
            source: "notification".to_owned(),
            reference: id.to_owned(),
        };
        let (verdict, word) = match self.hear(order, event, cause).await {
            Ok(Heard { changed: true, .. }) => (Verdict::Taken, "taken".to_owned()),
            Ok(Heard { changed: false, .. }) => (Verdict::Taken, "repeat".to_owned()),
            Err(HearError::NotFound) => refused(format!("unknown_order: {order} is not ours")),
            Err(HearError::Rejected(why @ (Rejected::UnknownAttempt(_) | Rejected::UnknownRefund(_)))) => {
                refused(format!("unknown_order: {why}"))
            }
            Err(HearError::Rejected(why @ Rejected::AmountDiffers { .. })) => {
                refused(format!("wrong_amount: {why}"))
            }
            Err(HearError::Rejected(why)) => refused(format!("declined: {why}")),
            Err(why @ (HearError::Busy | HearError::Unconfirmed)) => {
                (Verdict::NotNow, format!("not_now: {why}"))
            }
        };
        Judged { verdict, word, number }
    }

    /// Puts the call into the log. Losing this row (a crash right now) loses a line of the log and no
    /// evidence: the order's own facts are durable, and an unanswered channel calls again.
    #[expect(clippy::too_many_arguments, reason = "one row, field by field")]
    fn keep(
        &self,
        id: String,
        channel: &ChannelId,
        call: NotificationCall,
        received_at: Timestamp,
        started: Instant,
        judged: &Judged,
        reply: &HttpReply,
    ) {
        let took_us = i64::try_from(started.elapsed().as_micros()).unwrap_or(i64::MAX);
        if let Some(number) = &judged.number {
            info!(channel.name = %channel, channel_order_no = %number, verdict = judged.word, took_us, "notification");
        }
        let row = NotificationRow {
            id,
            channel: channel.to_string(),
            received_at,
            remote: call.remote.unwrap_or_default(),
            target: call.target,
            headers: call.headers,
            body: call.body.to_vec(),
            verdict: judged.word.split(':').next().unwrap_or_default().to_owned(),
            reason: judged.word.clone(),
            channel_order_no: judged.number.clone(),
            answer_status: i32::from(reply.status),
            answer_body: String::from_utf8_lossy(&reply.body).into_owned(),
            took_us,
        };
        if let Err(error) = self.house().journal.queue_at_leisure(Entry::Notification(row)) {
            warn!(error = %causes(&error), "a notification was not kept in the log");
        }
    }
}

fn proves_nothing(refused: &NotificationRefused) -> Judged {
    let word = refused.to_string();
    Judged { verdict: Verdict::Refused(word.clone()), word, number: None }
}

fn unknown(number: ChannelOrderNo) -> Judged {
    let word = format!("unknown_order: {number} is not a number of ours");
    Judged { verdict: Verdict::Refused(word.clone()), word, number: Some(number.to_string()) }
}

fn refused(word: String) -> (Verdict, String) {
    (Verdict::Refused(word.clone()), word)
}
