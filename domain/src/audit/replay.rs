//! Second opinion: the history is folded again, and every row that follows from it must be as the fold says.
//!
//! Also checks the history's own chain. What the fold says is worked out here, apart from the store that wrote the
//! rows, so that one mistake cannot hide on both sides. A row that cannot be read ends the fold of its order with a
//! violation, and the order is judged by the chain and the tables alone.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use serde::Serialize as _;

use super::{
    BookLine, EventRow, OrderAccount, OrderRow, Violation, WebhookRow,
    chain::{Hash, Link, LinkEvent, delivery_seal},
};
use crate::{
    AttemptNo, ChannelId, EvidenceSource, OrderId, RefundNo, Timestamp, books,
    order::{Fact, Failure, Order, Refund, RefundState},
};

/// What one history says.
#[derive(Debug, Default)]
pub(super) struct Replayed {
    /// The stored link of each transition.
    pub heads: Vec<Hash>,
    /// The order at the version that was asked for, if the fold got there.
    pub figures: Option<Figures>,
}

/// An order in numbers, as its history says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Figures {
    /// Its state.
    pub state: &'static str,
    /// Ordered, in fen; nothing for a part, which the whole counts.
    pub amount_fen: i64,
    /// Tries to collect it.
    pub attempts: u64,
    /// What channels took.
    pub captures: Vec<(ChannelId, i64)>,
    /// What channels gave back for good.
    pub refunds: Vec<(ChannelId, i64)>,
}

impl Figures {
    fn of(order: &Order) -> Figures {
        let channel = |no: AttemptNo| order.attempt(no).map(|a| a.channel.clone());
        let captures =
            order.attempts.iter().filter_map(|a| Some((a.channel.clone(), a.capture.as_ref()?.amount.fen())));
        let back = order.refunds.iter().filter(|r| r.state == RefundState::Succeeded);
        Figures {
            state: order.state.as_str(),
            amount_fen: if order.request.part_of.is_none() { order.request.amount.fen() } else { 0 },
            attempts: u64::try_from(order.attempts.len()).unwrap_or(u64::MAX),
            captures: captures.collect(),
            refunds: back.filter_map(|r| Some((channel(r.attempt)?, r.amount.fen()))).collect(),
        }
    }
}

/// Folds a history and compares; `upto` is the version that figures are wanted for, the last one if none is given.
pub(super) fn replay(account: &OrderAccount, upto: Option<u64>, found: &mut Vec<Violation>) -> Replayed {
    let heads = chain(account, found);
    deliveries(account, found);
    let mut against = Against { id: &account.id, found };
    let folded = fold(account, upto, &mut against);
    if let Some(order) = &folded.order {
        if let Some(row) = &account.row {
            against.order(row, order);
        }
        against.attempts(account, order, &folded.captured_by);
        against.refunds(account, order, &folded.done_at);
        against.books(account, &folded.lines);
    }
    let Folded { order, figures, .. } = folded;
    Replayed {
        heads,
        figures: figures.or_else(|| order.filter(|_| upto.is_none()).as_ref().map(Figures::of)),
    }
}

/// Recomputes the chain. Each link is computed from the stored hash before it, so that one altered row is one finding.
fn chain(account: &OrderAccount, found: &mut Vec<Violation>) -> Vec<Hash> {
    let id = &account.id;
    let mut altered = |version: i64, what: &str, wanted: &Hash| {
        let detail = format!(
            "order {id}, transition {version}: {what}; the chain over it is broken, its link would be {}…",
            short(wanted)
        );
        let place = format!("order_events, version {version}");
        found.push(Violation::at("chain_broken", id, place, detail));
    };
    let mut suspect: Option<(i64, Hash)> = None;
    let mut previous: Option<Hash> = None;
    let mut heads = Vec::with_capacity(account.events.len());
    for event in &account.events {
        let stored: Option<Hash> = event.hash.as_slice().try_into().ok();
        let mut computed = link(account, previous.as_ref(), event);
        let mut fits = stored == Some(computed);
        if let Some((version, wanted)) = suspect.take() {
            let from_wanted = link(account, Some(&wanted), event);
            if !fits && stored == Some(from_wanted) {
                altered(version, "its link was altered", &wanted);
                (computed, fits) = (from_wanted, true);
            } else {
                altered(version, "its row, its books or its webhooks are not what was committed", &wanted);
            }
        }
        if !fits {
            suspect = Some((event.version, computed));
        }
        let head = stored.unwrap_or(computed);
        heads.push(head);
        previous = Some(head);
    }
    if let Some((version, wanted)) = suspect {
        altered(version, "its row, its books, its webhooks or its link are not what was committed", &wanted);
    }
    heads
}

/// The link that an event's row and what belongs to it should have.
pub(super) fn link(account: &OrderAccount, previous: Option<&Hash>, event: &EventRow) -> Hash {
    let body_hash = account.row.as_ref().filter(|_| event.version == 1).map_or("", |row| &row.body_hash);
    let EventRow { version, at, event, source, reference, facts, .. } = event;
    let columns = LinkEvent { version: *version, at: *at, event, source, reference, facts, body_hash };
    let mut link = Link::new(&account.id, previous, &columns);
    for line in account.books.iter().filter(|line| line.version == *version) {
        link.book(line.line, &line.account, line.amount_fen);
    }
    for w in account.webhooks.iter().filter(|w| w.version == *version) {
        link.webhook(w.seq, &w.id, &w.kind, &w.payload, w.url.as_deref());
    }
    link.finish()
}

/// Every event that a row hangs on must be there, and deliveries must bear their seal.
fn deliveries(account: &OrderAccount, found: &mut Vec<Violation>) {
    let id = &account.id;
    for webhook in &account.webhooks {
        let WebhookRow { seq, state, since, tries, next_at, .. } = webhook;
        let place = || format!("webhooks_out, seq {seq}");
        match account.events.iter().find(|event| event.version == webhook.version) {
            None => {
                let detail = format!(
                    "order {id}: webhook {} belongs to transition {}, which its history does not have",
                    webhook.id, webhook.version
                );
                found.push(Violation::at("webhook_unfounded", id, place(), detail));
            }
            Some(event) if event.at != webhook.created_at => {
                let detail = format!(
                    "order {id}: webhook {} was written at {}, its transition {} at {}",
                    webhook.id,
                    Timestamp::from_micros(webhook.created_at),
                    event.version,
                    Timestamp::from_micros(event.at)
                );
                found.push(Violation::at("webhook_unfounded", id, place(), detail));
            }
            Some(_) => {}
        }
        let backend = webhook.url.as_deref().map(crate::webhook::backend);
        if webhook.backend != backend
            || delivery_seal(&webhook.id, state, *since, *tries, *next_at) != webhook.seal
        {
            let detail = format!(
                "order {id}: the delivery of webhook {} ({state} after {tries} tries) was altered: its seal does not fit",
                webhook.id
            );
            found.push(Violation::at("webhook_altered", id, place(), detail));
        }
    }
}

/// What a history says.
#[derive(Default)]
struct Folded {
    /// The order, if the history could be read to its end.
    order: Option<Order>,
    /// The lines that belong in the books.
    lines: Vec<BookLine>,
    /// The order in numbers at the version that was asked for.
    figures: Option<Figures>,
    /// From where each capture is known.
    captured_by: BTreeMap<AttemptNo, EvidenceSource>,
    /// When each refund was back.
    done_at: BTreeMap<RefundNo, Timestamp>,
}

/// Folds the history.
fn fold(account: &OrderAccount, upto: Option<u64>, against: &mut Against<'_>) -> Folded {
    let none = Folded::default;
    let Ok(id) = account.id.parse::<OrderId>() else {
        against.say("order_id", format_args!("orders"), "it is not an order id");
        return none();
    };
    let Folded { mut order, mut lines, mut figures, mut captured_by, mut done_at } = none();
    for (place, event) in (1_i64..).zip(&account.events) {
        let version = event.version;
        let mut broken = |problem: &str| {
            against.say("history_broken", format_args!("order_events, version {version}"), problem);
        };
        if version != place {
            broken(&format!("transition {place} is missing before it"));
            return none();
        }
        let facts: Vec<Fact> = match serde_json::from_str(&event.facts) {
            Ok(facts) => facts,
            Err(error) => {
                broken(&format!("its facts cannot be read: {error}"));
                return none();
            }
        };
        for fact in &facts {
            match fact {
                Fact::Captured { no, source, .. } | Fact::Corrected { no, source, .. } => {
                    captured_by.insert(*no, *source);
                }
                Fact::RefundSucceeded { refund_no, at, .. } => {
                    done_at.insert(refund_no.clone(), *at);
                }
                _ => {}
            }
            let applied = match (&mut order, fact) {
                (None, Fact::Accepted { request, at }) => {
                    order = Some(Order::begin(id, request.clone(), *at));
                    Ok(())
                }
                (None, _) => Err("the first fact is not an acceptance"),
                (Some(order), fact) => order.apply(fact),
            };
            if let Err(problem) = applied {
                broken(problem);
                return none();
            }
        }
        let Some(order) = &mut order else {
            broken("it has no facts, and the order none before");
            return none();
        };
        order.version = u64::try_from(version).unwrap_or_default();
        let posted = books::postings(&facts, order).into_iter();
        lines.extend((0_i64..).zip(posted).map(|(line, posting)| BookLine {
            version,
            line,
            account: posting.account,
            amount_fen: posting.amount_fen,
        }));
        if upto == Some(order.version) {
            figures = Some(Figures::of(order));
        }
    }
    Folded { order, lines, figures, captured_by, done_at }
}

/// A value of a column, as it is shown.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Cell<'a> {
    Text(&'a str),
    Number(i64),
    Nothing,
}

impl fmt::Display for Cell<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Cell::Text(text) => write!(f, "{text:?}"),
            Cell::Number(number) => write!(f, "{number}"),
            Cell::Nothing => f.write_str("nothing"),
        }
    }
}

impl<'a> From<&'a str> for Cell<'a> {
    fn from(text: &'a str) -> Cell<'a> {
        Cell::Text(text)
    }
}

impl<'a> From<&'a String> for Cell<'a> {
    fn from(text: &'a String) -> Cell<'a> {
        Cell::Text(text)
    }
}

impl From<i64> for Cell<'_> {
    fn from(number: i64) -> Self {
        Cell::Number(number)
    }
}

impl From<Timestamp> for Cell<'_> {
    fn from(at: Timestamp) -> Self {
        Cell::Number(at.micros())
    }
}

impl<'a, T: Into<Cell<'a>>> From<Option<T>> for Cell<'a> {
    fn from(value: Option<T>) -> Self {
        value.map_or(Cell::Nothing, Into::into)
    }
}

/// Compares rows with what they should be.
struct Against<'a> {
    id: &'a str,
    found: &'a mut Vec<Violation>,
}

impl Against<'_> {
    fn say(&mut self, code: &str, place: fmt::Arguments<'_>, problem: &str) {
        let detail = format!("order {}: {place}: {problem}", self.id);
        self.found.push(Violation::at(code, self.id, place.to_string(), detail));
    }

    fn same<'v>(
        &mut self,
        place: fmt::Arguments<'_>,
        column: &str,
        stored: impl Into<Cell<'v>>,
        wanted: impl Into<Cell<'v>>,
    ) {
        let (stored, wanted) = (stored.into(), wanted.into());
        if stored != wanted {
            let problem = format!("{column} is {stored}, the history says {wanted}");
            self.say("row_differs", place, &problem);
        }
    }

    fn order(&mut self, row: &OrderRow, order: &Order) {
        let place = format_args!("orders");
        let request = &order.request;
        let version = i64::try_from(order.version).unwrap_or(i64::MAX);
        if row.version != version {
            let problem = format!("version is {}, its history has {version} rows", row.version);
            self.say("history_gap", place, &problem);
        }
        self.same(place, "merchant_id", &row.merchant_id, request.merchant_id.as_str());
        self.same(place, "order_no", &row.order_no, &request.order_no);
        self.same(place, "state", &row.state, order.state.as_str());
        self.same(place, "settled", row.settled, i64::from(order.is_settled()));
        self.same(place, "amount_fen", row.amount_fen, request.amount.fen());
        self.same(place, "net_fen", row.net_fen, order.net_captured().fen());
        self.same(place, "payer_id", &row.payer_id, &request.payer.id);
        self.same(place, "failure", row.failure.as_deref(), order.failure.map(Failure::as_str));
        self.same(place, "created_at", row.created_at, order.accepted_at);
        self.same(place, "expires_at", row.expires_at, request.expires_at);
        let part_of = request.part_of.map(|of| of.order.to_string());
        self.same(place, "parts", row.parts, i64::try_from(order.parts.len()).unwrap_or(i64::MAX));
        self.same(place, "part_of", row.part_of.as_deref(), part_of.as_deref());
    }

    fn attempts(
        &mut self,
        account: &OrderAccount,
        order: &Order,
        captured_by: &BTreeMap<AttemptNo, EvidenceSource>,
    ) {
        for attempt in &order.attempts {
            let no = i64::from(attempt.no.get());
            let place = format_args!("attempts, no {no}");
            let Some(row) = account.attempts.iter().find(|row| row.no == no) else {
                let problem = format!("is missing; it is {} on {}", attempt.state_str(), attempt.channel);
                self.say("row_missing", place, &problem);
                continue;
            };
            let number = order.id.channel_order_no(attempt.no);
            let capture = attempt.capture.as_ref();
            self.same(place, "channel", &row.channel, attempt.channel.as_str());
            self.same(place, "channel_order_no", &row.channel_order_no, number.as_str());
            self.same(place, "state", &row.state, attempt.state_str());
            self.same(place, "exposed_at", row.exposed_at, attempt.exposed_at);
            self.same(place, "capture_fen", row.capture_fen, capture.map(|c| c.amount.fen()));
            self.same(place, "trade_no", row.trade_no.as_deref(), capture.map(|c| c.trade_no.as_str()));
            self.same(place, "captured_at", row.captured_at, capture.map(|c| c.at));
            let by = captured_by.get(&attempt.no).copied().map(EvidenceSource::as_str);
            self.same(place, "captured_by", row.captured_by.as_deref(), by);
        }
        let known: BTreeSet<i64> = order.attempts.iter().map(|a| i64::from(a.no.get())).collect();
        for row in account.attempts.iter().filter(|row| !known.contains(&row.no)) {
            self.say(
                "row_unfounded",
                format_args!("attempts, no {}", row.no),
                "the history has no such attempt",
            );
        }
    }

    fn refunds(&mut self, account: &OrderAccount, order: &Order, done_at: &BTreeMap<RefundNo, Timestamp>) {
        for refund in &order.refunds {
            let place = format_args!("refunds, {}", refund.no);
            let Some(row) = account.refunds.iter().find(|row| row.refund_no == refund.no.as_str()) else {
                let problem =
                    format!("is missing; it is {} of {} fen", refund.state.as_str(), refund.amount.fen());
                self.say("row_missing", place, &problem);
                continue;
            };
            self.same(place, "attempt_no", row.attempt_no, i64::from(refund.attempt.get()));
            self.same(place, "amount_fen", row.amount_fen, refund.amount.fen());
            self.same(place, "cause", &row.cause, &cause(refund));
            self.same(place, "state", &row.state, refund.state.as_str());
            self.same(place, "backend_no", row.backend_no.as_deref(), refund.backend_no.as_deref());
            let channel_id = refund.channel_refund_id.as_deref();
            self.same(place, "channel_refund_id", row.channel_refund_id.as_deref(), channel_id);
            self.same(place, "booked_at", row.booked_at, refund.booked_at);
            self.same(place, "done_at", row.done_at, done_at.get(&refund.no).copied());
        }
        for row in &account.refunds {
            if !order.refunds.iter().any(|refund| refund.no.as_str() == row.refund_no) {
                let place = format_args!("refunds, {}", row.refund_no);
                self.say("row_unfounded", place, "the history has no such refund");
            }
        }
    }

    fn books(&mut self, account: &OrderAccount, wanted: &[BookLine]) {
        let key = |line: &BookLine| (line.version, line.line);
        let stored: BTreeMap<_, _> = account.books.iter().map(|line| (key(line), line)).collect();
        for line in wanted {
            let place = format_args!("books, version {}, line {}", line.version, line.line);
            match stored.get(&key(line)) {
                None => {
                    let problem = format!("is missing; it is {} fen on {}", line.amount_fen, line.account);
                    self.say("row_missing", place, &problem);
                }
                Some(row) => {
                    self.same(place, "account", &row.account, &line.account);
                    self.same(place, "amount_fen", row.amount_fen, line.amount_fen);
                }
            }
        }
        let known: BTreeSet<_> = wanted.iter().map(key).collect();
        for (version, line) in stored.into_keys().filter(|key| !known.contains(key)) {
            let place = format_args!("books, version {version}, line {line}");
            self.say("row_unfounded", place, "the history posts no such line");
        }
    }
}

/// The word that the store keeps for a refund's cause.
fn cause(refund: &Refund) -> String {
    let word = refund.cause.serialize(serde_json::value::Serializer);
    word.ok().as_ref().and_then(serde_json::Value::as_str).unwrap_or_default().to_owned()
}

/// The first characters of a hash, enough to recognise it.
pub(super) fn short(hash: &Hash) -> String {
    hash.iter().take(6).map(|byte| format!("{byte:02x}")).collect()
}
