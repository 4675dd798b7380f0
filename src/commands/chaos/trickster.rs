//! Carries the schedule out, and makes sure that each act really happened.
//!
//! A kill counts if the signal is what ended the process; a freeze if the process stood still; a full disk if somebody
//! was refused an order for it; a cut if a call met it; a skewed clock if the channels say so. Whatever happens, the
//! world is set right again: no ballast, no faults but the weather's, the clock of the machine.

use std::{cell::RefCell, time::Duration};

use ::loadtest::{FaultSet, Mischief, Scenario};
use anyhow::{Context as _, bail};
use reqwest::StatusCode;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep, sleep_until};

use super::{
    disk::Disk,
    plan::{Act, Break, Plan, What},
    sandbox::Sandbox,
    show::Show,
};
use crate::commands::house::House;

/// A service is ready again within this, even if it has to wait for room on its disk.
const PATIENCE: Duration = Duration::from_secs(60);
/// A full disk is noticed within this: when the write-ahead log has used the room that it has and must grow.
const NOTICED_WITHIN: Duration = Duration::from_secs(45);
/// A cut that no call has met, since others carry the load or the service is down, lasts so much longer: beyond the
/// longest freeze.
const MET_WITHIN: Duration = Duration::from_secs(90);
/// Between looks at what changes.
const LOOK: Duration = Duration::from_millis(20);
/// A process stands still so soon after it was told to.
const STANDS_STILL_WITHIN: Duration = Duration::from_secs(2);

/// What all lanes use.
pub(super) struct Trickster<'a> {
    pub(super) disk: &'a Disk,
    pub(super) sandbox: &'a Sandbox,
    pub(super) scenario: &'a Scenario,
    pub(super) show: &'a Show,
    pub(super) done: RefCell<Vec<Mischief>>,
}

impl Trickster<'_> {
    /// Carries out all lanes; returns when the world is right again.
    ///
    /// # Errors
    /// The service does not come back, or the machine refuses what is needed. Mischief that did not work out is no
    /// error: it is kept with its problem.
    pub(super) async fn carry_out(&self, plan: &Plan, house: &mut House) -> anyhow::Result<()> {
        let start = self.show.start().await;
        tokio::try_join!(
            self.lane_of_the_house(plan, house, start),
            self.lane_of_the_sandbox(&plan.connections, start),
            self.lane_of_the_sandbox(&plan.clock, start),
        )?;
        Ok(())
    }

    async fn lane_of_the_house(&self, plan: &Plan, house: &mut House, start: Instant) -> anyhow::Result<()> {
        for act in &plan.house {
            sleep_until(start + act.at).await;
            if let Some(status) = house.ended()? {
                bail!("the service ended by itself ({status}): {}", house.tail());
            }
            self.show.note(&act.what.to_string());
            let mut record = record(act, start);
            match &act.what {
                What::Kill { down, again_after } => {
                    self.kill(house, &mut record, *down, *again_after).await?;
                }
                What::Freeze { lasts, killed } => {
                    self.freeze(house, &mut record, *lasts, *killed).await?;
                }
                What::Disk { lasts, killed } => self.fill(house, &mut record, *lasts, *killed).await?,
                What::Cut { .. } | What::Clock { .. } => {}
            }
            self.over(record, start);
        }
        Ok(())
    }

    async fn kill(
        &self,
        house: &mut House,
        record: &mut Mischief,
        down: Duration,
        again_after: Option<Duration>,
    ) -> anyhow::Result<()> {
        kill(house, record).await?;
        sleep(down).await;
        house.begin()?;
        if let Some(after) = again_after {
            sleep(after).await;
            kill(house, record).await?;
            house.begin()?;
        }
        self.ready(house, record).await
    }

    async fn freeze(
        &self,
        house: &mut House,
        record: &mut Mischief,
        lasts: Duration,
        killed: bool,
    ) -> anyhow::Result<()> {
        let pid = house.pid().context("the service has no process id")?;
        kill_process(pid, Signal::STOP).context("freezing the service")?;
        let until = Instant::now() + STANDS_STILL_WITHIN;
        while !stands_still(pid) {
            if Instant::now() > until {
                record.problem = Some("the process did not stand still".into());
                break;
            }
            sleep(LOOK).await;
        }
        sleep(lasts).await;
        if killed {
            kill(house, record).await?;
            house.begin()?;
        } else {
            kill_process(pid, Signal::CONT).context("waking the service")?;
        }
        self.ready(house, record).await
    }

    async fn fill(
        &self,
        house: &mut House,
        record: &mut Mischief,
        lasts: Duration,
        killed: bool,
    ) -> anyhow::Result<()> {
        let refused_before = self.show.pushed_back();
        self.disk.fill(house.pid())?;
        let outcome = self.while_full(house, record, (lasts, killed), refused_before).await;
        let freed = self.disk.free(house.pid());
        outcome.and(freed)?;
        self.show.note("room again");
        if killed {
            return self.ready(house, record).await;
        }
        // It has been answering all the time; how long it took no orders shows in their moments.
        if let Some(status) = house.ended()? {
            record.problem =
                Some(format!("the service did not outlive a full disk ({status}): {}", house.tail()));
        }
        house.ready_at_last(PATIENCE).await.map(drop)
    }

    /// Waits until somebody is refused an order, and then as long as was planned.
    async fn while_full(
        &self,
        house: &mut House,
        record: &mut Mischief,
        (lasts, killed): (Duration, bool),
        refused_before: u64,
    ) -> anyhow::Result<()> {
        let filled = Instant::now();
        while self.show.pushed_back() == refused_before && filled.elapsed() < NOTICED_WITHIN {
            if !killed && let Some(status) = house.ended()? {
                record.problem =
                    Some(format!("the service ended on a full disk ({status}): {}", house.tail()));
                return Ok(());
            }
            sleep(LOOK).await;
        }
        let noticed_s = filled.elapsed().as_secs_f64();
        if self.show.pushed_back() == refused_before {
            record.problem = Some(format!("nobody was refused an order within {noticed_s:.0} s"));
        }
        if killed {
            sleep(lasts / 2).await;
            kill(house, record).await?;
            house.begin()?;
            // The limit on file sizes belongs to a process; a new one gets it as soon as it is there.
            if self.disk.is_limited() {
                self.disk.fill(house.pid())?;
            }
            sleep(lasts / 2).await;
        } else {
            self.owns_up(house, record).await;
            sleep(lasts).await;
        }
        let refused = self.show.pushed_back() - refused_before;
        record.seen = format!("noticed after {noticed_s:.1} s; {refused} requests refused");
        Ok(())
    }

    /// A service that takes no orders must say so to whoever decides where orders go.
    async fn owns_up(&self, house: &House, record: &mut Mischief) {
        let until = Instant::now() + NOTICED_WITHIN;
        while house.readiness().await != Some(StatusCode::SERVICE_UNAVAILABLE) {
            if Instant::now() > until {
                record.problem = Some("/readyz calls the service ready while it takes no orders".into());
                return;
            }
            sleep(LOOK).await;
        }
    }

    /// Waits until the service takes orders, and counts from now how long that took.
    async fn ready(&self, house: &mut House, record: &mut Mischief) -> anyhow::Result<()> {
        let from = Instant::now();
        let failed_starts = house.ready_at_last(PATIENCE).await?;
        record.ready_ms = Some((from.elapsed().as_secs_f64() * 1e6).round() / 1e3);
        if failed_starts > 0 {
            let separator = if record.seen.is_empty() { "" } else { "; " };
            record.seen += &format!("{separator}failed starts before: {failed_starts}");
        }
        Ok(())
    }

    async fn lane_of_the_sandbox(&self, acts: &[Act], start: Instant) -> anyhow::Result<()> {
        for act in acts {
            sleep_until(start + act.at).await;
            self.show.note(&act.what.to_string());
            let mut record = record(act, start);
            match &act.what {
                What::Cut { channels, how, lasts } => {
                    self.cut(channels, *how, *lasts, &mut record).await?;
                }
                What::Clock { offset_s, lasts } => self.skew(*offset_s, *lasts, &mut record).await?,
                What::Kill { .. } | What::Freeze { .. } | What::Disk { .. } => {}
            }
            self.over(record, start);
        }
        Ok(())
    }

    async fn cut(
        &self,
        channels: &[String],
        how: Break,
        lasts: Duration,
        record: &mut Mischief,
    ) -> anyhow::Result<()> {
        let before = self.sandbox.calls(channels).await?;
        let faults = channels.iter().map(|name| (name.clone(), self.broken(name, how))).collect();
        self.sandbox.faults(&faults).await?;
        sleep(lasts).await;
        let until = Instant::now() + MET_WITHIN;
        while self.sandbox.calls(channels).await? == before && Instant::now() < until {
            sleep(LOOK).await;
        }
        let fair = channels.iter().map(|name| (name.clone(), self.weather(name))).collect();
        let calls = self.sandbox.calls(channels).await? - before;
        self.sandbox.faults(&fair).await?;
        record.seen = format!("{calls} calls met it");
        if calls == 0 {
            record.problem = Some("no call met it".into());
        }
        Ok(())
    }

    /// The channel's faults as the load has them.
    fn weather(&self, channel: &str) -> FaultSet {
        self.scenario.initial_faults.get(channel).cloned().unwrap_or_default()
    }

    fn broken(&self, channel: &str, how: Break) -> FaultSet {
        let mut set = self.weather(channel);
        let mut put = |name: &str, value: Value| set.insert(name.to_owned(), value);
        match how {
            Break::Before => put("unreachable", true.into()),
            Break::After => put("silence_rate", 1.0.into()),
            Break::BothWays => {
                put("unreachable", true.into());
                put("notify", json!({ "lost": 1.0 }))
            }
        };
        set
    }

    async fn skew(&self, offset_s: i64, lasts: Duration, record: &mut Mischief) -> anyhow::Result<()> {
        let off_s = self.sandbox.set_clock(offset_s).await? - now_s();
        sleep(lasts).await;
        self.sandbox.set_clock(0).await?;
        record.seen = format!("the channels' clock showed {off_s:+} s");
        if (off_s - offset_s).abs() > 60 {
            record.problem = Some(format!("the channels' clock was off by {off_s} s"));
        }
        Ok(())
    }

    fn over(&self, mut record: Mischief, start: Instant) {
        record.until_s = Some(rounded_s(start.elapsed()));
        if let Some(problem) = &record.problem {
            self.show.note(&format!("{}: {problem}", record.kind));
        }
        self.done.borrow_mut().push(record);
    }
}

/// What was planned and has not been done yet.
pub(super) fn planned(act: &Act) -> Mischief {
    Mischief {
        kind: act.what.kind().name().to_owned(),
        what: act.what.to_string(),
        planned_at_s: rounded_s(act.at),
        ..Mischief::default()
    }
}

fn record(act: &Act, start: Instant) -> Mischief {
    Mischief { at_s: Some(rounded_s(start.elapsed())), ..planned(act) }
}

fn rounded_s(span: Duration) -> f64 {
    (span.as_secs_f64() * 1_000.0).round() / 1_000.0
}

/// SIGKILL. A service that ends by itself before that is started again until the signal meets it.
async fn kill(house: &mut House, record: &mut Mischief) -> anyhow::Result<()> {
    let until = Instant::now() + PATIENCE;
    while !house.kill().await? {
        if Instant::now() > until {
            bail!("the service ends before it can be killed: {}", house.tail());
        }
        house.begin()?;
    }
    record.kills += 1;
    Ok(())
}

/// True if the kernel says so.
fn stands_still(pid: Pid) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).unwrap_or_default();
    // The name in parentheses may contain anything; the state follows its last ')'.
    stat.rsplit_once(')').is_some_and(|(_, rest)| rest.trim_start().starts_with('T'))
}

fn now_s() -> i64 {
    actors::Clock::now(&actors::SystemClock).secs()
}
