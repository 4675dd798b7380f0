//! Every fen accounted for: orders against attempts, books, refunds, webhooks and the channels' own books.
//!
//! The auditor is fed one order at a time and so needs little memory, then the channels' lines, then it
//! finishes. It is a second opinion: it reads what the tables say, not what the rules folded, and decides by its own
//! arithmetic. What is still open is not a violation; what contradicts is, with a stable code and a sentence
//! that names the order, the channel and the fen.

use std::collections::{BTreeMap, HashMap};

use serde::{Deserialize, Serialize};

/// One order with everything that belongs to it, in plain words and fen.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OrderAccount {
    /// Its id.
    pub id: String,
    /// Its state.
    pub state: String,
    /// True if nothing is owed any more.
    pub settled: bool,
    /// Ordered, in fen.
    pub amount_fen: i64,
    /// Held by channels, by the order's own row, in fen.
    pub net_fen: i64,
    /// Committed transitions, by the order's own row.
    pub version: i64,
    /// Rows in its history.
    pub events: i64,
    /// The orders that pay it, if it is paid in parts; else 0.
    pub parts: i64,
    /// The order whose part this is.
    pub part_of: Option<String>,
    /// Its attempts.
    pub attempts: Vec<AttemptAccount>,
    /// Its refunds.
    pub refunds: Vec<RefundAccount>,
    /// Its lines in the books.
    pub books: Vec<BookLine>,
    /// Its webhooks: kind and state.
    pub webhooks: Vec<(String, String)>,
}

/// An attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttemptAccount {
    /// Its number within the order.
    pub no: i64,
    /// Its channel.
    pub channel: String,
    /// Its number there.
    pub channel_order_no: String,
    /// Where it stands; a certificate, or `calling`, `exposed`, `closing`.
    pub state: String,
    /// What it took.
    pub capture_fen: Option<i64>,
}

/// A refund.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefundAccount {
    /// Its number at the channel.
    pub refund_no: String,
    /// The attempt whose money goes back.
    pub attempt_no: i64,
    /// How much.
    pub amount_fen: i64,
    /// Why.
    pub cause: String,
    /// Where it stands.
    pub state: String,
}

/// A line of the books.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BookLine {
    /// The transition it belongs to.
    pub version: i64,
    /// Whose account.
    pub account: String,
    /// Signed fen.
    pub amount_fen: i64,
}

/// One line of a channel's own books.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChannelLine {
    /// Whose.
    pub channel: String,
    /// Our number.
    pub channel_order_no: String,
    /// `capture` or `refund`.
    pub kind: String,
    /// How much.
    pub amount_fen: i64,
    /// Our refund number, on a refund.
    #[serde(default)]
    pub refund_no: Option<String>,
}

/// What contradicts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Violation {
    /// A stable word.
    pub code: String,
    /// The order, if it is about one.
    pub order: Option<String>,
    /// A sentence with the numbers.
    pub detail: String,
}

/// The audit's result.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditReport {
    /// True if nothing contradicts.
    pub clean: bool,
    /// Orders read.
    pub orders: u64,
    /// By state.
    pub states: BTreeMap<String, u64>,
    /// Attempts read.
    pub attempts: u64,
    /// Captured, by our rows.
    pub captured_fen: i64,
    /// Given back, by our rows.
    pub refunded_fen: i64,
    /// Orders that still owe something; not a violation.
    pub open: u64,
    /// Lines of the channels' books that were compared; none means they were not at hand.
    pub channel_lines: Option<u64>,
    /// What contradicts.
    pub violations: Vec<Violation>,
}

/// The auditor.
#[derive(Debug, Default)]
pub struct Auditor {
    report: AuditReport,
    /// What we say each attempt took, and whether it may still take.
    captures: HashMap<String, Ours>,
    /// What we say each refund gave back, and whether it may still.
    refunds: HashMap<String, Ours>,
    books_total: i64,
    /// Orders that are paid in parts, with what their parts come to.
    wholes: BTreeMap<String, Whole>,
}

/// An order in parts and the sums over those of its parts that were read.
#[derive(Debug, Default)]
struct Whole {
    /// State, amount and number of parts, once the whole itself was read.
    itself: Option<(String, bool, i64, i64)>,
    succeeded: i64,
    amount_fen: i64,
    net_fen: i64,
    open: i64,
}

#[derive(Debug)]
struct Ours {
    order: String,
    channel: String,
    fen: Option<i64>,
    open: bool,
    seen: bool,
}

impl Auditor {
    /// An auditor that has read nothing.
    #[must_use]
    pub fn new() -> Auditor {
        Auditor::default()
    }

    /// Reads one order.
    pub fn order(&mut self, order: &OrderAccount) {
        self.report.orders += 1;
        *self.report.states.entry(order.state.clone()).or_default() += 1;
        self.report.attempts += u64::try_from(order.attempts.len()).unwrap_or(0);
        if !order.settled {
            self.report.open += 1;
        }
        self.history(order);
        if order.parts > 0 || order.part_of.is_some() {
            self.part(order);
        }
        self.money(order);
        self.exposure(order);
        self.ledger(order);
        self.told(order);
    }

    fn violation(&mut self, code: &str, order: Option<&OrderAccount>, detail: String) {
        let order = order.map(|o| o.id.clone());
        self.report.violations.push(Violation { code: code.to_owned(), order, detail });
    }

    fn history(&mut self, order: &OrderAccount) {
        if order.version != order.events {
            let detail = format!(
                "order {} is at version {} and has {} rows in its history",
                order.id, order.version, order.events
            );
            self.violation("history_gap", Some(order), detail);
        }
    }

    fn money(&mut self, order: &OrderAccount) {
        let id = &order.id;
        let captured: i64 = order.attempts.iter().filter_map(|a| a.capture_fen).sum();
        let back = |cause_asked: bool| -> i64 {
            order
                .refunds
                .iter()
                .filter(|r| r.state == "succeeded" && (r.cause == "asked") == cause_asked)
                .map(|r| r.amount_fen)
                .sum()
        };
        let (asked, surplus) = (back(true), back(false));
        self.report.captured_fen += captured;
        self.report.refunded_fen += asked + surplus;
        let net = captured - asked - surplus;
        if net != order.net_fen {
            let detail = format!(
                "order {id}: its row says {} fen are held, its attempts and refunds say {net} fen",
                order.net_fen
            );
            self.violation("net_differs", Some(order), detail);
        }
        for refund in &order.refunds {
            let took = order.attempts.iter().find(|a| a.no == refund.attempt_no).and_then(|a| a.capture_fen);
            let others: i64 = order
                .refunds
                .iter()
                .filter(|r| r.attempt_no == refund.attempt_no && r.state == "succeeded")
                .map(|r| r.amount_fen)
                .sum();
            if took.is_none_or(|took| others > took) {
                let detail = format!(
                    "order {id}: refunds of attempt {} come to {others} fen, it took {} fen",
                    refund.attempt_no,
                    took.unwrap_or(0)
                );
                self.violation("refund_exceeds_capture", Some(order), detail);
                break;
            }
        }
        if !order.settled {
            return; // still at work: what it owes is in its rows, and the next audit looks again
        }
        match order.state.as_str() {
            _ if order.parts > 0 => {} // its parts hold the money: see `whole`
            "success" if captured - surplus != order.amount_fen => {
                let detail = format!(
                    "order {id} is a success of {} fen; net captured before asked refunds: {} fen",
                    order.amount_fen,
                    captured - surplus
                );
                self.violation("success_not_one_capture", Some(order), detail);
            }
            "success" if !order.attempts.iter().any(|a| a.capture_fen == Some(order.amount_fen)) => {
                let detail =
                    format!("order {id} is a success, and no attempt took exactly {} fen", order.amount_fen);
                self.violation("success_not_one_capture", Some(order), detail);
            }
            "failed" if net != 0 => {
                let detail = format!("order {id} failed, and channels still hold {net} fen for it");
                self.violation("failed_holds_money", Some(order), detail);
            }
            "success" | "failed" => {}
            other => {
                let detail = format!("order {id} owes nothing any more, and is {other}");
                self.violation("settled_without_end", Some(order), detail);
            }
        }
    }

    fn exposure(&mut self, order: &OrderAccount) {
        for attempt in &order.attempts {
            let open = matches!(attempt.state.as_str(), "calling" | "exposed" | "closing");
            let ours = Ours {
                order: order.id.clone(),
                channel: attempt.channel.clone(),
                fen: attempt.capture_fen,
                open: open || !order.settled,
                seen: false,
            };
            if self.captures.insert(attempt.channel_order_no.clone(), ours).is_some() {
                let detail = format!("{} is the number of two attempts", attempt.channel_order_no);
                self.violation("attempt_number_twice", Some(order), detail);
            }
            if open && matches!(order.state.as_str(), "failed") {
                let detail = format!(
                    "order {} failed while attempt {} on {} is {}",
                    order.id, attempt.no, attempt.channel, attempt.state
                );
                self.violation("failed_without_certificate", Some(order), detail);
            }
        }
        if order.attempts.iter().filter(|a| a.state == "exposed").count() > 1 {
            let detail = format!("order {} shows two credentials at once", order.id);
            self.violation("two_exposed", Some(order), detail);
        }
        for refund in &order.refunds {
            let channel =
                order.attempts.iter().find(|a| a.no == refund.attempt_no).map(|a| a.channel.clone());
            let ours = Ours {
                order: order.id.clone(),
                channel: channel.unwrap_or_default(),
                fen: (refund.state == "succeeded").then_some(refund.amount_fen),
                open: matches!(refund.state.as_str(), "booked" | "processing"),
                seen: false,
            };
            self.refunds.insert(refund.refund_no.clone(), ours);
        }
    }

    fn ledger(&mut self, order: &OrderAccount) {
        let mut by_version: BTreeMap<i64, i64> = BTreeMap::new();
        let mut channels: BTreeMap<&str, i64> = BTreeMap::new();
        for line in &order.books {
            *by_version.entry(line.version).or_default() += line.amount_fen;
            self.books_total += line.amount_fen;
            if let Some(channel) = line.account.strip_prefix("channel/") {
                *channels.entry(channel).or_default() += line.amount_fen;
            }
        }
        for (version, sum) in by_version.into_iter().filter(|(_, sum)| *sum != 0) {
            let detail = format!("order {}, transition {version}: its postings sum to {sum} fen", order.id);
            self.violation("books_unbalanced", Some(order), detail);
        }
        let names: std::collections::BTreeSet<&str> =
            order.attempts.iter().map(|a| a.channel.as_str()).collect();
        for channel in names {
            let of = |no: i64| order.attempts.iter().any(|a| a.no == no && a.channel == channel);
            let taken: i64 =
                order.attempts.iter().filter(|a| a.channel == channel).filter_map(|a| a.capture_fen).sum();
            let back: i64 = order
                .refunds
                .iter()
                .filter(|r| r.state == "succeeded" && of(r.attempt_no))
                .map(|r| r.amount_fen)
                .sum();
            let booked = channels.remove(channel).unwrap_or(0);
            if booked != taken - back {
                let detail = format!(
                    "order {}: the books hold {booked} fen at {channel}, attempts and refunds say {} fen",
                    order.id,
                    taken - back
                );
                self.violation("books_differ", Some(order), detail);
            }
        }
        for (channel, booked) in channels.into_iter().filter(|(_, fen)| *fen != 0) {
            let detail = format!(
                "order {}: the books hold {booked} fen at {channel}, where it has no attempt",
                order.id
            );
            self.violation("books_differ", Some(order), detail);
        }
    }

    /// Adds an order in parts, or one of its parts, to the whole's sums.
    fn part(&mut self, order: &OrderAccount) {
        let whole = self.wholes.entry(order.part_of.clone().unwrap_or_else(|| order.id.clone())).or_default();
        if order.parts > 0 {
            whole.itself = Some((order.state.clone(), order.settled, order.amount_fen, order.parts));
            return;
        }
        whole.succeeded += i64::from(order.state == "success");
        whole.open += i64::from(!order.settled);
        whole.amount_fen += order.amount_fen;
        whole.net_fen += order.net_fen;
    }

    /// All or nothing: every part of a success is one, and no part of a failure holds a fen.
    fn whole(&mut self, id: &str, whole: &Whole) {
        let Some((state, settled, amount, parts)) = &whole.itself else {
            let detail = format!("orders say that they are parts of {id}, which is not there");
            return self.of_whole("part_without_whole", id, detail);
        };
        if !settled || whole.open > 0 {
            return;
        }
        match state.as_str() {
            "success" if whole.succeeded != *parts || whole.amount_fen != *amount => {
                let detail = format!(
                    "order {id} is a success of {amount} fen in {parts} parts; {} parts succeeded, they come to {} fen",
                    whole.succeeded, whole.amount_fen
                );
                self.of_whole("success_not_all_parts", id, detail);
            }
            "failed" if whole.net_fen != 0 => {
                let detail = format!("order {id} failed, and its parts still hold {} fen", whole.net_fen);
                self.of_whole("failed_holds_money", id, detail);
            }
            _ => {}
        }
    }

    fn of_whole(&mut self, code: &str, id: &str, detail: String) {
        self.report.violations.push(Violation { code: code.to_owned(), order: Some(id.to_owned()), detail });
    }

    fn told(&mut self, order: &OrderAccount) {
        if order.part_of.is_some() {
            return; // the backend is told about the whole
        }
        let wanted = match order.state.as_str() {
            "success" => "order.succeeded",
            "failed" => "order.failed",
            _ => return,
        };
        let told = order.webhooks.iter().filter(|(kind, _)| kind == wanted).map(|(_, state)| state.as_str());
        let states: Vec<&str> = told.collect();
        if states.is_empty() {
            let detail = format!("order {} is {} and nobody is told", order.id, order.state);
            self.violation("webhook_missing", Some(order), detail);
        } else if states.iter().all(|state| *state == "dead") {
            let detail = format!("order {}: its webhook was given up before it was delivered", order.id);
            self.violation("webhook_dead", Some(order), detail);
        }
    }

    /// Reads one line of a channel's own books.
    pub fn channel_line(&mut self, line: &ChannelLine) {
        *self.report.channel_lines.get_or_insert(0) += 1;
        let (key, ours, what) = match (line.kind.as_str(), &line.refund_no) {
            ("refund", Some(refund_no)) => (refund_no, self.refunds.get_mut(refund_no), "refund"),
            _ => (&line.channel_order_no, self.captures.get_mut(&line.channel_order_no), "capture"),
        };
        let (code, order, detail) = match ours {
            None => (
                "unknown_at_home",
                None,
                format!(
                    "{} has a {what} of {} fen under {key}, which no row of ours knows",
                    line.channel, line.amount_fen
                ),
            ),
            Some(ours) if ours.channel != line.channel => (
                "other_channel",
                Some(ours.order.clone()),
                format!("{key} is ours at {}, and {} has it", ours.channel, line.channel),
            ),
            Some(ours) if ours.seen => (
                "twice_at_channel",
                Some(ours.order.clone()),
                format!("{} has two {what}s under {key}", line.channel),
            ),
            Some(ours) => {
                ours.seen = true;
                match ours.fen {
                    Some(fen) if fen == line.amount_fen => return,
                    None if ours.open => return, // the channel is ahead of us; evidence is on its way
                    Some(fen) => (
                        "amount_differs",
                        Some(ours.order.clone()),
                        format!(
                            "{} has {} fen under {key}, our row says {fen} fen",
                            line.channel, line.amount_fen
                        ),
                    ),
                    None => (
                        "forgotten",
                        Some(ours.order.clone()),
                        format!(
                            "{} has a {what} of {} fen under {key}, and order {} does not know it",
                            line.channel, line.amount_fen, ours.order
                        ),
                    ),
                }
            }
        };
        self.report.violations.push(Violation { code: code.to_owned(), order, detail });
    }

    /// Says that the channels' books were at hand, also if they were empty.
    pub fn channels_were_read(&mut self) {
        self.report.channel_lines.get_or_insert(0);
    }

    /// Judges what only shows at the end.
    #[must_use]
    pub fn finish(mut self) -> AuditReport {
        if self.books_total != 0 {
            let detail = format!("all books together sum to {} fen", self.books_total);
            self.violation("books_unbalanced", None, detail);
        }
        for (id, whole) in std::mem::take(&mut self.wholes) {
            self.whole(&id, &whole);
        }
        if self.report.channel_lines.is_some() {
            for (what, all) in [("capture", &self.captures), ("refund", &self.refunds)] {
                let mut missing: Vec<(&String, &Ours)> =
                    all.iter().filter(|(_, ours)| ours.fen.is_some() && !ours.seen).collect();
                missing.sort_by_key(|(key, _)| *key);
                for (key, ours) in missing {
                    self.report.violations.push(Violation {
                        code: "unknown_at_channel".to_owned(),
                        order: Some(ours.order.clone()),
                        detail: format!(
                            "order {}: we hold a {what} of {} fen under {key}, which {} does not have",
                            ours.order,
                            ours.fen.unwrap_or(0),
                            ours.channel
                        ),
                    });
                }
            }
        }
        self.report.clean = self.report.violations.is_empty();
        self.report
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paid() -> OrderAccount {
        OrderAccount {
            id: "o1".to_owned(),
            state: "success".to_owned(),
            settled: true,
            amount_fen: 1850,
            net_fen: 1850,
            version: 4,
            events: 4,
            parts: 0,
            part_of: None,
            attempts: vec![
                attempt(1, "wechat", "captured", Some(1850)),
                attempt(2, "campus_card", "captured", Some(1850)),
            ],
            refunds: vec![RefundAccount {
                refund_no: "o1r01".to_owned(),
                attempt_no: 2,
                amount_fen: 1850,
                cause: "second_capture".to_owned(),
                state: "succeeded".to_owned(),
            }],
            books: vec![
                line(3, "channel/wechat", 1850),
                line(3, "merchant/m", -1850),
                line(4, "channel/campus_card", 1850),
                line(4, "surplus/campus_card", -1850),
                line(5, "channel/campus_card", -1850),
                line(5, "surplus/campus_card", 1850),
            ],
            webhooks: vec![("order.succeeded".to_owned(), "delivered".to_owned())],
        }
    }

    fn attempt(no: i64, channel: &str, state: &str, capture_fen: Option<i64>) -> AttemptAccount {
        AttemptAccount {
            no,
            channel: channel.to_owned(),
            channel_order_no: format!("o1{no:02}"),
            state: state.to_owned(),
            capture_fen,
        }
    }

    fn line(version: i64, account: &str, amount_fen: i64) -> BookLine {
        BookLine { version, account: account.to_owned(), amount_fen }
    }

    fn world() -> Vec<ChannelLine> {
        let of = |channel: &str, no: &str, kind: &str, refund_no: Option<&str>| ChannelLine {
            channel: channel.to_owned(),
            channel_order_no: no.to_owned(),
            kind: kind.to_owned(),
            amount_fen: 1850,
            refund_no: refund_no.map(str::to_owned),
        };
        vec![
            of("wechat", "o101", "capture", None),
            of("campus_card", "o102", "capture", None),
            of("campus_card", "o102", "refund", Some("o1r01")),
        ]
    }

    fn codes(order: &OrderAccount, lines: &[ChannelLine]) -> Vec<String> {
        let mut auditor = Auditor::new();
        auditor.order(order);
        lines.iter().for_each(|l| auditor.channel_line(l));
        auditor.channels_were_read();
        let report = auditor.finish();
        assert_eq!(report.clean, report.violations.is_empty());
        report.violations.into_iter().map(|v| v.code).collect()
    }

    #[test]
    fn a_clean_world_passes() {
        assert_eq!(codes(&paid(), &world()), Vec::<String>::new());
    }

    #[test]
    #[expect(clippy::type_complexity, reason = "a table of alterations")]
    fn one_altered_row_one_fen_one_capture_is_found_and_named() {
        let rows: Vec<(&str, Box<dyn Fn(&mut OrderAccount, &mut Vec<ChannelLine>)>)> = vec![
            ("net_differs", Box::new(|o, _| o.net_fen -= 1)),
            ("history_gap", Box::new(|o, _| o.events -= 1)),
            ("success_not_one_capture", Box::new(|o, _| o.amount_fen += 1)),
            ("amount_differs", Box::new(|_, w| w[0].amount_fen += 1)),
            ("unknown_at_channel", Box::new(|_, w| drop(w.remove(0)))),
            ("twice_at_channel", Box::new(|_, w| w.push(w[0].clone()))),
            ("unknown_at_home", Box::new(|_, w| w[0].channel_order_no = "o199".to_owned())),
            ("forgotten", Box::new(|o, _| o.attempts[1].capture_fen = None)),
            ("refund_exceeds_capture", Box::new(|o, _| o.refunds[0].amount_fen += 1)),
            ("books_unbalanced", Box::new(|o, _| o.books[0].amount_fen += 1)),
            ("books_differ", Box::new(|o, _| o.books.truncate(4))),
            ("webhook_missing", Box::new(|o, _| o.webhooks.clear())),
            ("webhook_dead", Box::new(|o, _| o.webhooks[0].1 = "dead".to_owned())),
            (
                "failed_without_certificate",
                Box::new(|o, _| {
                    o.state = "failed".to_owned();
                    o.attempts[1].state = "exposed".to_owned();
                }),
            ),
            ("failed_holds_money", Box::new(|o, _| o.state = "failed".to_owned())),
            ("settled_without_end", Box::new(|o, _| o.state = "suspicious".to_owned())),
            (
                "two_exposed",
                Box::new(|o, _| o.attempts.iter_mut().for_each(|a| a.state = "exposed".to_owned())),
            ),
            ("other_channel", Box::new(|_, w| w[0].channel = "alipay".to_owned())),
        ];
        for (code, alter) in rows {
            let (mut order, mut lines) = (paid(), world());
            alter(&mut order, &mut lines);
            let found = codes(&order, &lines);
            assert!(found.iter().any(|c| c == code), "{code} expected, found {found:?}");
        }
    }

    #[test]
    fn what_is_still_open_is_not_a_violation() {
        let mut order = paid();
        order.settled = false;
        order.refunds[0].state = "processing".to_owned();
        order.books.truncate(4);
        order.net_fen = 3700;
        assert_eq!(codes(&order, &world()[..2]), Vec::<String>::new());
    }

    #[test]
    fn an_order_in_parts_is_all_or_nothing() {
        let told = |state: &str| vec![(state.to_owned(), "delivered".to_owned())];
        let whole = |state: &str| OrderAccount {
            id: "w".to_owned(),
            state: state.to_owned(),
            settled: true,
            amount_fen: 3700,
            parts: 2,
            webhooks: told(if state == "success" { "order.succeeded" } else { "order.failed" }),
            ..OrderAccount::default()
        };
        let part = |id: &str| {
            let line = |version, account: &str, fen| BookLine {
                version,
                account: account.to_owned(),
                amount_fen: fen,
            };
            OrderAccount {
                id: id.to_owned(),
                attempts: vec![AttemptAccount {
                    channel_order_no: format!("{id}01"),
                    ..attempt(1, "wechat", "captured", Some(1850))
                }],
                refunds: Vec::new(),
                books: vec![line(3, "channel/wechat", 1850), line(3, "merchant/m", -1850)],
                webhooks: Vec::new(),
                part_of: Some("w".to_owned()),
                ..paid()
            }
        };
        let codes = |orders: &[OrderAccount]| -> Vec<String> {
            let mut auditor = Auditor::new();
            orders.iter().for_each(|order| auditor.order(order));
            auditor.finish().violations.into_iter().map(|v| v.code).collect()
        };
        assert_eq!(codes(&[whole("success"), part("a"), part("b")]), [""; 0]);
        assert_eq!(codes(&[whole("success"), part("a")]), ["success_not_all_parts"]);
        assert_eq!(codes(&[whole("failed"), part("a")]), ["failed_holds_money"]);
        assert_eq!(codes(&[part("a")]), ["part_without_whole"]);
    }
}
