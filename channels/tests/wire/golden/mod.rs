//! One sample of every message, both ways: what we send, what the channel answers, how we read it, and how we read the
//! same bytes with a spoilt signature.
//!
//! Keys, clock and numbers are fixed, so every sample is a file that a person can read beside the protocol page:
//! `golden/CHANNEL/MESSAGE.txt`. What is random (nonces, and the signatures over them) is checked and then masked.
//! `GOLDEN=write cargo test -p channels --test wire golden` writes the files anew; read the difference before keeping it.

mod alipay;
mod any_bytes;
mod campus_card;
mod complete;
mod unionpay;
mod wechat;

use std::{
    collections::BTreeSet,
    fmt::Debug,
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use channels::{Channel, Clock, NotificationCall, Verdict};
use domain::Timestamp;
use keys::{Signer as _, reference::ReferenceSigner};

use crate::server::{Reply, Request, Server};

/// Ten seconds after the trade of the samples was planned.
const NOW: i64 = 1_767_225_610;
const OURS: &str = include_str!("keys/ours.pem");
const THEIRS: &str = include_str!("keys/theirs.pem");

fn clock() -> Clock {
    Arc::new(|| Timestamp::from_secs(NOW))
}

fn write(dir: &Path, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
    let path = dir.join(name);
    fs::write(&path, bytes).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    path
}

/// The channel's own signature, by the reference body, in base64.
fn signed_by_them(message: &[u8]) -> String {
    STANDARD.encode(ReferenceSigner::from_pem(THEIRS).unwrap().sign(message).unwrap())
}

/// Another signature of the same form: one character differs.
fn spoilt(signature: &str) -> String {
    let other = if signature.as_bytes()[7] == b'a' { "b" } else { "a" };
    format!("{}{other}{}", &signature[..7], &signature[8..])
}

/// An answer of the channel.
#[derive(Debug)]
struct Served {
    status: u16,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
}

impl Served {
    fn new(status: u16, headers: Vec<(&'static str, String)>, body: impl Into<Vec<u8>>) -> Served {
        Served { status, headers, body: body.into() }
    }
}

/// Replaces what stands between `from` and the next `to`.
fn mask(text: &str, from: &str, to: &str, with: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(from) {
        let (head, tail) = rest.split_at(at + from.len());
        out.push_str(head);
        out.push_str(with);
        rest = tail.find(to).map_or("", |end| &tail[end..]);
    }
    out + rest
}

fn message(first: &str, headers: &[(String, String)], body: &[u8]) -> String {
    const SHOWN: [&str; 15] = [
        "accept",
        "authorization",
        "content-type",
        "wechatpay-serial",
        "wechatpay-timestamp",
        "wechatpay-nonce",
        "wechatpay-signature",
        "wechatpay-signature-type",
        "request-id",
        "x-card-merchant",
        "x-card-key",
        "x-card-timestamp",
        "x-card-nonce",
        "x-card-signature",
        "retry-after",
    ];
    let mut out = format!("{first}\n");
    for (name, value) in headers {
        if SHOWN.contains(&name.to_ascii_lowercase().as_str()) {
            out.push_str(&format!("{}: {value}\n", name.to_ascii_lowercase()));
        }
    }
    match std::str::from_utf8(body) {
        Ok("") => {}
        Ok(text) => out.push_str(&format!("\n{text}\n")),
        Err(_) => out.push_str("\n(a ZIP file)\n"),
    }
    out
}

/// The samples of one channel.
struct Book {
    dir: PathBuf,
    written: BTreeSet<String>,
}

impl Book {
    fn open(channel: &str) -> Book {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/wire/golden").join(channel);
        Book { dir, written: BTreeSet::new() }
    }

    /// Holds a sample against its file.
    fn check(&mut self, name: &str, sample: &str) {
        let path = self.dir.join(format!("{name}.txt"));
        self.written.insert(format!("{name}.txt"));
        if std::env::var("GOLDEN").is_ok_and(|mode| mode == "write") {
            fs::create_dir_all(&self.dir).unwrap();
            fs::write(&path, sample).unwrap();
        }
        let kept = fs::read_to_string(&path).unwrap_or_default();
        let differs = kept.lines().zip(sample.lines()).position(|(kept, now)| kept != now);
        let at = differs.unwrap_or(kept.lines().count().min(sample.lines().count()));
        assert!(
            kept == sample,
            "{} differs at line {}:\nkept {:?}\nnow  {:?}",
            path.display(),
            at + 1,
            kept.lines().nth(at),
            sample.lines().nth(at)
        );
    }

    /// Every file of the channel belongs to a sample.
    fn close(self) {
        let files: BTreeSet<String> =
            fs::read_dir(&self.dir).unwrap().map(|f| f.unwrap().file_name().into_string().unwrap()).collect();
        assert_eq!(files, self.written, "a sample that nobody makes any more");
    }

    /// A call: once with good signatures, once with spoilt ones.
    async fn call<C, R: Debug>(
        &mut self,
        name: &str,
        make: impl Fn(&str) -> C,
        serve: impl Fn(&Request, bool) -> Served + Send + Sync + Clone + 'static,
        act: impl AsyncFn(&C) -> R,
    ) {
        let mut sample = String::new();
        let mut good_answers = Vec::new();
        for good in [true, false] {
            let told = Arc::new(Mutex::new(Vec::new()));
            let (answers, serve) = (Arc::clone(&told), serve.clone());
            let server = Server::start(move |request| {
                let served = serve(request, good);
                let headers = served.headers.clone();
                let kept: Vec<(String, String)> =
                    headers.iter().map(|(n, v)| ((*n).to_owned(), v.clone())).collect();
                answers.lock().unwrap().push(message(
                    &format!("HTTP {}", served.status),
                    &kept,
                    &served.body,
                ));
                Reply::Http { status: served.status, headers, body: served.body }
            })
            .await;
            let read = act(&make(&server.base)).await;
            let plain = |text: &str| masked(&text.replace(&server.base, "http://channel.test"));
            let (read, told) = (plain(&format!("{read:#?}")), told.lock().unwrap().clone());
            if good {
                let requests = server.requests.lock().unwrap().clone();
                for (request, answer) in requests.iter().zip(&told) {
                    let first = format!("{} {}", request.method, request.target);
                    let request = message(&first, &request.headers, &request.body);
                    sample.push_str(&format!("== request\n{}", plain(&request)));
                    sample.push_str(&format!("== answer\n{}", plain(answer)));
                }
                sample.push_str(&format!("== read as\n{read}\n"));
                good_answers = told;
            } else if told != good_answers {
                sample.push_str(&format!("== with a spoilt signature\n{read}\n"));
            }
        }
        self.check(name, &sample);
    }

    /// A call of the channel to us, and its twin with a spoilt signature.
    fn notification(
        &mut self,
        name: &str,
        channel: &dyn Channel,
        good: &NotificationCall,
        bad: &NotificationCall,
    ) {
        let now = Timestamp::from_secs(NOW);
        let heard = channel.parse_notification(good, now).unwrap();
        let refused = channel.parse_notification(bad, now).unwrap_err();
        let answer = |verdict: &Verdict| {
            let reply = channel.notification_answer(verdict);
            let kind = reply.content_type.map(|kind| ("content-type".to_owned(), kind.to_owned()));
            message(&format!("HTTP {}", reply.status), kind.as_slice(), &reply.body)
        };
        let sample = format!(
            "== request\n{}== read as\n{heard:#?}\n== answer\n{}== with a spoilt signature\n{refused:#?}\n== answer\n{}",
            message(&format!("{} {}", good.method, good.target), &good.headers, &good.body),
            answer(&Verdict::Taken),
            answer(&Verdict::Refused(refused.reason.as_str().to_owned())),
        );
        self.check(name, &sample);
    }
}

/// Without what is random in this run, or signed over the address of this run. The makers of the answers check what is
/// masked here.
fn masked(text: &str) -> String {
    let mut text = text.to_owned();
    for (from, to, with) in [
        ("nonce_str=\"", "\"", "{nonce}"),
        (",signature=\"", "\"", "{a good signature}"),
        ("x-card-nonce: ", "\n", "{nonce}"),
        ("x-card-signature: ", "\n", "{a good code}"),
        ("\"nonceStr\": \"", "\"", "{nonce}"),
        ("\"paySign\": \"", "\"", "{a good signature}"),
    ] {
        text = mask(&text, from, to, with);
    }
    // Packed bytes differ between versions of the packer.
    if text.contains("fileContent=") {
        text = mask(&text, "fileContent=", "&", "{a ZIP file}");
        text = mask(&text, "&signature=", "\n", "{a good signature}");
    }
    if text.contains("http://channel.test") {
        text = mask(&text, "\"sign\":\"", "\"", "{a good signature}");
        text = mask(&text, "wechatpay-signature: ", "\n", "{a good signature}");
    }
    text
}

/// What a bill's lines say.
fn bill_lines(channel: &dyn Channel, day: jiff::civil::Date, file: &[u8]) -> Vec<channels::BillLine> {
    let mut lines = Vec::new();
    channel.read_bill(day, &mut std::io::Cursor::new(file), &mut |line| lines.push(line)).unwrap();
    lines
}

/// Fetches a bill and reads it.
async fn fetched(channel: &dyn Channel) -> Result<Vec<channels::BillLine>, channels::BillError> {
    let day = jiff::civil::date(2026, 1, 1);
    let file = channel.bill(day).await?;
    Ok(bill_lines(channel, day, &file))
}

/// The settlement calls of the samples: a stall's part and a person's.
mod settlement {
    use domain::{
        Money, SplitNo,
        settlement::{Part, Receiver, ReceiverKind, Rest, ReturnAsk, SplitAsk, SplitKey},
    };

    use crate::order_id;

    pub(super) fn split_no(n: u8) -> SplitNo {
        order_id().split_no(n)
    }

    pub(super) fn person(account: &str) -> Receiver {
        Receiver { kind: ReceiverKind::Person, account: account.to_owned(), name: None }
    }

    pub(super) fn ask(trade_no: &str, stall: &str, person_account: &str) -> SplitAsk {
        let merchant = Receiver {
            kind: ReceiverKind::Merchant,
            account: stall.to_owned(),
            name: Some("食堂".to_owned()),
        };
        let part = |receiver, fen| Part {
            receiver,
            amount: Money::from_fen(fen).unwrap(),
            description: "餐费".to_owned(),
        };
        let parts = vec![part(merchant, 200), part(person(person_account), 100)];
        SplitAsk { split_no: split_no(1), trade_no: trade_no.to_owned(), parts, rest: Rest::Kept }
    }

    pub(super) fn key(n: u8, trade_no: &str) -> SplitKey {
        SplitKey { split_no: split_no(n), trade_no: trade_no.to_owned() }
    }

    pub(super) fn back(account: &str) -> ReturnAsk {
        let amount = Money::from_fen(150).unwrap();
        let (return_no, split_no) = (split_no(3), split_no(1));
        ReturnAsk {
            return_no, split_no, account: account.to_owned(), amount, description: "退款".to_owned()
        }
    }
}

fn zipped(name: &str, bytes: &[u8]) -> Vec<u8> {
    use std::io::Write as _;
    let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    zip.start_file(name, zip::write::SimpleFileOptions::default()).unwrap();
    zip.write_all(bytes).unwrap();
    zip.finish().unwrap().into_inner()
}
