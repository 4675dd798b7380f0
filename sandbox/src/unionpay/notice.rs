//! Back notifications: only successes, five deliveries at most, any `200` takes one (protocol section 7).

use std::sync::Arc;

use super::{NAME, UnionPay, fields::Fields, ledger::Txn, operations::settled, wire};
use crate::notify::{Delivery, Look, Signed, deliver};

/// Pauses before the repeats, seconds.
const SCHEDULE: [u64; 4] = [60, 120, 240, 300];

/// A payment, a refund or an undo was done.
pub(crate) fn done(me: &Arc<UnionPay>, txn: Txn) {
    let url = txn.asked.get("backUrl").to_owned();
    if url.is_empty() {
        return;
    }
    let world = Arc::clone(&me.world);
    let event = format!("{} {}", txn.asked.get("txnType"), txn.no());
    let fate = world.faults_of(NAME).notify_fate(world.seed, NAME, txn.no(), &event);
    let me = Arc::clone(me);
    let sign = Arc::new(move |look| make(&me, &txn, look));
    deliver(world, Delivery { channel: NAME, url, fate, schedule: &SCHEDULE, wants: None, sign });
}

fn make(me: &UnionPay, txn: &Txn, look: Look) -> Option<Signed> {
    let mut said = Fields::from([("currencyCode", "156"), ("respCode", "00"), ("respMsg", "成功[0000000]")]);
    said.echo(
        &txn.asked,
        &[
            "version",
            "encoding",
            "bizType",
            "txnType",
            "txnSubType",
            "accessType",
            "merId",
            "orderId",
            "txnTime",
            "reqReserved",
        ],
    );
    said.set("txnAmt", (txn.amount + i64::from(look == Look::WrongAmount)).to_string());
    said.set("queryId", txn.query_id.clone());
    said.set("traceNo", txn.trace_no.clone());
    said.set("origQryId", txn.original.clone().unwrap_or_default());
    settled(&mut said, txn);
    wire::sign(&me.keys, &mut said, look == Look::Forged)?;
    let kind = "application/x-www-form-urlencoded;charset=UTF-8";
    Some(Signed {
        headers: vec![("Content-Type".to_owned(), kind.to_owned())],
        body: said.form().into_bytes(),
    })
}
