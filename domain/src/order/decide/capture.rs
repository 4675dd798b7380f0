//! Evidence: what a channel's final word does to an order. The first right capture pays it; every other goes back.

use super::{Draft, Rejected};
use crate::{
    AttemptNo, Capture, Evidence, EvidenceSource, Found,
    order::{Attempt, Certificate, Fact, NeverExposed, OrderState, RefundCause},
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
        if let Some(known) = &attempt.capture {
            let same = known.trade_no == capture.trade_no && known.amount == capture.amount;
            if !same && !attempt.disputed {
                self.push(Fact::Disputed { no, capture: capture.clone() });
            }
            return Ok(());
        }
        // A notification that names another amount may be forged or broken; the query has the last word.
        if capture.amount != expected && source == EvidenceSource::Notification {
            return Err(Rejected::AmountDiffers { expected, got: capture.amount });
        }
        self.push(Fact::Captured { no, capture: capture.clone(), source });
        let surplus = if self.order.kept.is_some() {
            Some(RefundCause::SecondCapture)
        } else if self.order.failure.is_some() {
            Some(RefundCause::AfterFailure) // the backend was told "failed" and may have thrown the meal away
        } else if capture.amount != expected {
            Some(RefundCause::AmountDiffers)
        } else {
            None
        };
        match surplus {
            None => {
                self.push(Fact::Kept { no });
                self.drop_calling(&NeverExposed::Outrun);
                self.close_live();
                self.enter(OrderState::Success);
            }
            Some(cause) => {
                self.book_refund(no, capture.amount, cause);
                if self.order.state != OrderState::Success {
                    self.enter(OrderState::Suspicious);
                    self.drop_calling(&NeverExposed::Withheld);
                    self.close_live();
                }
            }
        }
        Ok(())
    }
}
