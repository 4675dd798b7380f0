//! The trade bill: named by a signed answer, fetched packed from our own address, checked against the hash of what it holds.

use std::io::Write as _;

use channels::{BillError, Channel as _};
use jiff::civil::date;
use serde_json::json;

use crate::{
    server::Reply,
    wechat_fake::{Fake, Sign, answer},
};

const FILE: &str = "header\n`row\n";

fn packed() -> Vec<u8> {
    let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    packer.write_all(FILE.as_bytes()).unwrap();
    packer.finish().unwrap()
}

async fn fake(hash: &str, file_status: u16, file: Vec<u8>) -> Fake {
    // The host that the answer names is not followed: only path and query count.
    let named = json!({ "hash_type": "SHA1", "hash_value": hash,
        "download_url": "https://api.mch.weixin.qq.com/v3/billdownload/file?token=a%2Bb" })
    .to_string();
    Fake::start(move |request| match request.target.as_str() {
        "/v3/bill/tradebill?bill_date=2026-01-01&bill_type=ALL&tar_type=GZIP" => {
            answer(200, &named, Sign::Good)
        }
        "/v3/billdownload/file?token=a%2Bb" => {
            Reply::Http { status: file_status, headers: vec![], body: file.clone() }
        }
        _ => Reply::HangUp,
    })
    .await
}

#[tokio::test]
async fn a_bill_is_the_file_whose_hash_was_signed() {
    let hash = keys::sha1_hex(FILE.as_bytes()).to_uppercase();
    let good = fake(&hash, 200, packed()).await;
    assert_eq!(good.channel.bill(date(2026, 1, 1)).await.unwrap(), packed());
    let half = packed()[..packed().len() / 2].to_vec();
    let plain = fake(&hash, 200, FILE.as_bytes().to_vec()).await;
    assert_eq!(plain.channel.bill(date(2026, 1, 1)).await.unwrap(), FILE.as_bytes());
    for (hash, file) in [(&"0".repeat(40), packed()), (&hash, half), (&hash, b"another".to_vec())] {
        let damaged = fake(hash, 200, file).await;
        assert!(matches!(damaged.channel.bill(date(2026, 1, 1)).await, Err(BillError::Damaged(_))));
    }
    let expired = fake(&hash, 400, packed()).await;
    assert!(matches!(expired.channel.bill(date(2026, 1, 1)).await, Err(BillError::Silent(_))));
}

#[tokio::test]
async fn a_bill_that_is_not_there_says_why() {
    let error = |code: &str| json!({ "code": code, "message": "" }).to_string();
    let day = date(2026, 1, 1);
    let creating = Fake::saying(400, &error("STATEMENT_CREATING"), Sign::Good).await;
    assert!(matches!(creating.channel.bill(day).await, Err(BillError::NotReady)));
    let none = Fake::saying(400, &error("NO_STATEMENT_EXIST"), Sign::Good).await;
    assert!(matches!(none.channel.bill(day).await, Err(BillError::NoBill)));
    let denied = Fake::saying(403, &error("NO_AUTH"), Sign::Good).await;
    assert!(matches!(denied.channel.bill(day).await, Err(BillError::Declined(_))));
    let down = Fake::saying(500, &error("SYSTEM_ERROR"), Sign::Good).await;
    assert!(matches!(down.channel.bill(day).await, Err(BillError::Silent(_))));
}
