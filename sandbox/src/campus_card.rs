//! The campus card (CARD1): debits, queries, closes, refunds, accounts, statements, notifications.
//!
//! The order of the checks is section B2's; success and refusal are both signed, except where a signature would say
//! something about keys.

mod accounts;
mod close;
mod credentials;
mod ledger;
mod notice;
mod payments;
mod refunds;
mod statement;
mod strict;
#[cfg(test)]
mod tests;
mod wire;

use std::{path::Path, sync::Arc, time::Duration};

use actix_web::{HttpRequest, HttpResponse, web};
use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::oneshot;

pub(crate) use accounts::Account;
use credentials::Credentials;
use ledger::Ledger;
use wire::{Caller, Reply};

use crate::{
    faults::Kind,
    world::{World, broken_off},
};

/// Its name in faults, books and statistics.
pub(crate) const NAME: &str = "campus_card";
const BODY_MAX: usize = 64 * 1024;
/// An answer waits no longer than this for a notification that goes before it: a caller gives up after ten seconds.
const TELLING_MAX: Duration = Duration::from_secs(2);

/// The server.
pub(crate) struct CampusCard {
    keys: Credentials,
    nonces: Mutex<wire::Nonces>,
    ledger: Mutex<Ledger>,
    world: Arc<World>,
}

/// What the special students of section B10 add to an answer.
#[derive(Debug)]
pub(crate) enum Quirk {
    None,
    /// The connection breaks before the answer.
    Drops,
    /// The answer is signed wrongly.
    SignsBadly,
    /// The answer waits until a notification has been delivered.
    AfterTelling(oneshot::Receiver<()>),
}

impl CampusCard {
    /// Opens the folder with its credentials, or makes it.
    ///
    /// # Errors
    /// A file that cannot be read, written or understood, with its path.
    pub(crate) fn open(dir: &Path, base_url: &str, world: Arc<World>) -> anyhow::Result<Arc<CampusCard>> {
        Ok(Arc::new(CampusCard {
            keys: Credentials::open(dir, base_url)?,
            nonces: Mutex::default(),
            ledger: Mutex::default(),
            world,
        }))
    }

    /// Registers the routes.
    pub(crate) fn configure(self: &Arc<Self>, cfg: &mut web::ServiceConfig) {
        let at = |path: &str| web::resource(format!("/ccp/v1{path}"));
        cfg.app_data(web::Data::from(Arc::clone(self)))
            .app_data(web::PayloadConfig::new(2 * BODY_MAX))
            .service(at("/payments").route(web::post().to(pay)).default_service(web::to(lost)))
            .service(at("/payments/{no}").route(web::get().to(query)).default_service(web::to(lost)))
            .service(at("/payments/{no}/close").route(web::post().to(close)).default_service(web::to(lost)))
            .service(at("/refunds").route(web::post().to(refund)).default_service(web::to(lost)))
            .service(at("/refunds/{no}").route(web::get().to(refund_query)).default_service(web::to(lost)))
            .service(at("/accounts/{kind}/{no}").route(web::get().to(account)).default_service(web::to(lost)))
            .service(at("/statements/{day}").route(web::get().to(statement)).default_service(web::to(lost)))
            .default_service(web::to(lost));
    }

    /// With a balance, every student number without an account of its own has one; without, it is unknown.
    pub(crate) fn set_unknown_balance(&self, balance_fen: Option<i64>) {
        self.ledger.lock().accounts.set_unknown_balance(balance_fen);
    }

    /// Sets an account.
    pub(crate) fn set_account(&self, account_no: &str, account: Account) {
        self.ledger.lock().accounts.set(account_no, account);
    }

    /// Carries a call out under its fate.
    async fn call<F>(
        &self,
        req: &HttpRequest,
        body: &Bytes,
        kind: Kind,
        order_no: &str,
        work: F,
    ) -> HttpResponse
    where
        F: FnOnce(&Caller) -> (Reply, Quirk),
    {
        self.world.count(&format!("{NAME}.{}", kind.label()));
        let fate = self.world.fate(NAME, kind, order_no);
        let call = format!("{} {}", req.method(), wire::target(req));
        if fate.unreachable {
            self.world.saw(NAME, call, 0, "unreachable".to_owned());
            return broken_off();
        }
        let now = self.world.clock.now();
        let checked = wire::check(req, body, &self.keys, &self.nonces, now);
        // What happens, happens at once; only the answer takes its time. That is the harder case for a caller.
        let (reply, quirk) = match (&checked, &fate.error) {
            (Err(refused), _) => (refused.reply.clone(), Quirk::None),
            (Ok(_), Some(code)) => (Reply::busy(code), Quirk::None),
            (Ok(_), None) if !self.world.within_quota(NAME) => (Reply::busy("SYSTEM_BUSY"), Quirk::None),
            (Ok(_), None) if body.len() > BODY_MAX => {
                (Reply::bad(413, "the body is larger than 64 KiB"), Quirk::None)
            }
            (Ok(caller), None) => work(caller),
        };
        tokio::time::sleep(fate.takes).await;
        let verdict = reply.code().to_owned();
        if fate.silent || matches!(quirk, Quirk::Drops) {
            self.world.saw(NAME, call, 0, format!("{verdict}, then silence"));
            return broken_off();
        }
        self.world.saw(NAME, call, reply.status, verdict);
        let badly = fate.bad_signature || matches!(quirk, Quirk::SignsBadly);
        if let Quirk::AfterTelling(told) = quirk {
            let _too_slow_or_lost = tokio::time::timeout(TELLING_MAX, told).await;
        }
        // A code that says something about keys goes unsigned, also where a fault asked for it.
        let caller = match &checked {
            Ok(caller) => Some(caller).filter(|_| reply.code() != "BAD_SIGNATURE"),
            Err(refused) => refused.caller.as_ref(),
        };
        wire::answer(&self.keys, caller, &reply, self.world.clock.now(), badly)
    }
}

type Server = web::Data<CampusCard>;

/// A wrong path or method: signed like every answer to a good signature.
async fn lost(me: Server, req: HttpRequest, body: Bytes) -> HttpResponse {
    let known = req.match_pattern().is_some();
    let status = if known { 405 } else { 404 };
    me.call(&req, &body, Kind::Other, "lost", |_| (Reply::bad(status, "no such path or method"), Quirk::None))
        .await
}

async fn pay(me: Server, req: HttpRequest, body: Bytes) -> HttpResponse {
    let no = wire::peek(&body, "order_no");
    me.call(&req, &body, Kind::Prepay, &no, |_| payments::pay(&me, &body)).await
}

async fn query(me: Server, req: HttpRequest, no: web::Path<String>, body: Bytes) -> HttpResponse {
    me.call(&req, &body, Kind::Query, &no, |_| (payments::query(&me, &no), Quirk::None)).await
}

async fn close(me: Server, req: HttpRequest, no: web::Path<String>, body: Bytes) -> HttpResponse {
    me.call(&req, &body, Kind::Close, &no, |_| (close::close(&me, &no, &body), Quirk::None)).await
}

async fn refund(me: Server, req: HttpRequest, body: Bytes) -> HttpResponse {
    let no = wire::peek(&body, "order_no");
    me.call(&req, &body, Kind::Refund, &no, |_| (refunds::refund(&me, &body), Quirk::None)).await
}

async fn refund_query(me: Server, req: HttpRequest, no: web::Path<String>, body: Bytes) -> HttpResponse {
    me.call(&req, &body, Kind::Refund, &no, |_| (refunds::query(&me, &no), Quirk::None)).await
}

async fn account(
    me: Server,
    req: HttpRequest,
    path: web::Path<(String, String)>,
    body: Bytes,
) -> HttpResponse {
    let (kind, no) = path.into_inner();
    me.call(&req, &body, Kind::Other, &no, |_| (accounts::show(&me, &kind, &no), Quirk::None)).await
}

async fn statement(me: Server, req: HttpRequest, day: web::Path<String>, body: Bytes) -> HttpResponse {
    me.call(&req, &body, Kind::Other, &day, |_| (statement::day(&me, &day), Quirk::None)).await
}
