//! `rushpay audit`: exit 0 only if every fen is accounted for; certificates of that, and their verification.

use std::path::Path;

use anyhow::Context as _;
use domain::audit::certificate::Maker;
use store::Store as _;

use super::{migrate::open_to_read, now, say};
use crate::{
    audit::{self, Signed, Trust},
    cli::Audit,
    config,
};

pub(super) async fn run(args: Audit) -> anyhow::Result<bool> {
    let config = config::load(&args.files.config)?;
    if let Some(file) = &args.verify {
        return verify(&args, file, &config).await;
    }
    let store = open_to_read(&config).await?;
    // Before the work: a key that cannot be used should not cost a minute.
    let signer = args.sign_key.as_deref().map(audit::signer).transpose()?;
    let maker = match &signer {
        Some(_) => Some(maker(&store, args.previous.as_deref()).await?),
        None => None,
    };
    let (report, certificate) = audit::certified(&store, args.sandbox.as_deref(), maker).await?;
    let text =
        if args.json { serde_json::to_string_pretty(&report)? + "\n" } else { audit::in_words(&report) };
    say(&text)?;
    if let (Some(signer), Some(certificate), Some(path)) = (&signer, &certificate, &args.certificate) {
        let signed = Signed::new(certificate, signer)?;
        signed.write(path)?;
        // Beside the report, which may be JSON.
        eprintln!("certificate {}, signed by {}", path.display(), signed.public_key());
    }
    Ok(report.clean)
}

async fn maker(store: &store::SqliteStore, previous: Option<&Path>) -> anyhow::Result<Maker> {
    let previous = match previous {
        Some(path) => {
            let signed = Signed::read(path)?;
            signed.open(None).with_context(|| format!("{} is not sound", path.display()))?;
            Some(signed.digest())
        }
        None => None,
    };
    let marks = store.marks().await?;
    Ok(Maker {
        tool: format!("rushpay {}", env!("CARGO_PKG_VERSION")),
        store: marks.get("store_id").cloned().unwrap_or_default(),
        made_at: now(),
        previous,
    })
}

async fn verify(args: &Audit, file: &Path, config: &config::Config) -> anyhow::Result<bool> {
    let signed = Signed::read(file)?;
    let (certificate, trust) = signed.open(args.trust.as_deref())?;
    let mut text = match trust {
        Trust::Given => format!("signed by {}, as trusted\n", signed.public_key()),
        Trust::Embedded => format!(
            "signed by {}, WHICH NOTHING BUT THE CERTIFICATE VOUCHES FOR: give --trust with the key you know\n",
            signed.public_key()
        ),
    };
    let totals = &certificate.totals;
    text += &format!(
        "made at {} by {} of store {}: {} orders, {} transitions, captured {} fen, given back {} fen; {}\n",
        certificate.made_at,
        certificate.tool,
        certificate.store,
        totals.orders,
        totals.events,
        totals.captured_fen,
        totals.refunded_fen,
        if certificate.verdict.clean {
            "the audit was clean".to_owned()
        } else {
            format!("THE AUDIT HAD FOUND {} VIOLATIONS", certificate.verdict.violations)
        }
    );
    if let Some(range) = &certificate.range {
        text += &format!(
            "orders {} to {}, events from {} to {}\n",
            range.first_order, range.last_order, range.first_event_at, range.last_event_at
        );
    }
    let contradictions = certificate.contradictions();
    for contradiction in &contradictions {
        text += &format!("the certificate contradicts itself: {contradiction}\n");
    }
    let sound = contradictions.is_empty() && certificate.verdict.clean;
    say(&text)?;
    if !config.store.path.exists() && args.files.config.is_empty() {
        say(&format!("not compared with a store: there is no {}\n", config.store.path.display()))?;
        return Ok(sound);
    }
    let outcome = audit::compare(&open_to_read(config).await?, certificate).await?;
    say(&audit::compared_in_words(&outcome))?;
    Ok(sound && outcome.violations.is_empty())
}
