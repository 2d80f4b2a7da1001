//! Plots as SVG, which need nothing else to be seen.

use std::fmt::Write;

/// The size of a plot in its own units, and the room around what is drawn.
const WIDTH: f64 = 560.0;
const HEIGHT: f64 = 260.0;
const LEFT: f64 = 64.0;
const RIGHT: f64 = 28.0;
const TOP: f64 = 30.0;
const BOTTOM: f64 = 44.0;

/// One direction of a plot.
#[derive(Clone, Debug)]
pub struct Axis {
    label: String,
    low: f64,
    high: f64,
    is_log: bool,
    /// Where a mark stands, and what it says.
    ticks: Vec<(f64, String)>,
}

/// A plot that is being drawn.
#[derive(Clone, Debug)]
pub struct Plot {
    x: Axis,
    y: Axis,
    body: String,
}

impl Axis {
    /// From 0 up to the first round number that is not below.
    pub fn linear(label: &str, highest: f64, text: impl Fn(f64) -> String) -> Self {
        let step = round_step(highest.max(1e-9) / 5.0);
        let count = (highest / step).ceil().max(1.0);
        let ticks = (0..=count as i32).map(|n| f64::from(n) * step);
        Self {
            label: label.to_owned(),
            low: 0.0,
            high: count * step,
            is_log: false,
            ticks: ticks.map(|at| (at, text(at))).collect(),
        }
    }

    /// By powers of ten, from the one that is not above the lowest to the one that is not below the highest.
    pub fn log(label: &str, lowest: f64, highest: f64, text: impl Fn(f64) -> String) -> Self {
        let first = lowest.max(1e-9).log10().floor();
        let last = highest.max(1e-9).log10().ceil().max(first + 1.0);
        let ticks = (0..=(last - first) as i32).map(|n| 10_f64.powf(first + f64::from(n)));
        Self {
            label: label.to_owned(),
            low: 10_f64.powf(first),
            high: 10_f64.powf(last),
            is_log: true,
            ticks: ticks.map(|at| (at, text(at))).collect(),
        }
    }

    /// By nines: as much room from 90 % to 99 % as from 99 % to 99.9 %. What is drawn stands at 1 / (1 − share).
    pub fn nines(label: &str, nines: u32) -> Self {
        let mut ticks = vec![(2.0, "50 %".to_owned())];
        for nine in 1..=nines {
            let places = nine.saturating_sub(2) as usize;
            let rest = 10_f64.powi(nine.cast_signed());
            let share = 100.0 - 100.0 / rest;
            ticks.push((rest, format!("{share:.places$} %")));
        }
        Self {
            label: label.to_owned(),
            low: 1.0,
            high: 10_f64.powi(nines.cast_signed()),
            is_log: true,
            ticks,
        }
    }

    /// Where something stands, from 0 to 1.
    fn place(&self, value: f64) -> f64 {
        let place = if self.is_log {
            (value.max(self.low) / self.low).log10() / (self.high / self.low).log10()
        } else {
            (value - self.low) / (self.high - self.low)
        };
        place.clamp(0.0, 1.0)
    }
}

impl Plot {
    /// An empty one.
    pub fn new(title: &str, x: Axis, y: Axis) -> Self {
        let mut body = format!(
            "<svg class=\"plot\" xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" \
             role=\"img\" aria-label=\"{0}\">\n<text class=\"title\" x=\"{LEFT}\" y=\"18\">{0}</text>\n",
            escape(title)
        );
        let bottom = HEIGHT - BOTTOM;
        for (at, text) in &x.ticks {
            let at = LEFT + x.place(*at) * (WIDTH - LEFT - RIGHT);
            let _ = writeln!(
                body,
                "<line class=\"grid\" x1=\"{at:.1}\" y1=\"{TOP}\" x2=\"{at:.1}\" y2=\"{bottom}\"/>\
                 <text class=\"tick\" x=\"{at:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
                bottom + 15.0,
                escape(text)
            );
        }
        for (at, text) in &y.ticks {
            let at = bottom - y.place(*at) * (bottom - TOP);
            let _ = writeln!(
                body,
                "<line class=\"grid\" x1=\"{LEFT}\" y1=\"{at:.1}\" x2=\"{:.1}\" y2=\"{at:.1}\"/>\
                 <text class=\"tick\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
                WIDTH - RIGHT,
                LEFT - 6.0,
                at + 4.0,
                escape(text)
            );
        }
        let _ = writeln!(
            body,
            "<text class=\"label\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>\
             <text class=\"label\" x=\"{:.1}\" y=\"18\" text-anchor=\"end\">{}</text>",
            WIDTH - RIGHT,
            HEIGHT - 8.0,
            escape(&x.label),
            WIDTH - RIGHT,
            escape(&y.label)
        );
        Self { x, y, body }
    }

    fn at(&self, x: f64, y: f64) -> (f64, f64) {
        let bottom = HEIGHT - BOTTOM;
        (
            LEFT + self.x.place(x) * (WIDTH - LEFT - RIGHT),
            bottom - self.y.place(y) * (bottom - TOP),
        )
    }

    /// Draws a line through these points.
    pub fn line(&mut self, points: impl IntoIterator<Item = (f64, f64)>) {
        let mut path = String::new();
        for (x, y) in points {
            let (x, y) = self.at(x, y);
            let _ = write!(path, "{x:.1},{y:.1} ");
        }
        let _ = writeln!(self.body, "<polyline class=\"line\" points=\"{path}\"/>");
    }

    /// Draws a bar from one place to another, so high, that says this when it is pointed at.
    pub fn bar(&mut self, from: f64, to: f64, height: f64, says: &str) {
        let (left, top) = self.at(from, height);
        let (right, bottom) = self.at(to, 0.0);
        let _ = writeln!(
            self.body,
            "<rect class=\"bar\" x=\"{left:.1}\" y=\"{top:.1}\" width=\"{:.1}\" height=\"{:.1}\"><title>{}</title></rect>",
            (right - left - 1.0).max(0.5),
            (bottom - top).max(0.0),
            escape(says)
        );
    }

    /// The whole of it.
    pub fn finish(mut self) -> String {
        self.body.push_str("</svg>\n");
        self.body
    }
}

/// A text as it stands in HTML or SVG.
pub fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            char => out.push(char),
        }
    }
    out
}

/// 1, 2 or 5 times a power of ten: the smallest that is not below.
fn round_step(least: f64) -> f64 {
    let power = 10_f64.powf(least.log10().floor());
    let steps = [1.0, 2.0, 5.0, 10.0].map(|step| step * power);
    steps
        .into_iter()
        .find(|step| *step >= least * 0.999_999)
        .unwrap_or(power * 10.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_axis_ends_at_a_round_number_that_is_not_below() {
        for (highest, step, high) in [
            (0.0, 2e-10, 2e-10),
            (1.0, 0.2, 1.0),
            (7.3, 2.0, 8.0),
            (2_513_482.0, 1e6, 3e6),
        ] {
            let axis = Axis::linear("x", highest, |at| at.to_string());
            assert!((axis.high / high - 1.0).abs() < 1e-9, "{highest}: {axis:?}");
            assert!((axis.ticks[1].0 / step - 1.0).abs() < 1e-9, "{axis:?}");
        }
        let axis = Axis::log("x", 3.0, 2000.0, |at| format!("{at:.0}"));
        let ticks: Vec<&str> = axis.ticks.iter().map(|(_, text)| text.as_str()).collect();
        assert_eq!(ticks, ["1", "10", "100", "1000", "10000"]);
        let nines = Axis::nines("x", 4);
        let ticks: Vec<&str> = nines.ticks.iter().map(|(_, text)| text.as_str()).collect();
        assert_eq!(ticks, ["50 %", "90 %", "99 %", "99.9 %", "99.99 %"]);
    }

    #[test]
    fn what_a_server_said_is_no_markup() {
        let text = escape("<script>alert('\"&')</script>");
        assert!(!text.contains(['<', '>', '"', '\'']), "{text}");
        let mut plot = Plot::new(
            "</text><script>",
            Axis::linear("x", 1.0, |at| at.to_string()),
            Axis::linear("y", 1.0, |at| at.to_string()),
        );
        plot.bar(0.0, 1.0, 1.0, "</title><script>");
        assert!(!plot.finish().contains("<script>"));
    }
}
