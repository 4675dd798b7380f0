//! Giving money back: asked for by the backend, owed because a capture was one too many, or given back in a life that
//! the store has lost.

use super::{Draft, Rejected};
use crate::{
    Answer, AttemptNo, Money, RefundNo, Timestamp,
    channel::{Fault, RefundAnswer, RefundFound, RefundProgress},
    order::{Fact, RefundCause, RefundState},
    planted,
};

/// Two digits are all a refund number has.
pub(super) const REFUNDS_MAX: u8 = 99;

impl Draft {
    /// A capture that does not pay the order goes back in full.
    pub(super) fn book_refund(&mut self, no: AttemptNo, amount: Money, cause: RefundCause) {
        if planted::FORGOTTEN_REFUND {
            return;
        }
        // Surplus captures are at most one an attempt, and attempts are fewer than refund numbers; asked
        // refunds leave room for them (see `refund_asked`), so a number is always free.
        let n = self.order.refund_places().saturating_add(1);
        self.push(Fact::RefundBooked {
            refund_no: self.order.id.refund_no(n),
            no,
            amount,
            cause,
            backend_no: None,
            reason: cause.in_words().to_owned(),
            at: self.now,
        });
    }

    pub(super) fn refund_asked(
        &mut self,
        backend_no: &str,
        amount: Money,
        reason: &str,
        besides_taken_over: bool,
    ) -> Result<(), Rejected> {
        let Some(kept) = self.order.kept else {
            return Err(Rejected::NotPaid(self.order.state));
        };
        if let Some(known) = self.order.refunds.iter().find(|r| r.backend_no.as_deref() == Some(backend_no)) {
            let same = known.amount == amount;
            return if same { Ok(()) } else { Err(Rejected::RefundNoReused { amount: known.amount }) };
        }
        if amount.is_zero() {
            return Err(Rejected::RefundOfNothing);
        }
        self.is_no_repeat(amount, besides_taken_over)?;
        let left = self.order.refundable(kept);
        if amount > left {
            return Err(Rejected::RefundExceeds { left });
        }
        let used = self.order.refund_places();
        if used.saturating_add(self.rules.attempts_max) >= REFUNDS_MAX {
            return Err(Rejected::TooManyRefunds);
        }
        self.push(Fact::RefundBooked {
            refund_no: self.order.id.refund_no(used.saturating_add(1)),
            no: kept,
            amount,
            cause: RefundCause::Asked,
            backend_no: Some(backend_no.to_owned()),
            reason: reason.to_owned(),
            at: self.now,
        });
        Ok(())
    }

    /// A request under an unknown number that could repeat what was taken over from a bill, by its amount, is declined
    /// without the backend's word that it is another one. That comes before anything else is said about the amount: of a
    /// repeat even "more than is left" would be the wrong answer.
    pub(super) fn is_no_repeat(&self, amount: Money, besides_taken_over: bool) -> Result<(), Rejected> {
        if besides_taken_over {
            return Ok(());
        }
        let same = self.order.may_mean(amount);
        if same.is_empty() { Ok(()) } else { Err(Rejected::RefundTakenOver(same)) }
    }

    /// A refund that only the channel knows: booked and done at once, so that it stands in the books like any other, and
    /// the count of refunds goes on after it. Its cause is what it would have been: of the payment that is kept, the
    /// backend asked for it; of any other, the rules. A backend's own number for it is not known.
    pub(super) fn refund_adopted(
        &mut self,
        refund_no: &RefundNo,
        no: AttemptNo,
        amount: Money,
        (channel_refund_id, at): (&str, Timestamp),
    ) -> Result<(), Rejected> {
        if refund_no.order() != Some(self.order.id) || refund_no.place().is_none() {
            return Err(Rejected::ForeignRefund(refund_no.clone()));
        }
        let channel_refund_id = channel_refund_id.to_owned();
        if let Some(known) = self.order.refund(refund_no) {
            if (known.attempt, known.amount) != (no, amount) {
                let (attempt, amount) = (known.attempt, known.amount);
                return Err(Rejected::RefundDiffers { refund_no: refund_no.clone(), attempt, amount });
            }
            // Known since, from wherever: the bill's line is one more word about it.
            let done = RefundFound::Succeeded { channel_refund_id, amount, at };
            return self.refund_answered(refund_no, &Answer::Settled(done));
        }
        let attempt = self.known(no)?;
        let capture = attempt.capture.as_ref().ok_or(Rejected::NothingCaptured(no))?;
        let cause = if self.order.kept == Some(no) {
            RefundCause::Asked
        } else if capture.amount != self.order.request.amount {
            RefundCause::AmountDiffers
        } else if self.order.kept.is_some() {
            RefundCause::SecondCapture
        } else {
            RefundCause::AfterFailure
        };
        if amount.is_zero() {
            return Err(Rejected::RefundOfNothing);
        }
        let left = self.order.refundable(no);
        if amount > left {
            return Err(Rejected::RefundExceeds { left });
        }
        self.push(Fact::RefundBooked {
            refund_no: refund_no.clone(),
            no,
            amount,
            cause,
            backend_no: None,
            reason: "taken over from the channel's bill".to_owned(),
            at: self.now,
        });
        self.push(Fact::RefundSucceeded { refund_no: refund_no.clone(), channel_refund_id, at });
        self.conclude();
        Ok(())
    }

    pub(super) fn refund_answered(
        &mut self,
        refund_no: &RefundNo,
        answer: &RefundAnswer,
    ) -> Result<(), Rejected> {
        let refund =
            self.order.refund(refund_no).ok_or_else(|| Rejected::UnknownRefund(refund_no.clone()))?;
        let (state, expected) = (refund.state, refund.amount);
        let refund_no = refund_no.clone();
        match (state, answer) {
            (RefundState::Booked, Answer::Accepted(RefundProgress::Processing)) => {
                self.push(Fact::RefundAccepted { refund_no });
            }
            // A later success outranks an earlier "gave up": operators may have had it repaired at the channel.
            (
                RefundState::Booked | RefundState::Processing | RefundState::Failed,
                Answer::Settled(RefundFound::Succeeded { channel_refund_id, amount, at }),
            ) => {
                if *amount != expected {
                    return Err(Rejected::AmountDiffers { expected, got: *amount });
                }
                let channel_refund_id = channel_refund_id.clone();
                self.push(Fact::RefundSucceeded { refund_no, channel_refund_id, at: *at });
                self.conclude();
            }
            (
                RefundState::Booked | RefundState::Processing,
                Answer::Settled(RefundFound::Failed { code }),
            ) => {
                if planted::PANIC {
                    panic!("a planted panic");
                }
                self.push(Fact::RefundFailed { refund_no, code: code.clone() });
            }
            // Our own mistake will not go away by repeating it; it is listed for people.
            (RefundState::Booked, Answer::Declined(refusal)) if refusal.fault == Fault::Ours => {
                self.push(Fact::RefundFailed { refund_no, code: refusal.code.clone() });
            }
            // Still at work, unknown to the channel, busy or silent: `resume` owes the next call.
            (
                RefundState::Booked | RefundState::Processing,
                Answer::Accepted(RefundProgress::Processing | RefundProgress::NotFound)
                | Answer::Declined(_)
                | Answer::NeverSent(_)
                | Answer::Silent(_),
            ) => {}
            (RefundState::Succeeded | RefundState::Failed, _) => {} // a repeat
        }
        Ok(())
    }
}
