//! What has happened to an order, in the past tense. An order is the fold of its facts.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{
    Attempt, AttemptCause, Certificate, Elsewhere, Failure, Order, OrderRequest, OrderState, Part, PartPlan,
    PartState, Refund, RefundCause, RefundState, Share, Spread, Wish,
};
use crate::{
    AttemptNo, Capture, ChannelId, ChannelKind, Credential, EvidenceSource, Money, OrderId, RefundNo,
    Timestamp,
};

/// One fact. Stored as JSON in `order_events`; variants and fields are only ever added.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "fact", rename_all = "snake_case")]
pub enum Fact {
    /// The order is durable.
    Accepted {
        /// What was asked.
        request: Arc<OrderRequest>,
        /// When.
        at: Timestamp,
    },
    /// An attempt was written down, before its channel is called.
    AttemptPlanned {
        /// Its number.
        no: AttemptNo,
        /// Over which channel.
        channel: ChannelId,
        /// How money moves there.
        kind: ChannelKind,
        /// Why now.
        cause: AttemptCause,
        /// The router's sentence.
        reason: String,
        /// When.
        at: Timestamp,
    },
    /// The credential is released to the payer (direct: the call may leave).
    Exposed {
        /// Which attempt.
        no: AttemptNo,
        /// What the payer pays with.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        credential: Option<Credential>,
        /// When.
        at: Timestamp,
    },
    /// A close was decided.
    CloseAsked {
        /// Which attempt.
        no: AttemptNo,
        /// When.
        at: Timestamp,
    },
    /// A later capture of this attempt goes back without anyone's doing.
    RefundPrebooked {
        /// Which attempt.
        no: AttemptNo,
    },
    /// The attempt ended without money.
    Certified {
        /// Which attempt.
        no: AttemptNo,
        /// The certificate.
        #[serde(flatten)]
        certificate: Certificate,
    },
    /// The attempt took money.
    Captured {
        /// Which attempt.
        no: AttemptNo,
        /// How much, under which trade number.
        #[serde(flatten)]
        capture: Capture,
        /// How we know.
        source: EvidenceSource,
    },
    /// This capture pays the order.
    Kept {
        /// Which attempt.
        no: AttemptNo,
    },
    /// Nothing is left open at the channel.
    Tidied {
        /// Which attempt.
        no: AttemptNo,
    },
    /// Evidence contradicted an earlier capture of the same attempt.
    Disputed {
        /// Which attempt.
        no: AttemptNo,
        /// What was said now.
        #[serde(flatten)]
        capture: Capture,
    },
    /// A channel's bill or a person corrected what an attempt took.
    Corrected {
        /// Which attempt.
        no: AttemptNo,
        /// What it took in truth.
        #[serde(flatten)]
        capture: Capture,
        /// What had been said before.
        was: Money,
        /// Who says so now.
        source: EvidenceSource,
    },
    /// None of the channels that the order could use can be used: it waits to be made up.
    MadeToWait {
        /// The router's sentence.
        reason: String,
        /// When.
        at: Timestamp,
    },
    /// The payer's client cannot pay in place; the payer meets the payment another way.
    Elsewhere {
        /// How, and from where.
        #[serde(flatten)]
        elsewhere: Elsewhere,
    },
    /// The backend still wants the order if the money comes after it failed.
    LateWanted,
    /// The order is above every channel's limit and is paid in parts.
    Split {
        /// Its parts, in the order in which they are paid.
        parts: Vec<PartPlan>,
    },
    /// A part moved on.
    PartMoved {
        /// Which.
        no: u8,
        /// To where.
        to: PartState,
    },
    /// All or nothing: no further part is begun, and what was paid goes back.
    Recalled {
        /// What the backend will be told.
        failure: Failure,
        /// When.
        at: Timestamp,
    },
    /// A refund of a split order was spread over its parts.
    SpreadBooked {
        /// Our number for it.
        refund_no: RefundNo,
        /// The backend's own number.
        backend_no: String,
        /// How much in all.
        amount: Money,
        /// Text for the payer.
        reason: String,
        /// How much of which part.
        shares: Vec<(u8, Money)>,
        /// When.
        at: Timestamp,
    },
    /// One part's share of a spread refund ended.
    ShareEnded {
        /// Of which spread.
        refund_no: RefundNo,
        /// Of which part.
        part: u8,
        /// How.
        to: RefundState,
    },
    /// A spread refund ended with its last share.
    SpreadEnded {
        /// Which.
        refund_no: RefundNo,
        /// How.
        to: RefundState,
        /// When, by the channel's clock, if it was taken over from a bill.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        done_at: Option<Timestamp>,
    },
    /// The payer or the backend asked for something.
    Wished {
        /// What.
        #[serde(flatten)]
        wish: Wish,
    },
    /// The payer agreed to be debited on a direct channel.
    Consented {
        /// Which.
        channel: ChannelId,
    },
    /// Money is to go back.
    RefundBooked {
        /// The refund's number at the channel.
        refund_no: RefundNo,
        /// The attempt whose money goes back.
        no: AttemptNo,
        /// How much.
        amount: Money,
        /// Why.
        cause: RefundCause,
        /// The backend's own number.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        backend_no: Option<String>,
        /// Text for the payer.
        reason: String,
        /// When.
        at: Timestamp,
    },
    /// The channel took the refund.
    RefundAccepted {
        /// Which.
        refund_no: RefundNo,
    },
    /// The money is back.
    RefundSucceeded {
        /// Which.
        refund_no: RefundNo,
        /// The channel's number for it.
        channel_refund_id: String,
        /// When, by the channel's clock.
        at: Timestamp,
    },
    /// The channel gave up on the refund.
    RefundFailed {
        /// Which.
        refund_no: RefundNo,
        /// The channel's code.
        code: String,
    },
    /// The order moved on.
    StateChanged {
        /// To where.
        to: OrderState,
        /// Why, if it failed.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        failure: Option<Failure>,
    },
}

/// Facts that do not fold into an order: a corrupt or foreign history.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("order {order}, event {version}: {problem}")]
pub struct BrokenHistory {
    /// Which order.
    pub order: OrderId,
    /// Which transition.
    pub version: u64,
    /// What does not fit.
    pub problem: &'static str,
}

impl Order {
    /// The order that its first fact describes.
    #[must_use]
    pub fn begin(id: OrderId, request: Arc<OrderRequest>, at: Timestamp) -> Order {
        Order {
            id,
            request,
            accepted_at: at,
            state: OrderState::Pending,
            version: 0,
            attempts: Vec::new(),
            refunds: Vec::new(),
            wish: Wish::Collect,
            consents: Vec::new(),
            kept: None,
            failure: None,
            keep_late: false,
            elsewhere: None,
            parts: Vec::new(),
            recalled: None,
            spreads: Vec::new(),
            waiting_since: None,
        }
    }

    /// Folds a history, one list of facts per committed transition, oldest first.
    ///
    /// # Errors
    /// [`BrokenHistory`] if the first fact is not an acceptance or a fact names an unknown attempt.
    pub fn fold<'f>(
        id: OrderId,
        history: impl IntoIterator<Item = &'f [Fact]>,
    ) -> Result<Option<Order>, BrokenHistory> {
        let mut order: Option<Order> = None;
        for (index, facts) in history.into_iter().enumerate() {
            let version = u64::try_from(index).unwrap_or(u64::MAX).saturating_add(1);
            let broken = |problem| BrokenHistory { order: id, version, problem };
            for fact in facts {
                match (&mut order, fact) {
                    (None, Fact::Accepted { request, at }) => {
                        order = Some(Order::begin(id, request.clone(), *at));
                    }
                    (None, _) => return Err(broken("the first fact is not an acceptance")),
                    (Some(order), fact) => order.apply(fact).map_err(broken)?,
                }
            }
            if let Some(order) = &mut order {
                order.version = version;
            }
        }
        Ok(order)
    }

    /// Applies one fact; the only place where an order changes.
    pub(crate) fn apply(&mut self, fact: &Fact) -> Result<(), &'static str> {
        match fact {
            Fact::Accepted { .. } => return Err("accepted twice"),
            Fact::AttemptPlanned { no, channel, kind, cause, reason, at } => {
                if self.attempt(*no).is_some() {
                    return Err("an attempt number was used twice");
                }
                self.attempts.push(Attempt {
                    no: *no,
                    channel: channel.clone(),
                    kind: *kind,
                    cause: *cause,
                    reason: reason.clone(),
                    planned_at: *at,
                    exposed_at: None,
                    credential: None,
                    close_asked_at: None,
                    refund_prebooked: false,
                    certificate: None,
                    capture: None,
                    tidied: false,
                    disputed: false,
                });
                self.waiting_since = None;
            }
            Fact::Exposed { no, credential, at } => {
                let attempt = self.attempt_mut(*no)?;
                attempt.exposed_at = Some(*at);
                attempt.credential.clone_from(credential);
            }
            Fact::CloseAsked { no, at } => self.attempt_mut(*no)?.close_asked_at = Some(*at),
            Fact::RefundPrebooked { no } => self.attempt_mut(*no)?.refund_prebooked = true,
            Fact::Certified { no, certificate } => {
                self.attempt_mut(*no)?.certificate = Some(certificate.clone());
            }
            Fact::Captured { no, capture, .. } => {
                let attempt = self.attempt_mut(*no)?;
                attempt.certificate = Some(Certificate::Captured);
                attempt.capture = Some(capture.clone());
            }
            Fact::Kept { no } => self.kept = Some(*no),
            Fact::Tidied { no } => self.attempt_mut(*no)?.tidied = true,
            Fact::Disputed { no, .. } => self.attempt_mut(*no)?.disputed = true,
            Fact::Corrected { no, capture, .. } => {
                self.attempt_mut(*no)?.capture = Some(capture.clone());
            }
            Fact::MadeToWait { at, .. } => self.waiting_since = Some(*at),
            Fact::LateWanted => self.keep_late = true,
            Fact::Elsewhere { elsewhere } => self.elsewhere = Some(elsewhere.clone()),
            Fact::Split { parts } => {
                self.parts = (1u8..)
                    .zip(parts)
                    .map(|(no, plan)| Part {
                        no,
                        id: plan.id,
                        amount: plan.amount,
                        state: PartState::Waiting,
                    })
                    .collect();
            }
            Fact::PartMoved { no, to } => {
                let part = self.parts.iter_mut().find(|p| p.no == *no);
                part.ok_or("a fact names an unknown part")?.state = *to;
            }
            Fact::Recalled { failure, at } => self.recalled = Some((*failure, *at)),
            Fact::SpreadBooked { refund_no, backend_no, amount, reason, shares, at } => {
                let share = |(part, amount): &(u8, Money)| Share {
                    part: *part,
                    amount: *amount,
                    state: RefundState::Booked,
                };
                self.spreads.push(Spread {
                    no: refund_no.clone(),
                    backend_no: backend_no.clone(),
                    amount: *amount,
                    reason: reason.clone(),
                    shares: shares.iter().map(share).collect(),
                    state: RefundState::Booked,
                    booked_at: *at,
                    done_at: None,
                });
            }
            Fact::ShareEnded { refund_no, part, to } => {
                let spread = self.spread_mut(refund_no)?;
                let share = spread.shares.iter_mut().find(|s| s.part == *part);
                share.ok_or("a fact names an unknown share")?.state = *to;
            }
            Fact::SpreadEnded { refund_no, to, done_at } => {
                let spread = self.spread_mut(refund_no)?;
                spread.state = *to;
                spread.done_at = *done_at;
            }
            Fact::Wished { wish } => self.wish = wish.clone(),
            Fact::Consented { channel } => self.consents.push(channel.clone()),
            Fact::RefundBooked { refund_no, no, amount, cause, backend_no, reason, at } => {
                self.refunds.push(Refund {
                    no: refund_no.clone(),
                    attempt: *no,
                    amount: *amount,
                    cause: *cause,
                    backend_no: backend_no.clone(),
                    reason: reason.clone(),
                    state: RefundState::Booked,
                    booked_at: *at,
                    done_at: None,
                    channel_refund_id: None,
                    fail_code: None,
                });
            }
            Fact::RefundAccepted { refund_no } => self.refund_mut(refund_no)?.state = RefundState::Processing,
            Fact::RefundSucceeded { refund_no, channel_refund_id, at } => {
                let refund = self.refund_mut(refund_no)?;
                refund.state = RefundState::Succeeded;
                refund.done_at = Some(*at);
                refund.channel_refund_id = Some(channel_refund_id.clone());
            }
            Fact::RefundFailed { refund_no, code } => {
                let refund = self.refund_mut(refund_no)?;
                refund.state = RefundState::Failed;
                refund.fail_code = Some(code.clone());
            }
            Fact::StateChanged { to, failure } => {
                self.state = *to;
                if failure.is_some() {
                    self.failure = *failure;
                }
            }
        }
        Ok(())
    }

    fn attempt_mut(&mut self, no: AttemptNo) -> Result<&mut Attempt, &'static str> {
        self.attempts.iter_mut().find(|a| a.no == no).ok_or("a fact names an unknown attempt")
    }

    fn spread_mut(&mut self, no: &RefundNo) -> Result<&mut Spread, &'static str> {
        self.spreads.iter_mut().find(|s| s.no == *no).ok_or("a fact names an unknown spread refund")
    }

    fn refund_mut(&mut self, no: &RefundNo) -> Result<&mut Refund, &'static str> {
        self.refunds.iter_mut().find(|r| r.no == *no).ok_or("a fact names an unknown refund")
    }
}
