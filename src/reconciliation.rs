//! Runs and differences as people and programs read them: JSON, CSV, text. The command line and the admin API share it.

use std::fmt::Write as _;

use domain::{
    Timestamp,
    reconciliation::{DifferenceKind, DifferenceState, Fix, Subject},
};
use serde_json::{Value, json};
use store::{Act, BillRun, Difference, Gap};

/// A run.
pub(crate) fn run_json(run: &BillRun) -> Value {
    json!({
        "channel": run.channel, "day": run.day, "state": run.state.as_str(), "asked_by": run.asked_by,
        "asked_at": run.asked_at.to_string(), "tries": run.tries, "next_try_at": run.next_at.to_string(),
        "problem": run.problem, "fetched_at": run.fetched_at.map(|at| at.to_string()),
        "file_sha256": run.file_hash, "file_bytes": run.file_bytes, "lines": run.lines,
        "paid_fen": run.paid_fen, "refunded_fen": run.refunded_fen, "fee_fen": run.fee_fen,
        "lines_imported": run.line_done.min(run.lines), "numbers_matched": run.matched,
        "ended_at": run.ended_at.map(|at| at.to_string()),
    })
}

/// A difference with what became of it.
pub(crate) fn difference_json(difference: &Difference, now: Timestamp) -> Value {
    let found = &difference.found;
    json!({
        "id": difference.id, "channel": difference.channel, "day": difference.day,
        "kind": found.kind.as_str(), "subject": found.subject.as_str(), "number": found.number,
        "order": found.order, "ours_fen": found.ours_fen, "theirs_fen": found.theirs_fen,
        "adopts": found.adopts, "trade_no": found.trade_no, "line": found.line, "at": found.at.map(|at| at.to_string()),
        "fix": found.fix.as_str(), "fix_fen": found.fix_fen, "detail": found.detail,
        "state": difference.state.as_str(), "overdue": difference.is_overdue(now), "chosen": difference.chosen.map(Fix::as_str),
        "first_by": difference.first_by, "second_by": difference.second_by,
        "refund_no": difference.refund_no, "outcome": difference.outcome,
        "found_at": difference.found_at.to_string(), "changed_at": difference.changed_at.to_string(),
    })
}

/// Who did what about a difference.
pub(crate) fn act_json(act: &Act) -> Value {
    json!({ "at": act.at.to_string(), "by": act.by, "act": act.act, "note": act.note })
}

/// A capture without a notification.
pub(crate) fn gap_json(gap: &Gap) -> Value {
    json!({
        "channel": gap.channel, "channel_order_no": gap.channel_order_no, "order": gap.order,
        "captured_at": gap.captured_at.to_string(), "captured_by": gap.captured_by,
        "checked_at": gap.checked_at.to_string(), "verdict": gap.verdict, "detail": gap.detail,
    })
}

const COLUMNS: &str = "id,channel,day,kind,subject,number,order,ours_fen,theirs_fen,trade_no,line,at,fix,fix_fen,\
                       state,chosen,first_by,second_by,refund_no,outcome,detail";

/// Differences as CSV (RFC 4180), with a header line.
pub(crate) fn csv(differences: &[Difference]) -> String {
    let mut text = format!("{COLUMNS}\r\n");
    let maybe = |value: Option<String>| value.unwrap_or_default();
    for difference in differences {
        let found = &difference.found;
        let cells = [
            difference.id.to_string(),
            difference.channel.clone(),
            difference.day.clone(),
            found.kind.as_str().to_owned(),
            found.subject.as_str().to_owned(),
            found.number.clone(),
            maybe(found.order.map(|id| id.to_string())),
            maybe(found.ours_fen.map(|fen| fen.to_string())),
            maybe(found.theirs_fen.map(|fen| fen.to_string())),
            found.trade_no.clone(),
            maybe(found.line.map(|line| line.to_string())),
            maybe(found.at.map(|at| at.to_string())),
            found.fix.as_str().to_owned(),
            found.fix_fen.to_string(),
            difference.state.as_str().to_owned(),
            maybe(difference.chosen.map(|fix| fix.as_str().to_owned())),
            maybe(difference.first_by.clone()),
            maybe(difference.second_by.clone()),
            maybe(difference.refund_no.clone()),
            maybe(difference.outcome.clone()),
            found.detail.clone(),
        ];
        text.push_str(&cells.map(|cell| quoted(&cell)).join(","));
        text.push_str("\r\n");
    }
    text
}

/// A cell that no spreadsheet takes for a formula, and no comma or quote breaks.
fn quoted(cell: &str) -> String {
    let formula = cell.starts_with(['=', '+', '-', '@', '\t']) && cell.parse::<i64>().is_err();
    let cell = if formula { format!("'{cell}") } else { cell.to_owned() };
    if cell.contains([',', '"', '\r', '\n']) { format!("\"{}\"", cell.replace('"', "\"\"")) } else { cell }
}

/// Differences for people: a count for each kind, then a line each.
pub(crate) fn in_words(differences: &[Difference], now: Timestamp) -> String {
    let mut text = String::new();
    let live = |d: &&Difference| d.state.counts();
    for kind in DifferenceKind::ALL {
        let n = differences.iter().filter(live).filter(|d| d.found.kind == kind).count();
        if n > 0 {
            let _infallible = writeln!(text, "  {:<20} {n}", kind.as_str());
        }
    }
    for difference in differences {
        let found = &difference.found;
        let subject = if found.subject == Subject::Refund { "refund" } else { "payment" };
        let prepared = match difference.state {
            DifferenceState::Open => format!("prepared: {} {} fen", found.fix.as_str(), found.fix_fen),
            state if difference.is_overdue(now) => {
                format!("{}, OVERDUE: no final word since {}", state.as_str(), difference.changed_at)
            }
            state => state.as_str().to_owned(),
        };
        let _infallible = writeln!(
            text,
            "  #{:<5} {:<12} {:<18} {subject}: {} [{prepared}]",
            difference.id,
            difference.channel,
            found.kind.as_str(),
            found.detail
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::quoted;

    #[test]
    fn a_cell_is_no_formula_and_breaks_no_row() {
        for (cell, expected) in [
            ("plain", "plain"),
            ("-12", "-12"),
            ("=cmd()", "'=cmd()"),
            ("a,b", "\"a,b\""),
            ("say \"x\"", "\"say \"\"x\"\"\""),
        ] {
            assert_eq!(quoted(cell), expected);
        }
    }
}
