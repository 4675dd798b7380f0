//! What became of every call of a channel: traces with their gaps, networks that may call, and the relay.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::zombie_processes,
    reason = "tests"
)]

mod common;

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    sync::mpsc,
    time::{Duration, Instant},
};

use common::{BIN, House, order};
use serde_json::{Value, json};

#[actix_web::test]
async fn a_payment_without_a_notification_is_a_gap_in_the_orders_trace() {
    let house = House::start("").await;
    house.faults(&json!({ "wechat": { "notify": { "lost": 1.0 } } })).await;
    let (_, lost) = house.post_text("/v1/orders", &order("G1").to_string(), "wait=10").await;
    house.pay(&lost).await;
    let id = lost["id"].as_str().unwrap();
    house.until(id, |o| o["state"] == "success").await;
    let (_, trace) = house.get(&format!("/admin/v1/orders/{id}/callbacks")).await;
    let kinds = |trace: &Value| -> Vec<String> {
        trace["callbacks"]
            .as_array()
            .unwrap()
            .iter()
            .map(|l| l["kind"].as_str().unwrap().to_owned())
            .collect()
    };
    assert!(kinds(&trace).contains(&"gap".to_owned()), "{trace:#}");
    let (code, out, err) = house.command(&["callbacks", "--order", id]);
    assert!(code == 0 && out.contains("no notification seen, found by query"), "{out}{err}");

    house.faults(&json!({ "wechat": { "notify": { "doubled": 1.0 } } })).await;
    let (_, told) = house.post_text("/v1/orders", &order("G2").to_string(), "wait=10").await;
    house.pay(&told).await;
    let id = told["id"].as_str().unwrap();
    house.until(id, |o| o["state"] == "success").await;
    let twice = |trace: &Value| kinds(trace).iter().filter(|k| *k == "notified").count() == 2;
    let trace = house.until_at(&format!("/admin/v1/orders/{id}/callbacks"), twice).await;
    let texts = trace.to_string();
    assert!(texts.contains("taken") && texts.contains("repeat") && texts.contains("127.0.0.1"), "{trace:#}");
    let (code, out, _) = house.command(&["callbacks", "--verdict", "repeat"]);
    assert!(code == 0 && out.contains("repeat"), "{out}");
    let (code, _, err) = house.command(&["callbacks", "--order", "nonsense"]);
    assert!(code == 1 && err.contains("not an order id"), "{err}");
}

#[actix_web::test]
async fn a_call_from_a_foreign_network_is_kept_and_has_no_effect() {
    let settings = "[service]\nnotify_from = { wechat = [\"203.0.113.0/24\"] }\n";
    let house = House::start(settings).await;
    let (_, shown) = house.post_text("/v1/orders", &order("N1").to_string(), "wait=10").await;
    house.pay(&shown).await;
    let refused = |log: &Value| log["notifications"].as_array().is_some_and(|all| !all.is_empty());
    let log = house.until_at("/admin/v1/notifications?verdict=foreign_address", refused).await;
    assert!(log.to_string().contains("not among service.notify_from.wechat"), "{log:#}");
    // The poll finds the money all the same.
    let id = shown["id"].as_str().unwrap();
    house.until(id, |o| o["state"] == "success").await;
}

/// An inner server that keeps what it hears and answers `inner says yes`.
fn inner(listener: TcpListener) -> mpsc::Receiver<String> {
    let (heard, all) = mpsc::channel();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let heard = heard.clone();
            std::thread::spawn(move || {
                let mut reader = BufReader::new(stream.try_clone().unwrap());
                loop {
                    let (mut text, mut length) = (String::new(), 0);
                    loop {
                        let mut line = String::new();
                        if reader.read_line(&mut line).unwrap_or(0) == 0 {
                            return;
                        }
                        if let Some(n) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                            length = n.trim().parse().unwrap();
                        }
                        text.push_str(&line);
                        if line == "\r\n" {
                            break;
                        }
                    }
                    let mut body = vec![0; length];
                    reader.read_exact(&mut body).unwrap();
                    heard.send(format!("{text}{}", String::from_utf8_lossy(&body))).unwrap();
                    stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 14\r\n\r\ninner says yes").unwrap();
                }
            });
        }
    });
    all
}

struct Relay(Child);

impl Drop for Relay {
    fn drop(&mut self) {
        let _gone_already = self.0.kill();
        let _reaped = self.0.wait();
    }
}

fn free_address() -> String {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

fn relay(listen: &str, to: &str, dir: &std::path::Path) -> Relay {
    let mut command = Command::new(BIN);
    command.args(["relay", "--listen", listen, "--to", &format!("http://{to}"), "--dir"]).arg(dir);
    let child = command.stderr(Stdio::null()).spawn().unwrap();
    let until = Instant::now() + Duration::from_secs(20);
    while TcpStream::connect(listen).is_err() {
        assert!(Instant::now() < until, "the relay does not start");
        std::thread::sleep(Duration::from_millis(20));
    }
    Relay(child)
}

fn call(listen: &str) -> String {
    let mut stream = TcpStream::connect(listen).unwrap();
    let body = "{\"a\": 1}\n";
    write!(
        stream,
        "POST /notify/wechat?x=%7C1 HTTP/1.1\r\nHost: pay.example.com\r\nWechatpay-Signature: c2ln\r\nX-Forwarded-For: 198.51.100.7\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn the_relay_passes_calls_on_unchanged_and_keeps_them_over_its_own_death_while_the_inner_server_is_down() {
    let dir = tempfile::tempdir().unwrap();
    let (listen, to) = (free_address(), free_address());
    let first = relay(&listen, &to, dir.path());
    let answer = call(&listen);
    assert!(answer.starts_with("HTTP/1.1 503"), "nobody took it, so the channel calls again: {answer}");
    drop(first);

    let heard = inner(TcpListener::bind(&to).unwrap());
    let _second = relay(&listen, &to, dir.path());
    let kept = heard.recv_timeout(Duration::from_secs(20)).unwrap();
    assert!(
        kept.starts_with("POST /notify/wechat?x=%7C1 HTTP/1.1\r\n") && kept.ends_with("{\"a\": 1}\n"),
        "{kept}"
    );
    let head = kept.to_ascii_lowercase();
    assert!(
        head.contains("wechatpay-signature: c2ln")
            && head.contains("x-forwarded-for: 198.51.100.7, 127.0.0.1"),
        "{kept}"
    );
    assert!(head.contains("host: pay.example.com"), "{kept}");
    let answer = call(&listen);
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("inner says yes"), "{answer}");
    let until = Instant::now() + Duration::from_secs(10);
    while std::fs::read_dir(dir.path()).unwrap().count() > 0 {
        assert!(Instant::now() < until, "what was delivered is forgotten");
        std::thread::sleep(Duration::from_millis(20));
    }
}
