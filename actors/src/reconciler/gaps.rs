//! Captures that no notification told us of, during the day: each is matched by a query.
//!
//! A capture that a query found is matched by it; one that came with another answer (a direct channel's, a close's) is
//! asked about once. What the query says otherwise is evidence like any other, and the order's rules judge it.

use std::time::Duration;

use domain::{
    Answer, ChannelId, ChannelOrderNo, Evidence, EvidenceSource, Found, Timestamp,
    channel::{QueryAnswer, TradeKey},
    order::Event,
};
use metrics::gauge;
use store::{Cause, Gap};
use tracing::warn;

use super::{Inner, WorkError};
use crate::{causes::causes, gateway, metric_definitions as metric};

/// How often it looks.
const EVERY: Duration = Duration::from_secs(30);
/// A notification may be late by this much before its absence is a gap.
const LATE: Duration = Duration::from_secs(120);
/// How far back.
const BACK: Duration = Duration::from_secs(24 * 3_600);
/// Gaps of one look: a second of a channel's budget.
const MOST: usize = 200;

impl Inner {
    pub(super) async fn look_for_gaps(&self, now: Timestamp) -> Result<(), WorkError> {
        if now < self.gaps_at.get().plus(EVERY) {
            return Ok(());
        }
        self.gaps_at.set(now);
        let store = &self.house.store;
        for gap in store.bills().gaps_new(now.minus(BACK), now.minus(LATE), MOST).await? {
            let gap = self.matched_by_query(gap).await?;
            if gap.verdict == "differs" {
                warn!(
                    channel.name = gap.channel,
                    number = gap.channel_order_no,
                    detail = gap.detail,
                    "a capture differs"
                );
            }
            store.bills().gap_put(&gap).await?;
        }
        let counts = store.bills().gaps_count(now.minus(BACK)).await?;
        for channel in self.work.channels().map(ChannelId::as_str) {
            for verdict in ["matched", "differs", "unanswered"] {
                let n =
                    counts.iter().find(|(c, v, _)| c == channel && v == verdict).map_or(0, |(_, _, n)| *n);
                let n = f64::from(u32::try_from(n).unwrap_or(u32::MAX));
                gauge!(metric::RECONCILIATION_GAPS, "channel" => channel.to_owned(), "verdict" => verdict)
                    .set(n);
            }
        }
        Ok(())
    }

    async fn matched_by_query(&self, mut gap: Gap) -> Result<Gap, WorkError> {
        gap.checked_at = self.house.clock.now();
        if gap.captured_by == EvidenceSource::Query.as_str() {
            (gap.verdict, gap.detail) = ("matched".to_owned(), "a query found the capture".to_owned());
            return Ok(gap);
        }
        let number = ChannelOrderNo::new(&gap.channel_order_no).ok();
        let no = number.as_ref().and_then(ChannelOrderNo::parts).map(|(_, no)| no);
        let order = self.house.store.order_load(gap.order).await?;
        let attempt = no.and_then(|no| order.as_ref()?.attempt(no));
        let line = ChannelId::new(&gap.channel).ok().and_then(|id| self.house.lines.get(&id));
        let (Some(number), Some(order), Some(attempt), Some(line)) = (number, &order, attempt, line) else {
            (gap.verdict, gap.detail) = ("unanswered".to_owned(), "the channel is not configured".to_owned());
            return Ok(gap);
        };
        let trade = TradeKey { number, planned_at: attempt.planned_at, expires_at: order.request.expires_at };
        let answer: QueryAnswer = line.gateway.ask(|reply| gateway::Query { trade, reply }).await;
        (gap.verdict, gap.detail) = match answer {
            Answer::Settled(Found::Captured(capture)) => {
                let ours = attempt.capture.as_ref();
                if ours.is_some_and(|c| c.amount == capture.amount && c.trade_no == capture.trade_no) {
                    ("matched".to_owned(), "asked, and the channel says the same".to_owned())
                } else {
                    let detail =
                        format!("the channel says {} fen as {}", capture.amount.fen(), capture.trade_no);
                    let evidence = Evidence {
                        source: EvidenceSource::Query,
                        reference: "reconciliation".to_owned(),
                        found: Found::Captured(capture),
                    };
                    let event = Event::Found { no: attempt.no, evidence };
                    let cause = Cause::new(event.label(), "query", "reconciliation");
                    if let Err(error) = self.service.hear(gap.order, event, cause).await {
                        warn!(order.id = %gap.order, error = %causes(&error), "an order did not hear what a query said");
                    }
                    ("differs".to_owned(), detail)
                }
            }
            Answer::Settled(_) | Answer::Declined(_) => {
                ("differs".to_owned(), format!("the channel holds no capture: {answer:?}"))
            }
            Answer::Accepted(_) => ("differs".to_owned(), "the channel says that it is not paid".to_owned()),
            Answer::NeverSent(why) | Answer::Silent(why) => ("unanswered".to_owned(), why),
        };
        Ok(gap)
    }
}
