//! A table of every type of difference, and random books: identical ones give none, one change is found and typed.

use proptest::prelude::*;

use super::{DifferenceKind as K, *};

const RATE: Terms = Terms { fee_bp: Some(60) };

fn wechat() -> ChannelId {
    ChannelId::new("wechat").unwrap()
}

fn ours(subject: Subject, number: &str, fen: Option<i64>) -> Ours {
    Ours {
        subject,
        number: number.to_owned(),
        order: Some(OrderId::from_u128(7)),
        channel: "wechat".to_owned(),
        state: if fen.is_some() { "captured" } else { "closed" }.to_owned(),
        fen,
        trade_no: fen.map(|_| format!("t{number}")),
        at: fen.map(|_| Timestamp::from_secs(1_767_225_600)),
    }
}

fn theirs(subject: Subject, number: &str, fen: i64) -> Theirs {
    Theirs {
        subject,
        number: number.to_owned(),
        of_trade: None,
        trade_no: format!("t{number}"),
        lines: 1,
        fen,
        reversed_fen: 0,
        fee_fen: (fen * 60 + 5_000) / 10_000,
        line: 2,
        at: Timestamp::from_secs(1_767_225_600),
    }
}

#[test]
fn every_type_of_difference_has_its_fix() {
    use Subject::{Payment as P, Refund as R};
    let elsewhere = Ours { channel: "alipay".to_owned(), ..ours(P, "a", Some(500)) };
    let reversed = Theirs { reversed_fen: 500, ..theirs(P, "a", 500) };
    let twice = Theirs { lines: 2, fen: 1_000, fee_fen: 6, ..theirs(P, "a", 500) };
    let other_trade = Theirs { trade_no: "x".to_owned(), ..theirs(P, "a", 500) };
    let dear = Theirs { fee_fen: 9, ..theirs(P, "a", 500) };
    for (why, bill, home, expected) in [
        ("the same", theirs(P, "a", 500), Some(ours(P, "a", Some(500))), None),
        ("not ours", theirs(P, "a", 500), None, Some((K::MissingHere, Fix::Refund, 500))),
        ("not ours, taken back", reversed.clone(), None, None),
        ("at another channel", theirs(P, "a", 500), Some(elsewhere), Some((K::State, Fix::Refund, 500))),
        ("not captured", theirs(P, "a", 500), Some(ours(P, "a", None)), Some((K::State, Fix::Mark, 500))),
        ("reversed, not captured", reversed.clone(), Some(ours(P, "a", None)), None),
        ("reversed", reversed, Some(ours(P, "a", Some(500))), Some((K::State, Fix::WriteOff, 500))),
        ("more", theirs(P, "a", 600), Some(ours(P, "a", Some(500))), Some((K::Amount, Fix::Refund, 100))),
        ("twice", twice, Some(ours(P, "a", Some(500))), Some((K::Amount, Fix::Refund, 500))),
        ("less", theirs(P, "a", 400), Some(ours(P, "a", Some(500))), Some((K::Amount, Fix::WriteOff, 100))),
        ("another trade", other_trade, Some(ours(P, "a", Some(500))), Some((K::State, Fix::WriteOff, 0))),
        ("fee", dear, Some(ours(P, "a", Some(500))), Some((K::Fee, Fix::WriteOff, 6))),
        ("refund the same", theirs(R, "r", 50), Some(ours(R, "r", Some(50))), None),
        ("refund not ours", theirs(R, "r", 50), None, Some((K::Refund, Fix::WriteOff, 50))),
        ("refund not done", theirs(R, "r", 50), Some(ours(R, "r", None)), Some((K::Refund, Fix::Mark, 50))),
        ("refund less", theirs(R, "r", 40), Some(ours(R, "r", Some(50))), Some((K::Refund, Fix::Refund, 10))),
        (
            "refund more",
            theirs(R, "r", 60),
            Some(ours(R, "r", Some(50))),
            Some((K::Refund, Fix::WriteOff, 10)),
        ),
    ] {
        let found = compare(&wechat(), &bill, home.as_ref(), &[], &RATE);
        let short: Vec<_> = found.iter().map(|d| (d.kind, d.fix, d.fix_fen)).collect();
        assert_eq!(short, expected.into_iter().collect::<Vec<_>>(), "{why}: {found:#?}");
    }
    let gone = absent(&ours(P, "a", Some(500)));
    assert_eq!((gone.kind, gone.fix, gone.fix_fen), (K::MissingAtChannel, Fix::WriteOff, 500));
    let gone = absent(&ours(R, "r", Some(50)));
    assert_eq!((gone.kind, gone.fix, gone.fix_fen), (K::Refund, Fix::Refund, 50));
}

#[test]
fn a_refund_under_a_number_of_a_known_order_is_taken_over_for_the_payment_that_it_gave_back() {
    use Subject::{Payment as P, Refund as R};
    let (first, second) = (ours(P, "a", Some(500)), ours(P, "b", Some(500)));
    let open = ours(P, "c", None);
    let elsewhere = Ours { channel: "alipay".to_owned(), ..ours(P, "d", Some(500)) };
    let bill = theirs(R, "r", 50);
    let of = |trade: &str| Theirs { of_trade: Some(trade.to_owned()), ..bill.clone() };
    for (why, bill, attempts, adopts) in [
        ("the bill says of which", of("b"), vec![first.clone(), second.clone()], Some("b")),
        ("the only one", bill.clone(), vec![first.clone()], Some("a")),
        (
            "the only one that is paid here",
            bill.clone(),
            vec![open.clone(), elsewhere.clone(), first.clone()],
            Some("a"),
        ),
        ("the only one, not paid as far as we know", bill.clone(), vec![open.clone()], Some("c")),
        ("one of two, and the bill does not say which", bill.clone(), vec![first.clone(), second], None),
        ("of a trade that is not the order's", of("x"), vec![first.clone()], None),
        ("of a payment at another channel", of("d"), vec![elsewhere], None),
        ("of no order of ours", bill.clone(), vec![], None),
        ("nothing", Theirs { fen: 0, ..of("a") }, vec![first], None),
    ] {
        let found = compare(&wechat(), &bill, None, &attempts, &RATE).remove(0);
        let fix = if adopts.is_some() { Fix::Mark } else { Fix::WriteOff };
        assert_eq!(
            (found.adopts.as_deref(), found.fix, found.order.is_some()),
            (adopts, fix, adopts.is_some()),
            "{why}"
        );
        assert_eq!(
            (found.kind, found.ours_fen, found.theirs_fen),
            (K::Refund, None, Some(found.fix_fen)),
            "{why}"
        );
    }
}

#[test]
fn without_terms_fees_are_not_compared_and_a_fen_is_rounding() {
    let home = ours(Subject::Payment, "a", Some(500));
    let fee = |fee_fen, terms: &Terms| {
        compare(&wechat(), &Theirs { fee_fen, ..theirs(Subject::Payment, "a", 500) }, Some(&home), &[], terms)
            .len()
    };
    assert_eq!((fee(99, &Terms::default()), fee(4, &RATE), fee(2, &RATE), fee(5, &RATE)), (0, 0, 0, 1));
}

#[test]
fn the_edge_of_a_day_has_two_sides() {
    let (end, edge) = (Timestamp::from_secs(1_000_000), std::time::Duration::from_secs(600));
    for (at, expected) in
        [(999_399, false), (999_400, true), (1_000_000, true), (1_000_600, true), (1_000_601, false)]
    {
        assert_eq!(near(Timestamp::from_secs(at), end, edge), expected, "{at}");
    }
}

/// Both ways, as whoever walks the sides does it.
fn walk(bill: &[Theirs], home: &[Ours]) -> Vec<Difference> {
    let mut found: Vec<Difference> = bill
        .iter()
        .flat_map(|t| {
            let ours = home.iter().find(|o| (o.subject, &o.number) == (t.subject, &t.number));
            compare(&wechat(), t, ours, &[], &RATE)
        })
        .collect();
    let held = home.iter().filter(|o| o.fen.is_some());
    let missing = held.filter(|o| !bill.iter().any(|t| (o.subject, &o.number) == (t.subject, &t.number)));
    found.extend(missing.map(absent));
    found
}

fn world() -> impl Strategy<Value = (Vec<Theirs>, Vec<Ours>)> {
    prop::collection::btree_map((any::<bool>(), 0_u32..10_000), 400_i64..100_000, 1..40).prop_map(|rows| {
        rows.into_iter()
            .map(|((payment, number), fen)| {
                let subject = if payment { Subject::Payment } else { Subject::Refund };
                let number = format!("n{number}");
                (theirs(subject, &number, fen), ours(subject, &number, Some(fen)))
            })
            .unzip()
    })
}

proptest! {
    #[test]
    fn identical_books_have_no_difference((bill, home) in world()) {
        prop_assert_eq!(walk(&bill, &home), []);
    }

    #[test]
    fn one_change_is_one_difference_of_its_type(
        (mut bill, mut home) in world(), which: prop::sample::Index, change in 0_u8..6, by in 1_i64..300,
    ) {
        let at = which.index(bill.len());
        let payment = bill[at].subject == Subject::Payment;
        let number = bill[at].number.clone();
        let expected = match change {
            0 => { bill.remove(at); if payment { K::MissingAtChannel } else { K::Refund } }
            1 => { home.remove(at); if payment { K::MissingHere } else { K::Refund } }
            2 => {
                bill[at].fen += by;
                bill[at].fee_fen = (bill[at].fen * 60 + 5_000) / 10_000;
                if payment { K::Amount } else { K::Refund }
            }
            3 => { home[at].fen = None; if payment { K::State } else { K::Refund } }
            4 => { bill[at].reversed_fen = bill[at].fen; if payment { K::State } else { K::Refund } }
            _ => {
                bill[at].fee_fen += by + 1;
                if payment { K::Fee } else { prop_assert_eq!(walk(&bill, &home), []); return Ok(()) }
            }
        };
        let found = walk(&bill, &home);
        prop_assert_eq!(found.len(), 1, "{:#?}", found);
        prop_assert_eq!((found[0].kind, &found[0].number), (expected, &number));
    }
}
