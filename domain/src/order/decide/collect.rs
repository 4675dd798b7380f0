//! Starting attempts and showing credentials.

use super::{Draft, Rejected, nothing_live, wants_attempt};
use crate::{
    Answer, AttemptNo, ChannelId, ChannelKind, Credential, Evidence, EvidenceSource, Scene,
    channel::{Fault, PrepayAnswer},
    order::{Attempt, AttemptCause, Certificate, Elsewhere, Fact, Failure, NeverExposed, OrderState, Wish},
    planted,
    routing::Choice,
};

impl Draft {
    /// The router's word on an order that wanted an attempt when it asked.
    pub(super) fn routed(&mut self, choice: &Choice) {
        if !wants_attempt(&self.order, self.now) {
            return; // overtaken: cancelled, expired, or routed by another question
        }
        match choice {
            Choice::Use { channel, kind, reason, .. } => {
                if *kind == ChannelKind::Direct && !nothing_live(&self.order) {
                    return; // the old credential can still be paid; the router is asked again when it cannot
                }
                let cause = match (&self.order.wish, self.order.attempts.is_empty()) {
                    (Wish::Switch { .. }, _) => AttemptCause::Switch,
                    (_, true) => AttemptCause::First,
                    (_, false) => AttemptCause::Next,
                };
                self.plan(channel, *kind, cause, reason);
            }
            Choice::Wait { reason } if self.order.waiting_since.is_none() => {
                self.push(Fact::MadeToWait { reason: reason.clone(), at: self.now });
            }
            Choice::Wait { .. } => {}
            Choice::Exhausted { .. } => match self.in_a_browser() {
                Some(elsewhere) => self.push(Fact::Elsewhere { elsewhere }),
                None => self.exhausted(),
            },
        }
    }

    /// Nothing serves the payer in place: a cashier page in the browser does, if the payer's address is known.
    fn in_a_browser(&self) -> Option<Elsewhere> {
        let untried = self.order.scene() == Scene::Jsapi && self.order.uncertified().next().is_none();
        self.order.client_ip().filter(|_| untried)?;
        Some(Elsewhere { scene: Scene::H5, client_ip: None })
    }

    /// The payer's client cannot pay what it was given. That credential is closed first, like at every switch; the same
    /// channel is as good as before.
    pub(super) fn elsewhere_asked(&mut self, elsewhere: &Elsewhere) -> Result<(), Rejected> {
        let known = elsewhere.client_ip.is_some() || self.order.client_ip().is_some();
        if elsewhere.scene == Scene::H5 && !known {
            return Err(Rejected::AddressNeeded);
        }
        if self.order.wish == Wish::Cancel || self.expired() || self.order.scene() == elsewhere.scene {
            return Ok(());
        }
        self.push(Fact::Elsewhere { elsewhere: elsewhere.clone() });
        if let Some(last) = self.order.attempts.last().map(|a| a.channel.clone()) {
            self.wish(Wish::Switch { to: Some(last) });
        }
        self.drop_calling(&NeverExposed::Withheld);
        self.close_live();
        Ok(())
    }

    /// No channel is left. A payer who wanted another way keeps the old one if it can still be paid.
    fn exhausted(&mut self) {
        if self.order.uncertified().next().is_some() {
            self.wish(Wish::Collect);
        } else {
            self.fail(Failure::Declined);
        }
    }

    /// Writes an attempt down. On a direct channel that is the moment of exposure: the call moves money.
    fn plan(&mut self, channel: &ChannelId, kind: ChannelKind, cause: AttemptCause, reason: &str) {
        let used = u8::try_from(self.order.attempts.len()).unwrap_or(u8::MAX);
        let next = AttemptNo::new(used.saturating_add(1)).filter(|_| used < self.rules.attempts_max);
        let Some(no) = next else {
            return self.exhausted();
        };
        self.push(Fact::AttemptPlanned {
            no,
            channel: channel.clone(),
            kind,
            cause,
            reason: reason.to_owned(),
            at: self.now,
        });
        self.wish(Wish::Collect);
        if kind == ChannelKind::Direct {
            self.push(Fact::Exposed { no, credential: None, at: self.now });
            self.enter(OrderState::Processing);
        }
    }

    /// A silent prepay gets a rival on another channel; the first credential to arrive is shown.
    pub(super) fn hedge_due(&mut self, no: AttemptNo, choice: &Choice) -> Result<(), Rejected> {
        let silent = self.known(no)?;
        let rivals = self.order.uncertified().any(|a| a.no != no && (a.is_calling() || !a.refund_prebooked));
        if !silent.is_calling() || rivals || self.order.wish != Wish::Collect || self.expired() {
            return Ok(());
        }
        let Choice::Use { channel, kind, reason, .. } = choice else {
            return Ok(()); // nowhere to go: the silent prepay is repeated under its own number
        };
        if *channel == silent.channel {
            return Ok(());
        }
        if *kind == ChannelKind::Direct {
            if !nothing_live(&self.order) {
                return Ok(());
            }
            // Its credential, should it still come, is never shown: nobody can pay it.
            self.drop_calling(&NeverExposed::Withheld);
        }
        self.plan(channel, *kind, AttemptCause::Hedge, reason);
        Ok(())
    }

    /// A prepay came back.
    pub(super) fn prepaid(
        &mut self,
        no: AttemptNo,
        answer: &PrepayAnswer,
        only_call: bool,
    ) -> Result<(), Rejected> {
        let attempt = self.known(no)?;
        let (calling, direct) = (attempt.is_calling(), attempt.kind == ChannelKind::Direct);
        let open = attempt.certificate.is_none();
        match answer {
            Answer::Accepted(Some(credential)) if calling => self.credential_came(no, credential),
            Answer::Accepted(_) => {} // a repeat, an attempt that ended meanwhile, or a direct channel at work
            Answer::Settled(found) => {
                let evidence = Evidence {
                    source: EvidenceSource::Prepay,
                    reference: String::new(),
                    found: found.clone(),
                };
                self.found(no, &evidence)?;
            }
            // Nothing was made, and nobody holds it: that ends an attempt that is not direct, unless the
            // channel is merely over its quota; then the same number is tried again.
            Answer::Declined(refusal) if calling && refusal.fault != Fault::Channel => {
                let why = NeverExposed::Refused { refusal: refusal.clone() };
                self.certify(no, Certificate::NeverExposed(why));
                self.conclude();
            }
            Answer::Declined(_) => {} // on a direct channel only signed evidence is final
            Answer::NeverSent(_) if direct && open && only_call => {
                self.certify(no, Certificate::NeverExposed(NeverExposed::NotSent));
                self.conclude();
            }
            Answer::Silent(_) if planted::FAILED_ON_SILENCE && open => {
                self.certify(no, Certificate::NeverExposed(NeverExposed::NotSent));
                self.conclude();
            }
            Answer::NeverSent(_) | Answer::Silent(_) => {} // unknown is never failed
        }
        Ok(())
    }

    /// We hold a credential nobody has seen: show it, unless something came first.
    fn credential_came(&mut self, no: AttemptNo, credential: &Credential) {
        let rival = |a: &Attempt| a.no != no && a.is_live() && !a.refund_prebooked;
        let rival_shown = self.order.uncertified().any(rival) && !planted::EXPOSE_EARLY;
        let withhold = match self.order.state {
            OrderState::Success | OrderState::Failed | OrderState::Suspicious => Some(NeverExposed::Outrun),
            OrderState::Pending | OrderState::Processing if rival_shown => Some(NeverExposed::Outrun),
            OrderState::Pending | OrderState::Processing if self.order.wish == Wish::Cancel => {
                Some(NeverExposed::Cancelled)
            }
            OrderState::Pending | OrderState::Processing if self.expired() => Some(NeverExposed::Expired),
            OrderState::Pending | OrderState::Processing => None,
        };
        if let Some(why) = withhold {
            self.certify(no, Certificate::NeverExposed(why));
            return self.conclude();
        }
        self.push(Fact::Exposed { no, credential: Some(credential.clone()), at: self.now });
        self.drop_calling(&NeverExposed::Outrun);
        self.enter(OrderState::Processing);
    }

    /// The payer wants another way. What nobody holds ends at once; what is shown must be closed first.
    pub(super) fn switch_asked(&mut self, to: Option<&ChannelId>, consent: bool) {
        if self.order.wish == Wish::Cancel || self.expired() {
            return;
        }
        if let Some(channel) = to.filter(|c| consent && !self.order.all_consents().any(|have| have == *c)) {
            self.push(Fact::Consented { channel: channel.clone() });
        }
        if to.is_some_and(|c| self.order.shown().is_some_and(|a| a.channel == *c)) {
            return; // that way is open already
        }
        self.wish(Wish::Switch { to: to.cloned() });
        self.drop_calling(&NeverExposed::Withheld);
        self.close_live();
    }

    /// The close that a switch waits for stays silent: let the payer on, and promise the refund now.
    pub(super) fn close_unanswered(&mut self, no: AttemptNo) -> Result<(), Rejected> {
        let attempt = self.known(no)?;
        let patience_over =
            attempt.close_asked_at.is_some_and(|asked| self.now >= asked.plus(self.rules.close_patience));
        let waiting = matches!(self.order.wish, Wish::Switch { .. });
        let can_prebook =
            attempt.is_live() && !attempt.refund_prebooked && attempt.kind == ChannelKind::Credential;
        // One pre-booked attempt at a time, so that at most two credentials of an order are ever payable.
        let another = self.order.uncertified().any(|a| a.refund_prebooked);
        if waiting && patience_over && can_prebook && !another {
            self.push(Fact::RefundPrebooked { no });
        }
        Ok(())
    }

    /// The leisurely close of an attempt that was never exposed is over.
    pub(super) fn tidy_done(&mut self, no: AttemptNo) -> Result<(), Rejected> {
        let attempt = self.known(no)?;
        if attempt.certificate.is_some() && !Attempt::is_tidy(attempt) {
            self.push(Fact::Tidied { no });
        }
        Ok(())
    }
}
