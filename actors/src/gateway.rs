//! The only caller of a channel: pace, concurrency, breaker, one deadline, metrics.
//!
//! A call waits for its place in the pace and for a free slot, then leaves. The deadline covers all of it,
//! so nothing queues for longer than it could matter. What runs out of time before it left is `NeverSent`;
//! what runs out of time afterwards is `Silent`, and silence proves nothing. A call is never repeated here:
//! whoever owes it (order, poller) repeats it under the same number. Changed thresholds hold for the next call;
//! calls under way keep the slots and the deadline they started with.

use std::{cell::RefCell, rc::Rc, sync::Arc, time::Duration};

use actix::{Actor, Context, Handler, Message, ResponseFuture};
use channels::Channel;
use domain::{
    Answer,
    channel::{CloseAnswer, Fault, PrepayAnswer, PrepayAsk, QueryAnswer, RefundAnswer, RefundAsk, TradeKey},
    pace::Pace,
    routing::{Call, Outcome},
    tuning::Tuning,
};
use tokio::{
    sync::{Semaphore, oneshot},
    time::Instant,
};

use crate::{
    breaker::Leave, handle::Handle, meter::Meter, metric_definitions as metric, stats::Stats,
    tuning::TuningHandle,
};

/// Calls that may wait in the mailbox; each order has at most a few.
const MAILBOX: usize = 16_384;

/// One channel's gateway.
pub(crate) struct ChannelGateway {
    inner: Rc<Inner>,
}

struct Inner {
    name: String,
    channel: Arc<dyn Channel>,
    meter: Arc<Meter>,
    stats: Arc<Stats>,
    tuning: TuningHandle,
    limits: RefCell<Rc<Limits>>,
}

/// What the thresholds in force say about calls.
struct Limits {
    of: Arc<Tuning>,
    start: Instant,
    pace: RefCell<Pace>,
    slots: Semaphore,
    deadline: Duration,
    slow: Duration,
}

impl Limits {
    fn new(of: Arc<Tuning>) -> Limits {
        let pace = u32::try_from(of.channel_pace_per_s).unwrap_or(u32::MAX);
        Limits {
            start: Instant::now(),
            pace: RefCell::new(Pace::new(pace, pace)),
            slots: Semaphore::new(usize::try_from(of.channel_concurrency).unwrap_or(usize::MAX)),
            deadline: Duration::from_millis(of.call_deadline_ms),
            slow: Duration::from_millis(of.breaker_slow_ms),
            of,
        }
    }

    /// Waits for a place in the pace.
    async fn pace(&self) {
        loop {
            let place = self.pace.borrow_mut().take(self.start.elapsed());
            match place {
                Ok(()) => return,
                Err(wait) => tokio::time::sleep(wait).await,
            }
        }
    }

    /// Whether `other` says the same about calls; most changes are about something else.
    fn same(&self, other: &Tuning) -> bool {
        let key = |t: &Tuning| {
            [
                t.channel_pace_per_s,
                t.channel_concurrency,
                t.call_deadline_ms,
                t.breaker_slow_ms,
                t.breaker_failures,
                t.breaker_open_s,
            ]
        };
        key(&self.of) == key(other)
    }
}

/// What distinguishes the calls for meter, breaker and statistics.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Prepay,
    Query,
    Close,
    Refund,
    RefundQuery,
    Probe,
}

impl Kind {
    const fn label(self) -> &'static str {
        match self {
            Kind::Prepay => "prepay",
            Kind::Query => "query",
            Kind::Close => "close",
            Kind::Refund => "refund",
            Kind::RefundQuery => "refund_query",
            Kind::Probe => "probe",
        }
    }

    /// The router judges a channel by prepays and queries: they are what payers wait for.
    const fn metered(self) -> Option<Call> {
        match self {
            Kind::Prepay => Some(Call::Prepay),
            Kind::Query | Kind::Probe => Some(Call::Query),
            Kind::Close | Kind::Refund | Kind::RefundQuery => None,
        }
    }
}

impl ChannelGateway {
    pub(crate) fn new(
        channel: Arc<dyn Channel>,
        meter: Arc<Meter>,
        stats: Arc<Stats>,
        tuning: &TuningHandle,
    ) -> ChannelGateway {
        let limits = RefCell::new(Rc::new(Limits::new(tuning.get())));
        let inner = Inner {
            name: channel.profile().id.to_string(),
            channel,
            meter,
            stats,
            tuning: tuning.clone(),
            limits,
        };
        ChannelGateway { inner: Rc::new(inner) }
    }
}

impl Actor for ChannelGateway {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(MAILBOX);
    }
}

impl Inner {
    /// The limits in force. A changed breaker threshold starts a fresh, closed breaker.
    fn limits(&self) -> Rc<Limits> {
        let now = self.tuning.get();
        let before = self.limits.borrow().clone();
        if before.same(&now) {
            return before;
        }
        if (before.of.breaker_failures, before.of.breaker_open_s)
            != (now.breaker_failures, now.breaker_open_s)
        {
            self.meter.breaker().retune(&now);
        }
        let limits = Rc::new(Limits::new(now));
        self.limits.replace(limits.clone());
        limits
    }

    /// Runs one call under pace, slot, breaker and deadline.
    async fn run<A, S, F>(&self, kind: Kind, call: impl FnOnce() -> F) -> Answer<A, S>
    where
        F: Future<Output = Answer<A, S>>,
    {
        let entered = Instant::now();
        let limits = self.limits();
        let answer = match tokio::time::timeout(limits.deadline, self.place(&limits)).await {
            Err(_) => Answer::NeverSent("no free slot before the deadline".to_owned()),
            Ok(None) => Answer::NeverSent("the breaker is open".to_owned()),
            Ok(Some((_slot, leave))) => {
                let ticket = kind.metered().map(|call| self.meter.begin(call));
                let left = limits.deadline.saturating_sub(entered.elapsed());
                let started = Instant::now();
                metrics::gauge!(metric::CHANNEL_IN_FLIGHT, "channel" => self.name.clone()).increment(1.0);
                let answer = match tokio::time::timeout(left, call()).await {
                    Ok(answer) => answer,
                    Err(_) => Answer::Silent(format!("no answer within {} ms", limits.deadline.as_millis())),
                };
                metrics::gauge!(metric::CHANNEL_IN_FLIGHT, "channel" => self.name.clone()).decrement(1.0);
                self.judge(&answer, (started.elapsed(), limits.slow), leave, ticket);
                metrics::histogram!(metric::CHANNEL_SECONDS, "channel" => self.name.clone(), "call" => kind.label())
                    .record(started.elapsed().as_secs_f64());
                answer
            }
        };
        let labels = [
            ("channel", self.name.clone()),
            ("call", kind.label().into()),
            ("answer", answer.label().into()),
        ];
        metrics::counter!(metric::CHANNEL_CALLS, &labels).increment(1);
        self.count(kind);
        answer
    }

    /// Waits for the pace and a slot, then asks the breaker: a slot may come after the breaker opened.
    async fn place<'l>(
        &'l self,
        limits: &'l Limits,
    ) -> Option<(tokio::sync::SemaphorePermit<'l>, Leave<'l>)> {
        if !self.meter.breaker().is_closed() {
            // Don't queue behind a channel that is out: only the probe goes on.
            let leave = self.meter.breaker().leave()?;
            return Some((limits.slots.acquire().await.ok()?, leave));
        }
        limits.pace().await;
        let slot = limits.slots.acquire().await.ok()?;
        Some((slot, self.meter.breaker().leave()?))
    }

    /// Tells the breaker and the window how the call went. The payer's faults are not held against a channel.
    fn judge<A, S>(
        &self,
        answer: &Answer<A, S>,
        (took, slow): (Duration, Duration),
        leave: Leave<'_>,
        ticket: Option<crate::meter::Ticket>,
    ) {
        let outcome = match answer {
            Answer::Accepted(_) | Answer::Settled(_) => Outcome::Answered,
            Answer::Declined(refusal) => match refusal.fault {
                Fault::Payer | Fault::State | Fault::Ours => Outcome::PayerFault,
                Fault::Channel => Outcome::Error,
            },
            Answer::NeverSent(_) | Answer::Silent(_) => Outcome::Error,
        };
        match outcome {
            Outcome::Error => leave.sick(),
            Outcome::Answered | Outcome::PayerFault if took >= slow => leave.sick(),
            Outcome::Answered | Outcome::PayerFault => leave.healthy(),
        }
        if let Some(ticket) = ticket {
            ticket.end(outcome);
        }
    }

    fn count(&self, kind: Kind) {
        match kind {
            Kind::Prepay => self.stats.prepays.one(),
            Kind::Query | Kind::Probe => self.stats.polls.one(),
            Kind::Close => self.stats.closes.one(),
            Kind::Refund | Kind::RefundQuery => self.stats.refund_calls.one(),
        }
    }
}

macro_rules! gateway_call {
    ($(#[$doc:meta])* $message:ident ( $($field:ident : $type:ty),* ) -> $answer:ty, $kind:expr, |$channel:ident, $m:ident| $call:expr) => {
        $(#[$doc])*
        #[derive(Message)]
        #[rtype(result = "()")]
        pub(crate) struct $message { $(pub(crate) $field: $type,)* pub(crate) reply: oneshot::Sender<$answer> }

        impl Handler<$message> for ChannelGateway {
            type Result = ResponseFuture<()>;

            fn handle(&mut self, message: $message, _: &mut Self::Context) -> Self::Result {
                let inner = self.inner.clone();
                Box::pin(async move {
                    let $channel = inner.channel.clone();
                    let $m = &message;
                    let answer = inner.run($kind, || async move { $call.await }).await;
                    // A caller that is gone asks again when it is back.
                    let _gone = message.reply.send(answer);
                })
            }
        }

        impl Ask for $message {
            type Answer = $answer;
            fn nobody() -> $answer {
                Answer::NeverSent("the gateway is being restarted".to_owned())
            }
            fn lost() -> $answer {
                Answer::Silent("the gateway died during the call".to_owned())
            }
        }
    };
}

/// A call and the kind of its answer.
pub(crate) trait Ask: Message<Result = ()> + Send + 'static {
    /// What comes back.
    type Answer: Send;
    /// The answer when nobody took the call.
    fn nobody() -> Self::Answer;
    /// The answer when whoever took the call died.
    fn lost() -> Self::Answer;
}

gateway_call!(
    /// Sent by an order for an attempt.
    Prepay(ask: PrepayAsk) -> PrepayAnswer, Kind::Prepay, |channel, m| channel.prepay(&m.ask)
);
gateway_call!(
    /// Sent by the poller.
    Query(trade: TradeKey) -> QueryAnswer, Kind::Query, |channel, m| channel.query(&m.trade)
);
gateway_call!(
    /// Sent by an order.
    Close(trade: TradeKey) -> CloseAnswer, Kind::Close, |channel, m| channel.close(&m.trade)
);
gateway_call!(
    /// Sent by an order.
    Refund(ask: RefundAsk) -> RefundAnswer, Kind::Refund, |channel, m| channel.refund(&m.ask)
);
gateway_call!(
    /// Sent by an order.
    RefundQuery(ask: RefundAsk) -> RefundAnswer, Kind::RefundQuery, |channel, m| channel.refund_query(&m.ask)
);
gateway_call!(
    /// Sent by the router while a channel recovers and has no traffic.
    Probe() -> QueryAnswer, Kind::Probe, |channel, _m| channel.probe()
);

impl Handle<ChannelGateway> {
    /// Hands a call to the gateway and waits for its answer. A dead gateway is `NeverSent` before the
    /// hand-over and `Silent` after it.
    pub(crate) async fn ask<M>(&self, make: impl FnOnce(oneshot::Sender<M::Answer>) -> M) -> M::Answer
    where
        M: Ask,
        ChannelGateway: Handler<M>,
        Context<ChannelGateway>: actix::dev::ToEnvelope<ChannelGateway, M>,
    {
        let (tx, rx) = oneshot::channel();
        match self.tell(make(tx)) {
            Err(_) => M::nobody(),
            Ok(()) => rx.await.unwrap_or_else(|_| M::lost()),
        }
    }
}
