//! Reading and judging a configuration.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use figment::{
    Figment,
    providers::{Env, Format as _, Toml},
};
use url::Url;

use super::{BadConfig, Config};

/// Shorter tokens of operators are refused.
const TOKEN_MIN: usize = 16;
const DEFAULTS: &str = include_str!("../../config/default.toml");

/// Reads the defaults, the files in their order, then the environment.
///
/// # Errors
/// [`BadConfig`] with every fault and its key. Nothing was started.
pub(crate) fn load(files: &[PathBuf]) -> Result<Config, BadConfig> {
    let mut figment = Figment::from(Toml::string(DEFAULTS));
    for path in files {
        let text = fs::read_to_string(path)
            .map_err(|e| BadConfig(vec![format!("--config {}: cannot be read: {e}", path.display())]))?;
        // Parsed here first: this error knows line and column.
        toml::from_str::<toml::Table>(&text)
            .map_err(|e| BadConfig(vec![format!("{}: {}", path.display(), e.to_string().trim_end())]))?;
        figment = figment.merge(Toml::string(&text));
    }
    let figment = figment.merge(Env::prefixed("RUSHPAY__").split("__"));
    let mut config: Config = figment.extract().map_err(|errors| {
        BadConfig(
            errors
                .into_iter()
                .map(|e| {
                    let key = e.path.join(".");
                    if key.is_empty() { e.kind.to_string() } else { format!("{key}: {}", e.kind) }
                })
                .collect(),
        )
    })?;
    if config.service.notify_base_url.is_empty() {
        config.service.notify_base_url = format!("http://{}", config.http.listen);
    }
    judge(&config).map(|()| config)
}

fn judge(config: &Config) -> Result<(), BadConfig> {
    let mut faults = Vec::new();
    let mut check = |ok: bool, text: &str| {
        if !ok {
            faults.push(text.to_owned());
        }
    };
    let http = &config.http;
    check((100..=60_000).contains(&http.header_timeout_ms), "http.header_timeout_ms: expected 100 to 60000");
    let body = (1_024..=1_048_576).contains(&http.body_max_bytes);
    check(body, "http.body_max_bytes: expected 1024 to 1048576");
    check(http.rate_per_s >= 1, "http.rate_per_s: expected 1 or more");
    check(http.max_connections >= 1, "http.max_connections: expected 1 or more");
    check((1..=64).contains(&config.store.readers), "store.readers: expected 1 to 64");
    let deadline = (1..=600).contains(&config.service.shutdown_deadline_s);
    check(deadline, "service.shutdown_deadline_s: expected 1 to 600");
    let base = Url::parse(&config.service.notify_base_url).ok();
    let base_ok = base.is_some_and(|u| matches!(u.scheme(), "http" | "https") && u.query().is_none());
    check(base_ok, "service.notify_base_url: expected an address such as https://pay.example.com");
    let operations = &config.service.operations_url;
    let told =
        operations.is_empty() || Url::parse(operations).is_ok_and(|u| matches!(u.scheme(), "http" | "https"));
    check(
        told,
        "service.operations_url: expected an address such as https://ops.example.com/hook, or nothing",
    );
    let redis = config.redis.url.is_empty() || config.redis.url.starts_with("redis://");
    check(redis, "redis.url: expected redis://host:port/db, or nothing");
    let secret = config.webhooks.secret.expose();
    let decoded = secret.strip_prefix("whsec_").and_then(|text| STANDARD.decode(text).ok());
    let secret_ok = secret.is_empty() || decoded.is_some_and(|bytes| (24..=64).contains(&bytes.len()));
    check(secret_ok, "webhooks.secret: expected whsec_ followed by base64 of 24 to 64 bytes");
    for name in &config.channels.order {
        if !channels::registry::names().any(|known| known == name) {
            faults.push(format!("channels.order: there is no channel \"{name}\""));
        }
    }
    for (name, fee) in &config.reconciliation.fees {
        if !channels::registry::names().any(|known| known == name) {
            faults.push(format!("reconciliation.fees: there is no channel \"{name}\""));
        }
        if *fee > 10_000 {
            faults.push(format!("reconciliation.fees.{name}: expected 0 to 10000 hundredths of a percent"));
        }
    }
    faults.extend(operators(config));
    for fault in config.tuning.validate().err().unwrap_or_default() {
        faults.push(format!("tuning.{fault}"));
    }
    if faults.is_empty() { Ok(()) } else { Err(BadConfig(faults)) }
}

/// Names are who did what, tokens are who may: neither may be doubtful.
fn operators(config: &Config) -> Vec<String> {
    let (mut faults, mut names, mut tokens) = (Vec::new(), BTreeSet::new(), BTreeSet::new());
    let admin = config.http.admin_token.expose();
    if !admin.is_empty() {
        names.insert("admin");
        tokens.insert(admin);
    }
    for (n, operator) in config.operators.iter().enumerate() {
        let (name, token) = (operator.name.as_str(), operator.token.expose());
        let mut check = |ok: bool, key: &str, expected: &str| {
            if !ok {
                faults.push(format!("operators.{n}.{key}: expected {expected}"));
            }
        };
        let plain = name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-.".contains(&b));
        check(plain && (1..=64).contains(&name.len()), "name", "1 to 64 letters, digits, '_', '-' or '.'");
        check(names.insert(name), "name", "a name that nobody else has");
        check(
            token.len() >= TOKEN_MIN,
            "token",
            "16 characters or more; make one with: openssl rand -hex 24",
        );
        check(tokens.insert(token), "token", "a token that nobody else has");
        check(
            !operator.scopes.is_empty(),
            "scopes",
            "one or more of read, tune, channels, orders, reconcile, webhooks",
        );
    }
    faults
}

/// The channels of a running sandbox, as `[channels.*]` tables, from its keys folder.
///
/// # Errors
/// A file that cannot be read or understood, with its path.
pub(crate) fn channels_of_sandbox(dir: &Path) -> anyhow::Result<toml::Table> {
    use anyhow::Context as _;

    let mut all = toml::Table::new();
    for name in channels::registry::names() {
        let path = dir.join(name).join("credentials.toml");
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let table: toml::Table = text.parse().with_context(|| format!("{}", path.display()))?;
        all.insert(name.to_owned(), table.into());
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn faults(text: &str) -> Vec<String> {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        load(&[file.path().to_owned()]).map_or_else(|e| e.0, |_| Vec::new())
    }

    #[test]
    fn the_defaults_and_the_examples_are_good() {
        assert_eq!(faults(""), [""; 0]);
        for example in ["config/default.toml", "config/sandbox.toml", "config/production.example.toml"] {
            let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(example);
            assert!(load(&[path]).is_ok(), "{example}");
        }
    }

    #[test]
    fn every_fault_is_named_with_its_key() {
        let found = faults(
            "[http]\nbody_max_bytes = 3\n[webhooks]\nsecret = \"x\"\n[channels]\norder = [\"gold\"]\n",
        );
        for key in ["http.body_max_bytes", "webhooks.secret", "channels.order"] {
            assert!(found.iter().any(|f| f.starts_with(key)), "{key} in {found:?}");
        }
        let found = faults("[tuning]\nhedge_after_ms = 99999999\n");
        assert!(found.iter().any(|f| f.contains("hedge_after_ms")), "{found:?}");
        let found = faults("[http]\nlisten = 5\n");
        assert!(found.iter().any(|f| f.contains("http.listen")), "{found:?}");
        let found = faults("[htp]\nlisten = \"127.0.0.1:1\"\n");
        assert!(found.iter().any(|f| f.contains("htp")), "{found:?}");
        let found = faults(
            "[[operators]]\nname = \"a b\"\ntoken = \"short\"\nscopes = []\n\
             [[operators]]\nname = \"a b\"\ntoken = \"short\"\nscopes = [\"read\"]\n",
        );
        for key in [
            "operators.0.name",
            "operators.0.token",
            "operators.0.scopes",
            "operators.1.name",
            "operators.1.token",
        ] {
            assert!(found.iter().any(|f| f.starts_with(key)), "{key} in {found:?}");
        }
        let found =
            faults("[[operators]]\nname = \"a\"\ntoken = \"0123456789abcdef\"\nscopes = [\"gold\"]\n");
        assert!(found.iter().any(|f| f.contains("operators") && f.contains("gold")), "{found:?}");
        let found = faults("[http\n");
        assert!(found.iter().any(|f| f.contains("line 1")), "{found:?}");
    }
}
