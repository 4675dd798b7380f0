//! The trade bill of a day (protocol 4.4): a signed answer names a file and its hash, the file follows unsigned.

use bytes::Bytes;
use jiff::civil::Date;
use reqwest::Method;
use serde::Deserialize;

use super::{
    WeChat,
    client::{Heard, error_word},
    errors::{Meaning, meaning, refusal},
};
use crate::{BillError, wire::BILL_MAX};

#[derive(Deserialize)]
struct Download {
    hash_type: String,
    hash_value: String,
    download_url: String,
}

impl WeChat {
    pub(super) async fn fetch_bill(&self, day: Date) -> Result<Bytes, BillError> {
        let path = format!("/v3/bill/tradebill?bill_date={day}&bill_type=ALL&tar_type=GZIP");
        let signed = match self.client.get(&path).await? {
            Heard::Signed(signed) if signed.status == 200 => signed,
            Heard::Signed(_) => return Err(BillError::NotReady),
            Heard::Error(word) => return Err(refused(word)),
        };
        let download: Download = signed.json()?;
        if !download.hash_type.eq_ignore_ascii_case("SHA1") {
            return Err(BillError::Damaged(format!("unknown hash type {:?}", download.hash_type)));
        }
        let target = self.client.http.target_of(&download.download_url)?;
        let file = self.client.exchange(Method::GET, target, Bytes::new(), BILL_MAX).await?;
        if file.status != 200 {
            let word = error_word(&file, file.header("Request-ID").to_owned())?;
            // The address holds for minutes only; a fresh one is one call away.
            return Err(BillError::Silent(format!("the file: {} {}", word.status, word.code)));
        }
        // The hash is that of the unpacked file, whether it came packed or not.
        let hash = if file.body.starts_with(&[0x1f, 0x8b]) {
            keys::sha1_hex_of(flate2::read::GzDecoder::new(&file.body[..]))
                .map_err(|e| BillError::Damaged(format!("the file does not unpack: {e}")))?
        } else {
            keys::sha1_hex(&file.body)
        };
        if !hash.eq_ignore_ascii_case(&download.hash_value) {
            return Err(BillError::Damaged(format!("SHA-1 is {hash}, announced {}", download.hash_value)));
        }
        Ok(file.body)
    }
}

fn refused(word: super::client::ErrorWord) -> BillError {
    match word.code.as_str() {
        "STATEMENT_CREATING" => return BillError::NotReady,
        "NO_STATEMENT_EXIST" => return BillError::NoBill,
        _ => {}
    }
    match meaning(&word) {
        Meaning::Refused(fault) => BillError::Declined(refusal(word, fault)),
        Meaning::NotThere => BillError::NoBill,
        Meaning::TooFast | Meaning::InProgress | Meaning::Unknown => {
            BillError::Silent(format!("{} {} ({})", word.status, word.code, word.request_id))
        }
    }
}
