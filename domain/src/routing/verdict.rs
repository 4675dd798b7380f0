//! What a channel's numbers mean, and the sentence that says so.
//!
//! One function per question; each answers with the reason people read in the list of switches, or with
//! nothing. Thresholds come from the settings; states and times are left to the state machine.

use std::time::Duration;

use super::{Call, CallStats, WindowStats};
use crate::tuning::Tuning;

/// One slow call among probes may be chance; two are a slow channel.
const SLOW_PROBES: u32 = 2;

/// Why a healthy channel is slow now, if it is.
///
/// The backlog rule is for the first second of a standstill: a window of ten good seconds needs another
/// second of bad ones before its p90 moves. If more calls have been waiting past the threshold than the
/// channel answered in the last second, most of what it is given now goes bad; half the usual samples
/// are enough for that, since none of them is in doubt.
pub(super) fn too_slow(call: Call, stats: &WindowStats, tuning: &Tuning) -> Option<String> {
    if !tuning.switch_enabled {
        return None;
    }
    let enough = u64::from(stats.samples) >= tuning.min_samples;
    if enough && stats.quantile_ms > tuning.latency_threshold_ms {
        return Some(latency(call, stats, tuning));
    }
    if enough && stats.error_share() > tuning.error_share {
        return Some(errors(call, stats, tuning));
    }
    let backlog =
        u64::from(stats.overdue) >= tuning.min_samples.div_ceil(2) && stats.overdue > stats.answered_lately;
    backlog.then(|| {
        format!(
            "{} {} calls unanswered for more than {} ms, {} answered in the last second",
            stats.overdue,
            call.as_str(),
            number(tuning.latency_threshold_ms),
            stats.answered_lately
        )
    })
}

/// Why probes show that a channel is still slow, if they do.
pub(super) fn probes_failed(call: Call, stats: &WindowStats, tuning: &Tuning) -> Option<String> {
    if stats.slow >= SLOW_PROBES && stats.quantile_ms > tuning.latency_threshold_ms {
        return Some(format!("probes: {}", latency(call, stats, tuning)));
    }
    let failing = stats.errors >= SLOW_PROBES && stats.error_share() > tuning.error_share;
    failing.then(|| format!("probes: {}", errors(call, stats, tuning)))
}

/// Why probes show that a channel is well again after they were `tried` for so long, if they do.
pub(super) fn probes_passed(stats: &CallStats, tried: Duration, tuning: &Tuning) -> Option<String> {
    // Thin traffic: what prepays are missing, queries make up for.
    let enough = u64::from(stats.samples()) >= tuning.probe_min_samples;
    let well = stats.each().into_iter().all(|(_, s)| {
        s.quantile_ms < tuning.recover_threshold_ms && s.error_share() <= tuning.error_share / 2.0
    });
    (enough && well).then(|| {
        format!(
            "probes {} {} ms < {} ms for {} s, {} samples",
            name(tuning.quantile),
            number(stats.prepay.quantile_ms.max(stats.query.quantile_ms)),
            number(tuning.recover_threshold_ms),
            tried.as_secs(),
            stats.samples()
        )
    })
}

fn latency(call: Call, stats: &WindowStats, tuning: &Tuning) -> String {
    format!(
        "{} {} {} ms > {} ms over {} s, {} samples",
        call.as_str(),
        name(tuning.quantile),
        number(stats.quantile_ms),
        number(tuning.latency_threshold_ms),
        tuning.window_s,
        stats.samples
    )
}

fn errors(call: Call, stats: &WindowStats, tuning: &Tuning) -> String {
    format!(
        "{} errors in {} {} calls > {} % over {} s",
        stats.errors,
        stats.samples,
        call.as_str(),
        tuning.error_share * 100.0,
        tuning.window_s
    )
}

/// `p90` for 0.9, `p99.9` for 0.999.
pub(super) fn name(quantile: f64) -> String {
    let text = format!("{:.2}", quantile * 100.0);
    format!("p{}", text.trim_end_matches('0').trim_end_matches('.'))
}

/// Thousands apart: `1,240`.
pub(super) fn number(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}
