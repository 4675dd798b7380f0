//! Webhooks through the front door: a backend that is down, dead letters, sending again, catching up.

#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

mod common;

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};

use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};
use common::{House, order};
use serde_json::{Value, json};
use store::{Entry, SqliteOptions, SqliteStore, Store as _, WebhookFilter, WebhookTry};

/// A backend that takes webhooks while it is up.
#[derive(Clone, Default)]
struct Backend {
    up: Arc<AtomicBool>,
    taken: Arc<Mutex<Vec<String>>>,
}

impl Backend {
    fn start() -> (Backend, String) {
        let backend = Backend::default();
        let data = web::Data::new(backend.clone());
        let server =
            HttpServer::new(move || App::new().app_data(data.clone()).default_service(web::to(take)))
                .workers(1)
                .bind(("127.0.0.1", 0))
                .unwrap();
        let host = server.addrs()[0].to_string();
        actix_web::rt::spawn(server.disable_signals().run());
        (backend, host)
    }

    fn taken(&self) -> Vec<String> {
        self.taken.lock().unwrap().clone()
    }
}

async fn take(backend: web::Data<Backend>, req: HttpRequest) -> HttpResponse {
    if !backend.up.load(Ordering::SeqCst) {
        return HttpResponse::ServiceUnavailable().finish();
    }
    let id = req.headers().get("webhook-id").unwrap().to_str().unwrap().to_owned();
    backend.taken.lock().unwrap().push(id);
    HttpResponse::NoContent().finish()
}

async fn paid(house: &House, no: &str, notify_url: &str) -> String {
    let mut body = order(no);
    body["notify_url"] = json!(notify_url);
    let (status, accepted) = house.post_text("/v1/orders", &body.to_string(), "wait=5").await;
    assert!(status == 201, "{accepted:#}");
    assert_eq!(house.pay(&accepted).await.0, 200);
    let id = accepted["id"].as_str().unwrap().to_owned();
    house.until(&id, |o| o["state"] == "success").await;
    id
}

const OPERATORS: &str = "[[operators]]\nname = \"maria\"\ntoken = \"maria-0123456789\"\nscopes = [\"read\", \"webhooks\"]\n\
                         [[operators]]\nname = \"chen\"\ntoken = \"chen-0123456789a\"\nscopes = [\"read\"]\n";

#[actix_web::test]
async fn dead_letters_are_listed_with_their_tries_and_an_operator_sends_them_again() {
    let house = House::start(OPERATORS).await;
    let (backend, host) = Backend::start();
    let ask = async |method: reqwest::Method, path: &str, token: &str, body: Value| {
        let call = house.http.request(method, format!("{}/admin/v1/webhooks{path}", house.api));
        let answer = call.bearer_auth(token).json(&body).send().await.unwrap();
        (answer.status().as_u16(), answer.json::<Value>().await.unwrap())
    };
    let get = async |path: &str| ask(reqwest::Method::GET, path, "maria-0123456789", Value::Null).await;
    let post =
        async |path: &str, token: &str, body: Value| ask(reqwest::Method::POST, path, token, body).await;

    let first = paid(&house, "W1", &format!("http://{host}/paid")).await;
    let second = paid(&house, "W2", &format!("http://{host}/paid")).await;
    // What a day of refusals leaves, without waiting for it.
    let store =
        SqliteStore::open(&house.dir.path().join("rushpay.db"), &SqliteOptions::default()).await.unwrap();
    let all = store.webhooks_list(&WebhookFilter { limit: 10, ..WebhookFilter::default() }).await.unwrap();
    let end = |w: &store::WebhookLine| {
        Entry::WebhookTry(WebhookTry {
            webhook_id: w.id.clone(),
            since: w.since,
            at: w.created_at.plus(domain::webhook::GIVE_UP_AFTER),
            status: Some(503),
            error: Some("the backend answered 503".to_owned()),
            took_ms: 1,
            delivered: false,
            next_at: None,
        })
    };
    assert_eq!(all.len(), 2);
    assert!(store.append(all.iter().map(end).collect()).await.iter().all(Result::is_ok));

    let (status, dead) = get(&format!("?state=dead&backend={host}")).await;
    assert_eq!((status, dead["webhooks"].as_array().unwrap().len()), (200, 2), "{dead:#}");
    let line = &dead["webhooks"][1];
    assert_eq!(
        (line["order"].as_str(), line["type"].as_str()),
        (Some(first.as_str()), Some("order.succeeded"))
    );
    let calls = line["calls"].as_array().unwrap();
    assert!(calls.len() >= 2 && calls[0]["status"] == 503, "{calls:?}");
    let (_, of_second) = get(&format!("?order={second}")).await;
    assert_eq!(of_second["webhooks"].as_array().unwrap().len(), 1);
    let (_, backends) = get("/backends").await;
    assert_eq!(
        (&backends["backends"][0]["backend"], &backends["backends"][0]["dead"]),
        (&json!(host), &json!(2))
    );
    let (status, refusal) = get("?state=lost").await;
    assert!(status == 422 && refusal["errors"][0]["field"] == "/state", "{refusal:#}");

    let body = json!({ "backend": host });
    let (status, refusal) = post("/resend", "chen-0123456789a", body.clone()).await;
    assert!(status == 403 && refusal["code"] == "scope_missing", "{refusal:#}");
    assert_eq!(post("/nobody/resend", "maria-0123456789", json!({})).await.1["code"], "webhook_not_found");
    backend.up.store(true, Ordering::SeqCst);
    let (status, sent) = post("/resend", "maria-0123456789", body).await;
    assert_eq!((status, sent), (202, json!({ "resent": 2, "left": 0 })));
    house
        .until_asked(
            |found| found["webhooks"].as_array().is_some_and(|w| w.len() == 2),
            || get("?state=delivered"),
        )
        .await;
    let id = line["id"].as_str().unwrap();
    let (status, sent) = post(&format!("/{id}/resend"), "maria-0123456789", json!({})).await;
    assert_eq!((status, &sent["resent"]), (202, &json!(1)));
    house.until_asked(|found| found == &json!(3), async || (200, json!(backend.taken().len()))).await;
    let taken = backend.taken();
    assert_eq!(taken.iter().filter(|t| *t == id).count(), 2, "the same id: {taken:?}");
    let (_, acts) = get("/resends").await;
    let by = |n: usize| acts["resends"][n]["by"].as_str().unwrap().to_owned();
    assert!(by(0).starts_with("maria (") && acts["resends"][1]["resent"] == 2, "{acts:#}");
    assert!(house.http.get(format!("{}/metrics", house.api)).send().await.unwrap().status().is_success());
}

#[actix_web::test]
async fn the_command_lists_webhooks_and_sends_them_again() {
    let house = House::start("").await;
    let (backend, host) = Backend::start();
    let id = paid(&house, "W1", &format!("http://{host}/paid")).await;
    house.until_at("/admin/v1/webhooks?state=due", |w| w["webhooks"][0]["calls"][0]["status"] == 503).await;
    let run = |args: &[&str]| {
        let mut command = std::process::Command::new(common::BIN);
        command.arg("webhooks").args(args).args(["--target", &house.api]);
        common::output(command)
    };
    let (code, out, err) = run(&[]);
    println!("{out}");
    assert!(code == 0 && out.contains(&host) && out.contains("due 1"), "{out}{err}");
    assert!(out.contains(&id) && out.contains("answered 503 in") && out.contains("next try"), "{out}");
    let (code, out, _) = run(&["--state", "dead", "--backend", &host]);
    assert_eq!((code, out.as_str()), (0, "0 webhooks, newest first\n"));
    let (_, webhooks) = house.get(&format!("/admin/v1/webhooks?order={id}")).await;
    let webhook = webhooks["webhooks"][0]["id"].as_str().unwrap();
    backend.up.store(true, Ordering::SeqCst);
    let (code, out, err) = run(&["--resend", webhook]);
    assert_eq!((code, out.as_str()), (0, "sent again: 1\n"), "{err}");
    house.until_at("/admin/v1/webhooks?state=delivered", |w| w["webhooks"][0]["order"] == json!(id)).await;
    let (code, out, _) = run(&["--backend", &host, "--resend-all"]);
    assert_eq!((code, out.as_str()), (0, "sent again: 0\n"));
    let (code, _, err) = run(&["--resend", "nobody"]);
    assert!(code == 1 && err.contains("no webhook with this id"), "{err}");
    for wrong in [&["--resend-all"][..], &["--state", "lost"], &["--limit", "0"]] {
        assert_eq!(run(wrong).0, 2, "{wrong:?}");
    }
}

#[actix_web::test]
async fn a_backend_catches_up_page_by_page_and_can_wait_for_what_comes() {
    let house = House::start("").await;
    for n in 1..=3 {
        paid(&house, &format!("E{n}"), "http://127.0.0.1:1/nobody-listens").await;
    }
    let (_, page) = house.get("/v1/events?limit=2").await;
    assert_eq!(page["events"].as_array().unwrap().len(), 2, "{page:#}");
    let (_, rest) = house.get(&format!("/v1/events?after={}", page["next"])).await;
    assert_eq!(rest["events"][0]["event"]["type"], "order.succeeded");
    assert_eq!(rest["events"].as_array().unwrap().len(), 1);
    let began = Instant::now();
    let (_, none) = house.get(&format!("/v1/events?after={}&wait=1", rest["next"])).await;
    assert!(none["events"] == json!([]) && none["next"] == rest["next"], "{none:#}");
    assert!(began.elapsed().as_millis() >= 1_000);
    let late = async { paid(&house, "E4", "http://127.0.0.1:1/nobody-listens").await };
    let next = format!("/v1/events?after={}&wait=10", rest["next"]);
    let ((_, page), id) = futures::future::join(house.get(&next), late).await;
    assert_eq!(page["events"][0]["event"]["data"]["id"], json!(id), "{page:#}");
}
