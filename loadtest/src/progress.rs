//! What a run shows while it lasts: a bar with figures on a terminal, a plain line now and then elsewhere.

use std::{collections::BTreeMap, io::IsTerminal, time::Duration};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::{
    num,
    tally::{Second, Tally},
    watch::Switch,
};

/// Seconds between plain lines.
const PLAIN_EVERY: u32 = 5;

/// Told what goes on; called on the run's thread, so be quick.
pub trait Observer: Send + Sync {
    /// Second zero is now; the first order follows.
    fn started(&self, _at: std::time::Instant) {}

    /// A second has passed.
    fn tick(&self, _tick: &Tick) {}
}

/// Nobody watches.
impl Observer for () {}

/// The state of a run after a second.
#[derive(Debug, Clone)]
pub struct Tick {
    /// Seconds since the start.
    pub second: u32,
    /// Orders sent so far.
    pub sent: u64,
    /// Accepted so far.
    pub accepted: u64,
    /// Successful so far.
    pub succeeded: u64,
    /// Failed so far.
    pub failed: u64,
    /// Payers under way.
    pub in_flight: u32,
    /// The second just passed.
    pub line: Second,
    /// The last switch.
    pub last_switch: Option<Switch>,
}

impl Tick {
    pub(crate) fn new(second: u32, tally: &Tally, line: Second, last_switch: Option<&Switch>) -> Tick {
        Tick {
            second,
            sent: tally.sent,
            accepted: tally.accepted,
            succeeded: tally.succeeded,
            failed: tally.failed,
            in_flight: tally.in_flight,
            line,
            last_switch: last_switch.cloned(),
        }
    }

    /// `67/s in, 64/s done, 143 under way · wechat 98 % campus_card 2 % · 15.4 s wechat → campus_card`
    #[must_use]
    pub fn figures(&self) -> String {
        let done = self.line.succeeded + self.line.failed;
        let mut text = format!("{}/s in, {done}/s done, {} under way", self.line.offered, self.in_flight);
        if !self.line.routed.is_empty() {
            text.push_str(" · ");
            text.push_str(&shares(&self.line.routed));
        }
        if let Some(switch) = &self.last_switch {
            text.push_str(&format!(" · {:.1} s {}", switch.at_s, switch.label()));
        }
        text
    }
}

fn shares(routed: &BTreeMap<String, u32>) -> String {
    let total: u32 = routed.values().sum();
    let share = |count: &u32| 100.0 * num::ratio(u64::from(*count), u64::from(total));
    routed.iter().map(|(name, count)| format!("{name} {:.0} %", share(count))).collect::<Vec<_>>().join(" ")
}

/// A run's progress for people.
pub(crate) struct Console {
    bar: Option<ProgressBar>,
    total: u64,
    limit_s: u64,
    /// Whether an order's story goes on after it is accepted.
    pays: bool,
}

impl Console {
    /// Draws to the terminal, or writes lines to standard error where there is none.
    pub(crate) fn new(name: &str, orders: u32, limit: Duration, pays: bool) -> Console {
        let total = u64::from(orders);
        let bar = std::io::stdout().is_terminal().then(|| {
            let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr());
            let shape = "{prefix} {bar:24.green/dim} {pos}/{len} {elapsed} {msg}";
            if let Ok(style) = ProgressStyle::with_template(shape) {
                bar.set_style(style);
            }
            bar.set_prefix(name.to_owned());
            bar
        });
        Console { bar, total, limit_s: limit.as_secs(), pays }
    }

    pub(crate) fn show(&mut self, tick: &Tick) {
        let ended = tick.succeeded + tick.failed;
        match &self.bar {
            Some(bar) => {
                bar.set_position(if self.pays { ended } else { tick.accepted });
                bar.set_message(tick.figures());
            }
            None if tick.second.is_multiple_of(PLAIN_EVERY) => {
                eprintln!(
                    "{:>4} s of at most {} s: {}/{} sent, {} accepted, {} paid, {} failed; {}",
                    tick.second,
                    self.limit_s,
                    tick.sent,
                    self.total,
                    tick.accepted,
                    tick.succeeded,
                    tick.failed,
                    tick.figures()
                );
            }
            None => {}
        }
    }
}

impl Drop for Console {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
