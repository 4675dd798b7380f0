//! Evidence: what a channel's final word does to an order. The first right capture pays it; every other goes back.
//!
//! A capture of another amount than ordered is held, not refunded: the channel has contradicted itself or us, and what
//! is sent back on a wrong word is gone. The channel's bill or an operator has the next word.

use super::{Draft, Rejected, refunds::REFUNDS_MAX};
use crate::{
    AttemptNo, Capture, Evidence, EvidenceSource, Found, Money,
    order::{Attempt, Certificate, Fact, NeverExposed, OrderState, RefundCause},
    planted,
};

impl Draft {
    pub(super) fn found(&mut self, no: AttemptNo, evidence: &Evidence) -> Result<(), Rejected> {
        let attempt = self.known(no)?;
        let open = attempt.certificate.is_none();
        let untidy = !open && !Attempt::is_tidy(attempt);
        match &evidence.found {
            Found::Captured(capture) => self.captured(no, capture, evidence.source)?,
            Found::Closed if open => {
                self.certify(no, Certificate::Closed);
                self.conclude();
            }
            Found::Declined(refusal) if open => {
                self.certify(no, Certificate::Declined { refusal: refusal.clone() });
                self.conclude();
            }
            Found::Closed | Found::Declined(_) if untidy => self.push(Fact::Tidied { no }),
            // After a certificate a close is stale news: money outranks it, and a repeat says nothing new.
            Found::Closed | Found::Declined(_) => {}
        }
        Ok(())
    }

    fn captured(&mut self, no: AttemptNo, capture: &Capture, source: EvidenceSource) -> Result<(), Rejected> {
        let expected = self.order.request.amount;
        let attempt = self.known(no)?;
        if attempt.capture.is_some() && !planted::DOUBLE_COUNT {
            self.told_again(no, capture, source);
            return Ok(());
        }
        // A notification that names another amount may be forged or broken; the query has the last word.
        if capture.amount != expected && source == EvidenceSource::Notification {
            return Err(Rejected::AmountDiffers { expected, got: capture.amount });
        }
        self.push(Fact::Captured { no, capture: capture.clone(), source });
        let surplus = if self.order.kept.is_some() {
            Some(RefundCause::SecondCapture)
        } else if self.order.failure.is_some() && !self.order.keeps_late() {
            Some(RefundCause::AfterFailure) // the backend was told "failed" and may have thrown the meal away
        } else {
            None
        };
        match surplus {
            None if capture.amount == expected => self.keep(no),
            None => self.suspect(), // held: see the head of this file
            Some(cause) => {
                self.book_refund(no, capture.amount, cause);
                self.suspect();
            }
        }
        Ok(())
    }

    /// This capture pays the order; nothing else shall.
    fn keep(&mut self, no: AttemptNo) {
        self.push(Fact::Kept { no });
        self.drop_calling(&NeverExposed::Outrun);
        self.close_live();
        // What was held for its amount is one capture too many now, whatever its amount.
        let held: Vec<(AttemptNo, Money)> = (self.order.attempts.iter())
            .filter(|a| self.order.is_held(a))
            .map(|a| (a.no, self.order.refundable(a.no)))
            .collect();
        for (no, amount) in held {
            self.book_refund(no, amount, RefundCause::SecondCapture);
        }
        self.enter(OrderState::Success);
    }

    /// Money that does not pay the order: an order that is not paid collects nothing more until it is clear.
    fn suspect(&mut self) {
        if self.order.state != OrderState::Success {
            self.enter(OrderState::Suspicious);
            self.drop_calling(&NeverExposed::Withheld);
            self.close_live();
        }
    }

    /// A second word on an attempt that took money. Mostly the same word; about held money a bill or an operator
    /// decides; everything else that differs is listed for people.
    fn told_again(&mut self, no: AttemptNo, capture: &Capture, source: EvidenceSource) {
        let Some((known, disputed)) =
            self.order.attempt(no).and_then(|a| Some((a.capture.clone()?, a.disputed)))
        else {
            return;
        };
        let same = known.trade_no == capture.trade_no && known.amount == capture.amount;
        let held = self.order.attempt(no).is_some_and(|a| self.order.is_held(a));
        let decides = matches!(source, EvidenceSource::Bill | EvidenceSource::Operator);
        if !(held && decides) {
            if !same && !disputed {
                self.push(Fact::Disputed { no, capture: capture.clone() });
            }
            return;
        }
        if !same {
            self.push(Fact::Corrected { no, capture: capture.clone(), was: known.amount, source });
        }
        let wanted = self.order.kept.is_none() && (self.order.failure.is_none() || self.order.keeps_late());
        // A capture of which something went back already does not pay an order whole.
        let whole = self.order.refundable(no) == self.order.request.amount;
        if wanted && whole && capture.amount == self.order.request.amount {
            self.keep(no);
        } else {
            // The other amount is certain now; money that was taken by mistake goes back whole.
            self.book_refund(no, self.order.refundable(no), RefundCause::AmountDiffers);
        }
    }

    /// An operator's word: what the attempt holds goes back, also when a refund of it had failed.
    pub(super) fn held_returned(&mut self, no: AttemptNo) -> Result<(), Rejected> {
        let attempt = self.known(no)?;
        if !self.order.is_held(attempt) {
            return Err(Rejected::NothingHeld(no));
        }
        let expected = self.order.request.amount;
        let cause = match &attempt.capture {
            Some(capture) if capture.amount != expected => RefundCause::AmountDiffers,
            _ if self.order.kept.is_some() => RefundCause::SecondCapture,
            _ => RefundCause::AfterFailure,
        };
        if self.order.refund_places() >= REFUNDS_MAX {
            return Err(Rejected::TooManyRefunds);
        }
        self.book_refund(no, self.order.refundable(no), cause);
        Ok(())
    }
}
