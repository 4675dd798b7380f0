//! The binary as its users meet it: a real process, real HTTP, a folder and ports of its own.

#![allow(
    dead_code,
    missing_docs,
    unreachable_pub,
    clippy::unwrap_used,
    reason = "shared by tests that each use a part"
)]

use std::{
    fs::File,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tempfile::TempDir;

pub const BIN: &str = env!("CARGO_BIN_EXE_rushpay");
pub const SECRET: &str = "whsec_c2FuZGJveC1zZWNyZXQtZG8tbm90LXVzZS0wMDE=";
const PATIENCE: Duration = Duration::from_secs(30);

/// A running service with the sandbox beside it.
pub struct House {
    pub dir: TempDir,
    pub api: String,
    pub http: reqwest::Client,
    config: PathBuf,
    child: Child,
    /// A sandbox of its own, which outlives the service.
    sandbox: Option<Child>,
}

pub fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

pub fn http() -> reqwest::Client {
    let _already = rustls::crypto::aws_lc_rs::default_provider().install_default();
    reqwest::Client::builder().no_proxy().tls_certs_only([]).timeout(PATIENCE).build().unwrap()
}

impl House {
    /// The sandbox lives in the service's process.
    pub async fn start(more: &str) -> House {
        House::start_logging(more, None).await
    }

    /// With standard error going to a file of the caller's.
    pub async fn start_logging(more: &str, log: Option<&Path>) -> House {
        House::start_in(tempfile::tempdir().unwrap(), more, log, None).await
    }

    /// The sandbox is a process of its own, so that the channels' books outlive the service.
    pub async fn start_apart(more: &str) -> House {
        let dir = tempfile::tempdir().unwrap();
        let keys = dir.path().join("sandbox-keys");
        let log = File::create(dir.path().join("sandbox.log")).unwrap();
        let mut sandbox = Command::new(BIN)
            .args(["sandbox", "--port-base", "0", "--dir"])
            .arg(&keys)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let until = Instant::now() + PATIENCE;
        while !keys.join("sandbox.json").exists() {
            assert!(
                sandbox.try_wait().unwrap().is_none() && Instant::now() < until,
                "the sandbox is not ready"
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let mut config = more.to_owned();
        for folder in std::fs::read_dir(&keys).unwrap() {
            let folder = folder.unwrap();
            if let Ok(text) = std::fs::read_to_string(folder.path().join("credentials.toml")) {
                config += &format!("\n[channels.{}]\n{text}\n", folder.file_name().to_str().unwrap());
            }
        }
        House::start_in(dir, &config, None, Some(sandbox)).await
    }

    async fn start_in(dir: TempDir, more: &str, log: Option<&Path>, sandbox: Option<Child>) -> House {
        let listen = format!("127.0.0.1:{}", free_port());
        let config = dir.path().join("test.toml");
        let text = format!(
            "{more}\n[http]\nlisten = \"{listen}\"\n[store]\npath = \"{}\"\n[webhooks]\nsecret = \"{SECRET}\"\n",
            dir.path().join("rushpay.db").display()
        );
        std::fs::write(&config, text).unwrap();
        let own = dir.path().join("log");
        let child = serve(&config, log.unwrap_or(&own), sandbox.is_none());
        let api = format!("http://{listen}");
        let mut house = House { dir, api, http: http(), config, child, sandbox };
        house.wait_ready().await;
        house
    }

    async fn wait_ready(&mut self) {
        let until = Instant::now() + PATIENCE;
        while self
            .http
            .get(format!("{}/readyz", self.api))
            .send()
            .await
            .map_or(true, |a| !a.status().is_success())
        {
            assert!(self.child.try_wait().unwrap().is_none(), "the service ended: {}", self.log());
            assert!(Instant::now() < until, "the service is not ready: {}", self.log());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    /// SIGTERM; the exit code.
    pub async fn stop(&mut self) -> Option<i32> {
        signal(&self.child, "TERM");
        let until = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            assert!(Instant::now() < until, "the service does not stop: {}", self.log());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub async fn start_again(&mut self) {
        self.child = serve(&self.config, &self.dir.path().join("log"), self.sandbox.is_none());
        self.wait_ready().await;
    }

    /// Where the sandbox beside the service keeps its keys.
    pub fn keys_folder(&self) -> PathBuf {
        self.dir.path().join("sandbox-keys")
    }

    pub fn control(&self) -> String {
        let text = std::fs::read_to_string(self.dir.path().join("sandbox-keys/sandbox.json")).unwrap();
        let ready: Value = serde_json::from_str(&text).unwrap();
        ready["control_url"].as_str().unwrap().to_owned()
    }

    pub async fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        self.post_text(path, &body.to_string(), "").await
    }

    pub async fn post_text(&self, path: &str, body: &str, prefer: &str) -> (u16, Value) {
        let call = self.http.post(format!("{}{path}", self.api)).body(body.to_owned());
        let call = if prefer.is_empty() { call } else { call.header("Prefer", prefer) };
        read(call.send().await.unwrap()).await
    }

    pub async fn get(&self, path: &str) -> (u16, Value) {
        read(self.http.get(format!("{}{path}", self.api)).send().await.unwrap()).await
    }

    pub async fn patch(&self, path: &str, body: &Value) -> (u16, Value) {
        let call = self.http.patch(format!("{}{path}", self.api)).json(body);
        read(call.send().await.unwrap()).await
    }

    /// The payer pays what the order shows.
    pub async fn pay(&self, order: &Value) -> (u16, Value) {
        self.pay_over("wechat", order).await
    }

    pub async fn pay_over(&self, channel: &str, order: &Value) -> (u16, Value) {
        self.sandbox_pay(
            &json!({ "channel": channel, "credential": order["credential"], "payer": "someone" }),
        )
        .await
    }

    /// An order for one channel, as it shows its credential; the campus card is charged at once.
    pub async fn shown_over(&self, no: &str, channel: &str) -> Value {
        let mut wanted = order(no);
        wanted["channels"] = json!([channel]);
        wanted["consents"] = json!(["campus_card"]);
        wanted["payer"]["id"] = json!("2024000001");
        self.post_text("/v1/orders", &wanted.to_string(), "wait=10").await.1
    }

    /// An order that was paid over one channel; its id.
    pub async fn paid_over(&self, no: &str, channel: &str) -> String {
        let shown = self.shown_over(no, channel).await;
        let id = shown["id"].as_str().unwrap().to_owned();
        if channel != "campus_card" {
            assert_eq!(self.pay_over(channel, &shown).await.0, 200, "{shown:#}");
        }
        self.until(&id, |o| o["state"] == "success").await;
        id
    }

    /// A payer acts at the sandbox.
    pub async fn sandbox_pay(&self, body: &Value) -> (u16, Value) {
        let call = self.http.post(format!("{}/_sandbox/pay", self.control())).body(body.to_string());
        read(call.send().await.unwrap()).await
    }

    pub async fn faults(&self, channels: &Value) {
        let body = json!({ "channels": channels }).to_string();
        let answer = self.http.put(format!("{}/_sandbox/faults", self.control())).body(body).send().await;
        assert!(answer.unwrap().status().is_success());
    }

    /// Waits until the order is as wanted.
    pub async fn until(&self, id: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        self.until_at(&format!("/v1/orders/{id}"), wanted).await
    }

    /// What is read at a path, once it is as wanted.
    pub async fn until_at(&self, path: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        self.until_asked(wanted, || self.get(path)).await
    }

    /// What the sandbox's control port shows at a path, once it is as wanted.
    pub async fn until_sandbox(&self, path: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let address = format!("{}{path}", self.control());
        self.until_asked(wanted, || async { read(self.http.get(&address).send().await.unwrap()).await }).await
    }

    /// What is answered, once it is as wanted.
    pub async fn until_asked<F>(&self, wanted: impl Fn(&Value) -> bool, ask: impl Fn() -> F) -> Value
    where
        F: Future<Output = (u16, Value)>,
    {
        let until = Instant::now() + PATIENCE;
        loop {
            let (_, found) = ask().await;
            if wanted(&found) {
                return found;
            }
            assert!(Instant::now() < until, "still {found:#}\n{}", self.log());
            tokio::time::sleep(Duration::from_millis(30)).await;
        }
    }

    /// A command of the binary on this house's store: exit code, standard output, standard error.
    pub fn command(&self, args: &[&str]) -> (i32, String, String) {
        let mut command = Command::new(BIN);
        command.args(args).arg("--config").arg(&self.config).current_dir(self.dir.path());
        output(command)
    }
}

impl Drop for House {
    fn drop(&mut self) {
        let _gone_already = self.child.kill();
        let _reaped = self.child.wait();
        if let Some(sandbox) = &mut self.sandbox {
            let _gone_already = sandbox.kill();
            let _reaped = sandbox.wait();
        }
    }
}

async fn read(answer: reqwest::Response) -> (u16, Value) {
    let status = answer.status().as_u16();
    let text = answer.text().await.unwrap();
    (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
}

fn serve(config: &Path, log: &Path, sandbox_beside: bool) -> Child {
    let log = File::options().create(true).append(true).open(log).unwrap();
    Command::new(BIN)
        .arg("serve")
        .args(sandbox_beside.then_some("--sandbox"))
        .arg("--config")
        .arg(config)
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .spawn()
        .unwrap()
}

pub fn signal(child: &Child, name: &str) {
    let status = Command::new("kill").args(["-s", name, &child.id().to_string()]).status().unwrap();
    assert!(status.success());
}

pub fn output(mut command: Command) -> (i32, String, String) {
    let out = command.output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (out.status.code().unwrap_or(-1), text(&out.stdout), text(&out.stderr))
}

pub fn order(no: &str) -> Value {
    json!({ "order_no": no, "merchant_id": "canteen-3", "amount_fen": 1850, "description": "牛肉面",
        "payer": { "id": "stu-20230001" }, "scene": "native", "channels": ["wechat"] })
}
