//! The commands, one file each.

mod audit;
mod backup;
mod callbacks;
mod chaos;
mod doctor;
mod explain;
mod house;
mod loadtest;
mod migrate;
mod operator;
mod reconcile;
mod relay;
mod restore;
mod rush;
mod sandbox;
mod serve;
mod sign;
mod simulate;
mod tune;
mod webhooks;

use std::{io::Write as _, str::FromStr as _};

use domain::OrderId;

use crate::cli::Command;

/// Runs a command. `Ok(false)`: it ran, and what it found is not good.
///
/// # Errors
/// It could not run.
pub(crate) async fn run(command: Command) -> anyhow::Result<bool> {
    match command {
        Command::Serve(args) => serve::run(args).await,
        Command::Rush(args) => rush::run(args).await,
        Command::Chaos(args) => chaos::run(args).await,
        Command::Sandbox(args) => sandbox::run(args).await,
        Command::Simulate(args) => simulate::run(&args),
        Command::Loadtest(args) => loadtest::run(args).await,
        Command::Audit(args) => audit::run(args).await,
        Command::Backup(args) => backup::run(args).await,
        Command::Restore(args) => restore::run(args).await,
        Command::Explain(args) => explain::run(args).await,
        Command::Doctor(args) => doctor::run(args).await,
        Command::Sign(what) => sign::run(&what),
        Command::Callbacks(args) => callbacks::run(args).await,
        Command::Relay(args) => relay::run(args).await,
        Command::Reconcile(args) => reconcile::run(args).await,
        Command::Migrate(args) => migrate::run(args).await,
        Command::Tune(args) => tune::run(args).await,
        Command::Webhooks(args) => webhooks::run(args).await,
        Command::Openapi => say(&crate::http::openapi::text()).map(|()| true),
    }
}

/// The order that a person names: by its id, or by a channel order number, which is the id and two digits.
///
/// # Errors
/// It is neither.
fn order_id(text: &str) -> anyhow::Result<OrderId> {
    OrderId::from_str(text.get(..26).unwrap_or(text))
        .map_err(|e| anyhow::anyhow!("{text:?} is not an order id nor a channel order number: {e}"))
}

/// The moment, as the service takes it.
fn now() -> domain::Timestamp {
    actors::Clock::now(&actors::SystemClock)
}

/// Writes to standard output. A reader that went away is no error of ours.
///
/// # Errors
/// Standard output cannot be written.
pub(crate) fn say(text: &str) -> anyhow::Result<()> {
    match std::io::stdout().lock().write_all(text.as_bytes()) {
        Err(e) if e.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        other => Ok(other?),
    }
}

/// An error with its causes, in one line.
#[must_use]
pub(crate) fn in_words(error: &anyhow::Error) -> String {
    format!("{error:#}")
}
