//! First opinion: the tables among themselves, by the audit's own arithmetic. Knows nothing of facts and rules.

use std::collections::{BTreeMap, BTreeSet};

use super::{OrderAccount, OrderRow, RefundRow, Violation};

/// A sum that a damaged fen cannot overflow.
pub(super) fn total(fen: impl Iterator<Item = i64>) -> i64 {
    fen.fold(0, i64::saturating_add)
}

/// What an order's attempts took and what went back, by its rows.
pub(super) fn money(account: &OrderAccount) -> (i64, i64) {
    let back = account.refunds.iter().filter(|r| r.state == "succeeded").map(|r| r.amount_fen);
    (total(account.attempts.iter().filter_map(|a| a.capture_fen)), total(back))
}

/// What the rows of one order contradict.
pub(super) fn contradictions(account: &OrderAccount, row: &OrderRow, found: &mut Vec<Violation>) {
    amounts(account, row, found);
    exposure(account, row, found);
    ledger(account, found);
    told(account, row, found);
}

fn amounts(account: &OrderAccount, row: &OrderRow, found: &mut Vec<Violation>) {
    let id = &account.id;
    let (captured, back) = money(account);
    let succeeded = |r: &&RefundRow| r.state == "succeeded";
    let surplus = account.refunds.iter().filter(succeeded).filter(|r| r.cause != "asked");
    let surplus = total(surplus.map(|r| r.amount_fen));
    let net = captured.saturating_sub(back);
    if net != row.net_fen {
        let detail = format!(
            "order {id}: its row says {} fen are held, its attempts and refunds say {net} fen",
            row.net_fen
        );
        found.push(Violation::of("net_differs", id, detail));
    }
    for refund in &account.refunds {
        let took = account.attempts.iter().find(|a| a.no == refund.attempt_no).and_then(|a| a.capture_fen);
        let others = account.refunds.iter().filter(succeeded).filter(|r| r.attempt_no == refund.attempt_no);
        let others = total(others.map(|r| r.amount_fen));
        if took.is_none_or(|took| others > took) {
            let detail = format!(
                "order {id}: refunds of attempt {} come to {others} fen, it took {} fen",
                refund.attempt_no,
                took.unwrap_or(0)
            );
            found.push(Violation::of("refund_exceeds_capture", id, detail));
            break;
        }
    }
    if row.settled != 1 {
        return; // still at work: what it owes is in its rows, and the next audit looks again
    }
    let kept = captured.saturating_sub(surplus);
    match row.state.as_str() {
        _ if row.parts > 0 => {} // its parts hold the money: see `parts`
        "success" if kept != row.amount_fen => {
            let detail = format!(
                "order {id} is a success of {} fen; net captured before asked refunds: {kept} fen",
                row.amount_fen
            );
            found.push(Violation::of("success_not_one_capture", id, detail));
        }
        "success" if !account.attempts.iter().any(|a| a.capture_fen == Some(row.amount_fen)) => {
            let detail =
                format!("order {id} is a success, and no attempt took exactly {} fen", row.amount_fen);
            found.push(Violation::of("success_not_one_capture", id, detail));
        }
        "failed" if net != 0 => {
            let detail = format!("order {id} failed, and channels still hold {net} fen for it");
            found.push(Violation::of("failed_holds_money", id, detail));
        }
        "success" | "failed" => {}
        other => {
            let detail = format!("order {id} owes nothing any more, and is {other}");
            found.push(Violation::of("settled_without_end", id, detail));
        }
    }
}

fn exposure(account: &OrderAccount, row: &OrderRow, found: &mut Vec<Violation>) {
    let id = &account.id;
    for attempt in &account.attempts {
        let open = matches!(attempt.state.as_str(), "calling" | "exposed" | "closing");
        if open && row.state == "failed" {
            let detail = format!(
                "order {id} failed while attempt {} on {} is {}",
                attempt.no, attempt.channel, attempt.state
            );
            found.push(Violation::of("failed_without_certificate", id, detail));
        }
    }
    if account.attempts.iter().filter(|a| a.state == "exposed").count() > 1 {
        found.push(Violation::of("two_exposed", id, format!("order {id} shows two credentials at once")));
    }
}

fn ledger(account: &OrderAccount, found: &mut Vec<Violation>) {
    let id = &account.id;
    let mut by_version: BTreeMap<i64, i64> = BTreeMap::new();
    let mut channels: BTreeMap<&str, i64> = BTreeMap::new();
    for line in &account.books {
        let sum = by_version.entry(line.version).or_default();
        *sum = sum.saturating_add(line.amount_fen);
        if let Some(channel) = line.account.strip_prefix("channel/") {
            let sum = channels.entry(channel).or_default();
            *sum = sum.saturating_add(line.amount_fen);
        }
    }
    for (version, sum) in by_version.into_iter().filter(|(_, sum)| *sum != 0) {
        let detail = format!("order {id}, transition {version}: its postings sum to {sum} fen");
        found.push(Violation::of("books_unbalanced", id, detail));
    }
    let names: BTreeSet<&str> = account.attempts.iter().map(|a| a.channel.as_str()).collect();
    for channel in names {
        let of = |no: i64| account.attempts.iter().any(|a| a.no == no && a.channel == channel);
        let taken = account.attempts.iter().filter(|a| a.channel == channel).filter_map(|a| a.capture_fen);
        let back = account.refunds.iter().filter(|r| r.state == "succeeded" && of(r.attempt_no));
        let held = total(taken).saturating_sub(total(back.map(|r| r.amount_fen)));
        let booked = channels.remove(channel).unwrap_or(0);
        if booked != held {
            let detail = format!(
                "order {id}: the books hold {booked} fen at {channel}, attempts and refunds say {held} fen"
            );
            found.push(Violation::of("books_differ", id, detail));
        }
    }
    for (channel, booked) in channels.into_iter().filter(|(_, fen)| *fen != 0) {
        let detail = format!("order {id}: the books hold {booked} fen at {channel}, where it has no attempt");
        found.push(Violation::of("books_differ", id, detail));
    }
}

fn told(account: &OrderAccount, row: &OrderRow, found: &mut Vec<Violation>) {
    let id = &account.id;
    if row.part_of.is_some() {
        return; // the backend is told about the whole
    }
    let wanted = match row.state.as_str() {
        "success" => "order.succeeded",
        "failed" => "order.failed",
        _ => return,
    };
    let told = account.webhooks.iter().filter(|w| w.kind == wanted);
    let states: Vec<&str> = told.map(|w| w.state.as_str()).collect();
    if states.is_empty() {
        let detail = format!("order {id} is {} and nobody is told", row.state);
        found.push(Violation::of("webhook_missing", id, detail));
    } else if states.iter().all(|state| *state == "dead") {
        let detail = format!("order {id}: its webhook was given up before it was delivered");
        found.push(Violation::of("webhook_dead", id, detail));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::tests::paid;

    fn codes(account: &OrderAccount) -> Vec<String> {
        let mut found = Vec::new();
        contradictions(account, account.row.as_ref().unwrap(), &mut found);
        found.into_iter().map(|v| v.code).collect()
    }

    fn row(account: &mut OrderAccount) -> &mut OrderRow {
        account.row.as_mut().unwrap()
    }

    #[test]
    #[expect(clippy::type_complexity, reason = "a table of alterations")]
    fn one_altered_row_is_found_and_named() {
        assert_eq!(codes(&paid()), Vec::<String>::new());
        let rows: Vec<(&str, Box<dyn Fn(&mut OrderAccount)>)> = vec![
            ("net_differs", Box::new(|o| row(o).net_fen -= 1)),
            ("success_not_one_capture", Box::new(|o| row(o).amount_fen += 1)),
            ("refund_exceeds_capture", Box::new(|o| o.refunds[0].amount_fen += 1)),
            ("books_unbalanced", Box::new(|o| o.books[0].amount_fen += 1)),
            ("books_unbalanced", Box::new(|o| o.books[0].amount_fen = i64::MAX)),
            ("books_differ", Box::new(|o| o.books.truncate(4))),
            ("webhook_missing", Box::new(|o| o.webhooks.clear())),
            ("webhook_dead", Box::new(|o| o.webhooks[0].state = "dead".to_owned())),
            (
                "failed_without_certificate",
                Box::new(|o| {
                    row(o).state = "failed".to_owned();
                    o.attempts[1].state = "exposed".to_owned();
                }),
            ),
            ("failed_holds_money", Box::new(|o| row(o).state = "failed".to_owned())),
            ("settled_without_end", Box::new(|o| row(o).state = "suspicious".to_owned())),
            ("two_exposed", Box::new(|o| o.attempts.iter_mut().for_each(|a| a.state = "exposed".to_owned()))),
        ];
        for (code, alter) in rows {
            let mut order = paid();
            alter(&mut order);
            let found = codes(&order);
            assert!(found.iter().any(|c| c == code), "{code} expected, found {found:?}");
        }
    }
}
