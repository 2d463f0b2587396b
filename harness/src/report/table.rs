//! The report for the terminal.

use std::fmt::Write;

use comfy_table::presets::UTF8_HORIZONTAL_ONLY;
use comfy_table::{CellAlignment, ContentArrangement};

use super::units::{digits, duration};
use super::{CellReport, Entry, Exporter, Report, line_ns};
use crate::error::Result;
use crate::plan::{Mode, Topology};
use crate::stats;

#[derive(Debug)]
pub(crate) struct Table;

impl Exporter for Table {
    fn format(&self) -> &'static str {
        "txt"
    }

    fn serialise(&self, report: &Report) -> Result<Vec<u8>> {
        let mut text = String::new();
        for (mode, topology) in report.groups() {
            let _ = writeln!(text, "\n{}", title(report, mode, topology));
            let table = match mode {
                Mode::Stream => stream_table(report, topology),
                Mode::Rtt => rtt_table(report, topology),
            };
            let _ = writeln!(text, "{table}");
        }
        footnotes(&mut text, report);
        Ok(text.into_bytes())
    }
}

pub(crate) fn title(report: &Report, mode: Mode, topology: Topology) -> String {
    let side = |count: u16, what| format!("{count} {what}{}", if count == 1 { "" } else { "s" });
    let sides = format!(
        "{}, {}",
        side(topology.producers, "producer"),
        side(topology.consumers, "consumer")
    );
    let processes = usize::from(topology.producers) + usize::from(topology.consumers);
    let cores = report.env.cores_allowed;
    let shared = if processes > cores {
        format!(": {processes} processes on {cores} CPU{}", if cores == 1 { "" } else { "s" })
    } else {
        String::new()
    };
    match mode {
        Mode::Stream => format!("{topology} streaming, time per message ({sides}{shared})"),
        Mode::Rtt => format!("{topology} round trip, one message at a time{shared}"),
    }
}

/// Transports down, sizes across.
fn stream_table(report: &Report, topology: Topology) -> comfy_table::Table {
    let mode = Mode::Stream;
    let sizes = report.sizes(mode, topology);
    let mut table = empty_table();
    let headings = sizes.iter().map(|size| format!("{size} B"));
    table.set_header(std::iter::once(String::new()).chain(headings));
    for transport in report.transports() {
        let entries = sizes.iter().map(|&size| report.entry(transport, topology, size, mode));
        let entries = entries.map(|entry| match entry {
            Entry::Measured(cell) => format!("{}\n{}", time(cell), ratio(cell)),
            other => without_number(&other).into(),
        });
        table.add_row(std::iter::once(transport.name.to_owned()).chain(entries));
    }
    align(&mut table);
    table
}

/// Sizes and transports down, percentiles across.
fn rtt_table(report: &Report, topology: Topology) -> comfy_table::Table {
    let mode = Mode::Rtt;
    let mut table = empty_table();
    table.set_header([
        "",
        "size",
        "p50 (median of rounds)",
        "p90",
        "p99",
        "p99.9",
        "max",
        "× shmq",
    ]);
    for size in report.sizes(mode, topology) {
        for transport in report.transports() {
            let entry = report.entry(transport, topology, size, mode);
            let mut row = vec![transport.name.to_owned(), format!("{size} B")];
            match entry {
                Entry::Measured(cell) => {
                    let trips = cell.percentiles;
                    row.push(time(cell));
                    let tail = trips.map(|trips| [trips.p90, trips.p99, trips.p99_9, trips.max]);
                    row.extend(tail.into_iter().flatten().map(|ns| duration(ns as f64)));
                    row.push(ratio(cell));
                }
                other => row.push(without_number(&other).into()),
            }
            table.add_row(row);
        }
    }
    align(&mut table);
    table
}

fn empty_table() -> comfy_table::Table {
    let mut table = comfy_table::Table::new();
    table.load_style(UTF8_HORIZONTAL_ONLY).set_content_arrangement(ContentArrangement::Disabled);
    table
}

fn align(table: &mut comfy_table::Table) {
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
}

/// `12.5 ns [12.1, 13.0]`
fn time(cell: &CellReport) -> String {
    let time = cell.time;
    let scale = if time.median < 9_999.5 { 1.0 } else { 1e3 };
    let bound = |ns: f64| digits(ns / scale);
    format!("{} [{}, {}]", duration(time.median), bound(time.low), bound(time.high))
}

/// `24.8× [24.1, 25.9]`
pub(crate) fn ratio(cell: &CellReport) -> String {
    match cell.ratio {
        Some(ratio) if ratio.spans_one() => "no difference shown".into(),
        Some(ratio) => {
            let [median, low, high] = [ratio.median, ratio.low, ratio.high].map(digits);
            format!("{median}× [{low}, {high}]")
        }
        None if cell.cell.transport.is_reference() => "1×".into(),
        None => String::new(),
    }
}

pub(crate) fn without_number(entry: &Entry<'_>) -> &'static str {
    match entry {
        Entry::Failed => "FAILED",
        Entry::Unavailable => "N/A",
        Entry::Measured(_) | Entry::Absent => "",
    }
}

fn footnotes(text: &mut String, report: &Report) {
    let env = &report.env;
    let _ = writeln!(
        text,
        "\nMedian of {} rounds of {:.0} ms [{}]. ×: time relative to shmq \
         within the same round,\nabove 1 shmq is faster. All counts and checksums verified. \
         Seed {}, {:.0} s.\nCommand: {}",
        env.rounds,
        env.slice_ms,
        stats::interval(env.rounds),
        env.seed,
        env.duration_s,
        env.command
    );
    if let Some([least, median, most]) = line_ns(&report.cells) {
        let _ = writeln!(
            text,
            "Between the CPUs a cache line took {} there and back [usually {} to {}].",
            duration(median),
            digits(least),
            digits(most)
        );
    }
    if let Some(note) = one_process(report) {
        let _ = writeln!(text, "{note}");
    }
    for (why, whose) in reasons(report) {
        let _ = writeln!(text, "N/A: {whose}: {why}");
    }
    for failed in &report.failed {
        let _ = writeln!(text, "FAILED: {}: {}", failed.cell, failed.why);
    }
}

/// Which of the transports are not between processes.
pub(crate) fn one_process(report: &Report) -> Option<String> {
    let names = report.in_one_process();
    (!names.is_empty())
        .then(|| format!("In one process, without shared memory: {}.", names.join(", ")))
}

/// Why cells are N/A, each reason once, with the transports it applies to.
pub(crate) fn reasons(report: &Report) -> Vec<(String, String)> {
    let mut reasons: Vec<(String, Vec<&str>)> = Vec::new();
    for unavailable in &report.unavailable {
        let name = unavailable.cell.transport.name;
        match reasons.iter_mut().find(|(why, _)| *why == unavailable.why) {
            Some((_, names)) if names.contains(&name) => {}
            Some((_, names)) => names.push(name),
            None => reasons.push((unavailable.why.clone(), vec![name])),
        }
    }
    reasons.into_iter().map(|(why, names)| (why, names.join(", "))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_names_numbers_gaps_and_failures() {
        let bytes = Table.serialise(super::super::tests::example()).unwrap();
        let text = String::from_utf8(bytes).unwrap();
        for expected in [
            "20.0 ns [10.0, 30.0]",
            "2.00× [2.00, 2.00]",
            "N/A: unix-stream, tcp: a byte stream",
            "N/A: pipe, pipe-1m: a shared pipe",
            "FAILED: stream tcp 1p1c 8 B: lost",
            "4p4c streaming",
            "p99.9",
        ] {
            assert!(text.contains(expected), "{expected:?} is missing in\n{text}");
        }
    }
}
