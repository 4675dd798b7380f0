//! Service and sandbox as child processes on free ports in one folder, for the commands that drive both.
//!
//! The sandbox is the truth about money and lives as long as the house. The service can be killed, frozen and started
//! again. Both end with the house, however it ends; only a SIGKILL of this very process leaves them behind.

use std::{
    fs::File,
    net::TcpListener,
    os::unix::process::ExitStatusExt as _,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    time::Duration,
};

use ::loadtest::{
    AuditFigures, Node,
    process::{Totals, Watch},
};
use anyhow::{Context as _, bail};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use reqwest::StatusCode;
use rustix::process::{Pid, Signal, kill_process};
use serde::Deserialize;
use store::{SqliteOptions, SqliteStore};
use tokio::{
    process::{Child, Command},
    time::{Instant, sleep, sleep_until},
};

use super::serve::ready_file;
use crate::{audit, config};

/// A process that has not ended, or is not ready, by now is not going to.
const PATIENCE: Duration = Duration::from_secs(30);
/// Between looks at a process that is to become ready.
const LOOK: Duration = Duration::from_millis(20);
/// A service that ended at its start is started again after so long.
const RESTART_PAUSE: Duration = Duration::from_millis(300);

/// Where a house stands and what it is like.
pub(super) struct Grounds<'a> {
    /// Keys, configuration, and the sandbox's log.
    pub(super) dir: &'a Path,
    /// Store and log of the service.
    pub(super) disk: &'a Path,
    /// Decides the sandbox's faults.
    pub(super) seed: u64,
    /// The service has the channels that the orders allow.
    pub(super) mix: &'a loadtest::Mix,
    /// Configuration on top of the house's own.
    pub(super) configs: &'a [PathBuf],
    /// The service outlives writes beyond a limit on file sizes, which the system answers with SIGXFSZ.
    pub(super) spared_file_limits: bool,
}

pub(super) struct House {
    disk: PathBuf,
    sandbox_log: PathBuf,
    configs: Vec<PathBuf>,
    spared_file_limits: bool,
    pub(super) api_url: String,
    pub(super) sandbox_url: String,
    pub(super) webhook_secret: String,
    sandbox: Child,
    service: Child,
    watch: Watch,
    http: reqwest::Client,
}

#[derive(Deserialize)]
struct Ready {
    control_url: String,
    pid: u32,
}

/// Where the store is on a house's disk.
pub(super) fn store_path(disk: &Path) -> PathBuf {
    disk.join("rushpay.db")
}

fn log_path(disk: &Path) -> PathBuf {
    disk.join("service.log")
}

impl House {
    /// Starts both and waits until the service takes orders.
    pub(super) async fn start(grounds: Grounds<'_>) -> anyhow::Result<House> {
        let Grounds { dir, disk, mix, spared_file_limits, .. } = grounds;
        if store_path(disk).exists() {
            bail!("{} holds a store already; give --keep an empty folder", disk.display());
        }
        let (keys, sandbox_log) = (dir.join("sandbox-keys"), dir.join("sandbox.log"));
        let seed = grounds.seed.to_string();
        let args = ["sandbox", "--port-base", "0", "--seed", &seed, "--dir"];
        let mut command = Command::new(program()?);
        command.args(args).arg(&keys);
        let mut sandbox = spawn(command, &sandbox_log)?;
        let ready = sandbox_ready(&mut sandbox, &keys, &sandbox_log).await?;

        let listen = free_address()?;
        let secret = [uuid::Uuid::new_v4().into_bytes(), uuid::Uuid::new_v4().into_bytes()].concat();
        let webhook_secret = format!("whsec_{}", STANDARD.encode(secret));
        let own = dir.join("rushpay.toml");
        let text = configuration(&listen, disk, &webhook_secret, (&keys, mix))?;
        std::fs::write(&own, text).with_context(|| format!("cannot write {}", own.display()))?;
        let configs: Vec<PathBuf> = std::iter::once(own).chain(grounds.configs.iter().cloned()).collect();
        let service = serve(disk, &configs, spared_file_limits)?;
        let pid = service.id().context("the service ended at once")?;
        let watch = Watch::start(pid).context("watching the service process")?;
        let mut house = House {
            disk: disk.to_owned(),
            sandbox_log,
            configs,
            spared_file_limits,
            api_url: format!("http://{listen}"),
            sandbox_url: ready.control_url,
            webhook_secret,
            sandbox,
            service,
            watch,
            http: reqwest::Client::builder().no_proxy().tls_certs_only([]).build()?,
        };
        house.ready().await?;
        Ok(house)
    }

    /// Kills the service and starts it again, as the scenario says.
    pub(super) async fn kill_and_restart(&mut self, node: &Node) -> anyhow::Result<()> {
        let start = Instant::now();
        for at in &node.kill_at_s {
            sleep_until(start + Duration::from_secs_f64(*at)).await;
            self.kill().await?;
            sleep(Duration::from_secs_f64(node.restart_after_s)).await;
            self.begin()?;
            self.ready().await?;
        }
        Ok(())
    }

    /// Ends the service with SIGKILL. False if it had ended by itself before.
    pub(super) async fn kill(&mut self) -> anyhow::Result<bool> {
        self.watch.about_to_end();
        // The exit status tells whether this signal was what ended it.
        let _gone_already = self.service.start_kill();
        let status = self.service.wait().await.context("waiting for the killed service")?;
        Ok(status.signal() == Some(Signal::KILL.as_raw()))
    }

    /// Starts the service process, which is not ready yet.
    pub(super) fn begin(&mut self) -> anyhow::Result<()> {
        self.service = serve(&self.disk, &self.configs, self.spared_file_limits)?;
        self.watch.restarted(self.service.id().context("the restarted service ended at once")?);
        Ok(())
    }

    /// Waits until the service takes orders.
    ///
    /// # Errors
    /// It ended, or it is not ready in time; with the end of its log.
    pub(super) async fn ready(&mut self) -> anyhow::Result<()> {
        let until = Instant::now() + PATIENCE;
        loop {
            if self.takes_orders().await {
                return Ok(());
            }
            if let Some(status) = self.ended()? {
                bail!("the service ended ({status}): {}", self.tail());
            }
            if Instant::now() > until {
                bail!("the service is not ready: {}", self.tail());
            }
            sleep(LOOK).await;
        }
    }

    /// As [`ready`](Self::ready), but a service that ends at its start is started again, as a supervisor would. How
    /// often that was.
    ///
    /// # Errors
    /// It is not ready within `patience`.
    pub(super) async fn ready_at_last(&mut self, patience: Duration) -> anyhow::Result<u32> {
        let (until, mut ended) = (Instant::now() + patience, 0);
        while !self.takes_orders().await {
            if self.ended()?.is_some() {
                ended += 1;
                sleep(RESTART_PAUSE).await;
                self.begin()?;
            }
            if Instant::now() > until {
                bail!("the service is not ready after {ended} starts that failed: {}", self.tail());
            }
            sleep(LOOK).await;
        }
        Ok(ended)
    }

    async fn takes_orders(&self) -> bool {
        self.readiness().await.is_some_and(|status| status.is_success())
    }

    /// What `/readyz` says; none if nothing answers.
    pub(super) async fn readiness(&self) -> Option<StatusCode> {
        let asked = self.http.get(format!("{}/readyz", self.api_url)).timeout(Duration::from_secs(1));
        asked.send().await.ok().map(|answer| answer.status())
    }

    /// How the service ended, if it has.
    pub(super) fn ended(&mut self) -> anyhow::Result<Option<ExitStatus>> {
        self.service.try_wait().context("looking at the service process")
    }

    /// The service's process; none once it was seen to have ended.
    pub(super) fn pid(&self) -> Option<Pid> {
        pid_of(&self.service)
    }

    /// The end of the service's log.
    pub(super) fn tail(&self) -> String {
        tail(&log_path(&self.disk))
    }

    /// Asks the service to stop, and waits for it.
    pub(super) async fn stop_service(&mut self) -> anyhow::Result<Totals> {
        self.watch.about_to_end();
        stop(&mut self.service, "the service", &log_path(&self.disk)).await?;
        Ok(self.watch.totals())
    }

    pub(super) async fn stop_sandbox(&mut self) -> anyhow::Result<()> {
        stop(&mut self.sandbox, "the sandbox", &self.sandbox_log).await
    }

    /// Opens the store, which the service has left.
    pub(super) async fn store(&self) -> anyhow::Result<SqliteStore> {
        let options = SqliteOptions::default();
        SqliteStore::open(&store_path(&self.disk), &options).await.context("opening the store")
    }

    /// Audits the store against the sandbox's books.
    pub(super) async fn audit(&self) -> anyhow::Result<AuditFigures> {
        let report = audit::audit(&self.store().await?, Some(&self.sandbox_url)).await?;
        let fen = |fen: i64| u64::try_from(fen).unwrap_or_default();
        Ok(AuditFigures {
            clean: report.clean,
            orders: report.orders,
            captured_fen: fen(report.captured_fen),
            refunded_fen: fen(report.refunded_fen),
            violations: report.violations.iter().map(|v| format!("{}: {}", v.code, v.detail)).collect(),
        })
    }
}

/// This program.
fn program() -> anyhow::Result<PathBuf> {
    std::env::current_exe().context("finding this program")
}

fn spawn(mut command: Command, log: &Path) -> anyhow::Result<Child> {
    // The house's settings come from its own file, not from the caller's environment.
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("RUSHPAY__")) {
        command.env_remove(name);
    }
    let open = || File::options().create(true).append(true).open(log);
    let file = open().with_context(|| format!("cannot write {}", log.display()))?;
    let twin = file.try_clone().context("a log file")?;
    command.stdin(Stdio::null()).stdout(file).stderr(twin).kill_on_drop(true);
    command.spawn().context("starting a child process")
}

fn serve(disk: &Path, configs: &[PathBuf], spared_file_limits: bool) -> anyhow::Result<Child> {
    let program = program()?;
    let mut command = if spared_file_limits {
        // What a shell ignores stays ignored over exec, and the process keeps its id.
        let mut shell = Command::new("/bin/sh");
        shell.args(["-c", "trap '' XFSZ; exec \"$0\" \"$@\""]).arg(program);
        shell
    } else {
        Command::new(program)
    };
    command.arg("serve");
    for config in configs {
        command.arg("--config").arg(config);
    }
    spawn(command, &log_path(disk))
}

/// A free port stays free for the moment between here and the service's start, which is enough on one machine.
fn free_address() -> anyhow::Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0").context("looking for a free port")?;
    Ok(listener.local_addr()?.to_string())
}

fn configuration(
    listen: &str,
    disk: &Path,
    secret: &str,
    (keys, mix): (&Path, &loadtest::Mix),
) -> anyhow::Result<String> {
    let mut all = toml::toml! {
        [http]
        // One generator stands for every client.
        rate_per_s = 1000000
        [log]
        level = "warn"
    };
    let mut put = |section: &str, key: &str, value: toml::Value| {
        let table = all.entry(section).or_insert_with(|| toml::Table::new().into());
        if let Some(table) = table.as_table_mut() {
            table.insert(key.to_owned(), value);
        }
    };
    put("http", "listen", listen.into());
    put("store", "path", store_path(disk).display().to_string().into());
    put("webhooks", "secret", secret.into());
    put("channels", "order", mix.channels.clone().into());
    let wanted = |(name, _): &(String, toml::Value)| mix.channels.contains(name);
    for (name, mut table) in config::channels_of_sandbox(keys)?.into_iter().filter(wanted) {
        if let (Some(limit), Some(options)) = (mix.limits.get(&name), table.as_table_mut()) {
            options.insert("limit_fen".to_owned(), i64::try_from(*limit)?.into());
        }
        put("channels", &name, table);
    }
    Ok(toml::to_string(&all)?)
}

async fn sandbox_ready(child: &mut Child, keys: &Path, log: &Path) -> anyhow::Result<Ready> {
    let until = Instant::now() + PATIENCE;
    loop {
        let text = std::fs::read(ready_file(keys)).unwrap_or_default();
        if let Ok(ready) = serde_json::from_slice::<Ready>(&text)
            && Some(ready.pid) == child.id()
        {
            return Ok(ready);
        }
        if let Some(status) = child.try_wait()? {
            bail!("the sandbox ended ({status}): {}", tail(log));
        }
        if Instant::now() > until {
            bail!("the sandbox is not ready: {}", tail(log));
        }
        sleep(LOOK).await;
    }
}

async fn stop(child: &mut Child, who: &str, log: &Path) -> anyhow::Result<()> {
    if let Some(status) = child.try_wait()? {
        bail!("{who} had ended before it was asked to ({status}): {}", tail(log));
    }
    let pid = pid_of(child).with_context(|| format!("{who} has no process id"))?;
    kill_process(pid, Signal::TERM).with_context(|| format!("asking {who} to stop"))?;
    match tokio::time::timeout(PATIENCE, child.wait()).await {
        Ok(status) if status.as_ref().is_ok_and(std::process::ExitStatus::success) => Ok(()),
        Ok(status) => bail!("{who} did not stop well ({}): {}", status?, tail(log)),
        Err(_) => bail!("{who} did not stop within {} s: {}", PATIENCE.as_secs(), tail(log)),
    }
}

fn pid_of(child: &Child) -> Option<Pid> {
    child.id().and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw)
}

/// The end of a log, for an error message.
fn tail(log: &Path) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().rev().take(8).collect();
    lines.into_iter().rev().collect::<Vec<_>>().join("\n")
}
