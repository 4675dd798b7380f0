//! Two runs of the same weather side by side: what the second one has that the first one lacks.

use std::{fmt::Write, path::Path};

use super::{
    Report,
    chart::{self, Series, escape},
    html, text,
};

/// Two runs and their names. The first is the one to be beaten.
#[derive(Debug, Clone)]
pub struct Comparison {
    /// What the first run stands for, such as "one channel, no hedge".
    pub before_name: String,
    /// The first run.
    pub before: Report,
    /// What the second run stands for.
    pub after_name: String,
    /// The second run.
    pub after: Report,
}

/// A row: name, two shown values, and how many times smaller the second is.
type Row = (&'static str, String, String, Option<f64>);

impl Comparison {
    /// How many times shorter the median time to certainty became; `None` if a run measured none.
    #[must_use]
    pub fn certainty_gain(&self) -> Option<f64> {
        gain(self.before.certainty_ms.p50, self.after.certainty_ms.p50)
    }

    fn rows(&self) -> Vec<Row> {
        let (a, b) = (&self.before, &self.after);
        let rate = |r: &Report| format!("{} %", text::percent(r.failure_rate, 2));
        let ms = |name, from: f64, to: f64| {
            (
                name,
                format!("{} ms", text::short_ms(from)),
                format!("{} ms", text::short_ms(to)),
                gain(from, to),
            )
        };
        let count = |r: &Report| format!("{} of {}", text::grouped(r.succeeded), text::grouped(r.offered));
        vec![
            ("failures of able and willing payers", rate(a), rate(b), gain(a.failure_rate, b.failure_rate)),
            ("orders succeeded", count(a), count(b), None),
            ms("paid to certain, p50", a.certainty_ms.p50, b.certainty_ms.p50),
            ms("paid to certain, p99", a.certainty_ms.p99, b.certainty_ms.p99),
            ms("credential in hand, p50", a.credential_ms.p50, b.credential_ms.p50),
            ms("credential in hand, p99", a.credential_ms.p99, b.credential_ms.p99),
            ("gave up waiting", a.gave_up.to_string(), b.gave_up.to_string(), None),
            ("polls per order", polls(a), polls(b), None),
            ("audit", audit(a), audit(b), None),
        ]
    }

    /// Side by side, for a terminal.
    #[must_use]
    pub fn summary(&self) -> String {
        let rows = self.rows();
        let width = |cell: fn(&Row) -> usize, head: &str| {
            rows.iter().map(cell).chain([head.chars().count()]).max().unwrap_or(0)
        };
        let (first, second) = (
            width(|r| r.1.chars().count(), &self.before_name),
            width(|r| r.2.chars().count(), &self.after_name),
        );
        let mut out = format!("\n{}: two runs side by side\n\n", self.after.scenario);
        // Writing to a string cannot fail.
        let _ = writeln!(out, "  {:<37} {:>first$}   {:>second$}", "", self.before_name, self.after_name);
        for (name, before, after, gain) in &rows {
            let gain = gain.map(|times| format!("   {times:.1} × less")).unwrap_or_default();
            let _ = writeln!(out, "  {name:<37} {before:>first$}   {after:>second$}{gain}");
        }
        out
    }

    /// Side by side as one self-contained page.
    #[must_use]
    pub fn html(&self) -> String {
        let mut body = format!(
            "<h1>{}: two runs side by side</h1><p>{}</p><div class=\"scroll\"><table><tr><th></th><th>{}</th><th>{}</th><th></th></tr>",
            escape(&self.after.scenario),
            escape(&self.after.description),
            escape(&self.before_name),
            escape(&self.after_name)
        );
        for (name, before, after, gain) in self.rows() {
            let gain = gain.map(|times| format!("{times:.1} × less")).unwrap_or_default();
            let _ = write!(
                body,
                "<tr><td>{name}</td><td>{}</td><td>{}</td><td class=\"good\">{gain}</td></tr>",
                escape(&before),
                escape(&after)
            );
        }
        body.push_str("</table></div>");
        let curve = |name: &str, colour, report: &Report| Series {
            name: name.to_owned(),
            colour,
            points: report.certainty_curve.iter().map(|(ms, share)| (*ms, Some(share * 100.0))).collect(),
        };
        let curves = [curve(&self.before_name, 3, &self.before), curve(&self.after_name, 2, &self.after)];
        let _ = write!(
            body,
            "<h2>Time to certainty: share of payers who are certain by then</h2><div class=\"card\">{}</div>",
            chart::distribution(&curves)
        );
        html::document(&format!("Rushpay: {} compared", self.after.scenario), &body)
    }

    /// Writes `compare.html` into `dir`, which is made if need be.
    ///
    /// # Errors
    /// When the directory or the file cannot be written, with its path.
    pub fn write(&self, dir: &Path) -> anyhow::Result<()> {
        super::write(dir, "compare.html", &self.html())
    }
}

fn gain(before: f64, after: f64) -> Option<f64> {
    (before > after && after > 0.0).then(|| before / after)
}

fn polls(r: &Report) -> String {
    r.polls_per_order.map_or_else(|| "not counted".into(), |polls| format!("{polls:.2}"))
}

fn audit(r: &Report) -> String {
    match &r.audit {
        None => "none".into(),
        Some(audit) if audit.clean => "clean".into(),
        Some(audit) => format!("{} violations", audit.violations.len()),
    }
}
