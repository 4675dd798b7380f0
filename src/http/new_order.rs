//! The body of `POST /v1/orders`: read strictly, judged field by field, every fault at once.

use std::{
    collections::{BTreeMap, HashSet},
    net::IpAddr,
    time::Duration,
};

use domain::{
    ChannelId, MerchantId, Money, Scene, Timestamp,
    channel::ChannelProfile,
    order::{OrderRequest, Payer},
    splitting,
};
use serde::{Deserialize, Serialize};
use url::Url;
use utoipa::ToSchema;

use super::problem::{FieldFault, Problem};

/// An order for collection.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewOrder {
    /// The backend's own number, unique per merchant: the idempotency key. 1 to 64 of letters, digits, `_`, `-`.
    #[schema(example = "C20261123-000123")]
    order_no: String,
    /// The stall.
    #[schema(example = "canteen-3")]
    merchant_id: String,
    /// Fen, 1 or more.
    #[schema(example = 1850)]
    amount_fen: i64,
    /// Shown to the payer, 1 to 127 characters.
    #[schema(example = "Beef noodles")]
    description: String,
    payer: NewPayer,
    /// `native` (QR code), `jsapi` (mini program) or `h5` (browser).
    #[schema(value_type = String, example = "native")]
    scene: Scene,
    /// Channels that may be used, best first; empty: all, in the configured order.
    #[serde(default)]
    channels: Vec<String>,
    /// Direct channels whose debit the payer has agreed to.
    #[serde(default)]
    consents: Vec<String>,
    /// Where this order's webhooks go.
    #[serde(default)]
    notify_url: Option<String>,
    /// The order is still wanted if the money comes after it failed; without it such money goes back.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    keep_late: bool,
    /// How long the payer has, seconds, 30 to 86400.
    #[serde(default = "expires_in_s")]
    expires_in_s: u64,
}

/// Who pays.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewPayer {
    /// Student or staff number, 1 to 64 characters.
    #[schema(example = "stu-20230001")]
    id: String,
    /// Such as `student`.
    #[serde(default = "account_type")]
    account_type: String,
    /// Needed in the `jsapi` scene.
    #[serde(default)]
    openid: Option<String>,
    /// The person's ids at other channels, by channel, such as `{"alipay": "2088000000000001"}`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    accounts: BTreeMap<String, String>,
    /// Needed in the `h5` scene.
    #[serde(default)]
    client_ip: Option<String>,
}

fn expires_in_s() -> u64 {
    900
}

fn account_type() -> String {
    "student".to_owned()
}

impl NewOrder {
    /// Reads the body.
    pub(super) fn read(body: &[u8]) -> Result<NewOrder, Problem> {
        serde_json::from_slice(body).map_err(|e| {
            Problem::new(400, "invalid_json", format!("The body cannot be read: {e}. Nothing changed."))
        })
    }

    /// The same for the same order, however its JSON was written.
    pub(super) fn hash(&self) -> String {
        keys::sha256_hex(&serde_json::to_vec(self).unwrap_or_default())
    }

    /// The request, if every field is good and a configured channel can take it.
    pub(super) fn judge(
        self,
        now: Timestamp,
        profiles: &[ChannelProfile],
        merchants: &[String],
    ) -> Result<OrderRequest, Problem> {
        let mut faults = Vec::new();
        let mut check = |ok: bool, field: &str, problem: &str| {
            if !ok {
                faults.push(FieldFault { field: field.to_owned(), problem: problem.to_owned() });
            }
        };
        let word = |text: &str| {
            (1..=64).contains(&text.len())
                && text.bytes().all(|c| c.is_ascii_alphanumeric() || b"_-".contains(&c))
        };
        let length = |text: &str, max: usize| {
            (1..=max).contains(&text.chars().count()) && !text.chars().any(char::is_control)
        };
        check(word(&self.order_no), "/order_no", "expected 1 to 64 of letters, digits, '_', '-'");
        let merchant_id = MerchantId::new(&self.merchant_id);
        if let Err(e) = &merchant_id {
            check(false, "/merchant_id", &e.to_string());
        }
        let served = merchants.is_empty() || merchants.contains(&self.merchant_id);
        check(served, "/merchant_id", "there is no such merchant; service.merchants lists them");
        let amount = Money::from_fen(self.amount_fen).ok().filter(|m| m.fen() >= 1);
        check(amount.is_some(), "/amount_fen", "expected 1 fen or more");
        // WeChat takes characters of up to three bytes; a description that only some channels take helps nobody.
        let plain = !self.description.chars().any(|c| c.len_utf8() > 3);
        let described = length(&self.description, 127) && plain;
        check(described, "/description", "expected 1 to 127 characters, no emoji, no control characters");
        let payer = &self.payer;
        let printable = (1..=64).contains(&payer.id.len()) && payer.id.bytes().all(|c| c.is_ascii_graphic());
        check(printable, "/payer/id", "expected 1 to 64 printable ASCII characters");
        check(word(&payer.account_type), "/payer/account_type", "expected a word such as student");
        let openid = payer.openid.as_deref().is_none_or(|o| length(o, 128));
        check(openid, "/payer/openid", "expected 1 to 128 characters");
        let ip = payer.client_ip.as_deref().is_none_or(|ip| ip.parse::<IpAddr>().is_ok());
        check(ip, "/payer/client_ip", "expected an IPv4 or IPv6 address");
        let bound = payer.accounts.iter().all(|(_, id)| length(id, 128));
        check(bound, "/payer/accounts", "expected ids of 1 to 128 characters");
        let accounts: Vec<(ChannelId, String)> = payer
            .accounts
            .iter()
            .filter_map(|(name, id)| {
                Some((profiles.iter().find(|p| p.id.as_str() == name)?.id.clone(), id.clone()))
            })
            .collect();
        check(
            accounts.len() == payer.accounts.len(),
            "/payer/accounts",
            "names a channel that is not configured",
        );
        if self.scene == Scene::Jsapi {
            let known = payer.openid.is_some() || !accounts.is_empty();
            check(known, "/payer/openid", "is needed in the jsapi scene");
        }
        if self.scene == Scene::H5 {
            check(payer.client_ip.is_some(), "/payer/client_ip", "is needed in the h5 scene");
        }
        let known = |name: &String| profiles.iter().find(|p| p.id.as_str() == name).map(|p| p.id.clone());
        let all: Vec<&str> = profiles.iter().map(|p| p.id.as_str()).collect();
        let expected = format!("expected different ones of {}", all.join(", "));
        let listed = |names: &[String]| {
            let ids: Vec<ChannelId> = names.iter().filter_map(known).collect();
            let different: HashSet<&ChannelId> = ids.iter().collect();
            (ids.len() == names.len() && different.len() == ids.len()).then_some(ids)
        };
        let (channels, consents) = (listed(&self.channels), listed(&self.consents));
        check(channels.is_some(), "/channels", &expected);
        check(consents.is_some(), "/consents", &expected);
        let address = self.notify_url.as_deref().is_none_or(|text| {
            text.len() <= 1024 && Url::parse(text).is_ok_and(|u| matches!(u.scheme(), "http" | "https"))
        });
        check(address, "/notify_url", "expected an http or https address of at most 1024 characters");
        let lasts = (30..=86_400).contains(&self.expires_in_s);
        check(lasts, "/expires_in_s", "expected 30 to 86400");
        let (Ok(merchant_id), Some(amount), Some(channels), Some(consents), true) =
            (merchant_id, amount, channels, consents, faults.is_empty())
        else {
            return Err(Problem::fields(faults));
        };
        let request = OrderRequest {
            order_no: self.order_no,
            merchant_id,
            amount,
            description: self.description,
            payer: Payer {
                id: self.payer.id,
                account_type: self.payer.account_type,
                openid: self.payer.openid,
                accounts: accounts.into_iter().collect(),
                client_ip: self.payer.client_ip,
            },
            scene: self.scene,
            channels,
            consents,
            notify_url: self.notify_url,
            keep_late: self.keep_late,
            part_of: None,
            expires_at: now.plus(Duration::from_secs(self.expires_in_s)),
        };
        usable(profiles, &request)?;
        Ok(request)
    }
}

/// At least one channel must be able to take the scene, and the amount in at most so many parts; which one is up is the
/// router's business.
fn usable(profiles: &[ChannelProfile], request: &OrderRequest) -> Result<(), Problem> {
    let limit = splitting::limit_of(request, profiles.iter());
    if limit.is_zero() {
        let detail = "None of the order's channels serves this scene, or only ones that debit the payer directly, to \
                      which \"consents\" does not agree; nothing changed.";
        return Err(Problem::new(422, "no_channel", detail));
    }
    match splitting::split(request.amount, limit) {
        Ok(_) => Ok(()),
        Err(too_large) => {
            let detail = format!(
                "{} fen is above the limit: {too_large}; one payment may be {} fen. Nothing changed.",
                request.amount.fen(),
                limit.fen()
            );
            Err(Problem::new(422, "amount_above_limit", detail))
        }
    }
}
