//! Orders that are paid in parts: what was seen of a part moves the whole, and all or nothing is kept.

use super::{Draft, Rejected, refunds::REFUNDS_MAX};
use crate::{
    Money,
    order::{
        Event, Fact, Failure, OrderState, PartSeen, PartState, RefundState, Spread, TakenOver, Wish,
        part::RECALL,
    },
    planted,
};

impl Draft {
    /// Events of a split order. Attempts, credentials and deadlines are its parts' business.
    pub(super) fn split(&mut self, event: &Event) -> Result<(), Rejected> {
        match event {
            Event::PartSeen { no, seen } => self.part_seen(*no, seen),
            Event::CancelAsked => self.cancel_parts(),
            Event::RefundAsked { backend_no, amount, reason, besides_taken_over } => {
                self.spread_asked(backend_no, *amount, reason, *besides_taken_over)
            }
            Event::SwitchAsked { .. }
            | Event::ElsewhereAsked(_)
            | Event::LateWanted
            | Event::HeldReturned { .. }
            | Event::RefundAdopted { .. } => Err(Rejected::IsSplit),
            Event::Routed(_)
            | Event::HedgeDue { .. }
            | Event::Prepaid { .. }
            | Event::Found { .. }
            | Event::CloseUnanswered { .. }
            | Event::TidyDone { .. }
            | Event::RefundAnswered { .. }
            | Event::Tick => Ok(()),
        }
    }

    fn part_seen(&mut self, no: u8, seen: &PartSeen) -> Result<(), Rejected> {
        let part = self.order.part(no).ok_or(Rejected::UnknownPart(no))?;
        let recalled = self.order.recalled.is_some();
        let to = match (part.state, seen.state) {
            // Ended is ended; a late capture of a failed part is sent back by the part itself.
            (PartState::Failed | PartState::Returned, _) => part.state,
            (_, OrderState::Pending) => part.state,
            (_, OrderState::Processing) => PartState::Payable,
            (_, OrderState::Suspicious) => PartState::Suspicious,
            (_, OrderState::Success)
                if recalled && (planted::KEPT_PART || seen.settled && seen.net.is_zero()) =>
            {
                PartState::Returned
            }
            (_, OrderState::Success) => PartState::Paid,
            (_, OrderState::Failed) => PartState::Failed,
        };
        if to != part.state {
            self.push(Fact::PartMoved { no, to });
        }
        self.adopted_seen(no, seen);
        self.spreads_seen(no, seen);
        if self.order.state.is_terminal() {
            return Ok(());
        }
        let gave_up = seen.refunds.iter().any(|(no, state)| no == RECALL && *state == RefundState::Failed);
        if self.order.recalled.is_none() {
            let all_paid = self.order.parts.iter().all(|p| p.state == PartState::Paid);
            let failure = match to {
                PartState::Failed => Some(seen.failure.unwrap_or(Failure::Declined)),
                // Called off: the next part was never begun, since its turn begins with this very fact.
                PartState::Paid if self.order.wish == Wish::Cancel && !all_paid => Some(Failure::Cancelled),
                _ => None,
            };
            if let Some(failure) = failure {
                self.push(Fact::Recalled { failure, at: self.now });
            }
        }
        self.whole(gave_up);
        Ok(())
    }

    /// What the parts together mean for the whole. `gave_up`: a channel will not give back what must go back.
    fn whole(&mut self, gave_up: bool) {
        let any = |state: PartState| self.order.parts.iter().any(|p| p.state == state);
        let held = any(PartState::Paid) || any(PartState::Payable) || any(PartState::Suspicious);
        match self.order.recalled {
            None if self.order.parts.iter().all(|p| p.state == PartState::Paid) => {
                self.enter(OrderState::Success);
            }
            Some((failure, _)) if !held => self.fail(failure),
            _ if gave_up || any(PartState::Suspicious) => self.enter(OrderState::Suspicious),
            _ if held => self.enter(OrderState::Processing),
            _ => {}
        }
    }

    /// Called off. The part whose turn it is may be paid at this very moment, or exist without our having seen it:
    /// it is called off first, and what it says decides.
    fn cancel_parts(&mut self) -> Result<(), Rejected> {
        match self.order.state {
            OrderState::Success => Err(Rejected::AlreadyPaid),
            OrderState::Failed => Ok(()),
            OrderState::Pending | OrderState::Processing | OrderState::Suspicious => {
                self.wish(Wish::Cancel);
                Ok(())
            }
        }
    }

    /// Spreads a refund over the parts, the first part first.
    fn spread_asked(
        &mut self,
        backend_no: &str,
        amount: Money,
        reason: &str,
        besides_taken_over: bool,
    ) -> Result<(), Rejected> {
        if self.order.state != OrderState::Success {
            return Err(Rejected::NotPaid(self.order.state));
        }
        if let Some(known) = self.order.spreads.iter().find(|s| s.backend_no == backend_no) {
            let same = known.amount == amount;
            return if same { Ok(()) } else { Err(Rejected::RefundNoReused { amount: known.amount }) };
        }
        if amount.is_zero() {
            return Err(Rejected::RefundOfNothing);
        }
        self.is_no_repeat(amount, besides_taken_over)?;
        let (mut missing, mut shares) = (amount.fen(), Vec::new());
        let mut left_in_all = 0;
        for part in &self.order.parts {
            // Below zero if a part gave more back than the whole asked for, as bills may say.
            let left = (part.amount.fen() - self.order.going_of_part(part.no)).max(0);
            left_in_all += left;
            let share = left.min(missing);
            if let Some(share) = Money::from_fen(share).ok().filter(|m| !m.is_zero()) {
                shares.push((part.no, share));
            }
            missing -= share;
        }
        if missing > 0 {
            return Err(Rejected::RefundExceeds {
                left: Money::from_fen(left_in_all).unwrap_or(Money::ZERO),
            });
        }
        let n = u8::try_from(self.order.spreads.len()).unwrap_or(u8::MAX).saturating_add(1);
        if n > REFUNDS_MAX {
            return Err(Rejected::TooManyRefunds);
        }
        self.push(Fact::SpreadBooked {
            refund_no: self.order.id.refund_no(n),
            backend_no: backend_no.to_owned(),
            amount,
            reason: reason.to_owned(),
            shares,
            at: self.now,
        });
        Ok(())
    }

    /// What a part took over from a bill is a refund of the whole that came back at once: the backend is told about the
    /// whole alone, and what it asks for next must not count that money again.
    fn adopted_seen(&mut self, part: u8, seen: &PartSeen) {
        for TakenOver { no, amount, at } in &seen.adopted {
            let backend_no = Spread::adopted(no);
            let n = u8::try_from(self.order.spreads.len()).unwrap_or(u8::MAX).saturating_add(1);
            if n > REFUNDS_MAX || self.order.spreads.iter().any(|s| s.backend_no == backend_no) {
                continue;
            }
            let refund_no = self.order.id.refund_no(n);
            self.push(Fact::SpreadBooked {
                refund_no: refund_no.clone(),
                backend_no,
                amount: *amount,
                reason: "taken over from the channel's bill".to_owned(),
                shares: vec![(part, *amount)],
                at: self.now,
            });
            self.push(Fact::ShareEnded { refund_no: refund_no.clone(), part, to: RefundState::Succeeded });
            self.push(Fact::SpreadEnded { refund_no, to: RefundState::Succeeded, done_at: *at });
        }
    }

    /// A share ends with its part's refund; a spread ends with its last share: back if all are back. A share that its
    /// part cannot give any more, since a refund was taken over from a bill meanwhile, has failed.
    fn spreads_seen(&mut self, part: u8, seen: &PartSeen) {
        let numbers: Vec<_> = self.order.spreads.iter().map(|s| s.no.clone()).collect();
        for refund_no in numbers {
            let Some(spread) = self.order.spread(&refund_no).filter(|s| !s.state.is_final()) else {
                continue;
            };
            let Some(share) = spread.shares.iter().find(|s| s.part == part && !s.state.is_final()) else {
                continue;
            };
            let word = seen.refunds.iter().find(|(backend_no, _)| *backend_no == spread.backend_no);
            let to = match word {
                Some((_, state)) if state.is_final() => *state,
                None if !seen.adopted.is_empty() && share.amount > seen.refundable => RefundState::Failed,
                Some(_) | None => continue,
            };
            self.push(Fact::ShareEnded { refund_no: refund_no.clone(), part, to });
            let shares = self.order.spread(&refund_no).map(|s| s.shares.clone()).unwrap_or_default();
            if shares.iter().all(|s| s.state.is_final()) {
                let back = shares.iter().all(|s| s.state == RefundState::Succeeded);
                let to = if back { RefundState::Succeeded } else { RefundState::Failed };
                self.push(Fact::SpreadEnded { refund_no, to, done_at: None });
            }
        }
    }
}
