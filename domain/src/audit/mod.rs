//! Every fen accounted for: three opinions on one store, and a certificate of what was found.
//!
//! 1. `tables`: orders against attempts, refunds, books and webhooks, by arithmetic that knows no rules.
//! 2. `replay`: the history is folded again, and every row must follow from it; [`chain`] proves that the history is
//!    the one that was committed.
//! 3. `channels`: the channels' own books, both ways; `explained` knows what operators did about money of no order.
//!
//! [`judge`] looks at one order and needs nothing else, so memory stays flat and orders can be judged anywhere;
//! the [`Auditor`] gathers. What is still open is not a violation; what contradicts is, with a stable code and a
//! sentence that names the order, the row and the fen. [`certificate`] pins the result to the very rows.

mod account;
pub mod certificate;
pub mod chain;
mod channels;
mod explained;
mod parts;
mod replay;
mod report;
mod tables;

pub use account::{
    AttemptRow, BookLine, ChannelLine, EventRow, OrderAccount, OrderRow, RefundRow, WebhookRow,
};
pub use explained::{Counted, Explained, Explanation};
pub use replay::Figures;
pub use report::{AuditReport, Violation};

use channels::OurSide;
use parts::Wholes;

/// What one order's rows say about themselves.
#[derive(Debug, Default)]
pub struct Judgement {
    /// What contradicts.
    pub violations: Vec<Violation>,
    /// The stored link of each transition, oldest first.
    pub heads: Vec<chain::Hash>,
    /// The order in numbers by its history, if that could be folded.
    pub figures: Option<Figures>,
}

/// Judges an order by its rows alone. `upto`: the version that figures are wanted for, the last one if none is given.
#[must_use]
pub fn judge(account: &OrderAccount, upto: Option<u64>) -> Judgement {
    let mut violations = Vec::new();
    let replayed = replay::replay(account, upto, &mut violations);
    match &account.row {
        Some(row) => {
            if account.events.is_empty() {
                let detail = format!("order {} has no history at all", account.id);
                violations.push(Violation::of("history_gap", &account.id, detail));
            }
            tables::contradictions(account, row, &mut violations);
        }
        None => {
            let (id, rows) = (&account.id, account);
            let detail = format!(
                "{id}: there is no such order, and {} events, {} attempts, {} refunds, {} lines of the books \
                 and {} webhooks belong to it",
                rows.events.len(),
                rows.attempts.len(),
                rows.refunds.len(),
                rows.books.len(),
                rows.webhooks.len()
            );
            violations.push(Violation::at("order_missing", id, "orders".to_owned(), detail));
        }
    }
    Judgement { violations, heads: replayed.heads, figures: replayed.figures }
}

/// The link that a row of `order_events` should have, whatever it has: for rows from before there were links.
#[must_use]
pub fn link_of(account: &OrderAccount, previous: Option<&chain::Hash>, event: &EventRow) -> chain::Hash {
    replay::link(account, previous, event)
}

/// Gathers judgements into a report.
#[derive(Debug, Default)]
pub struct Auditor {
    report: AuditReport,
    /// Kept only to compare with the channels' books.
    ours: Option<OurSide>,
    wholes: Wholes,
    books_total: i64,
}

impl Auditor {
    /// An auditor that has read nothing, and will not see the channels' books.
    #[must_use]
    pub fn new() -> Auditor {
        Auditor::default()
    }

    /// An auditor that will be shown the channels' books after the orders.
    #[must_use]
    pub fn with_channels() -> Auditor {
        let report = AuditReport { channel_lines: Some(0), ..AuditReport::default() };
        Auditor { report, ours: Some(OurSide::default()), ..Auditor::default() }
    }

    /// Judges one order and gathers it.
    pub fn order(&mut self, account: &OrderAccount) {
        self.gather(account, judge(account, None));
    }

    /// Gathers an order that was judged elsewhere.
    pub fn gather(&mut self, account: &OrderAccount, judgement: Judgement) {
        let report = &mut self.report;
        if let Some(row) = &account.row {
            report.orders += 1;
            *report.states.entry(row.state.clone()).or_default() += 1;
            report.open += u64::from(row.settled != 1);
            self.wholes.order(account, row);
        }
        report.attempts += u64::try_from(account.attempts.len()).unwrap_or(0);
        report.events += u64::try_from(account.events.len()).unwrap_or(0);
        let (captured, refunded) = tables::money(account);
        report.captured_fen = report.captured_fen.saturating_add(captured);
        report.refunded_fen = report.refunded_fen.saturating_add(refunded);
        let booked = tables::total(account.books.iter().map(|line| line.amount_fen));
        self.books_total = self.books_total.saturating_add(booked);
        let mut violations = judgement.violations;
        if let Some(ours) = &mut self.ours {
            ours.order(account, &mut violations);
        }
        violations.into_iter().for_each(|violation| report.violated(violation));
    }

    /// Notes what contradicts beside the orders, such as a row that cannot be read.
    pub fn violated(&mut self, violation: Violation) {
        self.report.violated(violation);
    }

    /// Takes reconciliation's record of a number into account. Before the lines of the channels' books.
    pub fn explain(&mut self, explanation: Explanation) {
        if let Some(ours) = &mut self.ours {
            ours.record.add(explanation);
        }
    }

    /// Compares one line of a channel's own books; only an auditor [`with_channels`](Auditor::with_channels) does.
    pub fn channel_line(&mut self, line: &ChannelLine) {
        let Some(ours) = &mut self.ours else { return };
        *self.report.channel_lines.get_or_insert(0) += 1;
        if let Some(violation) = ours.line(line) {
            self.report.violated(violation);
        }
    }

    /// Judges what only shows at the end.
    #[must_use]
    pub fn finish(mut self) -> AuditReport {
        if self.books_total != 0 {
            let detail = format!("all books together sum to {} fen", self.books_total);
            self.violated(Violation::general("books_unbalanced", detail));
        }
        self.wholes.contradictions().into_iter().for_each(|violation| self.violated(violation));
        let missing = self.ours.as_ref().map(OurSide::missing).unwrap_or_default();
        self.report.explained =
            self.ours.as_mut().map(|o| std::mem::take(&mut o.record.counted)).unwrap_or_default();
        missing.into_iter().for_each(|violation| self.violated(violation));
        self.report.clean = self.report.violations.is_empty();
        self.report
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An order that was paid twice and gave one capture back, without a history: for the arithmetic alone.
    pub(super) fn paid() -> OrderAccount {
        OrderAccount {
            id: "o1".to_owned(),
            row: Some(OrderRow {
                state: "success".to_owned(),
                settled: 1,
                amount_fen: 1850,
                net_fen: 1850,
                ..OrderRow::default()
            }),
            events: Vec::new(),
            attempts: vec![
                attempt(1, "wechat", "captured", Some(1850)),
                attempt(2, "campus_card", "captured", Some(1850)),
            ],
            refunds: vec![RefundRow {
                refund_no: "o1r01".to_owned(),
                attempt_no: 2,
                amount_fen: 1850,
                cause: "second_capture".to_owned(),
                state: "succeeded".to_owned(),
                ..RefundRow::default()
            }],
            books: vec![
                line(3, "channel/wechat", 1850),
                line(3, "merchant/m", -1850),
                line(4, "channel/campus_card", 1850),
                line(4, "surplus/campus_card", -1850),
                line(5, "channel/campus_card", -1850),
                line(5, "surplus/campus_card", 1850),
            ],
            webhooks: vec![WebhookRow {
                kind: "order.succeeded".to_owned(),
                state: "delivered".to_owned(),
                ..WebhookRow::default()
            }],
        }
    }

    fn attempt(no: i64, channel: &str, state: &str, capture_fen: Option<i64>) -> AttemptRow {
        AttemptRow {
            no,
            channel: channel.to_owned(),
            channel_order_no: format!("o1{no:02}"),
            state: state.to_owned(),
            capture_fen,
            ..AttemptRow::default()
        }
    }

    fn line(version: i64, account: &str, amount_fen: i64) -> BookLine {
        BookLine { version, line: 0, account: account.to_owned(), amount_fen }
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
        let mut auditor = Auditor::with_channels();
        // The history is left out: other tests look at it, with real ones.
        auditor.gather(order, Judgement::default());
        lines.iter().for_each(|l| auditor.channel_line(l));
        let report = auditor.finish();
        assert_eq!(report.clean, report.violations.is_empty());
        report.violations.into_iter().map(|v| v.code).collect()
    }

    #[test]
    #[expect(clippy::type_complexity, reason = "a table of alterations")]
    fn one_altered_line_of_a_channel_is_found_and_named() {
        assert_eq!(codes(&paid(), &world()), Vec::<String>::new());
        let rows: Vec<(&str, Box<dyn Fn(&mut OrderAccount, &mut Vec<ChannelLine>)>)> = vec![
            ("amount_differs", Box::new(|_, w| w[0].amount_fen += 1)),
            ("unknown_at_channel", Box::new(|_, w| drop(w.remove(0)))),
            ("twice_at_channel", Box::new(|_, w| w.push(w[0].clone()))),
            ("unknown_at_home", Box::new(|_, w| w[0].channel_order_no = "o199".to_owned())),
            ("forgotten", Box::new(|o, _| o.attempts[1].capture_fen = None)),
            ("other_channel", Box::new(|_, w| w[0].channel = "alipay".to_owned())),
            ("books_unbalanced", Box::new(|o, _| o.books[0].amount_fen += 1)),
        ];
        for (code, alter) in rows {
            let (mut order, mut lines) = (paid(), world());
            alter(&mut order, &mut lines);
            let found = codes(&order, &lines);
            assert!(found.iter().any(|c| c == code), "{code} expected, found {found:?}");
        }
    }

    #[test]
    fn money_of_no_order_is_explained_by_what_operators_did_about_it_to_the_fen() {
        let of = |no: &str, kind: &str, refund_no: Option<&str>, amount_fen| ChannelLine {
            channel: "wechat".to_owned(),
            channel_order_no: no.to_owned(),
            kind: kind.to_owned(),
            amount_fen,
            refund_no: refund_no.map(str::to_owned),
        };
        let lines = [
            of("lost01", "capture", None, 700),
            of("lost01", "refund", Some("rc1"), 700),
            of("lost02", "capture", None, 900),
            of("lost02", "refund", Some("lostr01"), 100),
        ];
        let entry = |number: &str, fen, how| Explanation {
            channel: "wechat".to_owned(),
            number: number.to_owned(),
            fen,
            how,
        };
        let record = [
            entry("lost01", 700, Explained::PaymentSentBack),
            entry("rc1", 700, Explained::RefundByFix),
            entry("lost02", 900, Explained::PaymentWrittenOff),
            entry("lostr01", 100, Explained::RefundWrittenOff),
        ];
        let audit = |record: &[Explanation], lines: &[ChannelLine]| {
            let mut auditor = Auditor::with_channels();
            record.iter().cloned().for_each(|e| auditor.explain(e));
            lines.iter().for_each(|l| auditor.channel_line(l));
            auditor.finish()
        };
        let report = audit(&record, &lines);
        assert!(report.clean, "{report:#?}");
        assert_eq!(report.channel_lines, Some(4));
        let counted: Vec<(Explained, u64, i64)> =
            report.explained.iter().map(|(how, n)| (*how, n.lines, n.fen)).collect();
        assert_eq!(
            counted,
            [
                (Explained::PaymentSentBack, 1, 700),
                (Explained::RefundByFix, 1, 700),
                (Explained::PaymentWrittenOff, 1, 900),
                (Explained::RefundWrittenOff, 1, 100)
            ]
        );
        for n in 0..4 {
            // An entry less, a fen beside it, another channel, or a line twice: each is a violation of one line.
            let mut less = record.to_vec();
            less.remove(n);
            let mut beside = record.to_vec();
            beside[n].fen += 1;
            let mut elsewhere = record.to_vec();
            elsewhere[n].channel = "alipay".to_owned();
            let twice = [&lines[..], &lines[n..=n]].concat();
            for (what, report) in [
                ("less", audit(&less, &lines)),
                ("beside", audit(&beside, &lines)),
                ("elsewhere", audit(&elsewhere, &lines)),
                ("twice", audit(&record, &twice)),
            ] {
                let named: Vec<&str> = report.violations.iter().map(|v| v.code.as_str()).collect();
                assert!(!report.clean && named.contains(&"unknown_at_home"), "{what} {n}: {report:#?}");
            }
        }
        // A fix that says "sent back" explains nothing unless the channel has its refund.
        let report = audit(&record, &[lines[0].clone(), lines[2].clone(), lines[3].clone()]);
        assert_eq!(report.violations.len(), 1, "{report:#?}");
        assert_eq!(report.violations[0].code, "unknown_at_channel");
    }

    #[test]
    fn what_is_still_open_is_not_a_violation() {
        let mut order = paid();
        let row = order.row.as_mut().unwrap();
        (row.settled, row.net_fen) = (0, 3700);
        order.refunds[0].state = "processing".to_owned();
        order.books.truncate(4);
        assert_eq!(codes(&order, &world()[..2]), Vec::<String>::new());
    }

    #[test]
    fn a_ruined_store_is_counted_and_not_kept_whole() {
        let mut auditor = Auditor::new();
        for n in 0..10_050 {
            auditor.violated(Violation::general("test", n.to_string()));
        }
        let report = auditor.finish();
        assert_eq!((report.violations.len(), report.violations_total()), (10_000, 10_050));
        assert!(!report.clean);
    }
}
