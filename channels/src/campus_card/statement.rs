//! The statement of a day (protocol B8): a signed CSV file, immutable once it is there.

use bytes::Bytes;
use jiff::civil::Date;
use reqwest::Method;

use domain::channel::Fault;

use super::{CampusCard, client::Word};
use crate::{BillError, wire::BILL_MAX};

impl CampusCard {
    pub(super) async fn fetch_statement(&self, day: Date) -> Result<Bytes, BillError> {
        let path = format!("/v1/statements/{day}");
        let (reply, _) = self.client.exchange(Method::GET, &path, Bytes::new(), BILL_MAX).await?;
        if reply.status == 200 && reply.header("content-type").starts_with("text/csv") {
            return if is_whole(&reply.body) {
                Ok(reply.body)
            } else {
                Err(BillError::Damaged("no trailer at the end: the file is cut off".to_owned()))
            };
        }
        let word: Word = serde_json::from_slice(&reply.body)
            .map_err(|e| BillError::Silent(format!("neither CSV nor JSON ({e}), status {}", reply.status)))?;
        match word.code.as_str() {
            "STATEMENT_NOT_READY" => Err(BillError::NotReady),
            "BAD_REQUEST" | "STALE_TIMESTAMP" => Err(BillError::Declined(word.refusal(Fault::Ours))),
            _ => Err(BillError::Silent(word.label())),
        }
    }
}

/// A file without a trailer line is to be discarded whole; its sums are the reader's to check.
fn is_whole(file: &[u8]) -> bool {
    let last = file.strip_suffix(b"\n").and_then(|rest| rest.rsplit(|c| *c == b'\n').next());
    last.is_some_and(|line| line.starts_with(b"#TRAILER,"))
}
