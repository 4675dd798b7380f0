//! Service and sandbox as child processes on free ports in one folder.

use std::{
    fs::File,
    net::TcpListener,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use ::loadtest::{
    Node,
    process::{Totals, Watch},
};
use anyhow::{Context as _, bail};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::Deserialize;
use tokio::{
    process::{Child, Command},
    time::{Instant, sleep, sleep_until},
};

use super::PATIENCE;
use crate::{commands::serve::ready_file, config};

pub(super) struct House {
    dir: PathBuf,
    configs: Vec<PathBuf>,
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

pub(super) fn store_path(dir: &Path) -> PathBuf {
    dir.join("rushpay.db")
}

impl House {
    /// Starts both and waits until the service takes orders. The service has the channels that the orders allow.
    pub(super) async fn start(
        dir: &Path,
        seed: u64,
        mix: &loadtest::Mix,
        configs: &[PathBuf],
    ) -> anyhow::Result<House> {
        if store_path(dir).exists() {
            bail!("{} holds a store already; give --keep an empty folder", dir.display());
        }
        let keys = dir.join("sandbox-keys");
        let seed = seed.to_string();
        let args = ["sandbox", "--port-base", "0", "--seed", &seed, "--dir"];
        let mut command = myself()?;
        command.args(args).arg(&keys);
        let mut sandbox = spawn(command, &dir.join("sandbox.log"))?;
        let ready = sandbox_ready(&mut sandbox, &keys, dir).await?;

        let listen = free_address()?;
        let secret = [uuid::Uuid::new_v4().into_bytes(), uuid::Uuid::new_v4().into_bytes()].concat();
        let webhook_secret = format!("whsec_{}", STANDARD.encode(secret));
        let own = dir.join("rushpay.toml");
        let text = configuration(&listen, dir, &webhook_secret, (&keys, mix))?;
        std::fs::write(&own, text).with_context(|| format!("cannot write {}", own.display()))?;
        let configs: Vec<PathBuf> = std::iter::once(own).chain(configs.iter().cloned()).collect();
        let mut service = serve(dir, &configs)?;
        let http = reqwest::Client::builder().no_proxy().tls_certs_only([]).build()?;
        let api_url = format!("http://{listen}");
        service_ready(&http, &api_url, &mut service, dir).await?;
        let pid = service.id().context("the service ended at once")?;
        let watch = Watch::start(pid).context("watching the service process")?;
        Ok(House {
            dir: dir.to_owned(),
            configs,
            api_url,
            sandbox_url: ready.control_url,
            webhook_secret,
            sandbox,
            service,
            watch,
            http,
        })
    }

    /// Kills the service (SIGKILL) and starts it again, as the scenario says.
    pub(super) async fn kill_and_restart(&mut self, node: &Node) -> anyhow::Result<()> {
        let start = Instant::now();
        for at in &node.kill_at_s {
            sleep_until(start + Duration::from_secs_f64(*at)).await;
            self.watch.about_to_end();
            self.service.start_kill().context("killing the service")?;
            self.service.wait().await.context("waiting for the killed service")?;
            sleep(Duration::from_secs_f64(node.restart_after_s)).await;
            self.service = serve(&self.dir, &self.configs)?;
            let pid = self.service.id().context("the restarted service ended at once")?;
            self.watch.restarted(pid);
            service_ready(&self.http, &self.api_url, &mut self.service, &self.dir).await?;
        }
        Ok(())
    }

    /// Asks the service to stop, and waits for it.
    pub(super) async fn stop_service(&mut self) -> anyhow::Result<Totals> {
        self.watch.about_to_end();
        stop(&mut self.service, "the service", &self.dir.join("service.log")).await?;
        Ok(self.watch.totals())
    }

    pub(super) async fn stop_sandbox(&mut self) -> anyhow::Result<()> {
        stop(&mut self.sandbox, "the sandbox", &self.dir.join("sandbox.log")).await
    }
}

fn myself() -> anyhow::Result<Command> {
    let program = std::env::current_exe().context("finding this program")?;
    let mut command = Command::new(program);
    // The rush's settings come from its own file, not from the caller's environment.
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("RUSHPAY__")) {
        command.env_remove(name);
    }
    command.stdin(Stdio::null()).kill_on_drop(true);
    Ok(command)
}

fn spawn(mut command: Command, log: &Path) -> anyhow::Result<Child> {
    let open = || File::options().create(true).append(true).open(log);
    let file = open().with_context(|| format!("cannot write {}", log.display()))?;
    let twin = file.try_clone().context("a log file")?;
    command.stdout(file).stderr(twin).spawn().context("starting a child process")
}

fn serve(dir: &Path, configs: &[PathBuf]) -> anyhow::Result<Child> {
    let mut command = myself()?;
    command.arg("serve");
    for config in configs {
        command.arg("--config").arg(config);
    }
    spawn(command, &dir.join("service.log"))
}

/// A free port stays free for the moment between here and the service's start, which is enough on one machine.
fn free_address() -> anyhow::Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0").context("looking for a free port")?;
    Ok(listener.local_addr()?.to_string())
}

fn configuration(
    listen: &str,
    dir: &Path,
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
    put("store", "path", store_path(dir).display().to_string().into());
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

async fn sandbox_ready(child: &mut Child, keys: &Path, dir: &Path) -> anyhow::Result<Ready> {
    let until = Instant::now() + PATIENCE;
    loop {
        let text = std::fs::read(ready_file(keys)).unwrap_or_default();
        if let Ok(ready) = serde_json::from_slice::<Ready>(&text)
            && Some(ready.pid) == child.id()
        {
            return Ok(ready);
        }
        if let Some(status) = child.try_wait()? {
            bail!("the sandbox ended ({status}): {}", tail(&dir.join("sandbox.log")));
        }
        if Instant::now() > until {
            bail!("the sandbox is not ready: {}", tail(&dir.join("sandbox.log")));
        }
        sleep(Duration::from_millis(20)).await;
    }
}

async fn service_ready(
    http: &reqwest::Client,
    api_url: &str,
    child: &mut Child,
    dir: &Path,
) -> anyhow::Result<()> {
    let until = Instant::now() + PATIENCE;
    loop {
        let asked = http.get(format!("{api_url}/readyz")).timeout(Duration::from_secs(1)).send().await;
        if asked.is_ok_and(|answer| answer.status().is_success()) {
            return Ok(());
        }
        if let Some(status) = child.try_wait()? {
            bail!("the service ended ({status}): {}", tail(&dir.join("service.log")));
        }
        if Instant::now() > until {
            bail!("the service is not ready: {}", tail(&dir.join("service.log")));
        }
        sleep(Duration::from_millis(20)).await;
    }
}

async fn stop(child: &mut Child, who: &str, log: &Path) -> anyhow::Result<()> {
    if let Some(status) = child.try_wait()? {
        bail!("{who} had ended before it was asked to ({status}): {}", tail(log));
    }
    let pid = child.id().and_then(|pid| i32::try_from(pid).ok()).and_then(rustix::process::Pid::from_raw);
    let pid = pid.with_context(|| format!("{who} has no process id"))?;
    rustix::process::kill_process(pid, rustix::process::Signal::TERM)
        .with_context(|| format!("asking {who} to stop"))?;
    match tokio::time::timeout(PATIENCE, child.wait()).await {
        Ok(status) if status.as_ref().is_ok_and(std::process::ExitStatus::success) => Ok(()),
        Ok(status) => bail!("{who} did not stop well ({}): {}", status?, tail(log)),
        Err(_) => bail!("{who} did not stop within {} s: {}", PATIENCE.as_secs(), tail(log)),
    }
}

/// The end of a log, for an error message.
fn tail(log: &Path) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().rev().take(8).collect();
    lines.into_iter().rev().collect::<Vec<_>>().join("\n")
}
