//! Copies, restores, certificates and damaged stores, through the binary.

#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

mod common;

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use common::{House, order};
use serde_json::{Value, json};
use store::{SqliteOptions, SqliteStore, Store as _};

async fn paid(house: &House, no: &str) -> String {
    let (status, shown) = house.post_text("/v1/orders", &order(no).to_string(), "wait=10").await;
    assert_eq!(status, 201, "{shown:#}");
    assert_eq!(house.pay(&shown).await.0, 200);
    let id = shown["id"].as_str().unwrap().to_owned();
    house.until(&id, |o| o["state"] == "success").await;
    id
}

fn file(house: &House, name: &str) -> (PathBuf, String) {
    let path = house.dir.path().join(name);
    let text = path.to_str().unwrap().to_owned();
    (path, text)
}

async fn refund(house: &House, id: &str, no: &str, fen: i64) -> (u16, Value) {
    let body = json!({ "refund_no": no, "amount_fen": fen, "reason": "no egg" });
    house.post(&format!("/v1/orders/{id}/refunds"), &body).await
}

const OPERATORS: &str = "[[operators]]\nname = \"maria\"\ntoken = \"maria-0123456789\"\nscopes = [\"read\", \"reconcile\"]\n\
                         [[operators]]\nname = \"chen\"\ntoken = \"chen-0123456789a\"\nscopes = [\"read\", \"reconcile\"]\n\
                         [tuning]\nreconcile_second_above_fen = 1000\n";
const CHANNELS: [&str; 4] = ["wechat", "alipay", "unionpay", "campus_card"];

async fn as_operator(house: &House, token: &str, method: reqwest::Method, path: &str) -> Value {
    let url = format!("{}/admin/v1/reconciliation{path}", house.api);
    let call = house.http.request(method.clone(), url).bearer_auth(token);
    let call = if method == reqwest::Method::POST { call.json(&json!({})) } else { call };
    call.send().await.unwrap().json().await.unwrap()
}

async fn live(house: &House) -> Vec<Value> {
    let found = as_operator(house, "chen-0123456789a", reqwest::Method::GET, "/differences?state=live").await;
    found["differences"].as_array().unwrap().clone()
}

/// Operators confirm what is prepared for every difference, two where one is not enough, and wait until it is done.
async fn confirm_all(house: &House) {
    for difference in live(house).await {
        let path = format!("/differences/{}/confirm", difference["id"]);
        let once = as_operator(house, "maria-0123456789", reqwest::Method::POST, &path).await;
        if once["difference"]["state"] == "confirmed_once" {
            as_operator(house, "chen-0123456789a", reqwest::Method::POST, &path).await;
        }
    }
    let until = Instant::now() + Duration::from_secs(30);
    while !live(house).await.is_empty() {
        assert!(Instant::now() < until, "still live: {:#?}\n{}", live(house).await, house.log());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Runs the commands that a refused finish names, with the sandbox's bills of the present day. False if a bill belongs to
/// a day that has not begun: so it is in the quarter of an hour before a channel's midnight.
fn reconcile_as_told(house: &House, told: &str) -> bool {
    let keys = house.keys_folder();
    let commands: Vec<&str> =
        told.lines().filter_map(|l| l.trim().strip_prefix("rushpay reconcile")).collect();
    assert!(commands.len() >= CHANNELS.len(), "{told}");
    commands.into_iter().fold(true, |all, command| {
        let words: Vec<&str> = command.split_whitespace().collect();
        let after = |flag: &str| words[words.iter().position(|w| *w == flag).unwrap() + 1];
        let (day, channel) = (after("--date"), after("--channel"));
        let args =
            ["reconcile", "--date", day, "--channel", channel, "--sandbox-keys", keys.to_str().unwrap()];
        let (_, out, err) = house.command(&args);
        let done = out.contains("reconciled:");
        assert!(done || err.contains("has not come yet") || out.contains("no bill yet"), "{out}{err}");
        all && done
    })
}

/// The lost R1, repeated: the answer names what was taken over, and the order has these refunds, as before.
async fn told_of_what_was_taken_over(house: &House, id: &str, refunds: &[&Value]) {
    let (status, refused) = refund(house, id, "R1", 600).await;
    assert_eq!((status, &refused["code"]), (409, &json!("refund_taken_over")), "{refused:#}");
    let said = refused["detail"].as_str().unwrap();
    let named = [&format!("{id}r01, 600 fen, 20"), "by the channel's clock", "besides_taken_over"];
    assert!(named.iter().all(|words| said.contains(*words)), "{said}");
    let (_, order) = house.get(&format!("/v1/orders/{id}")).await;
    let numbers: Vec<&Value> =
        order["refunds"].as_array().unwrap().iter().map(|r| &r["channel_refund_no"]).collect();
    assert_eq!(numbers, refunds);
}

/// The drill: a copy while the service runs, life goes on, the disk is lost, yesterday's copy comes back, and it ends
/// clean. Orders that were open then are caught up from the channels by themselves. Refunds that were paid since are
/// taken over from the bills, on every channel, and money of an order that the copy does not know goes back, once
/// operators have confirmed it; then the audit agrees with the channels to the fen, a backend that repeats a refund that
/// was taken over is told so and gets nothing twice, and refunds go on under new numbers.
#[actix_web::test]
async fn yesterdays_copy_comes_back_and_catches_up_with_the_channels() {
    let mut house = House::start_apart(OPERATORS).await;
    let mut known = Vec::new();
    for channel in CHANNELS {
        known.push(house.paid_over(&format!("D1-{channel}"), channel).await);
    }
    let (_, open) = house.post_text("/v1/orders", &order("D2").to_string(), "wait=10").await;
    let open_id = open["id"].as_str().unwrap().to_owned();

    let (copy, copy_text) = file(&house, "yesterday.db");
    let (code, out, err) = house.command(&["backup", "--to", &copy_text, "--verify"]);
    assert!(code == 0 && out.contains("audit clean"), "{out}{err}");
    assert!(copy.exists() && house.dir.path().join("yesterday.db.manifest.json").exists());
    let (code, _, err) = house.command(&["backup", "--to", &copy_text]);
    assert!(code == 1 && err.contains("is there already"), "{err}");

    // Life goes on: the open order is paid, refunds are paid out, a new order comes and is paid.
    assert_eq!(house.pay(&open).await.0, 200);
    house.until(&open_id, |o| o["state"] == "success").await;
    for id in &known {
        assert_eq!(refund(&house, id, "R1", 600).await.0, 200);
        house.until(id, |o| o["net_captured_fen"] == 1250).await;
    }
    let later = paid(&house, "D3").await;

    let (code, _, err) = house.command(&["restore", "--from", &copy_text, "--replace"]);
    assert!(code == 1 && err.contains("another process holds"), "{err}");
    let control = house.control();
    assert_eq!(house.stop().await, Some(0));
    let (code, _, err) = house.command(&["restore", "--from", &copy_text]);
    assert!(code == 1 && err.contains("--replace"), "{err}");
    let (code, out, err) = house.command(&["restore", "--from", &copy_text, "--replace"]);
    assert!(code == 0 && out.contains("reconcile") && out.contains("--date"), "{out}{err}");

    house.start_again().await;
    // The order that was open asks its channel and learns that it was paid; it is charged once.
    house.until(&open_id, |o| o["state"] == "success").await;
    let (code, out, _) = house.command(&["audit"]);
    assert!(code == 0 && out.contains("5 success"), "{out}");
    // The new order is unknown here, and its money is named; so are the refunds.
    let (status, _) = house.get(&format!("/v1/orders/{later}")).await;
    assert_eq!(status, 404);
    let (code, out, _) = house.command(&["audit", "--sandbox", &control]);
    assert!(code == 1 && out.contains("unknown_at_home") && out.contains(&format!("{later}01")), "{out}");
    assert!(known.iter().all(|id| out.contains(&format!("{id}r01"))), "{out}");
    // A refund number that may be taken is not given out.
    let (status, refused) = refund(&house, &known[0], "R2", 600).await;
    assert_eq!((status, &refused["code"]), (409, &json!("restored_store")), "{refused:#}");
    let fresh = paid(&house, "D4").await;
    assert_eq!(refund(&house, &fresh, "R1", 100).await.0, 200, "orders since are not concerned");
    house.until(&fresh, |o| o["net_captured_fen"] == 1750).await;

    // Finishing is refused, with the days and the commands that lead there.
    let (code, told, err) = house.command(&["restore", "--finish"]);
    assert!(code == 1 && told.contains("NOT finished") && told.contains("wechat 20"), "{told}{err}");
    let ended = house.http.post(format!("{control}/_sandbox/end_day")).body("{\"bills\": \"today\"}");
    assert!(ended.send().await.unwrap().status().is_success());
    let whole = reconcile_as_told(&house, &told);
    let found = live(&house).await;
    let marks = found.iter().filter(|d| d["fix"] == "mark" && d["fix_fen"] == 600 && !d["adopts"].is_null());
    assert_eq!((found.len(), marks.count()), (5, 4), "{found:#?}");
    let (code, told, _) = house.command(&["restore", "--finish"]);
    assert!(code == 1 && told.contains("is open") && told.contains(&format!("{later}01")), "{told}");
    confirm_all(&house).await;

    let (code, out, err) = house.command(&["audit", "--sandbox", &control]);
    assert!(code == 0 && out.contains("audit clean"), "{out}{err}");
    assert!(out.contains("1 payments sent back by operators (1850 fen)"), "{out}");
    let finish: &[&str] =
        if whole { &["restore", "--finish"] } else { &["restore", "--finish", "--unreconciled"] };
    let (code, out, err) = house.command(finish);
    assert!(code == 0 && out.contains("finished"), "{out}{err}");

    // The backend is told of what was taken over, and further refunds have numbers that no channel knows.
    let (_, events) = house.get("/v1/events?after=0&limit=1000").await;
    for id in &known {
        let about =
            |e: &&Value| e["event"]["type"] == "refund.succeeded" && e.to_string().contains(id.as_str());
        assert_eq!(events["events"].as_array().unwrap().iter().filter(about).count(), 1, "{events:#}");
        // It never heard that its refund was done and asks again under its old number: the payer has the money already.
        let taken_over = json!(format!("{id}r01"));
        told_of_what_was_taken_over(&house, id, &[&taken_over]).await;
        // Another refund of the same amount is booked on its word, once.
        let other = json!({ "refund_no": "R2", "amount_fen": 600, "reason": "", "besides_taken_over": true });
        for _ in 0..2 {
            assert_eq!(house.post(&format!("/v1/orders/{id}/refunds"), &other).await.0, 200);
        }
        house.until(id, |o| o["net_captured_fen"] == 650).await;
        // And the lost one, repeated after it, is still the one that the payer has.
        told_of_what_was_taken_over(&house, id, &[&taken_over, &json!(format!("{id}r02"))]).await;
    }
    assert_eq!(refund(&house, &open_id, "R2", 850).await.0, 200);
    house.until(&open_id, |o| o["net_captured_fen"] == 1000).await;
    let (code, out, err) = house.command(&["audit", "--sandbox", &control]);
    assert!(code == 0 && out.contains("audit clean"), "{out}{err}");
    assert_eq!(house.stop().await, Some(0));
}

#[actix_web::test]
async fn a_restore_is_finished_without_its_bills_only_on_an_operators_word_which_is_kept() {
    let mut house = House::start("").await;
    let id = paid(&house, "U1").await;
    let (_, copy) = file(&house, "copy.db");
    assert_eq!(house.command(&["backup", "--to", &copy]).0, 0);
    assert_eq!(house.stop().await, Some(0));
    assert_eq!(house.command(&["restore", "--from", &copy, "--replace"]).0, 0);
    house.start_again().await;
    let keys = house.keys_folder();
    let finish = ["restore", "--finish", "--sandbox-keys", keys.to_str().unwrap()];
    // No bill exists yet: it says which, and from when on it can be finished.
    let (code, out, err) = house.command(&finish);
    assert!(code == 1 && out.contains("NOT finished"), "{out}{err}");
    assert!(CHANNELS.iter().all(|channel| out.contains(&format!("{channel} 20"))), "{out}");
    assert!(out.contains("its bill exists from 20") && out.contains("it can be finished from 20"), "{out}");
    assert_eq!(refund(&house, &id, "R1", 100).await.0, 409, "nothing changed");
    let (code, _, err) = house.command(&["restore", "--unreconciled"]);
    assert!(code == 2 && err.contains("--finish"), "{err}");
    let (code, out, err) = house.command(&[&finish[..], &["--unreconciled"]].concat());
    assert!(code == 0 && out.contains("WARNING") && out.contains("is finished"), "{out}{err}");
    assert_eq!(refund(&house, &id, "R1", 100).await.0, 200);
    let (code, out, _) = house.command(&finish);
    assert!(code == 0 && out.contains("finished already"), "{out}");
    assert_eq!(house.stop().await, Some(0));
    let (path, options) = (house.dir.path().join("rushpay.db"), SqliteOptions::default());
    let marks = SqliteStore::open_to_read(&path, &options).await.unwrap().marks().await.unwrap();
    let (_, trace) = marks.iter().find(|(key, _)| key.starts_with("restore finished 20")).unwrap();
    let trace: Value = serde_json::from_str(trace).unwrap();
    assert!(trace["unreconciled"].as_array().unwrap().len() >= CHANNELS.len(), "{trace}");
}

#[actix_web::test]
async fn a_certificate_is_verified_against_the_store_and_names_what_was_rewritten() {
    let mut house = House::start("").await;
    let id = paid(&house, "C1").await;
    let other = paid(&house, "C2").await;
    let (certificate, certificate_text) = file(&house, "audit.json");
    let (_, key_text) = file(&house, "audit-key.pem");
    let (code, out, err) =
        house.command(&["audit", "--certificate", &certificate_text, "--sign-key", &key_text]);
    assert!(code == 0 && out.contains("audit clean") && err.contains("signed by ed25519:"), "{out}{err}");
    let key = err.split("signed by ").nth(1).unwrap().trim().to_owned();

    // What is appended later is no contradiction.
    assert_eq!(refund(&house, &id, "R1", 850).await.0, 200);
    house.until(&id, |o| o["net_captured_fen"] == 1000).await;
    let (code, out, err) = house.command(&["audit", "--verify", &certificate_text, "--trust", &key]);
    assert!(code == 0 && out.contains("1 of them have moved on") && out.contains("as trusted"), "{out}{err}");
    let (code, out, _) = house.command(&["audit", "--verify", &certificate_text]);
    assert!(code == 0 && out.contains("--trust"), "{out}");
    let stranger = format!("ed25519:{}", "A".repeat(43) + "=");
    let (code, _, err) = house.command(&["audit", "--verify", &certificate_text, "--trust", &stranger]);
    assert!(code == 1 && err.contains("was signed by"), "{err}");

    // One digit of the certificate.
    let text = std::fs::read_to_string(&certificate).unwrap();
    let (_, forged_text) = file(&house, "forged.json");
    std::fs::write(&forged_text, text.replacen("\"captured_fen\": 3700", "\"captured_fen\": 3701", 1))
        .unwrap();
    let (code, _, err) = house.command(&["audit", "--verify", &forged_text]);
    assert!(code == 1 && err.contains("altered"), "{err}");

    // The next certificate hangs on this one.
    let (next, next_text) = file(&house, "next.json");
    let args =
        ["audit", "--certificate", &next_text, "--sign-key", &key_text, "--previous", &certificate_text];
    assert_eq!(house.command(&args).0, 0);
    let next: Value = serde_json::from_str(&std::fs::read_to_string(next).unwrap()).unwrap();
    assert_eq!(next["certificate"]["previous"].as_str().unwrap().len(), 64);

    // An order vanishes with everything it had: no chain can show that, the certificate does.
    assert_eq!(house.stop().await, Some(0));
    let tables = ["webhook_tries", "webhooks_out", "books", "refunds", "attempts", "order_events"];
    let mut sql = String::new();
    for table in tables {
        let owner = if table == "webhook_tries" {
            format!("webhook_id IN (SELECT id FROM webhooks_out WHERE order_id = '{other}')")
        } else {
            format!("order_id = '{other}'")
        };
        sql += &format!("DELETE FROM {table} WHERE {owner};");
    }
    sql += &format!("DELETE FROM orders WHERE id = '{other}';");
    rewrite(&house.dir.path().join("rushpay.db"), &sql);
    assert_eq!(house.command(&["audit"]).0, 0, "the rest is sound in itself");
    let (code, out, _) = house.command(&["audit", "--verify", &certificate_text]);
    assert!(code == 1 && out.contains("certificate_order_missing") && out.contains(&other), "{out}");
}

fn rewrite(path: &Path, sql: &str) {
    use diesel::{Connection as _, connection::SimpleConnection as _};
    let mut conn = diesel::SqliteConnection::establish(path.to_str().unwrap()).unwrap();
    conn.batch_execute("PRAGMA foreign_keys = OFF").unwrap();
    conn.batch_execute(sql).unwrap();
}

/// The bytes of a store: the database and its log, which may be missing or empty.
fn bytes(path: &Path) -> (Vec<u8>, Vec<u8>) {
    let log = path.with_extension("db-wal");
    (std::fs::read(path).unwrap(), std::fs::read(log).unwrap_or_default())
}

#[actix_web::test]
async fn a_damaged_foreign_or_newer_store_is_named_and_not_written_to() {
    let mut house = House::start("").await;
    for n in 0..3 {
        paid(&house, &format!("X{n}")).await;
    }
    // Killed, so that there is a log; the damage lies in the database.
    house.kill();
    let path = house.dir.path().join("rushpay.db");
    let whole = bytes(&path);
    assert!(!whole.1.is_empty(), "a killed service leaves its log");
    // All of it into the database, and a log that a dead service left, empty.
    rewrite(&path, "PRAGMA wal_checkpoint(TRUNCATE);");
    let sound = std::fs::read(&path).unwrap();
    let page = |n: usize| {
        let mut bytes = sound.clone();
        bytes[4096 * n..4096 * n + 64].fill(0xa5);
        bytes
    };
    let newer = {
        rewrite(&path, "INSERT INTO __diesel_schema_migrations (version) VALUES ('29990101000000')");
        rewrite(&path, "PRAGMA wal_checkpoint(TRUNCATE);");
        std::fs::read(&path).unwrap()
    };
    let altered_rule = {
        // Everywhere: pages keep stale copies of what was moved.
        let rule = b"CHECK (amount_fen > 0)";
        let mut bytes = sound.clone();
        let places: Vec<usize> =
            sound.windows(rule.len()).enumerate().filter(|(_, w)| *w == rule).map(|(at, _)| at).collect();
        places.iter().for_each(|at| bytes[at + 18] = b'<');
        bytes
    };
    let cases: [(&str, Vec<u8>, &str); 6] = [
        ("a ruined page", page(3), "is damaged"),
        ("a ruined first page", page(0), "first page is damaged"),
        ("cut off", sound[..4096 * 5].to_vec(), "is damaged"),
        ("an altered rule", altered_rule, "its schema was altered"),
        ("newer", newer, "newer version"),
        ("a letter", b"Dear treasurer, ...".repeat(20), "is not a database"),
    ];
    for (what, content, words) in cases {
        let _no_log = std::fs::remove_file(path.with_extension("db-wal"));
        let _no_index = std::fs::remove_file(path.with_extension("db-shm"));
        std::fs::write(&path, &content).unwrap();
        for command in ["serve", "migrate"] {
            let (code, out, err) = house.command(&[command]);
            let said = format!("{out}{err}");
            assert_eq!(code, 3, "{what}, {command}: {said}");
            assert!(said.contains(words) && said.contains("rushpay.db"), "{what}, {command}: {said}");
            assert_eq!(bytes(&path), (content.clone(), Vec::new()), "{what}: {command} wrote");
        }
    }
}
