//! `rushpay audit`: exit 0 only if every fen is accounted for.

use super::{migrate::open_existing, say};
use crate::{audit, cli::Audit, config};

pub(super) async fn run(args: Audit) -> anyhow::Result<bool> {
    let config = config::load(&args.files.config)?;
    let store = open_existing(&config).await?;
    let report = audit::audit(&store, args.sandbox.as_deref()).await?;
    let text =
        if args.json { serde_json::to_string_pretty(&report)? + "\n" } else { audit::in_words(&report) };
    say(&text)?;
    Ok(report.clean)
}
