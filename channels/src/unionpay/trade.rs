//! Asking for a credential, and the query (protocol sections 5 and 6).

use domain::{
    Answer, Credential, Found, Refusal, Scene, Timestamp,
    channel::{Capture, Fault, PrepayAnswer, PrepayAsk, QueryAnswer, StillOpen, TradeKey},
};

use super::{
    UnionPay,
    client::{BACK, FRONT, Named, QUERY, Said, plain},
    meaning::Meaning,
    message::{moment, money, time},
};

/// A code that the payer scans.
const CODE: &str = "000000";
/// The cashier.
const CASHIER: &str = "000201";
/// How long after the last moment "failed" and "not there" are believed: clocks differ, and a payer may just be paying.
const GRACE_S: i64 = 15;

impl UnionPay {
    pub(super) async fn ask_prepay(&self, ask: &PrepayAsk) -> PrepayAnswer {
        let amount = ask.amount.fen().to_string();
        let (last, text) = (time(ask.expires_at), plain(&ask.description, 32));
        let front = self.options.front_url.as_deref().unwrap_or_default();
        let more = [
            ("txnAmt", amount.as_str()),
            ("currencyCode", "156"),
            ("backUrl", &self.options.notify_url),
            ("payTimeout", &last),
            ("orderDesc", &text),
        ];
        let named = |kind, biz_type| Named {
            kind: ("01", kind),
            biz_type,
            number: ask.channel_order_no.as_str(),
            at: ask.planned_at,
        };
        match ask.scene {
            // The browser brings the signed form to the cashier, and the trade begins there.
            Scene::H5 => {
                let more: Vec<_> = more.into_iter().chain([("frontUrl", front)]).collect();
                match self.client.signed(&named("01", CASHIER), &more).await {
                    Ok(fields) => Answer::Accepted(Some(Credential::Form {
                        action: format!("{}{FRONT}", self.options.base_url.trim_end_matches('/')),
                        fields,
                    })),
                    Err(lost) => lost.into(),
                }
            }
            Scene::Native => match self.client.call(BACK, &named("07", CODE), &more).await {
                Ok(said) => code(&said),
                Err(lost) => lost.into(),
            },
            Scene::Jsapi => Answer::Declined(Refusal {
                code: "SCENE".to_owned(),
                message: "UnionPay serves the scenes native and h5".to_owned(),
                fault: Fault::Ours,
            }),
        }
    }

    pub(super) async fn ask_query(&self, trade: &TradeKey) -> QueryAnswer {
        let named =
            Named { kind: ("00", "00"), biz_type: CODE, number: trade.number.as_str(), at: trade.planned_at };
        match self.client.call(QUERY, &named, &[]).await {
            Ok(said) => read_trade(&said, trade.expires_at),
            Err(lost) => lost.into(),
        }
    }
}

fn code(said: &Said) -> PrepayAnswer {
    match said.meaning() {
        Meaning::Good => match said.text("qrCode") {
            "" => Answer::Silent("a signed answer without qrCode".to_owned()),
            code_url => Answer::Accepted(Some(Credential::Qr { code_url: code_url.to_owned() })),
        },
        // The first call made a code that nobody will ever see.
        Meaning::Duplicate => Answer::Declined(said.refusal("", Fault::State)),
        Meaning::Refused(fault) => Answer::Declined(said.refusal("", fault)),
        Meaning::NotThere | Meaning::Unknown => said.silent(),
    }
}

/// Before the last moment the payer may try again, so neither "failed" nor "not there" ends anything (section 6).
pub(super) fn read_trade(said: &Said, expires_at: Timestamp) -> QueryAnswer {
    let over = said.at.secs() > expires_at.secs() + GRACE_S;
    match said.meaning() {
        Meaning::Good => {}
        Meaning::NotThere => return Answer::Accepted(StillOpen::NotFound),
        Meaning::Refused(fault) => return Answer::Declined(said.refusal("", fault)),
        Meaning::Duplicate | Meaning::Unknown => return said.silent(),
    }
    match said.original() {
        Meaning::Good => match capture(said) {
            Ok(capture) => Answer::Settled(Found::Captured(capture)),
            Err(problem) => {
                tracing::error!(problem, "a signed UnionPay answer is no evidence");
                Answer::Silent(problem)
            }
        },
        Meaning::Refused(_) | Meaning::NotThere if over => Answer::Settled(Found::Closed),
        Meaning::Refused(_) | Meaning::NotThere | Meaning::Duplicate | Meaning::Unknown => {
            Answer::Accepted(StillOpen::Pending)
        }
    }
}

/// The money that a message tells of.
pub(super) fn capture(said: &Said) -> Result<Capture, String> {
    let code = format!("{}{}", said.text("origRespCode"), said.text("respCode"));
    if code.contains("A6") || code.contains("42") {
        tracing::warn!(
            code,
            order = said.text("orderId"),
            "paid, and UnionPay says that something is odd about it"
        );
    }
    let trade_no = said.text("queryId");
    if trade_no.is_empty() {
        return Err("a payment without queryId".to_owned());
    }
    Ok(Capture {
        amount: money(said.text("txnAmt"))?,
        trade_no: trade_no.to_owned(),
        at: moment(said.text("traceTime"), said.at).unwrap_or(said.at),
    })
}
