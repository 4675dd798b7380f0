//! The report as one HTML page: figures first, then what happened over time.
//!
//! Everything is inside the page: style, charts, text. Nothing is fetched, nothing runs. Light or dark
//! follows the reader's system.

use std::fmt::Write;

use super::{
    Line, Percentiles, Report, Weather,
    chart::{self, Mark, Series, escape},
    text,
};
use crate::{num, watch::Switch};

pub(super) const STYLE: &str = "
:root{color-scheme:light dark;--bg:#fbfaf7;--fg:#23231f;--dim:#6d6a60;--card:#fff;--edge:#e5e1d6;--good:#2c7a4b;--bad:#b3372a;
--c0:#8a8577;--c1:#2f6db3;--c2:#2c8a57;--c3:#c5533a;--c4:#b48a1e;--c5:#7a53a6}
@media(prefers-color-scheme:dark){:root{--bg:#17181a;--fg:#e8e6df;--dim:#9b978b;--card:#1f2123;--edge:#33363a;--good:#6cc490;--bad:#ef8474;
--c0:#9b978b;--c1:#7ab2ee;--c2:#6cc490;--c3:#ef8474;--c4:#e3bf58;--c5:#b695e0}}
*{box-sizing:border-box}body{margin:0;background:var(--bg);color:var(--fg);font:15px/1.5 system-ui,sans-serif}
main{max-width:1000px;margin:0 auto;padding:24px 16px 64px}h1{margin:0;font-size:26px}h2{font-size:17px;margin:32px 0 8px}
.dim{color:var(--dim)}.good{color:var(--good)}.bad{color:var(--bad)}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(150px,1fr));gap:10px;margin:18px 0}
.tile,.card{background:var(--card);border:1px solid var(--edge);border-radius:8px;padding:10px 14px}
.tile b{display:block;font-size:22px;font-variant-numeric:tabular-nums}.tile span{color:var(--dim);font-size:13px}
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}td,th{padding:4px 10px 4px 0;text-align:right;border-bottom:1px solid var(--edge)}
td:first-child,th:first-child,.text td,.text th{text-align:left}th{font-weight:500;color:var(--dim)}
.scroll{overflow-x:auto}svg{width:100%;height:auto;display:block}svg text{font-size:11px;fill:var(--dim)}
.grid{stroke:var(--edge);stroke-width:1}.line{fill:none;stroke-width:1.8;stroke-linejoin:round}
path.c0{stroke:var(--c0)}path.c1{stroke:var(--c1)}path.c2{stroke:var(--c2)}path.c3{stroke:var(--c3)}path.c4{stroke:var(--c4)}path.c5{stroke:var(--c5)}
rect.c0{fill:var(--c0)}rect.c1{fill:var(--c1)}rect.c2{fill:var(--c2)}rect.c3{fill:var(--c3)}rect.c4{fill:var(--c4)}rect.c5{fill:var(--c5)}
.band{fill-opacity:.28}.acts td{white-space:nowrap}.acts td:nth-child(3),.acts td:last-child{white-space:normal}
.key{display:inline-block;width:11px;height:11px;border-radius:3px;margin:0 5px 0 10px}.legend{margin:0 0 4px;font-size:13px;color:var(--dim)}
.key.c0{background:var(--c0)}.key.c1{background:var(--c1)}.key.c2{background:var(--c2)}.key.c3{background:var(--c3)}.key.c4{background:var(--c4)}.key.c5{background:var(--c5)}
.mark line{stroke:var(--fg);stroke-width:1;stroke-dasharray:3 3}.mark text{fill:var(--fg)}
.mark text,.weather text{paint-order:stroke;stroke:var(--card);stroke-width:3px;stroke-linejoin:round}
.weather line{stroke:var(--c3);stroke-width:1;stroke-dasharray:1 4}.weather text{fill:var(--c3)}
";

pub(super) fn page(r: &Report) -> String {
    let mut body = String::new();
    head(&mut body, r);
    tiles(&mut body, r);
    verdict(&mut body, r);
    latencies(&mut body, r);
    charts(&mut body, r);
    switches(&mut body, r);
    details(&mut body, r);
    document(&format!("Rushpay: {}", r.scenario), &body)
}

/// A whole page around a body.
pub(super) fn document(title: &str, body: &str) -> String {
    format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\"><title>{}</title>\
         <style>{STYLE}</style></head><body><main>{body}</main></body></html>\n",
        escape(title)
    )
}

fn head(body: &mut String, r: &Report) {
    // Writing to a string cannot fail.
    let _ = write!(
        body,
        "<h1>{}</h1><p>{}</p><p class=\"dim\">seed {}, started {}{}</p>",
        escape(&r.scenario),
        escape(&r.description),
        r.seed,
        escape(&r.started_at),
        if r.closed_loop { "; closed loop: latencies hide waiting" } else { "" }
    );
}

fn tiles(body: &mut String, r: &Report) {
    body.push_str("<div class=\"tiles\">");
    let mut tile = |value: String, label: &str| {
        let _ =
            write!(body, "<div class=\"tile\"><b>{}</b><span>{}</span></div>", escape(&value), escape(label));
    };
    each_tile(&mut tile, r);
    body.push_str("</div>");
}

fn each_tile(tile: &mut impl FnMut(String, &str), r: &Report) {
    tile(text::grouped(r.offered), &format!("orders offered, {:.0}/s", r.offered_per_s));
    tile(text::grouped(r.accepted), &format!("accepted, {:.0}/s", r.accepted_per_s));
    if r.pays {
        tile(text::grouped(r.succeeded), &format!("succeeded; {:.0}/s finished", r.finished_per_s));
        tile(format!("{} %", text::percent(r.failure_rate, 3)), "failures of able and willing payers");
    }
    if r.certainty_ms.count > 0 {
        tile(format!("{} ms", text::short_ms(r.certainty_ms.p99)), "paid to certain, p99");
    }
    tile(format!("{} ms", text::short_ms(r.accept_ms.p99)), "accepted, p99");
    if let Some(ratio) = r.floor_ratio {
        tile(format!("{ratio:.2} ×"), "CPU per order over the signature floor");
    }
    if let Some(rss) = r.peak_rss_mib {
        tile(format!("{rss:.0} MiB"), "peak memory of the service");
    }
}

fn verdict(body: &mut String, r: &Report) {
    let reasons = r.failed_reasons();
    let (class, word) = if reasons.is_empty() { ("good", "passed") } else { ("bad", "failed") };
    let _ = write!(
        body,
        "<div class=\"card\"><b class=\"{class}\">Run {word}.</b> {}",
        escape(&reasons.join("; "))
    );
    if let Some(audit) = &r.audit {
        let _ = write!(
            body,
            "<br>Audit <b class=\"{}\">{}</b>: {} orders, captured {}, refunded {}.",
            if audit.clean { "good" } else { "bad" },
            if audit.clean { "clean" } else { "not clean" },
            text::grouped(audit.orders),
            text::yuan(audit.captured_fen),
            text::yuan(audit.refunded_fen)
        );
        for violation in audit.violations.iter().take(50) {
            let _ = write!(body, "<br><span class=\"bad\">{}</span>", escape(violation));
        }
    }
    body.push_str("</div>");
    if !r.goals.is_empty() {
        body.push_str("<h2>Goals</h2><div class=\"scroll\"><table class=\"text\">");
        for goal in &r.goals {
            let (class, word) = if goal.met { ("good", "reached") } else { ("bad", "missed") };
            let _ = write!(
                body,
                "<tr><td class=\"{class}\">{word}</td><td>{}</td><td>{}</td></tr>",
                escape(&goal.goal),
                escape(&goal.measured)
            );
        }
        body.push_str("</table></div>");
    }
}

fn latencies(body: &mut String, r: &Report) {
    body.push_str(
        "<h2>Latency, ms</h2><div class=\"scroll\"><table><tr><th></th><th>p50</th><th>p90</th><th>p99</th>\
         <th>p99.9</th><th>max</th><th>count</th></tr>",
    );
    let rows: [(&str, &Percentiles); 5] = [
        ("planned moment to durable order", &r.accept_ms),
        ("planned moment to credential in hand", &r.credential_ms),
        ("paid to success readable", &r.certainty_ms),
        ("accepted to success, charged directly", &r.direct_ms),
        ("generator late", &r.generator.lag_ms),
    ];
    for (name, p) in rows.into_iter().filter(|(_, p)| p.count > 0) {
        let _ = write!(body, "<tr><td>{name}</td>");
        for ms in [p.p50, p.p90, p.p99, p.p999, p.max] {
            let _ = write!(body, "<td>{}</td>", text::short_ms(ms));
        }
        let _ = write!(body, "<td>{}</td></tr>", text::grouped(p.count));
    }
    body.push_str("</table></div>");
}

/// What the router decided.
fn marks(r: &Report) -> Vec<Mark> {
    let mark = |switch: &Switch| {
        let label = switch.label();
        let reason = format!("{:.2} s, {label}: {}", switch.at_s, switch.reason);
        Mark { class: "mark", at: switch.at_s, label, reason }
    };
    r.switches.iter().filter(|s| s.moves()).map(mark).collect()
}

/// What was done to the channels and to the service.
fn weather(r: &Report) -> Vec<Mark> {
    let mark = |w: &Weather| {
        let label = format!("{}: {}", w.on, w.what);
        Mark { class: "weather", at: w.at_s, reason: format!("{} s, {label}", w.at_s), label }
    };
    r.weather.iter().filter(|w| w.at_s > 0.0).map(mark).collect()
}

fn charts(body: &mut String, r: &Report) {
    let decisions = marks(r);
    let all: Vec<Mark> = weather(r).into_iter().chain(marks(r)).collect();
    let line = |name: &str, colour: usize, value: fn(&Line) -> Option<f64>| Series {
        name: name.to_owned(),
        colour,
        points: r.timeline.iter().enumerate().map(|(at, l)| (num::float_of(at) + 0.5, value(l))).collect(),
    };
    let mut add = |title: &str, svg: &str| {
        let _ = write!(body, "<h2>{title}</h2><div class=\"card\">{svg}</div>");
    };
    let mut rates = vec![
        line("offered", 0, |l| Some(l.offered.into())),
        line("accepted", 1, |l| Some(l.accepted.into())),
        line("finished", 2, |l| Some((l.succeeded + l.failed).into())),
    ];
    if r.pushed_back > 0 {
        rates.push(line("pushed back (429, 503)", 4, |l| Some(l.pushed_back.into())));
    }
    if r.unanswered > 0 {
        rates.push(line("unanswered", 3, |l| Some(l.unanswered.into())));
    }
    add("Orders per second", &chart::lines(&rates, &all, "orders/s"));

    let mut channels: Vec<&String> = r.timeline.iter().flat_map(|l| l.routed.keys()).collect();
    channels.sort_unstable();
    channels.dedup();
    // The channel that carried most stands at the bottom.
    channels.sort_by(|a, b| {
        let share = |name: &str| r.channel_share.get(name).copied().unwrap_or(0.0);
        share(b).total_cmp(&share(a))
    });
    if !channels.is_empty() {
        let layers: Vec<Series> = channels
            .iter()
            .enumerate()
            .map(|(index, name)| Series {
                name: (*name).clone(),
                colour: 1 + index % 5,
                points: r
                    .timeline
                    .iter()
                    .enumerate()
                    .map(|(at, l)| (num::float_of(at), l.routed.get(*name).map(|n| f64::from(*n))))
                    .collect(),
            })
            .collect();
        add(
            "Channel share, by the second in which the payer was served",
            &chart::shares(&layers, &decisions),
        );
    }
    let times = [
        line("accepted, p99", 1, |l| l.accept_p99_ms),
        line("certain, median", 2, |l| l.certainty_p50_ms),
        line("certain, p99", 3, |l| l.certainty_p99_ms),
    ];
    add("Latency in each second", &chart::lines(&times, &all, "ms"));
    add(
        "Payers under way",
        &chart::lines(&[line("under way", 5, |l| Some(l.in_flight.into()))], &decisions, "payers"),
    );
    if !r.certainty_curve.is_empty() {
        let points = r.certainty_curve.iter().map(|(ms, share)| (*ms, Some(share * 100.0))).collect();
        let curve = Series { name: "payers who are certain by then".into(), colour: 2, points };
        add("Time to certainty", &chart::distribution(&[curve]));
    }
}

fn switches(body: &mut String, r: &Report) {
    if r.switches.is_empty() {
        return;
    }
    body.push_str("<h2>Switches</h2><div class=\"scroll\"><table class=\"text\">");
    for switch in &r.switches {
        let _ = write!(
            body,
            "<tr><td>{:.2} s</td><td>{}</td><td>{}</td></tr>",
            switch.at_s,
            escape(&switch.label()),
            escape(&switch.reason)
        );
    }
    body.push_str("</table></div>");
}

fn details(body: &mut String, r: &Report) {
    let _ = write!(
        body,
        "<h2>All of it</h2><div class=\"card scroll\"><pre>{}</pre></div>",
        escape(text::summary(r).trim())
    );
}
