//! Rushpay: payments for campus food delivery, from one binary. The front door: command line, configuration, HTTP,
//! wiring, shutdown.

mod audit;
mod backup;
mod callbacks;
mod cli;
mod commands;
mod config;
mod http;
mod logging;
mod reconciliation;
mod relay;
mod sign;

use std::{io::Write as _, process::ExitCode};

use clap::Parser as _;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// What was asked for did not come out well.
const FAILED: u8 = 1;
/// What was asked for makes no sense: usage, configuration, keys. Nothing was started.
const USAGE: u8 = 2;
/// The store is damaged, or not ours to write. Nothing was started, and not one byte of it was changed.
const UNSOUND: u8 = 3;

fn main() -> ExitCode {
    let cli = cli::Cli::parse();
    // The first provider stays; this is the first.
    let _already = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let done = actix_rt::System::new().block_on(commands::run(cli.command));
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(FAILED),
        Err(error) => {
            // Where nothing can be written, the exit code has to do.
            let _unwritable = writeln!(std::io::stderr(), "rushpay: {}", commands::in_words(&error));
            let usage = error.is::<config::BadConfig>() || error.is::<channels::Error>();
            let unsound = matches!(error.downcast_ref(), Some(store::Error::Unsound(_)));
            ExitCode::from(if unsound {
                UNSOUND
            } else if usage {
                USAGE
            } else {
                FAILED
            })
        }
    }
}
