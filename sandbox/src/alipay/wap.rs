//! The cashier page of `alipay.trade.wap.pay`: opening it makes the trade, its buttons pay or leave (section 3.2).

use actix_web::{HttpResponse, web};
use serde::Deserialize;
use serde_json::Value;

use super::{
    Alipay,
    form::Params,
    pay,
    refusal::Refusal,
    text,
    trade::{self, Product, Trade},
    wire::{self, Call},
};
use crate::{html::escaped, payer::Outcome};

/// The method that opens it.
pub(crate) const METHOD: &str = "alipay.trade.wap.pay";

/// Makes the trade that the browser asked for.
pub(crate) fn make(me: &Alipay, call: &Call) -> Result<Trade, Refusal> {
    if call.method != METHOD {
        return Err(Refusal::invalid("isv.invalid-method", "不是收银台方法"));
    }
    if call.biz.get("product_code").and_then(Value::as_str) != Some("QUICK_WAP_WAY") {
        return Err(Refusal::parameter("product_code", "应为QUICK_WAP_WAY"));
    }
    trade::make(me, call, Product::Wap)
}

/// The page.
pub(crate) fn open(me: &Alipay, call: &Call) -> Result<HttpResponse, Refusal> {
    let trade = make(me, call)?;
    let page = format!(
        "<!doctype html><html lang=\"zh\"><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width\"><title>沙箱收银台</title>\
         <style>body{{font:16px sans-serif;margin:2em auto;max-width:22em;text-align:center}}\
         b{{display:block;font-size:2em;margin:.5em}}button{{font-size:1em;padding:.6em 1.4em;margin:.3em}}</style>\
         <p>支付宝沙箱收银台（不产生真实扣款）</p><p>{}</p><b>¥{}</b>\
         <form method=\"post\" action=\"/cashier/{}\">\
         <button name=\"do\" value=\"pay\">付款</button><button name=\"do\" value=\"fail\">余额不足</button>\
         <button name=\"do\" value=\"cancel\">取消</button></form></html>",
        escaped(&trade.subject),
        text::yuan(trade.total),
        trade.trade_no,
    );
    Ok(HttpResponse::Ok().content_type("text/html; charset=utf-8").body(page))
}

/// A button of the page.
#[derive(Deserialize)]
pub(crate) struct Pressed {
    r#do: String,
}

/// A button was pressed: back to the merchant, whose page asks how the trade stands.
pub(crate) async fn act(
    me: web::Data<Alipay>,
    trade_no: web::Path<String>,
    pressed: web::Form<Pressed>,
) -> HttpResponse {
    let me = me.into_inner();
    let now = me.world.clock.now();
    let Some(trade) = me.ledger.lock().by_credential(&trade_no, now).cloned() else {
        return HttpResponse::NotFound().body("没有这笔交易");
    };
    let outcome = match pressed.r#do.as_str() {
        "pay" => pay(&me, &Value::from(trade.trade_no.clone()), "", false),
        _ => Outcome::Refused("left"),
    };
    match return_address(&me, &trade) {
        Some(address) => HttpResponse::Found().insert_header(("Location", address)).finish(),
        None => HttpResponse::Ok().body(match outcome {
            Outcome::Paid { .. } => "已付款，可以返回商家页面",
            Outcome::Refused(_) => "未付款，可以返回商家页面",
        }),
    }
}

/// `return_url` with the signed parameters behind it; it proves no payment.
fn return_address(me: &Alipay, trade: &Trade) -> Option<String> {
    let mut params: Params = [
        ("app_id", trade.app_id.clone()),
        ("auth_app_id", trade.app_id.clone()),
        ("charset", "utf-8".to_owned()),
        ("method", "alipay.trade.wap.pay.return".to_owned()),
        ("out_trade_no", trade.no.clone()),
        ("seller_id", me.keys.seller_id.clone()),
        ("sign_type", "RSA2".to_owned()),
        ("timestamp", text::time(me.world.clock.now())),
        ("total_amount", text::yuan(trade.total)),
        ("trade_no", trade.trade_no.clone()),
        ("version", "1.0".to_owned()),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), value))
    .collect();
    let signed = wire::string_to_sign(&params, &["sign", "sign_type"]);
    params.insert("sign".to_owned(), wire::sign(&me.keys, signed.as_bytes(), false)?);
    let mut address = url::Url::parse(trade.return_url.as_deref()?).ok()?;
    address.query_pairs_mut().extend_pairs(&params);
    Some(address.into())
}
