//! Log lines on standard error: for people or for machines.

use std::io::IsTerminal as _;

use tracing_subscriber::EnvFilter;

use crate::config::{Log, LogFormat};

/// Starts logging.
///
/// # Errors
/// The filter cannot be read.
pub(crate) fn start(log: &Log) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(&log.level)
        .map_err(|e| crate::config::BadConfig(vec![format!("log.level: {e}")]))?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // A line that cannot be written (a full disk, a reader that went away) is lost. Complaining of it, as the library
    // would, panics where standard error is the one that is full, and takes the actor that logged with it.
    let builder = builder.log_internal_errors(false).with_ansi(std::io::stderr().is_terminal());
    match log.format {
        LogFormat::Text => builder.compact().init(),
        LogFormat::Json => builder.json().init(),
    }
    Ok(())
}
