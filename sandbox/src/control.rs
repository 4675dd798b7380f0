//! The control port: faults, payers, books, clock, and a page. It has no faults of its own.

use std::{collections::BTreeMap, sync::Arc};

use actix_web::{HttpResponse, web};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json};

use crate::{
    alipay::{self, Alipay},
    campus_card::{Account, CampusCard},
    faults::FaultSet,
    page,
    payer::Outcome,
    unionpay::{self, UnionPay},
    wechat::{Wechat, pay},
    world::World,
};

/// Books are handed out in pages of this many lines.
const BOOKS_PAGE: usize = 10_000;

/// What the control port reaches.
pub(crate) struct Control {
    pub(crate) world: Arc<World>,
    pub(crate) wechat: Arc<Wechat>,
    pub(crate) card: Arc<CampusCard>,
    pub(crate) alipay: Arc<Alipay>,
    pub(crate) unionpay: Arc<UnionPay>,
    pub(crate) channels: BTreeMap<String, String>,
}

type State = web::Data<Control>;

pub(crate) fn configure(cfg: &mut web::ServiceConfig, state: &State) {
    cfg.app_data(state.clone())
        .route("/", web::get().to(show))
        .service(
            web::resource("/_sandbox/faults").route(web::get().to(faults)).route(web::put().to(set_faults)),
        )
        .route("/_sandbox/pay", web::post().to(pay_credential))
        .route("/_sandbox/books", web::get().to(books))
        .route("/_sandbox/accounts", web::put().to(accounts))
        .route("/_sandbox/clock", web::post().to(clock))
        .route("/_sandbox/end_day", web::post().to(end_day))
        .route("/_sandbox/wechat/rotate", web::post().to(rotate))
        .route("/_sandbox/seen", web::get().to(seen))
        .route("/_sandbox/stats", web::get().to(stats))
        .default_service(web::to(|| async {
            let hint = "GET / shows what is here";
            HttpResponse::NotFound().json(json!({ "error": "no such page", "hint": hint }))
        }));
}

fn bad(problem: impl Into<String>) -> HttpResponse {
    HttpResponse::BadRequest().json(json!({ "error": problem.into() }))
}

fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, String> {
    serde_json::from_slice(body).map_err(|e| format!("the body cannot be read: {e}"))
}

async fn show(state: State) -> HttpResponse {
    HttpResponse::Ok().content_type("text/html; charset=utf-8").body(page::html(&state))
}

async fn faults(state: State) -> HttpResponse {
    HttpResponse::Ok().json(json!({ "channels": state.world.faults() }))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SetFaults {
    channels: BTreeMap<String, FaultSet>,
}

async fn set_faults(state: State, body: web::Bytes) -> HttpResponse {
    let asked: SetFaults = match read(&body) {
        Ok(asked) => asked,
        Err(problem) => return bad(problem),
    };
    for (name, set) in &asked.channels {
        if !state.channels.contains_key(name) {
            let known: Vec<&str> = state.channels.keys().map(String::as_str).collect();
            return bad(format!("channel \"{name}\": expected one of {}", known.join(", ")));
        }
        if let Err(problem) = set.validate() {
            return bad(format!("channel {name}: {problem}"));
        }
    }
    state.world.set_faults(asked.channels);
    faults(state).await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Pay {
    channel: String,
    credential: Value,
    #[serde(default)]
    payer: String,
    #[serde(default = "pays")]
    outcome: String,
}

fn pays() -> String {
    "pay".to_owned()
}

async fn pay_credential(state: State, body: web::Bytes) -> HttpResponse {
    let asked: Pay = match read(&body) {
        Ok(asked) => asked,
        Err(problem) => return bad(problem),
    };
    match (asked.channel.as_str(), asked.outcome.as_str()) {
        ("campus_card", _) => refused("direct_channel"),
        ("wechat", "pay") => {
            let wechat = web::Data::from(Arc::clone(&state.wechat));
            told(pay(&wechat, &asked.credential, &asked.payer))
        }
        (alipay::NAME, how @ ("pay" | "credit")) => {
            told(alipay::pay(&state.alipay, &asked.credential, &asked.payer, how == "credit"))
        }
        (unionpay::NAME, "pay") => told(unionpay::pay(&state.unionpay, &asked.credential)),
        (
            channel @ ("wechat" | alipay::NAME | unionpay::NAME),
            reason @ ("no_balance" | "wrong_password" | "cancel"),
        ) => {
            if channel == alipay::NAME {
                alipay::look(&state.alipay, &asked.credential);
            }
            state.world.count(&format!("{channel}.payer.{reason}"));
            refused(reason)
        }
        ("wechat" | unionpay::NAME, other) => {
            bad(format!("outcome \"{other}\": expected pay, no_balance, wrong_password or cancel"))
        }
        (alipay::NAME, other) => {
            bad(format!("outcome \"{other}\": expected pay, credit, no_balance, wrong_password or cancel"))
        }
        (other, _) => bad(format!("channel \"{other}\": expected wechat, alipay, unionpay or campus_card")),
    }
}

fn told(outcome: Outcome) -> HttpResponse {
    match outcome {
        Outcome::Paid { trade_no, at } => HttpResponse::Ok().json(json!({
            "paid": true, "trade_no": trade_no, "paid_at": crate::clock::beijing(at), "paid_at_us": at.micros(),
        })),
        Outcome::Refused(reason) => refused(reason),
    }
}

fn refused(reason: &str) -> HttpResponse {
    HttpResponse::Conflict().json(json!({ "paid": false, "reason": reason }))
}

#[derive(Deserialize)]
struct After {
    #[serde(default)]
    after: u64,
}

async fn books(state: State, query: web::Query<After>) -> HttpResponse {
    let lines = state.world.books.after(query.after, BOOKS_PAGE);
    let next = lines.last().map_or(query.after, |line| line.n);
    HttpResponse::Ok().json(json!({ "lines": lines, "next": next }))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Accounts {
    #[serde(default)]
    unknown_accounts: Option<Unknown>,
    #[serde(default)]
    accounts: BTreeMap<String, Account>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Unknown {
    balance_fen: i64,
}

async fn accounts(state: State, body: web::Bytes) -> HttpResponse {
    let asked: Accounts = match read(&body) {
        Ok(asked) => asked,
        Err(problem) => return bad(problem),
    };
    if asked.unknown_accounts.as_ref().is_some_and(|u| u.balance_fen < 0) {
        return bad("unknown_accounts.balance_fen: expected 0 or more");
    }
    state.card.set_unknown_balance(asked.unknown_accounts.map(|u| u.balance_fen));
    for (no, account) in asked.accounts {
        state.card.set_account(&no, account);
    }
    HttpResponse::Ok().json(json!({ "set": true }))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SetClock {
    offset_s: i64,
}

async fn clock(state: State, body: web::Bytes) -> HttpResponse {
    let asked: SetClock = match read(&body) {
        Ok(asked) => asked,
        Err(problem) => return bad(problem),
    };
    state.world.clock.set_offset_s(asked.offset_s);
    HttpResponse::Ok().json(json!({ "now": crate::clock::beijing(state.world.clock.now()) }))
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct EndDay {
    bills: Dated,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Dated {
    #[default]
    Yesterday,
    Today,
}

/// What happened until now stands on yesterday's bills from now on; or, asked so, today's bills exist from now on.
async fn end_day(state: State, body: web::Bytes) -> HttpResponse {
    let asked = if body.is_empty() { Ok(EndDay::default()) } else { read(&body) };
    match asked {
        Ok(EndDay { bills: Dated::Yesterday }) => state.world.end_day(),
        Ok(EndDay { bills: Dated::Today }) => state.world.bill_today(),
        Err(problem) => return bad(problem),
    }
    HttpResponse::Ok().json(json!({ "bills_until": crate::clock::beijing(state.world.clock.now()) }))
}

/// A new platform certificate beside the old ones.
async fn rotate(state: State) -> HttpResponse {
    match state.wechat.rotate() {
        Ok(serial) => HttpResponse::Ok().json(json!({ "platform_serial": serial })),
        Err(e) => HttpResponse::InternalServerError().json(json!({ "error": format!("{e:#}") })),
    }
}

async fn seen(state: State) -> HttpResponse {
    HttpResponse::Ok().json(json!({ "seen": state.world.seen(500) }))
}

async fn stats(state: State) -> HttpResponse {
    HttpResponse::Ok().json(state.world.counts())
}
