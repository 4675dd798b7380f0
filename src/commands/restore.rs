//! `rushpay restore`: puts a copy in the store's place and says what has to follow.

use anyhow::Context as _;
use domain::Timestamp;
use store::{SqliteStore, Store as _};

use super::{migrate, now, say};
use crate::{
    backup::{self, RESTORED_MARK, Restored},
    cli::Restore,
    config,
};

pub(super) async fn run(args: Restore) -> anyhow::Result<bool> {
    let config = config::load(&args.files.config)?;
    let path = &config.store.path;
    if args.finish {
        let store = migrate::open_existing(&config).await?;
        return finish(&store).await;
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
    let given: String =
        args.files.config.iter().map(|file| format!(" --config {}", file.display())).collect();
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
        "\x20    money for orders that this store does not know is listed, to be refunded or kept by an operator\n\
         \x20 3. rushpay audit{given}\n\
         \x20 4. rushpay restore{given} --finish\n\
         \x20    until then, refunds that are asked for orders accepted before now are refused: a refund that this store\n\
         \x20    does not know may have been paid, and its number would be used again\n"
    );
    say(&text)?;
    Ok(true)
}

async fn finish(store: &SqliteStore) -> anyhow::Result<bool> {
    match Restored::of(store).await? {
        Some(restored) => {
            store.mark_set(RESTORED_MARK, "").await?;
            say(&format!("the restore of {} is finished; refunds are open again\n", restored.restored_at))?;
        }
        None => say("this store was not restored, or that is finished already\n")?,
    }
    Ok(true)
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
