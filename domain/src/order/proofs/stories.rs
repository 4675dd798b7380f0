//! What happens, told once each.

use super::*;
use crate::{
    Refusal,
    channel::{Fault, RefundAnswer, RefundFound},
    order::Certificate,
};

fn refunded(desk: &mut Desk) {
    while let Some(refund_no) = desk.refund_no() {
        let amount = desk.order.refund(&refund_no).unwrap().amount;
        let done = RefundFound::Succeeded { channel_refund_id: "X".to_owned(), amount, at: at(desk.secs) };
        desk.hear(&Event::RefundAnswered { refund_no, answer: RefundAnswer::Settled(done) }).unwrap();
    }
}

fn refusal(code: &str) -> Refusal {
    Refusal { code: code.to_owned(), message: String::new(), fault: Fault::Payer }
}

#[test]
fn a_payer_who_pays_once_is_captured_once() {
    let mut desk = Desk::new();
    desk.after(&[wechat(), shown(1), captured(1, AMOUNT), captured(1, AMOUNT), shown(1)]);
    assert_eq!((desk.order.state, desk.order.net_captured()), (OrderState::Success, fen(AMOUNT)));
    assert_eq!(desk.owed(), [], "nothing is owed any more");
}

#[test]
fn a_success_after_failed_is_suspicious_and_goes_back() {
    let mut desk = Desk::new();
    desk.after(&[wechat(), shown(1), Event::CancelAsked, found(1, Found::Closed)]);
    assert_eq!(desk.order.state, OrderState::Failed);
    desk.after(&[captured(1, AMOUNT)]);
    assert_eq!(desk.order.state, OrderState::Suspicious);
    refunded(&mut desk);
    assert_eq!((desk.order.state, desk.order.net_captured()), (OrderState::Failed, fen(0)));
}

#[test]
fn silence_never_becomes_failed() {
    let mut desk = Desk::new();
    desk.after(&[wechat(), silent(1), silent(1)]);
    assert_eq!(desk.order.state, OrderState::Pending);
    let card = Event::Routed(choose("card", ChannelKind::Direct));
    let mut direct = Desk::new();
    direct.after(&[card, silent(1)]);
    assert!(direct.order.attempts[0].certificate.is_none(), "a direct call's silence is unknown");
    for _ in 0..50 {
        direct.wait(600).hear(&Event::Tick).unwrap();
        assert_ne!(direct.order.state, OrderState::Failed);
    }
    direct.after(&[captured(1, AMOUNT)]);
    assert_eq!(direct.order.net_captured(), fen(AMOUNT));
}

#[test]
fn of_two_prepays_the_first_credential_is_shown_and_the_other_never() {
    let mut desk = Desk::new();
    let hedge = Event::HedgeDue { no: no(1), choice: choose("alipay", ChannelKind::Credential) };
    desk.after(&[wechat(), hedge, shown(2), shown(1)]);
    let [first, second] = desk.order.attempts.as_slice() else { panic!("{:#?}", desk.order) };
    assert_eq!(first.certificate.as_ref().map(Certificate::as_str), Some("never_exposed"));
    assert!(second.is_live());
    assert!(desk.owed().contains(&Owed::Tidy(no(1))), "and it is closed at leisure");
}

#[test]
fn an_outrun_prepay_that_is_paid_all_the_same_is_refunded() {
    let mut desk = Desk::new();
    let hedge = Event::HedgeDue { no: no(1), choice: choose("alipay", ChannelKind::Credential) };
    desk.after(&[wechat(), hedge, shown(2), captured(2, AMOUNT), captured(1, AMOUNT)]);
    refunded(&mut desk);
    assert_eq!((desk.order.state, desk.order.net_captured()), (OrderState::Success, fen(AMOUNT)));
    assert_eq!(desk.order.refunds.len(), 1);
    assert_eq!(desk.order.refunds[0].attempt, no(1), "the later capture goes back over its own channel");
}

#[test]
fn another_amount_is_held_until_evidence_comes() {
    let take =
        |amount| Found::Captured(Capture { amount: fen(amount), trade_no: "T1".to_owned(), at: at(5) });
    let mut held = Desk::new();
    held.after(&[wechat(), shown(1), captured(1, AMOUNT - 1), captured(1, AMOUNT - 1)]);
    assert_eq!(held.order.state, OrderState::Suspicious);
    assert!(held.order.is_held(&held.order.attempts[0]) && held.order.refunds.is_empty());
    assert!(!held.order.is_settled() && held.owed().is_empty(), "it waits for a bill or a person");

    let mut confirmed = Desk { order: held.order.clone(), history: held.history.clone(), secs: 0 };
    confirmed.after(&[told(1, take(AMOUNT - 1), EvidenceSource::Bill)]);
    refunded(&mut confirmed);
    assert!(confirmed.order.state == OrderState::Failed && confirmed.order.net_captured() == fen(0));

    let mut corrected = Desk { order: held.order.clone(), history: held.history.clone(), secs: 0 };
    corrected.after(&[told(1, take(AMOUNT), EvidenceSource::Operator)]);
    assert_eq!((corrected.order.state, corrected.order.net_captured()), (OrderState::Success, fen(AMOUNT)));
    assert!(corrected.order.is_settled() && corrected.order.refunds.is_empty());

    held.after(&[Event::HeldReturned { no: no(1) }]);
    refunded(&mut held);
    assert!(held.order.state == OrderState::Failed && held.order.is_settled());
}

#[test]
fn late_money_pays_an_order_that_the_backend_still_wants() {
    let mut desk = Desk::new();
    desk.after(&[wechat(), shown(1), Event::CancelAsked, found(1, Found::Closed), Event::LateWanted]);
    assert_eq!(desk.order.state, OrderState::Failed);
    desk.after(&[captured(1, AMOUNT)]);
    assert_eq!((desk.order.state, desk.order.net_captured()), (OrderState::Success, fen(AMOUNT)));
    assert!(desk.order.refunds.is_empty());
    // Said too late: the money is on its way back, and stays so.
    let mut late = Desk::new();
    late.after(&[wechat(), shown(1), Event::CancelAsked, found(1, Found::Closed), captured(1, AMOUNT)]);
    assert_eq!(late.hear(&Event::LateWanted), Err(crate::order::Rejected::GoingBack));
    refunded(&mut late);
    assert_eq!((late.order.state, late.order.net_captured()), (OrderState::Failed, fen(0)));
}

#[test]
fn a_surplus_whose_refund_the_channel_gave_up_on_stays_open_until_people_send_it_again() {
    let mut desk = Desk::new();
    let hedge = Event::HedgeDue { no: no(1), choice: choose("alipay", ChannelKind::Credential) };
    desk.after(&[wechat(), hedge, shown(2), captured(2, AMOUNT), captured(1, AMOUNT)]);
    let refund_no = desk.refund_no().unwrap();
    let gave_up = RefundAnswer::Settled(RefundFound::Failed { code: "ABNORMAL".to_owned() });
    desk.after(&[Event::RefundAnswered { refund_no, answer: gave_up }]);
    assert!(desk.order.state == OrderState::Success && !desk.order.is_settled());
    desk.after(&[Event::HeldReturned { no: no(1) }]);
    refunded(&mut desk);
    assert!(desk.order.is_settled() && desk.order.net_captured() == fen(AMOUNT));
}

#[test]
fn an_order_without_a_channel_says_so_and_goes_on_when_one_returns() {
    let mut desk = Desk::new();
    let wait = Event::Routed(Choice::Wait { reason: "all are down".to_owned() });
    desk.after(&[wait.clone(), wait]);
    assert_eq!(desk.history.len(), 2, "told once");
    let said = crate::order::truth(&desk.order);
    assert!(said.sentence.contains("no way to pay can be reached"), "{}", said.sentence);
    desk.after(&[wechat()]);
    assert!(desk.order.waiting_since.is_none() && desk.owed().contains(&Owed::Prepay(no(1))));
}

#[test]
fn a_switch_waits_for_the_close_and_goes_on_under_a_pre_booked_refund_if_it_stays_silent() {
    let mut desk = Desk::new();
    desk.after(&[wechat(), shown(1), Event::SwitchAsked { to: None, consent: false }]);
    assert!(!desk.owed().contains(&Owed::Route), "the old credential can still be paid");
    desk.wait(4).after(&[Event::CloseUnanswered { no: no(1) }]);
    assert!(desk.order.attempts[0].refund_prebooked && desk.owed().contains(&Owed::Route));
    let other = Event::Routed(choose("alipay", ChannelKind::Credential));
    desk.after(&[other, shown(2), captured(2, AMOUNT), captured(1, AMOUNT)]);
    refunded(&mut desk);
    assert_eq!((desk.order.state, desk.order.net_captured()), (OrderState::Success, fen(AMOUNT)));
}

#[test]
fn an_order_declined_by_a_channel_goes_on_to_the_next() {
    let mut desk = Desk::new();
    let declined =
        Event::Prepaid { no: no(1), answer: Answer::Declined(refusal("NO_AUTH")), only_call: true };
    desk.after(&[wechat(), declined]);
    assert!(desk.owed().contains(&Owed::Route));
    let card = Event::Routed(choose("card", ChannelKind::Direct));
    let poor = Event::Prepaid {
        no: no(2),
        answer: Answer::Settled(Found::Declined(refusal("INSUFFICIENT_BALANCE"))),
        only_call: true,
    };
    let exhausted = Event::Routed(Choice::Exhausted { reason: "declined everywhere".to_owned() });
    desk.after(&[card, poor, exhausted]);
    assert_eq!(desk.order.state, OrderState::Failed);
}

#[test]
fn an_expired_order_is_closed_and_fails_only_with_a_certificate() {
    let mut desk = Desk::new();
    desk.after(&[wechat(), shown(1)]);
    desk.wait(901).hear(&Event::Tick).unwrap();
    assert_eq!(desk.order.state, OrderState::Processing);
    assert!(desk.owed().contains(&Owed::Close(no(1))));
    desk.after(&[found(1, Found::Closed)]);
    assert_eq!(desk.order.state, OrderState::Failed);
}

#[test]
fn refunds_come_to_at_most_the_order_and_repeat_safely() {
    let mut desk = Desk::new();
    desk.after(&[wechat(), shown(1), captured(1, AMOUNT)]);
    desk.after(&[ask("R1", 850), ask("R1", 850)]);
    assert_eq!(desk.order.refunds.len(), 1);
    assert!(desk.hear(&ask("R1", 851)).is_err());
    assert!(desk.hear(&ask("R2", 1001)).is_err());
    desk.after(&[ask("R2", 1000)]);
    refunded(&mut desk);
    assert_eq!((desk.order.state, desk.order.net_captured()), (OrderState::Success, fen(0)));
}

#[test]
fn a_payer_whose_client_cannot_pay_in_place_gets_a_credential_for_the_browser() {
    let mut desk = Desk::new();
    desk.after(&[wechat(), shown(1), Event::ElsewhereAsked(elsewhere())]);
    assert!(!desk.owed().contains(&Owed::Route), "the first credential can still be paid");
    desk.after(&[found(1, Found::Closed)]);
    assert!(desk.owed().contains(&Owed::Route) && desk.order.scene() == Scene::H5);
    assert_eq!(desk.order.client_ip(), Some("10.1.2.3"));
    desk.after(&[wechat(), shown(2), captured(2, AMOUNT)]);
    assert_eq!(desk.order.state, OrderState::Success);
}

#[test]
fn an_order_that_nothing_serves_in_place_is_served_in_the_browser_if_the_address_is_known() {
    let nowhere = Event::Routed(Choice::Exhausted { reason: "no id of the payer".to_owned() });
    let with = |scene, client_ip: Option<&str>| {
        let mut request = (*request()).clone();
        request.scene = scene;
        request.payer.client_ip = client_ip.map(str::to_owned);
        let decision = accept(id(), Arc::new(request), at(0));
        let mut desk = Desk { order: decision.next, history: vec![decision.facts], secs: 0 };
        desk.after(std::slice::from_ref(&nowhere));
        desk
    };
    let mut served = with(Scene::Jsapi, Some("10.1.2.3"));
    assert!(served.order.scene() == Scene::H5 && served.owed().contains(&Owed::Route));
    served.after(std::slice::from_ref(&nowhere));
    assert_eq!(served.order.state, OrderState::Failed, "nor in the browser");
    assert_eq!(with(Scene::Jsapi, None).order.state, OrderState::Failed);
    assert_eq!(with(Scene::Native, Some("10.1.2.3")).order.state, OrderState::Failed);
}
