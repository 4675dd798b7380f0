//! How long a day of a million payments takes to import and match, and how much memory:
//! `cargo run --release -p actors --example million_lines [-- LINES]`.
//!
//! Makes a store with so many paid orders and WeChat Pay's bill of that day (a gzip file in the channel's own format),
//! then a second process of itself reconciles, so that the peak it reports is reconciliation's alone. A thousandth of
//! the lines differ, and the count must come out exactly.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::indexing_slicing,
    reason = "an example that measures"
)]

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs,
    io::Write as _,
    path::Path,
    process::{Command, ExitCode},
    sync::Arc,
    time::Instant,
};

use actors::{
    SystemClock,
    reconciliation::{Progress, Reconciliation, ReconciliationOptions, Worked},
};
use domain::{
    Answer, AttemptNo, Capture, ChannelId, ChannelKind, Credential, Evidence, EvidenceSource, Found,
    MerchantId, Money, OrderId, Scene, Timestamp,
    order::{Event, OrderRequest, Payer, Rules, accept, decide},
    reconciliation::DifferenceState,
    routing::Choice,
};
use flate2::{Compression, write::GzEncoder};
use serde_json::json;
use store::{
    Bills as _, Cause, DifferenceFilter, Entry, OrderCommit, SqliteOptions, SqliteStore, Store as _,
};

const DAY: &str = "2026-11-23";
/// Its first moment at Beijing.
const MIDNIGHT: i64 = 1_795_363_200;
/// Every so many-th line has another amount.
const WRONG_EVERY: usize = 1_000;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().collect();
    if let [_, flag, dir] = args.as_slice()
        && flag == "--reconcile"
    {
        return reconcile(Path::new(dir)).await;
    }
    let lines: usize = args.get(1).map_or(1_000_000, |n| n.parse().expect("LINES is a number"));
    let dir = tempfile::tempdir().unwrap();
    let started = Instant::now();
    make(dir.path(), lines).await;
    println!("{lines} orders and their bill were made in {:.1} s", started.elapsed().as_secs_f64());
    let myself = std::env::current_exe().unwrap();
    let status = Command::new(myself).arg("--reconcile").arg(dir.path()).status().unwrap();
    if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn paid(n: usize) -> (OrderId, i64, Timestamp) {
    let at = MIDNIGHT + i64::try_from(n % 86_000).unwrap();
    let bits =
        (u128::try_from(at * 1_000).unwrap() << 80) | 0x7000_8000_0000_0000_0000 | u128::try_from(n).unwrap();
    (OrderId::from_u128(bits), 800 + i64::try_from(n % 2_500).unwrap(), Timestamp::from_secs(at + 20))
}

async fn make(dir: &Path, lines: usize) {
    let store = SqliteStore::open(&dir.join("rushpay.db"), &SqliteOptions::default()).await.unwrap();
    let mut bill = GzEncoder::new(fs::File::create(dir.join("bill.gz")).unwrap(), Compression::fast());
    bill.write_all("\u{feff}交易时间,公众账号ID,商户号,特约商户号,设备号,微信订单号,商户订单号,用户标识,交易类型,交易状态,付款银行,货币种类,应结订单金额,代金券金额,微信退款单号,商户退款单号,退款金额,充值券退款金额,退款类型,退款状态,商品名称,商户数据包,手续费,费率,订单金额,申请退款金额,费率备注\r\n".as_bytes()).unwrap();
    let (mut sum, mut group, mut row) = (0, Vec::new(), String::new());
    for n in 0..lines {
        let (id, fen, at) = paid(n);
        let number = id.channel_order_no(AttemptNo::new(1).unwrap());
        let trade_no = format!("4200000000{DAY}{n:014}").replace('-', "");
        group.push(order(id, n, fen, &trade_no, at));
        if group.len() == 500 || n + 1 == lines {
            let appended = store.append(std::mem::take(&mut group)).await;
            assert!(appended.iter().all(Result::is_ok));
        }
        let billed = if n % WRONG_EVERY == 7 { fen + 1 } else { fen };
        sum += billed;
        let time = (n % 86_000) + 20;
        let (yuan, fee) = (format!("{}.{:02}", billed / 100, billed % 100), (billed * 6 + 500) / 1_000);
        row.clear();
        write!(row, "`{DAY} {:02}:{:02}:{:02},`wx0000000000000001,`1900000001,`0,`,`{trade_no},`{number},`oSANDBOX{n:020},`NATIVE,`SUCCESS,`OTHERS,`CNY,`{yuan},`0.00,`0,`0,`0.00,`0.00,`,`,`Beef noodles,`,`0.{fee:02}000,`0.60%,`{yuan},`0.00,`\r\n", time / 3600, time / 60 % 60, time % 60).unwrap();
        bill.write_all(row.as_bytes()).unwrap();
    }
    let total = format!("{}.{:02}", sum / 100, sum % 100);
    write!(bill, "总交易单数,应结订单总金额,退款总金额,充值券退款总金额,手续费总金额,订单总金额,申请退款总金额\r\n`{lines},`{total},`0.00,`0.00,`0.00000,`{total},`0.00\r\n").unwrap();
    bill.finish().unwrap();
    let pem = keys::generate_rsa_pem(2048).unwrap();
    fs::write(dir.join("key.pem"), &pem).unwrap();
    fs::write(dir.join("public.pem"), keys::public_key_pem(&pem).unwrap()).unwrap();
    let closed = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    fs::set_permissions(dir.join("key.pem"), closed).unwrap();
}

/// A paid order in one commit.
fn order(id: OrderId, n: usize, fen: i64, trade_no: &str, at: Timestamp) -> Entry {
    let wechat = ChannelId::new("wechat").unwrap();
    let begun = Timestamp::from_secs(at.secs() - 20);
    let request = OrderRequest {
        order_no: format!("C{n}"),
        merchant_id: MerchantId::new("canteen-3").unwrap(),
        amount: Money::from_fen(fen).unwrap(),
        description: "Beef noodles".into(),
        payer: Payer {
            id: format!("stu-{n}"),
            account_type: "student".into(),
            openid: None,
            accounts: BTreeMap::new(),
            client_ip: None,
        },
        scene: Scene::Native,
        channels: Vec::new(),
        consents: Vec::new(),
        notify_url: None,
        keep_late: false,
        part_of: None,
        expires_at: Timestamp::from_secs(at.secs() + 880),
    };
    let no = AttemptNo::new(1).unwrap();
    let choice = Choice::Use {
        channel: wechat,
        kind: ChannelKind::Credential,
        reason: "best".into(),
        hedge_at_once: false,
    };
    let qr = Answer::Accepted(Some(Credential::Qr { code_url: "weixin://x".into() }));
    let capture = Capture { amount: Money::from_fen(fen).unwrap(), trade_no: trade_no.to_owned(), at };
    let evidence = Evidence {
        source: EvidenceSource::Notification,
        reference: "made".into(),
        found: Found::Captured(capture),
    };
    let events = [
        Event::Routed(choice),
        Event::Prepaid { no, answer: qr, only_call: true },
        Event::Found { no, evidence },
    ];
    let first = accept(id, Arc::new(request), begun);
    let (mut facts, mut next) = (first.facts, first.next);
    for event in events {
        let decision = decide(&next, &event, begun, &Rules::default()).unwrap();
        facts.extend(decision.facts);
        next = decision.next;
    }
    next.version = 1;
    Entry::Order(Box::new(OrderCommit {
        cause: Cause::new("made", "example", ""),
        at,
        body_hash: Some(String::new()),
        facts,
        before_version: 0,
        next: Arc::new(next),
        outbox: Vec::new(),
    }))
}

async fn reconcile(dir: &Path) -> ExitCode {
    let _first_of_this_process = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let options = json!({
        "base_url": "http://127.0.0.1:9", "mchid": "1900000001", "appid": "wx0000000000000001",
        "merchant_serial": "0CAFE0", "merchant_key": dir.join("key.pem"),
        "apiv3_key": "01234567890123456789012345678901", "public_key_id": "PUB_KEY_ID_1",
        "public_key": dir.join("public.pem"), "notify_url": "http://127.0.0.1:9/notify/wechat",
    });
    let channels = channels::registry::build(&[("wechat".to_owned(), options)].into()).unwrap();
    let started = Instant::now();
    let store =
        Arc::new(SqliteStore::open(&dir.join("rushpay.db"), &SqliteOptions::default()).await.unwrap());
    println!("  {:6.1} s  store opened", started.elapsed().as_secs_f64());
    let options = ReconciliationOptions { folder: dir.join("bills"), ..ReconciliationOptions::default() };
    let work = Reconciliation::new(store.clone(), &channels, Arc::new(SystemClock), &options);
    let run = work.want("wechat", DAY.parse().unwrap(), "example").await.unwrap();
    let phase = std::sync::Mutex::new(None);
    let show = |progress: Progress| {
        let mut phase = phase.lock().unwrap();
        if phase.replace(progress.phase) != Some(progress.phase) {
            println!("  {:6.1} s  {}", started.elapsed().as_secs_f64(), progress.phase.as_str());
        }
    };
    let worked = work.work_on_file(&run, &dir.join("bill.gz"), &show).await.unwrap();
    let took = started.elapsed().as_secs_f64();
    let Worked::Done(run) = worked else { panic!("{worked:?}") };
    let open = DifferenceFilter {
        states: vec![DifferenceState::Open],
        limit: usize::MAX >> 1,
        ..DifferenceFilter::default()
    };
    let found = store.differences_list(&open).await.unwrap().len();
    let expected = (0..usize::try_from(run.lines).unwrap()).filter(|n| n % WRONG_EVERY == 7).count();
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or("?").trim();
    println!(
        "  {took:6.1} s  done: {} lines, {} numbers compared, {found} differences, peak memory {peak}",
        run.lines, run.matched
    );
    if found == expected { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
