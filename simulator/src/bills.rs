//! The channels' daily bills: true to their books but for what was planted, and what reconciliation must find in them.
//!
//! A bill is made once, when it is first asked for whole, and stays as it is. What is planted: a payment or a refund
//! that is left out, a payment of less than was taken or of more than its channel had said, another fee, money under a number
//! that is not ours (the channel really holds it), a refund that nobody made. The oracle compares bill and house by itself, number by number: each
//! difference is found once and typed, and none is invented.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
};

use bytes::Bytes;
use channels::{BillError, BillFile, BillKind, BillLine, BillRefused, EachLine};
use domain::{Capture, Money, Timestamp, channel::Fault, reconciliation::DifferenceKind};
use jiff::civil::Date;
use store::Difference;

use crate::{
    trades::{Entry, Stands, Trade, refusal},
    world::World,
};

/// What was agreed with every channel, in hundredths of a percent.
pub(crate) const FEE_BP: u32 = 60;
/// A bill is there and whole at this try at the latest.
const TRIES: u32 = 3;
/// Begins the numbers that are nobody's of ours.
const FOREIGN: &str = "foreign-";

/// A difference as the oracle expects it: its kind and number.
type Found = BTreeSet<(DifferenceKind, String)>;

/// The bills of all channels and what is known of them.
#[derive(Debug, Default)]
pub(crate) struct Bills {
    made: BTreeMap<(usize, Date), Vec<BillLine>>,
    /// How often each was asked for.
    tries: BTreeMap<(usize, Date), u32>,
    /// Days whose differences were judged, with how many there are.
    judged: BTreeMap<(usize, Date), usize>,
    /// Trades that took more than their channel had said, and by how much: only the bill tells.
    more: BTreeMap<String, i64>,
}

fn fee(fen: i64) -> i64 {
    (fen * i64::from(FEE_BP) + 5_000) / 10_000
}

/// True for the number of a refund that reconciliation sends beside an order.
pub(crate) fn is_beside(refund_no: &str) -> bool {
    refund_no.starts_with("rc")
}

/// True for a number that is nobody's of ours.
pub(crate) fn is_foreign(number: &str) -> bool {
    number.starts_with(FOREIGN)
}

impl World {
    /// One try to fetch a bill.
    pub(crate) fn bill(
        &mut self,
        channel: usize,
        day: Date,
        span: (Timestamp, Timestamp),
    ) -> Result<Bytes, BillError> {
        let try_again = |why: &str| Err(BillError::Silent(why.to_owned()));
        let tries = self.bills.tries.entry((channel, day)).or_default();
        *tries += 1;
        let patience = *tries < TRIES;
        let fate = self.dice.pick(&[(0.6, 0_u8), (0.15, 1), (0.1, 2), (0.05, 3), (0.1, 4)], 0);
        let fate = if patience { fate } else { 0 };
        match fate {
            1 => {
                self.count("bills not ready");
                return Err(BillError::NotReady);
            }
            2 => {
                self.count("bills without an answer");
                return try_again("the connection was lost");
            }
            3 => {
                self.count("bills refused by the channel");
                return Err(BillError::Declined(refusal("SYSTEM_BUSY", Fault::Channel)));
            }
            _ => {}
        }
        if !self.bills.made.contains_key(&(channel, day)) {
            let made = self.make_bill(channel, day, span);
            self.bills.made.insert((channel, day), made);
        }
        let lines = self.bills.made.get(&(channel, day)).map(Vec::as_slice).unwrap_or_default();
        if lines.is_empty() {
            return Err(BillError::NoBill);
        }
        let mut text = String::new();
        for line in lines {
            let refund_no = line.refund_no.as_deref().unwrap_or("-");
            let (number, trade_no) = (&line.channel_order_no, &line.trade_no);
            let (fen, fee, at) = (line.amount.fen(), line.fee_fen, line.at.micros());
            let _infallible = writeln!(text, "{number} {refund_no} {trade_no} {fen} {fee} {at}");
        }
        if fate == 4 {
            self.count("bills cut off");
        } else {
            let _infallible = writeln!(text, "end {}", lines.len());
        }
        Ok(Bytes::from(text))
    }

    /// The day by the channel's books, with what is planted.
    fn make_bill(&mut self, channel: usize, day: Date, (from, to): (Timestamp, Timestamp)) -> Vec<BillLine> {
        let mut lines = Vec::new();
        if self.dice.happens(0.4) {
            self.count("planted: money under a number that is not ours");
            let (number, at) = (format!("{FOREIGN}{channel}-{day}"), from.plus(to.since(from) / 2));
            let amount = Money::from_fen(i64::try_from(self.dice.below(90_000)).unwrap_or(0) + 1);
            let amount = amount.unwrap_or(Money::ZERO);
            let capture = Capture { amount, trade_no: format!("F{channel}-{day}"), at };
            let entry = Entry { channel, amount, expires_at: at, trade: Trade::Paid(capture) };
            self.books.trades.insert(number, entry);
        }
        let within = |at: Timestamp| from <= at && at < to;
        let paid = self.books.trades.iter().filter(|(_, entry)| entry.channel == channel);
        let paid: Vec<(String, Capture)> = paid
            .filter_map(|(number, entry)| match &entry.trade {
                Trade::Paid(capture) if within(capture.at) => Some((number.clone(), capture.clone())),
                Trade::Paid(_) | Trade::Open | Trade::Closed | Trade::Declined(_) => None,
            })
            .collect();
        for (number, capture) in paid {
            let (mut fen, plant) = (capture.amount.fen(), self.dice.below(800));
            let mut fee_fen = fee(fen);
            match plant {
                // Of a capture that only the bill knows it must tell the truth: there is no other.
                _ if !self.oracle.captured.contains_key(&number) => {}
                0 | 1 => {
                    self.count("planted: a payment that is not on the bill");
                    continue;
                }
                2 => {
                    self.count("planted: a payment of less than was taken");
                    fen = (fen - 7).max(1);
                    fee_fen = fee(fen);
                }
                3 => {
                    self.count("planted: another fee");
                    fee_fen += 5;
                }
                4 => {
                    self.count("planted: a payment of more than the channel had said");
                    let more = i64::try_from(self.dice.below(500)).unwrap_or(0) + 1;
                    fen += more;
                    fee_fen = fee(fen);
                    if let Some(Trade::Paid(capture)) =
                        self.books.trades.get_mut(&number).map(|entry| &mut entry.trade)
                    {
                        capture.amount = Money::from_fen(fen).unwrap_or(capture.amount);
                        self.bills.more.insert(number.clone(), more);
                    }
                }
                _ => {}
            }
            lines.push(BillLine {
                line: 0,
                kind: BillKind::Payment,
                channel_order_no: number,
                refund_no: None,
                trade_no: capture.trade_no,
                amount: Money::from_fen(fen).unwrap_or(Money::ZERO),
                fee_fen,
                at: capture.at,
            });
        }
        let given = self.books.refunds.iter().filter(|(_, refund)| refund.channel == channel);
        let mut given: Vec<(String, String, Money, Timestamp)> = given
            .filter_map(|(no, refund)| match refund.stands {
                Stands::Done(at) if within(at) => {
                    Some((no.clone(), refund.number.clone(), refund.amount, at))
                }
                Stands::Done(_) | Stands::Processing | Stands::Abnormal => None,
            })
            .collect();
        if self.dice.happens(0.3) {
            self.count("planted: a refund that nobody made");
            let at = from.plus(to.since(from) / 2);
            let amount = Money::from_fen(77).unwrap_or(Money::ZERO);
            given.push((format!("{FOREIGN}r{channel}-{day}"), format!("{FOREIGN}x"), amount, at));
        }
        for (refund_no, number, amount, at) in given {
            if !is_foreign(&refund_no) && !is_beside(&refund_no) && self.dice.happens(1.0 / 60.0) {
                self.count("planted: a refund that is not on the bill");
                continue;
            }
            let trade_no = format!("B{refund_no}");
            let (refund_no, fee_fen) = (Some(refund_no), 0);
            let kind = BillKind::Refund;
            lines.push(BillLine {
                line: 0,
                kind,
                channel_order_no: number,
                refund_no,
                trade_no,
                amount,
                fee_fen,
                at,
            });
        }
        for (i, line) in lines.iter_mut().enumerate() {
            line.line = i + 1;
        }
        lines
    }

    /// What differs between a bill and the house, by the oracle's own comparison.
    fn differs(&self, channel: usize, day: Date, (from, to): (Timestamp, Timestamp)) -> Found {
        use DifferenceKind as K;
        let lines = self.bills.made.get(&(channel, day)).map(Vec::as_slice).unwrap_or_default();
        let within = |at: Timestamp| from <= at && at < to;
        let mut found = Found::new();
        let mut on_the_bill = BTreeSet::new();
        for line in lines {
            let fen = line.amount.fen();
            if let Some(refund_no) = &line.refund_no {
                on_the_bill.insert(refund_no.clone());
                // What a fix sent back stands on the next day's bill, and the house knows it by its difference.
                if !is_beside(refund_no) && self.oracle.given_back.get(refund_no) != Some(&fen) {
                    found.insert((K::Refund, refund_no.clone()));
                }
                continue;
            }
            let number = line.channel_order_no.clone();
            on_the_bill.insert(number.clone());
            let kind = match self.oracle.captured.get(&number) {
                _ if is_foreign(&number) => Some(K::MissingHere),
                None => Some(K::State),
                Some(ours) => (*ours != fen).then_some(K::Amount),
            };
            found.extend(kind.map(|kind| (kind, number.clone())));
            if !is_foreign(&number) && (line.fee_fen - fee(fen)).abs() > 1 {
                found.insert((K::Fee, number));
            }
        }
        for number in self.oracle.captured.keys().filter(|number| !on_the_bill.contains(*number)) {
            let of_the_day = self.books.trades.get(number).is_some_and(|entry| {
                entry.channel == channel && matches!(&entry.trade, Trade::Paid(c) if within(c.at))
            });
            if of_the_day {
                found.insert((K::MissingAtChannel, number.clone()));
            }
        }
        for refund_no in self.oracle.given_back.keys().filter(|no| !on_the_bill.contains(*no)) {
            let of_the_day = self.books.refunds.get(refund_no).is_some_and(|refund| {
                refund.channel == channel && matches!(refund.stands, Stands::Done(at) if within(at))
            });
            if of_the_day {
                found.insert((K::Refund, refund_no.clone()));
            }
        }
        found
    }

    /// A day of a channel is reconciled: are its differences those that there are? Later looks must find the same number.
    pub(crate) fn judge(
        &mut self,
        channel: usize,
        day: Date,
        span: (Timestamp, Timestamp),
        differences: &[Difference],
    ) {
        let name = self.lines.get(channel).map(|line| line.id.to_string()).unwrap_or_default();
        if let Some(before) = self.bills.judged.get(&(channel, day)).copied() {
            if before != differences.len() {
                let what = format!("{name} {day} had {before} differences and has {} now", differences.len());
                self.outrage("reconciled_anew", None, what);
                self.bills.judged.insert((channel, day), differences.len());
            }
            return;
        }
        let expected = self.differs(channel, day, span);
        let told: Vec<_> = differences.iter().map(|d| (d.found.kind, d.found.number.clone())).collect();
        for missed in expected.iter().filter(|one| !told.contains(one)) {
            let what = format!("{name} {day} differs about {missed:?}, and reconciliation does not say so");
            self.outrage("difference_missed", None, what);
        }
        for (i, told) in differences
            .iter()
            .zip(&told)
            .filter_map(|(d, one)| (!expected.contains(one)).then_some((d.id, one)))
        {
            let what = format!("difference {i} of {name} {day} about {told:?} is none");
            self.outrage("difference_invented", None, what);
        }
        self.count("bills reconciled");
        for _ in differences {
            self.count("differences found");
        }
        self.bills.judged.insert((channel, day), differences.len());
    }

    /// What reconciliation sent back of a trade, beside its order's own refunds.
    fn beside_the_order(&self, number: &str) -> impl Iterator<Item = i64> + '_ {
        let number = number.to_owned();
        let refunds = self.books.refunds.range("rc".to_owned()..).take_while(|(no, _)| is_beside(no));
        let done = refunds.filter(move |(_, r)| r.number == number && matches!(r.stands, Stands::Done(_)));
        done.map(|(_, r)| r.amount.fen())
    }

    /// What a trade took, as its order is to see it: without what only the bill said, once that has gone back.
    pub(crate) fn taken_for_the_order(&self, number: &str, fen: i64) -> i64 {
        match self.bills.more.get(number) {
            Some(_) => fen - self.beside_the_order(number).sum::<i64>(),
            None => fen,
        }
    }

    /// Money that was never ours, and what a bill alone said was too much, went back whole and once.
    pub(crate) fn money_beside_orders_went_back(&mut self) {
        let foreign =
            self.books.trades.range(FOREIGN.to_owned()..).take_while(|(number, _)| is_foreign(number));
        let mut wrong = Vec::new();
        for (number, entry) in foreign {
            let back = self.books.refunds.values().filter(|r| r.number == *number);
            let back: Vec<i64> =
                back.filter(|r| matches!(r.stands, Stands::Done(_))).map(|r| r.amount.fen()).collect();
            if back != [entry.amount.fen()] {
                wrong.push(format!("{} came under {number}, and {back:?} fen went back", entry.amount));
            }
        }
        for (number, more) in &self.bills.more {
            let back: Vec<i64> = self.beside_the_order(number).collect();
            if back != [*more] {
                wrong.push(format!("{number} took {more} fen too much, and {back:?} fen went back for it"));
            }
        }
        for what in wrong {
            self.outrage("surplus_of_a_bill", None, what);
        }
    }
}

/// Reads a bill as the channel gives it.
pub(crate) fn read(file: BillFile<'_>, each: EachLine<'_>) -> Result<(), BillRefused> {
    let refused = |line, problem: &str| BillRefused { line, problem: problem.to_owned() };
    let mut text = String::new();
    file.read_to_string(&mut text).map_err(|error| refused(0, &error.to_string()))?;
    let mut read = 0;
    for (i, line) in text.lines().enumerate() {
        let line_no = i + 1;
        let words: Vec<&str> = line.split(' ').collect();
        match words.as_slice() {
            ["end", n] if n.parse() == Ok(read) => return Ok(()),
            [number, refund_no, trade_no, fen, fee, at] => {
                let amount = fen.parse().ok().and_then(|fen| Money::from_fen(fen).ok());
                let (Some(amount), Ok(fee_fen), Ok(at)) = (amount, fee.parse(), at.parse()) else {
                    return Err(refused(line_no, "not a number"));
                };
                let refund_no = (*refund_no != "-").then(|| (*refund_no).to_owned());
                let kind = if refund_no.is_some() { BillKind::Refund } else { BillKind::Payment };
                read += 1;
                each(BillLine {
                    line: line_no,
                    kind,
                    channel_order_no: (*number).to_owned(),
                    refund_no,
                    trade_no: (*trade_no).to_owned(),
                    amount,
                    fee_fen,
                    at: Timestamp::from_micros(at),
                });
            }
            _ => return Err(refused(line_no, "not a line of a bill")),
        }
    }
    Err(refused(read, "the end is missing"))
}
