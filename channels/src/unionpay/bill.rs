//! The reconciliation file of a settlement day (protocol section 9): base64 of zlib of a ZIP, inside a signed answer.

use std::io::Read as _;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use domain::channel::Fault;
use flate2::read::ZlibDecoder;
use jiff::civil::Date;

use super::{UnionPay, client::Named, meaning::Meaning};
use crate::{BillError, wire::BILL_MAX};

impl UnionPay {
    pub(super) async fn fetch_bill(&self, day: Date) -> Result<Bytes, BillError> {
        let now = self.now();
        let number = format!("bill{}", super::message::time(now));
        let named = Named { kind: ("76", "01"), biz_type: "000000", number: &number, at: now };
        let settle_date = format!("{:02}{:02}", day.month(), day.day());
        let said = self.client.call("/", &named, &[("settleDate", &settle_date), ("fileType", "00")]).await?;
        match (said.text("respCode"), said.meaning()) {
            ("00", _) => {}
            // "Does not exist" is said before the file is made and of a day without transactions alike.
            ("98", _) => return Err(BillError::NoBill),
            (_, Meaning::Refused(fault)) if fault != Fault::Channel => {
                return Err(BillError::Declined(said.refusal("", fault)));
            }
            (code, _) => return Err(BillError::Silent(format!("respCode {code} {}", said.text("respMsg")))),
        }
        let damaged = |what: &str| BillError::Damaged(what.to_owned());
        let packed =
            STANDARD.decode(said.text("fileContent")).map_err(|_| damaged("fileContent is not base64"))?;
        let mut zip = Vec::new();
        let limit = u64::try_from(BILL_MAX).unwrap_or(u64::MAX);
        let read = ZlibDecoder::new(packed.as_slice()).take(limit + 1).read_to_end(&mut zip);
        read.map_err(|e| damaged(&format!("fileContent does not inflate: {e}")))?;
        if zip.len() > BILL_MAX {
            return Err(damaged("the file is larger than 256 MiB"));
        }
        if !zip.starts_with(b"PK") {
            return Err(damaged("it is not a ZIP file"));
        }
        Ok(zip.into())
    }
}
