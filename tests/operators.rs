//! Operators with tokens and scopes, as the admin API meets them.

#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

mod common;

use common::House;
use serde_json::{Value, json};

const OPERATORS: &str = "[[operators]]\nname = \"maria\"\ntoken = \"maria-0123456789\"\nscopes = [\"read\", \"tune\"]\n\
                         [[operators]]\nname = \"chen\"\ntoken = \"chen-0123456789a\"\nscopes = [\"channels\"]\n";

#[actix_web::test]
async fn acts_need_their_scope_and_are_kept_under_a_name() {
    let house = House::start(OPERATORS).await;
    let call = async |method: reqwest::Method, path: &str, token: &str, body: Value| {
        let call = house.http.request(method, format!("{}{path}", house.api)).bearer_auth(token);
        let answer = call.json(&body).send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    };
    let tuning = "/admin/v1/tuning";
    // Nobody without a token, not even from this machine.
    assert_eq!(house.get(tuning).await.0, 401);
    assert_eq!(call(reqwest::Method::GET, tuning, "maria", Value::Null).await.0, 401);
    assert_eq!(call(reqwest::Method::GET, tuning, "maria-0123456789", Value::Null).await.0, 200);
    let (status, body) = call(reqwest::Method::GET, tuning, "chen-0123456789a", Value::Null).await;
    assert!(status == 403 && body.contains("\\\"read\\\""), "{status} {body}");

    let faster = json!({ "hedge_after_ms": 600 });
    let (status, body) = call(reqwest::Method::PATCH, tuning, "chen-0123456789a", faster.clone()).await;
    assert!(
        status == 403 && body.contains("scope_missing") && body.contains("\\\"tune\\\""),
        "{status} {body}"
    );
    assert_eq!(call(reqwest::Method::PATCH, tuning, "maria-0123456789", faster).await.0, 200);
    let out = json!({ "disabled": true });
    let wechat = "/admin/v1/channels/wechat";
    assert_eq!(call(reqwest::Method::PATCH, wechat, "maria-0123456789", out.clone()).await.0, 403);
    assert_eq!(call(reqwest::Method::PATCH, wechat, "chen-0123456789a", out).await.0, 200);

    let log = house.log();
    for name in ["operator=\"maria\"", "operator=\"chen\""] {
        assert!(log.contains(name), "{name} in {log}");
    }
    assert!(!log.contains("0123456789"), "no token in the log");
}
