//! Charts as SVG text: lines over time, stacked shares over time, a cumulative distribution.
//!
//! Draws with classes only (`c0` to `c5`, `grid`, `mark`); the page's style sheet gives the colours, so that
//! light and dark need one drawing. Missing values leave a gap. No script, no external resource.

use std::fmt::Write;

use crate::num;

const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 230.0;
const LEFT: f64 = 52.0;
const RIGHT: f64 = 12.0;
const TOP: f64 = 22.0;
const BOTTOM: f64 = 30.0;

/// One line or one layer.
pub(super) struct Series {
    pub(super) name: String,
    /// Which colour, 0 to 5.
    pub(super) colour: usize,
    pub(super) points: Vec<(f64, Option<f64>)>,
}

/// A span of seconds with a reason to hover over.
pub(super) struct Band {
    /// Which colour, 0 to 5.
    pub(super) colour: usize,
    pub(super) from: f64,
    pub(super) to: f64,
    pub(super) reason: String,
}

/// A vertical line with a reason to hover over.
pub(super) struct Mark {
    /// The style: `mark` for what the service decided, `weather` for what was done to it.
    pub(super) class: &'static str,
    pub(super) at: f64,
    pub(super) label: String,
    pub(super) reason: String,
}

/// How values map to places.
struct Frame {
    x: (f64, f64),
    y_top: f64,
    log_x: bool,
}

impl Frame {
    fn place_x(&self, x: f64) -> f64 {
        let (from, to) = self.x;
        let share = if self.log_x {
            (x.max(from).ln() - from.ln()) / (to.ln() - from.ln()).max(f64::EPSILON)
        } else {
            (x - from) / (to - from).max(f64::EPSILON)
        };
        LEFT + share.clamp(0.0, 1.0) * (WIDTH - LEFT - RIGHT)
    }

    fn place_y(&self, y: f64) -> f64 {
        let share = (y / self.y_top.max(f64::EPSILON)).clamp(0.0, 1.0);
        HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM)
    }
}

/// Lines over seconds. `unit` labels the vertical axis.
pub(super) fn lines(series: &[Series], marks: &[Mark], unit: &str) -> String {
    lines_over(series, &[], marks, unit)
}

/// Lines over seconds, in front of spans of time.
pub(super) fn lines_over(series: &[Series], bands: &[Band], marks: &[Mark], unit: &str) -> String {
    let values = || series.iter().flat_map(|s| s.points.iter());
    let x_max = values().map(|(x, _)| *x).fold(1.0, f64::max).ceil();
    let peak = values().filter_map(|(_, y)| *y).fold(0.0, f64::max);
    let (step, y_top) = ticks(peak);
    let frame = Frame { x: (0.0, x_max), y_top, log_x: false };
    let mut svg = open();
    draw_bands(&mut svg, &frame, bands);
    grid_y(&mut svg, &frame, step, unit);
    seconds_axis(&mut svg, &frame);
    draw_marks(&mut svg, &frame, marks);
    for one in series {
        let _ = write!(svg, "<path class=\"line c{}\" d=\"{}\"/>", one.colour, path(&frame, &one.points));
    }
    svg.push_str("</svg>");
    legend(series) + &svg
}

/// Layers on top of each other, each second scaled to 100 %; seconds without any value stay empty.
pub(super) fn shares(series: &[Series], marks: &[Mark]) -> String {
    let x_max = series.iter().flat_map(|s| s.points.iter()).map(|(x, _)| *x + 1.0).fold(1.0, f64::max);
    let frame = Frame { x: (0.0, x_max), y_top: 100.0, log_x: false };
    let mut svg = open();
    grid_y(&mut svg, &frame, 25.0, "%");
    seconds_axis(&mut svg, &frame);
    let length = series.iter().map(|s| s.points.len()).max().unwrap_or(0);
    for at in 0..length {
        let value = |s: &Series| s.points.get(at).and_then(|(_, y)| *y).unwrap_or(0.0);
        let total: f64 = series.iter().map(value).sum();
        if total <= 0.0 {
            continue;
        }
        let x = num::float_of(at);
        let (left, right) = (frame.place_x(x), frame.place_x(x + 1.0));
        let mut below = 0.0;
        for one in series {
            let share = 100.0 * value(one) / total;
            if share > 0.0 {
                let (top, bottom) = (frame.place_y(below + share), frame.place_y(below));
                let _ = write!(
                    svg,
                    "<rect class=\"area c{}\" x=\"{left:.1}\" y=\"{top:.1}\" width=\"{:.1}\" height=\"{:.1}\">\
                     <title>{} s: {} {share:.0} %</title></rect>",
                    one.colour,
                    right - left + 0.3,
                    bottom - top,
                    x,
                    escape(&one.name)
                );
            }
            below += share;
        }
    }
    draw_marks(&mut svg, &frame, marks);
    svg.push_str("</svg>");
    legend(series) + &svg
}

/// Cumulative distributions over milliseconds on a logarithmic axis.
pub(super) fn distribution(series: &[Series]) -> String {
    let xs = || series.iter().flat_map(|s| s.points.iter()).map(|(x, _)| x.max(0.01));
    let from = xs().fold(f64::INFINITY, f64::min);
    let to = xs().fold(0.0, f64::max);
    let (from, to) =
        if from.is_finite() { (decade(from, f64::floor), decade(to, f64::ceil)) } else { (1.0, 1_000.0) };
    let frame = Frame { x: (from, to.max(from * 10.0)), y_top: 100.0, log_x: true };
    let mut svg = open();
    grid_y(&mut svg, &frame, 25.0, "%");
    let mut tick = from;
    while tick <= frame.x.1 * 1.001 {
        let x = frame.place_x(tick);
        let label = if tick >= 1_000.0 { format!("{} s", tick / 1_000.0) } else { format!("{tick} ms") };
        let _ = write!(
            svg,
            "<line class=\"grid\" x1=\"{x:.1}\" y1=\"{TOP}\" x2=\"{x:.1}\" y2=\"{:.1}\"/>\
             <text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{label}</text>",
            HEIGHT - BOTTOM,
            HEIGHT - 10.0
        );
        tick *= 10.0;
    }
    for one in series {
        let _ = write!(svg, "<path class=\"line c{}\" d=\"{}\"/>", one.colour, path(&frame, &one.points));
    }
    svg.push_str("</svg>");
    legend(series) + &svg
}

/// Text that may stand in HTML and in attributes.
pub(super) fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

fn open() -> String {
    format!("<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" preserveAspectRatio=\"xMidYMid meet\">")
}

fn legend(series: &[Series]) -> String {
    let mut html = String::from("<p class=\"legend\">");
    for one in series {
        let _ = write!(html, "<span class=\"key c{}\"></span>{} ", one.colour, escape(&one.name));
    }
    html + "</p>"
}

fn path(frame: &Frame, points: &[(f64, Option<f64>)]) -> String {
    let mut d = String::new();
    let mut pen_down = false;
    for (x, y) in points {
        match y {
            Some(y) => {
                let verb = if pen_down { 'L' } else { 'M' };
                let _ = write!(d, "{verb}{:.1} {:.1}", frame.place_x(*x), frame.place_y(*y));
                pen_down = true;
            }
            None => pen_down = false,
        }
    }
    d
}

fn grid_y(svg: &mut String, frame: &Frame, step: f64, unit: &str) {
    let mut value = 0.0;
    while value <= frame.y_top * 1.001 {
        let y = frame.place_y(value);
        let shown = num::rounded(value, 3);
        let _ = write!(
            svg,
            "<line class=\"grid\" x1=\"{LEFT}\" y1=\"{y:.1}\" x2=\"{:.1}\" y2=\"{y:.1}\"/>\
             <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{shown}</text>",
            WIDTH - RIGHT,
            LEFT - 6.0,
            y + 4.0
        );
        value += step;
    }
    let _ = write!(svg, "<text x=\"4\" y=\"11\">{}</text>", escape(unit));
}

fn seconds_axis(svg: &mut String, frame: &Frame) {
    let (step, _) = ticks(frame.x.1);
    let mut at = 0.0;
    while at <= frame.x.1 {
        let _ = write!(
            svg,
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{} s</text>",
            frame.place_x(at),
            HEIGHT - 10.0,
            num::rounded(at, 2)
        );
        at += step;
    }
}

fn draw_bands(svg: &mut String, frame: &Frame, bands: &[Band]) {
    for band in bands {
        let (left, right) = (frame.place_x(band.from), frame.place_x(band.to));
        let _ = write!(
            svg,
            "<rect class=\"band c{}\" x=\"{left:.1}\" y=\"{TOP}\" width=\"{:.1}\" height=\"{:.1}\">\
             <title>{}</title></rect>",
            band.colour,
            (right - left).max(1.5),
            HEIGHT - TOP - BOTTOM,
            escape(&band.reason)
        );
    }
}

fn draw_marks(svg: &mut String, frame: &Frame, marks: &[Mark]) {
    for (index, mark) in marks.iter().enumerate().filter(|(_, mark)| mark.at <= frame.x.1) {
        let x = frame.place_x(mark.at);
        // Neighbouring labels take turns in height, and stay inside at the right edge.
        let turn = 12.0 * num::float_of(index % 3);
        let y = if mark.class == "weather" { HEIGHT - BOTTOM - 6.0 - turn } else { TOP + 10.0 + turn };
        let anchor = if x > WIDTH - 190.0 { "end" } else { "start" };
        let beside = if anchor == "end" { x - 4.0 } else { x + 4.0 };
        let _ = write!(
            svg,
            "<g class=\"{}\"><title>{}</title><line x1=\"{x:.1}\" y1=\"{TOP}\" x2=\"{x:.1}\" y2=\"{:.1}\"/>\
             <text x=\"{beside:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{}</text></g>",
            mark.class,
            escape(&mark.reason),
            HEIGHT - BOTTOM,
            escape(&mark.label)
        );
    }
}

/// A step of 1, 2 or 5 times a power of ten that gives about four to eight steps, and the end it reaches.
fn ticks(peak: f64) -> (f64, f64) {
    let peak = if peak.is_finite() && peak > 0.0 { peak } else { 1.0 };
    let unit = 10f64.powf((peak / 5.0).log10().floor());
    let step =
        [1.0, 2.0, 5.0, 10.0].map(|m| m * unit).into_iter().find(|step| peak / step <= 6.0).unwrap_or(unit);
    (step, (peak / step).ceil() * step)
}

fn decade(value: f64, round: fn(f64) -> f64) -> f64 {
    10f64.powf(round(value.max(1e-3).log10()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_reach_over_the_peak() {
        assert_eq!(ticks(0.0), (0.2, 1.0));
        assert_eq!(ticks(67.0), (20.0, 80.0));
        assert_eq!(ticks(3_000.0), (500.0, 3_000.0));
        for peak in [0.004, 0.9, 7.0, 42.0, 999.0, 123_456.0] {
            let (step, top) = ticks(peak);
            assert!(top >= peak * 0.999 && top / step <= 7.0, "{peak}: {step} {top}");
        }
    }

    #[test]
    fn a_gap_in_the_values_is_a_gap_in_the_line() {
        let frame = Frame { x: (0.0, 3.0), y_top: 1.0, log_x: false };
        let d = path(&frame, &[(0.0, Some(1.0)), (1.0, None), (2.0, Some(0.0)), (3.0, Some(1.0))]);
        assert_eq!(d.matches('M').count(), 2);
        assert_eq!(d.matches('L').count(), 1);
    }
}
