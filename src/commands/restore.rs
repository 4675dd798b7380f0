//! `rushpay restore`: puts a copy in the store's place and says what has to follow.

use anyhow::Context as _;
use domain::Timestamp;
use serde_json::json;
use store::Store as _;

use super::{migrate, now, say, serve};
use crate::{
    backup::{self, RESTORED_MARK, Restored},
    cli::Restore,
    config,
};

pub(super) async fn run(args: Restore) -> anyhow::Result<bool> {
    let config = config::load(&args.files.config)?;
    let path = &config.store.path;
    if args.finish {
        return finish(&args, config).await;
    }
    let from = args.from.as_deref().context("--from FILE is missing")?;
    let now = now();
    let (manifest, aside) = backup::restore(from, path, args.replace, now).await?;
    let mut text = format!(
        "{} is restored from {}: {} orders as of {}\n",
        path.display(),
        from.display(),
        manifest.orders,
        manifest.taken_at
    );
    if let Some(aside) = aside {
        text += &format!("the store that was there is now {}\n", aside.display());
    }
    let given = given(&args);
    text += &format!(
        "\nWhat happened after {} is not in this store; the channels know it. Next:\n\
         \x20 1. rushpay serve{given}\n\
         \x20    every open order asks its channels under the numbers it had; nothing is charged anew\n",
        manifest.taken_at
    );
    for day in days(manifest.taken_at, now) {
        text += &format!("  2. rushpay reconcile{given} --date {day}\n");
    }
    text += &format!(
        "\x20    a day's bills exist the day after. Money for orders that this store does not know is listed, to be refunded\n\
         \x20    or written off by an operator (/reconciliation); so are refunds that their orders do not know, to be taken over\n\
         \x20 3. rushpay audit{given}\n\
         \x20 4. rushpay restore{given} --finish\n\
         \x20    refuses, and says what is missing, while one of these days is not reconciled or has open differences;\n\
         \x20    until then, refunds that are asked for orders accepted before now are refused: a refund that this store\n\
         \x20    does not know may have been paid, and its number would be used again\n"
    );
    say(&text)?;
    Ok(true)
}

/// Opens refunds of older orders again, if the store has caught up or an operator answers for it.
async fn finish(args: &Restore, mut config: config::Config) -> anyhow::Result<bool> {
    if let Some(dir) = &args.sandbox_keys {
        serve::use_sandbox(&mut config, dir)?;
    }
    let store = migrate::open_existing(&config).await?;
    let Some(restored) = Restored::of(&store).await? else {
        say("this store was not restored, or that is finished already\n")?;
        return Ok(true);
    };
    let (channels, now) = (serve::channels(&config)?, now());
    let missing = backup::missing(&store, &channels, &restored).await?;
    let words = missing.in_words(&given(args), now);
    if !missing.is_empty() && !args.unreconciled {
        say(&format!(
            "the restore of {} is NOT finished; refunds of orders from before it stay closed:\n{words}",
            restored.restored_at
        ))?;
        return Ok(false);
    }
    if !missing.is_empty() {
        say(&format!(
            "WARNING: finished on your word alone. A refund that stands on one of these bills may have been paid, and its \
             number may be used again: the channel would then say \"done\" about the other one, and the payer would lack \
             the second.\n{words}"
        ))?;
    }
    // Who finished what without its bills stays in the store, whatever becomes of the terminal.
    let trace = json!({
        "finished_at": now.to_string(), "taken_at": restored.taken_at.to_string(), "unreconciled": missing.names(),
    });
    store.mark_set(&format!("restore finished {}", restored.restored_at), &trace.to_string()).await?;
    store.mark_set(RESTORED_MARK, "").await?;
    say(&format!("the restore of {} is finished; refunds are open again\n", restored.restored_at))?;
    Ok(true)
}

/// The arguments that name the configuration.
fn given(args: &Restore) -> String {
    let files = args.files.config.iter().map(|file| format!(" --config {}", file.display()));
    let keys = args.sandbox_keys.iter().map(|dir| format!(" --sandbox-keys {}", dir.display()));
    files.chain(keys).collect()
}

/// The campus days whose bills hold what the copy does not, oldest first.
fn days(from: Timestamp, to: Timestamp) -> Vec<String> {
    /// +08:00
    const CAMPUS: std::time::Duration = std::time::Duration::from_secs(8 * 3600);
    const DAY: std::time::Duration = std::time::Duration::from_secs(24 * 3600);
    let day = |at: Timestamp| at.plus(CAMPUS).to_string().get(..10).unwrap_or_default().to_owned();
    let mut days = vec![day(from)];
    let mut at = from;
    while day(at) < day(to) {
        at = at.plus(DAY);
        days.push(day(at));
    }
    days
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_campus_day_since_the_copy_is_named() {
        let at = |text: &str| Timestamp::parse(text).unwrap();
        assert_eq!(days(at("2026-11-24T10:00:00Z"), at("2026-11-24T11:00:00Z")), ["2026-11-24"]);
        assert_eq!(
            days(at("2026-11-23T15:59:00Z"), at("2026-11-24T16:01:00Z")),
            ["2026-11-23", "2026-11-24", "2026-11-25"]
        );
    }
}
