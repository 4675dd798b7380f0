//! Reconciliation: our rows against a channel's bill, both ways, by number; each difference with a prepared fix.
//!
//! [`compare`] looks from the bill to our rows, [`absent`] from our rows to the bill; together they see everything
//! that either side holds. Both judge one number at a time, so whoever walks the two sides needs memory for a page
//! and not for a day. What a fix does, and whether it still applies, is [`fix`]'s business. Amounts are fen.

pub mod fix;
#[cfg(test)]
mod proofs;

use serde::{Deserialize, Serialize};

use crate::{ChannelId, Money, OrderId, Timestamp};

pub use fix::{DifferenceState, Fix};

/// What a line of a bill says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum BillKind {
    /// Money came in.
    Payment,
    /// Money went back.
    Refund,
    /// A payment was taken back as if it had not been.
    Reversal,
}

/// One line of a bill.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BillLine {
    /// Where it stands in the file, from 1.
    pub line: usize,
    /// What it says.
    pub kind: BillKind,
    /// Our number of the trade; empty where the channel's refund lines do not repeat it.
    pub channel_order_no: String,
    /// Our number of the refund.
    pub refund_no: Option<String>,
    /// The channel's own number of the trade, or of the refund.
    pub trade_no: String,
    /// How much, never negative.
    pub amount: Money,
    /// What the channel keeps of it, fen; negative if it gives some back.
    pub fee_fen: i64,
    /// When, by the channel's clock.
    pub at: Timestamp,
}

impl BillLine {
    /// What the line is about, and under which number both sides know it.
    #[must_use]
    pub fn key(&self) -> (Subject, &str) {
        match (&self.refund_no, self.kind) {
            (Some(refund_no), BillKind::Refund) => (Subject::Refund, refund_no),
            // A channel that names a reversal by a number of its own, like a refund.
            (Some(refund_no), BillKind::Reversal) if self.channel_order_no.is_empty() => {
                (Subject::Refund, refund_no)
            }
            _ => (Subject::Payment, &self.channel_order_no),
        }
    }
}

/// What a number names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Subject {
    /// A trade, by its channel order number.
    Payment,
    /// A refund, by its refund number.
    Refund,
}

impl Subject {
    /// The word in the store and the API.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Subject::Payment => "payment",
            Subject::Refund => "refund",
        }
    }

    /// The subject behind a word.
    #[must_use]
    pub fn parse(word: &str) -> Option<Subject> {
        [Subject::Payment, Subject::Refund].into_iter().find(|subject| subject.as_str() == word)
    }
}

/// All lines of one bill under one number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Theirs {
    /// What the number names.
    pub subject: Subject,
    /// The number.
    pub number: String,
    /// Of a refund, our number of the trade that it gave back, where the bill repeats it.
    pub of_trade: Option<String>,
    /// The channel's own number, of the first line.
    pub trade_no: String,
    /// Lines that took (of a trade) or gave back (of a refund).
    pub lines: u64,
    /// Their sum.
    pub fen: i64,
    /// Taken back of a trade as if it had not been.
    pub reversed_fen: i64,
    /// The fee of all lines.
    pub fee_fen: i64,
    /// The first line's place in the file.
    pub line: u64,
    /// The first line's moment.
    pub at: Timestamp,
}

impl Theirs {
    /// What the channel holds, or has given back, by its bill.
    #[must_use]
    pub const fn net_fen(&self) -> i64 {
        self.fen - self.reversed_fen
    }
}

/// What our rows say under one number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ours {
    /// What the number names.
    pub subject: Subject,
    /// The number.
    pub number: String,
    /// The order it belongs to; none for a refund of our own that belongs to no order.
    pub order: Option<OrderId>,
    /// The channel it is at.
    pub channel: String,
    /// Where the attempt or refund stands, in its own word.
    pub state: String,
    /// What was captured, or given back for good; none if (so far) nothing.
    pub fen: Option<i64>,
    /// The channel's own number, once known.
    pub trade_no: Option<String>,
    /// When the channel captured it or gave it back.
    pub at: Option<Timestamp>,
}

/// How two sides differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DifferenceKind {
    /// We hold a capture that the channel's bill does not have.
    MissingAtChannel,
    /// The bill has a payment under a number that is not ours.
    MissingHere,
    /// Both have the payment, with different amounts.
    Amount,
    /// Both know the trade, and only one holds money for it.
    State,
    /// Anything about a refund: not here, not there, or another amount.
    Refund,
    /// The channel kept another fee than was agreed.
    Fee,
}

impl DifferenceKind {
    /// Every kind.
    pub const ALL: [DifferenceKind; 6] = [
        DifferenceKind::MissingAtChannel,
        DifferenceKind::MissingHere,
        DifferenceKind::Amount,
        DifferenceKind::State,
        DifferenceKind::Refund,
        DifferenceKind::Fee,
    ];

    /// The word in the store, the API and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            DifferenceKind::MissingAtChannel => "missing_at_channel",
            DifferenceKind::MissingHere => "missing_here",
            DifferenceKind::Amount => "amount",
            DifferenceKind::State => "state",
            DifferenceKind::Refund => "refund",
            DifferenceKind::Fee => "fee",
        }
    }

    /// The kind behind a word.
    #[must_use]
    pub fn parse(word: &str) -> Option<DifferenceKind> {
        DifferenceKind::ALL.into_iter().find(|kind| kind.as_str() == word)
    }
}

/// One difference, as it was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// How the sides differ.
    pub kind: DifferenceKind,
    /// What the number names.
    pub subject: Subject,
    /// The number.
    pub number: String,
    /// The order behind it.
    pub order: Option<OrderId>,
    /// What our rows say.
    pub ours_fen: Option<i64>,
    /// What the bill says.
    pub theirs_fen: Option<i64>,
    /// The channel's own number.
    pub trade_no: String,
    /// Where it stands in the bill.
    pub line: Option<u64>,
    /// When, by the side that has it.
    pub at: Option<Timestamp>,
    /// The attempt whose money went back by a refund that its order does not know; the fix takes the refund over.
    pub adopts: Option<String>,
    /// What is prepared.
    pub fix: Fix,
    /// What the fix is about, never negative.
    pub fix_fen: i64,
    /// The difference in a sentence.
    pub detail: String,
}

/// What was agreed with a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Terms {
    /// The fee of a payment in hundredths of a percent (60 is 0.6 %); without it fees are not compared.
    pub fee_bp: Option<u32>,
}

/// Channels round fees in their own way, and some take a fen at least.
const FEE_TOLERANCE_FEN: i64 = 1;

/// From the bill to our rows: what differs under one number. `ours` is what our rows say, whatever channel it is at;
/// `attempts` are those of the order that a refund number comes from, if the refund itself is not known.
#[must_use]
pub fn compare(
    channel: &ChannelId,
    theirs: &Theirs,
    ours: Option<&Ours>,
    attempts: &[Ours],
    terms: &Terms,
) -> Vec<Difference> {
    match theirs.subject {
        Subject::Payment => {
            let mut found: Vec<Difference> = payment(channel, theirs, ours).into_iter().collect();
            found.extend(fee(theirs, ours, terms));
            found
        }
        Subject::Refund if ours.is_none() => vec![unknown_refund(channel, theirs, attempts)],
        Subject::Refund => refund(theirs, ours).into_iter().collect(),
    }
}

/// A refund that no row of ours knows. Under a number of an order of ours it is one that the store has lost, and the order
/// takes it over; which of its payments went back, the bill says, or there is only one.
fn unknown_refund(channel: &ChannelId, theirs: &Theirs, attempts: &[Ours]) -> Difference {
    let (number, net) = (&theirs.number, theirs.net_fen());
    let here = || attempts.iter().filter(|ours| ours.channel == channel.as_str());
    let only = |mut found: Vec<&'_ Ours>| if found.len() == 1 { found.pop().cloned() } else { None };
    let of = match &theirs.of_trade {
        Some(trade) => here().find(|ours| ours.number == *trade).cloned(),
        None => only(here().filter(|ours| ours.fen.is_some()).collect()).or_else(|| only(here().collect())),
    };
    match of {
        Some(attempt) if net > 0 => {
            let detail = format!(
                "the bill gives {net} fen of {} back under {number}, which its order does not know",
                attempt.number
            );
            let found = found(theirs, None, DifferenceKind::Refund, Fix::Mark, net, detail);
            Difference { order: attempt.order, adopts: Some(attempt.number), ..found }
        }
        Some(_) | None => {
            let detail = format!("the bill gives {net} fen back under {number}, which is no number of ours");
            found(theirs, None, DifferenceKind::Refund, Fix::WriteOff, net, detail)
        }
    }
}

/// From our rows to the bill: a capture or refund of ours that no bill has.
#[must_use]
pub fn absent(ours: &Ours) -> Difference {
    let (number, fen) = (&ours.number, ours.fen.unwrap_or(0));
    let (kind, fix, detail) = match ours.subject {
        Subject::Payment => (
            DifferenceKind::MissingAtChannel,
            Fix::WriteOff,
            format!("we hold {fen} fen under {number}, and the bill does not have it"),
        ),
        Subject::Refund => (
            DifferenceKind::Refund,
            Fix::Refund,
            format!("we gave {fen} fen back under {number}, and the bill does not have it"),
        ),
    };
    Difference {
        kind,
        subject: ours.subject,
        number: number.clone(),
        order: ours.order,
        ours_fen: ours.fen,
        theirs_fen: None,
        trade_no: ours.trade_no.clone().unwrap_or_default(),
        line: None,
        at: ours.at,
        adopts: None,
        fix,
        fix_fen: fen,
        detail,
    }
}

/// Whether a moment is so close to an end of the day that the line may stand on the neighbouring day's bill.
#[must_use]
pub fn near(at: Timestamp, end: Timestamp, edge: std::time::Duration) -> bool {
    at.since(end) <= edge && end.since(at) <= edge
}

fn payment(channel: &ChannelId, theirs: &Theirs, ours: Option<&Ours>) -> Option<Difference> {
    use DifferenceKind as K;
    let (number, net) = (&theirs.number, theirs.net_fen());
    let Some(ours) = ours else {
        // Taken and taken back: nobody holds anything.
        return (net != 0).then(|| {
            let detail = format!("the bill has {net} fen under {number}, which is no number of ours");
            found(theirs, None, K::MissingHere, Fix::Refund, net, detail)
        });
    };
    if ours.channel != channel.as_str() {
        let detail = format!("{number} is ours at {}, and this bill has {net} fen under it", ours.channel);
        return Some(found(theirs, Some(ours), K::State, Fix::Refund, net, detail));
    }
    let Some(held) = ours.fen else {
        return (net > 0).then(|| {
            let detail = format!("the bill has {net} fen under {number}, our attempt is {}", ours.state);
            found(theirs, Some(ours), K::State, Fix::Mark, net, detail)
        });
    };
    if net == 0 {
        let detail = format!("we hold {held} fen under {number}, the channel took it back");
        return Some(found(theirs, Some(ours), K::State, Fix::WriteOff, held, detail));
    }
    if net != held {
        let times = if theirs.lines > 1 { format!(" in {} lines", theirs.lines) } else { String::new() };
        let detail = format!("the bill has {net} fen{times} under {number}, we hold {held} fen");
        let fix = if net > held { Fix::Refund } else { Fix::WriteOff };
        return Some(found(theirs, Some(ours), K::Amount, fix, net - held, detail));
    }
    if let Some(known) = ours.trade_no.as_ref().filter(|known| **known != theirs.trade_no) {
        let detail = format!("{number} is trade {} on the bill and {known} here", theirs.trade_no);
        return Some(found(theirs, Some(ours), K::State, Fix::WriteOff, 0, detail));
    }
    None
}

fn fee(theirs: &Theirs, ours: Option<&Ours>, terms: &Terms) -> Option<Difference> {
    let agreed = i64::from(terms.fee_bp?);
    if theirs.net_fen() <= 0 || ours.is_none() {
        return None; // a payment that is not ours is a larger question than its fee
    }
    let expected = (theirs.fen * agreed + 5_000) / 10_000;
    let over = theirs.fee_fen - expected;
    (over.abs() > FEE_TOLERANCE_FEN).then(|| {
        let detail =
            format!("the fee of {} is {} fen, agreed are {expected} fen", theirs.number, theirs.fee_fen);
        let mut difference = found(theirs, ours, DifferenceKind::Fee, Fix::WriteOff, over, detail);
        (difference.ours_fen, difference.theirs_fen) = (Some(expected), Some(theirs.fee_fen));
        difference
    })
}

fn refund(theirs: &Theirs, ours: Option<&Ours>) -> Option<Difference> {
    let (number, net) = (&theirs.number, theirs.net_fen());
    let (fix, fen, detail) = match ours.map(|ours| (ours, ours.fen)) {
        None => return None,
        Some((ours, None)) => {
            let detail =
                format!("the bill gives {net} fen back under {number}, our refund is {}", ours.state);
            (Fix::Mark, net, detail)
        }
        Some((_, Some(back))) if back == net => return None,
        Some((_, Some(back))) => {
            let detail = format!("the bill gives {net} fen back under {number}, here it is {back} fen");
            (if net < back { Fix::Refund } else { Fix::WriteOff }, back - net, detail)
        }
    };
    Some(found(theirs, ours, DifferenceKind::Refund, fix, fen, detail))
}

fn found(
    theirs: &Theirs,
    ours: Option<&Ours>,
    kind: DifferenceKind,
    fix: Fix,
    fen: i64,
    detail: String,
) -> Difference {
    Difference {
        kind,
        subject: theirs.subject,
        number: theirs.number.clone(),
        order: ours.and_then(|ours| ours.order),
        ours_fen: ours.and_then(|ours| ours.fen),
        theirs_fen: Some(theirs.net_fen()),
        trade_no: theirs.trade_no.clone(),
        line: Some(theirs.line),
        at: Some(theirs.at),
        adopts: None,
        fix,
        fix_fen: fen.abs(),
        detail,
    }
}
