//! CPU time and peak memory of another process, from `/proc`.
//!
//! The service may be killed and started again in the middle of a run, so figures are sampled while it
//! lives and added up over all its lives; what a process did between the last sample and its death (at most
//! [`INTERVAL`]) is missing. Linux only: elsewhere every figure is zero and says so by `lives == 0`.

use std::{
    fs,
    sync::{Arc, Mutex, PoisonError, mpsc},
    thread::JoinHandle,
    time::Duration,
};

use crate::num;

/// Time between samples.
pub const INTERVAL: Duration = Duration::from_millis(200);

/// What one look at a process shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// User and system time of all threads, microseconds. The kernel counts in steps of 10 ms.
    pub cpu_us: u64,
    /// Highest resident set so far, KiB.
    pub peak_rss_kib: u64,
}

impl Usage {
    /// Looks at a process now; `None` if there is no such process (any more).
    #[must_use]
    pub fn of(pid: u32) -> Option<Usage> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        // The name in parentheses may contain anything; fields are counted after its last ')'.
        let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace().skip(11);
        let user: u64 = fields.next()?.parse().ok()?;
        let system: u64 = fields.next()?.parse().ok()?;
        // A zombie has times but no memory any more.
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let peak_rss_kib = peak
            .and_then(|text| text.split_ascii_whitespace().next())
            .and_then(|n| n.parse().ok())
            .unwrap_or(0);
        let ticks = rustix::param::clock_ticks_per_second().max(1);
        Some(Usage { cpu_us: (user + system).saturating_mul(1_000_000) / ticks, peak_rss_kib })
    }
}

/// The sum over all lives of a watched process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Totals {
    /// CPU time since the watch began, microseconds.
    pub cpu_us: u64,
    /// Highest resident set of any life, KiB.
    pub peak_rss_kib: u64,
    /// How many processes were seen alive.
    pub lives: u32,
}

#[derive(Default)]
struct Watched {
    pid: u32,
    /// CPU time of the current life that does not count: what it had used when the watch began.
    before_us: u64,
    latest: Usage,
    seen: bool,
    past: Totals,
}

impl Watched {
    fn look(&mut self) {
        if let Some(usage) = Usage::of(self.pid) {
            self.latest.cpu_us = self.latest.cpu_us.max(usage.cpu_us);
            self.latest.peak_rss_kib = self.latest.peak_rss_kib.max(usage.peak_rss_kib);
            self.seen = true;
        }
    }

    fn totals(&self) -> Totals {
        Totals {
            cpu_us: self.past.cpu_us + self.latest.cpu_us.saturating_sub(self.before_us),
            peak_rss_kib: self.past.peak_rss_kib.max(self.latest.peak_rss_kib),
            lives: self.past.lives + u32::from(self.seen),
        }
    }
}

/// Watches a process from a thread of its own until it is dropped or finished.
pub struct Watch {
    watched: Arc<Mutex<Watched>>,
    stop: Option<mpsc::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Watch {
    /// Starts watching; what the process used before does not count.
    ///
    /// # Errors
    /// When the system refuses another thread.
    pub fn start(pid: u32) -> std::io::Result<Watch> {
        let before_us = Usage::of(pid).map_or(0, |usage| usage.cpu_us);
        let mut first = Watched { pid, before_us, ..Watched::default() };
        first.look();
        let watched = Arc::new(Mutex::new(first));
        let (stop, stopped) = mpsc::channel::<()>();
        let shared = Arc::clone(&watched);
        let thread = std::thread::Builder::new().name("process-watch".into()).spawn(move || {
            while stopped.recv_timeout(INTERVAL) == Err(mpsc::RecvTimeoutError::Timeout) {
                lock(&shared).look();
            }
        })?;
        Ok(Watch { watched, stop: Some(stop), thread: Some(thread) })
    }

    /// The process is about to be ended: takes a last sample so that little is missed.
    pub fn about_to_end(&self) {
        lock(&self.watched).look();
    }

    /// A new process took the place of the old one; all of its time counts.
    pub fn restarted(&self, pid: u32) {
        let mut watched = lock(&self.watched);
        let past = watched.totals();
        *watched = Watched { pid, past, ..Watched::default() };
        watched.look();
    }

    /// The figures up to now.
    #[must_use]
    pub fn totals(&self) -> Totals {
        let mut watched = lock(&self.watched);
        watched.look();
        watched.totals()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.stop.take();
        if let Some(thread) = self.thread.take() {
            // The thread only samples; if it panicked there is nothing to save.
            let _ = thread.join();
        }
    }
}

fn lock(watched: &Mutex<Watched>) -> std::sync::MutexGuard<'_, Watched> {
    // A sample is written in single steps; a poisoned one is still a sample.
    watched.lock().unwrap_or_else(PoisonError::into_inner)
}

/// CPU time of the calling thread, microseconds; zero where the kernel does not tell.
#[must_use]
pub fn this_thread_cpu_us() -> u64 {
    let text = fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    text.split_ascii_whitespace().next().and_then(|ns| ns.parse::<u64>().ok()).unwrap_or(0) / 1_000
}

impl Totals {
    /// Peak memory in MiB.
    #[must_use]
    pub fn peak_rss_mib(&self) -> f64 {
        num::float(self.peak_rss_kib) / 1_024.0
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[test]
    fn cpu_time_and_memory_of_this_process_grow_with_its_work() {
        let watch = Watch::start(std::process::id()).unwrap();
        let block = vec![1u8; 8 << 20];
        let started = Instant::now();
        let mut sum = 0u64;
        // Bounded: busy until the kernel's 10 ms steps show it.
        while watch.totals().cpu_us == 0 && started.elapsed() < Duration::from_secs(10) {
            sum =
                std::hint::black_box(block.iter().fold(sum, |sum, byte| sum.wrapping_add(u64::from(*byte))));
        }
        let totals = watch.totals();
        assert!(totals.cpu_us > 0);
        assert!(totals.peak_rss_mib() >= 8.0, "{totals:?}");
        assert_eq!(totals.lives, 1);
    }

    #[test]
    fn a_process_that_is_killed_and_replaced_counts_in_both_lives() {
        let busy = || std::process::Command::new("sh").args(["-c", "while :; do :; done"]).spawn().unwrap();
        let mut first = busy();
        let watch = Watch::start(first.id()).unwrap();
        let until = |goal: u64| {
            let started = Instant::now();
            while watch.totals().cpu_us < goal && started.elapsed() < Duration::from_secs(20) {
                std::thread::sleep(Duration::from_millis(5));
            }
        };
        until(30_000);
        watch.about_to_end();
        first.kill().unwrap();
        first.wait().unwrap();
        let after_first = watch.totals();
        assert!(after_first.cpu_us >= 30_000, "{after_first:?}");
        let mut second = busy();
        watch.restarted(second.id());
        until(after_first.cpu_us + 20_000);
        second.kill().unwrap();
        second.wait().unwrap();
        let totals = watch.totals();
        assert!(totals.cpu_us >= after_first.cpu_us + 20_000, "{totals:?}");
        assert_eq!(totals.lives, 2);
    }
}
