//! Orders in parts, judged from outside: all of the money over the parts, or none of it.
//!
//! The oracle learns of the cut when it becomes durable, and from then on looks at the channels' books alone: one part
//! after another can be paid, none begins once the whole has failed, and in the evening the channels hold exactly the
//! whole or nothing. Backends hear of wholes only.

use std::collections::BTreeMap;

use domain::{
    Money, OrderId,
    order::{Fact, Order, OrderState, PartPlan, PartState},
};

use crate::{
    trades::{Books, Stands},
    world::World,
};

/// What the oracle knows of orders in parts.
#[derive(Debug, Default)]
pub(crate) struct Wholes {
    by_id: BTreeMap<OrderId, Whole>,
    /// The whole of each part.
    of: BTreeMap<OrderId, OrderId>,
}

#[derive(Debug, Default)]
struct Whole {
    parts: Vec<PartPlan>,
    failed: bool,
    /// What the backend asked back.
    asked_fen: i64,
    /// And whether the house said that it would.
    heard: bool,
}

impl Wholes {
    /// The parts of an order, if it has any.
    pub(crate) fn parts(&self, id: OrderId) -> Option<&[PartPlan]> {
        self.by_id.get(&id).map(|whole| whole.parts.as_slice())
    }
}

/// What the channels hold for a part: taken, less what went back; and whether they gave up a refund of it.
fn held(books: &Books, part: OrderId) -> (i64, bool) {
    let id = part.to_string();
    let numbers = books.trades.range(id.clone()..).take_while(|(number, _)| number.starts_with(&id));
    let taken: i64 = numbers.filter_map(|(number, _)| books.capture(number)).map(|c| c.amount.fen()).sum();
    let refunds = || books.refunds.values().filter(|r| r.number.starts_with(&id));
    let back: i64 = refunds().filter(|r| matches!(r.stands, Stands::Done(_))).map(|r| r.amount.fen()).sum();
    (taken - back, refunds().any(|r| r.stands == Stands::Abnormal))
}

impl World {
    /// A transition of a whole or of a part became durable.
    pub(crate) fn part_committed(&mut self, order: &Order, facts: &[Fact]) {
        if order.is_split() {
            return self.whole_committed(order, facts);
        }
        let Some(of) = order.request.part_of else { return };
        let begins = facts.iter().any(|fact| matches!(fact, Fact::Accepted { .. }));
        if begins && self.oracle.wholes.by_id.get(&of.order).is_none_or(|whole| whole.failed) {
            let what = format!("part {} of {} begins, and that has failed or is not there", of.no, of.order);
            self.outrage("part_begun_in_vain", Some(of.order), what);
        }
        if facts.iter().any(|fact| matches!(fact, Fact::Exposed { .. }))
            && let Some(other) = self.payable_part(of.order, |part| {
                // Beside a paid part's code an older one may live on: its refund is booked before it is paid.
                part.id != order.id && !self.oracle.holds_exactly(&self.books, part.id, part.amount.fen())
            })
        {
            let what = format!("parts {} and {other} of {} can be paid at once", order.id, of.order);
            self.outrage("two_parts_at_once", Some(of.order), what);
        }
    }

    fn whole_committed(&mut self, order: &Order, facts: &[Fact]) {
        for fact in facts {
            match fact {
                Fact::Split { parts } => {
                    let sum: i64 = parts.iter().map(|part| part.amount.fen()).sum();
                    if sum != order.request.amount.fen() {
                        let what =
                            format!("order {} of {} is cut into {sum} fen", order.id, order.request.amount);
                        self.outrage("cut_untrue", Some(order.id), what);
                    }
                    self.count("orders in parts");
                    let wholes = &mut self.oracle.wholes;
                    wholes.of.extend(parts.iter().map(|part| (part.id, order.id)));
                    wholes.by_id.insert(order.id, Whole { parts: parts.clone(), ..Whole::default() });
                }
                Fact::StateChanged { to: OrderState::Success, .. } => self.count("wholes paid"),
                Fact::StateChanged { to: OrderState::Failed, .. } => {
                    let went_back = order.parts.iter().any(|part| part.state == PartState::Returned);
                    self.count(if went_back { "wholes sent back halfway" } else { "wholes never paid" });
                    if let Some(part) = self.payable_part(order.id, |_| true) {
                        let what =
                            format!("order {} failed, and its part {part} can still be paid", order.id);
                        self.outrage("failed_and_payable", Some(order.id), what);
                    }
                    if let Some(whole) = self.oracle.wholes.by_id.get_mut(&order.id) {
                        whole.failed = true;
                    }
                }
                _ => {}
            }
        }
    }

    /// One of these parts of the whole that has a code which a payer has seen and can pay.
    fn payable_part(&self, whole: OrderId, of: impl Fn(&PartPlan) -> bool) -> Option<OrderId> {
        let parts = self.oracle.wholes.parts(whole)?.iter().filter(|part| of(part));
        let mut parts = parts.map(|part| part.id);
        parts.find(|part| {
            let id = part.to_string();
            let numbers = self.books.trades.range(id.clone()..).map(|(number, _)| number);
            let mut numbers = numbers.take_while(|number| number.starts_with(&id));
            numbers.any(|n| self.oracle.shown.contains(n) && self.books.payable(n, self.now))
        })
    }

    /// A backend asked for money of an order back; `heard`: and was told that it comes.
    pub(crate) fn asked_back(&mut self, id: OrderId, amount: Money, heard: bool) {
        if let Some(whole) = self.oracle.wholes.by_id.get_mut(&id) {
            whole.asked_fen = amount.fen();
            whole.heard |= heard;
        }
    }

    /// A webhook reached a backend.
    pub(crate) fn no_part_is_told(&mut self, id: &str, kind: &str) {
        let part = id.parse().ok().filter(|id: &OrderId| self.oracle.wholes.of.contains_key(id));
        if part.is_some() {
            self.outrage("part_told", part, format!("a backend is told {kind} of the part {id}"));
        }
    }

    /// The channels hold all of a success, less what its backend asked back, and nothing of a failure.
    pub(crate) fn whole_in_the_evening(&mut self, id: OrderId, state: &str) {
        let Some(whole) = self.oracle.wholes.by_id.get(&id) else { return };
        let (mut in_all, mut amount, mut gave_up) = (0, 0, false);
        for part in &whole.parts {
            let (held, given_up) = held(&self.books, part.id);
            if held > part.amount.fen() {
                let what =
                    format!("the channels hold {held} fen of part {}, which is {}", part.id, part.amount);
                return self.outrage("part_charged_twice", Some(id), what);
            }
            in_all += held;
            amount += part.amount.fen();
            gave_up |= given_up;
        }
        let (asked, least) = (whole.asked_fen, amount - whole.asked_fen);
        let fits = match state {
            "failed" => in_all == 0,
            "success" if whole.heard && !gave_up => in_all == least,
            "success" => (least..=amount).contains(&in_all),
            _ => true, // it still owes something, which is told elsewhere
        };
        if !fits {
            let what = format!(
                "order {id} of {amount} fen is {state}; the channels hold {in_all} fen of its parts, and its backend asked for {asked} back"
            );
            self.outrage("whole_untrue", Some(id), what);
        }
    }
}
