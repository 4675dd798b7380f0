//! Checking a channel's options: every fault at once, each with its key.

use std::net::IpAddr;

use domain::{Money, Scene, channel::Limit};

use reqwest::Url;
use serde::{Deserialize, Deserializer};

/// One fault of a configuration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{key}: {problem}")]
pub struct ConfigFault {
    /// The key, with its path: `channels.wechat.mchid`.
    pub key: String,
    /// What is wrong and what is expected.
    pub problem: String,
}

/// Defaults that channels share.
pub(crate) mod defaults {
    use std::num::NonZeroUsize;

    pub(crate) fn connect_timeout_ms() -> u64 {
        3_000
    }
    pub(crate) fn signing_threads() -> NonZeroUsize {
        NonZeroUsize::MIN.saturating_add(1)
    }
}

/// Collects faults.
#[derive(Debug, Default)]
pub(crate) struct Faults(Vec<ConfigFault>);

impl Faults {
    /// Notes a fault.
    pub(crate) fn add(&mut self, key: &str, problem: impl Into<String>) {
        self.0.push(ConfigFault { key: key.to_owned(), problem: problem.into() });
    }

    /// Notes a fault unless `ok`.
    pub(crate) fn check(&mut self, ok: bool, key: &str, problem: &str) {
        if !ok {
            self.add(key, problem);
        }
    }

    /// Notes a fault unless connecting may take a millisecond to a minute.
    pub(crate) fn check_connect_timeout(&mut self, ms: u64) {
        self.check((1..=60_000).contains(&ms), "connect_timeout_ms", "expected 1 to 60000");
    }

    /// Notes a fault for every rule without a limit.
    pub(crate) fn check_limits(&mut self, rules: &[LimitRule]) {
        for (n, _) in rules.iter().enumerate().filter(|(_, rule)| rule.limit_fen < 1) {
            self.add(&format!("limits[{n}].limit_fen"), "expected 1 or more");
        }
    }

    /// Notes a fault unless `text` is an address that money may travel to: https, or http on this machine.
    pub(crate) fn check_url(&mut self, key: &str, text: &str, max: usize) {
        let Ok(url) = Url::parse(text) else {
            return self.add(
                key,
                format!("expected a full address such as https://pay.example.com/x, got {text:?}"),
            );
        };
        if !(url.scheme() == "https" || url.scheme() == "http" && is_loopback(&url)) {
            self.add(key, "expected https (http only to this machine: localhost, 127.0.0.1)");
        }
        if url.query().is_some() || url.fragment().is_some() {
            self.add(key, "expected no '?' and no '#'");
        }
        if text.len() > max {
            self.add(key, format!("expected at most {max} characters"));
        }
    }

    /// The value if it is there; otherwise the error is noted.
    pub(crate) fn take<T, E: std::fmt::Display>(&mut self, key: &str, result: Result<T, E>) -> Option<T> {
        result.map_err(|e| self.add(key, e.to_string())).ok()
    }

    /// All faults, or `Ok` with the value made from good options.
    pub(crate) fn done(self) -> Vec<ConfigFault> {
        self.0
    }
}

fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    host == "localhost" || host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// A lower limit for some payers or scenes, as an operator writes it: `{ account_type = "student", limit_fen = 50000 }`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LimitRule {
    /// Only for this type of account; without one for all.
    #[serde(default)]
    pub account_type: Option<String>,
    /// Only in this scene; without one in all.
    #[serde(default)]
    pub scene: Option<Scene>,
    /// The largest amount of one attempt, fen.
    pub limit_fen: i64,
}

/// The rules as the router takes them.
pub(crate) fn limits(rules: &[LimitRule]) -> Vec<Limit> {
    let limit = |rule: &LimitRule| Limit {
        account_type: rule.account_type.clone(),
        scene: rule.scene,
        amount: Money::from_fen(rule.limit_fen).unwrap_or_default(),
    };
    rules.iter().map(limit).collect()
}

/// Reads a text that environment variables deliver as a number, such as a merchant id.
pub(crate) fn text_or_number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Either {
        Text(String),
        Number(u64),
    }
    Ok(match Either::deserialize(deserializer)? {
        Either::Text(text) => text,
        Either::Number(number) => number.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_https_or_on_this_machine() {
        let faults = |text| {
            let mut faults = Faults::default();
            faults.check_url("base_url", text, 64);
            faults.done().len()
        };
        for good in
            ["https://a.example/x", "http://127.0.0.1:9001", "http://localhost:1/p", "http://[::1]:80"]
        {
            assert_eq!(faults(good), 0, "{good}");
        }
        for bad in ["http://a.example", "ftp://127.0.0.1", "a.example", "", "https://a.example/?q=1"] {
            assert_eq!(faults(bad), 1, "{bad}");
        }
    }
}
