//! The page: addresses, what was seen with the verdict on each signature, faults that can be set, payers that can pay.

use crate::{clock::beijing, control::Control, html::escaped};

const STYLE: &str = include_str!("page/style.css");
const SCRIPT: &str = include_str!("page/script.js");

/// The page as it stands; its script keeps it fresh.
pub(crate) fn html(state: &Control) -> String {
    let channels: String = state
        .channels
        .iter()
        .map(|(name, url)| {
            format!("<tr><th>{}</th><td><code>{}</code></td></tr>", escaped(name), escaped(url))
        })
        .collect();
    let options: String =
        state.channels.keys().map(|name| format!("<option>{}</option>", escaped(name))).collect();
    let faults = serde_json::to_string_pretty(&state.world.faults()).unwrap_or_default();
    format!(
        "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'>\
         <title>Rushpay sandbox</title><style>{STYLE}</style>\
         <header><h1>Rushpay sandbox</h1><p>Local channels; no money moves. Its clock says <time id=clock>{now}</time>.</header>\
         <main><section><h2>Channels</h2><table>{channels}</table>\
         <p class=hint>Keys: <code>credentials.toml</code> and the files beside it, in the keys folder, one folder per channel.</section>\
         <section><h2>A payer acts</h2><form id=pay><label>Channel <select name=channel>{options}</select></label>\
         <label class=wide>Credential <input name=credential required placeholder='code_url, tradeNO, prepay_id, h5_url, tn'></label>\
         <label>Outcome <select name=outcome><option>pay<option>no_balance<option>wrong_password<option>cancel<option>credit</select></label>\
         <button>Act</button></form><output id=paid></output></section>\
         <section><h2>Faults</h2><p class=buttons><select id=preset-channel aria-label='channel of the preset'>{options}</select>\
         <button data-preset='{{}}'>healthy</button>\
         <button data-preset='{{\"latency\":{{\"median_ms\":2000,\"p99_ms\":4000}}}}'>slow</button>\
         <button data-preset='{{\"unreachable\":true}}'>unreachable</button>\
         <button data-preset='{{\"silence_rate\":0.5}}'>half silent</button>\
         <button data-preset='{{\"notify\":{{\"lost\":1.0}}}}'>notifications lost</button>\
         <button data-preset='{{\"notify\":{{\"doubled\":1.0,\"forged\":1.0}}}}'>doubled and forged</button>\
         <button data-preset='{{\"bad_signature_rate\":1.0}}'>bad signatures</button></p>\
         <form id=faults><textarea name=faults rows=8 spellcheck=false aria-label='faults by channel'>{faults}</textarea>\
         <button>Set these faults</button><output id=set></output></form></section>\
         <section><h2>The day</h2><p class=buttons><button data-post=/_sandbox/end_day>End the day: bills until now are yesterday's</button>\
         <button data-post=/_sandbox/wechat/rotate>New WeChat platform certificate</button></p><output id=done></output></section>\
         <section class=all><h2>Seen</h2><table id=seen><thead><tr><th>when<th>channel<th>call<th class=n>status<th>verdict</thead><tbody></tbody></table></section>\
         <section><h2>Counts</h2><table id=counts><tbody></tbody></table></section></main>\
         <script>{SCRIPT}</script></html>",
        now = beijing(state.world.clock.now()),
        faults = escaped(&faults),
    )
}
