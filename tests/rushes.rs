//! Whole rushes with real processes, small: the command's own judgement is the assertion.

#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

mod common;

use std::{
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use common::{BIN, House, free_port, order, output};

fn rush(scenario: &str, orders: u32) -> String {
    let dir = tempfile::tempdir().unwrap();
    let mut command = Command::new(BIN);
    command.current_dir(dir.path()).args([
        "rush",
        "--quiet",
        "--scenario",
        scenario,
        "--orders",
        &orders.to_string(),
    ]);
    let (code, out, err) = output(command);
    assert_eq!(code, 0, "{out}\n{err}");
    assert!(
        dir.path().join("rush-report/report.json").exists()
            && dir.path().join("rush-report/report.html").exists()
    );
    out
}

#[test]
fn a_service_killed_twice_loses_nothing_and_charges_nobody_twice() {
    let out = rush("kill-nine", 200);
    assert!(out.contains("audit       clean"), "{out}");
}

#[test]
fn payers_who_pay_twice_keep_one_net_capture() {
    let out = rush("double-payer", 120);
    assert!(out.contains("audit       clean"), "{out}");
}

struct Redis(Child);

impl Drop for Redis {
    fn drop(&mut self) {
        let _gone_already = self.0.kill();
        let _reaped = self.0.wait();
    }
}

#[actix_web::test]
async fn a_redis_that_dies_costs_speed_only() {
    let port = free_port();
    let server = Command::new("redis-server")
        .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"])
        .stdout(Stdio::null())
        .spawn();
    let mut redis = Redis(server.expect("redis-server is installed by scripts/test"));
    let until = Instant::now() + Duration::from_secs(10);
    while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(Instant::now() < until, "redis-server does not answer");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let house = House::start(&format!("[redis]\nurl = \"redis://127.0.0.1:{port}/0\"\n")).await;
    let take = async |no: &str| {
        let (status, shown) = house.post_text("/v1/orders", &order(no).to_string(), "wait=10").await;
        assert_eq!(status, 201, "{shown:#}");
        assert_eq!(house.pay(&shown).await.0, 200);
        house.until(shown["id"].as_str().unwrap(), |o| o["state"] == "success").await;
    };
    take("R1").await;
    redis.0.kill().unwrap();
    redis.0.wait().unwrap();
    for n in 2..8 {
        take(&format!("R{n}")).await;
    }
    let control = house.control();
    let (code, out, _) = house.command(&["audit", "--sandbox", &control]);
    assert!(code == 0 && out.contains("7 success"), "{out}");
}
