//! The trade bill of a day (protocol section 3.4): a signed answer names an address that lives thirty seconds.

use bytes::Bytes;
use jiff::civil::Date;
use reqwest::{Method, header::HeaderMap};
use serde_json::json;

use super::{
    Alipay,
    client::{Heard, Meaning},
};
use crate::{
    BillError,
    wire::{BILL_MAX, Http},
};

impl Alipay {
    pub(super) async fn fetch_bill(&self, day: Date) -> Result<Bytes, BillError> {
        let method = "alipay.data.dataservice.bill.downloadurl.query";
        let biz = json!({ "bill_type": "trade", "bill_date": day.to_string() });
        let word = match self.client.call(method, &biz, None).await? {
            Heard::Done(word) => word,
            Heard::Refused(meaning, refusal) => {
                return Err(match (refusal.code.as_str(), meaning) {
                    ("BILL_NOT_EXIST", _) => BillError::NotReady,
                    ("NO_BILL_DATA", _) => BillError::NoBill,
                    ("SYSTEM_RATE_LIMIT" | "USER_RATE_LIMIT" | "UNKNOWN_ERROR", _)
                    | (_, Meaning::Unknown) => {
                        BillError::Silent(format!("{} {}", refusal.code, refusal.message))
                    }
                    _ => BillError::Declined(refusal),
                });
            }
        };
        if word.text("bill_file_code") == Some("EMPTY_DATA_WITH_BILL_FILE") {
            return Err(BillError::NoBill);
        }
        let target = Http::address(word.need("bill_download_url")?)?;
        let file = self.client.http.send(Method::GET, target, HeaderMap::new(), Bytes::new(), BILL_MAX).await;
        let file = file?;
        if file.status != 200 {
            // The address holds for seconds only; a fresh one is one call away.
            return Err(BillError::Silent(format!("the file: HTTP {}", file.status)));
        }
        if !file.body.starts_with(b"PK") {
            return Err(BillError::Damaged("it is not a ZIP file".to_owned()));
        }
        Ok(file.body)
    }
}
