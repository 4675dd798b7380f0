//! A run during which somebody did mischief to the house: what was done, what payers saw, and whether a fen was lost.
//!
//! Carries the load's own report and judges by other things than that does: a busy machine and a failed order are
//! no defects here. A lost order, a payer charged twice, books that differ and planned mischief that never happened
//! are. `report.json` holds the whole of it; scripts rely on its names.

use std::{collections::BTreeMap, fmt::Write, path::Path, time::Duration};

use serde::{Deserialize, Serialize};

use super::{
    AuditFigures, Percentiles, Report,
    chart::{self, Band, Series, escape},
    html, text,
};
use crate::{num, payer::Acceptance, run::RunResult, tally::Latency};

/// Something that was to be done to the house, and what came of it.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Mischief {
    /// `kill`, `freeze`, `disk`, `cut` or `clock`.
    pub kind: String,
    /// What, in words.
    pub what: String,
    /// Not before this second of the run.
    pub planned_at_s: f64,
    /// When it was done; absent if it never was.
    pub at_s: Option<f64>,
    /// When it was over and the service took orders again.
    pub until_s: Option<f64>,
    /// How many times the service was killed for it.
    pub kills: u32,
    /// From the start of the process or its waking until it was ready for orders, in milliseconds.
    pub ready_ms: Option<f64>,
    /// The longest time without an accepted order around it, in seconds, if it was done to the service.
    pub outage_s: Option<f64>,
    /// What was seen of it.
    pub seen: String,
    /// Why it does not count as done.
    pub problem: Option<String>,
}

/// What the store and the channels' books say after the run.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Judgement {
    /// How long after the load the last order was over, in seconds.
    pub settled_after_s: f64,
    /// Orders by state.
    pub states: BTreeMap<String, u64>,
    /// Orders whose acceptance was answered.
    pub promised: u64,
    /// Of these, the ones that the store does not have: number and id.
    pub lost: Vec<String>,
    /// Orders for which channels hold more than their amount, in words.
    pub doubled: Vec<String>,
    /// Orders that a payer read as paid and that are not, in words.
    pub taken_back: Vec<String>,
    /// Orders that are not over and owe nothing, or are not over long after their time, in words.
    pub stuck: Vec<String>,
    /// Orders that are not over and have time left.
    pub due: u64,
}

/// The whole report; its fields are the keys of `report.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ChaosReport {
    /// Decides mischief, arrivals, payers and faults.
    pub seed: u64,
    /// The command that plans the same run.
    pub repeat: String,
    /// Kills that were asked for.
    pub kills_wanted: u64,
    /// Kills that were done.
    pub kills: u64,
    /// Freezes past every deadline that were done.
    pub freezes: u64,
    /// Orders that were promised and are not there.
    pub lost: u64,
    /// Orders that were charged twice.
    pub doubled: u64,
    /// From the start of a killed service until it took orders.
    pub ready_ms: Percentiles,
    /// The longest time without an accepted order, in seconds.
    pub outage_max_s: f64,
    /// Planned moment to accepted, outages included.
    pub accept_ms: Percentiles,
    /// What was done, in its order.
    pub mischief: Vec<Mischief>,
    /// What the store and the books say.
    pub judgement: Judgement,
    /// The load's own report, with the audit.
    pub load: Report,
}

impl ChaosReport {
    /// Puts together what the load, the mischief and the judge have to tell.
    #[must_use]
    pub fn new(
        (seed, repeat, kills_wanted): (u64, String, u64),
        mut mischief: Vec<Mischief>,
        run: RunResult,
        judgement: Judgement,
        audit: AuditFigures,
    ) -> ChaosReport {
        let moments = moments(&run.accepted);
        let mut ready = Latency::default();
        for done in &mut mischief {
            let (Some(at), Some(until)) = (done.at_s, done.until_s) else { continue };
            let on_the_service = matches!(done.kind.as_str(), "kill" | "freeze" | "disk");
            done.outage_s = on_the_service.then(|| num::rounded(longest_gap(&moments, at, until), 3));
            // A start on a full disk takes as long as the disk is full.
            if let Some(ms) = done.ready_ms.filter(|_| done.kills > 0 && done.kind != "disk") {
                ready.record(num::seconds(ms / 1_000.0));
            }
        }
        let first = moments.first().copied().unwrap_or(0.0);
        let load = Report::from(run).finish(None, Some(audit));
        ChaosReport {
            seed,
            repeat,
            kills_wanted,
            kills: mischief.iter().map(|m| u64::from(m.kills)).sum(),
            freezes: count(&mischief, "freeze"),
            lost: num::count(judgement.lost.len()),
            doubled: num::count(judgement.doubled.len()),
            ready_ms: (&ready).into(),
            outage_max_s: num::rounded(longest_gap(&moments, first, f64::MAX), 3),
            accept_ms: load.accept_ms,
            mischief,
            judgement,
            load,
        }
    }

    /// Why the run is not good; empty for a good one. Anything here is an exit code other than 0.
    #[must_use]
    pub fn failed_reasons(&self) -> Vec<String> {
        let (judged, mut reasons) = (&self.judgement, Vec::new());
        let mut fail = |bad: bool, reason: String| {
            if bad {
                reasons.push(reason);
            }
        };
        fail(judged.promised == 0, "no order was accepted".into());
        fail(self.lost > 0, format!("{} accepted orders are lost", self.lost));
        fail(self.doubled > 0, format!("{} orders were charged twice", self.doubled));
        fail(
            !judged.taken_back.is_empty(),
            format!("{} orders read as paid are not", judged.taken_back.len()),
        );
        fail(!judged.stuck.is_empty(), format!("{} orders are stuck", judged.stuck.len()));
        fail(self.load.forgotten > 0, format!("{} orders were unknown when asked for", self.load.forgotten));
        fail(
            self.load.webhooks.refused > 0,
            format!("{} webhooks did not verify", self.load.webhooks.refused),
        );
        match &self.load.audit {
            Some(audit) => {
                fail(!audit.clean, format!("the audit found {} violations", audit.violations.len()));
            }
            None => fail(true, "there was no audit".into()),
        }
        fail(
            self.kills < self.kills_wanted,
            format!("{} of {} kills were done", self.kills, self.kills_wanted),
        );
        for m in &self.mischief {
            if let Some(problem) = &m.problem {
                fail(true, format!("{} planned for second {}: {problem}", m.kind, m.planned_at_s));
            }
        }
        reasons
    }

    /// Writes `report.json` and `report.html` into `dir`, which is made if need be. Overwrites.
    ///
    /// # Errors
    /// When the directory or a file cannot be written, with its path.
    pub fn write(&self, dir: &Path) -> anyhow::Result<()> {
        super::write(dir, "report.json", &(serde_json::to_string_pretty(self)? + "\n"))?;
        super::write(dir, "report.html", &self.html())
    }

    /// The report as text for a terminal.
    #[must_use]
    pub fn summary(&self) -> String {
        let mut out = format!("\nchaos (seed {}, {})\n\n", self.seed, self.load.started_at);
        for (label, line) in self.lines() {
            // Writing to a string cannot fail.
            let _ = writeln!(out, "  {label:<11} {line}");
        }
        out
    }

    /// Label and text, in the order in which people ask.
    fn lines(&self) -> Vec<(&'static str, String)> {
        let (load, judged) = (&self.load, &self.judgement);
        let ms = |p: &Percentiles| {
            let shown = |ms| text::short_ms(ms);
            format!("p50 {}, p99 {}, at most {} ms", shown(p.p50), shown(p.p99), shown(p.max))
        };
        let kinds = ["kill", "freeze", "disk", "cut", "clock"].map(|kind| match kind {
            "kill" => format!("{} of {} kills", self.kills, self.kills_wanted),
            other => format!("{other} {}", count(&self.mischief, other)),
        });
        let mut lines = vec![
            ("mischief", kinds.join(", ")),
            ("ready again", format!("{} after the start of a killed service", ms(&self.ready_ms))),
            (
                "accepted",
                format!(
                    "{} from the planned moment; nothing for {} s at worst",
                    ms(&self.accept_ms),
                    self.outage_max_s
                ),
            ),
            (
                "orders",
                format!(
                    "offered {}, promised {}, never accepted {}; {}",
                    text::grouped(load.offered),
                    text::grouped(judged.promised),
                    load.never_accepted,
                    text::counts(&judged.states)
                ),
            ),
            (
                "",
                format!(
                    "paid {} times; pushed back (429, 503) {}, repeated without an answer {}",
                    text::grouped(load.payments),
                    text::grouped(load.pushed_back),
                    text::grouped(load.unanswered)
                ),
            ),
            (
                "judged",
                format!(
                    "lost {}, charged twice {}, taken back {}, stuck {}, still due {}; all over {} s after the load",
                    self.lost,
                    self.doubled,
                    judged.taken_back.len(),
                    judged.stuck.len(),
                    judged.due,
                    judged.settled_after_s
                ),
            ),
        ];
        let found = judged.lost.iter().chain(&judged.doubled).chain(&judged.taken_back).chain(&judged.stuck);
        lines.extend(found.take(20).map(|line| ("", line.clone())));
        if let Some(audit) = &load.audit {
            lines.push((
                "audit",
                format!(
                    "{}: {} orders, captured {}, refunded {}",
                    if audit.clean { "clean" } else { "NOT CLEAN" },
                    text::grouped(audit.orders),
                    text::yuan(audit.captured_fen),
                    text::yuan(audit.refunded_fen)
                ),
            ));
            lines.extend(audit.violations.iter().take(20).map(|violation| ("", violation.clone())));
        }
        let reasons = self.failed_reasons();
        let verdict =
            if reasons.is_empty() { "passed".into() } else { format!("FAILED: {}", reasons.join("; ")) };
        lines.push(("result", verdict));
        lines.push(("again with", self.repeat.clone()));
        lines
    }

    /// The report as one self-contained HTML page.
    #[must_use]
    pub fn html(&self) -> String {
        let mut body = format!(
            "<h1>Chaos</h1><p>Real faults with real processes while {} orders came in.</p><p class=\"dim\">seed {}, started {}</p>",
            text::grouped(self.load.offered),
            self.seed,
            escape(&self.load.started_at)
        );
        self.tiles(&mut body);
        let reasons = self.failed_reasons();
        let (class, word) = if reasons.is_empty() { ("good", "passed") } else { ("bad", "failed") };
        // Writing to a string cannot fail.
        let _ = write!(
            body,
            "<div class=\"card\"><b class=\"{class}\">Run {word}.</b> {}</div>",
            escape(&reasons.join("; "))
        );
        self.charts(&mut body);
        self.table(&mut body);
        let _ = write!(
            body,
            "<h2>All of it</h2><div class=\"card scroll\"><pre>{}</pre></div>\
             <h2>The load by itself</h2><div class=\"card scroll\"><pre>{}</pre></div>",
            escape(self.summary().trim()),
            escape(self.load.summary().trim())
        );
        html::document("Rushpay: chaos", &body)
    }

    fn tiles(&self, body: &mut String) {
        body.push_str("<div class=\"tiles\">");
        let good = |n: u64| if n == 0 { "good" } else { "bad" };
        let tiles = [
            (self.lost.to_string(), good(self.lost), "accepted orders lost"),
            (self.doubled.to_string(), good(self.doubled), "orders charged twice"),
            (self.kills.to_string(), "", "kills (SIGKILL)"),
            (format!("{} ms", text::short_ms(self.ready_ms.p50)), "", "from start to ready, median"),
            (format!("{} ms", text::short_ms(self.ready_ms.p99)), "", "from start to ready, p99"),
            (format!("{} s", self.outage_max_s), "", "longest time without an accepted order"),
            (format!("{} ms", text::short_ms(self.accept_ms.p50)), "", "accepted, median"),
            (text::grouped(self.judgement.promised), "", "orders promised"),
        ];
        for (value, class, label) in tiles {
            let _ = write!(
                body,
                "<div class=\"tile\"><b class=\"{class}\">{}</b><span>{label}</span></div>",
                escape(&value)
            );
        }
        body.push_str("</div>");
    }

    fn charts(&self, body: &mut String) {
        let bands: Vec<Band> = self.mischief.iter().filter_map(band).collect();
        let line = |name: &str, colour: usize, value: fn(&super::Line) -> Option<f64>| Series {
            name: name.to_owned(),
            colour,
            points: (0u32..)
                .map(|at| f64::from(at) + 0.5)
                .zip(self.load.timeline.iter().map(value))
                .collect(),
        };
        let mut key = String::from("<p class=\"legend\">");
        for (kind, colour) in COLOURS {
            let _ = write!(key, "<span class=\"key c{colour}\"></span>{kind} ");
        }
        key.push_str("(behind the lines; what it was is shown under the pointer)</p>");
        let rates = [
            line("offered", 0, |l| Some(l.offered.into())),
            line("accepted", 1, |l| Some(l.accepted.into())),
            line("finished", 2, |l| Some((l.succeeded + l.failed).into())),
        ];
        let troubles = [
            line("pushed back (429, 503)", 4, |l| Some(l.pushed_back.into())),
            line("unanswered", 3, |l| Some(l.unanswered.into())),
        ];
        let under_way = [line("under way", 5, |l| Some(l.in_flight.into()))];
        for (title, series, unit) in [
            ("Orders per second", rates.as_slice(), "orders/s"),
            ("Requests refused or unanswered, and repeated", troubles.as_slice(), "requests/s"),
            ("Payers under way", under_way.as_slice(), "payers"),
        ] {
            let svg = chart::lines_over(series, &bands, &[], unit);
            let _ = write!(body, "<h2>{title}</h2><div class=\"card\">{key}{svg}</div>");
        }
    }

    fn table(&self, body: &mut String) {
        body.push_str(
            "<h2>Mischief</h2><div class=\"scroll\"><table class=\"text acts\"><tr><th>planned</th><th>done</th>\
             <th>what</th><th>over after</th><th>ready in</th><th>no order accepted for</th><th>seen</th></tr>",
        );
        for m in &self.mischief {
            let s = |value: Option<f64>| value.map_or_else(|| "–".to_owned(), |s| format!("{s:.2} s"));
            let lasted = m.at_s.zip(m.until_s).map(|(at, until)| until - at);
            let (class, seen) = match &m.problem {
                Some(problem) => ("bad", problem),
                None => ("", &m.seen),
            };
            let _ = write!(
                body,
                "<tr><td>{:.1} s</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td class=\"{class}\">{}</td></tr>",
                m.planned_at_s,
                s(m.at_s),
                escape(&m.what),
                s(lasted),
                m.ready_ms.map_or_else(|| "–".to_owned(), |ms| format!("{} ms", text::short_ms(ms))),
                s(m.outage_s),
                escape(seen)
            );
        }
        body.push_str("</table></div>");
    }
}

/// Which colour stands for which kind.
const COLOURS: [(&str, usize); 5] = [("kill", 3), ("freeze", 1), ("disk", 4), ("cut", 5), ("clock", 2)];

fn band(m: &Mischief) -> Option<Band> {
    let colour = COLOURS.iter().find(|(kind, _)| *kind == m.kind).map_or(0, |(_, colour)| *colour);
    let (from, to) = (m.at_s?, m.until_s?);
    Some(Band { colour, from, to, reason: format!("{from:.1} to {to:.1} s: {}", m.what) })
}

fn count(mischief: &[Mischief], kind: &str) -> u64 {
    num::count(mischief.iter().filter(|m| m.kind == kind && m.problem.is_none()).count())
}

/// The moments of all acceptances, in seconds, in their order.
fn moments(accepted: &[Acceptance]) -> Vec<f64> {
    let mut all: Vec<Duration> = accepted.iter().map(|a| a.at).collect();
    all.sort_unstable();
    all.iter().map(Duration::as_secs_f64).collect()
}

/// The longest time between two neighbouring moments that reaches into the span.
fn longest_gap(moments: &[f64], from: f64, to: f64) -> f64 {
    let gap = |pair: &[f64]| match pair {
        [a, b] if *b >= from && *a <= to => b - a,
        _ => 0.0,
    };
    moments.windows(2).map(gap).fold(0.0, f64::max)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::{super::tests::sample, *};

    fn killed(at: f64) -> Mischief {
        Mischief {
            kind: "kill".into(),
            what: "killed, 0.5 s down".into(),
            planned_at_s: at,
            at_s: Some(at),
            until_s: Some(at + 1.0),
            kills: 1,
            ready_ms: Some(400.0),
            ..Mischief::default()
        }
    }

    fn accepted(seconds: &[f64]) -> Vec<Acceptance> {
        let one = |s: &f64| Acceptance {
            id: "id".into(),
            order_no: "no".into(),
            amount_fen: 1,
            at: num::seconds(*s),
            read_success: false,
        };
        seconds.iter().map(one).collect()
    }

    fn report(mischief: Vec<Mischief>, judgement: Judgement) -> ChaosReport {
        let run = RunResult { accepted: accepted(&[1.0, 1.1, 1.9, 4.1, 4.2]), ..sample() };
        let audit = AuditFigures { clean: true, orders: 100, ..AuditFigures::default() };
        ChaosReport::new((7, "rushpay chaos --seed 7".into(), 1), mischief, run, judgement, audit)
    }

    fn judged() -> Judgement {
        Judgement { promised: 5, states: [("success".to_owned(), 5)].into(), ..Judgement::default() }
    }

    #[test]
    fn a_good_run_passes_and_tells_its_outage() {
        let good = report(vec![killed(2.0)], judged());
        assert_eq!(good.failed_reasons(), Vec::<String>::new());
        assert_eq!(good.mischief[0].outage_s, Some(2.2), "from 1.9 to 4.1");
        assert_eq!((good.kills, good.outage_max_s), (1, 2.2));
        assert!((good.ready_ms.p50 - 400.0).abs() < 1.0, "{:?}", good.ready_ms);
        let text = good.summary();
        assert!(text.contains("1 of 1 kills") && text.contains("passed"), "{text}");
    }

    #[test]
    fn each_promise_that_is_broken_fails_the_run() {
        type Alter = fn(&mut Judgement);
        let rows: [(&str, Alter); 5] = [
            ("no order was accepted", |j| j.promised = 0),
            ("lost", |j| j.lost.push("C1".into())),
            ("charged twice", |j| j.doubled.push("C1: 200 fen for 100".into())),
            ("read as paid", |j| j.taken_back.push("C1".into())),
            ("stuck", |j| j.stuck.push("C1".into())),
        ];
        for (words, alter) in rows {
            let mut bad = judged();
            alter(&mut bad);
            let reasons = report(vec![killed(2.0)], bad).failed_reasons();
            assert!(reasons.len() == 1 && reasons[0].contains(words), "{words}: {reasons:?}");
        }
    }

    #[test]
    fn mischief_that_never_happened_fails_the_run() {
        let reasons = report(Vec::new(), judged()).failed_reasons();
        assert!(reasons.len() == 1 && reasons[0].contains("0 of 1 kills"), "{reasons:?}");
        let idle =
            Mischief { kind: "disk".into(), problem: Some("nobody noticed".into()), ..Mischief::default() };
        let reasons = report(vec![killed(2.0), idle], judged()).failed_reasons();
        assert!(reasons.len() == 1 && reasons[0].contains("nobody noticed"), "{reasons:?}");
    }

    #[test]
    fn the_page_shows_the_mischief_and_fetches_nothing() {
        let page = report(vec![killed(2.0)], judged()).html();
        assert!(page.contains("class=\"band c3\"") && page.contains("killed, 0.5 s down"));
        for fetching in ["http:", "https:", "src=", "href=", "url(", "@import", "<script", "<link", "<img"] {
            assert!(!page.contains(fetching), "{fetching}");
        }
    }

    #[test]
    fn a_written_report_reads_back() {
        let dir = tempfile::tempdir().unwrap();
        let report = report(vec![killed(2.0)], judged());
        report.write(dir.path()).unwrap();
        let text = std::fs::read_to_string(dir.path().join("report.json")).unwrap();
        assert_eq!(serde_json::from_str::<ChaosReport>(&text).unwrap(), report);
    }
}
