//! The list of channels: the only place that knows all of them.
//!
//! A channel is added by a folder and one line in the list here. Configuration is a map from channel name to its
//! options; all faults of all channels are reported together, each with its full key.

use std::{collections::BTreeMap, sync::Arc};

use domain::ChannelId;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::{
    Channel, Clock, ConfigFault, Error, Look, alipay, campus_card, config::Faults, system_clock, unionpay,
    wechat,
};

type Build = fn(ChannelId, Value, Clock) -> Result<Arc<dyn Channel>, Vec<ConfigFault>>;
type Inspect = fn(&Value, &mut Look);

/// Name, constructor and inspection of every channel there is.
const CHANNELS: &[(&str, Build, Inspect)] = &[
    (
        "wechat",
        |id, options, clock| Ok(Arc::new(wechat::WeChat::build(id, &read(options)?, clock)?)),
        wechat::inspect,
    ),
    (
        "alipay",
        |id, options, clock| Ok(Arc::new(alipay::Alipay::build(id, read(options)?, clock)?)),
        alipay::inspect,
    ),
    (
        "unionpay",
        |id, options, clock| Ok(Arc::new(unionpay::UnionPay::build(id, read(options)?, clock)?)),
        unionpay::inspect,
    ),
    (
        "campus_card",
        |id, options, clock| Ok(Arc::new(campus_card::CampusCard::build(id, &read(options)?, clock)?)),
        campus_card::inspect,
    ),
];

/// The names that configuration may use.
pub fn names() -> impl Iterator<Item = &'static str> {
    CHANNELS.iter().map(|(name, _, _)| *name)
}

/// Builds every configured channel on the clock of this machine, in the order of [`names`]. Reads key files,
/// touches no network. A TLS provider must have been installed before.
///
/// # Errors
/// - [`Error::Config`]: every fault of every channel, keys as `channels.NAME.KEY`.
pub fn build(configured: &BTreeMap<String, Value>) -> Result<Vec<Arc<dyn Channel>>, Error> {
    build_with_clock(configured, &system_clock())
}

/// As [`build`], on another clock.
///
/// # Errors
/// As [`build`].
pub fn build_with_clock(
    configured: &BTreeMap<String, Value>,
    clock: &Clock,
) -> Result<Vec<Arc<dyn Channel>>, Error> {
    let mut faults = Faults::default();
    for name in configured.keys().filter(|name| !names().any(|known| known == name.as_str())) {
        let known = names().collect::<Vec<_>>().join(", ");
        faults.add(&format!("channels.{name}"), format!("there is no such channel; there are: {known}"));
    }
    let mut channels = Vec::new();
    for (name, make, _) in CHANNELS {
        let Some(options) = configured.get(*name) else { continue };
        let Some(id) = faults.take(name, ChannelId::new(name)) else { continue };
        match make(id, options.clone(), Arc::clone(clock)) {
            Ok(channel) => channels.push(channel),
            Err(found) => {
                for fault in found {
                    let key = if fault.key.is_empty() { String::new() } else { format!(".{}", fault.key) };
                    faults.add(&format!("channels.{name}{key}"), fault.problem);
                }
            }
        }
    }
    let faults = faults.done();
    if faults.is_empty() { Ok(channels) } else { Err(Error::Config(faults)) }
}

/// Looks at a channel's options as an operator should before it goes live. Reads key files, touches no network. A name
/// that is not among [`names`] is no channel: nothing is looked at.
pub fn inspect(name: &str, options: &Value, look: &mut Look) {
    for (_, _, inspect) in CHANNELS.iter().filter(|(known, _, _)| *known == name) {
        inspect(options, look);
    }
}

/// Reads options; a missing, unknown or mistyped key is one fault that names it.
fn read<T: DeserializeOwned>(options: Value) -> Result<T, Vec<ConfigFault>> {
    serde_json::from_value(options)
        .map_err(|e| vec![ConfigFault { key: String::new(), problem: e.to_string() }])
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn faults(channels: Value) -> Vec<String> {
        let channels = serde_json::from_value(channels).unwrap();
        match build(&channels) {
            Err(Error::Config(faults)) => faults.iter().map(|fault| fault.key.clone()).collect(),
            Err(other) => panic!("{other}"),
            Ok(_) => Vec::new(),
        }
    }

    fn card(secret: &str, limit: i64) -> Value {
        json!({ "base_url": "http://127.0.0.1:1/ccp", "merchant_id": "M1001", "key_id": "k1", "secret": secret,
            "notify_url": "https://pay.example.com/notify/campus_card", "limit_fen": limit })
    }

    #[test]
    fn all_faults_of_all_channels_come_together_with_their_keys() {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let good = "sandbox-secret-do-not-use-0123456789abcdef";
        assert_eq!(faults(json!({ "campus_card": card(good, 1) })), [""; 0]);
        let wechat = json!({ "base_url": "http://pay.example.com", "mchid": 1_900_000_001_u64, "appid": "wx1",
            "merchant_serial": "xyz", "merchant_key": "/nowhere/key.pem", "apiv3_key": "short",
            "notify_url": "https://pay.example.com/n?x=1" });
        let found = faults(json!({ "wechat": wechat, "campus_card": card("short", 0), "gold": {} }));
        assert_eq!(
            found,
            [
                "channels.gold",
                "channels.wechat.base_url",
                "channels.wechat.notify_url",
                "channels.wechat.merchant_serial",
                "channels.wechat.public_key",
                "channels.wechat.merchant_key",
                "channels.wechat.apiv3_key",
                "channels.campus_card.secret",
                "channels.campus_card.limit_fen",
            ]
        );
        assert_eq!(faults(json!({ "campus_card": { "basurl": "x" } })), ["channels.campus_card"]);
    }
}
