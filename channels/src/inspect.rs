//! What is wrong with a channel's configuration before it goes live, beyond what stops a start.
//!
//! Pure looks at options and files; the network is the caller's. Every finding has a class, whose name is stable: it
//! is what scripts and runbooks match on.

use std::{collections::BTreeMap, path::Path};

use domain::Timestamp;
use keys::{
    Anchors, CertificateFacts, Error as KeyError, KeyFile, RsaSigner, RsaVerifier, Secret, Signer as _,
    Verifier as _,
};
use reqwest::Url;
use serde_json::Value;

/// A kind of failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// An option is missing, unknown, mistyped or out of its range.
    OptionInvalid,
    /// A key file is not there or cannot be read.
    KeyFileMissing,
    /// Everybody on the machine may read a secret.
    KeyFileOpen,
    /// A path depends on the folder the service is started in.
    KeyPathRelative,
    /// A public key where a private one belongs, a certificate where a key belongs, or the like.
    KeyWrongKind,
    /// The key is damaged, or too short.
    KeyUnusable,
    /// A key and the certificate beside it do not belong together.
    KeyCertificateMismatch,
    /// The configured serial is not the certificate's.
    SerialMismatch,
    /// The key to verify the channel with is our own.
    OwnKeyAsPlatformKey,
    /// The PKCS#12 file does not open with its password.
    Pkcs12Unreadable,
    /// The certificate's time is over.
    CertificateExpired,
    /// The certificate's time is over within thirty days.
    CertificateExpiresSoon,
    /// The certificate's time has not begun.
    CertificateNotYetValid,
    /// The certificate was signed with SHA-1 or MD5.
    CertificateWeak,
    /// The certificate does not lead to the configured root.
    ChainBroken,
    /// A shared secret has the wrong length, or is one of those printed in documents.
    SecretWeak,
    /// The callback address is not https.
    CallbackNotHttps,
    /// The callback address is one that the channel cannot reach.
    CallbackPrivate,
    /// The callback address does not answer.
    CallbackUnreachable,
    /// The channel does not answer.
    ChannelUnreachable,
    /// This machine's clock and the channel's differ.
    ClockOff,
    /// Ids or addresses of a test environment in a production profile.
    SandboxInProduction,
    /// A switch for developers is on in a production profile.
    DebugSwitch,
    /// The service's own settings leave a door open: no admin token, no webhook secret.
    DoorOpen,
    /// The store cannot be written, or will not outlive the machine.
    StoreUnsafe,
}

impl Class {
    /// The stable name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Class::OptionInvalid => "option_invalid",
            Class::KeyFileMissing => "key_file_missing",
            Class::KeyFileOpen => "key_file_open",
            Class::KeyPathRelative => "key_path_relative",
            Class::KeyWrongKind => "key_wrong_kind",
            Class::KeyUnusable => "key_unusable",
            Class::KeyCertificateMismatch => "key_certificate_mismatch",
            Class::SerialMismatch => "serial_mismatch",
            Class::OwnKeyAsPlatformKey => "own_key_as_platform_key",
            Class::Pkcs12Unreadable => "pkcs12_unreadable",
            Class::CertificateExpired => "certificate_expired",
            Class::CertificateExpiresSoon => "certificate_expires_soon",
            Class::CertificateNotYetValid => "certificate_not_yet_valid",
            Class::CertificateWeak => "certificate_weak",
            Class::ChainBroken => "chain_broken",
            Class::SecretWeak => "secret_weak",
            Class::CallbackNotHttps => "callback_not_https",
            Class::CallbackPrivate => "callback_private",
            Class::CallbackUnreachable => "callback_unreachable",
            Class::ChannelUnreachable => "channel_unreachable",
            Class::ClockOff => "clock_off",
            Class::SandboxInProduction => "sandbox_in_production",
            Class::DebugSwitch => "debug_switch",
            Class::DoorOpen => "door_open",
            Class::StoreUnsafe => "store_unsafe",
        }
    }

    /// True if it does not stop payments today.
    #[must_use]
    pub const fn is_warning(self) -> bool {
        matches!(self, Class::CertificateExpiresSoon | Class::KeyPathRelative)
    }
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Its kind.
    pub class: Class,
    /// The key of the configuration.
    pub key: String,
    /// What is wrong and what to do.
    pub problem: String,
}

/// What a look at a channel is told, and what it collects.
pub struct Look {
    prefix: String,
    now: Timestamp,
    production: bool,
    findings: Vec<Finding>,
    /// Addresses of the channel and of our callback, for whoever has a network.
    pub addresses: BTreeMap<&'static str, String>,
}

const MONTH_S: i64 = 30 * 86_400;
/// md5WithRSA, sha1WithRSA.
const WEAK: [&str; 3] = ["1.2.840.113549.1.1.4", "1.2.840.113549.1.1.5", "1.2.840.113549.1.1.2"];

impl Look {
    /// A look at `channels.NAME`, at this moment. `production` also asks for what only matters with real money.
    #[must_use]
    pub fn new(prefix: &str, now: Timestamp, production: bool) -> Look {
        Look { prefix: prefix.to_owned(), now, production, findings: Vec::new(), addresses: BTreeMap::new() }
    }

    /// What was found.
    #[must_use]
    pub fn findings(self) -> (Vec<Finding>, BTreeMap<&'static str, String>) {
        (self.findings, self.addresses)
    }

    /// Notes a finding.
    pub fn add(&mut self, class: Class, key: &str, problem: impl Into<String>) {
        let key = format!("{}.{key}", self.prefix);
        let finding = Finding { class, key, problem: problem.into() };
        if !self.findings.contains(&finding) {
            self.findings.push(finding);
        }
    }

    fn key_error(&mut self, key: &str, error: &KeyError) {
        let class = match error {
            KeyError::Unreadable { .. } => Class::KeyFileMissing,
            KeyError::TooOpen { .. } => Class::KeyFileOpen,
            KeyError::File { source, .. } => match **source {
                KeyError::WrongPem { .. } | KeyError::NotPem => Class::KeyWrongKind,
                _ => Class::KeyUnusable,
            },
            KeyError::WrongPem { .. } | KeyError::NotPem => Class::KeyWrongKind,
            _ => Class::KeyUnusable,
        };
        self.add(class, key, error.to_string());
    }

    pub(crate) fn path(&mut self, key: &str, path: &Path) {
        if path.is_relative() {
            let problem = format!(
                "{} depends on the folder the service is started in; write the whole path",
                path.display()
            );
            self.add(Class::KeyPathRelative, key, problem);
        }
    }

    pub(crate) fn private_key(&mut self, key: &str, path: &Path) -> Option<Secret> {
        self.path(key, path);
        KeyFile::read_private(path).map_err(|e| self.key_error(key, &e)).ok()
    }

    pub(crate) fn public_key(&mut self, key: &str, path: &Path) -> Option<RsaVerifier> {
        self.path(key, path);
        let pem = KeyFile::read_public(path).map_err(|e| self.key_error(key, &e)).ok()?;
        RsaVerifier::from_spki_pem(&pem).map_err(|e| self.key_error(key, &e)).ok()
    }

    /// The certificate at a path, with everything said about its time and strength.
    pub(crate) fn certificate(&mut self, key: &str, path: &Path) -> Option<(String, CertificateFacts)> {
        self.path(key, path);
        let pem = KeyFile::read_certificate(path).map_err(|e| self.key_error(key, &e)).ok()?;
        let facts = CertificateFacts::from_pem(&pem).map_err(|e| self.key_error(key, &e)).ok()?;
        self.facts(key, &facts);
        Some((pem, facts))
    }

    pub(crate) fn facts(&mut self, key: &str, facts: &CertificateFacts) {
        let (now, until) = (self.now.secs(), facts.not_after_secs);
        let day = Timestamp::from_secs(until).to_string();
        if now > until {
            self.add(
                Class::CertificateExpired,
                key,
                format!("its time was over on {day}: ask for a new certificate"),
            );
        } else if until - now < MONTH_S {
            let days = (until - now) / 86_400;
            self.add(
                Class::CertificateExpiresSoon,
                key,
                format!("its time is over in {days} days, on {day}"),
            );
        }
        if now < facts.not_before_secs {
            let from = Timestamp::from_secs(facts.not_before_secs);
            self.add(
                Class::CertificateNotYetValid,
                key,
                format!("its time begins on {from}: check this machine's clock"),
            );
        }
        if WEAK.contains(&facts.signature_algorithm.as_str()) {
            self.add(
                Class::CertificateWeak,
                key,
                "it was signed with SHA-1 or MD5; ask for one with SHA-256",
            );
        }
    }

    /// Whether a private key is the certificate's.
    pub(crate) fn pair(&mut self, key: &str, private: &Secret, facts: &CertificateFacts) {
        if !is_pair(private, RsaVerifier::from_spki_der(&facts.spki_der).ok()) {
            let problem =
                "the private key is not this certificate's: one of the two belongs to another application";
            self.add(Class::KeyCertificateMismatch, key, problem);
        }
    }

    /// Whether what shall verify the channel is the channel's, not ours.
    pub(crate) fn not_ours(&mut self, key: &str, platform: Option<RsaVerifier>, private: Option<&Secret>) {
        if private.is_some_and(|private| is_pair(private, platform)) {
            let problem = "this is our own public key; the channel's own is needed (download it from the channel's console)";
            self.add(Class::OwnKeyAsPlatformKey, key, problem);
        }
    }

    pub(crate) fn chain(&mut self, key: &str, certificate: &str, anchors: &[&str]) {
        match Anchors::from_pem(anchors.iter().copied()) {
            Err(error) => self.key_error(key, &error),
            Ok(anchors) => {
                let at = self.now.secs();
                // Its own dates were judged before.
                if let Err(keys::Untrusted::UnknownIssuer) = anchors.check(certificate, at) {
                    self.add(Class::ChainBroken, key, "it does not lead to the configured root");
                }
            }
        }
    }

    /// An id that documents and sandboxes use.
    pub(crate) fn test_id(&mut self, key: &str, value: &str, known: &[&str]) {
        if self.production && known.iter().any(|id| value.starts_with(id)) {
            self.add(Class::SandboxInProduction, key, format!("{value:?} belongs to a test environment"));
        }
    }

    pub(crate) fn debug_switch(&mut self, key: &str, on: bool, problem: &str) {
        if self.production && on {
            self.add(Class::DebugSwitch, key, problem);
        }
    }

    /// The channel's address and our callback's.
    pub(crate) fn addresses(&mut self, base_url: &str, notify_url: &str) {
        self.addresses.insert("base_url", base_url.to_owned());
        self.addresses.insert("notify_url", notify_url.to_owned());
        if !self.production {
            return;
        }
        if let Ok(url) = Url::parse(base_url)
            && (is_private(&url)
                || ["sandbox", "test.95516", "alipaydev"].iter().any(|w| base_url.contains(w)))
        {
            self.add(Class::SandboxInProduction, "base_url", format!("{base_url} is a test environment"));
        }
        if let Ok(url) = Url::parse(notify_url) {
            if url.scheme() != "https" {
                self.add(Class::CallbackNotHttps, "notify_url", format!("{notify_url} is not https"));
            }
            if is_private(&url) {
                let problem =
                    format!("{notify_url} cannot be reached from outside: the channel's calls would be lost");
                self.add(Class::CallbackPrivate, "notify_url", problem);
            }
        }
    }

    /// A secret that is too short, or printed in a document.
    pub(crate) fn secret(&mut self, key: &str, secret: &Secret, length: std::ops::RangeInclusive<usize>) {
        let text = secret.expose();
        if !length.contains(&text.len()) {
            let problem =
                format!("{} characters, expected {} to {}", text.len(), length.start(), length.end());
            self.add(Class::SecretWeak, key, problem);
        } else if self.production
            && (text.contains("do-not-use") || text.bytes().all(|c| Some(&c) == text.as_bytes().first()))
        {
            self.add(
                Class::SecretWeak,
                key,
                "it is printed in documents or the same character over and over",
            );
        }
    }

    /// Faults that would stop a start; those of key files were found before, under better names.
    pub(crate) fn faults(&mut self, faults: Vec<crate::ConfigFault>, looked_at: &[&str]) {
        for fault in faults {
            if !looked_at.contains(&fault.key.as_str()) {
                self.add(Class::OptionInvalid, &fault.key, fault.problem);
            }
        }
    }

    /// Reads options; what stops that is one finding.
    pub(crate) fn options<T: serde::de::DeserializeOwned>(&mut self, options: &Value) -> Option<T> {
        serde_json::from_value(options.clone())
            .map_err(|e| self.add(Class::OptionInvalid, "", e.to_string()))
            .ok()
    }
}

fn is_pair(private: &Secret, public: Option<RsaVerifier>) -> bool {
    let signature = RsaSigner::from_pkcs8_pem(private.expose()).ok().and_then(|s| s.sign(b"pair").ok());
    public.zip(signature).is_some_and(|(public, signature)| public.verify(b"pair", &signature).is_ok())
}

fn is_private(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']).to_owned();
    match host.parse::<std::net::IpAddr>() {
        Ok(std::net::IpAddr::V4(ip)) => {
            ip.is_private() || ip.is_loopback() || ip.is_link_local() || ip.is_unspecified()
        }
        Ok(std::net::IpAddr::V6(ip)) => ip.is_loopback() || ip.is_unspecified() || ip.is_unique_local(),
        Err(_) => host == "localhost" || host.ends_with(".local") || !host.contains('.'),
    }
}
