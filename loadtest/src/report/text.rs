//! The report for a terminal: aligned, in the order in which people ask.

use std::{collections::BTreeMap, fmt::Write};

use super::{Percentiles, Report};
use crate::num;

const WIDTH: usize = 11;

pub(super) fn summary(report: &Report) -> String {
    let mut page = Page(String::new());
    page.head(report);
    page.orders(report);
    page.latencies(report);
    page.channels(report);
    page.payments(report);
    page.service(report);
    page.verdict(report);
    page.0
}

struct Page(String);

impl Page {
    fn line(&mut self, label: &str, text: &str) {
        // Writing to a string cannot fail.
        let _ = writeln!(self.0, "  {label:<WIDTH$} {text}");
    }

    fn head(&mut self, r: &Report) {
        let _ = writeln!(self.0, "\n{} (seed {}, {})\n{}\n", r.scenario, r.seed, r.started_at, r.description);
    }

    fn orders(&mut self, r: &Report) {
        let rate = |count: u64, per_s: f64| format!("{} ({per_s:.0}/s)", grouped(count));
        let mut text = format!(
            "offered {}, accepted {}",
            rate(r.offered, r.offered_per_s),
            rate(r.accepted, r.accepted_per_s)
        );
        if r.offered < r.planned {
            let _ = write!(text, ", not sent in time {}", grouped(r.planned - r.offered));
        }
        if r.never_accepted > 0 {
            let _ = write!(text, ", never accepted {}", grouped(r.never_accepted));
        }
        self.line("orders", &text);
        if !r.refused.is_empty() {
            self.line("", &format!("refused: {}", counts(&r.refused)));
        }
        if !r.pays {
            return;
        }
        let text = format!(
            "succeeded {}, failed {}, suspicious {}, open {}; finished {:.0}/s, drained in {:.1} s",
            grouped(r.succeeded),
            grouped(r.failed),
            r.suspicious,
            r.open,
            r.finished_per_s,
            r.drain_s
        );
        self.line("", &text);
        if !r.failed_because.is_empty() {
            self.line("", &format!("failed because: {}", counts(&r.failed_because)));
        }
        let mut text =
            format!("{} % of {} able and willing payers", percent(r.failure_rate, 3), grouped(r.willing));
        if r.gave_up > 0 {
            let _ = write!(text, "; {} gave up waiting for a credential", r.gave_up);
        }
        self.line("failures", &text);
    }

    fn latencies(&mut self, r: &Report) {
        let _ = writeln!(
            self.0,
            "\n  {:<WIDTH$} {:>9} {:>9} {:>9} {:>9} {:>9}",
            if r.closed_loop { "closed loop" } else { "ms" },
            "p50",
            "p90",
            "p99",
            "p99.9",
            "max"
        );
        let mut row = |label: &str, p: &Percentiles, what: &str| {
            if p.count > 0 {
                let cells =
                    [p.p50, p.p90, p.p99, p.p999, p.max].map(|ms| format!("{:>9}", short_ms(ms))).join(" ");
                let _ = writeln!(self.0, "  {label:<WIDTH$} {cells}   {what}");
            }
        };
        row("accepted", &r.accept_ms, "planned moment to durable order");
        row("credential", &r.credential_ms, "planned moment to credential in hand");
        row("certain", &r.certainty_ms, "paid to success readable");
        row("direct", &r.direct_ms, "accepted to success, charged directly");
        self.0.push('\n');
    }

    fn channels(&mut self, r: &Report) {
        let share = |(name, share): (&String, &f64)| format!("{name} {} %", percent(*share, 1));
        if !r.channel_share.is_empty() {
            self.line("channels", &r.channel_share.iter().map(share).collect::<Vec<_>>().join(", "));
        }
        for (at, switch) in r.switches.iter().enumerate() {
            let text = format!("{:>7.2} s  {}: {}", switch.at_s, switch.label(), switch.reason);
            self.line(if at == 0 { "switches" } else { "" }, &text);
        }
    }

    fn payments(&mut self, r: &Report) {
        if r.payments + r.payments_refused.values().sum::<u64>() > 0 {
            let mut text = format!("{} taken", grouped(r.payments));
            if !r.payments_refused.is_empty() {
                let _ = write!(text, "; turned down: {}", counts(&r.payments_refused));
            }
            self.line("payments", &text);
        }
        let odd = r.second_payments + r.late_payments + r.paid_but_failed + r.refunded;
        if odd > 0 {
            let text = format!(
                "{} second and {} late payments; {} orders refunded or being refunded, {} paid and failed",
                r.second_payments, r.late_payments, r.refunded, r.paid_but_failed
            );
            self.line("", &text);
        }
        let w = &r.webhooks;
        let text = format!(
            "{} taken of {} calls; {} repeated, {} did not verify, {} failed on purpose",
            grouped(w.taken),
            grouped(w.calls),
            w.repeated,
            w.refused,
            w.failed_on_purpose
        );
        self.line("webhooks", &text);
    }

    fn service(&mut self, r: &Report) {
        if let Some(cpu) = r.cpu_us_per_order {
            let mut text = format!("{cpu:.0} µs CPU per order");
            if let (Some(floor), Some(ratio)) = (r.signature_floor_us_per_order, r.floor_ratio) {
                let _ = write!(text, ", {ratio:.2} × the signature floor of {floor:.0} µs");
            }
            if let Some(rss) = r.peak_rss_mib {
                let _ = write!(text, "; peak memory {rss:.0} MiB");
            }
            self.line("service", &text);
        }
        let polls =
            r.polls_per_order.map_or_else(|| "not counted".into(), |polls| format!("{polls:.2} per order"));
        let text = format!(
            "polls {polls}, hedges {}; pushed back (429, 503) {}, repeated without an answer {}",
            r.hedges, r.pushed_back, r.unanswered
        );
        self.line(if r.cpu_us_per_order.is_some() { "" } else { "service" }, &text);
        let g = &r.generator;
        let lag = if r.closed_loop {
            "closed loop, latencies hide waiting".into()
        } else {
            format!("late by {} ms at p99, {} ms at most", short_ms(g.lag_ms.p99), short_ms(g.lag_ms.max))
        };
        self.line("generator", &format!("{lag}; {:.0} µs CPU per order", g.cpu_us_per_order));
    }

    fn verdict(&mut self, r: &Report) {
        if let Some(audit) = &r.audit {
            let text = format!(
                "{}: {} orders, captured {}, refunded {}",
                if audit.clean { "clean" } else { "NOT CLEAN" },
                grouped(audit.orders),
                yuan(audit.captured_fen),
                yuan(audit.refunded_fen)
            );
            self.line("audit", &text);
            for violation in audit.violations.iter().take(20) {
                self.line("", violation);
            }
            if audit.violations.len() > 20 {
                self.line("", &format!("and {} more, see report.json", audit.violations.len() - 20));
            }
        }
        for (at, goal) in r.goals.iter().enumerate() {
            let text =
                format!("{} {}: {}", if goal.met { "reached" } else { "MISSED " }, goal.goal, goal.measured);
            self.line(if at == 0 { "goals" } else { "" }, &text);
        }
        let reasons = r.failed_reasons();
        if reasons.is_empty() {
            self.line("result", "passed");
        } else {
            self.line("result", &format!("FAILED: {}", reasons.join("; ")));
        }
    }
}

/// `12,345`
pub(super) fn grouped(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A share as a percentage with at most `digits` decimals.
pub(super) fn percent(share: f64, digits: i32) -> String {
    num::rounded(share * 100.0, digits).to_string()
}

/// Three significant figures or so.
pub(super) fn short_ms(ms: f64) -> String {
    if ms >= 100.0 {
        grouped(num::whole(ms))
    } else if ms >= 10.0 {
        format!("{ms:.1}")
    } else {
        format!("{ms:.2}")
    }
}

/// `¥12,345.67`
pub(super) fn yuan(fen: u64) -> String {
    format!("¥{}.{:02}", grouped(fen / 100), fen % 100)
}

pub(super) fn counts(counts: &BTreeMap<String, u64>) -> String {
    counts.iter().map(|(name, count)| format!("{name} {}", grouped(*count))).collect::<Vec<_>>().join(", ")
}
