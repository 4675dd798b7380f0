//! Notifications: a signed form, taken only by the answer `success`, repeated seven times over a day (section 5).

use std::sync::Arc;

use serde_json::{Value, json};

use super::{
    Alipay, NAME,
    form::Params,
    text,
    trade::{State, Trade},
    wire,
};
use crate::notify::{Delivery, Look, Signed, deliver};

/// Pauses before the repeats, seconds.
const SCHEDULE: [u64; 7] = [240, 600, 600, 3_600, 7_200, 21_600, 54_000];

/// The payer paid.
pub(crate) fn paid(me: &Arc<Alipay>, trade: Trade) {
    send(me, trade, "paid".to_owned(), None);
}

/// A refund was made; in full it closes the trade.
pub(crate) fn refunded(me: &Arc<Alipay>, trade: Trade, refund_no: &str) {
    send(me, trade, format!("refund {refund_no}"), Some(refund_no.to_owned()));
}

fn send(me: &Arc<Alipay>, trade: Trade, event: String, refund_no: Option<String>) {
    let Some(url) = trade.notify_url.clone() else { return };
    let world = Arc::clone(&me.world);
    let fate = world.faults_of(NAME).notify_fate(world.seed, NAME, &trade.no, &event);
    let (me, id) = (Arc::clone(me), crate::world::nonce());
    let sign = move |look| make(&me, &trade, refund_no.as_deref(), &id, look);
    let delivery = Delivery {
        channel: NAME,
        url,
        fate,
        schedule: &SCHEDULE,
        wants: Some("success"),
        sign: Arc::new(sign),
    };
    deliver(world, delivery);
}

fn make(me: &Alipay, trade: &Trade, refund_no: Option<&str>, id: &str, look: Look) -> Option<Signed> {
    let State::Paid(paid) = &trade.state else { return None };
    let total = text::yuan(trade.total + i64::from(look == Look::WrongAmount));
    let funds = json!([{ "fundChannel": paid.fund, "amount": total }]).to_string();
    let optional = |name: &str| trade.asked.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let mut params: Params = [
        ("notify_time", text::time(me.world.clock.now())),
        ("notify_type", "trade_status_sync".to_owned()),
        ("notify_id", id.to_owned()),
        ("app_id", trade.app_id.clone()),
        ("auth_app_id", trade.app_id.clone()),
        ("charset", "utf-8".to_owned()),
        ("version", "1.0".to_owned()),
        ("sign_type", "RSA2".to_owned()),
        ("trade_no", trade.trade_no.clone()),
        ("out_trade_no", trade.no.clone()),
        ("buyer_id", paid.buyer.clone()),
        ("seller_id", me.keys.seller_id.clone()),
        ("trade_status", trade.status().to_owned()),
        ("total_amount", total.clone()),
        ("receipt_amount", total.clone()),
        ("invoice_amount", total.clone()),
        ("buyer_pay_amount", total),
        ("point_amount", "0.00".to_owned()),
        ("subject", trade.subject.clone()),
        ("body", optional("body")),
        ("passback_params", optional("passback_params")),
        ("gmt_create", text::time(trade.created_at)),
        ("gmt_payment", text::time(paid.at)),
        ("fund_bill_list", funds),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), value))
    .collect();
    if let Some(refund) = refund_no.and_then(|no| trade.refunds.iter().find(|r| r.no == no)) {
        params.insert("out_biz_no".to_owned(), refund.no.clone());
        params.insert("refund_fee".to_owned(), text::yuan(trade.refunded()));
        params.insert("gmt_refund".to_owned(), format!("{}.000", text::time(refund.at)));
        if trade.status() == "TRADE_CLOSED" {
            params.insert("gmt_close".to_owned(), text::time(refund.at));
        }
    }
    params.retain(|_, value| !value.is_empty());
    // `alipay_cert_sn` is left out even in certificate mode: whether it is signed divides the clients, and without it
    // all of them take the certificate they have.
    let signed = wire::string_to_sign(&params, &["sign", "sign_type", "alipay_cert_sn"]);
    params.insert("sign".to_owned(), wire::sign(&me.keys, signed.as_bytes(), look == Look::Forged)?);
    let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(&params).finish();
    let kind = "application/x-www-form-urlencoded; charset=utf-8";
    Some(Signed { headers: vec![("Content-Type".to_owned(), kind.to_owned())], body: body.into_bytes() })
}
