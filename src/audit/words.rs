//! What an audit found, for people.

use std::fmt::Write as _;

use domain::audit::{AuditReport, Violation, certificate::Outcome};

/// Violations shown; the JSON form has them all.
const SHOWN: usize = 50;

/// The report.
#[must_use]
pub(crate) fn in_words(report: &AuditReport) -> String {
    let states: Vec<String> = report.states.iter().map(|(state, n)| format!("{n} {state}")).collect();
    let mut text = format!(
        "{} orders ({}), {} attempts, {} transitions; captured {} fen, given back {} fen\n",
        report.orders,
        states.join(", "),
        report.attempts,
        report.events,
        report.captured_fen,
        report.refunded_fen
    );
    let _infallible = match report.channel_lines {
        Some(lines) => writeln!(text, "compared with {lines} lines of the channels' own books"),
        None => writeln!(text, "the channels' own books were not at hand (--sandbox URL)"),
    };
    for (how, counted) in &report.explained {
        let _infallible = writeln!(
            text,
            "of no order of ours, and on record in reconciliation: {} {} ({} fen)",
            counted.lines,
            how.in_words(),
            counted.fen
        );
    }
    if report.open > 0 {
        let _infallible = writeln!(text, "{} orders are still at work", report.open);
    }
    violations(&mut text, &report.violations, report.violations_total());
    let _infallible = if report.clean {
        writeln!(text, "audit clean: every fen is accounted for")
    } else {
        writeln!(text, "audit FAILED: {} violations", report.violations_total())
    };
    text
}

/// A comparison with a certificate.
#[must_use]
pub(crate) fn compared_in_words(outcome: &Outcome) -> String {
    let mut text = format!(
        "{} orders are as certified; {} of them have moved on since, by appended transitions only\n",
        outcome.as_certified, outcome.moved_on
    );
    if outcome.added > 0 {
        let _infallible = writeln!(
            text,
            "{} orders of the range were being accepted while the certificate was made",
            outcome.added
        );
    }
    let all = u64::try_from(outcome.violations.len()).unwrap_or(u64::MAX);
    violations(&mut text, &outcome.violations, all);
    let _infallible = if all == 0 {
        writeln!(text, "the store is as it was certified")
    } else {
        writeln!(text, "the store is NOT as it was certified: {all} violations")
    };
    text
}

fn violations(text: &mut String, violations: &[Violation], all: u64) {
    for violation in violations.iter().take(SHOWN) {
        let _infallible = writeln!(text, "VIOLATION {}: {}", violation.code, violation.detail);
    }
    let shown = u64::try_from(violations.len().min(SHOWN)).unwrap_or(u64::MAX);
    if all > shown {
        let _infallible = writeln!(text, "… and {} more", all - shown);
    }
}
