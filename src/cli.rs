//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::sign::Scheme;

/// Payments for campus food delivery: accepts orders at once, collects over WeChat Pay, changes over when it is
/// slow, and accounts for every fen.
#[derive(Debug, Parser)]
#[command(name = "rushpay", version, about, arg_required_else_help = true)]
pub(crate) struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the service
    Serve(Serve),
    /// Take a lunch rush from orders to audit: service and sandbox as processes of their own, load, report
    Rush(Rush),
    /// Take a rush while the service is killed, frozen, cut off and out of disk, and account for every order
    Chaos(Chaos),
    /// Run the channels alone, wire-compatible, with keys for any SDK
    Sandbox(Sandbox),
    /// Live through lunches with misbehaving channels, crashes and a failing disk, under a clock of its own
    Simulate(Simulate),
    /// Load a service that runs already
    Loadtest(Loadtest),
    /// Account for every fen; exit 0 only if nothing contradicts
    Audit(Audit),
    /// Copy the store to a file while the service runs
    Backup(Backup),
    /// Put a copy in the place of the store
    Restore(Restore),
    /// Tell the story of an order with its certificates
    Explain(Explain),
    /// Look for what is wrong with a configuration before it goes live
    Doctor(Doctor),
    /// Why was a signature refused?
    #[command(subcommand)]
    Sign(SignWhat),
    /// Show the calls of the channels, or the trace of one order's with its gaps
    Callbacks(Callbacks),
    /// Pass channels' calls on from a public host to an inner server, and keep them while that is down
    Relay(Relay),
    /// Compare our books with the channels' bills of a day; exit 0 only without differences
    Reconcile(Reconcile),
    /// Make or update the tables of the store
    Migrate(Files),
    /// List the thresholds of a running service, or change one
    Tune(Tune),
    /// List the webhooks of a running service with their tries, or send some again
    Webhooks(Webhooks),
    /// Print the API's description (OpenAPI 3.1)
    Openapi,
}

/// Configuration files.
#[derive(Debug, Clone, Args)]
pub(crate) struct Files {
    /// Configuration file; may be given several times, later ones win
    #[arg(long = "config", value_name = "FILE")]
    pub config: Vec<PathBuf>,
}

/// `serve`
#[derive(Debug, Args)]
pub(crate) struct Serve {
    #[command(flatten)]
    pub files: Files,
    /// Also start the channels of the sandbox, beside the store, and use them
    #[arg(long)]
    pub sandbox: bool,
}

/// `rush`
#[derive(Debug, Args)]
pub(crate) struct Rush {
    /// A scenario's name or file; `--list` shows the names
    #[arg(long, default_value = "lunch-rush")]
    pub scenario: String,
    /// How many orders, instead of the scenario's number
    #[arg(long)]
    pub orders: Option<u32>,
    /// Where report.json and report.html go
    #[arg(long, value_name = "DIR", default_value = "rush-report")]
    pub report: PathBuf,
    /// Decides arrivals, payers and faults
    #[arg(long, default_value_t = 20_261_123)]
    pub seed: u64,
    /// Configuration for the service, on top of the rush's own
    #[arg(long = "config", value_name = "FILE")]
    pub config: Vec<PathBuf>,
    /// Run flaky-campus twice: as a first version is usually written, then with everything on
    #[arg(long)]
    pub compare: bool,
    /// Keep the data folder (store, logs, keys) here
    #[arg(long, value_name = "DIR")]
    pub keep: Option<PathBuf>,
    /// Show the names of the scenarios
    #[arg(long)]
    pub list: bool,
    /// No progress on the terminal
    #[arg(long)]
    pub quiet: bool,
}

/// `chaos`
#[derive(Debug, Args)]
pub(crate) struct Chaos {
    /// How often the service is ended with SIGKILL, some of it in the middle of a start [default: 6 a minute]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub kills: Option<u32>,
    /// How long orders come in, 0.5 to 1440 [default: as long as the mischief takes, at least a minute]
    #[arg(long, value_name = "M", value_parser = minutes)]
    minutes: Option<f64>,
    /// How many orders [default: 20 a second]; without --minutes they also decide how long it takes
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub orders: Option<u32>,
    /// Decides mischief, arrivals, payers and faults
    #[arg(long, default_value_t = 20_261_123)]
    pub seed: u64,
    /// Only these kinds of mischief
    #[arg(long, value_enum, value_delimiter = ',', value_name = "KINDS")]
    only: Vec<MischiefKind>,
    /// How the disk is made full: a tmpfs needs root, a limit on file sizes does not
    #[arg(long, value_enum, default_value_t = DiskKind::Auto)]
    pub disk: DiskKind,
    /// Where report.json and report.html go
    #[arg(long, value_name = "DIR", default_value = "chaos-report")]
    pub report: PathBuf,
    /// Configuration for the service, on top of the run's own
    #[arg(long = "config", value_name = "FILE")]
    pub config: Vec<PathBuf>,
    /// Keep the data folder (store, logs, keys) here
    #[arg(long, value_name = "DIR")]
    pub keep: Option<PathBuf>,
    /// No progress
    #[arg(long)]
    pub quiet: bool,
}

fn minutes(text: &str) -> Result<f64, String> {
    let minutes: f64 = text.parse().map_err(|_| "expected a number".to_owned())?;
    let sound = (0.5..=1_440.0).contains(&minutes);
    if sound { Ok(minutes) } else { Err("expected 0.5 to 1440".to_owned()) }
}

/// What can be done to a house.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum MischiefKind {
    /// SIGKILL, also in the middle of a start
    Kill,
    /// SIGSTOP for longer than every deadline
    Freeze,
    /// No room on the disk of store and log
    Disk,
    /// Connections to the channels break
    Cut,
    /// The channels' clock is minutes off
    Clock,
}

impl MischiefKind {
    /// The word for it, as on the command line.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            MischiefKind::Kill => "kill",
            MischiefKind::Freeze => "freeze",
            MischiefKind::Disk => "disk",
            MischiefKind::Cut => "cut",
            MischiefKind::Clock => "clock",
        }
    }
}

/// How a disk is made full.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum DiskKind {
    /// A tmpfs if it can be mounted, else a limit
    Auto,
    /// A small file system in memory, filled by a ballast file
    Tmpfs,
    /// The service may not write to files beyond their first bytes (RLIMIT_FSIZE)
    Limit,
}

impl Chaos {
    pub(crate) fn kinds(&self) -> Vec<MischiefKind> {
        use clap::ValueEnum as _;
        if self.only.is_empty() { MischiefKind::value_variants().to_vec() } else { self.only.clone() }
    }

    /// How long orders come in, in seconds, if somebody said so.
    pub(crate) fn lasts_s(&self, orders_per_s: f64) -> Option<f64> {
        self.minutes.map(|m| m * 60.0).or_else(|| self.orders.map(|n| f64::from(n) / orders_per_s))
    }

    /// The command that plans the same run.
    pub(crate) fn repeat(&self) -> String {
        let mut text = format!("rushpay chaos --seed {}", self.seed);
        if let Some(kills) = self.kills {
            text += &format!(" --kills {kills}");
        }
        if let Some(minutes) = self.minutes {
            text += &format!(" --minutes {minutes}");
        }
        if let Some(orders) = self.orders {
            text += &format!(" --orders {orders}");
        }
        if !self.only.is_empty() {
            let only: Vec<&str> = self.only.iter().map(|kind| kind.name()).collect();
            text += &format!(" --only {}", only.join(","));
        }
        text
    }
}

/// `simulate`
#[derive(Debug, Args)]
pub(crate) struct Simulate {
    /// Decides everything: arrivals, payers, channels, crashes
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// How many orders under each seed
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    pub orders: u64,
    /// How many lunches they are spread over
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=1_000))]
    pub days: u64,
    /// How many seeds, from --seed on, one after another on every core
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    pub seeds: u64,
    /// Begin no further seed after so many seconds
    #[arg(long = "for", value_name = "SECONDS")]
    pub for_s: Option<u64>,
    /// How many seeds at once, instead of one for each core
    #[arg(long)]
    pub jobs: Option<std::num::NonZeroUsize>,
    /// The figures as JSON
    #[arg(long)]
    pub json: bool,
    /// No progress on the terminal
    #[arg(long)]
    pub quiet: bool,
}

/// `sandbox`
#[derive(Debug, Args)]
pub(crate) struct Sandbox {
    /// Keys and addresses are written here; kept if they are there
    #[arg(long, value_name = "DIR", default_value = "sandbox-keys")]
    pub dir: PathBuf,
    /// Control port; the channels follow on the next ones. 0: free ports
    #[arg(long, value_name = "N", default_value_t = 9100)]
    pub port_base: u16,
    /// Start with the faults of this scenario
    #[arg(long, value_name = "NAME|FILE")]
    pub scenario: Option<String>,
    /// Decides every fault
    #[arg(long, default_value_t = 20_261_123)]
    pub seed: u64,
}

/// `loadtest`
#[derive(Debug, Args)]
pub(crate) struct Loadtest {
    /// Address of the service
    #[arg(long, value_name = "URL")]
    pub target: String,
    /// Control address of the sandbox it uses
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:9100")]
    pub sandbox: String,
    /// The service's webhooks.secret
    #[arg(long, env = "RUSHPAY__WEBHOOKS__SECRET", hide_env_values = true)]
    pub webhook_secret: String,
    /// A scenario's name or file
    #[arg(long, default_value = "lunch-rush")]
    pub scenario: String,
    /// How many orders, instead of the scenario's number
    #[arg(long)]
    pub orders: Option<u32>,
    /// Decides arrivals and payers
    #[arg(long, default_value_t = 20_261_123)]
    pub seed: u64,
    /// Where report.json and report.html go
    #[arg(long, value_name = "DIR", default_value = "rush-report")]
    pub report: PathBuf,
}

/// `audit`
#[derive(Debug, Args)]
pub(crate) struct Audit {
    #[command(flatten)]
    pub files: Files,
    /// Control address of the sandbox, to compare with the channels' own books
    #[arg(long, value_name = "URL", conflicts_with = "verify")]
    pub sandbox: Option<String>,
    /// Print the report as JSON
    #[arg(long)]
    pub json: bool,
    /// Write a signed certificate of what was found to this file, which must not exist
    #[arg(long, value_name = "FILE", requires = "sign_key", conflicts_with = "verify")]
    pub certificate: Option<PathBuf>,
    /// The Ed25519 key that signs the certificate (PEM); made if it is not there
    #[arg(long, value_name = "FILE", requires = "certificate")]
    pub sign_key: Option<PathBuf>,
    /// The certificate before this one, whose digest the new one names
    #[arg(long, value_name = "FILE", requires = "certificate")]
    pub previous: Option<PathBuf>,
    /// Check a certificate: signature, inner consistency, and the store, if it is there
    #[arg(long, value_name = "FILE")]
    pub verify: Option<PathBuf>,
    /// The public key that must have signed it (ed25519:…); otherwise the certificate vouches for itself
    #[arg(long, value_name = "PUBLIC_KEY", requires = "verify")]
    pub trust: Option<String>,
}

/// `backup`
#[derive(Debug, Args)]
pub(crate) struct Backup {
    #[command(flatten)]
    pub files: Files,
    /// Where the copy goes; the file must not exist. Its manifest stands beside it
    #[arg(long, value_name = "FILE", required_unless_present = "check")]
    pub to: Option<PathBuf>,
    /// Also audit the copy
    #[arg(long)]
    pub verify: bool,
    /// Take no copy; check one against its manifest, page by page
    #[arg(long, value_name = "FILE", conflicts_with = "to")]
    pub check: Option<PathBuf>,
}

/// `restore`
#[derive(Debug, Args)]
pub(crate) struct Restore {
    #[command(flatten)]
    pub files: Files,
    /// The copy; its manifest must stand beside it
    #[arg(long, value_name = "FILE", required_unless_present = "finish")]
    pub from: Option<PathBuf>,
    /// Move a store that is there aside; without this it is not touched
    #[arg(long)]
    pub replace: bool,
    /// Open refunds of older orders again: only once a restored store has caught up with its channels, that is once every
    /// bill since the copy was taken is reconciled and none of its differences is open; else exit 1, and what to do
    #[arg(long, conflicts_with_all = ["from", "replace"])]
    pub finish: bool,
    /// Finish though bills or differences are open, after every refund since the copy was compared by hand: a refund
    /// number that a channel knows already may be used again. Kept in the store
    #[arg(long, requires = "finish")]
    pub unreconciled: bool,
    /// Use the channels of the sandbox whose keys are in this folder
    #[arg(long, value_name = "DIR", requires = "finish")]
    pub sandbox_keys: Option<PathBuf>,
}

/// `explain`
#[derive(Debug, Args)]
pub(crate) struct Explain {
    /// The order's id, or one of its channel order numbers
    pub order: String,
    #[command(flatten)]
    pub files: Files,
}

/// `tune`
#[derive(Debug, Args)]
pub(crate) struct Tune {
    /// The threshold; without one, all are listed
    pub key: Option<String>,
    /// Its new value
    #[arg(requires = "key")]
    pub value: Option<String>,
    #[command(flatten)]
    pub service: Target,
}

/// A running service, spoken to as an operator.
#[derive(Debug, Args)]
pub(crate) struct Target {
    /// Address of the service
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8080")]
    pub target: String,
    /// Token of an operator with the scope for the act, if the service has operators
    #[arg(long, env = "RUSHPAY__HTTP__ADMIN_TOKEN", hide_env_values = true, default_value = "")]
    pub token: String,
}

/// `webhooks`
#[derive(Debug, Args)]
pub(crate) struct Webhooks {
    /// Only in this state; without any choice, how each backend does is shown, too
    #[arg(long, value_parser = ["due", "dead", "delivered", "none"])]
    pub state: Option<String>,
    /// Only to this backend (host and port of its address)
    #[arg(long, value_name = "HOST")]
    pub backend: Option<String>,
    /// Only of this order: its id, or one of its channel order numbers
    #[arg(long, value_name = "ORDER")]
    pub order: Option<String>,
    /// At most so many
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub limit: u16,
    /// Send this one again, under the same webhook-id and on a fresh schedule
    #[arg(long, value_name = "ID", conflicts_with_all = ["state", "backend", "order", "resend_all"])]
    pub resend: Option<String>,
    /// Send every dead one of --backend again
    #[arg(long, requires = "backend", conflicts_with_all = ["state", "order"])]
    pub resend_all: bool,
    #[command(flatten)]
    pub service: Target,
}

/// `doctor`
#[derive(Debug, Args)]
pub(crate) struct Doctor {
    #[command(flatten)]
    pub files: Files,
    /// What the configuration is meant for
    #[arg(long, value_enum, default_value_t = Profile::Production)]
    pub profile: Profile,
    /// Look at options and files only: no channel, no callback, no clock
    #[arg(long)]
    pub offline: bool,
    /// Print the findings as JSON
    #[arg(long)]
    pub json: bool,
}

/// What a configuration is meant for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Profile {
    /// Real money: test ids, private addresses and developers' switches are errors
    Production,
    /// A developer's machine
    Development,
}

/// `sign`
#[derive(Debug, Subcommand)]
pub(crate) enum SignWhat {
    /// Print the exact string to sign of a request, where it differs, and the likely cause; exit 0 if all is well
    Explain(SignExplain),
}

/// `sign explain`
#[derive(Debug, Args)]
pub(crate) struct SignExplain {
    /// Whose rules
    #[arg(long, value_enum)]
    pub channel: Scheme,
    /// The raw dump of a call (as `curl -v` writes it), with or without its answer; `-` reads standard input
    #[arg(long, value_name = "FILE")]
    pub dump: Option<PathBuf>,
    /// HTTP method [default: POST]
    #[arg(long)]
    pub method: Option<String>,
    /// Address or path with the query, as it was sent
    #[arg(long)]
    pub url: Option<String>,
    /// A header, "Name: value"; may be given several times
    #[arg(long, value_name = "HEADER")]
    pub header: Vec<String>,
    /// File with the body's bytes
    #[arg(long, value_name = "FILE")]
    pub body: Option<PathBuf>,
    /// The key that signs: private key (PEM), PKCS#12 file, or the campus card's secret
    #[arg(long, value_name = "FILE")]
    pub key: Option<PathBuf>,
    /// Password of a PKCS#12 file
    #[arg(long, env = "RUSHPAY_KEY_PASSWORD", hide_env_values = true)]
    pub password: Option<String>,
    /// The certificate whose serial the request should name
    #[arg(long, value_name = "FILE")]
    pub certificate: Option<PathBuf>,
    /// File with the string that the server says it signed
    #[arg(long, value_name = "FILE")]
    pub server_string: Option<PathBuf>,
    /// The moment of the call, Unix seconds [default: now]
    #[arg(long, value_name = "SECONDS")]
    pub now: Option<i64>,
}

/// `callbacks`
#[derive(Debug, Args)]
pub(crate) struct Callbacks {
    /// The order's id, or one of its channel order numbers; without one, the latest calls are listed
    #[arg(long)]
    pub order: Option<String>,
    /// Only of this channel
    #[arg(long)]
    pub channel: Option<String>,
    /// Only with this verdict: taken, repeat, bad_signature, foreign_address, ...
    #[arg(long)]
    pub verdict: Option<String>,
    /// At most so many calls
    #[arg(long, default_value_t = 100)]
    pub limit: usize,
    #[command(flatten)]
    pub files: Files,
}

/// `reconcile`
#[derive(Debug, Args)]
pub(crate) struct Reconcile {
    /// The day, as 2026-11-24 [default: yesterday on the campus]
    #[arg(long, value_name = "DAY")]
    pub date: Option<String>,
    /// Only this channel
    #[arg(long)]
    pub channel: Option<String>,
    /// Take the bill from this file instead of asking the channel
    #[arg(long, value_name = "BILL", requires = "channel")]
    pub file: Option<PathBuf>,
    /// Print runs and differences as JSON
    #[arg(long)]
    pub json: bool,
    /// Write the differences as CSV; `-` is standard output
    #[arg(long, value_name = "FILE", conflicts_with = "json")]
    pub csv: Option<PathBuf>,
    /// Use the channels of the sandbox whose keys are in this folder
    #[arg(long, value_name = "DIR")]
    pub sandbox_keys: Option<PathBuf>,
    /// No progress on the terminal
    #[arg(long)]
    pub quiet: bool,
    #[command(flatten)]
    pub files: Files,
}

/// `relay`
#[derive(Debug, Args)]
pub(crate) struct Relay {
    /// Address and port on the public host
    #[arg(long, default_value = "127.0.0.1:8090")]
    pub listen: std::net::SocketAddr,
    /// Address of the inner server
    #[arg(long, value_name = "URL")]
    pub to: String,
    /// Calls are kept here while the inner server is down
    #[arg(long, value_name = "DIR", default_value = "relay-spool")]
    pub dir: PathBuf,
    /// Calls are refused beyond so many MiB of kept ones
    #[arg(long, value_name = "N", default_value_t = 256)]
    pub max_mib: u64,
}
