//! Everything outside of the house: channels, payers, backends, the machine itself; and what will happen next.
//!
//! The world outlives every life of the house. What happens is a queue by time and, within a moment, by the order in
//! which it was arranged; nothing else decides. A happening either changes the world alone ([`World::happen`] does it)
//! or needs the house, and then waits until there is one.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use actors::Clock as _;
use domain::{ChannelId, ChannelKind, ChannelOrderNo, Money, Timestamp};
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::{
    bills::Bills,
    clients::Client,
    clock::SimClock,
    dice::Dice,
    oracle::Oracle,
    trades::{Books, Debit, Stands, Start},
    tuner::Operators,
    weather::{Fate, Weather},
};

/// The simulated channels, best first; the last one is direct.
pub(crate) const CHANNELS: [&str; 4] = ["one", "two", "three", "card"];
/// Which of them moves money by the call itself.
pub(crate) const DIRECT: usize = 3;

/// A channel, seen from the world.
#[derive(Debug)]
pub(crate) struct Line {
    pub(crate) id: ChannelId,
    pub(crate) weather: Weather,
    /// The key the channel signs with now, and the newest one the house has fetched.
    pub(crate) key: u32,
    pub(crate) known_key: u32,
}

/// A channel's call of the house, on its way.
#[derive(Debug, Clone)]
pub(crate) struct Notice {
    pub(crate) channel: usize,
    pub(crate) subject: Subject,
    /// Signed by somebody else.
    pub(crate) forged: bool,
    /// Says this instead of the truth, under a right signature.
    pub(crate) wrong: Option<Money>,
    pub(crate) key: u32,
    pub(crate) tries: u32,
}

/// What a call is about.
#[derive(Debug, Clone)]
pub(crate) enum Subject {
    Payment(String),
    Refund(String),
}

/// What needs the house.
#[derive(Debug, Clone)]
pub(crate) enum Errand {
    /// The backend posts its order, the first time or again.
    Post(usize),
    /// The payer looks at the order.
    Look(usize),
    /// The backend calls it off.
    Cancel(usize),
    /// The payer asks for another way to pay.
    Switch(usize),
    /// The backend asks for money back.
    AskRefund(usize),
    /// A channel calls.
    Notify(Notice),
    /// Operators look at what is set, and change it.
    Operate,
}

/// A call that is carried out when nobody waits for it any more.
pub(crate) type Late = Box<dyn FnOnce(&mut World) + Send>;

enum Happening {
    House(Errand),
    Weather(usize),
    /// The payer pays; `true`: whatever the channel said about closing.
    Pay(String, Money, bool),
    /// The gateway makes up its mind about a debit.
    Debited(String, bool),
    RefundEnds(String),
    RotateKey(usize),
    Late(Late),
    PowerCut,
    BackendUp,
}

/// The world.
pub(crate) struct World {
    pub(crate) dice: Dice,
    pub(crate) now: Timestamp,
    pub(crate) books: Books,
    pub(crate) lines: Vec<Line>,
    pub(crate) clients: Vec<Client>,
    pub(crate) oracle: Oracle,
    pub(crate) operators: Operators,
    pub(crate) bills: Bills,
    /// How often each misbehaviour, and each thing worth counting, happened.
    pub(crate) counts: BTreeMap<&'static str, u64>,
    /// The process is gone: nothing it still tries has an effect.
    pub(crate) dead: bool,
    /// The day is over, and the weather fair: no more misbehaviour.
    pub(crate) calm: bool,
    /// Webhooks that backends took: their order and kind.
    pub(crate) told: BTreeSet<(String, String)>,
    pub(crate) backend_down: bool,
    queue: BTreeMap<(Timestamp, u64), Happening>,
    arranged: u64,
    /// Errands whose answer is not there yet.
    under_way: BTreeMap<u64, Errand>,
}

/// The world behind its lock, with its clock.
pub(crate) struct Reality {
    world: Mutex<World>,
    pub(crate) clock: Arc<SimClock>,
    /// Something was arranged for earlier than the next happening.
    pub(crate) sooner: Notify,
    /// The process died.
    pub(crate) death: Notify,
}

impl Reality {
    pub(crate) fn new(seed: u64, start: Timestamp) -> Reality {
        let lines = CHANNELS.iter().filter_map(|name| ChannelId::new(name).ok());
        let lines = lines.map(|id| Line { id, weather: Weather::Fair, key: 0, known_key: 0 }).collect();
        let world = World {
            dice: Dice::new(seed, 1),
            now: start,
            books: Books::default(),
            lines,
            clients: Vec::new(),
            oracle: Oracle::default(),
            operators: Operators::default(),
            bills: Bills::default(),
            counts: BTreeMap::new(),
            dead: false,
            calm: false,
            told: BTreeSet::new(),
            backend_down: false,
            queue: BTreeMap::new(),
            arranged: 0,
            under_way: BTreeMap::new(),
        };
        Reality {
            world: Mutex::new(world),
            clock: Arc::new(SimClock::new(start)),
            sooner: Notify::new(),
            death: Notify::new(),
        }
    }

    /// The world, as it is between two lives.
    pub(crate) fn lock(&self) -> parking_lot::MutexGuard<'_, World> {
        self.world.lock()
    }

    /// A look at the world, or a change of it, at the present moment.
    pub(crate) fn with<T>(&self, act: impl FnOnce(&mut World) -> T) -> T {
        let mut world = self.world.lock();
        world.now = self.clock.now();
        let (before, was_dead) = (world.next_at(), world.dead);
        let result = act(&mut world);
        if world.next_at() != before {
            self.sooner.notify_one();
        }
        if world.dead && !was_dead {
            self.death.notify_one();
        }
        result
    }

    /// The process dies in the middle of what it does; the caller is never answered.
    pub(crate) async fn die<T>(&self, how: &'static str) -> T {
        self.with(|world| world.crash(how));
        std::future::pending().await
    }
}

impl World {
    pub(crate) fn count(&mut self, what: &'static str) {
        *self.counts.entry(what).or_default() += 1;
    }

    /// Arranges an errand.
    pub(crate) fn errand(&mut self, after: Duration, errand: Errand) {
        self.arrange(after, Happening::House(errand));
    }

    fn arrange(&mut self, after: Duration, what: Happening) {
        self.arranged += 1;
        self.queue.insert((self.now.plus(after), self.arranged), what);
    }

    pub(crate) fn pay_in(&mut self, after: Duration, number: String, amount: Money, defiant: bool) {
        self.arrange(after, Happening::Pay(number, amount, defiant));
    }

    /// Carries a call out later than its caller waits.
    pub(crate) fn later(&mut self, after: Duration, late: Late) {
        self.arrange(after, Happening::Late(late));
    }

    /// When the next thing happens.
    pub(crate) fn next_at(&self) -> Option<Timestamp> {
        self.queue.keys().next().map(|(at, _)| *at)
    }

    /// Takes everything that is due: the world's own happenings are done, the errands are handed out in order.
    pub(crate) fn due(&mut self) -> Vec<Errand> {
        let mut errands = Vec::new();
        while let Some(entry) = self.queue.first_entry()
            && entry.key().0 <= self.now
        {
            match entry.remove() {
                Happening::House(errand) => errands.push(errand),
                other => self.happen(other),
            }
        }
        errands
    }

    /// An errand leaves for the house; returns what it is remembered by until [`World::back`].
    pub(crate) fn leaves(&mut self, errand: &Errand) -> u64 {
        self.arranged += 1;
        self.under_way.insert(self.arranged, errand.clone());
        self.arranged
    }

    /// An errand is back.
    pub(crate) fn back(&mut self, errand: u64) {
        self.under_way.remove(&errand);
    }

    /// The process died: whoever waited for its answer sees a broken connection, and comes again.
    pub(crate) fn cut_off(&mut self) {
        for errand in std::mem::take(&mut self.under_way).into_values() {
            self.turned_away(errand, Duration::ZERO);
        }
    }

    /// There is no house for an errand before `after`.
    fn turned_away(&mut self, errand: Errand, after: Duration) {
        match errand {
            Errand::Notify(notice) => self.not_taken(notice),
            other => {
                let again = after + self.dice.ms(50, 3_000);
                self.errand(again, other);
            }
        }
    }

    /// Lives without a house until `until`: whoever wants something of it finds nobody and comes again.
    pub(crate) fn without_house(&mut self, until: Timestamp) {
        while let Some(at) = self.next_at().filter(|at| *at <= until) {
            self.now = at;
            for errand in self.due() {
                self.turned_away(errand, until.since(at));
            }
        }
        self.now = until;
    }

    /// The day begins: weather, keys and power cuts take their course.
    pub(crate) fn morning(&mut self, cuts: u32, lasts: Duration) {
        self.calm = false;
        let minutes = u64::try_from(lasts.as_millis()).unwrap_or(u64::MAX);
        for channel in 0..CHANNELS.len() {
            let first = self.dice.ms(1_000, 60_000);
            self.arrange(first, Happening::Weather(channel));
            let rotation = self.dice.ms(1_000, minutes);
            self.arrange(rotation, Happening::RotateKey(channel));
        }
        // Some days they leave everything as it is; what is promised of the house as delivered is measured then.
        if self.dice.happens(0.6) {
            self.operators_come();
        }
        for _ in 0..cuts {
            let at = self.dice.ms(1_000, minutes);
            self.arrange(at, Happening::PowerCut);
        }
    }

    /// The weather clears for the rest of the day.
    pub(crate) fn clear_up(&mut self) {
        self.calm = true;
        self.backend_down = false;
        for line in &mut self.lines {
            line.weather = Weather::Fair;
            line.known_key = line.key;
        }
    }

    fn happen(&mut self, what: Happening) {
        match what {
            Happening::House(errand) => self.errand(Duration::ZERO, errand),
            Happening::Late(late) => late(self),
            Happening::Pay(number, amount, defiant) => self.pay(&number, amount, defiant),
            Happening::Debited(number, paid) => self.debited(&number, paid),
            Happening::RefundEnds(refund_no) => self.refund_ends(&refund_no),
            Happening::PowerCut if !self.calm => self.crash("power cut"),
            Happening::BackendUp => self.backend_down = false,
            Happening::RotateKey(channel) if !self.calm => {
                self.count("keys rotated");
                if let Some(line) = self.lines.get_mut(channel) {
                    line.key += 1;
                }
            }
            Happening::Weather(channel) if !self.calm => {
                let (weather, lasts) = Weather::draw(&mut self.dice);
                if weather != Weather::Fair {
                    self.count(weather.name());
                }
                if let Some(line) = self.lines.get_mut(channel) {
                    line.weather = weather;
                }
                self.arrange(lasts, Happening::Weather(channel));
                if channel == 0 && self.dice.happens(0.15) {
                    self.count("backend down");
                    self.backend_down = true;
                    let lasts = self.dice.ms(2_000, 240_000);
                    self.arrange(lasts, Happening::BackendUp);
                }
            }
            Happening::Weather(_) | Happening::RotateKey(_) | Happening::PowerCut => {}
        }
    }

    /// The process is gone from now on.
    pub(crate) fn crash(&mut self, how: &'static str) {
        if !self.dead {
            self.count(how);
            self.count("crashes");
            self.dead = true;
            self.oracle.died();
        }
    }

    /// What becomes of one call of a channel; `None` once the process is dead.
    pub(crate) fn fate(&mut self, channel: usize) -> Option<Fate> {
        if self.dead {
            return None;
        }
        let weather = self.lines.get(channel).map_or(Weather::Fair, |line| line.weather);
        let fate =
            if self.calm { Fate::Answered(self.dice.ms(15, 120)) } else { weather.fate(&mut self.dice) };
        let name = match fate {
            Fate::Answered(_) => return Some(fate),
            Fate::Swallowed => "calls swallowed",
            Fate::AnswerLost(_) => "answers lost",
            Fate::Stray(_) => "calls carried out late",
            Fate::NeverSent(_) => "calls never sent",
            Fate::Quota(_) => "calls over quota",
        };
        self.count(name);
        Some(fate)
    }

    /// True with this probability while the day lasts.
    pub(crate) fn mischief(&mut self, probability: f64) -> bool {
        !self.calm && self.dice.happens(probability)
    }

    fn pay(&mut self, number: &str, amount: Money, defiant: bool) {
        let (now, was_payable) = (self.now, self.books.payable(number, self.now));
        if self.books.pay(number, amount, now, defiant) {
            if !was_payable {
                self.count("paid after closing");
            }
            self.announce(Subject::Payment(number.to_owned()));
        }
    }

    fn debited(&mut self, number: &str, paid: bool) {
        let now = self.now;
        let Some(entry) = self.books.trades.get_mut(number) else { return };
        if paid {
            let amount = entry.amount;
            if self.books.pay(number, amount, now, false) {
                self.announce(Subject::Payment(number.to_owned()));
            }
        } else if entry.trade == crate::trades::Trade::Open {
            entry.trade = crate::trades::Trade::Declined(crate::trades::refusal(
                "NO_BALANCE",
                domain::channel::Fault::Payer,
            ));
        }
    }

    /// What a debit comes to, drawn; the gateway's own work is arranged.
    pub(crate) fn draw_debit(&mut self, number: &ChannelOrderNo) -> Debit {
        if self.books.trades.contains_key(number.as_str()) {
            return Debit::Paid; // a repeat: nothing is drawn anew
        }
        let works = self.dice.ms(200, 20_000);
        let debit = self
            .dice
            .pick(&[(0.80, Debit::Paid), (0.08, Debit::NoBalance), (0.12, Debit::Works(works))], Debit::Paid);
        if let Debit::Works(lasts) = debit {
            let paid = self.dice.happens(0.8);
            self.arrange(lasts, Happening::Debited(number.to_string(), paid));
        }
        debit
    }

    /// How a refund starts, drawn; its end is arranged.
    pub(crate) fn draw_refund(&mut self, refund_no: &str) -> Start {
        if self.books.refunds.contains_key(refund_no) {
            return Start::Works;
        }
        let calm = self.calm;
        let start = self.dice.pick(
            &[(0.5, Start::Done), (0.47, Start::Works), (if calm { 0.0 } else { 0.03 }, Start::Abnormal)],
            Start::Done,
        );
        if start == Start::Works {
            let lasts = self.dice.ms(300, 90_000);
            self.arrange(lasts, Happening::RefundEnds(refund_no.to_owned()));
        }
        if start == Start::Abnormal {
            self.count("refunds given up");
        }
        start
    }

    fn refund_ends(&mut self, refund_no: &str) {
        let now = self.now;
        if let Some(given) = self.books.refunds.get_mut(refund_no)
            && given.stands == Stands::Processing
        {
            given.stands = Stands::Done(now);
            self.announce(Subject::Refund(refund_no.to_owned()));
        }
    }

    /// The channel calls: once, twice, late, out of turn, or not at all; sometimes somebody else calls, too.
    fn announce(&mut self, subject: Subject) {
        let channel = match &subject {
            Subject::Payment(number) => self.books.trades.get(number).map(|t| t.channel),
            Subject::Refund(refund_no) => self.books.refunds.get(refund_no).map(|r| r.channel),
        };
        let Some(channel) = channel else { return };
        let key = self.lines.get(channel).map_or(0, |line| line.key);
        let notice = Notice { channel, subject, forged: false, wrong: None, key, tries: 0 };
        if self.mischief(0.02) {
            self.count("notifications forged");
            let after = self.dice.ms(1, 3_000);
            self.errand(after, Errand::Notify(Notice { forged: true, ..notice.clone() }));
        }
        if matches!(notice.subject, Subject::Payment(_)) && self.mischief(0.01) {
            self.count("notifications of a wrong amount");
            let (after, fen) = (self.dice.ms(1, 3_000), self.dice.below(100_000) + 1);
            let wrong = Money::from_fen(i64::try_from(fen).unwrap_or(1)).ok();
            self.errand(after, Errand::Notify(Notice { wrong, ..notice.clone() }));
        }
        if self.mischief(0.08) {
            return self.count("notifications lost");
        }
        let late = self.mischief(0.06);
        if late {
            self.count("notifications late");
        }
        let after = if late { self.dice.ms(2_000, 120_000) } else { self.dice.ms(5, 400) };
        self.errand(after, Errand::Notify(notice.clone()));
        if self.mischief(0.06) {
            self.count("notifications doubled");
            let again = after + self.dice.ms(0, 2_000);
            self.errand(again, Errand::Notify(notice));
        }
    }

    /// The house did not take the call: the channel calls again, five times in growing distance.
    pub(crate) fn not_taken(&mut self, notice: Notice) {
        const AGAIN_S: [u64; 5] = [15, 15, 30, 180, 600];
        let tries = usize::try_from(notice.tries).unwrap_or(usize::MAX);
        if let Some(after) = AGAIN_S.get(tries).filter(|_| !notice.forged && notice.wrong.is_none()) {
            self.count("notifications repeated");
            let notice = Notice { tries: notice.tries + 1, ..notice };
            self.errand(Duration::from_secs(*after), Errand::Notify(notice));
        }
    }

    pub(crate) fn kind(channel: usize) -> ChannelKind {
        if channel == DIRECT { ChannelKind::Direct } else { ChannelKind::Credential }
    }
}
