//! The cashier: the browser posts the signed form and is sent to a page with buttons (protocol section 5.1).

use actix_web::{HttpResponse, web};
use serde::Deserialize;
use serde_json::Value;

use super::{UnionPay, fields::Fields, ledger::Txn, operations::settled, pay, refusal::Refusal, wire};
use crate::{html::escaped, payer::Outcome};

/// Where the browser posts.
pub(crate) const PATH: &str = "/gateway/api/frontTransReq.do";

/// On to the page; clients that post from a server take the `Location` of an empty answer.
pub(crate) fn redirect(origin: &str, tn: &str) -> HttpResponse {
    HttpResponse::Found().insert_header(("Location", format!("{origin}/cashier/{tn}"))).finish()
}

/// An error has no `Location`: a page whose message stands in an element that clients look for.
pub(crate) fn refused(refusal: &Refusal) -> HttpResponse {
    HttpResponse::Ok().content_type("text/html; charset=utf-8").body(format!(
        "<!doctype html><html lang=\"zh\"><meta charset=\"utf-8\"><title>交易失败</title>\
         <p class=\"end_error\">{} [{}]</p></html>",
        escaped(&refusal.message),
        escaped(&refusal.code),
    ))
}

fn txn(me: &UnionPay, tn: &str) -> Option<Txn> {
    me.ledger.lock().by_credential(tn, me.world.clock.now()).cloned()
}

pub(crate) async fn show(me: web::Data<UnionPay>, tn: web::Path<String>) -> HttpResponse {
    let Some(txn) = txn(&me, &tn) else { return HttpResponse::NotFound().body("没有这笔订单") };
    HttpResponse::Ok().content_type("text/html; charset=utf-8").body(format!(
        "<!doctype html><html lang=\"zh\"><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width\"><title>沙箱收银台</title>\
         <style>body{{font:16px sans-serif;margin:2em auto;max-width:22em;text-align:center}}\
         b{{display:block;font-size:2em;margin:.5em}}button{{font-size:1em;padding:.6em 1.4em;margin:.3em}}</style>\
         <p>云闪付沙箱收银台（不产生真实扣款）</p><p>{}</p><b>¥{}.{:02}</b><form method=\"post\">\
         <button name=\"do\" value=\"pay\">付款</button><button name=\"do\" value=\"cancel\">取消</button></form></html>",
        escaped(txn.asked.get("orderDesc")),
        txn.amount / 100,
        txn.amount % 100,
    ))
}

/// A button of the page.
#[derive(Deserialize)]
pub(crate) struct Pressed {
    r#do: String,
}

/// Pays or leaves; then the browser brings a signed form back to the merchant, which proves no payment.
pub(crate) async fn act(
    me: web::Data<UnionPay>,
    tn: web::Path<String>,
    pressed: web::Form<Pressed>,
) -> HttpResponse {
    let me = me.into_inner();
    let outcome = match pressed.r#do.as_str() {
        "pay" => pay(&me, &Value::from(tn.as_str())),
        _ => Outcome::Refused("left"),
    };
    let Some(txn) = txn(&me, &tn) else { return HttpResponse::NotFound().body("没有这笔订单") };
    let mut said = match outcome {
        Outcome::Paid { .. } => Fields::from([("respCode", "00"), ("respMsg", "成功[0000000]")]),
        Outcome::Refused(_) => Fields::from([("respCode", "01"), ("respMsg", "用户未付款")]),
    };
    let names = [
        "version",
        "encoding",
        "bizType",
        "txnType",
        "txnSubType",
        "accessType",
        "merId",
        "orderId",
        "txnTime",
        "txnAmt",
    ];
    said.echo(&txn.asked, &names);
    said.set("queryId", txn.query_id.clone());
    settled(&mut said, &txn);
    if wire::sign(&me.keys, &mut said, false).is_none() {
        return HttpResponse::InternalServerError().finish();
    }
    let inputs: String = url::form_urlencoded::parse(said.form().as_bytes())
        .map(|(name, value)| {
            format!("<input type=\"hidden\" name=\"{}\" value=\"{}\">", escaped(&name), escaped(&value))
        })
        .collect();
    HttpResponse::Ok().content_type("text/html; charset=utf-8").body(format!(
        "<!doctype html><html lang=\"zh\"><meta charset=\"utf-8\"><title>返回商户</title>\
         <form id=\"back\" method=\"post\" action=\"{}\">{inputs}<button>返回商户</button></form>\
         <script>document.getElementById('back').submit()</script></html>",
        escaped(txn.asked.get("frontUrl")),
    ))
}

/// Where the cashier sends a browser back to when the merchant has no page of its own.
pub(crate) async fn returned() -> HttpResponse {
    HttpResponse::Ok().content_type("text/plain; charset=utf-8").body("可以关闭此页面")
}
