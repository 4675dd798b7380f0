//! Orders that are paid in parts: told once each, then lived through at random.

use proptest::{prelude::*, test_runner::Config};

use super::*;
use crate::order::{Failure, PartPlan, PartSeen, PartState, Rejected, TakenOver, accept_split};

const PARTS: [i64; 3] = [700, 600, 550];

/// The whole, and what became of the parts' own orders, which obey the rules of ordinary ones.
struct Whole {
    order: Order,
    history: Vec<Vec<crate::order::Fact>>,
    parts: Vec<Option<Desk>>,
}

fn part_id(no: u8) -> OrderId {
    OrderId::from_u128(id().as_u128() + u128::from(no))
}

impl Whole {
    fn new() -> Whole {
        let plan = |no: u8| PartPlan { id: part_id(no), amount: fen(PARTS[usize::from(no) - 1]) };
        let decision = accept_split(id(), request(), (1..=3).map(plan).collect(), at(0));
        Whole { order: decision.next, history: vec![decision.facts], parts: vec![None, None, None] }
    }

    fn hear(&mut self, event: &Event) -> Result<(), Rejected> {
        let decision = decide(&self.order, event, at(1), &Rules::default())?;
        unasked_is_never_booked_beside(&self.order, event, &decision.facts);
        if !decision.facts.is_empty() {
            assert!(crate::books::postings(&decision.facts, &decision.next).is_empty(), "it moves no money");
            self.history.push(decision.facts);
        }
        self.order = decision.next;
        let folded = Order::fold(id(), self.history.iter().map(Vec::as_slice)).unwrap().unwrap();
        assert_eq!(folded, self.order, "a split order is the fold of its facts after {event:?}");
        Ok(())
    }

    fn part(&mut self, no: u8) -> &mut Desk {
        let request = self.order.part_request(no).unwrap();
        self.parts[usize::from(no) - 1].get_or_insert_with(|| {
            let decision = accept(part_id(no), request, at(0));
            Desk { order: decision.next, history: vec![decision.facts], secs: 0 }
        })
    }

    /// What the actor does for `Owed::Part`: begin, tell, look.
    fn carry(&mut self, no: u8) {
        for event in self.order.part_duty(no) {
            let _declined = self.part(no).hear(&event);
        }
        let seen = PartSeen::of(&self.part(no).order);
        self.hear(&Event::PartSeen { no, seen }).unwrap();
    }

    fn owed(&self) -> Vec<u8> {
        let no = |owed: Owed| if let Owed::Part { no, .. } = owed { Some(no) } else { None };
        crate::order::resume(&self.order, at(1)).into_iter().filter_map(no).collect()
    }

    /// The payer meets a part: 0 pays it, 1 lets it be refused, anything else only opens it.
    fn payer(&mut self, no: u8, how: u8) {
        let amount = PARTS[usize::from(no) - 1];
        let part = self.part(no);
        if part.order.attempts.is_empty() {
            let _late = part.hear(&wechat());
            let _late = part.hear(&shown(1));
        }
        if part.order.attempts.is_empty() {
            return;
        }
        let _declined = match how {
            0 => part.hear(&captured(1, amount)),
            1 => part.hear(&found(1, Found::Closed)),
            _ => Ok(()),
        };
    }

    fn refunds_come_back(&mut self) {
        for part in self.parts.iter_mut().flatten() {
            while let Some(refund_no) = part.refund_no() {
                let amount = part.order.refund(&refund_no).unwrap().amount;
                let done = crate::channel::RefundFound::Succeeded {
                    channel_refund_id: "X".to_owned(),
                    amount,
                    at: at(9),
                };
                let answer = Answer::Settled(done);
                part.hear(&Event::RefundAnswered { refund_no, answer }).unwrap();
            }
        }
    }

    fn held(&self) -> i64 {
        self.parts.iter().flatten().map(|p| p.order.net_captured().fen()).sum()
    }

    fn clear_up(&mut self) {
        for _ in 0..30 {
            self.refunds_come_back();
            let owed = self.owed();
            if owed.is_empty() {
                return;
            }
            for no in owed {
                // Who still owes nothing but a payment has the payer walk away.
                if self
                    .order
                    .part(no)
                    .is_some_and(|p| matches!(p.state, PartState::Payable | PartState::Waiting))
                {
                    self.payer(no, 1);
                }
                self.carry(no);
            }
        }
        panic!("still owed: {:#?}", self.order);
    }
}

#[test]
fn parts_are_opened_one_after_another_and_the_last_payment_makes_the_success() {
    let mut whole = Whole::new();
    for no in 1..=3 {
        assert_eq!(whole.owed(), [no], "one part at a time");
        whole.payer(no, 2);
        whole.carry(no);
        assert_eq!(whole.order.state, OrderState::Processing);
        whole.payer(no, 0);
        whole.carry(no);
    }
    assert!(whole.order.state == OrderState::Success && whole.order.is_settled());
    assert!(crate::order::truth(&whole.order).sentence.contains("arrived"));
}

#[test]
fn if_one_part_fails_the_paid_ones_come_back_before_the_whole_says_failed() {
    let mut whole = Whole::new();
    whole.payer(1, 0);
    whole.carry(1);
    assert!(crate::order::truth(&whole.order).sentence.contains("1 of 3 parts are paid: 7.00 of 18.50 yuan"));
    whole.payer(2, 1);
    whole.carry(2);
    assert_eq!((whole.order.state, whole.owed()), (OrderState::Processing, vec![1]));
    assert!(crate::order::truth(&whole.order).sentence.contains("coming back"));
    whole.carry(1);
    assert_eq!(whole.held(), 700, "told, not yet back");
    whole.refunds_come_back();
    whole.carry(1);
    assert_eq!((whole.order.state, whole.held()), (OrderState::Failed, 0));
    assert!(whole.order.is_settled() && whole.parts[2].is_none(), "the third part was never begun");
    assert!(crate::order::truth(&whole.order).sentence.contains("is back"));
}

#[test]
fn a_cancel_waits_for_the_word_of_the_open_part() {
    let mut whole = Whole::new();
    whole.payer(1, 0);
    whole.carry(1);
    whole.payer(2, 2);
    whole.hear(&Event::CancelAsked).unwrap();
    // The payer was faster than the cancel: the part is paid, and goes back with the first.
    whole.payer(2, 0);
    whole.carry(2);
    assert_eq!(whole.order.recalled.map(|(failure, _)| failure), Some(Failure::Cancelled));
    whole.clear_up();
    assert_eq!((whole.order.state, whole.held()), (OrderState::Failed, 0));
}

#[test]
fn a_refund_is_spread_over_the_parts_and_ends_with_its_last_share() {
    let mut whole = Whole::new();
    (1..=3).for_each(|no| {
        whole.payer(no, 0);
        whole.carry(no);
    });
    whole.hear(&ask("R1", 1000)).unwrap();
    whole.hear(&ask("R1", 1000)).unwrap();
    assert_eq!(whole.order.spreads.len(), 1);
    assert_eq!(whole.hear(&ask("R1", 1001)), Err(Rejected::RefundNoReused { amount: fen(1000) }));
    assert_eq!(whole.hear(&ask("R2", 851)), Err(Rejected::RefundExceeds { left: fen(850) }));
    assert_eq!(whole.owed(), [1, 2]);
    whole.clear_up();
    assert!(whole.order.is_settled() && whole.order.state == OrderState::Success);
    assert_eq!(whole.held(), 850);
    let told = whole.history.iter().flat_map(|facts| crate::order::announcements(facts));
    assert_eq!(told.filter(|a| a.kind() == "refund.succeeded").count(), 1);
}

fn all_paid() -> Whole {
    let mut whole = Whole::new();
    (1..=3).for_each(|no| {
        whole.payer(no, 0);
        whole.carry(no);
    });
    whole
}

fn adopted_by_part(part: u8, place: u8, amount: i64) -> Event {
    let (refund_no, channel_refund_id) = (part_id(part).refund_no(place), "B".to_owned());
    Event::RefundAdopted { refund_no, no: no(1), amount: fen(amount), channel_refund_id, at: at(6) }
}

#[test]
fn a_refund_that_a_part_took_over_from_a_bill_is_one_of_the_whole_and_told_once() {
    let mut whole = all_paid();
    whole.part(1).hear(&adopted_by_part(1, 1, 650)).unwrap();
    for _ in 0..2 {
        whole.carry(1);
    }
    assert_eq!(whole.order.spreads.len(), 1);
    assert_eq!((whole.order.spreads[0].asked_as(), whole.held()), (None, 1200));
    let told = whole.history.iter().flat_map(|facts| crate::order::announcements(facts));
    assert_eq!(told.filter(|a| a.kind() == "refund.succeeded").count(), 1);
    // What is asked for next is taken from what is left.
    assert_eq!(whole.hear(&ask("R2", 1201)), Err(Rejected::RefundExceeds { left: fen(1200) }));
    whole.hear(&ask("R2", 1200)).unwrap();
    whole.clear_up();
    assert_eq!((whole.held(), whole.order.is_settled()), (0, true));
}

#[test]
fn a_request_repeated_of_an_order_in_parts_books_nothing_until_the_backend_calls_it_another_one() {
    // The lost refund of 900 was all of the first part and 200 of the second: the bills have it twice, once a part.
    let mut whole = all_paid();
    for (part, amount) in [(1, 700), (2, 200)] {
        whole.part(part).hear(&adopted_by_part(part, 1, amount)).unwrap();
        whole.carry(part);
    }
    let before = whole.order.clone();
    let number = |n: u8| id().refund_no(n);
    let taken_over = |n: u8, amount| TakenOver { no: number(n), amount: fen(amount), at: Some(at(6)) };
    let both = Err(Rejected::RefundTakenOver(vec![taken_over(1, 700), taken_over(2, 200)]));
    for _ in 0..2 {
        assert_eq!(whole.hear(&ask("R1", 900)), both);
    }
    // One alone may be a request, too.
    assert_eq!(whole.hear(&ask("R1", 200)), Err(Rejected::RefundTakenOver(vec![taken_over(2, 200)])));
    assert_eq!((&whole.order, whole.held()), (&before, 950));
    whole.hear(&ask("R2", 50)).unwrap();
    whole.hear(&ask_besides("R3", 900)).unwrap();
    whole.hear(&ask("R3", 900)).unwrap();
    assert_eq!(whole.order.spreads.len(), 4);
    whole.clear_up();
    assert_eq!((whole.held(), whole.order.is_settled()), (0, true));
}

#[test]
fn the_lost_request_of_an_order_in_parts_repeated_after_another_one_of_its_amount_books_nothing() {
    let mut whole = all_paid();
    for (part, amount) in [(1, 200), (2, 100)] {
        whole.part(part).hear(&adopted_by_part(part, 1, amount)).unwrap();
        whole.carry(part);
    }
    whole.hear(&ask_besides("R2", 300)).unwrap();
    whole.clear_up();
    let before = whole.order.clone();
    for _ in 0..2 {
        assert!(
            matches!(whole.hear(&ask("R1", 300)), Err(Rejected::RefundTakenOver(both)) if both.len() == 2)
        );
    }
    assert_eq!((&whole.order, whole.owed()), (&before, vec![]), "nothing more goes back");
    assert_eq!(whole.held(), 1850 - 600);
}

#[test]
fn whatever_comes_to_the_amount_is_named_at_most_one_of_each_part() {
    let mut whole = all_paid();
    for (part, place, amount) in [(1, 1, 200), (1, 2, 150), (2, 1, 100), (3, 1, 100), (3, 2, 300)] {
        whole.part(part).hear(&adopted_by_part(part, place, amount)).unwrap();
        whole.carry(part);
    }
    let named = |amount| -> Vec<Option<u8>> {
        whole.order.may_mean(fen(amount)).iter().map(|t| t.no.place()).collect()
    };
    let place = |places: &[u8]| -> Vec<Option<u8>> { places.iter().copied().map(Some).collect() };
    assert_eq!(named(100), place(&[3, 4]), "either");
    assert_eq!(named(300), place(&[1, 3, 4, 5]), "200 with either 100, or 300 alone");
    assert_eq!(named(650), [], "300 with both of the first part");
    assert_eq!(named(99), []);
}

#[test]
fn a_share_of_the_amount_that_its_part_took_over_is_given_since_the_whole_has_judged_it() {
    let mut whole = all_paid();
    whole.part(1).hear(&adopted_by_part(1, 1, 350)).unwrap();
    whole.carry(1);
    whole.hear(&ask_besides("R2", 350)).unwrap();
    whole.clear_up();
    assert_eq!((whole.held(), whole.order.is_settled()), (1150, true));
}

#[test]
fn a_share_that_a_part_cannot_give_any_more_fails_and_keeps_nobody_waiting() {
    let mut whole = all_paid();
    // The part took a refund over, and the whole has not heard of it when the backend asks.
    whole.part(1).hear(&adopted_by_part(1, 1, 650)).unwrap();
    whole.hear(&ask("R1", 700)).unwrap();
    whole.clear_up();
    assert!(whole.order.is_settled());
    let failed = whole.order.spreads.iter().find(|s| s.backend_no == "R1").unwrap();
    assert_eq!((failed.state, whole.held()), (crate::order::RefundState::Failed, 1200));
    whole.hear(&ask("R2", 700)).unwrap();
    whole.clear_up();
    assert_eq!(whole.held(), 500);
}

#[test]
fn all_or_nothing_sends_back_what_is_left_after_a_refund_from_a_bill() {
    let mut whole = Whole::new();
    whole.payer(1, 0);
    whole.carry(1);
    whole.part(1).hear(&adopted_by_part(1, 1, 650)).unwrap();
    let seen = PartSeen::of(&whole.part(1).order);
    whole.hear(&Event::PartSeen { no: 1, seen }).unwrap();
    whole.payer(2, 1);
    whole.carry(2);
    whole.clear_up();
    assert_eq!((whole.order.state, whole.held(), whole.order.is_settled()), (OrderState::Failed, 0, true));
}

#[test]
fn what_belongs_to_a_part_is_not_asked_of_the_whole() {
    let mut whole = Whole::new();
    let switch = Event::SwitchAsked { to: None, consent: false };
    assert_eq!(whole.hear(&switch), Err(Rejected::IsSplit));
    assert_eq!(whole.hear(&Event::HeldReturned { no: no(1) }), Err(Rejected::IsSplit));
    assert_eq!(whole.hear(&adopted(1, 1, 100)), Err(Rejected::IsSplit));
    let seen = PartSeen::of(&Desk::new().order);
    assert_eq!(whole.hear(&Event::PartSeen { no: 4, seen }), Err(Rejected::UnknownPart(4)));
}

proptest! {
    #![proptest_config(Config { cases: 500, failure_persistence: None, ..Config::default() })]

    #[test]
    fn all_parts_are_kept_or_none(dice in prop::collection::vec(any::<(u8, u8)>(), 0..40)) {
        let mut whole = Whole::new();
        let mut lost = 0;
        for (what, how) in dice {
            match what % 8 {
                0..=3 => {
                    if let Some(no) = whole.order.current_part().map(|p| p.no) {
                        whole.payer(no, how % 5);
                    }
                }
                4..=5 => {
                    let owed = whole.owed();
                    if !owed.is_empty() {
                        whole.carry(owed[usize::from(how) % owed.len()]);
                    }
                }
                6 if how.is_multiple_of(4) => {
                    let _declined = whole.hear(&Event::CancelAsked);
                }
                // A bill gives something of a part back that no row knows; the whole hears of it when it looks.
                6 if how % 4 == 1 => {
                    let (part, amount) = (1 + how % 3, i64::from(how) * 3);
                    let known = whole.part(part).order.refunds.len();
                    let _declined = whole.part(part).hear(&adopted_by_part(part, 1 + how % 5, amount));
                    if whole.part(part).order.refunds.len() > known {
                        lost += amount;
                    }
                }
                _ => whole.refunds_come_back(),
            }
        }
        whole.clear_up();
        let expected = match whole.order.state {
            OrderState::Success => 1850 - lost,
            OrderState::Failed => 0,
            other => panic!("{}", other.as_str()),
        };
        prop_assert_eq!(whole.held(), expected);
        prop_assert!(whole.order.is_settled());
    }
}
