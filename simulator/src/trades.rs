//! The channels' own books: what really happened to every trade and every refund.
//!
//! These are the truth that the house is measured against, so they are plain: no promises, no retries. A trade is paid
//! at most once, whatever is asked how often; a refund number gives back at most once. What no channel would do
//! (a refund above its capture, one number with two amounts) is a fault of the house and is kept for the oracle.

use std::{collections::BTreeMap, time::Duration};

use domain::{
    Answer, Capture, Credential, Found, Money, Refusal, Timestamp,
    channel::{
        CloseAnswer, Fault, PrepayAnswer, PrepayAsk, QueryAnswer, RefundAnswer, RefundAsk, RefundFound,
        RefundProgress, StillOpen,
    },
};

/// Where a trade stands at its channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Trade {
    /// The payer can pay; on the direct channel: the gateway works on it.
    Open,
    /// The money was taken.
    Paid(Capture),
    /// It will not be paid, unless the channel breaks its word.
    Closed,
    /// Refused for good.
    Declined(Refusal),
}

/// A trade with what was asked.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) channel: usize,
    pub(crate) amount: Money,
    pub(crate) expires_at: Timestamp,
    pub(crate) trade: Trade,
}

/// A refund at its channel.
#[derive(Debug, Clone)]
pub(crate) struct GivenBack {
    pub(crate) channel: usize,
    pub(crate) number: String,
    pub(crate) amount: Money,
    pub(crate) stands: Stands,
}

/// Where a refund stands at its channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stands {
    Processing,
    Done(Timestamp),
    /// The channel gave up; a new number may fare better.
    Abnormal,
}

/// The books of all channels.
#[derive(Debug, Default)]
pub(crate) struct Books {
    pub(crate) trades: BTreeMap<String, Entry>,
    pub(crate) refunds: BTreeMap<String, GivenBack>,
    /// What no house may do, as a code and a sentence.
    pub(crate) outrages: Vec<(&'static str, String)>,
    paid: u64,
}

/// What a direct debit comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Debit {
    Paid,
    NoBalance,
    /// Known after this long.
    Works(Duration),
}

/// How a refund starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Start {
    Done,
    Works,
    Abnormal,
}

pub(crate) fn refusal(code: &str, fault: Fault) -> Refusal {
    Refusal { code: code.to_owned(), message: "the simulation says so".to_owned(), fault }
}

impl Entry {
    /// The channel's final word, if there is one at `now`: an unpaid trade past its end is closed by the channel.
    fn found(&self, now: Timestamp) -> Option<Found> {
        match &self.trade {
            Trade::Open if now > self.expires_at => Some(Found::Closed),
            Trade::Open => None,
            Trade::Paid(capture) => Some(Found::Captured(capture.clone())),
            Trade::Closed => Some(Found::Closed),
            Trade::Declined(refusal) => Some(Found::Declined(refusal.clone())),
        }
    }
}

impl Books {
    /// A credential is asked for; the number is the key, so a repeat gets the same one.
    pub(crate) fn prepay(
        &mut self,
        channel: usize,
        ask: &PrepayAsk,
        now: Timestamp,
        refuses: bool,
    ) -> PrepayAnswer {
        let number = ask.channel_order_no.to_string();
        if refuses && !self.trades.contains_key(&number) {
            return Answer::Declined(refusal("ACCOUNT_ERROR", Fault::Payer));
        }
        if now > ask.expires_at {
            return Answer::Declined(refusal("TIME_EXPIRE_INVALID", Fault::Ours));
        }
        let new = Entry { channel, amount: ask.amount, expires_at: ask.expires_at, trade: Trade::Open };
        let entry = self.trades.entry(number.clone()).or_insert(new);
        if entry.amount != ask.amount {
            let what = format!("{number} was asked for with {} and then with {}", entry.amount, ask.amount);
            self.outrages.push(("number_reused", what));
            return Answer::Declined(refusal("OUT_TRADE_NO_USED", Fault::Ours));
        }
        match entry.trade {
            Trade::Open => Answer::Accepted(Some(Credential::Qr { code_url: format!("sim:{number}") })),
            Trade::Paid(_) => Answer::Declined(refusal("ORDERPAID", Fault::State)),
            Trade::Closed | Trade::Declined(_) => Answer::Declined(refusal("ORDERCLOSED", Fault::State)),
        }
    }

    /// A debit is asked for. A number that was closed before it came is refused for good.
    pub(crate) fn debit(
        &mut self,
        channel: usize,
        ask: &PrepayAsk,
        now: Timestamp,
        comes_to: Debit,
    ) -> PrepayAnswer {
        let number = ask.channel_order_no.to_string();
        if !self.trades.contains_key(&number) {
            let trade = if comes_to == Debit::NoBalance {
                Trade::Declined(refusal("INSUFFICIENT_BALANCE", Fault::Payer))
            } else {
                Trade::Open
            };
            let new =
                Entry { channel, amount: ask.amount, expires_at: Timestamp::from_micros(i64::MAX), trade };
            self.trades.insert(number.clone(), new);
            if comes_to == Debit::Paid {
                self.pay(&number, ask.amount, now, false);
            }
        }
        match self.trades.get(&number).and_then(|entry| entry.found(now)) {
            Some(found) => Answer::Settled(found),
            None => Answer::Accepted(None),
        }
    }

    pub(crate) fn query(&self, number: &str, now: Timestamp) -> QueryAnswer {
        match self.trades.get(number) {
            None => Answer::Accepted(StillOpen::NotFound),
            Some(entry) => match entry.found(now) {
                Some(found) => Answer::Settled(found),
                None => Answer::Accepted(StillOpen::Pending),
            },
        }
    }

    /// A close. A paid trade stays paid; a number that was never seen on the direct channel becomes a tombstone.
    pub(crate) fn close(
        &mut self,
        channel: usize,
        number: &str,
        direct: bool,
        now: Timestamp,
        blunt: bool,
    ) -> CloseAnswer {
        if !self.trades.contains_key(number) {
            if !direct {
                return Answer::Accepted(StillOpen::NotFound);
            }
            let expires_at = Timestamp::from_micros(i64::MAX);
            let new = Entry { channel, amount: Money::ZERO, expires_at, trade: Trade::Closed };
            self.trades.insert(number.to_owned(), new);
        }
        let Some(entry) = self.trades.get_mut(number) else { return Answer::Accepted(StillOpen::NotFound) };
        if entry.trade == Trade::Open {
            entry.trade = Trade::Closed;
        }
        match entry.found(now) {
            Some(Found::Captured(_)) if blunt => Answer::Declined(refusal("ORDERPAID", Fault::State)),
            Some(found) => Answer::Settled(found),
            None => Answer::Accepted(StillOpen::Pending),
        }
    }

    /// The payer (or the gateway) moves the money, if the trade lets it. `defiant`: a closed one, too.
    pub(crate) fn pay(&mut self, number: &str, amount: Money, now: Timestamp, defiant: bool) -> bool {
        let Some(entry) = self.trades.get_mut(number) else { return false };
        let lets = match entry.trade {
            Trade::Open => now <= entry.expires_at || defiant,
            Trade::Closed => defiant,
            Trade::Paid(_) | Trade::Declined(_) => false,
        };
        if lets {
            self.paid += 1;
            entry.trade = Trade::Paid(Capture { amount, trade_no: format!("T{}", self.paid), at: now });
        }
        lets
    }

    /// A refund is asked for; its number is the key.
    pub(crate) fn refund(
        &mut self,
        channel: usize,
        ask: &RefundAsk,
        now: Timestamp,
        start: Start,
    ) -> RefundAnswer {
        let number = ask.channel_order_no.to_string();
        let refund_no = ask.refund_no.to_string();
        if let Some(known) = self.refunds.get(&refund_no) {
            if known.amount != ask.amount {
                let what = format!(
                    "refund {refund_no} was asked for with {} and then with {}",
                    known.amount, ask.amount
                );
                self.outrages.push(("refund_number_reused", what));
                return Answer::Declined(refusal("PARAM_ERROR", Fault::Ours));
            }
            return self.refund_query(&refund_no);
        }
        let Some(Trade::Paid(capture)) = self.trades.get(&number).map(|entry| &entry.trade) else {
            let what = format!("refund {refund_no} is for {number}, which took nothing");
            self.outrages.push(("refund_of_nothing", what));
            return Answer::Declined(refusal("TRADE_NOT_PAID", Fault::Ours));
        };
        let back: i64 = (self.refunds.values())
            .filter(|r| r.number == number && r.stands != Stands::Abnormal)
            .map(|r| r.amount.fen())
            .sum();
        if back + ask.amount.fen() > capture.amount.fen() {
            let what = format!(
                "refund {refund_no} of {} for {number}, which took {} and gave back {back} fen",
                ask.amount, capture.amount
            );
            self.outrages.push(("refund_exceeds", what));
            return Answer::Declined(refusal("NOT_ENOUGH", Fault::Ours));
        }
        let stands = match start {
            Start::Done => Stands::Done(now),
            Start::Works => Stands::Processing,
            Start::Abnormal => Stands::Abnormal,
        };
        self.refunds.insert(refund_no.clone(), GivenBack { channel, number, amount: ask.amount, stands });
        self.refund_query(&refund_no)
    }

    pub(crate) fn refund_query(&self, refund_no: &str) -> RefundAnswer {
        match self.refunds.get(refund_no) {
            None => Answer::Accepted(RefundProgress::NotFound),
            Some(GivenBack { stands: Stands::Processing, .. }) => {
                Answer::Accepted(RefundProgress::Processing)
            }
            Some(given) => match refund_found(refund_no, given) {
                Some(found) => Answer::Settled(found),
                None => Answer::Accepted(RefundProgress::Processing),
            },
        }
    }

    /// True while a payer who holds the credential can pay with it, by the channel's own rules.
    pub(crate) fn payable(&self, number: &str, now: Timestamp) -> bool {
        self.trades.get(number).is_some_and(|e| e.trade == Trade::Open && now <= e.expires_at)
    }

    /// What the trade took, if it took anything.
    pub(crate) fn capture(&self, number: &str) -> Option<&Capture> {
        match &self.trades.get(number)?.trade {
            Trade::Paid(capture) => Some(capture),
            Trade::Open | Trade::Closed | Trade::Declined(_) => None,
        }
    }
}

/// The channel's final word on a refund.
pub(crate) fn refund_found(refund_no: &str, given: &GivenBack) -> Option<RefundFound> {
    match given.stands {
        Stands::Processing => None,
        Stands::Done(at) => Some(RefundFound::Succeeded {
            channel_refund_id: format!("B{refund_no}"),
            amount: given.amount,
            at,
        }),
        Stands::Abnormal => Some(RefundFound::Failed { code: "ABNORMAL".to_owned() }),
    }
}
