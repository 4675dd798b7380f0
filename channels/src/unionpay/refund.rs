//! Refunds (protocol sections 6 and 8): an own number and time each; "accepted" is not "done".

use domain::{
    Answer,
    channel::{RefundAnswer, RefundAsk, RefundFound, RefundProgress},
};

use super::{
    UnionPay,
    client::{BACK, Named, QUERY, Said},
    meaning::Meaning,
    message::{moment, money},
};

impl UnionPay {
    /// Repeating is safe: the number and time are the refund's own, and a second arrival is a duplicate.
    pub(super) async fn ask_refund(&self, ask: &RefundAsk) -> RefundAnswer {
        let amount = ask.amount.fen().to_string();
        let more = [
            ("txnAmt", amount.as_str()),
            ("currencyCode", "156"),
            ("backUrl", &self.options.notify_url),
            ("origQryId", &ask.trade_no),
        ];
        match self.client.call(BACK, &named(ask, ("04", "00")), &more).await {
            Ok(said) => match said.meaning() {
                Meaning::Good | Meaning::Duplicate => Answer::Accepted(RefundProgress::Processing),
                Meaning::Refused(fault) => Answer::Declined(said.refusal("", fault)),
                // Taken, and the gateway does not know yet how it ends.
                Meaning::Unknown if matches!(said.text("respCode"), "04" | "05") => {
                    Answer::Accepted(RefundProgress::Processing)
                }
                Meaning::NotThere | Meaning::Unknown => said.silent(),
            },
            Err(lost) => lost.into(),
        }
    }

    pub(super) async fn ask_refund_query(&self, ask: &RefundAsk) -> RefundAnswer {
        match self.client.call(QUERY, &named(ask, ("00", "00")), &[]).await {
            Ok(said) => read(&said),
            Err(lost) => lost.into(),
        }
    }
}

fn named<'a>(ask: &'a RefundAsk, kind: (&'static str, &'static str)) -> Named<'a> {
    Named { kind, biz_type: "000000", number: ask.refund_no.as_str(), at: ask.booked_at }
}

fn read(said: &Said) -> RefundAnswer {
    match said.meaning() {
        Meaning::Good => {}
        Meaning::NotThere => return Answer::Accepted(RefundProgress::NotFound),
        Meaning::Refused(fault) => return Answer::Declined(said.refusal("", fault)),
        Meaning::Duplicate | Meaning::Unknown => return said.silent(),
    }
    match said.original() {
        Meaning::Good => succeeded(said).map_or_else(Answer::Silent, Answer::Settled),
        Meaning::Refused(_) => {
            Answer::Settled(RefundFound::Failed { code: said.text("origRespCode").to_owned() })
        }
        Meaning::NotThere | Meaning::Duplicate | Meaning::Unknown => {
            Answer::Accepted(RefundProgress::Processing)
        }
    }
}

/// The refund that a message tells of.
pub(super) fn succeeded(said: &Said) -> Result<RefundFound, String> {
    let id = said.text("queryId");
    if id.is_empty() {
        return Err("a refund without queryId".to_owned());
    }
    Ok(RefundFound::Succeeded {
        channel_refund_id: id.to_owned(),
        amount: money(said.text("txnAmt"))?,
        at: moment(said.text("traceTime"), said.at).unwrap_or(said.at),
    })
}
