//! Asking for a credential, query and close (protocol sections 3.1 to 3.3).

use domain::{
    Answer, ChannelOrderNo, Credential, Found, Refusal, Scene,
    channel::{Capture, CloseAnswer, Fault, PrepayAnswer, PrepayAsk, QueryAnswer, StillOpen},
};
use serde_json::{Value, json};

use super::{
    Alipay,
    client::{Heard, Meaning, Word, silent},
    text::{moment, money, subject, time, yuan},
};
use crate::wire::Lost;

impl Alipay {
    pub(super) async fn ask_prepay(&self, ask: &PrepayAsk) -> PrepayAnswer {
        let (method, biz) = match self.prepay_request(ask) {
            Ok(request) => request,
            Err(refusal) => return Answer::Declined(refusal),
        };
        let notify_url = Some(self.options.notify_url.as_str());
        if ask.scene == Scene::H5 {
            // The signed request is the credential: the browser brings it to the gateway, and the trade begins there.
            let params = match self.client.signed(method, &biz, notify_url).await {
                Ok(params) => params,
                Err(lost) => return lost.into(),
            };
            let query = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(&params).finish();
            return Answer::Accepted(Some(Credential::H5 {
                h5_url: format!("{}?{query}", self.client.gateway),
            }));
        }
        match self.client.call(method, &biz, notify_url).await {
            Ok(Heard::Done(word)) => match credential(ask, &word) {
                Ok(credential) => Answer::Accepted(Some(credential)),
                Err(lost) => lost.into(),
            },
            Ok(Heard::Refused(Meaning::Refused(_), refusal)) => Answer::Declined(refusal),
            Ok(Heard::Refused(Meaning::NotThere | Meaning::Unknown, refusal)) => silent(&refusal),
            Err(lost) => lost.into(),
        }
    }

    fn prepay_request(&self, ask: &PrepayAsk) -> Result<(&'static str, Value), Refusal> {
        let mut biz = json!({
            "out_trade_no": ask.channel_order_no, "total_amount": yuan(ask.amount),
            "subject": subject(&ask.description, 256), "time_expire": time(ask.expires_at),
        });
        if self.options.profit_sharing
            && let Some(members) = biz.as_object_mut()
        {
            members.insert("extend_params".to_owned(), json!({ "royalty_freeze": "true" }));
        }
        let mut set = |name: &str, value: &str| {
            if let Some(members) = biz.as_object_mut().filter(|_| !value.is_empty()) {
                members.insert(name.to_owned(), value.into());
            }
        };
        if !self.options.credit_account_types.contains(&ask.account_type) {
            set("disable_pay_channels", &self.options.disable_pay_channels);
        }
        let method = match ask.scene {
            Scene::Native => "alipay.trade.precreate",
            Scene::H5 => {
                set("product_code", "QUICK_WAP_WAY");
                "alipay.trade.wap.pay"
            }
            Scene::Jsapi => {
                let buyer = ask.openid.as_deref().ok_or_else(|| Refusal {
                    code: "INCOMPLETE_ASK".to_owned(),
                    message: "scene jsapi needs the payer's openid".to_owned(),
                    fault: Fault::Ours,
                })?;
                let user_id = buyer.len() == 16 && buyer.starts_with("2088");
                set(if user_id { "buyer_id" } else { "buyer_open_id" }, buyer);
                set("product_code", "JSAPI_PAY");
                set("op_app_id", self.options.op_app_id.as_deref().unwrap_or(&self.options.app_id));
                "alipay.trade.create"
            }
        };
        Ok((method, biz))
    }

    pub(super) async fn ask_query(&self, number: &str) -> QueryAnswer {
        match self.client.call("alipay.trade.query", &json!({ "out_trade_no": number }), None).await {
            Ok(Heard::Done(word)) => read_trade(&word, number),
            Ok(Heard::Refused(Meaning::NotThere, _)) => Answer::Accepted(StillOpen::NotFound),
            Ok(Heard::Refused(Meaning::Refused(_), refusal)) => Answer::Declined(refusal),
            Ok(Heard::Refused(Meaning::Unknown, refusal)) => silent(&refusal),
            Err(lost) => lost.into(),
        }
    }

    pub(super) async fn ask_close(&self, number: &ChannelOrderNo) -> CloseAnswer {
        match self.client.call("alipay.trade.close", &json!({ "out_trade_no": number }), None).await {
            Ok(Heard::Done(_)) => Answer::Settled(Found::Closed),
            Ok(Heard::Refused(Meaning::NotThere, _)) => Answer::Accepted(StillOpen::NotFound),
            Ok(Heard::Refused(Meaning::Refused(_), refusal)) => Answer::Declined(refusal),
            Ok(Heard::Refused(Meaning::Unknown, refusal)) => silent(&refusal),
            Err(lost) => lost.into(),
        }
    }
}

fn credential(ask: &PrepayAsk, word: &Word) -> Result<Credential, Lost> {
    let number = word.need("out_trade_no")?;
    if number != ask.channel_order_no.as_str() {
        return Err(Lost::Silent(format!("the answer is about {number:?}")));
    }
    Ok(match ask.scene {
        Scene::Jsapi => {
            let trade_no = word.need("trade_no")?.to_owned();
            Credential::Jsapi { params: [("tradeNO".to_owned(), trade_no)].into() }
        }
        Scene::Native | Scene::H5 => Credential::Qr { code_url: word.need("qr_code")?.to_owned() },
    })
}

fn read_trade(word: &Word, number: &str) -> QueryAnswer {
    let status = word.text("trade_status").unwrap_or_default();
    if word.text("out_trade_no").is_some_and(|no| no != number) {
        tracing::error!(number, "Alipay answered for another trade");
        return Answer::Silent("the answer is about another trade".to_owned());
    }
    // A closed trade was either never paid, or paid and refunded in full: only then it has a time of payment.
    let paid_at = word.text("send_pay_date");
    match (status, paid_at) {
        ("WAIT_BUYER_PAY", _) => Answer::Accepted(StillOpen::Pending),
        ("TRADE_CLOSED", None) => Answer::Settled(Found::Closed),
        ("TRADE_SUCCESS" | "TRADE_FINISHED", _) | ("TRADE_CLOSED", Some(_)) => match capture(word, paid_at) {
            Ok(capture) => Answer::Settled(Found::Captured(capture)),
            Err(lost) => {
                tracing::error!(number, ?lost, "a signed Alipay answer is no evidence");
                lost.into()
            }
        },
        (new, _) => {
            tracing::warn!(status = new, number, "a new Alipay trade status, taken as open");
            Answer::Accepted(StillOpen::Pending)
        }
    }
}

fn capture(word: &Word, paid_at: Option<&str>) -> Result<Capture, Lost> {
    Ok(Capture {
        amount: money(word.need("total_amount")?).map_err(Lost::Silent)?,
        trade_no: word.need("trade_no")?.to_owned(),
        at: paid_at.and_then(moment).unwrap_or(word.at),
    })
}
