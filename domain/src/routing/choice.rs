//! Which channel one order starts on.
//!
//! First what the order can use at all; if that is nothing, the order is [`Choice::Exhausted`]:
//!
//! | left out for good | because |
//! |---|---|
//! | not among `allowed` (if any are named), wrong scene, amount above the limit | the payer or the scene cannot use it |
//! | in `exclude` | it refused this order |
//! | a direct channel without consent | the call itself would take the money |
//!
//! Then the first line that names a channel wins; `order` is `allowed` if given, else as configured:
//!
//! | # | channel | note |
//! |---|---|---|
//! | 1 | `want`, if healthy, probing or slow | the payer asked for it |
//! | 2 | a probing credential channel, for `probe_share` of the orders or when a probe is due | only with a healthy one behind it; hedged at once |
//! | 3 | `last_used`, if healthy | what the payer is used to |
//! | 4 | the first healthy in order | |
//! | 5 | the first probing in order | nothing healthy is left |
//! | 6 | the first slow in order | slow beats waiting |
//! | 7 | [`Choice::Wait`] | open, disabled, just failed (`avoid`), or direct while another attempt may be paid |
//!
//! A hedge (`hedge_of`) takes a healthy channel (lines 3 and 4) or waits: a doubtful rival helps nobody.
//! Direct channels are never probed with orders: a silent one could not be hedged. Pure; never fails.

use super::ChannelState;
use crate::{ChannelId, ChannelKind, Money, Scene, channel::ChannelProfile, tuning::Tuning};

/// What an order brings to the router.
#[derive(Debug, Clone, PartialEq)]
pub struct RouteNeed {
    /// How the payer meets the payment.
    pub scene: Scene,
    /// How much.
    pub amount: Money,
    /// The payer's type of account: limits depend on it.
    pub account_type: String,
    /// Channels that may be used, best first; empty means every configured one.
    pub allowed: Vec<ChannelId>,
    /// Direct channels the payer agreed to.
    pub consents: Vec<ChannelId>,
    /// Channels that refused this order for good.
    pub exclude: Vec<ChannelId>,
    /// Channels that could not be reached a moment ago. Keep a name here for seconds, not for good: with
    /// nothing else to use the order waits.
    pub avoid: Vec<ChannelId>,
    /// The channel the payer asked for.
    pub want: Option<ChannelId>,
    /// The channel the payer last chose. Leave out what only a switch or a hedge led to, or the payer
    /// never comes back from it.
    pub last_used: Option<ChannelId>,
    /// No other attempt of the order can still take money.
    pub direct_ok: bool,
    /// Set when a rival to a silent prepay on this channel is sought.
    pub hedge_of: Option<ChannelId>,
}

impl RouteNeed {
    /// A need without wishes or history: every configured channel may be used, no consent, nothing exposed.
    #[must_use]
    pub const fn new(scene: Scene, amount: Money) -> RouteNeed {
        RouteNeed {
            scene,
            amount,
            account_type: String::new(),
            allowed: Vec::new(),
            consents: Vec::new(),
            exclude: Vec::new(),
            avoid: Vec::new(),
            want: None,
            last_used: None,
            direct_ok: true,
            hedge_of: None,
        }
    }
}

/// What the router knows about a channel at the moment of choosing; one per configured channel, in order.
#[derive(Debug, Clone, PartialEq)]
pub struct ChannelView {
    /// What it can do.
    pub profile: ChannelProfile,
    /// How it is.
    pub state: ChannelState,
    /// The next order that can should probe it ([`super::Monitor::probe_due`]).
    pub probe_due: bool,
    /// Why it is in its state ([`super::Health::reason`]); quoted when it is passed over.
    pub reason: String,
}

/// The router's answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Choice {
    /// Start an attempt.
    Use {
        /// On this channel.
        channel: ChannelId,
        /// How money moves there.
        kind: ChannelKind,
        /// Why, for people.
        reason: String,
        /// The order is a probe: start its hedge without waiting.
        hedge_at_once: bool,
    },
    /// Channels the order can use exist, but none can be used now: make it up later.
    Wait {
        /// Why, for people.
        reason: String,
    },
    /// Nothing this payer and scene can use is left.
    Exhausted {
        /// Why, for people: a word on every channel.
        reason: String,
    },
}

/// Chooses by the table above. `draw` is a fresh random number, 0 (included) to 1 (excluded).
#[must_use]
pub fn choose(need: &RouteNeed, channels: &[ChannelView], draw: f64, tuning: &Tuning) -> Choice {
    if channels.is_empty() {
        return Choice::Wait { reason: "no channel is configured".to_owned() };
    }
    let named = in_order(need, channels);
    let (fit, unfit): (Vec<&ChannelView>, Vec<&ChannelView>) =
        named.into_iter().partition(|view| unfit_because(need, view).is_none());
    if fit.is_empty() && need.hedge_of.is_none() {
        return Choice::Exhausted { reason: why_exhausted(need, &unfit) };
    }
    let ready: Vec<&ChannelView> =
        fit.iter().copied().filter(|view| not_now_because(need, view).is_none()).collect();
    let pick = pick(need, &ready, draw, tuning);
    match pick {
        Some((view, why, hedge_at_once)) => Choice::Use {
            channel: view.profile.id.clone(),
            kind: view.profile.kind,
            reason: reason(view, why, &fit),
            hedge_at_once,
        },
        None => Choice::Wait { reason: why_wait(need, &fit) },
    }
}

type Pick<'a> = (&'a ChannelView, &'static str, bool);

/// Lines 1 to 6 of the table.
fn pick<'a>(need: &RouteNeed, ready: &[&'a ChannelView], draw: f64, tuning: &Tuning) -> Option<Pick<'a>> {
    use ChannelState as S;
    let named = |id: &Option<ChannelId>| ready.iter().copied().find(|v| Some(&v.profile.id) == id.as_ref());
    let first = |state: S| ready.iter().copied().find(|v| v.state == state);
    let healthy = named(&need.last_used)
        .filter(|v| v.state == S::Healthy)
        .map(|v| (v, "the payer's last channel", false))
        .or_else(|| first(S::Healthy).map(|v| (v, "first healthy in order", false)));
    if need.hedge_of.is_some() {
        return healthy.map(|(v, _, _)| (v, "hedge", false));
    }
    if let Some(wanted) = named(&need.want) {
        return Some((wanted, "asked for by the payer", false));
    }
    let probe = ready.iter().copied().find(|v| {
        v.state == S::Probing
            && v.profile.kind == ChannelKind::Credential
            && (v.probe_due || draw < tuning.probe_share)
    });
    match (probe, healthy) {
        (Some(v), Some(_)) => Some((v, "probe", true)),
        (_, Some(pick)) => Some(pick),
        (_, None) => first(S::Probing)
            .map(|v| (v, "nothing healthy is left", false))
            .or_else(|| first(S::Slow).map(|v| (v, "slow, but nothing better is left", false))),
    }
}

/// The channels that may be used, best first. A name that is not configured is not there.
fn in_order<'a>(need: &RouteNeed, channels: &'a [ChannelView]) -> Vec<&'a ChannelView> {
    if need.allowed.is_empty() {
        return channels.iter().collect();
    }
    let mut named: Vec<&ChannelView> = Vec::with_capacity(need.allowed.len());
    for id in &need.allowed {
        let view = channels.iter().find(|v| v.profile.id == *id);
        named.extend(view.filter(|v| !named.iter().any(|have| have.profile.id == v.profile.id)));
    }
    named
}

/// Why this order can never use the channel.
fn unfit_because(need: &RouteNeed, view: &ChannelView) -> Option<String> {
    let profile = &view.profile;
    if need.exclude.contains(&profile.id) {
        Some("refused this order".to_owned())
    } else if !profile.scenes.contains(&need.scene) {
        Some(format!("not for {}", need.scene.as_str()))
    } else if need.amount > profile.limit_for(&need.account_type, need.scene) {
        Some(format!("limit {} yuan", profile.limit_for(&need.account_type, need.scene)))
    } else if profile.kind == ChannelKind::Direct && !need.consents.contains(&profile.id) {
        Some("no consent".to_owned())
    } else {
        None
    }
}

/// Why this order cannot use the channel now.
fn not_now_because(need: &RouteNeed, view: &ChannelView) -> Option<&'static str> {
    let profile = &view.profile;
    match view.state {
        ChannelState::Open => Some("open"),
        ChannelState::Disabled => Some("disabled"),
        ChannelState::Healthy | ChannelState::Slow | ChannelState::Probing => {
            if need.avoid.contains(&profile.id) {
                Some("could not be reached just now")
            } else if need.hedge_of.as_ref() == Some(&profile.id) {
                Some("is the silent one")
            } else if profile.kind == ChannelKind::Direct && !need.direct_ok {
                Some("debits at once while another attempt may still be paid")
            } else {
                None
            }
        }
    }
}

/// The choice, and the first channel that would have come before it had it been healthy.
fn reason(view: &ChannelView, why: &str, fit: &[&ChannelView]) -> String {
    let before = fit.iter().take_while(|v| v.profile.id != view.profile.id);
    match before.into_iter().find(|v| v.state != ChannelState::Healthy) {
        Some(passed) => {
            let id = &view.profile.id;
            format!("{id}: {why}; {} is {} ({})", passed.profile.id, passed.state, passed.reason)
        }
        None => format!("{}: {why}", view.profile.id),
    }
}

fn why_exhausted(need: &RouteNeed, unfit: &[&ChannelView]) -> String {
    if unfit.is_empty() {
        return "none of the named channels is configured".to_owned();
    }
    let word = |v: &&ChannelView| Some(format!("{}: {}", v.profile.id, unfit_because(need, v)?));
    unfit.iter().filter_map(word).collect::<Vec<_>>().join("; ")
}

fn why_wait(need: &RouteNeed, fit: &[&ChannelView]) -> String {
    let word = |v: &&ChannelView| {
        let why = not_now_because(need, v).unwrap_or(v.state.as_str());
        format!("{}: {why}", v.profile.id)
    };
    let words = fit.iter().map(word).collect::<Vec<_>>().join("; ");
    if words.is_empty() { "no rival can be used".to_owned() } else { words }
}

#[cfg(test)]
#[path = "choice_tests.rs"]
mod tests;
