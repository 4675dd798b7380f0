//! A day's bills against our books, through the front door: every type of difference made by the sandbox, found, and
//! fixed by operators; bad files; a repeat; a crash in the middle.

#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

mod common;

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    process::{Command, Stdio},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use actix_web::{App, HttpServer, web};
use channels::registry;
use common::{BIN, House};
use serde_json::{Value, json};

const OPERATORS: &str = "[[operators]]\nname = \"maria\"\ntoken = \"maria-0123456789\"\nscopes = [\"read\", \"reconcile\"]\n\
                         [[operators]]\nname = \"chen\"\ntoken = \"chen-0123456789a\"\nscopes = [\"read\", \"reconcile\"]\n\
                         [[operators]]\nname = \"wei\"\ntoken = \"wei-0123456789ab\"\nscopes = [\"read\"]\n\
                         [reconciliation]\nfees = { wechat = 60, alipay = 60, unionpay = 60 }\n";
const API: &str = "/admin/v1/reconciliation";

fn beijing() -> jiff::Zoned {
    jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::fixed(jiff::tz::offset(8)))
}

/// Today's date on a channel's bill: UnionPay's day ends at 23:00.
fn today(channel: &str) -> String {
    let ahead = i64::from(channel == "unionpay" && beijing().hour() == 23);
    beijing().date().checked_add(jiff::Span::new().days(ahead)).unwrap().to_string()
}

async fn call(house: &House, who: &str, method: &str, path: &str, body: Value) -> (u16, Value) {
    let token = match who {
        "maria" => "maria-0123456789",
        "chen" => "chen-0123456789a",
        _ => "wei-0123456789ab",
    };
    let method = reqwest::Method::from_bytes(method.as_bytes()).unwrap();
    let call = house.http.request(method, format!("{}{path}", house.api)).bearer_auth(token);
    let call = if body.is_null() { call } else { call.json(&body) };
    let answer = call.send().await.unwrap();
    let status = answer.status().as_u16();
    let text = answer.text().await.unwrap();
    (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
}

async fn read(house: &House, path: &str) -> Value {
    call(house, "wei", "GET", &format!("{API}{path}"), Value::Null).await.1
}

/// Today's bills exist from now on.
async fn bill_today(house: &House) {
    let ended = house.http.post(format!("{}/_sandbox/end_day", house.control()));
    assert!(ended.body("{\"bills\": \"today\"}").send().await.unwrap().status().is_success());
}

async fn until_run(house: &House, channel: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    let until = Instant::now() + Duration::from_secs(60);
    loop {
        let found = read(house, &format!("/runs?channel={channel}&day={}", today(channel))).await;
        if found["runs"].get(0).is_some_and(&wanted) {
            return found["runs"][0].clone();
        }
        assert!(Instant::now() < until, "still {found:#}\n{}", house.log());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn reconciled(house: &House, channel: &str) -> Value {
    let body = json!({ "day": today(channel), "channel": channel });
    let (status, answer) = call(house, "maria", "POST", &format!("{API}/runs"), body).await;
    assert_eq!(status, 202, "{answer:#}");
    until_run(house, channel, |run| run["state"] == "done").await
}

/// An order that shows a credential, and its number at the channel.
async fn shown(house: &House, no: &str, channel: &str) -> (String, String, Value) {
    let shown = house.shown_over(no, channel).await;
    let id = shown["id"].as_str().unwrap().to_owned();
    (id.clone(), format!("{id}01"), shown)
}

async fn paid(house: &House, no: &str, channel: &str) -> (String, String) {
    let id = house.paid_over(no, channel).await;
    (id.clone(), format!("{id}01"))
}

/// A trade at WeChat that no order of ours knows.
async fn stranger(house: &House, number: &str) {
    let path = house.keys_folder().join("wechat/credentials.toml");
    let table: toml::Table = std::fs::read_to_string(path).unwrap().parse().unwrap();
    let mut options = serde_json::to_value(table).unwrap();
    options["notify_url"] = json!("http://127.0.0.1:9/notify/wechat");
    let wechat = registry::build(&BTreeMap::from([("wechat".to_owned(), options)])).unwrap().remove(0);
    let now = domain::Timestamp::from_secs(jiff::Timestamp::now().as_second());
    let ask = domain::channel::PrepayAsk {
        channel_order_no: domain::ChannelOrderNo::new(number).unwrap(),
        planned_at: now,
        amount: domain::Money::from_fen(700).unwrap(),
        description: "not ours".into(),
        scene: domain::Scene::Native,
        payer_id: "x".into(),
        account_type: "student".into(),
        openid: None,
        client_ip: None,
        expires_at: now.plus(Duration::from_secs(600)),
    };
    let domain::Answer::Accepted(Some(domain::Credential::Qr { code_url })) = wechat.prepay(&ask).await
    else {
        panic!("no credential");
    };
    let credential = json!({ "kind": "qr", "code_url": code_url });
    let body = json!({ "channel": "wechat", "credential": credential, "payer": "someone" });
    assert_eq!(house.sandbox_pay(&body).await.0, 200);
}

/// Somebody who is told of differences.
async fn operations() -> (String, Arc<Mutex<Vec<Value>>>) {
    let told: Arc<Mutex<Vec<Value>>> = Arc::default();
    let seen = told.clone();
    let server = HttpServer::new(move || {
        let seen = seen.clone();
        App::new().default_service(web::to(move |body: web::Bytes| {
            seen.lock().unwrap().push(serde_json::from_slice(&body).unwrap());
            async { "" }
        }))
    });
    let server = server.workers(1).disable_signals().bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}/hook", server.addrs()[0]);
    actix_web::rt::spawn(server.run());
    (address, told)
}

#[actix_web::test]
async fn every_type_of_difference_is_found_and_fixed_by_operators() {
    let (url, told) = operations().await;
    let house = House::start(&format!(
        "{OPERATORS}[service]\noperations_url = \"{url}\"\n[tuning]\nreconcile_second_above_fen = 1000\n"
    ))
    .await;
    let (_, dropped) = paid(&house, "R-dropped", "wechat").await;
    let (_, more) = paid(&house, "R-more", "wechat").await;
    let (_, reversed) = paid(&house, "R-reversed", "wechat").await;
    let (_, dear) = paid(&house, "R-dear", "wechat").await;
    let (with_refund, _) = paid(&house, "R-refund", "wechat").await;
    let refund = json!({ "refund_no": "1", "amount_fen": 850 });
    house.post(&format!("/v1/orders/{with_refund}/refunds"), &refund).await;
    let order = house.until(&with_refund, |o| o["net_captured_fen"] == 1000).await;
    assert_eq!(order["refunds"].as_array().unwrap().len(), 1, "{order:#}");
    let lost_refund = format!("{with_refund}r01");
    stranger(&house, "stranger-0001").await;
    // From here on WeChat tells nothing and answers no query: what is paid now is known from the bill alone.
    let (missed, missed_no, order) = shown(&house, "R-missed", "wechat").await;
    let (late, _, late_order) = shown(&house, "R-late", "wechat").await;
    let faults = |queries: bool| {
        let mut set = json!({
            "notify": { "lost": 1.0 },
            "bill": {
                "dropped": [dropped, lost_refund], "amounts": { (more.clone()): 1950 }, "fees": { (dear.clone()): 90 },
                "reversed": [reversed],
            },
        });
        if !queries {
            set["query_latency"] = json!({ "median_ms": 60_000.0, "p99_ms": 60_000.0 });
        }
        json!({ "wechat": set })
    };
    house.faults(&faults(false)).await;
    house.pay(&order).await;
    house.pay(&late_order).await;
    bill_today(&house).await;
    let run = reconciled(&house, "wechat").await;
    // Six trades of which one is reversed, the stranger, two missed ones; a dropped payment and a dropped refund.
    assert_eq!(run["lines"], 8, "{run:#}");

    let found = read(&house, "/differences").await;
    let all = found["differences"].as_array().unwrap();
    let find = |kind: &str, number: &str| {
        let one = all.iter().find(|d| d["kind"] == kind && d["number"] == number);
        one.unwrap_or_else(|| panic!("{kind} {number} in {found:#}")).clone()
    };
    let expected = [
        ("missing_at_channel", dropped.as_str(), "write_off", 1850),
        ("amount", &more, "refund", 100),
        ("state", &reversed, "write_off", 1850),
        ("fee", &dear, "write_off", 79),
        ("refund", &lost_refund, "refund", 850),
        ("missing_here", "stranger-0001", "refund", 700),
        ("state", &missed_no, "mark", 1850),
        ("state", &format!("{late}01"), "mark", 1850),
    ];
    for (kind, number, fix, fen) in expected {
        let one = find(kind, number);
        assert_eq!((one["fix"].as_str(), one["fix_fen"].as_i64()), (Some(fix), Some(fen)), "{one:#}");
        assert_eq!(one["state"], "open");
    }
    assert_eq!(all.len(), expected.len(), "{found:#}");

    let confirm = async |who: &str, difference: &Value, body: Value| {
        let path = format!("{API}/differences/{}/confirm", difference["id"]);
        call(&house, who, "POST", &path, body).await
    };
    let mark = find("state", &missed_no);
    let (status, refused) = confirm("wei", &mark, json!({})).await;
    assert!(status == 403 && refused["detail"].as_str().unwrap().contains("\"reconcile\""), "{refused:#}");
    // Above the amount two operators confirm the same fix; then the order hears what the bill says.
    let (status, once) = confirm("maria", &mark, json!({})).await;
    assert_eq!((status, &once["difference"]["state"]), (202, &json!("confirmed_once")), "{once:#}");
    assert_eq!(confirm("maria", &mark, json!({})).await.1["code"], "second_operator_needed");
    let (status, done) = confirm("chen", &mark, json!({})).await;
    assert_eq!((status, &done["difference"]["state"]), (200, &json!("fixed")), "{done:#}");
    house.until(&missed, |o| o["state"] == "success").await;
    assert_eq!(confirm("chen", &mark, json!({})).await.1["code"], "difference_not_open");
    // The stranger's money goes back under a number of its own.
    let (_, done) = confirm("maria", &find("missing_here", "stranger-0001"), json!({})).await;
    let refunded = until_difference(&house, &done["difference"]["id"], "fixed").await;
    assert!(refunded["refund_no"].as_str().unwrap().starts_with("rc"), "{refunded:#}");
    // A refund that the bill does not have is asked for again, and is the same one.
    let (_, done) = confirm("maria", &find("refund", &lost_refund), json!({})).await;
    until_difference(&house, &done["difference"]["id"], "fixed").await;
    // The channel refuses what it did not take: the fix failed, and somebody decides again.
    let surplus = find("amount", &more);
    confirm("maria", &surplus, json!({})).await;
    let again = until_difference(&house, &surplus["id"], "open").await;
    assert!(again["outcome"].as_str().unwrap().contains("refuses"), "{again:#}");
    let (status, refused) = confirm("maria", &surplus, json!({ "fix": "write_off" })).await;
    assert_eq!(status, 422, "a write-off needs a note: {refused:#}");
    for (kind, number) in
        [("amount", &more), ("fee", &dear), ("missing_at_channel", &dropped), ("state", &reversed)]
    {
        let body = json!({ "fix": "write_off", "note": "asked WeChat, ticket 7" });
        for who in ["maria", "chen"] {
            let (status, answer) = confirm(who, &find(kind, number), body.clone()).await;
            assert!(status < 300, "{answer:#}");
            if answer["difference"]["state"] == "written_off" {
                break;
            }
        }
    }
    // Queries are answered again, so the order learns by itself; the prepared fix does not apply any more.
    house.faults(&faults(true)).await;
    house.until(&late, |o| o["state"] == "success").await;
    let (status, stale) = confirm("maria", &find("state", &format!("{late}01")), json!({})).await;
    assert_eq!((status, &stale["code"]), (409, &json!("fix_stale")), "{stale:#}");
    assert!(stale["detail"].as_str().unwrap().contains("is success"), "{stale:#}");

    assert_eq!(read(&house, "/differences?state=live").await["differences"], json!([]));
    let acts = read(&house, &format!("/differences/{}", mark["id"])).await;
    let by: Vec<&str> = acts["acts"].as_array().unwrap().iter().filter_map(|a| a["by"].as_str()).collect();
    assert_eq!(by, ["maria", "chen", "reconciliation"], "{acts:#}");
    let csv = read(&house, "/differences.csv").await;
    assert_eq!(csv.as_str().unwrap().lines().count(), 1 + expected.len());
    let page = house.http.get(format!("{}/reconciliation", house.api)).send().await.unwrap();
    assert!(page.status().is_success() && page.text().await.unwrap().contains("<h1>Reconciliation</h1>"));
    let (_, metrics) = house.get("/metrics").await;
    assert!(
        metrics
            .as_str()
            .unwrap()
            .contains("rushpay_reconciliation_differences{channel=\"wechat\",kind=\"state\"} 0")
    );
    let told = told.lock().unwrap().clone();
    // It says what was open when it was sent, a moment after the day was matched.
    assert_eq!(told.len(), 1, "{told:#?}");
    let kinds = &told[0]["data"]["kinds"];
    assert_eq!(
        (&told[0]["type"], &kinds["fee"]),
        (&json!("reconciliation.differences"), &json!(1)),
        "{told:#?}"
    );

    // The same day again changes nothing and says so, at the service and on the command line.
    let before = read(&house, "/differences").await["differences"].clone();
    let again = reconciled(&house, "wechat").await;
    assert_eq!(again["ended_at"], run["ended_at"]);
    let day = today("wechat");
    let keys = house.keys_folder();
    let command =
        ["reconcile", "--date", &day, "--channel", "wechat", "--sandbox-keys", keys.to_str().unwrap()];
    let (code, out, err) = house.command(&command);
    assert!(code == 0 && out.contains("nothing changed"), "{code} {out} {err}");
    assert_eq!(read(&house, "/differences").await["differences"], before);
    let (code, out, _) = house.command(&["audit", "--sandbox", &house.control()]);
    assert_eq!(code, 0, "{out}");
}

async fn until_difference(house: &House, id: &Value, state: &str) -> Value {
    let until = Instant::now() + Duration::from_secs(30);
    loop {
        let found = read(house, &format!("/differences/{id}")).await;
        if found["difference"]["state"] == state {
            return found["difference"].clone();
        }
        assert!(Instant::now() < until, "still {found:#}\n{}", house.log());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[actix_web::test]
async fn a_days_payments_and_refunds_agree_on_every_channel_and_the_command_says_so() {
    let house = House::start(OPERATORS).await;
    for channel in registry::names() {
        let (id, _) = paid(&house, &format!("A-{channel}"), channel).await;
        let refund = json!({ "refund_no": channel, "amount_fen": 850 });
        house.post(&format!("/v1/orders/{id}/refunds"), &refund).await;
        house.until(&id, |o| o["net_captured_fen"] == 1000).await;
    }
    bill_today(&house).await;
    let keys = house.keys_folder();
    for channel in registry::names() {
        let day = today(channel);
        let command = [
            "reconcile",
            "--date",
            &day,
            "--channel",
            channel,
            "--json",
            "--sandbox-keys",
            keys.to_str().unwrap(),
        ];
        let (code, out, err) = house.command(&command);
        let report: Value = serde_json::from_str(&out).unwrap_or_else(|e| panic!("{e}: {out} {err}"));
        assert_eq!((code, &report["differences"]), (0, &json!([])), "{channel}: {report:#} {err}");
        let run = &report["runs"][0]["run"];
        assert_eq!(
            (&run["lines"], &run["paid_fen"], &run["refunded_fen"]),
            (&json!(2), &json!(1850), &json!(850))
        );
    }
}

#[actix_web::test]
async fn a_bad_bill_is_refused_with_its_line_and_leaves_nothing_behind() {
    let house = House::start(OPERATORS).await;
    for channel in registry::names() {
        paid(&house, &format!("B-{channel}"), channel).await;
    }
    bill_today(&house).await;
    let body = |channel: &str| json!({ "day": today(channel), "channel": channel });
    for (channel, fault, problem) in [
        ("wechat", json!({ "truncated": true }), "not what the channel signed"),
        ("wechat", json!({ "wrong_hash": true }), "not what the channel signed"),
        ("wechat", json!({ "not_ready": true }), "not ready"),
        ("alipay", json!({ "truncated": true }), "not a whole ZIP file"),
        ("unionpay", json!({ "truncated": true }), "line 1"),
        ("campus_card", json!({ "truncated": true }), "cut off"),
    ] {
        house.faults(&json!({ channel: { "bill": fault } })).await;
        let (status, answer) = call(&house, "maria", "POST", &format!("{API}/runs"), body(channel)).await;
        assert_eq!(status, 202, "{answer:#}");
        let says = |run: &Value| run["problem"].as_str().is_some_and(|p| p.contains(problem));
        let run = until_run(&house, channel, says).await;
        assert_eq!((&run["state"], &run["lines_imported"]), (&json!("waiting"), &json!(0)), "{run:#}");
    }
    // A file that an operator brings, with a column that nobody knows.
    let bill = house.dir.path().join("bill.csv");
    std::fs::write(&bill, "交易时间,公众账号ID,天气\n`2026-01-01,`x,`sunny\n").unwrap();
    let (day, keys) = (today("wechat"), house.keys_folder());
    let command = [
        "reconcile",
        "--date",
        &day,
        "--channel",
        "wechat",
        "--sandbox-keys",
        keys.to_str().unwrap(),
        "--file",
        bill.to_str().unwrap(),
    ];
    let (code, out, err) = house.command(&command);
    assert!(code == 1 && err.contains("line 1") && err.contains("天气"), "{code} {out} {err}");
    // Once the bills are whole, the same days go through; another file for a day that is done is refused.
    house
        .faults(
            &registry::names()
                .map(|name| (name, json!({})))
                .collect::<BTreeMap<_, _>>()
                .into_iter()
                .collect::<Value>(),
        )
        .await;
    for channel in registry::names() {
        let run = reconciled(&house, channel).await;
        assert_eq!((&run["lines"], &run["problem"]), (&json!(1), &Value::Null), "{run:#}");
    }
    let (code, _, err) = house.command(&command);
    assert!(
        code == 1 && err.contains("with another file") && err.contains("nothing changed"),
        "{code} {err}"
    );
    assert_eq!(read(&house, "/differences").await["differences"], json!([]));
}

#[actix_web::test]
async fn an_import_that_is_killed_goes_on_where_it_stopped() {
    const LINES: usize = 30_000;
    let house = House::start(OPERATORS).await;
    let table = std::fs::read_to_string(house.keys_folder().join("wechat/credentials.toml")).unwrap();
    let table: toml::Table = table.parse().unwrap();
    let mchid = table["mchid"].as_str().unwrap();
    let mut text = String::from(
        "交易时间,公众账号ID,商户号,特约商户号,设备号,微信订单号,商户订单号,用户标识,交易类型,交易状态,付款银行,货币种类,应结订单金额,代金券金额,微信退款单号,商户退款单号,退款金额,充值券退款金额,退款类型,退款状态,商品名称,商户数据包,手续费,费率,订单金额,申请退款金额,费率备注\n",
    );
    let day = today("wechat");
    for n in 0..LINES {
        writeln!(text, "`{day} 00:30:00,`wx,`{mchid},`0,`,`42{n:026},`n{n:09},`o,`NATIVE,`SUCCESS,`OTHERS,`CNY,`1.00,`0.00,`0,`0,`0.00,`0.00,`,`,`x,`,`0.01000,`0.60%,`1.00,`0.00,`").unwrap();
    }
    let total = format!("{LINES}.00");
    writeln!(text, "总交易单数,应结订单总金额,退款总金额,充值券退款总金额,手续费总金额,订单总金额,申请退款总金额\n`{LINES},`{total},`0.00,`0.00,`0.00,`{total},`0.00").unwrap();
    let bill = house.dir.path().join("bill.csv");
    std::fs::write(&bill, text).unwrap();
    let config = house.dir.path().join("test.toml");
    let keys = house.keys_folder();
    let command = || {
        let mut command = Command::new(BIN);
        command.args(["reconcile", "--quiet", "--date", &day, "--channel", "wechat", "--csv", "-"]);
        command.arg("--sandbox-keys").arg(&keys).arg("--file").arg(&bill).arg("--config").arg(&config);
        command.current_dir(house.dir.path());
        command
    };
    let mut killed = command().stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let run = until_run(&house, "wechat", |run| run["lines_imported"].as_i64() > Some(2_000)).await;
    killed.kill().unwrap(); // SIGKILL
    killed.wait().unwrap();
    assert_eq!(run["state"], "importing", "killed in the middle: {run:#}");
    assert_eq!(read(&house, "/differences").await["differences"], json!([]), "nothing is seen of half a run");
    let (code, out, err) = common::output(command());
    assert_eq!(code, 1, "there are differences: {err}");
    assert_eq!(out.lines().count(), 1 + LINES, "a line each, none twice");
    let run = until_run(&house, "wechat", |run| run["state"] == "done").await;
    assert_eq!((&run["lines"], &run["numbers_matched"]), (&json!(LINES), &json!(LINES)), "{run:#}");
}
