//! Every channel's bill, fetched and read by its adapter from the sandbox that wrote it.

#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

mod common;

use std::collections::BTreeMap;

use channels::{BillKind, registry};
use common::House;
use serde_json::{Value, json};

/// The channels of the house's sandbox, as the service builds them.
fn adapters(house: &House) -> Vec<std::sync::Arc<dyn channels::Channel>> {
    let configured: BTreeMap<String, Value> = registry::names()
        .map(|name| {
            let path = house.keys_folder().join(name).join("credentials.toml");
            let table: toml::Table = std::fs::read_to_string(path).unwrap().parse().unwrap();
            let mut options = serde_json::to_value(table).unwrap();
            options["notify_url"] = json!(format!("http://127.0.0.1:9/notify/{name}"));
            (name.to_owned(), options)
        })
        .collect();
    registry::build(&configured).unwrap()
}

#[actix_web::test]
async fn a_days_payment_and_refund_stand_on_every_channels_bill() {
    let house = House::start("").await;
    for channel in registry::names() {
        let id = &house.paid_over(&format!("B-{channel}"), channel).await;
        house
            .post(&format!("/v1/orders/{id}/refunds"), &json!({ "refund_no": channel, "amount_fen": 850 }))
            .await;
        house.until(id, |o| o["net_captured_fen"] == 1000).await;
    }
    let ended = house.http.post(format!("{}/_sandbox/end_day", house.control())).body("{}").send().await;
    assert!(ended.unwrap().status().is_success());
    let beijing = jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::fixed(jiff::tz::offset(8)));
    for channel in adapters(&house) {
        let name = channel.profile().id.to_string();
        // UnionPay's day ends at 23:00, and its command-ended day belongs to the settlement day before.
        let ahead = i64::from(name == "unionpay" && beijing.hour() == 23);
        let day = beijing.date().checked_add(jiff::Span::new().days(ahead - 1)).unwrap();
        if name == "campus_card" && beijing.hour() < 2 {
            continue; // its statement of yesterday is made at two
        }
        let file = channel.bill(day).await.unwrap_or_else(|e| panic!("{name} {day}: {e}"));
        let mut lines = Vec::new();
        channel
            .read_bill(day, &mut std::io::Cursor::new(file), &mut |line| lines.push(line))
            .unwrap_or_else(|e| panic!("{name}: {e}"));
        let sum = |kind| lines.iter().filter(|l| l.kind == kind).map(|l| l.amount.fen()).sum::<i64>();
        assert_eq!((sum(BillKind::Payment), sum(BillKind::Refund)), (1850, 850), "{name}: {lines:#?}");
    }
}
