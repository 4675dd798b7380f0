//! Every pair of state and event, with what it leads to, written out.

use super::*;
use crate::{
    channel::{RefundAnswer, RefundProgress},
    order::Rejected,
};

/// An order in each state, by an ordinary story.
fn order_in(state: OrderState) -> Desk {
    let mut desk = Desk::new();
    match state {
        OrderState::Pending => desk.after(&[wechat()]),
        OrderState::Processing => desk.after(&[wechat(), shown(1)]),
        OrderState::Success => desk.after(&[wechat(), shown(1), captured(1, AMOUNT)]),
        OrderState::Failed => desk.after(&[wechat(), shown(1), Event::CancelAsked, found(1, Found::Closed)]),
        OrderState::Suspicious => desk.after(&[wechat(), shown(1), captured(1, AMOUNT + 1)]),
    };
    assert_eq!(desk.order.state, state);
    desk
}

/// One of each kind. A new kind does not compile here until it has a row.
fn events() -> Vec<Event> {
    let refund_no = id().refund_no(1);
    let all = vec![
        wechat(),
        Event::HedgeDue { no: no(1), choice: choose("card", ChannelKind::Direct) },
        shown(1),
        captured(1, AMOUNT),
        Event::CloseUnanswered { no: no(1) },
        Event::TidyDone { no: no(1) },
        Event::SwitchAsked { to: None, consent: false },
        Event::ElsewhereAsked(elsewhere()),
        Event::CancelAsked,
        Event::LateWanted,
        Event::PartSeen { no: 1, seen: crate::order::PartSeen::of(&Desk::new().order) },
        Event::HeldReturned { no: no(1) },
        ask("R1", 850),
        Event::RefundAnswered { refund_no, answer: RefundAnswer::Accepted(RefundProgress::Processing) },
        adopted(1, 1, 850),
        Event::Tick,
    ];
    for event in &all {
        match event {
            Event::Routed(_)
            | Event::HedgeDue { .. }
            | Event::Prepaid { .. }
            | Event::Found { .. }
            | Event::CloseUnanswered { .. }
            | Event::TidyDone { .. }
            | Event::SwitchAsked { .. }
            | Event::ElsewhereAsked(_)
            | Event::CancelAsked
            | Event::LateWanted
            | Event::PartSeen { .. }
            | Event::HeldReturned { .. }
            | Event::RefundAsked { .. }
            | Event::RefundAnswered { .. }
            | Event::RefundAdopted { .. }
            | Event::Tick => {}
        }
    }
    all
}

fn outcome(state: OrderState, event: &Event) -> String {
    outcome_of(order_in(state), event)
}

fn outcome_of(mut desk: Desk, event: &Event) -> String {
    let before = desk.history.len();
    match desk.hear(event) {
        Err(rejected) => match rejected {
            Rejected::UnknownAttempt(_) => "no such attempt".to_owned(),
            Rejected::UnknownRefund(_) => "no such refund".to_owned(),
            Rejected::AmountDiffers { .. } => "amount differs".to_owned(),
            Rejected::OrderFinal(_) => "order final".to_owned(),
            Rejected::AlreadyPaid => "already paid".to_owned(),
            Rejected::NotPaid(_) => "not paid".to_owned(),
            Rejected::RefundExceeds { .. } => "refund exceeds".to_owned(),
            Rejected::RefundOfNothing => "refund of nothing".to_owned(),
            Rejected::RefundNoReused { .. } => "refund number used".to_owned(),
            Rejected::UnknownPart(_) => "no such part".to_owned(),
            Rejected::AddressNeeded => "address needed".to_owned(),
            Rejected::IsSplit => "is split".to_owned(),
            Rejected::NothingHeld(_) => "nothing held".to_owned(),
            Rejected::GoingBack => "going back".to_owned(),
            Rejected::TooManyRefunds => "too many refunds".to_owned(),
            Rejected::ForeignRefund(_) => "foreign refund".to_owned(),
            Rejected::NothingCaptured(_) => "nothing captured".to_owned(),
            Rejected::RefundDiffers { .. } => "refund differs".to_owned(),
            Rejected::RefundTakenOver(_) => "taken over".to_owned(),
        },
        Ok(()) => {
            let facts = desk.history.get(before).cloned().unwrap_or_default();
            let names =
                facts.iter().map(|f| serde_json::to_value(f).unwrap()["fact"].as_str().unwrap().to_owned());
            names.collect::<Vec<_>>().join(" ")
        }
    }
}

#[test]
fn every_pair_of_state_and_event_leads_where_the_table_says() {
    use OrderState as S;
    let expected: &[(OrderState, [&str; 16])] = &[
        (
            S::Pending,
            [
                "",
                "certified attempt_planned exposed state_changed",
                "exposed state_changed",
                "captured kept state_changed",
                "",
                "",
                "wished certified",
                "elsewhere wished certified",
                "wished certified state_changed",
                "late_wanted",
                "no such part",
                "nothing held",
                "not paid",
                "no such refund",
                "nothing captured",
                "",
            ],
        ),
        (
            S::Processing,
            [
                "",
                "",
                "",
                "captured kept state_changed",
                "",
                "",
                "wished close_asked",
                "elsewhere wished close_asked",
                "wished close_asked",
                "late_wanted",
                "no such part",
                "nothing held",
                "not paid",
                "no such refund",
                "nothing captured",
                "",
            ],
        ),
        (
            S::Success,
            [
                "",
                "",
                "",
                "",
                "",
                "",
                "order final",
                "order final",
                "already paid",
                "",
                "no such part",
                "nothing held",
                "refund_booked",
                "no such refund",
                "refund_booked refund_succeeded",
                "",
            ],
        ),
        (
            S::Failed,
            [
                "",
                "",
                "",
                "captured refund_booked state_changed",
                "",
                "",
                "order final",
                "order final",
                "",
                "late_wanted",
                "no such part",
                "nothing held",
                "not paid",
                "no such refund",
                "nothing captured",
                "",
            ],
        ),
        (
            S::Suspicious,
            [
                "",
                "",
                "",
                "disputed",
                "",
                "",
                "order final",
                "order final",
                "order final",
                "late_wanted",
                "no such part",
                "refund_booked",
                "not paid",
                "no such refund",
                "refund_booked refund_succeeded",
                "",
            ],
        ),
    ];
    let mut wrong = Vec::new();
    for (state, row) in expected {
        for (event, wanted) in events().iter().zip(row) {
            let got = outcome(*state, event);
            if got != *wanted {
                wrong.push(format!(
                    "{} x {}: expected {wanted:?}, got {got:?}",
                    state.as_str(),
                    event.label()
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_request_beside_a_refund_that_was_taken_over_ends_as_the_table_says() {
    // 300 were taken over; R2, of 100, and R3, of 300 with the word, are known. What is asked, and with the word that it
    // is another refund.
    let table: &[(&str, i64, [&str; 2])] = &[
        ("R2", 100, ["", ""]),
        ("R2", 300, ["refund number used", "refund number used"]),
        ("R3", 300, ["", ""]),
        ("R1", 300, ["taken over", "refund_booked"]),
        ("R1", 299, ["refund_booked", "refund_booked"]),
        ("R1", 0, ["refund of nothing", "refund of nothing"]),
        ("R1", AMOUNT, ["refund exceeds", "refund exceeds"]),
    ];
    for (number, amount, expected) in table {
        let got = [ask(number, *amount), ask_besides(number, *amount)].map(|event| {
            let mut desk = order_in(OrderState::Success);
            desk.after(&[adopted(1, 1, 300), ask("R2", 100), ask_besides("R3", 300)]);
            outcome_of(desk, &event)
        });
        assert_eq!(got, *expected, "{number}, {amount} fen");
    }
}
