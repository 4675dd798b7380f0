//! Backends with orders, and the people behind them: who pays, how often, when, and what they ask for meanwhile.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use domain::{
    ChannelId, MerchantId, Money, OrderId, Scene, Timestamp,
    order::{OrderRequest, Payer},
};
use serde::Deserialize;

use crate::world::{CHANNELS, DIRECT, Errand, World};

/// What a payer means to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Plan {
    Pays,
    /// Holds the credential past the order's end and pays all the same, if the channel lets it.
    PaysLate,
    /// Pays everything that can be paid.
    PaysTwice,
    Never,
    /// Calls it off; `true`: and pays at the same moment.
    Cancels(bool),
    /// Asks for another way; `true`: and pays the old one, too.
    Switches(bool),
}

/// Above every channel's limit, in fen.
const BANQUET: (u64, u64) = (100_001, 400_000);

/// Whose number it is.
fn order_of(number: &str) -> Option<OrderId> {
    number.get(..26).and_then(|id| id.parse().ok())
}

/// One order of a backend and its payer.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    pub(crate) request: Arc<OrderRequest>,
    pub(crate) plan: Plan,
    /// The backend was told that this order is durable.
    pub(crate) accepted: Option<OrderId>,
    /// Looks that are left before the payer loses patience.
    looks: u32,
    /// Numbers whose credential the payer has seen.
    pub(crate) seen: Vec<String>,
    /// How much the backend will ask back, once paid.
    asks_back: Option<i64>,
    asked: bool,
}

/// As much of an order's view as a payer reads.
#[derive(Debug, Deserialize)]
pub(crate) struct View {
    pub(crate) id: OrderId,
    pub(crate) state: String,
    pub(crate) amount_fen: i64,
    #[serde(default)]
    pub(crate) credential: Option<Shown>,
    #[serde(default)]
    pub(crate) parts: Vec<PartShown>,
}

/// One part of an order that is paid in parts.
#[derive(Debug, Deserialize)]
pub(crate) struct PartShown {
    pub(crate) state: String,
    /// The address of its order.
    pub(crate) order: String,
}

/// The credential in it.
#[derive(Debug, Deserialize)]
pub(crate) struct Shown {
    #[serde(default)]
    pub(crate) code_url: String,
}

impl World {
    /// A backend has a new order and posts it.
    pub(crate) fn arrive(&mut self) {
        let (n, dice) = (self.clients.len(), &mut self.dice);
        let channel = |i: usize| CHANNELS.get(i).and_then(|name| ChannelId::new(name).ok());
        let consents = if dice.happens(0.4) { channel(DIRECT).into_iter().collect() } else { Vec::new() };
        let channels = if dice.happens(0.1) {
            let first = usize::try_from(dice.below(3)).unwrap_or(0);
            [first, DIRECT].into_iter().filter_map(channel).collect()
        } else {
            Vec::new()
        };
        // A meal, a feast that not every channel takes, or a banquet that none takes in one payment.
        let (least, most) =
            dice.pick(&[(0.965, (100, 6_099)), (0.015, (30_000, 100_000)), (0.02, BANQUET)], (100, 6_099));
        let amount_fen = i64::try_from(least + dice.below(most - least + 1)).unwrap_or(0);
        let banquet = least == BANQUET.0;
        let plan = dice.pick(
            &[
                (0.76, Plan::Pays),
                (0.04, Plan::PaysLate),
                (0.04, Plan::PaysTwice),
                (0.05, Plan::Never),
                (0.03, Plan::Cancels(false)),
                (0.02, Plan::Cancels(true)),
                (0.03, Plan::Switches(false)),
                (0.03, Plan::Switches(true)),
            ],
            Plan::Pays,
        );
        let asks_back = dice.happens(0.04).then(|| {
            if dice.happens(0.5) { amount_fen } else { 1 + i64::try_from(dice.below(100)).unwrap_or(0) }
        });
        let expires = if banquet { dice.ms(60_000, 900_000) } else { dice.ms(45_000, 600_000) };
        let merchant = dice.below(5);
        let request = OrderRequest {
            order_no: format!("S{n}"),
            merchant_id: match MerchantId::new(&format!("canteen-{merchant}")) {
                Ok(id) => id,
                Err(_) => return,
            },
            amount: Money::from_fen(amount_fen).unwrap_or(Money::ZERO),
            description: "Beef noodles".to_owned(),
            payer: Payer {
                id: format!("stu-{}", dice.below(3_000)),
                account_type: "student".to_owned(),
                openid: Some("o1".to_owned()),
                accounts: BTreeMap::new(),
                client_ip: None,
            },
            scene: dice.pick(&[(0.7, Scene::Native), (0.2, Scene::Jsapi), (0.1, Scene::H5)], Scene::Native),
            channels,
            consents,
            notify_url: dice.happens(0.9).then(|| format!("http://backend-{merchant}.campus.invalid/paid")),
            keep_late: dice.happens(0.2),
            part_of: None,
            expires_at: self.now.plus(expires),
        };
        self.count(match plan {
            Plan::Pays => "payers who pay",
            Plan::PaysLate => "payers who pay late",
            Plan::PaysTwice => "payers who pay twice",
            Plan::Never => "payers who never pay",
            Plan::Cancels(_) => "orders called off",
            Plan::Switches(_) => "payers who switch",
        });
        if banquet {
            self.count("banquets");
        }
        self.clients.push(Client {
            request: Arc::new(request),
            plan,
            accepted: None,
            // In parts there is more to see.
            looks: if banquet { 60 } else { 9 },
            seen: Vec::new(),
            asks_back,
            asked: false,
        });
        self.errand(Duration::ZERO, Errand::Post(n));
    }

    /// The backend has the house's word.
    pub(crate) fn accepted(&mut self, n: usize, id: OrderId) {
        let after = self.dice.ms(300, 1_500);
        let Some(client) = self.clients.get_mut(n) else { return };
        match client.accepted {
            None => {
                client.accepted = Some(id);
                self.errand(after, Errand::Look(n));
            }
            Some(before) if before != id => {
                let what = format!("order S{n} was accepted as {before} and again as {id}");
                self.outrage("accepted_twice", Some(id), what);
            }
            Some(_) => {}
        }
    }

    /// The payer has looked at the order.
    pub(crate) fn looked(&mut self, n: usize, view: Option<&View>) {
        let now = self.now;
        let Some(client) = self.clients.get_mut(n) else { return };
        client.looks = client.looks.saturating_sub(1);
        let (left, expires_at) = (client.looks, client.request.expires_at);
        let mut again = self.dice.ms(500, 2_000) * (10 - left.min(9));
        if let Some(view) = view {
            if view.state == "success" {
                self.thinks_it_is_paid(n, view);
                return;
            }
            if view.state == "failed" {
                return;
            }
            if let Some(number) = view.credential.as_ref().and_then(|c| c.code_url.strip_prefix("sim:")) {
                again = again.max(self.sees(n, number));
            }
        }
        if left > 0 && now < expires_at.plus(Duration::from_secs(120)) {
            self.errand(again, Errand::Look(n));
        }
    }

    /// The payer sees a credential; returns when to look again.
    fn sees(&mut self, n: usize, number: &str) -> Duration {
        let Some(client) = self.clients.get_mut(n) else { return Duration::ZERO };
        if client.seen.iter().any(|seen| seen == number) {
            return Duration::ZERO;
        }
        // What was seen of other parts is no other way to pay this one.
        let of = order_of(number);
        let first_of_all = client.seen.is_empty();
        let is_part = of.is_some() && of != client.accepted;
        client.seen.push(number.to_owned());
        let mut seen: Vec<String> =
            client.seen.iter().filter(|number| order_of(number) == of).cloned().collect();
        let (plan, request, earlier) = (client.plan, client.request.clone(), seen.len() - 1);
        self.oracle.shown.insert(number.to_owned());
        let taken = seen.iter().any(|number| self.books.capture(number).is_some());
        let think = self.dice.ms(800, 25_000);
        let asked = self.books.trades.get(number).map_or(request.amount, |entry| entry.amount);
        let amount = if self.mischief(0.001) {
            self.count("wrong amounts taken");
            asked.checked_add(Money::from_fen(1).unwrap_or(Money::ZERO)).unwrap_or(asked)
        } else {
            asked
        };
        let plan = if is_part { self.mood(plan, first_of_all || earlier > 0) } else { plan };
        let defiant = self.mischief(0.03);
        let late = request.expires_at.since(self.now) + self.dice.ms(0, 100_000);
        match plan {
            Plan::Never => {}
            Plan::Pays | Plan::Switches(_) if earlier > 0 && taken => {}
            Plan::Pays => self.pay_in(think, number.to_owned(), amount, defiant),
            Plan::PaysLate => {
                let defiant = self.dice.happens(0.7);
                self.pay_in(late, number.to_owned(), amount, defiant);
            }
            Plan::PaysTwice => {
                for number in seen.drain(..) {
                    let defiant = self.dice.happens(0.2);
                    self.pay_in(think, number, amount, defiant);
                }
            }
            Plan::Cancels(pays) => {
                self.errand(think, Errand::Cancel(n));
                if pays {
                    let jitter = self.dice.ms(0, 1_500);
                    self.pay_in(think + jitter, number.to_owned(), amount, defiant);
                }
            }
            Plan::Switches(pays_old) if earlier == 0 => {
                self.errand(think, Errand::Switch(n));
                if pays_old {
                    let (when, defiant) = (self.dice.ms(500, 30_000), self.dice.happens(0.3));
                    self.pay_in(when, number.to_owned(), amount, defiant);
                }
            }
            Plan::Switches(_) => self.pay_in(think, number.to_owned(), amount, defiant),
        }
        think + self.dice.ms(200, 1_200)
    }

    /// What becomes of a plan at one part: payers grow tired, and do what they meant to at some part or other.
    fn mood(&mut self, plan: Plan, begins: bool) -> Plan {
        let otherwise = match plan {
            Plan::Pays if !begins && self.dice.happens(0.05) => {
                self.count("payers who give up halfway");
                return Plan::Never;
            }
            Plan::Pays | Plan::Never => return plan,
            Plan::PaysLate | Plan::PaysTwice | Plan::Cancels(_) | Plan::Switches(_) => Plan::Pays,
        };
        if self.dice.happens(0.5) { plan } else { otherwise }
    }

    /// The payer reads "paid": it must be true, to the fen.
    fn thinks_it_is_paid(&mut self, n: usize, view: &View) {
        if !self.oracle.holds_exactly(&self.books, view.id, view.amount_fen) {
            let what = format!(
                "the payer of {} reads \"paid\", and no channel took {} fen",
                view.id, view.amount_fen
            );
            self.outrage("paid_is_not_true", Some(view.id), what);
        }
        let after = self.dice.ms(1_000, 60_000);
        if let Some(client) = self.clients.get_mut(n)
            && client.asks_back.is_some()
            && !client.asked
        {
            client.asked = true;
            self.count("refunds asked for");
            self.errand(after, Errand::AskRefund(n));
        }
    }

    /// The order behind what the payer sees: of an order in parts the part whose turn it is.
    pub(crate) fn at_hand(&self, n: usize) -> Option<OrderId> {
        let client = self.clients.get(n)?;
        client.seen.last().and_then(|number| order_of(number)).or(client.accepted)
    }

    /// How much the backend asks back, and for which order.
    pub(crate) fn asks_back(&self, n: usize) -> Option<(OrderId, Money)> {
        let client = self.clients.get(n)?;
        Some((client.accepted?, Money::from_fen(client.asks_back?).ok()?))
    }

    /// The last moment at which somebody of today may still act on a credential.
    pub(crate) fn last_end(&self) -> Timestamp {
        let ends = self.clients.iter().rev().take(20_000).map(|client| client.request.expires_at);
        ends.max().unwrap_or_default().plus(Duration::from_secs(100))
    }
}
