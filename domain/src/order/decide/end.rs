//! How an order ends without money: cancelled, expired, declined; and what a deadline without evidence means.

use super::Draft;
use crate::order::{Attempt, Certificate, Fact, Failure, NeverExposed, OrderState, Wish};

impl Draft {
    /// Looks whether the last certificate (or the last refund) was the one the order waited for.
    pub(super) fn conclude(&mut self) {
        if self.order.state.is_terminal()
            || self.order.uncertified().next().is_some()
            || self.order.surplus_outstanding()
        {
            return;
        }
        let failure = if self.order.attempts.iter().any(|a| a.capture.is_some()) {
            Some(Failure::Returned)
        } else if self.order.wish == Wish::Cancel {
            Some(Failure::Cancelled)
        } else if self.expired() || self.order.state == OrderState::Suspicious {
            Some(Failure::Expired)
        } else if self.order.wish == Wish::Collect && self.last_was_closed_unasked() {
            Some(Failure::ClosedByChannel)
        } else {
            None // one more attempt: `resume` owes the routing
        };
        if let Some(failure) = failure {
            self.fail(failure);
        }
    }

    /// The channel closed a credential the payer was looking at; starting another unasked would surprise.
    fn last_was_closed_unasked(&self) -> bool {
        self.order
            .attempts
            .last()
            .is_some_and(|a| a.certificate == Some(Certificate::Closed) && a.close_asked_at.is_none())
    }

    pub(super) fn fail(&mut self, failure: Failure) {
        // The first reason a backend was given stays: a late capture that goes back does not change it.
        let failure = self.order.failure.unwrap_or(failure);
        self.push(Fact::StateChanged { to: OrderState::Failed, failure: Some(failure) });
    }

    pub(super) fn cancel_asked(&mut self) {
        self.wish(Wish::Cancel);
        self.drop_calling(&NeverExposed::Cancelled);
        self.close_live();
        self.conclude();
    }

    /// Past its end an order is closed; past the grace without a certificate it is suspicious, never failed.
    pub(super) fn tick(&mut self) {
        if !self.expired() {
            return;
        }
        self.drop_calling(&NeverExposed::Expired);
        self.close_live();
        self.conclude();
        let grace_over = self.now >= self.order.request.expires_at.plus(self.rules.certify_grace);
        if grace_over && self.order.attempts.iter().any(Attempt::is_live) {
            self.push(Fact::StateChanged { to: OrderState::Suspicious, failure: None });
        }
    }
}
