//! A service and a sandbox small enough to be read at a glance, for tests of the generator.
//!
//! One port plays both. It follows the API's contract for one channel whose credential appears at once, and
//! misbehaves on command. It shares nothing with the real rooms.

use std::{
    collections::{HashMap, HashSet},
    convert::Infallible,
    sync::{Arc, Mutex},
    time::{Duration, Instant, SystemTime},
};

use aws_lc_rs::hmac;
use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{
    Method, Request, Response, StatusCode, body::Incoming, server::conn::http1, service::service_fn,
};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::{net::TcpListener, sync::watch};

pub(crate) const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// How the fake misbehaves.
#[derive(Debug, Clone, Default)]
pub(crate) struct Manners {
    /// Every order is accepted this late.
    pub(crate) accept_delay: Duration,
    /// From and until when nothing at all is accepted.
    pub(crate) stall: Option<(Duration, Duration)>,
    /// So many orders are answered 503 first, once each.
    pub(crate) push_back: usize,
    /// So many orders are taken, and the connection breaks before the answer.
    pub(crate) break_after_taking: usize,
    /// Payments are taken and no order hears of one; every poll is answered with nothing new.
    pub(crate) deaf: bool,
    /// Questions about counters are not answered.
    pub(crate) mute: bool,
    /// The sandbox refuses fault tables.
    pub(crate) refuse_faults: bool,
}

struct Order {
    id: String,
    state: &'static str,
    version: u64,
    notify_url: String,
}

#[derive(Default)]
pub(crate) struct Seen {
    /// Orders by number; a second one of the same number is not made.
    pub(crate) orders: usize,
    pub(crate) creates: usize,
    pub(crate) hints: usize,
    pub(crate) tuned: Option<Value>,
    pub(crate) faults: Vec<Value>,
}

struct House {
    manners: Manners,
    started: Instant,
    orders: Mutex<HashMap<String, Order>>,
    seen: Mutex<Seen>,
    pushed: Mutex<HashSet<String>>,
    changed: watch::Sender<u64>,
}

pub(crate) struct Fake {
    pub(crate) url: String,
    house: Arc<House>,
}

impl Fake {
    /// Serves on a free port until the test's process ends.
    pub(crate) fn start(manners: Manners) -> Fake {
        let (told, url) = std::sync::mpsc::channel();
        let house = Arc::new(House {
            manners,
            started: Instant::now(),
            orders: Mutex::default(),
            seen: Mutex::default(),
            pushed: Mutex::default(),
            changed: watch::channel(0).0,
        });
        let shared = Arc::clone(&house);
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async move {
                let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
                told.send(format!("http://{}", listener.local_addr().unwrap())).unwrap();
                while let Ok((stream, _)) = listener.accept().await {
                    let house = Arc::clone(&shared);
                    tokio::spawn(async move {
                        let service = service_fn(move |request| answer(Arc::clone(&house), request));
                        let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
                    });
                }
            });
        });
        Fake { url: url.recv_timeout(Duration::from_secs(10)).unwrap(), house }
    }

    pub(crate) fn seen(&self) -> std::sync::MutexGuard<'_, Seen> {
        self.house.seen.lock().unwrap()
    }
}

type Answer = Response<Full<Bytes>>;

fn reply(status: u16, body: &Value) -> Answer {
    let mut response = Response::new(Full::new(Bytes::from(body.to_string())));
    *response.status_mut() = StatusCode::from_u16(status).unwrap();
    response
}

async fn answer(house: Arc<House>, request: Request<Incoming>) -> Result<Answer, std::io::Error> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await.map_err(std::io::Error::other)?.to_bytes();
    let body: Value = serde_json::from_slice(&body).unwrap_or(Value::Null);
    let path = parts.uri.path().trim_start_matches('/').to_owned();
    let steps: Vec<&str> = path.split('/').collect();
    Ok(match (&parts.method, steps.as_slice()) {
        (&Method::POST, ["v1", "orders"]) => return house.create(&body).await,
        (&Method::GET, ["v1", "orders", id]) => house.show(id, parts.uri.query().unwrap_or("")).await,
        (&Method::POST, ["v1", "orders", _, "hint"]) => {
            house.seen.lock().unwrap().hints += 1;
            reply(202, &json!({}))
        }
        (&Method::POST, ["v1", "orders", id, "close"]) => {
            house.change(id, "failed");
            reply(202, &json!({}))
        }
        (&Method::POST, ["_sandbox", "pay"]) => house.pay(&body),
        (&Method::PUT, ["_sandbox", "faults"]) if house.manners.refuse_faults => {
            reply(400, &json!({"problem": "unknown fault"}))
        }
        (&Method::PUT, ["_sandbox", "faults"]) => {
            house.seen.lock().unwrap().faults.push(body);
            reply(200, &json!({}))
        }
        (&Method::PUT, ["_sandbox", "accounts"]) => reply(200, &json!({})),
        (&Method::PATCH, ["admin", "v1", "tuning"]) => {
            house.seen.lock().unwrap().tuned = Some(body);
            reply(200, &json!({}))
        }
        (&Method::GET, ["admin", "v1", "stats"]) if house.manners.mute => {
            tokio::time::sleep(Duration::from_secs(60)).await;
            reply(503, &json!({}))
        }
        (&Method::GET, ["admin", "v1", "stats"]) => {
            let orders = house.seen.lock().unwrap().orders;
            reply(200, &json!({"accepted": orders, "polls": orders / 2, "hedges": 0}))
        }
        (&Method::GET, ["admin", "v1", "switches"]) => reply(200, &json!({"switches": []})),
        _ => reply(404, &json!({"code": "not_found"})),
    })
}

impl House {
    async fn create(&self, body: &Value) -> Result<Answer, std::io::Error> {
        let no = body["order_no"].as_str().unwrap().to_owned();
        self.seen.lock().unwrap().creates += 1;
        let pushed = {
            let mut pushed = self.pushed.lock().unwrap();
            pushed.len() < self.manners.push_back && pushed.insert(no.clone())
        };
        if pushed {
            let mut response = reply(503, &json!({"code": "full"}));
            response.headers_mut().insert("retry-after", "0".parse().unwrap());
            return Ok(response);
        }
        tokio::time::sleep(self.manners.accept_delay).await;
        if let Some((from, until)) = self.manners.stall {
            let now = self.started.elapsed();
            if now >= from && now < until {
                tokio::time::sleep(until - now).await;
            }
        }
        let id = format!("o-{no}");
        let fresh = {
            let mut orders = self.orders.lock().unwrap();
            let before = orders.len();
            orders.entry(id.clone()).or_insert_with(|| Order {
                id: id.clone(),
                state: "processing",
                version: 2,
                notify_url: body["notify_url"].as_str().unwrap().to_owned(),
            });
            self.seen.lock().unwrap().orders = orders.len();
            orders.len() > before
        };
        if fresh && self.seen.lock().unwrap().orders <= self.manners.break_after_taking {
            return Err(std::io::Error::other("the connection breaks here"));
        }
        Ok(reply(
            202,
            &json!({"id": id, "order_no": no, "state": "pending", "version": 1, "credential": null}),
        ))
    }

    async fn show(&self, id: &str, query: &str) -> Answer {
        let asked = |key: &str| {
            query
                .split('&')
                .find_map(|pair| pair.strip_prefix(&format!("{key}=")).map(|v| v.parse::<u64>().unwrap()))
        };
        let until = tokio::time::Instant::now() + Duration::from_secs(asked("wait").unwrap_or(0));
        let mut changes = self.changed.subscribe();
        loop {
            let changed = {
                let orders = self.orders.lock().unwrap();
                let Some(order) = orders.get(id) else {
                    return reply(404, &json!({"code": "order_unknown"}));
                };
                (Some(order.version) != asked("version")).then(|| view(order))
            };
            if let Some(changed) = changed {
                return reply(200, &changed);
            }
            if tokio::time::timeout_at(until, changes.changed()).await.is_err() {
                return reply(200, &view(self.orders.lock().unwrap().get(id).unwrap()));
            }
        }
    }

    fn change(&self, id: &str, state: &'static str) -> bool {
        let mut orders = self.orders.lock().unwrap();
        let Some(order) = orders.get_mut(id).filter(|order| order.state == "processing") else {
            return false;
        };
        order.state = state;
        order.version += 1;
        tokio::spawn(webhook(order.notify_url.clone(), order.id.clone()));
        drop(orders);
        self.changed.send_modify(|n| *n += 1);
        true
    }

    fn pay(&self, body: &Value) -> Answer {
        let code = body["credential"]["code_url"].as_str().unwrap();
        let id = code.strip_prefix("weixin://").unwrap();
        if body["outcome"] == "pay" && (self.manners.deaf || self.change(id, "success")) {
            let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
            return reply(200, &json!({"paid": true, "trade_no": "t", "paid_at_us": now.as_micros() as u64}));
        }
        let reason = if body["outcome"] == "pay" { "closed" } else { "no_balance" };
        reply(409, &json!({"paid": false, "reason": reason}))
    }
}

fn view(order: &Order) -> Value {
    json!({
        "id": order.id, "state": order.state, "version": order.version, "channel": "wechat", "refunds": [],
        "credential": {"kind": "qr", "code_url": format!("weixin://{}", order.id)},
        "reason": if order.state == "failed" { Some("cancelled") } else { None },
    })
}

async fn webhook(url: String, id: String) -> Result<(), Infallible> {
    let body = json!({"type": "order.settled", "id": id}).to_string();
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    let key = hmac::Key::new(hmac::HMAC_SHA256, &STANDARD.decode(&SECRET[6..]).unwrap());
    let tag = hmac::sign(&key, format!("evt-{id}.{now}.{body}").as_bytes());
    let client = reqwest::Client::builder().no_proxy().tls_certs_only([]).build().unwrap();
    client
        .post(url)
        .header("webhook-id", format!("evt-{id}"))
        .header("webhook-timestamp", now.to_string())
        .header("webhook-signature", format!("v1,{}", STANDARD.encode(tag)))
        .body(body)
        .send()
        .await
        .unwrap();
    Ok(())
}
