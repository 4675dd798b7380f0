//! What a chaos run shows while it lasts: a bar under the mischief on a terminal, plain lines elsewhere. It also
//! counts for the mischief what the generator sees.

use std::{
    io::IsTerminal as _,
    sync::{
        OnceLock,
        atomic::{AtomicU64, Ordering},
    },
};

use ::loadtest::{Observer, Tick};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::time::Instant;

/// Seconds between plain lines.
const PLAIN_EVERY: u32 = 10;

pub(super) struct Show {
    quiet: bool,
    bar: Option<ProgressBar>,
    start: OnceLock<Instant>,
    began: tokio::sync::Notify,
    pushed_back: AtomicU64,
}

impl Show {
    pub(super) fn new(orders: u32, quiet: bool) -> Show {
        let draws = !quiet && std::io::stderr().is_terminal();
        let bar = draws.then(|| {
            let bar = ProgressBar::with_draw_target(Some(orders.into()), ProgressDrawTarget::stderr());
            let shape = "chaos {bar:24.green/dim} {pos}/{len} {elapsed} {msg}";
            if let Ok(style) = ProgressStyle::with_template(shape) {
                bar.set_style(style);
            }
            bar
        });
        let (start, began) = (OnceLock::new(), tokio::sync::Notify::new());
        Show { quiet, bar, start, began, pushed_back: AtomicU64::new(0) }
    }

    /// Second zero of the load, once it has begun.
    pub(super) async fn start(&self) -> Instant {
        loop {
            let began = self.began.notified();
            if let Some(start) = self.start.get() {
                return *start;
            }
            began.await;
        }
    }

    /// Requests that the service refused with 429 or 503 so far, at most a second old.
    pub(super) fn pushed_back(&self) -> u64 {
        self.pushed_back.load(Ordering::Relaxed)
    }

    /// A line for people.
    pub(super) fn note(&self, text: &str) {
        let at = self.start.get().map(|start| format!("{:>7.1} s  ", start.elapsed().as_secs_f64()));
        let line = at.unwrap_or_default() + text;
        match &self.bar {
            Some(bar) => bar.println(line),
            None if self.quiet => {}
            None => eprintln!("{line}"),
        }
    }

    pub(super) fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

impl Observer for Show {
    fn started(&self, at: std::time::Instant) {
        let _set_once = self.start.set(at.into());
        self.began.notify_waiters();
    }

    fn tick(&self, tick: &Tick) {
        self.pushed_back.fetch_add(tick.line.pushed_back.into(), Ordering::Relaxed);
        match &self.bar {
            Some(bar) => {
                bar.set_position(tick.succeeded + tick.failed);
                bar.set_message(tick.figures());
            }
            None if tick.second.is_multiple_of(PLAIN_EVERY) => {
                let (sent, accepted) = (tick.sent, tick.accepted);
                self.note(&format!("{sent} sent, {accepted} accepted; {}", tick.figures()));
            }
            None => {}
        }
    }
}
