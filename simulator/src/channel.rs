//! A channel as the house sees it: the world's books behind a network that does what it likes.
//!
//! The process may die before a call leaves, after it was carried out, and before its answer is heard.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use channels::{
    BillError, BillFile, BillRefused, Channel, EachLine, HttpReply, Notification, NotificationCall,
    NotificationKind, NotificationRefused, RefusedBecause, Verdict,
};
use domain::{
    Answer, Capture, ChannelOrderNo, Found, Money, RefundNo, Scene, Timestamp,
    channel::{
        ChannelProfile, CloseAnswer, Fault, Limit, PrepayAnswer, PrepayAsk, QueryAnswer, RefundAnswer,
        RefundAsk, StillOpen, TradeKey,
    },
};
use jiff::civil::Date;

use crate::{
    bills,
    trades::{refund_found, refusal},
    weather::Fate,
    world::{DIRECT, Notice, Reality, Subject, World},
};

/// The house dies at one in so many calls, before or after it was carried out.
const DEATH: f64 = 1.0 / 12_000.0;
/// Longer than any deadline.
const NEVER: Duration = Duration::from_secs(3_600);
/// What each channel takes in one payment, in fen: an order above all that it can use is paid in parts.
const LIMITS: [i64; 4] = [100_000, 80_000, 50_000, 30_000];
/// The first channel takes less of a browser.
const H5_LIMIT: i64 = 60_000;

/// One simulated channel.
pub(crate) struct SimChannel {
    index: usize,
    profile: ChannelProfile,
    reality: Arc<Reality>,
}

impl SimChannel {
    pub(crate) fn new(index: usize, reality: &Arc<Reality>) -> Option<SimChannel> {
        let id = reality.with(|world| world.lines.get(index).map(|line| line.id.clone()))?;
        let profile = ChannelProfile {
            id,
            kind: World::kind(index),
            scenes: vec![Scene::Native, Scene::Jsapi, Scene::H5],
            limit: Money::from_fen(*LIMITS.get(index)?).ok()?,
            limits: if index == 0 {
                let amount = Money::from_fen(H5_LIMIT).ok()?;
                vec![Limit { account_type: None, scene: Some(Scene::H5), amount }]
            } else {
                Vec::new()
            },
        };
        Some(SimChannel { index, profile, reality: reality.clone() })
    }

    /// One call: its fate is drawn, and `effect` happens now, later or never.
    async fn exchange<A: Send, S: Send>(
        &self,
        effect: impl FnOnce(&mut World) -> Answer<A, S> + Send + 'static,
    ) -> Answer<A, S> {
        let (fate, death) = self.reality.with(|world| {
            let fate = world.fate(self.index);
            let death = (world.mischief(DEATH), world.mischief(DEATH));
            (fate, death)
        });
        let Some(fate) = fate else { return std::future::pending().await };
        if death.0 {
            return self.reality.die("crashes before a call").await;
        }
        match fate {
            Fate::Answered(after) => {
                let answer = self.reality.with(effect);
                if death.1 {
                    return self.reality.die("crashes after a call").await;
                }
                tokio::time::sleep(after).await;
                self.reality.with(|world| {
                    // An answer under the new key is read once the key is fetched, which its caller does.
                    if let Some(line) = world.lines.get_mut(self.index) {
                        line.known_key = line.key;
                    }
                });
                answer
            }
            Fate::AnswerLost(after) => {
                let _lost = self.reality.with(effect);
                if death.1 {
                    return self.reality.die("crashes after a call").await;
                }
                let hangs = self.reality.with(|world| world.dice.happens(0.5));
                tokio::time::sleep(if hangs { NEVER } else { after }).await;
                Answer::Silent("the connection was lost".to_owned())
            }
            Fate::Stray(after) => {
                self.reality.with(|world| {
                    world.later(after, Box::new(move |world| drop(effect(world))));
                });
                tokio::time::sleep(NEVER).await;
                Answer::Silent("no answer".to_owned())
            }
            Fate::Swallowed => {
                tokio::time::sleep(NEVER).await;
                Answer::Silent("no answer".to_owned())
            }
            Fate::NeverSent(after) => {
                tokio::time::sleep(after).await;
                Answer::NeverSent("connection refused".to_owned())
            }
            Fate::Quota(after) => {
                tokio::time::sleep(after).await;
                Answer::Declined(refusal("FREQUENCY_LIMITED", Fault::Channel))
            }
        }
    }
}

#[async_trait]
impl Channel for SimChannel {
    fn profile(&self) -> &ChannelProfile {
        &self.profile
    }

    async fn prepay(&self, ask: &PrepayAsk) -> PrepayAnswer {
        let (index, ask) = (self.index, ask.clone());
        self.exchange(move |world| {
            let now = world.now;
            if index == DIRECT {
                let comes_to = world.draw_debit(&ask.channel_order_no);
                world.books.debit(index, &ask, now, comes_to)
            } else {
                let refuses = world.mischief(0.004);
                world.books.prepay(index, &ask, now, refuses)
            }
        })
        .await
    }

    async fn query(&self, trade: &TradeKey) -> QueryAnswer {
        let number = trade.number.clone();
        self.exchange(move |world| world.books.query(number.as_str(), world.now)).await
    }

    async fn close(&self, trade: &TradeKey) -> CloseAnswer {
        let (index, number) = (self.index, trade.number.clone());
        self.exchange(move |world| {
            let (now, blunt) = (world.now, world.dice.happens(0.5));
            world.books.close(index, number.as_str(), index == DIRECT, now, blunt)
        })
        .await
    }

    async fn refund(&self, ask: &RefundAsk) -> RefundAnswer {
        let (index, ask) = (self.index, ask.clone());
        self.reality.with(|world| {
            let now = world.now;
            world.oracle.refund_started(ask.refund_no.as_str(), now);
        });
        self.exchange(move |world| {
            let (now, start) = (world.now, world.draw_refund(ask.refund_no.as_str()));
            world.books.refund(index, &ask, now, start)
        })
        .await
    }

    async fn refund_query(&self, ask: &RefundAsk) -> RefundAnswer {
        let refund_no = ask.refund_no.clone();
        self.exchange(move |world| world.books.refund_query(refund_no.as_str())).await
    }

    async fn bill(&self, day: Date) -> Result<Bytes, BillError> {
        let span = self.bill_span(day);
        let given = self.reality.with(|world| {
            let takes = world.dice.ms(50, 3_000);
            (!world.dead).then(|| (takes, world.bill(self.index, day, span)))
        });
        let Some((takes, bill)) = given else { return std::future::pending().await };
        tokio::time::sleep(takes).await;
        bill
    }

    fn read_bill(&self, _: Date, file: BillFile<'_>, each: EachLine<'_>) -> Result<(), BillRefused> {
        bills::read(file, each)
    }

    fn parse_notification(
        &self,
        call: &NotificationCall,
        _: Timestamp,
    ) -> Result<Notification, NotificationRefused> {
        let body = String::from_utf8_lossy(&call.body);
        let refused = |why| NotificationRefused::new(why, body.to_string());
        let mut words = body.split(' ');
        let mut word = || words.next().ok_or_else(|| refused(RefusedBecause::Malformed));
        let (signed, key, kind, number) = (word()?, word()?, word()?, word()?);
        if signed != "signed" {
            return Err(refused(RefusedBecause::BadSignature));
        }
        let key: u32 = key.parse().map_err(|_| refused(RefusedBecause::Malformed))?;
        let known = self.reality.with(|world| world.lines.get(self.index).map_or(0, |line| line.known_key));
        if key > known {
            return Err(refused(RefusedBecause::UnknownSerial));
        }
        let kind = if kind == "payment" {
            let fen = word()?.parse().ok().and_then(|fen| Money::from_fen(fen).ok());
            let (trade_no, at) = (word()?.to_owned(), word()?.parse().map(Timestamp::from_micros));
            let (Some(amount), Ok(at), Ok(number)) = (fen, at, ChannelOrderNo::new(number)) else {
                return Err(refused(RefusedBecause::Malformed));
            };
            NotificationKind::Payment { number, found: Found::Captured(Capture { amount, trade_no, at }) }
        } else {
            let given = self.reality.with(|world| world.books.refunds.get(number).cloned());
            let found = given.and_then(|given| refund_found(number, &given));
            let (Some(found), Ok(refund_no)) = (found, RefundNo::new(number)) else {
                return Err(refused(RefusedBecause::Malformed));
            };
            NotificationKind::Refund { refund_no, found }
        };
        Ok(Notification { event_id: number.to_owned(), kind })
    }

    fn notification_answer(&self, verdict: &Verdict) -> HttpReply {
        let status = match verdict {
            Verdict::Taken => 200,
            Verdict::Refused(_) => 400,
            Verdict::NotNow => 503,
        };
        HttpReply { status, content_type: None, body: Bytes::new() }
    }

    async fn probe(&self) -> QueryAnswer {
        self.exchange(|_| Answer::Accepted(StillOpen::NotFound)).await
    }

    async fn warm_up(&self) -> Result<(), channels::Error> {
        Ok(())
    }
}

/// The call as it reaches the front door.
pub(crate) fn written(notice: &Notice, world: &World) -> Option<NotificationCall> {
    let signature = if notice.forged { "forged" } else { "signed" };
    let body = match &notice.subject {
        Subject::Payment(number) => {
            let capture = world.books.capture(number)?;
            let amount = notice.wrong.unwrap_or(capture.amount).fen();
            let (trade_no, at) = (&capture.trade_no, capture.at.micros());
            format!("{signature} {} payment {number} {amount} {trade_no} {at}", notice.key)
        }
        Subject::Refund(refund_no) => format!("{signature} {} refund {refund_no}", notice.key),
    };
    Some(NotificationCall {
        method: "POST".to_owned(),
        target: "/notify".to_owned(),
        headers: Vec::new(),
        body: Bytes::from(body),
        remote: None,
    })
}
