//! The tools that integrators miss, as a person runs them: `doctor` and `sign explain`.

#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

mod common;

use std::{
    io::{Read as _, Write as _},
    net::TcpListener,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use common::BIN;
use keys::{RsaSigner, Signer as _};
use serde_json::Value;

fn write(path: &Path, text: &str) -> PathBuf {
    std::fs::write(path, text).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
    path.to_owned()
}

fn run(args: &[&str], input: &str) -> (i32, String) {
    let mut command = Command::new(BIN);
    command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let out = child.wait_with_output().unwrap();
    let text = format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    (out.status.code().unwrap(), text)
}

fn card(base_url: &str, notify_url: &str, store: &Path) -> String {
    format!(
        "[store]\npath = \"{}\"\n[channels]\norder = [\"campus_card\"]\n[channels.campus_card]\nbase_url = \"{base_url}\"\n\
         merchant_id = \"CANTEEN\"\nkey_id = \"k7\"\nsecret = \"Zf3kQ9xT7bLm2Vw8Rn5Yc1Hd6Js4Pg0A\"\nnotify_url = \"{notify_url}\"\n",
        store.display()
    )
}

/// Answers every call with this date.
fn clock_of(date: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let mut stream = stream;
            let _asked = stream.read(&mut [0; 4096]);
            let _gone = write!(
                stream,
                "HTTP/1.1 404 Not Found\r\nDate: {date}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
            );
        }
    });
    address
}

#[test]
fn the_doctor_names_what_only_a_network_tells_and_exits_with_one() {
    let dir = tempfile::tempdir().unwrap();
    let late = clock_of("Thu, 01 Jan 2026 00:00:00 GMT");
    let text = card(&late, "http://127.0.0.1:9/notify/campus_card", &dir.path().join("rushpay.db"));
    let config = write(&dir.path().join("rushpay.toml"), &text);
    let config = config.to_str().unwrap();
    let (code, out) = run(&["doctor", "--config", config, "--profile", "development", "--json"], "");
    let said: Value = serde_json::from_str(&out).unwrap();
    let classes: Vec<&str> =
        said["findings"].as_array().unwrap().iter().map(|f| f["class"].as_str().unwrap()).collect();
    assert_eq!((code, classes), (1, vec!["clock_off", "callback_unreachable"]), "{out}");

    let gone = text.replace(&late, "http://127.0.0.1:9");
    std::fs::write(config, gone).unwrap();
    let (_, out) = run(&["doctor", "--config", config, "--profile", "development"], "");
    assert!(out.contains("channel_unreachable") && out.contains("channels.campus_card.base_url"), "{out}");
}

#[test]
fn the_doctor_looks_at_the_house_too_and_a_good_one_exits_with_zero() {
    let dir = tempfile::tempdir().unwrap();
    let good =
        card("https://card.example.edu/ccp", "https://pay.example.com/n", &dir.path().join("rushpay.db"));
    let secret = format!("whsec_{}", STANDARD.encode([7; 32]));
    let good = format!("[http]\nadmin_token = \"a-long-token\"\n[webhooks]\nsecret = \"{secret}\"\n{good}");
    let config = dir.path().join("rushpay.toml");
    let doctor = |text: &str| {
        write(&config, text);
        run(&["doctor", "--offline", "--config", config.to_str().unwrap()], "")
    };
    // The test's folder is below /tmp, which does not outlive the machine; nothing else is wrong.
    let (code, out) = doctor(&good);
    let volatile = dir.path().starts_with("/tmp");
    assert_eq!((code, out.contains("0 errors")), (i32::from(volatile), !volatile), "{out}");
    for (from, to, class) in [
        ("admin_token = \"a-long-token\"\n", "", "door_open"),
        ("[webhooks]", "[log]\nlevel = \"debug\"\n[webhooks]", "debug_switch"),
        ("order = [\"campus_card\"]", "order = []", "option_invalid"),
        ("[http]", "[htpp]", "option_invalid"),
        ("rushpay.db", "no/such/folder/rushpay.db", "store_unsafe"),
    ] {
        assert!(good.contains(from), "{from}");
        let (code, out) = doctor(&good.replace(from, to));
        assert!(code == 1 && out.contains(class), "{class}: {out}");
    }
}

#[test]
fn a_refused_call_is_explained_from_its_dump() {
    let dir = tempfile::tempdir().unwrap();
    let pem = keys::generate_rsa_pem(2048).unwrap();
    let signer = RsaSigner::from_pkcs8_pem(&pem).unwrap();
    let key = write(&dir.path().join("key.pem"), &pem);
    let public = write(&dir.path().join("public.pem"), &keys::public_key_pem(&pem).unwrap());
    let dump = |signed: &str| {
        let signature = STANDARD.encode(signer.sign(signed.as_bytes()).unwrap());
        format!(
            "> POST /v3/pay/transactions/native?x=1 HTTP/1.1\n> Authorization: WECHATPAY2-SHA256-RSA2048 mchid=\"1\",nonce_str=\"n\",\
             signature=\"{signature}\",timestamp=\"1767225600\",serial_no=\"0A01\"\n>\n{{\"a\":1}}\n< HTTP/1.1 401 Unauthorized\n<\n\
             {{\"code\":\"SIGN_ERROR\",\"detail\":{{\"sign_information\":{{\"truncated_sign_message\":\"POST\\n/v3/pay/transactions/native?x=1\\n1767\"}}}}}}\n"
        )
    };
    let explain = |key: &Path, now: &str, text: &str| {
        run(
            &[
                "sign",
                "explain",
                "--channel",
                "wechat",
                "--dump",
                "-",
                "--key",
                key.to_str().unwrap(),
                "--now",
                now,
            ],
            text,
        )
    };
    let right = "POST\n/v3/pay/transactions/native?x=1\n1767225600\nn\n{\"a\":1}\n";
    let (code, out) = explain(&key, "1767225600", &dump(right));
    assert!(
        code == 0 && out.contains("signature_good") && out.contains("the server saw the same string"),
        "{out}"
    );
    let (code, out) = explain(&key, "1767225600", &dump(&right.replace("?x=1", "")));
    assert!(code == 1 && out.contains("query_left_out") && out.contains("differs from byte"), "{out}");
    let (_, out) = explain(&key, "1767229999", &dump(right));
    assert!(out.contains("clock_off"), "{out}");
    let (_, out) = explain(&public, "1767225600", &dump(right));
    assert!(out.contains("wrong_key_kind"), "{out}");
    let other = write(&dir.path().join("other.pem"), &keys::generate_rsa_pem(2048).unwrap());
    let (_, out) = explain(&other, "1767225600", &dump(right));
    assert!(out.contains("another_key"), "{out}");
    let (code, out) = run(&["sign", "explain", "--channel", "wechat"], "");
    assert!(code == 1 && out.contains("--dump"), "{out}");
}
