//! Dots with intervals on a logarithmic axis, as inline SVG. Colours come from the page's style.

use std::fmt::Write;

use super::html::escape;
use super::table::{ratio, without_number};
use super::units::{digits, duration};
use super::{CellReport, Entry, Report};
use crate::plan::{Mode, Topology};
use crate::transport::Transport;

const WIDTH: f64 = 760.0;
const LEFT: f64 = 140.0;
const RIGHT: f64 = 620.0;
const TOP: f64 = 40.0;
const LINE: f64 = 20.0;
const GAP: f64 = 12.0;

pub(crate) fn chart(report: &Report, mode: Mode, topology: Topology, title: &str) -> String {
    let Some(axis) = Axis::around(report, mode, topology) else {
        return "<p>Nothing was measured here.</p>\n".into();
    };
    let mut body = String::new();
    let mut y = TOP;
    for size in report.sizes(mode, topology) {
        y += GAP + LINE;
        let _ = writeln!(body, "<text class=\"size\" x=\"0\" y=\"{y:.0}\">{size} B</text>");
        for transport in report.transports() {
            let entry = report.entry(transport, topology, size, mode);
            if matches!(entry, Entry::Absent) {
                continue;
            }
            y += LINE;
            row(&mut body, &axis, y, transport, &entry);
        }
    }
    let (height, unit) = (
        y + GAP,
        match mode {
            Mode::Stream => "time per message",
            Mode::Rtt => "round-trip time: dot p50, ticks p90, p99, p99.9, line to the maximum",
        },
    );
    format!(
        "<svg viewBox=\"0 0 {WIDTH:.0} {height:.0}\" role=\"img\" aria-label=\"{}\">\n\
         <text class=\"unit\" x=\"{LEFT:.0}\" y=\"14\">{unit}</text>\n{}{body}</svg>\n",
        escape(title),
        axis.grid(height),
    )
}

fn row(body: &mut String, axis: &Axis, y: f64, transport: &Transport, entry: &Entry<'_>) {
    let class = if transport.is_ours() { "ours" } else { "theirs" };
    let name = transport.name;
    let _ = write!(body, "<g class=\"{class}\"><text x=\"12\" y=\"{y:.0}\">{name}</text>");
    let middle = y - 4.0;
    match entry {
        Entry::Measured(cell) => {
            let tip = format!("{}: {}, {}", cell.cell, duration(cell.time.median), ratio(cell));
            let _ = write!(body, "<title>{}</title>", escape(&tip));
            marks(body, axis, middle, cell);
            let label = duration(cell.time.median);
            let _ = write!(body, "<text x=\"{:.0}\" y=\"{y:.0}\">{label}</text>", RIGHT + 12.0);
            if let Some(ratio) = cell.ratio {
                let text = if ratio.spans_one() {
                    "≈".into()
                } else {
                    format!("{}×", digits(ratio.median))
                };
                let x = WIDTH - 4.0;
                let _ =
                    write!(body, "<text class=\"ratio\" x=\"{x:.0}\" y=\"{y:.0}\">{text}</text>");
            }
        }
        other => {
            let text = without_number(other);
            let _ = write!(body, "<text class=\"none\" x=\"{LEFT:.0}\" y=\"{y:.0}\">{text}</text>");
        }
    }
    body.push_str("</g>\n");
}

fn marks(body: &mut String, axis: &Axis, y: f64, cell: &CellReport) {
    let time = cell.time;
    let (from, to) = match cell.percentiles {
        Some(trips) => (time.median, trips.max as f64),
        None => (time.low, time.high),
    };
    let (from, to) = (axis.x(from), axis.x(to));
    let _ = write!(body, "<path d=\"M{from:.1} {y:.1}H{to:.1}");
    if let Some(trips) = cell.percentiles {
        for ns in [trips.p90, trips.p99, trips.p99_9] {
            let _ = write!(body, "M{:.1} {:.1}v8", axis.x(ns as f64), y - 4.0);
        }
    }
    let x = axis.x(time.median);
    let _ = write!(body, "\"/><circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"4\"/>");
}

/// Whole decades of nanoseconds.
#[derive(Debug)]
struct Axis {
    first: i32,
    last: i32,
}

impl Axis {
    fn around(report: &Report, mode: Mode, topology: Topology) -> Option<Axis> {
        let cells = report.cells.iter();
        let group = cells.filter(|cell| (cell.cell.mode, cell.cell.topology) == (mode, topology));
        let (mut low, mut high) = (f64::INFINITY, 0.0_f64);
        for cell in group {
            let slowest = cell.percentiles.map_or(cell.time.high, |trips| trips.max as f64);
            low = low.min(cell.time.low);
            high = high.max(slowest).max(cell.time.high);
        }
        (low.is_finite() && low > 0.0).then(|| {
            let first = low.log10().floor() as i32;
            Axis { first, last: (high.log10().ceil() as i32).max(first + 1) }
        })
    }

    fn x(&self, ns: f64) -> f64 {
        let share = (ns.log10() - f64::from(self.first)) / f64::from(self.last - self.first);
        LEFT + (RIGHT - LEFT) * share.clamp(0.0, 1.0)
    }

    fn grid(&self, height: f64) -> String {
        let mut grid = String::new();
        for decade in self.first..=self.last {
            let ns = 10_f64.powi(decade);
            let x = self.x(ns);
            let label = decade_label(decade);
            let _ = writeln!(
                grid,
                "<g class=\"grid\"><path d=\"M{x:.1} {TOP:.0}V{height:.0}\"/>\
                 <text x=\"{x:.1}\" y=\"{:.0}\">{label}</text></g>",
                TOP - 6.0
            );
        }
        grid
    }
}

/// `10 ns`, `1 µs`
fn decade_label(decade: i32) -> String {
    let (shift, unit) = match decade {
        ..3 => (0, "ns"),
        3..6 => (3, "µs"),
        6..9 => (6, "ms"),
        _ => (9, "s"),
    };
    format!("{} {unit}", 10_f64.powi(decade - shift))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decades_are_evenly_spaced() {
        let axis = Axis { first: 1, last: 3 };
        assert_eq!([10.0, 100.0, 1000.0].map(|ns| axis.x(ns)), [140.0, 380.0, 620.0]);
        assert_eq!(axis.x(1e9), RIGHT);
    }

    #[test]
    fn decades_have_round_names() {
        assert_eq!(
            [-1, 0, 2, 3, 6, 9].map(decade_label),
            ["0.1 ns", "1 ns", "100 ns", "1 µs", "1 ms", "1 s"]
        );
    }
}
