//! Finding a scenario by name or file, and reading it.
//!
//! The shipped scenarios are part of the binary. A name with a path separator or ending in `.toml` is a
//! file; any other is a shipped name. A file that cannot be read or understood is refused whole, with its
//! path, the line and the key.

use std::path::{Path, PathBuf};

use super::Scenario;

macro_rules! shipped {
    ($($name:literal),+ $(,)?) => {
        &[$(($name, include_str!(concat!("../../scenarios/", $name, ".toml")))),+]
    };
}

/// Name and text of every shipped scenario, the default first.
const SHIPPED: &[(&str, &str)] = shipped![
    "lunch-rush",
    "steady",
    "wechat-slow",
    "wechat-down",
    "lost-notifications",
    "four-channels",
    "all-down",
    "double-payer",
    "flaky-campus",
    "kill-nine",
    "intake",
    "burst",
];

/// Why there is no such scenario.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Neither a shipped name nor a file.
    #[error("no scenario \"{name}\": shipped are {shipped}; or name a .toml file")]
    Unknown {
        /// What was asked for.
        name: String,
        /// All shipped names.
        shipped: String,
    },
    /// The file could not be read.
    #[error("scenario file {}: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The system's word.
        source: std::io::Error,
    },
    /// The text is not a scenario: syntax, an unknown key, a missing key or a wrong type.
    #[error("scenario {origin}: {problem}")]
    Malformed {
        /// The file or the shipped name.
        origin: String,
        /// Line, column, key, and what was expected.
        problem: String,
    },
    /// Values that are out of range or contradict each other, all of them.
    #[error("scenario {origin}: {}", problems.join("; "))]
    Invalid {
        /// The file or the shipped name.
        origin: String,
        /// One sentence per fault, each with the key's path.
        problems: Vec<String>,
    },
}

impl Scenario {
    /// The scenario of a shipped name, or in the file of that path.
    ///
    /// # Errors
    /// [`Error`], by cause. Nothing has been started.
    pub fn find(name_or_path: &str) -> Result<Scenario, Error> {
        let path = Path::new(name_or_path);
        let is_file = path.extension().is_some_and(|e| e == "toml") || path.components().count() > 1;
        if is_file {
            let text = std::fs::read_to_string(path)
                .map_err(|source| Error::Unreadable { path: path.to_owned(), source })?;
            return Scenario::parse(&text, name_or_path);
        }
        let (name, text) = SHIPPED.iter().find(|(name, _)| *name == name_or_path).ok_or_else(|| {
            Error::Unknown { name: name_or_path.to_owned(), shipped: Scenario::names().join(", ") }
        })?;
        Scenario::parse(text, name)
    }

    /// The names of the shipped scenarios, the default first.
    #[must_use]
    pub fn names() -> Vec<&'static str> {
        SHIPPED.iter().map(|(name, _)| *name).collect()
    }

    /// The text of a shipped scenario, for `--print` and as a pattern to copy.
    #[must_use]
    pub fn text(name: &str) -> Option<&'static str> {
        SHIPPED.iter().find(|(shipped, _)| *shipped == name).map(|(_, text)| *text)
    }

    /// Reads and checks a scenario. `origin` names the text in errors.
    ///
    /// # Errors
    /// [`Error::Malformed`] with line and key, or [`Error::Invalid`] with every fault.
    pub fn parse(text: &str, origin: &str) -> Result<Scenario, Error> {
        let scenario: Scenario = toml::from_str(text).map_err(|error| Error::Malformed {
            origin: origin.to_owned(),
            problem: one_line(text, &error),
        })?;
        let problems = scenario.problems();
        if problems.is_empty() {
            Ok(scenario)
        } else {
            Err(Error::Invalid { origin: origin.to_owned(), problems })
        }
    }
}

/// "line 3, `ordres = 3000`: unknown field `ordres`, expected …"
fn one_line(text: &str, error: &toml::de::Error) -> String {
    let message = error.message().trim();
    let Some(span) = error.span() else { return message.to_owned() };
    let before = text.get(..span.start).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let shown = text.lines().nth(line - 1).unwrap_or_default().trim();
    format!("line {line}, `{shown}`: {message}")
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    const SMALL: &str = "name = \"x\"\ndescription = \"y\"\norders = 10\nduration_s = 1.0\n";

    #[test]
    fn every_shipped_scenario_parses_and_carries_its_own_name() {
        for name in Scenario::names() {
            let scenario = Scenario::find(name).unwrap_or_else(|e| panic!("{e}"));
            assert_eq!(scenario.name, name);
            assert!(scenario.description.len() > 40, "{name} should say what it shows");
        }
    }

    #[test]
    fn an_unknown_key_is_named_with_its_line_and_what_is_allowed() {
        let error = Scenario::parse(&format!("{SMALL}[payer]\nwalks_of = 0.1\n"), "my.toml").unwrap_err();
        let text = error.to_string();
        assert!(text.contains("my.toml"), "{text}");
        assert!(text.contains("line 6"), "{text}");
        assert!(text.contains("walks_of") && text.contains("walks_away"), "{text}");
        assert!(!text.contains('\n'), "one line: {text}");
    }

    #[test]
    fn a_wrong_type_and_a_missing_key_are_named() {
        let wrong = Scenario::parse(&SMALL.replace("10", "\"ten\""), "my.toml").unwrap_err().to_string();
        assert!(wrong.contains("line 3") && wrong.contains("orders"), "{wrong}");
        let missing = Scenario::parse("name = \"x\"\n", "my.toml").unwrap_err().to_string();
        assert!(missing.contains("description"), "{missing}");
    }

    #[test]
    fn all_values_out_of_range_are_reported_together_by_key() {
        let text =
            format!("{SMALL}[payer]\nhint = 1.5\ncancels = 0.7\nno_balance = 0.6\n[mix]\nmerchants = 0\n");
        let error = Scenario::parse(&text, "my.toml").unwrap_err().to_string();
        assert!(error.contains("payer.hint"), "{error}");
        assert!(error.contains("add up"), "{error}");
        assert!(error.contains("mix.merchants"), "{error}");
    }

    #[test]
    fn an_unknown_name_lists_the_shipped_ones_and_a_missing_file_its_path() {
        let error = Scenario::find("lunch").unwrap_err().to_string();
        assert!(
            error.contains("\"lunch\"") && error.contains("lunch-rush") && error.contains("burst"),
            "{error}"
        );
        let error = Scenario::find("./no/such.toml").unwrap_err().to_string();
        assert!(error.contains("no/such.toml"), "{error}");
    }

    #[test]
    fn the_first_version_has_the_same_weather_and_payers_but_one_channel_and_slow_questions() {
        let full = Scenario::find("flaky-campus").unwrap();
        let plain = full.first_version();
        assert_eq!((&plain.faults, &plain.initial_faults), (&full.faults, &full.initial_faults));
        assert_eq!((plain.orders, &plain.basket), (full.orders, &full.basket));
        assert_eq!(plain.mix.channels, ["wechat"]);
        assert_eq!(plain.tuning["hedge_enabled"], false);
        assert_eq!(plain.tuning["poll_every_ms"], 5_000);
    }

    #[test]
    fn a_file_overrides_the_shipped_scenario() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("mine.toml");
        std::fs::write(&path, SMALL).unwrap();
        assert_eq!(Scenario::find(path.to_str().unwrap()).unwrap().orders, 10);
    }
}
