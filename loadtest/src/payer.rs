//! One virtual payer: orders, waits for a credential, thinks, pays, and asks until the answer is certain.
//!
//! A payer knows what a phone knows. It passes on exactly the credential that it was shown, repeats what is
//! not answered, and believes only what GET says. Latencies count from the planned moment, so a slow
//! generator or a slow service cannot hide. It ends with one [`Ending`]; an error means that the sandbox's
//! control port failed, which ends the run.

use std::{
    rc::Rc,
    time::{Duration, Instant},
};

use serde_json::value::RawValue;

use crate::{
    house::{self, House, OutOfTime},
    num,
    plan::{Behaviour, PlannedOrder},
    scenario::Scenario,
    tally::{Ending, Tally},
    wire::{NewOrder, NewPayer, OrderView, Pay, State},
};

/// Pause after a long poll that came back early with nothing new.
const BREATH: Duration = Duration::from_millis(100);

/// What all payers of a run have in common.
pub(crate) struct Town {
    pub(crate) house: House,
    pub(crate) scenario: Scenario,
    /// Where the service sends webhooks.
    pub(crate) notify_url: String,
    /// Makes order numbers of this run different from those of any other.
    pub(crate) run: String,
}

/// The end of a story: how, and what the service said when it accepted the order.
pub(crate) struct Story {
    pub(crate) ending: Ending,
    pub(crate) accepted: Option<Acceptance>,
}

/// The service's word that it has an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Acceptance {
    /// The order's id.
    pub id: String,
    /// The backend's number of it.
    pub order_no: String,
    /// What was ordered for, in fen.
    pub amount_fen: u64,
    /// When the word came, counted from the start of the run.
    pub at: Duration,
    /// Whether the payer has read since that the order is paid, which is never taken back.
    pub read_success: bool,
}

/// Why a step stopped short.
enum Stop {
    Ending(Ending),
    Broken(anyhow::Error),
}

impl From<OutOfTime> for Stop {
    fn from(_: OutOfTime) -> Stop {
        Stop::Ending(Ending::OutOfTime)
    }
}

impl From<anyhow::Error> for Stop {
    fn from(error: anyhow::Error) -> Stop {
        Stop::Broken(error)
    }
}

type Step<T> = Result<T, Stop>;

struct Payer {
    town: Rc<Town>,
    plan: PlannedOrder,
    id: String,
    /// Second of the run at which the order was accepted.
    accepted_at: Duration,
    /// When the first payment was taken, by the sandbox's clock, and over which channel.
    paid: Option<(i64, String)>,
    /// A first credential was seen and counted.
    routed: bool,
}

/// Lives one payer's story. `intended` is the planned moment as time since the start.
pub(crate) async fn live(town: Rc<Town>, plan: PlannedOrder, intended: Duration) -> anyhow::Result<Story> {
    let (behaviour, mut accepted) = (plan.behaviour, None);
    let ending = match story(&town, plan, intended, &mut accepted).await {
        Ok(ending) | Err(Stop::Ending(ending)) => ending,
        Err(Stop::Broken(error)) => return Err(error),
    };
    let at = town.house.clock.now();
    town.house.tally().ended(at, behaviour, ending);
    if let Some(accepted) = &mut accepted {
        accepted.read_success = ending == Ending::Seen(State::Success);
    }
    Ok(Story { ending, accepted })
}

async fn story(
    town: &Rc<Town>,
    plan: PlannedOrder,
    intended: Duration,
    accepted: &mut Option<Acceptance>,
) -> Step<Ending> {
    let order_no = format!("{}-{:07}", town.run, plan.index);
    let reply = order(town, &plan, &order_no).await?;
    let at = town.house.clock.now();
    if !reply.status.is_success() {
        Tally::note(&mut town.house.tally().refused, &reply.code());
        return Ok(Ending::Refused);
    }
    town.house.tally().accepted(at, at.saturating_sub(intended));
    let view = house::order(&reply)?;
    let (id, amount_fen) = (view.id.clone(), plan.amount_fen);
    *accepted = Some(Acceptance { id, order_no, amount_fen, at, read_success: false });
    if !town.scenario.payer.pays {
        return Ok(Ending::Accepted);
    }
    let mut payer = Payer {
        town: Rc::clone(town),
        plan,
        id: view.id.clone(),
        accepted_at: at,
        paid: None,
        routed: false,
    };
    payer.pay_up(view, intended).await
}

async fn order(town: &Town, plan: &PlannedOrder, order_no: &str) -> Result<house::Reply, OutOfTime> {
    let mix = &town.scenario.mix;
    let student = 20_230_000 + plan.payer;
    let new = NewOrder {
        order_no,
        merchant_id: &format!("canteen-{}", plan.merchant),
        amount_fen: plan.amount_fen,
        description: "Lunch",
        payer: NewPayer {
            id: &format!("stu-{student}"),
            account_type: "student",
            openid: &format!("oLoad{student}"),
            client_ip: "10.20.0.7",
        },
        scene: plan.scene,
        channels: &mix.channels,
        consents: if plan.consents { &mix.consents } else { &[] },
        notify_url: &town.notify_url,
        expires_in_s: town.scenario.expires_in_s,
    };
    town.house.create(&new).await
}

impl Payer {
    async fn pay_up(&mut self, view: OrderView, intended: Duration) -> Step<Ending> {
        let view = self.wait_for_credential(view, intended).await?;
        let (Some(credential), Some(channel)) = (&view.credential, &view.channel) else {
            // Ended without the payer's doing: charged directly, declined, or given up.
            return self.finish(view).await;
        };
        tokio::time::sleep(self.plan.think).await;
        match self.plan.behaviour {
            Behaviour::WalksAway => return Ok(Ending::Left),
            Behaviour::Cancels => self.act("close", "{}").await?,
            Behaviour::NoBalance => {
                self.pay(channel, credential, "no_balance").await?;
                self.act("close", "{}").await?;
            }
            Behaviour::Pays => {
                self.pay(channel, credential, "pay").await?;
                self.hint().await?;
            }
            Behaviour::TwoPhones => {
                let (first, second) = tokio::join!(
                    self.try_pay(channel, credential, "pay"),
                    self.try_pay(channel, credential, "pay")
                );
                self.took(channel, first?);
                self.took(channel, second?);
                self.hint().await?;
            }
            Behaviour::SwitchesAfterPaying => {
                self.pay(channel, credential, "pay").await?;
                self.ask_for_another(channel).await?;
            }
            Behaviour::PaysOldAfterSwitching => {
                self.ask_for_another(channel).await?;
                self.pay(channel, credential, "pay").await?;
            }
            Behaviour::PaysLate => {
                self.act("close", "{}").await?;
                let closed = self.until_ended(view.version).await?;
                if self.try_pay(channel, credential, "pay").await?.is_some() {
                    self.town.house.tally().late_payments += 1;
                    // The order must move on: the money is coming back.
                    let moved = self.look(closed.version).await?;
                    return self.finish(moved).await;
                }
                return self.finish(closed).await;
            }
        }
        self.until_certain(view).await
    }

    /// Polls until there is a credential or an end. Counts what the payer experiences meanwhile.
    async fn wait_for_credential(&mut self, mut view: OrderView, intended: Duration) -> Step<OrderView> {
        let payer = &self.town.scenario.payer;
        let patience = intended + num::seconds(payer.patience_s);
        let mut asks_at = self.plan.impatient.then(|| intended + num::seconds(payer.switch_after_s));
        loop {
            if view.state.ends_the_wait() {
                // Whatever was shown before, there is nothing left to pay with.
                view.credential = None;
                return Ok(view);
            }
            if view.credential.is_some() && view.channel.is_some() {
                self.count_credential(&view, intended);
                return Ok(view);
            }
            let now = self.town.house.clock.now();
            if now >= patience {
                self.town.house.tally().gave_up += 1;
                self.act("close", "{}").await?;
                return self.until_ended(view.version).await;
            }
            let bell = asks_at.unwrap_or(patience).min(patience);
            let waited = tokio::time::timeout(bell.saturating_sub(now), self.look(view.version)).await;
            match waited {
                Ok(seen) => view = seen?,
                Err(_) if asks_at.is_some_and(|at| at < patience) => {
                    asks_at = None;
                    let current = view.channel.clone().unwrap_or_default();
                    self.ask_for_another(&current).await?;
                }
                Err(_) => {}
            }
        }
    }

    fn count_credential(&mut self, view: &OrderView, intended: Duration) {
        if std::mem::replace(&mut self.routed, true) {
            return;
        }
        let at = self.town.house.clock.now();
        let mut tally = self.town.house.tally();
        tally.credential.record(at.saturating_sub(intended));
        if let Some(channel) = &view.channel {
            tally.routed(at, channel);
        }
    }

    /// After paying: polls to the end; pays again if the first try was turned down and a fresh credential is
    /// offered, as a payer would whose code had expired.
    async fn until_certain(&mut self, first: OrderView) -> Step<Ending> {
        let mut shown = first.credential;
        let mut version = first.version;
        let willing = self.plan.behaviour.willing();
        let twice =
            matches!(self.plan.behaviour, Behaviour::SwitchesAfterPaying | Behaviour::PaysOldAfterSwitching);
        loop {
            let view = self.look(version).await?;
            if view.state.ends_the_wait() {
                return self.finish(view).await;
            }
            version = view.version;
            let fresh = match (&view.credential, &shown) {
                (Some(new), Some(old)) => new.get() != old.get(),
                (new, _) => new.is_some(),
            };
            if let (true, true, Some(credential), Some(channel)) =
                (fresh, willing && (self.paid.is_none() || twice), &view.credential, &view.channel)
            {
                self.pay(channel, credential, "pay").await?;
                self.hint().await?;
                shown = view.credential;
            }
        }
    }

    /// Polls until success or failure.
    async fn until_ended(&self, mut version: u64) -> Step<OrderView> {
        loop {
            let view = self.look(version).await?;
            if view.state.ends_the_wait() {
                return Ok(view);
            }
            version = view.version;
        }
    }

    /// Counts the end that `view` shows, or waits for it.
    async fn finish(&mut self, mut view: OrderView) -> Step<Ending> {
        if !view.state.ends_the_wait() {
            view = self.until_ended(view.version).await?;
        }
        let (at, wall_us) = (self.town.house.clock.now(), num::wall_us());
        let mut tally = self.town.house.tally();
        let channel = view.channel.as_deref().unwrap_or("none");
        if !view.refunds.is_empty() {
            tally.refunded += 1;
        }
        match view.state {
            State::Success => {
                Tally::note(&mut tally.by_channel, channel);
                match &self.paid {
                    // Paid over this channel: from the moment the money moved. Paid over another one that
                    // lost: that money comes back and says nothing about certainty.
                    Some((paid_us, over)) if over == channel => {
                        let took = u64::try_from(wall_us.saturating_sub(*paid_us)).unwrap_or(0);
                        tally.certain(at, Duration::from_micros(took));
                    }
                    Some(_) => {}
                    None => tally.direct.record(at.saturating_sub(self.accepted_at)),
                }
                if !self.routed {
                    tally.routed(at, channel);
                }
            }
            State::Failed => {
                Tally::note(&mut tally.failed_because, view.reason.as_deref().unwrap_or("unsaid"));
                if self.paid.is_some() && self.plan.behaviour.willing() {
                    tally.paid_but_failed += 1;
                }
            }
            State::Pending | State::Processing | State::Suspicious => {}
        }
        Ok(Ending::Seen(view.state))
    }

    /// The order once it differs from `version`, or as it stands when the long poll's time is up.
    async fn look(&self, version: u64) -> Step<OrderView> {
        let asked = Instant::now();
        let reply = self.town.house.look(&self.id, version).await?;
        if reply.status.is_success() {
            let view = house::order(&reply)?;
            if view.version == version && asked.elapsed() < BREATH {
                // A service that is going down answers at once; asking at once again would be a flood.
                tokio::time::sleep(BREATH).await;
            }
            return Ok(view);
        }
        if reply.status == reqwest::StatusCode::NOT_FOUND {
            return Err(Stop::Ending(Ending::Forgotten));
        }
        Err(Stop::Broken(anyhow::anyhow!("GET of order {} was refused: {}", self.id, reply.code())))
    }

    async fn act(&self, action: &str, body: &str) -> Step<()> {
        self.town.house.act(&self.id, action, body).await?;
        Ok(())
    }

    async fn hint(&self) -> Step<()> {
        if self.plan.hint && self.paid.is_some() {
            self.act("hint", "{}").await?;
        }
        Ok(())
    }

    /// Asks to pay over another of the order's channels; an order with a single channel has none.
    async fn ask_for_another(&self, current: &str) -> Step<()> {
        let other = self.town.scenario.mix.channels.iter().find(|channel| *channel != current);
        if let Some(other) = other {
            let body = serde_json::json!({ "channel": other }).to_string();
            self.act("switch", &body).await?;
        }
        Ok(())
    }

    async fn pay(&mut self, channel: &str, credential: &RawValue, outcome: &str) -> Step<()> {
        let taken = self.try_pay(channel, credential, outcome).await?;
        self.took(channel, taken);
        Ok(())
    }

    /// The instant of the payment, if it was taken.
    async fn try_pay(&self, channel: &str, credential: &RawValue, outcome: &str) -> Step<Option<i64>> {
        let payer = format!("stu-{}", 20_230_000 + self.plan.payer);
        let pay = Pay { channel, credential, payer: &payer, outcome };
        let asked_us = num::wall_us();
        let paid = self.town.house.pay(&pay).await?;
        let answered_us = num::wall_us();
        let mut tally = self.town.house.tally();
        if paid.paid {
            tally.payments += 1;
            // The channel's clock may be wrong, even on purpose; both processes share the machine's.
            let told = paid.paid_at_us.filter(|at| (asked_us..=answered_us).contains(at));
            Ok(Some(told.unwrap_or(answered_us)))
        } else {
            Tally::note(&mut tally.payments_refused, paid.reason.as_deref().unwrap_or("unsaid"));
            Ok(None)
        }
    }

    fn took(&mut self, channel: &str, taken: Option<i64>) {
        match (taken, &self.paid) {
            (Some(at), None) => self.paid = Some((at, channel.to_owned())),
            (Some(_), Some(_)) => self.town.house.tally().second_payments += 1,
            (None, _) => {}
        }
    }
}
