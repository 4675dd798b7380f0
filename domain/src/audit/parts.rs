//! Orders that are paid in parts: the whole against its parts, all or nothing.

use std::collections::BTreeMap;

use super::{OrderAccount, OrderRow, Violation};

/// Orders in parts, with what their parts come to. Few among many: the only thing kept over orders.
#[derive(Debug, Default)]
pub(super) struct Wholes(BTreeMap<String, Whole>);

/// An order in parts and the sums over those of its parts that were read.
#[derive(Debug, Default)]
struct Whole {
    /// The whole's own row, once it was read.
    itself: Option<OrderRow>,
    succeeded: i64,
    amount_fen: i64,
    net_fen: i64,
    open: i64,
}

impl Wholes {
    /// Adds an order in parts, or one of its parts, to the whole's sums.
    pub(super) fn order(&mut self, account: &OrderAccount, row: &OrderRow) {
        if row.parts == 0 && row.part_of.is_none() {
            return;
        }
        let whole = self.0.entry(row.part_of.clone().unwrap_or_else(|| account.id.clone())).or_default();
        if row.parts > 0 {
            whole.itself = Some(row.clone());
            return;
        }
        whole.succeeded += i64::from(row.state == "success");
        whole.open += i64::from(row.settled != 1);
        whole.amount_fen = whole.amount_fen.saturating_add(row.amount_fen);
        whole.net_fen = whole.net_fen.saturating_add(row.net_fen);
    }

    /// Every part of a success is one, and no part of a failure holds a fen.
    pub(super) fn contradictions(&self) -> Vec<Violation> {
        self.0.iter().filter_map(|(id, whole)| contradiction(id, whole)).collect()
    }
}

fn contradiction(id: &str, whole: &Whole) -> Option<Violation> {
    let Some(itself) = &whole.itself else {
        let detail = format!("orders say that they are parts of {id}, which is not there");
        return Some(Violation::of("part_without_whole", id, detail));
    };
    if itself.settled != 1 || whole.open > 0 {
        return None;
    }
    let OrderRow { amount_fen, parts, .. } = itself;
    match itself.state.as_str() {
        "success" if whole.succeeded != *parts || whole.amount_fen != *amount_fen => {
            let detail = format!(
                "order {id} is a success of {amount_fen} fen in {parts} parts; {} parts succeeded, they come to {} fen",
                whole.succeeded, whole.amount_fen
            );
            Some(Violation::of("success_not_all_parts", id, detail))
        }
        "failed" if whole.net_fen != 0 => {
            let detail = format!("order {id} failed, and its parts still hold {} fen", whole.net_fen);
            Some(Violation::of("failed_holds_money", id, detail))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_in_parts_is_all_or_nothing() {
        let of = |id: &str, row: OrderRow| OrderAccount {
            id: id.to_owned(),
            row: Some(row),
            ..OrderAccount::default()
        };
        let whole = |state: &str| {
            let state = state.to_owned();
            of("w", OrderRow { state, settled: 1, amount_fen: 3700, parts: 2, ..OrderRow::default() })
        };
        let part = |id: &str| {
            let (state, part_of) = ("success".to_owned(), Some("w".to_owned()));
            of(
                id,
                OrderRow {
                    state,
                    settled: 1,
                    amount_fen: 1850,
                    net_fen: 1850,
                    part_of,
                    ..OrderRow::default()
                },
            )
        };
        let codes = |orders: &[OrderAccount]| -> Vec<String> {
            let mut wholes = Wholes::default();
            orders.iter().for_each(|order| wholes.order(order, order.row.as_ref().unwrap()));
            wholes.contradictions().into_iter().map(|v| v.code).collect()
        };
        assert_eq!(codes(&[whole("success"), part("a"), part("b")]), [""; 0]);
        assert_eq!(codes(&[whole("success"), part("a")]), ["success_not_all_parts"]);
        assert_eq!(codes(&[whole("failed"), part("a")]), ["failed_holds_money"]);
        assert_eq!(codes(&[part("a")]), ["part_without_whole"]);
    }
}
