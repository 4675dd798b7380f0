//! UnionPay's gateway 5.1.0 for one merchant: QR orders, app orders, cashier, query, refund, undo, reversal, files.
//!
//! Every request is a signed form. The order of the checks is the protocol page's section 12: fields, `certId`,
//! signature, `txnTime`, number, operation. Answers are `k=v&k=v` without percent-encoding and carry the certificate
//! that signed them. A request that took money's path is answered "accepted"; only a query or a notification is final.

mod cashier;
mod fields;
mod file;
mod keys;
mod ledger;
mod notice;
mod operations;
mod pay;
mod refusal;
#[cfg(test)]
mod tests;
mod wire;

use std::{path::Path, sync::Arc};

use actix_web::{HttpRequest, HttpResponse, web};
use bytes::Bytes;
use parking_lot::Mutex;

pub(crate) use self::pay::pay;
use self::{fields::Fields, keys::Keys, ledger::Ledger, refusal::Refusal};
use crate::{
    faults::Kind,
    world::{World, broken_off},
};

/// Its name in faults, books and statistics.
pub(crate) const NAME: &str = "unionpay";

/// The server.
pub(crate) struct UnionPay {
    keys: Keys,
    ledger: Mutex<Ledger>,
    world: Arc<World>,
    origin: String,
}

/// The gates of the gateway; what is allowed at one is refused at another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Gate {
    Front,
    App,
    Back,
    Query,
    File,
}

impl UnionPay {
    /// Opens the folder with its keys, or makes it.
    ///
    /// # Errors
    /// A file that cannot be read, written or understood, with its path.
    pub(crate) fn open(dir: &Path, origin: &str, world: Arc<World>) -> anyhow::Result<Arc<UnionPay>> {
        let keys = Keys::open(dir, origin)?;
        Ok(Arc::new(UnionPay { keys, ledger: Mutex::default(), world, origin: origin.to_owned() }))
    }

    /// Registers the routes.
    pub(crate) fn configure(self: &Arc<Self>, cfg: &mut web::ServiceConfig) {
        let me = web::Data::from(Arc::clone(self));
        cfg.app_data(me)
            .app_data(web::PayloadConfig::new(64 * 1024))
            .route(cashier::PATH, web::post().to(front))
            .route("/gateway/api/appTransReq.do", web::post().to(app))
            .route("/gateway/api/backTransReq.do", web::post().to(back))
            .route("/gateway/api/queryTrans.do", web::post().to(query))
            .route("/", web::post().to(download))
            .route("/cashier/{tn}", web::get().to(cashier::show))
            .route("/cashier/{tn}", web::post().to(cashier::act))
            .route("/returned", web::post().to(cashier::returned))
            .default_service(web::to(|| async { HttpResponse::NotFound().finish() }));
    }

    /// What a checked request does.
    fn carry_out(self: &Arc<Self>, gate: Gate, fields: &Fields) -> Result<Fields, Refusal> {
        match (gate, fields.get("txnType"), fields.get("txnSubType")) {
            (Gate::Front | Gate::App, "01", "01") => operations::order(self, fields, gate == Gate::App),
            (Gate::Back, "01", "07") => operations::code(self, fields),
            (Gate::Back, "01", "06") => operations::scanned(self, fields),
            (Gate::Back, "04", "00") => operations::refund(self, fields),
            (Gate::Back, "31", "00") => operations::undo(self, fields),
            (Gate::Back, "99", "01") => operations::reversal(self, fields),
            (Gate::Back, "95", "00") => {
                Ok(Fields::from([("encryptPubKeyCert", self.keys.encryption_cert.as_str())]))
            }
            (Gate::Query, "00", "00" | "02") => operations::query(self, fields),
            (Gate::File, "76", "01") => file::make(self, fields),
            _ => Err(Refusal::new("10", "交易类型不支持")),
        }
    }
}

fn kind_of(fields: &Fields) -> Kind {
    match fields.get("txnType") {
        "01" => Kind::Prepay,
        "00" => Kind::Query,
        "04" => Kind::Refund,
        "31" | "99" => Kind::Close,
        _ => Kind::Other,
    }
}

/// Codes under which the gateway carries a request out and does not say so.
const UNSURE: [&str; 3] = ["03", "04", "05"];

async fn serve(me: web::Data<UnionPay>, gate: Gate, req: HttpRequest, body: Bytes) -> HttpResponse {
    let me = me.into_inner();
    let fields = Fields::read(&body);
    let order_no = fields.get("orderId").to_owned();
    let kind = kind_of(&fields);
    me.world.count(&format!("{NAME}.{}", kind.label()));
    let fate = me.world.fate(NAME, kind, &order_no);
    let kinds = format!("{}/{}", fields.get("txnType"), fields.get("txnSubType"));
    let seen = format!("POST {} {kinds} {order_no}", req.path());
    if fate.unreachable {
        me.world.saw(NAME, seen, 0, "unreachable".to_owned());
        return broken_off();
    }
    let unsure = fate.error.as_deref().filter(|code| UNSURE.contains(code));
    // What happens, happens at once; only the answer takes its time. That is the harder case for a caller.
    let done = match wire::check(&fields, &me.keys, me.world.clock.now()) {
        Err(refusal) => Err(refusal),
        Ok(()) if fate.error.is_some() && unsure.is_none() => {
            Err(Refusal::fault(fate.error.as_deref().unwrap_or_default()))
        }
        Ok(()) if !me.world.within_quota(NAME) => Err(Refusal::new("37", "查询过于频繁")),
        Ok(()) => me.carry_out(gate, &fields),
    };
    let done = match (done, unsure) {
        (Ok(_), Some(code)) => Err(Refusal::fault(code)),
        (done, _) => done,
    };
    tokio::time::sleep(fate.takes).await;
    let verdict =
        done.as_ref().map_or_else(|r| format!("respCode {}", r.code), |_| "signature good".to_owned());
    if fate.silent {
        me.world.saw(NAME, seen, 0, format!("{verdict}, then silence"));
        return broken_off();
    }
    me.world.saw(NAME, seen, 200, verdict);
    match (gate, done) {
        (Gate::Front, Ok(made)) => cashier::redirect(&me.origin, made.get("tn")),
        (Gate::Front, Err(refusal)) => cashier::refused(&refusal),
        (_, done) => wire::answer(&me.keys, &fields, done, fate.bad_signature),
    }
}

type Server = web::Data<UnionPay>;

async fn front(me: Server, req: HttpRequest, body: Bytes) -> HttpResponse {
    serve(me, Gate::Front, req, body).await
}
async fn app(me: Server, req: HttpRequest, body: Bytes) -> HttpResponse {
    serve(me, Gate::App, req, body).await
}
async fn back(me: Server, req: HttpRequest, body: Bytes) -> HttpResponse {
    serve(me, Gate::Back, req, body).await
}
async fn query(me: Server, req: HttpRequest, body: Bytes) -> HttpResponse {
    serve(me, Gate::Query, req, body).await
}
async fn download(me: Server, req: HttpRequest, body: Bytes) -> HttpResponse {
    serve(me, Gate::File, req, body).await
}

/// For the fuzz target.
#[cfg(feature = "fuzzing")]
pub(crate) fn read_form(body: &[u8]) {
    let fields = Fields::read(body);
    let _cut = (fields.string_to_sign().len(), fields.raw().len(), fields::moment(fields.get("txnTime")));
}
