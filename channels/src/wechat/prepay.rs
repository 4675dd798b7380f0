//! Asking for a credential: native, JSAPI with the parameters for the mini program, H5 (protocol 4.1, 7).
//!
//! The request is a function of the ask alone, so a repeat is the same request and WeChat answers it anew.

use std::collections::BTreeMap;

use domain::{
    Answer, ChannelOrderNo, Credential, Refusal, Scene,
    channel::{Fault, PrepayAnswer, PrepayAsk},
};
use serde::{Deserialize, Serialize};

use super::{
    WeChat,
    client::{Heard, Signed, nonce},
    errors::{Meaning, meaning, refusal, silent},
};
use crate::{clock::beijing, wire::Lost};

#[derive(Serialize)]
struct Request<'a> {
    appid: &'a str,
    mchid: &'a str,
    description: String,
    out_trade_no: &'a ChannelOrderNo,
    time_expire: String,
    notify_url: &'a str,
    amount: Amount,
    #[serde(skip_serializing_if = "Option::is_none")]
    payer: Option<Payer<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    scene_info: Option<SceneInfo<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    settle_info: Option<SettleInfo>,
}

#[derive(Serialize)]
struct SettleInfo {
    profit_sharing: bool,
}

#[derive(Serialize)]
struct Amount {
    total: i64,
    currency: &'static str,
}

#[derive(Serialize)]
struct Payer<'a> {
    openid: &'a str,
}

#[derive(Serialize)]
struct SceneInfo<'a> {
    payer_client_ip: &'a str,
    h5_info: H5Info,
}

#[derive(Serialize)]
struct H5Info {
    r#type: &'static str,
}

#[derive(Deserialize)]
struct Prepared {
    #[serde(default)]
    prepay_id: Option<String>,
    #[serde(default)]
    code_url: Option<String>,
    #[serde(default)]
    h5_url: Option<String>,
}

impl WeChat {
    pub(super) async fn ask_prepay(&self, ask: &PrepayAsk) -> PrepayAnswer {
        let request = match self.prepay_request(ask) {
            Ok(request) => request,
            Err(refusal) => return Answer::Declined(refusal),
        };
        let path = format!("/v3/pay/transactions/{}", ask.scene.as_str());
        match self.client.post(&path, &request).await {
            Ok(Heard::Signed(signed)) if signed.status == 200 => {
                match self.credential(ask.scene, &signed).await {
                    Ok(credential) => Answer::Accepted(Some(credential)),
                    Err(lost) => lost.into(),
                }
            }
            Ok(Heard::Signed(_)) => Answer::Accepted(None),
            Ok(Heard::Error(word)) => match meaning(&word) {
                Meaning::Refused(fault) => Answer::Declined(refusal(word, fault)),
                Meaning::TooFast => Answer::Declined(refusal(word, Fault::Channel)),
                Meaning::InProgress => Answer::Accepted(None),
                Meaning::NotThere | Meaning::Unknown => silent(&word),
            },
            Err(lost) => lost.into(),
        }
    }

    fn prepay_request<'a>(&'a self, ask: &'a PrepayAsk) -> Result<Request<'a>, Refusal> {
        let missing = |what: &str| Refusal {
            code: "INCOMPLETE_ASK".to_owned(),
            message: format!("scene {} needs {what}", ask.scene.as_str()),
            fault: Fault::Ours,
        };
        let payer = match ask.scene {
            Scene::Jsapi => {
                Some(Payer { openid: ask.openid.as_deref().ok_or(missing("the payer's openid"))? })
            }
            Scene::Native | Scene::H5 => None,
        };
        let scene_info = match ask.scene {
            Scene::H5 => Some(SceneInfo {
                payer_client_ip: ask.client_ip.as_deref().ok_or(missing("the payer's network address"))?,
                h5_info: H5Info { r#type: "Wap" },
            }),
            Scene::Native | Scene::Jsapi => None,
        };
        Ok(Request {
            appid: &self.client.appid,
            mchid: &self.client.mchid,
            description: wechat_text(&ask.description, 127),
            out_trade_no: &ask.channel_order_no,
            time_expire: beijing(ask.expires_at),
            notify_url: &self.notify_url,
            amount: Amount { total: ask.amount.fen(), currency: "CNY" },
            payer,
            scene_info,
            settle_info: self.profit_sharing.then_some(SettleInfo { profit_sharing: true }),
        })
    }

    async fn credential(&self, scene: Scene, signed: &Signed) -> Result<Credential, Lost> {
        let prepared: Prepared = signed.json()?;
        let need = |member: Option<String>, name: &str| {
            let lost = || Lost::Silent(format!("signed answer {} without {name}", signed.request_id));
            member.filter(|text| !text.is_empty()).ok_or_else(lost)
        };
        Ok(match scene {
            Scene::Native => Credential::Qr { code_url: need(prepared.code_url, "code_url")? },
            Scene::H5 => Credential::H5 { h5_url: need(prepared.h5_url, "h5_url")? },
            Scene::Jsapi => {
                let prepay_id = need(prepared.prepay_id, "prepay_id")?;
                // The prepay stands at WeChat; without a signature for the client it is as good as silent.
                Credential::Jsapi { params: self.pay_params(&prepay_id).await.map_err(Lost::Silent)? }
            }
        })
    }

    /// What `wx.requestPayment` wants, signed with the merchant's key (protocol section 7).
    async fn pay_params(&self, prepay_id: &str) -> Result<BTreeMap<String, String>, String> {
        let (time, nonce) = ((self.client.clock)().secs().to_string(), nonce());
        let message = pay_sign_message(&self.client.appid, &time, &nonce, prepay_id);
        let sign = self.client.pool.sign(message.into_bytes()).await?;
        let params = [
            ("appId", self.client.appid.clone()),
            ("timeStamp", time),
            ("nonceStr", nonce),
            ("package", format!("prepay_id={prepay_id}")),
            ("signType", "RSA".to_owned()),
            ("paySign", sign),
        ];
        Ok(params.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
    }
}

fn pay_sign_message(appid: &str, time: &str, nonce: &str, prepay_id: &str) -> String {
    format!("{appid}\n{time}\n{nonce}\nprepay_id={prepay_id}\n")
}

/// `text` as WeChat takes it: no characters of four bytes (emoji), at most `max` bytes. Pages count characters
/// here and bytes there; bytes are never too many.
pub(super) fn wechat_text(text: &str, max: usize) -> String {
    let mut out = String::with_capacity(text.len().min(max));
    for c in text.chars().filter(|c| c.len_utf8() < 4) {
        if out.len() + c.len_utf8() > max {
            break;
        }
        out.push(c);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_to_sign_for_the_client_is_the_worked_one() {
        let nonce = "SANDBOXNONCE00000000000000000006";
        let message =
            pay_sign_message("wx0000000000000001", "1767225600", nonce, "wx01080000000000sandbox0000001");
        let hash = keys::sha256_hex(message.as_bytes());
        assert_eq!(hash, "1ad4e20ef246ca9bcb512d22d92b3fbae8bdf112f80c8baa484b7badaf25d26e");
    }

    #[test]
    fn text_loses_emoji_and_what_is_too_long_but_never_half_a_character() {
        assert_eq!(wechat_text("牛肉面🍜x", 127), "牛肉面x");
        assert_eq!(wechat_text("牛肉面", 8), "牛肉");
    }
}
