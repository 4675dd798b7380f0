//! Refunds that only the channel's bill knows, because the store was restored from a copy: told once each.

use super::*;
use crate::{
    channel::{RefundAnswer, RefundFound},
    order::{RefundCause, RefundState, Rejected, TakenOver, announcements},
};

fn paid() -> Desk {
    let mut desk = Desk::new();
    desk.after(&[wechat(), shown(1), captured(1, AMOUNT)]);
    desk
}

#[test]
fn a_refund_from_the_bill_stands_in_the_books_is_told_and_the_count_goes_on_after_it() {
    let mut desk = paid();
    desk.after(&[adopted(3, 1, 850)]);
    let facts = desk.history.last().unwrap().clone();
    let told: Vec<&str> = announcements(&facts).iter().map(super::super::Announcement::kind).collect();
    assert_eq!(told, ["refund.succeeded"]);
    let lines: Vec<(String, i64)> =
        crate::books::postings(&facts, &desk.order).into_iter().map(|p| (p.account, p.amount_fen)).collect();
    let expected = [("channel/wechat".to_owned(), -850), ("merchant/canteen-3".to_owned(), 850)];
    assert_eq!(lines, expected);
    assert_eq!((desk.order.net_captured().fen(), desk.order.is_settled()), (1000, true));
    // The next number is beyond it: what stood in the gap may be known to the channel.
    desk.after(&[ask("R9", 100)]);
    assert_eq!(desk.refund_no(), Some(id().refund_no(4)));
    assert_eq!(desk.hear(&ask("R10", 901)), Err(Rejected::RefundExceeds { left: fen(900) }));
}

#[test]
fn a_repeat_changes_nothing_and_another_word_under_the_number_is_refused() {
    let mut desk = paid();
    desk.after(&[adopted(1, 1, 850)]);
    let before = desk.order.clone();
    desk.after(&[adopted(1, 1, 850)]);
    assert_eq!(desk.order, before);
    let differs = Rejected::RefundDiffers { refund_no: id().refund_no(1), attempt: no(1), amount: fen(850) };
    assert_eq!(desk.hear(&adopted(1, 1, 849)), Err(differs));
    assert_eq!(desk.order, before);
}

#[test]
fn what_cannot_have_gone_back_is_refused_with_a_reason() {
    let mut desk = Desk::new();
    desk.after(&[wechat(), shown(1)]);
    assert_eq!(desk.hear(&adopted(1, 1, 850)), Err(Rejected::NothingCaptured(no(1))));
    assert_eq!(desk.hear(&adopted(1, 2, 850)), Err(Rejected::UnknownAttempt(no(2))));
    desk.after(&[captured(1, AMOUNT)]);
    assert_eq!(desk.hear(&adopted(1, 1, AMOUNT + 1)), Err(Rejected::RefundExceeds { left: fen(AMOUNT) }));
    assert_eq!(desk.hear(&adopted(1, 1, 0)), Err(Rejected::RefundOfNothing));
    let foreign = |text: &str| {
        let refund_no = crate::RefundNo::new(text).unwrap();
        let channel_refund_id = "B".to_owned();
        Event::RefundAdopted { refund_no, no: no(1), amount: fen(1), channel_refund_id, at: at(6) }
    };
    let stranger = OrderId::from_u128(7).refund_no(1);
    for number in [stranger.as_str(), "rc20261124000000000101", &format!("{}r1", id())] {
        let refused = desk.hear(&foreign(number));
        assert!(matches!(refused, Err(Rejected::ForeignRefund(_))), "{number}: {refused:?}");
    }
    assert_eq!(desk.order.refunds, []);
}

#[test]
fn a_refund_that_was_booked_meanwhile_is_done_by_the_bill_under_the_same_number() {
    let mut desk = paid();
    desk.after(&[ask("R1", 850), adopted(1, 1, 850)]);
    assert_eq!(desk.order.refunds.len(), 1);
    assert_eq!(desk.order.refunds[0].state, RefundState::Succeeded);
    assert_eq!(desk.order.refunds[0].backend_no.as_deref(), Some("R1"));
}

#[test]
fn a_payment_too_many_that_went_back_before_the_copy_was_lost_is_no_refund_of_the_order() {
    // The first payment is of another amount and held; the bill says that it went back.
    let mut desk = Desk::new();
    desk.after(&[wechat(), shown(1), captured(1, AMOUNT + 1)]);
    assert_eq!(desk.order.state, OrderState::Suspicious);
    desk.after(&[adopted(1, 1, AMOUNT + 1)]);
    assert_eq!(desk.order.refunds[0].cause, RefundCause::AmountDiffers);
    assert_eq!((desk.order.state, desk.order.net_captured().fen()), (OrderState::Failed, 0));
    assert_eq!(desk.order.adopted_refunds().count(), 0, "nobody asked for it");
}

#[test]
fn a_held_payment_of_which_a_part_went_back_does_not_pay_the_order() {
    let mut desk = Desk::new();
    desk.after(&[wechat(), shown(1), captured(1, AMOUNT + 1), adopted(1, 1, 1)]);
    let capture = Capture { amount: fen(AMOUNT), trade_no: "T1".to_owned(), at: at(5) };
    desk.after(&[told(1, Found::Captured(capture), EvidenceSource::Bill)]);
    assert_eq!(desk.order.kept, None, "what is left is less than the order");
    let refund_no = desk.refund_no().unwrap();
    let done =
        RefundFound::Succeeded { channel_refund_id: "X".to_owned(), amount: fen(AMOUNT - 1), at: at(9) };
    desk.after(&[Event::RefundAnswered { refund_no, answer: RefundAnswer::Settled(done) }]);
    assert_eq!((desk.order.state, desk.order.net_captured().fen()), (OrderState::Failed, 0));
}

fn taken_over(places: &[u8], amount: i64) -> Rejected {
    let of = |place: &u8| TakenOver { no: id().refund_no(*place), amount: fen(amount), at: Some(at(6)) };
    Rejected::RefundTakenOver(places.iter().map(of).collect())
}

#[test]
fn a_request_repeated_under_a_number_that_the_copy_lost_books_nothing_and_names_what_was_taken_over() {
    let mut desk = paid();
    desk.after(&[adopted(1, 1, 850)]);
    let before = desk.order.clone();
    for _ in 0..2 {
        let refused = desk.hear(&ask("R1", 850)).unwrap_err();
        assert_eq!(refused, taken_over(&[1], 850));
        let (number, when) = (id().refund_no(1), at(6));
        assert!(refused.to_string().ends_with(&format!("{number}, 850 fen, {when} by the channel's clock")));
        assert_eq!(desk.order, before);
    }
    // Also where "more than is left" would be true: the backend is to learn that its payer has the money.
    let mut desk = paid();
    desk.after(&[adopted(1, 1, AMOUNT)]);
    assert_eq!(desk.hear(&ask("R1", AMOUNT)), Err(taken_over(&[1], AMOUNT)));
    let none_left = Rejected::RefundExceeds { left: fen(0) };
    assert_eq!(desk.hear(&ask_besides("R1", AMOUNT)), Err(none_left), "the word lends no money");
}

#[test]
fn a_request_of_another_amount_than_what_was_taken_over_is_booked() {
    let mut desk = paid();
    desk.after(&[adopted(1, 1, 850), ask("R1", 849), ask("R2", 151), ask("R1", 849)]);
    let booked: Vec<i64> = desk.order.refunds.iter().map(|r| r.amount.fen()).collect();
    assert_eq!(booked, [850, 849, 151]);
}

#[test]
fn a_request_that_the_backend_calls_another_one_is_booked_once_with_or_without_the_word() {
    let mut desk = paid();
    desk.after(&[adopted(1, 1, 850), ask_besides("R2", 850)]);
    let before = desk.order.clone();
    desk.after(&[ask_besides("R2", 850), ask("R2", 850)]);
    assert_eq!(desk.order, before, "a repeat");
    assert_eq!(desk.refund_no(), Some(id().refund_no(2)));
    // Where nothing was taken over the word means nothing.
    let mut desk = paid();
    desk.after(&[ask_besides("R1", 850)]);
    assert_eq!(desk.order.refunds.len(), 1);
}

#[test]
fn the_lost_request_repeated_after_another_one_of_its_amount_books_nothing() {
    let mut desk = paid();
    desk.after(&[adopted(1, 1, 300), ask_besides("R2", 300)]);
    let refund_no = desk.refund_no().unwrap();
    let done = RefundFound::Succeeded { channel_refund_id: "X".to_owned(), amount: fen(300), at: at(9) };
    desk.after(&[Event::RefundAnswered { refund_no, answer: RefundAnswer::Settled(done) }]);
    let before = desk.order.clone();
    for _ in 0..2 {
        assert_eq!(desk.hear(&ask("R1", 300)), Err(taken_over(&[1], 300)));
    }
    assert_eq!((&desk.order, desk.refund_no()), (&before, None), "nothing more goes back");
    assert_eq!(desk.order.net_captured().fen(), AMOUNT - 600);
}

#[test]
fn several_of_one_amount_that_were_taken_over_are_all_named_to_every_request_of_it() {
    let mut desk = paid();
    desk.after(&[adopted(1, 1, 300), adopted(2, 1, 300)]);
    assert_eq!(desk.hear(&ask("R3", 300)), Err(taken_over(&[1, 2], 300)));
    desk.after(&[ask_besides("R3", 300)]);
    assert_eq!(desk.hear(&ask("R4", 300)), Err(taken_over(&[1, 2], 300)));
    assert_eq!(desk.order.refunds.len(), 3);
}

#[test]
fn what_went_back_of_a_payment_too_many_is_no_request_of_the_backend() {
    // It went back by the rules, in the lost life: a request of its amount means another refund.
    let mut desk = Desk::new();
    desk.after(&[wechat(), shown(1), captured(1, AMOUNT + 1), adopted(1, 1, AMOUNT + 1)]);
    assert_eq!(desk.order.may_mean(fen(AMOUNT + 1)), []);
}
