//! A hostile world: channels that are silent, late, repeat themselves and take money when they please.
//!
//! The world knows the truth about every attempt; the order knows what it is told, in any order and any number of
//! times. When everything owed has been answered, what the channels hold must be what the order says.

use proptest::{prelude::*, test_runner::Config};

use super::*;
use crate::{
    channel::{RefundAnswer, RefundFound, RefundProgress},
    order::{Certificate, RefundCause, Rejected},
};

/// The truth at the channel about one attempt.
#[derive(Debug, Clone, Default)]
struct Truth {
    created: bool,
    closed: bool,
    taken: i64,
}

struct World {
    desk: Desk,
    truth: Vec<Truth>,
    given_back: Vec<(crate::RefundNo, i64)>,
    wrong_amounts: bool,
    repeats_refused: bool,
    booked_beside: bool,
}

impl World {
    fn new(wrong_amounts: bool) -> World {
        World {
            desk: Desk::new(),
            truth: Vec::new(),
            given_back: Vec::new(),
            wrong_amounts,
            repeats_refused: false,
            booked_beside: false,
        }
    }

    fn truth(&mut self, n: AttemptNo) -> &mut Truth {
        let index = usize::from(n.get()) - 1;
        if self.truth.len() <= index {
            self.truth.resize(index + 1, Truth::default());
        }
        &mut self.truth[index]
    }

    fn kind(&self, n: AttemptNo) -> ChannelKind {
        self.desk.order.attempt(n).unwrap().kind
    }

    /// What an honest answer about this attempt says; `None` while it is open.
    fn word(&mut self, n: AttemptNo) -> Option<Found> {
        let truth = self.truth(n).clone();
        if truth.taken > 0 {
            let capture =
                Capture { amount: fen(truth.taken), trade_no: format!("T{n}"), at: at(self.desk.secs) };
            return Some(Found::Captured(capture));
        }
        truth.closed.then_some(Found::Closed)
    }

    fn tell(&mut self, event: &Event) {
        // A refusal is an answer too; it must change nothing.
        let before = self.desk.order.clone();
        if let Err(rejected) = self.desk.hear(event) {
            assert_eq!(self.desk.order, before);
            self.repeats_refused |= matches!(rejected, Rejected::RefundTakenOver(_));
        } else if let Event::RefundAsked { amount, .. } = event {
            let booked = self.desk.order.refunds.len() > before.refunds.len();
            self.booked_beside |= booked && before.adopted_refunds().any(|r| r.amount == *amount);
        }
    }

    /// Something happens: `dice` decides what, and how badly it is told.
    fn step(&mut self, dice: (u8, u8, u8)) {
        let (what, which, how) = dice;
        let owed = self.desk.owed();
        match what % 12 {
            0..=4 if !owed.is_empty() => {
                let item = owed[usize::from(which) % owed.len()].clone();
                self.carry_out(&item, how, false);
            }
            5..=7 => self.payer_pays(which, how),
            8 => {
                let attempts = self.desk.order.attempts.len();
                if attempts > 0 {
                    let n = no(u8::try_from(usize::from(which) % attempts + 1).unwrap());
                    if let Some(word) = self.word(n) {
                        self.tell(&found(n.get(), word));
                    }
                }
            }
            9 | 10 => self.wish(which, how),
            _ => {
                self.desk.wait(u64::from(how % 5) * u64::from(which % 12));
                self.tell(&Event::Tick);
            }
        }
    }

    /// A payer acts on any credential that has left the process, also on old ones, as long as the channel lets them.
    fn payer_pays(&mut self, which: u8, how: u8) {
        let shown: Vec<AttemptNo> = self
            .desk
            .order
            .attempts
            .iter()
            .filter(|a| a.is_exposed() && a.kind == ChannelKind::Credential)
            .map(|a| a.no)
            .collect();
        if shown.is_empty() {
            return;
        }
        let n = shown[usize::from(which) % shown.len()];
        let amount = if self.wrong_amounts && how.is_multiple_of(16) { AMOUNT + 1 } else { AMOUNT };
        // Once in a while a channel takes money after it said "closed".
        let lets = |t: &Truth| t.created && t.taken == 0 && (!t.closed || how % 4 == 1);
        let truth = self.truth(n);
        if lets(truth) {
            truth.taken = amount;
        }
    }

    fn wish(&mut self, which: u8, how: u8) {
        match which % 4 {
            _ if how % 32 == 5 => self.tell(&Event::LateWanted),
            _ if how % 32 == 7 => self.tell(&Event::ElsewhereAsked(elsewhere())),
            _ if how % 32 == 6 => self.tell(&Event::HeldReturned { no: no(1) }),
            _ if how % 32 >= 29 => self.lost_refund(which, how),
            0 if which.is_multiple_of(3) => self.tell(&Event::CancelAsked),
            0..=2 => self.tell(&Event::SwitchAsked { to: None, consent: which % 8 < 4 }),
            _ => {
                // Some requests are of the amount that a bill told us of: a repeat, or another one, whatever it says.
                let same = self.desk.order.adopted_refunds().next().map(|r| r.amount.fen());
                let amount = same.filter(|_| how.is_multiple_of(2)).unwrap_or(i64::from(which) + 1);
                let request = asked(&format!("R{}", which % 3), amount, how.is_multiple_of(8));
                self.tell(&request);
            }
        }
    }

    /// The store lost a refund that the channel paid: its number is beyond those that are known, or in a gap, or taken.
    fn lost_refund(&mut self, which: u8, how: u8) {
        let place = 1 + which % 9;
        let amount = i64::from(which) * i64::from(1 + how % 32);
        let known = self.desk.order.refunds.len();
        self.tell(&adopted(place, 1 + which % 2, amount));
        if self.desk.order.refunds.len() > known {
            self.given_back.push((id().refund_no(place), amount));
        }
    }

    /// Carries an owed item out; dishonest silence only while `honest` is false.
    fn carry_out(&mut self, item: &Owed, how: u8, honest: bool) {
        let silent = !honest && how.is_multiple_of(3);
        match item {
            Owed::Route => {
                let pick = match how % 16 {
                    _ if honest => Choice::Exhausted { reason: "the day is over".to_owned() },
                    0..=2 => choose("card", ChannelKind::Direct),
                    3..=8 => choose("alipay", ChannelKind::Credential),
                    9..=14 => choose("wechat", ChannelKind::Credential),
                    _ => Choice::Exhausted { reason: "none left".to_owned() },
                };
                self.tell(&Event::Routed(pick));
            }
            Owed::Hedge(n) => {
                let to = if how.is_multiple_of(2) {
                    choose("card", ChannelKind::Direct)
                } else {
                    choose("alipay", ChannelKind::Credential)
                };
                if !honest {
                    self.tell(&Event::HedgeDue { no: *n, choice: to });
                }
            }
            Owed::Prepay(n) => self.prepay(*n, how, silent),
            Owed::Poll(n) => {
                if let (false, Some(word)) = (silent, self.word(*n)) {
                    self.tell(&found(n.get(), word));
                }
            }
            Owed::Close(n) => {
                // A close that is not answered may have been carried out all the same.
                let truth = self.truth(*n);
                if truth.taken == 0 && (!silent || how.is_multiple_of(2)) {
                    truth.closed = true;
                }
                match self.word(*n) {
                    Some(word) if !silent => self.tell(&found(n.get(), word)),
                    Some(_) | None => self.tell(&Event::CloseUnanswered { no: *n }),
                }
            }
            Owed::Tidy(n) => {
                if silent {
                    return;
                }
                let truth = self.truth(*n);
                if truth.taken == 0 {
                    truth.closed = true;
                    self.tell(&Event::TidyDone { no: *n });
                } else if let Some(word) = self.word(*n) {
                    self.tell(&found(n.get(), word));
                }
            }
            Owed::Refund(refund_no) => self.refund(refund_no, how, silent),
            Owed::Part { .. } => unreachable!("the orders of this world are not split"),
            Owed::Wake(when) => {
                if *when > at(self.desk.secs) && honest {
                    self.desk.secs += i64::try_from(when.since(at(self.desk.secs)).as_secs()).unwrap() + 1;
                }
                self.tell(&Event::Tick);
            }
        }
    }

    fn prepay(&mut self, n: AttemptNo, how: u8, silent: bool) {
        let direct = self.kind(n) == ChannelKind::Direct;
        let truth = self.truth(n);
        // A silent call may have been carried out, or not.
        if !truth.closed && (!silent || how.is_multiple_of(2)) {
            truth.created = true;
            if direct {
                truth.taken = AMOUNT;
            }
        }
        let answer = match (silent, direct) {
            (true, _) => Answer::Silent("no answer".to_owned()),
            (false, true) => match self.word(n) {
                Some(word) => Answer::Settled(word),
                None => Answer::Accepted(None),
            },
            (false, false) if self.truth(n).closed => Answer::Silent("closed meanwhile".to_owned()),
            (false, false) => Answer::Accepted(Some(credential())),
        };
        self.tell(&Event::Prepaid { no: n, answer, only_call: true });
    }

    fn refund(&mut self, refund_no: &crate::RefundNo, how: u8, silent: bool) {
        let refund = self.desk.order.refund(refund_no).unwrap().clone();
        let known = self.given_back.iter().any(|(no, _)| no == refund_no);
        if !known && (!silent || how.is_multiple_of(2)) {
            self.given_back.push((refund_no.clone(), refund.amount.fen()));
        }
        let answer = if silent {
            RefundAnswer::Silent("no answer".to_owned())
        } else if how % 5 == 4 {
            RefundAnswer::Accepted(RefundProgress::Processing)
        } else {
            let at = at(self.desk.secs);
            RefundAnswer::Settled(RefundFound::Succeeded {
                channel_refund_id: "X".to_owned(),
                amount: refund.amount,
                at,
            })
        };
        self.tell(&Event::RefundAnswered { refund_no: refund_no.clone(), answer });
    }

    /// The weather clears: everything owed is answered, and what happened unseen comes to light by a bill.
    fn clear_up(&mut self) {
        for _ in 0..200 {
            for n in 1..=u8::try_from(self.truth.len()).unwrap() {
                if self.truth(no(n)).taken > 0 {
                    let word = self.word(no(n)).unwrap();
                    self.tell(&found(n, word.clone()));
                    self.tell(&told(n, word, EvidenceSource::Bill));
                }
            }
            let owed = self.desk.owed();
            if owed.is_empty() {
                return;
            }
            for item in owed {
                if self.desk.owed().contains(&item) {
                    self.carry_out(&item, 1, true);
                }
            }
        }
        panic!("still owed: {:?}\n{:#?}", self.desk.owed(), self.desk.order);
    }

    fn judge(&self) {
        let order = &self.desk.order;
        let taken: i64 = self.truth.iter().map(|t| t.taken).sum();
        let back: i64 = self.given_back.iter().map(|(_, fen)| fen).sum();
        let asked: i64 =
            order.refunds.iter().filter(|r| r.cause == RefundCause::Asked).map(|r| r.amount.fen()).sum();
        match order.state {
            OrderState::Success => assert_eq!(taken - back, AMOUNT - asked, "one net capture: {order:#?}"),
            OrderState::Failed => assert_eq!(taken - back, 0, "nothing is kept: {order:#?}"),
            other => panic!("{}: {order:#?}", other.as_str()),
        }
        assert_eq!(order.net_captured().fen(), taken - back, "the order says what the channels hold");
        for attempt in &order.attempts {
            let captured = matches!(attempt.certificate, Some(Certificate::Captured));
            assert!(
                attempt.certificate.is_some()
                    && captured == (self.truth[usize::from(attempt.no.get()) - 1].taken > 0)
            );
        }
    }
}

fn live_through(dice: Vec<(u8, u8, u8)>, wrong_amounts: bool) -> World {
    let mut world = World::new(wrong_amounts);
    for throw in dice {
        world.step(throw);
    }
    world.clear_up();
    world.judge();
    world
}

#[test]
fn the_world_is_hostile_enough_to_mean_something() {
    let mut state: u64 = 20_261_123;
    let mut byte = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        u8::try_from(state >> 56).unwrap()
    };
    let (mut twice, mut failed, mut succeeded, mut late, mut kept_late, mut adopted) = (0, 0, 0, 0, 0, 0);
    let (mut refused, mut beside) = (0, 0);
    for _ in 0..5_000 {
        let world = live_through((0..60).map(|_| (byte(), byte(), byte())).collect(), false);
        let taken: i64 = world.truth.iter().map(|t| t.taken).sum();
        twice += i32::from(taken > AMOUNT);
        failed += i32::from(world.desk.order.state == OrderState::Failed);
        adopted += i32::from(world.desk.order.adopted_refunds().next().is_some());
        refused += i32::from(world.repeats_refused);
        beside += i32::from(world.booked_beside);
        succeeded += i32::from(world.desk.order.state == OrderState::Success);
        late += i32::from(world.desk.order.state == OrderState::Failed && taken > 0);
        kept_late +=
            i32::from(world.desk.order.state == OrderState::Success && world.desk.order.failure.is_some());
    }
    for (what, n, least) in [
        ("charged twice", twice, 30),
        ("failed", failed, 30),
        ("succeeded", succeeded, 30),
        ("late", late, 30),
        ("late and still wanted", kept_late, 3),
        ("a refund was taken over", adopted, 30),
        ("a request may have been a repeat of it", refused, 30),
        ("a request was booked beside it", beside, 10),
    ] {
        assert!(n >= least, "{what}: only {n} of 5000");
    }
}

proptest! {
    #![proptest_config(Config { cases: 2000, failure_persistence: None, ..Config::default() })]

    #[test]
    fn whatever_happens_in_whatever_order_one_net_capture_or_none_remains(
        dice in prop::collection::vec(any::<(u8, u8, u8)>(), 0..60)
    ) {
        let _judged = live_through(dice, false);
    }

    #[test]
    fn wrong_amounts_are_never_kept(dice in prop::collection::vec(any::<(u8, u8, u8)>(), 0..60)) {
        let _judged = live_through(dice, true);
    }
}
