//! Alipay's gateway for one app: create, precreate, wap.pay, query, close, cancel, refunds, notifications.
//!
//! Every call goes to `/gateway.do`; `method` says what it is. The order of the checks is the protocol page's section 9:
//! parameters, app, signature, the other common parameters, `biz_content`, method. Whatever is answered to a known app is
//! signed over the node exactly as it is written, in the charset of the request.

mod bill;
mod form;
mod keys;
mod notice;
mod pay;
mod refund;
mod refusal;
mod royalty;
#[cfg(test)]
mod tests;
mod text;
mod trade;
mod wap;
mod wire;
mod zip;

use std::{path::Path, sync::Arc};

use actix_web::{HttpRequest, HttpResponse, web};
use bytes::Bytes;
use parking_lot::Mutex;
use serde_json::Value;

pub(crate) use self::pay::{look, pay};
use self::{
    keys::Keys,
    refusal::Refusal,
    trade::Ledger,
    wire::{Call, Node},
};
use crate::{
    faults::Kind,
    world::{World, broken_off},
};

/// Its name in faults, books and statistics.
pub(crate) const NAME: &str = "alipay";
/// The path of the gateway.
pub(crate) const GATEWAY: &str = "/gateway.do";

/// The server.
pub(crate) struct Alipay {
    keys: Keys,
    ledger: Mutex<Ledger>,
    files: Mutex<bill::Files>,
    origin: String,
    world: Arc<World>,
}

impl Alipay {
    /// Opens the folder with its keys, or makes it.
    ///
    /// # Errors
    /// A file that cannot be read, written or understood, with its path.
    pub(crate) fn open(dir: &Path, base_url: &str, world: Arc<World>) -> anyhow::Result<Arc<Alipay>> {
        let keys = Keys::open(dir, base_url)?;
        let (ledger, files) = (Mutex::default(), Mutex::default());
        Ok(Arc::new(Alipay { keys, ledger, files, origin: base_url.to_owned(), world }))
    }

    /// Registers the routes.
    pub(crate) fn configure(self: &Arc<Self>, cfg: &mut web::ServiceConfig) {
        cfg.app_data(web::Data::from(Arc::clone(self)))
            .app_data(web::PayloadConfig::new(64 * 1024))
            .service(web::resource(GATEWAY).route(web::get().to(gateway)).route(web::post().to(gateway)))
            .route("/bill/{token}", web::get().to(bill::download))
            .route("/cashier/{trade_no}", web::post().to(wap::act))
            .default_service(web::to(|| async { HttpResponse::NotFound().finish() }));
    }

    /// What a verified call does. `biz_content` names the trade.
    fn carry_out(self: &Arc<Self>, call: &Call) -> Result<Value, Refusal> {
        match call.method.as_str() {
            "alipay.trade.create" => trade::create(self, call),
            "alipay.trade.precreate" => trade::precreate(self, call),
            "alipay.trade.query" => trade::query(self, call),
            "alipay.trade.close" => trade::close(self, call),
            "alipay.trade.cancel" => refund::cancel(self, call),
            "alipay.trade.refund" => refund::refund(self, call),
            "alipay.trade.fastpay.refund.query" => refund::query(self, call),
            "alipay.trade.pay" => pay::scanned(self, call),
            "alipay.data.dataservice.bill.downloadurl.query" => bill::address(self, call),
            "alipay.open.app.alipaycert.download" => keys::download(&self.keys, call),
            "alipay.trade.royalty.relation.bind" => royalty::bind(self, call),
            "alipay.trade.royalty.relation.unbind" => royalty::unbind(self, call),
            "alipay.trade.royalty.relation.batchquery" => royalty::list(self, call),
            "alipay.trade.royalty.rate.query" => royalty::rate(self, call),
            "alipay.trade.order.settle" => royalty::settle(self, call),
            "alipay.trade.order.settle.query" => royalty::settle_query(self, call),
            "alipay.trade.order.onsettle.query" => royalty::unsettled(self, call),
            _ => Err(Refusal::invalid("isv.invalid-method", "不存在的方法名")),
        }
    }
}

fn kind_of(method: &str) -> Kind {
    match method {
        "alipay.trade.create" | "alipay.trade.precreate" | "alipay.trade.pay" | wap::METHOD => Kind::Prepay,
        "alipay.trade.query" => Kind::Query,
        "alipay.trade.close" | "alipay.trade.cancel" => Kind::Close,
        "alipay.trade.refund" | "alipay.trade.fastpay.refund.query" => Kind::Refund,
        _ => Kind::Other,
    }
}

async fn gateway(me: web::Data<Alipay>, req: HttpRequest, body: Bytes) -> HttpResponse {
    let me = me.into_inner();
    let read = form::read(req.query_string().as_bytes(), &body, &form::content_type(&req));
    let asked = read.as_ref().ok();
    let method = asked.and_then(|p| p.get("method")).cloned().unwrap_or_default();
    let order_no = asked.map(wire::peek_number).unwrap_or_default();
    let kind = kind_of(&method);
    me.world.count(&format!("{NAME}.{}", kind.label()));
    let fate = me.world.fate(NAME, kind, &order_no);
    let seen = format!("{} {method} {order_no}", req.method());
    if fate.unreachable {
        me.world.saw(NAME, seen, 0, "unreachable".to_owned());
        return broken_off();
    }
    // What happens, happens at once; only the answer takes its time. That is the harder case for a caller.
    let checked = read.and_then(|params| wire::check(params, &me.keys));
    let done = match &checked {
        Err(refusal) => Err(refusal.clone()),
        Ok(_) if fate.error.is_some() => Err(Refusal::fault(fate.error.as_deref().unwrap_or_default())),
        Ok(_) if !me.world.within_quota(NAME) => Err(Refusal::limited()),
        Ok(call) if call.method == wap::METHOD => match wap::open(&me, call) {
            Ok(page) => {
                me.world.saw(NAME, seen, 200, "signature good".to_owned());
                return page;
            }
            Err(refusal) => Err(refusal),
        },
        Ok(call) => me.carry_out(call),
    };
    tokio::time::sleep(fate.takes).await;
    let verdict = done.as_ref().map_or_else(|r| r.sub_code.clone(), |_| "signature good".to_owned());
    if fate.silent {
        me.world.saw(NAME, seen, 0, format!("{verdict}, then silence"));
        return broken_off();
    }
    me.world.saw(NAME, seen, 200, verdict);
    let node = Node {
        method: &method,
        gbk: checked.as_ref().is_ok_and(|call| call.gbk),
        by_certificate: checked.as_ref().is_ok_and(|call| call.by_certificate),
    };
    wire::answer(&me.keys, &node, done, fate.bad_signature)
}

/// For the fuzz target.
#[cfg(feature = "fuzzing")]
pub(crate) fn read_form(query: &[u8], body: &[u8], kind: &str) -> Result<(), String> {
    form::read(query, body, kind).map(|_| ()).map_err(|refusal| refusal.sub_code)
}
