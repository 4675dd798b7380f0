//! WeChat Pay v3 for a direct merchant: prepay, query, close, refunds, certificates, callbacks.
//!
//! The order of the checks is the protocol page's: path and method, headers, signature, JSON and fields, business.
//! Success is answered under the key that the request names; refusals are not signed, as on the live service.

mod bill;
mod callback;
mod certificates;
mod keys;
mod pay;
mod prepay;
mod refund;
mod refusal;
mod request;
mod respond;
mod sharing;
#[cfg(test)]
mod tests;
mod trade;

use std::{path::Path, sync::Arc};

use actix_web::{HttpRequest, HttpResponse, web};
use bytes::Bytes;
use parking_lot::Mutex;

pub(crate) use self::pay::pay;
use self::{
    keys::Keys,
    refusal::Refusal,
    request::Caller,
    respond::Done,
    trade::{Product, Trades},
};
use crate::{
    faults::{Fate, Kind},
    world::{World, broken_off},
};

/// Its name in faults, books and statistics.
pub(crate) const NAME: &str = "wechat";

/// The server.
pub(crate) struct Wechat {
    keys: Keys,
    trades: Mutex<Trades>,
    files: Mutex<bill::Files>,
    /// Where clients reach us; bills are fetched from there.
    base_url: String,
    world: Arc<World>,
}

impl Wechat {
    /// Opens the folder with its keys, or makes it.
    ///
    /// # Errors
    /// A file that cannot be read, written or understood, with its path.
    pub(crate) fn open(dir: &Path, base_url: &str, world: Arc<World>) -> anyhow::Result<Arc<Wechat>> {
        let keys = Keys::open(dir, base_url)?;
        Ok(Arc::new(Wechat {
            keys,
            trades: Mutex::default(),
            files: Mutex::default(),
            base_url: base_url.to_owned(),
            world,
        }))
    }

    /// The serial that requests must name.
    pub(crate) fn merchant_serial(&self) -> &str {
        &self.keys.merchant_serial
    }

    /// Begins a switch-over to a new platform certificate; its serial.
    ///
    /// # Errors
    /// The keys folder cannot be written.
    pub(crate) fn rotate(&self) -> anyhow::Result<String> {
        self.keys.rotate()
    }

    /// Registers the routes.
    pub(crate) fn configure(self: &Arc<Self>, cfg: &mut web::ServiceConfig) {
        let pay = "/v3/pay/transactions";
        let refunds = "/v3/refund/domestic/refunds";
        cfg.app_data(web::Data::from(Arc::clone(self)))
            .app_data(web::PayloadConfig::new(64 * 1024))
            .route("/v3/certificates", web::get().to(certificates))
            .service(web::resource(format!("{pay}/{{product}}")).route(web::post().to(prepay)))
            .service(web::resource(format!("{pay}/id/{{id}}")).route(web::get().to(query_by_id)))
            .service(web::resource(format!("{pay}/out-trade-no/{{no}}")).route(web::get().to(query_by_no)))
            .service(web::resource(format!("{pay}/out-trade-no/{{no}}/close")).route(web::post().to(close)))
            .service(web::resource(refunds).route(web::post().to(refund)))
            .service(web::resource(format!("{refunds}/{{no}}")).route(web::get().to(refund_query)))
            .route(&format!("{refunds}/{{id}}/apply-abnormal-refund"), web::post().to(abnormal_refund))
            .route("/v3/bill/tradebill", web::get().to(trade_bill))
            .route("/v3/bill/fundflowbill", web::get().to(flow_bill))
            .route("/v3/profitsharing/bills", web::get().to(share_bill))
            .route("/v3/billdownload/file", web::get().to(bill_file))
            .route("/v3/profitsharing/receivers/{what}", web::post().to(receivers))
            .route("/v3/profitsharing/orders", web::post().to(split))
            .route("/v3/profitsharing/orders/unfreeze", web::post().to(unfreeze))
            .route("/v3/profitsharing/orders/{no}", web::get().to(split_query))
            .route("/v3/profitsharing/return-orders", web::post().to(give_back))
            .route("/v3/profitsharing/return-orders/{no}", web::get().to(return_query))
            .route("/v3/profitsharing/transactions/{id}/amounts", web::get().to(remaining))
            .default_service(web::to(|| async { HttpResponse::NotFound().finish() }));
    }

    /// Carries a call out under its fate. `order_no` names the trade that the fate is drawn for.
    async fn call<F>(
        &self,
        req: &HttpRequest,
        body: &Bytes,
        kind: Kind,
        order_no: &str,
        work: F,
    ) -> HttpResponse
    where
        F: FnOnce(&Caller) -> Result<Done, Refusal>,
    {
        self.world.count(&format!("{NAME}.{}", kind.label()));
        let fate = self.world.fate(NAME, kind, order_no);
        if fate.unreachable {
            return broken_off();
        }
        // What happens, happens at once; only the answer takes its time. That is the harder case for a caller.
        let outcome = self.outcome(req, body, &fate, work);
        tokio::time::sleep(fate.takes).await;
        let verdict =
            outcome.as_ref().map_or_else(|refusal| refusal.code.clone(), |_| "signature good".to_owned());
        if fate.silent {
            self.saw(req, 0, format!("{verdict}, then silence"));
            return broken_off();
        }
        let serial = request::header(req, "wechatpay-serial");
        let answer = match outcome {
            Ok(done) => respond::signed(self, serial, &done, fate.bad_signature),
            Err(refusal) => respond::refused(&self.world, &refusal),
        };
        self.saw(req, answer.status().as_u16(), verdict);
        answer
    }

    fn outcome<F>(&self, req: &HttpRequest, body: &Bytes, fate: &Fate, work: F) -> Result<Done, Refusal>
    where
        F: FnOnce(&Caller) -> Result<Done, Refusal>,
    {
        let caller = request::check(req, body, &self.keys, self.world.clock.now())?;
        if let Some(code) = &fate.error {
            let code = if code.is_empty() { "SYSTEM_ERROR" } else { code };
            return Err(Refusal::by_code(code, "系统繁忙，请稍后重试"));
        }
        if !self.world.within_quota(NAME) {
            return Err(Refusal::by_code("FREQUENCY_LIMITED", "频率超过限制"));
        }
        work(&caller)
    }

    fn saw(&self, req: &HttpRequest, status: u16, verdict: String) {
        self.world.saw(NAME, format!("{} {}", req.method(), request::target(req)), status, verdict);
    }
}

type Server = web::Data<Wechat>;

async fn certificates(me: Server, req: HttpRequest, body: Bytes) -> HttpResponse {
    me.call(&req, &body, Kind::Other, "certificates", |_| certificates::list(&me.keys)).await
}

async fn prepay(me: Server, req: HttpRequest, product: web::Path<String>, body: Bytes) -> HttpResponse {
    let Some(product) = Product::named(&product) else {
        return HttpResponse::NotFound().finish();
    };
    let order_no = request::peek(&body, "out_trade_no");
    me.call(&req, &body, Kind::Prepay, &order_no, |caller| prepay::prepay(&me, caller, product, &body)).await
}

async fn query_by_no(me: Server, req: HttpRequest, no: web::Path<String>, body: Bytes) -> HttpResponse {
    me.call(&req, &body, Kind::Query, &no, |caller| {
        caller.owns(request::query(&req, "mchid"), "query")?;
        me.trades.lock().view(&no)
    })
    .await
}

async fn query_by_id(me: Server, req: HttpRequest, id: web::Path<String>, body: Bytes) -> HttpResponse {
    let no = me.trades.lock().by_transaction(&id).unwrap_or_else(|| format!("?{id}"));
    me.call(&req, &body, Kind::Query, &no, |caller| {
        caller.owns(request::query(&req, "mchid"), "query")?;
        me.trades.lock().view(&no)
    })
    .await
}

async fn close(me: Server, req: HttpRequest, no: web::Path<String>, body: Bytes) -> HttpResponse {
    me.call(&req, &body, Kind::Close, &no, |caller| {
        let fields = request::json(&body)?;
        caller.owns(fields.get("mchid").and_then(|v| v.as_str()).map(str::to_owned), "body")?;
        me.trades.lock().close(&no)
    })
    .await
}

async fn refund(me: Server, req: HttpRequest, body: Bytes) -> HttpResponse {
    let order_no = request::peek(&body, "out_trade_no");
    me.call(&req, &body, Kind::Refund, &order_no, |_| refund::refund(&me, &body)).await
}

async fn refund_query(me: Server, req: HttpRequest, no: web::Path<String>, body: Bytes) -> HttpResponse {
    me.call(&req, &body, Kind::Refund, &no, |_| refund::query(&me, &no)).await
}

async fn abnormal_refund(me: Server, req: HttpRequest, id: web::Path<String>, body: Bytes) -> HttpResponse {
    let serial = request::header(&req, "wechatpay-serial");
    me.call(&req, &body, Kind::Refund, &id, |_| refund::handle_abnormal(&me, &id, serial, &body)).await
}

async fn trade_bill(me: Server, req: HttpRequest, body: Bytes) -> HttpResponse {
    let asked = |name: &str| request::query(&req, name);
    me.call(&req, &body, Kind::Other, "bill", |_| {
        bill::made(&me, asked, |me, day| bill::trades(me, asked("bill_type").as_deref(), day))
    })
    .await
}

async fn flow_bill(me: Server, req: HttpRequest, body: Bytes) -> HttpResponse {
    let asked = |name: &str| request::query(&req, name);
    me.call(&req, &body, Kind::Other, "bill", |_| {
        bill::made(&me, asked, |me, day| bill::flow(me, asked("account_type").as_deref(), day))
    })
    .await
}

async fn share_bill(me: Server, req: HttpRequest, body: Bytes) -> HttpResponse {
    me.call(&req, &body, Kind::Other, "bill", |_| {
        bill::made(&me, |name| request::query(&req, name), bill::shares)
    })
    .await
}

async fn bill_file(me: Server, req: HttpRequest, body: Bytes) -> HttpResponse {
    me.call(&req, &body, Kind::Other, "bill", |_| bill::fetch(&me, request::query(&req, "token"))).await
}

async fn receivers(me: Server, req: HttpRequest, what: web::Path<String>, body: Bytes) -> HttpResponse {
    let serial = request::header(&req, "wechatpay-serial");
    me.call(&req, &body, Kind::Other, "receivers", |_| match what.as_str() {
        "add" => sharing::add_receiver(&me, serial, &body),
        "delete" => sharing::delete_receiver(&me, &body),
        _ => Err(Refusal::by_code("RESOURCE_NOT_EXISTS", "无此接口")),
    })
    .await
}

async fn split(me: Server, req: HttpRequest, body: Bytes) -> HttpResponse {
    let serial = request::header(&req, "wechatpay-serial");
    let no = request::peek(&body, "out_order_no");
    me.call(&req, &body, Kind::Other, &no, |_| sharing::split(&me, serial, &body)).await
}

async fn split_query(me: Server, req: HttpRequest, no: web::Path<String>, body: Bytes) -> HttpResponse {
    let id = request::query(&req, "transaction_id");
    me.call(&req, &body, Kind::Other, &no, |_| sharing::query(&me, &no, id)).await
}

async fn unfreeze(me: Server, req: HttpRequest, body: Bytes) -> HttpResponse {
    let no = request::peek(&body, "out_order_no");
    me.call(&req, &body, Kind::Other, &no, |_| sharing::unfreeze(&me, &body)).await
}

async fn give_back(me: Server, req: HttpRequest, body: Bytes) -> HttpResponse {
    let no = request::peek(&body, "out_return_no");
    me.call(&req, &body, Kind::Other, &no, |_| sharing::give_back(&me, &body)).await
}

async fn return_query(me: Server, req: HttpRequest, no: web::Path<String>, body: Bytes) -> HttpResponse {
    let split_no = request::query(&req, "out_order_no");
    me.call(&req, &body, Kind::Other, &no, |_| sharing::return_query(&me, &no, split_no)).await
}

async fn remaining(me: Server, req: HttpRequest, id: web::Path<String>, body: Bytes) -> HttpResponse {
    me.call(&req, &body, Kind::Other, &id, |_| sharing::remaining(&me, &id)).await
}

/// For the fuzz target.
#[cfg(feature = "fuzzing")]
pub(crate) fn read_claim(text: &str) {
    let _refused = request::Claim::parse(text).is_some();
    let _refused = request::json(text.as_bytes()).is_ok();
}
