//! The page: addresses, faults, counts, and what was seen with the verdict on each signature.

use crate::{clock::beijing, control::Control};

/// The page as it stands; reload it for the next look.
pub(crate) fn html(state: &Control) -> String {
    let rows = |items: Vec<String>| items.join("\n");
    let channels = state
        .channels
        .iter()
        .map(|(name, url)| format!("<tr><th>{}</th><td><code>{}</code></td></tr>", text(name), text(url)));
    let counts = state
        .world
        .counts()
        .into_iter()
        .map(|(what, n)| format!("<tr><th>{}</th><td class=n>{n}</td></tr>", text(&what)));
    let seen = state.world.seen(100).into_iter().map(|s| {
        format!(
            "<tr><td>{}</td><td>{}</td><td><code>{}</code></td><td class=n>{}</td><td>{}</td></tr>",
            text(&s.at),
            s.channel,
            text(&s.call),
            if s.status == 0 { "–".to_owned() } else { s.status.to_string() },
            text(&s.verdict)
        )
    });
    let faults = serde_json::to_string_pretty(&state.world.faults()).unwrap_or_default();
    format!(
        "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'>\
         <title>Rushpay sandbox</title><style>{STYLE}</style><h1>Rushpay sandbox</h1>\
         <p>Local channels; no money moves. Its clock says {now}. Reload for the next look.\
         <h2>Channels</h2><table>{channels}</table>\
         <h2>Counts</h2><table>{counts}</table>\
         <h2>Faults</h2><p>Set with <code>PUT /_sandbox/faults</code>.<pre>{faults}</pre>\
         <h2>Seen</h2><table><tr><th>when<th>channel<th>call<th>status<th>verdict</tr>{seen}</table></html>",
        now = beijing(state.world.clock.now()),
        channels = rows(channels.collect()),
        counts = rows(counts.collect()),
        faults = text(&faults),
        seen = rows(seen.collect()),
    )
}

const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;max-width:70rem;margin:2rem auto;padding:0 1rem;\
    color:#1d2433;background:#fff}table{border-collapse:collapse}th,td{text-align:left;padding:.25rem .8rem .25rem 0;\
    border-bottom:1px solid #dde2ea;vertical-align:top}.n{text-align:right}pre{background:#f4f6f9;padding:1rem;\
    overflow:auto}code{font-size:13px}";

fn text(raw: &str) -> String {
    raw.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
