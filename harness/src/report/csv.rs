//! The report for spreadsheets: one line per cell, also for those without a number.

use super::{CellReport, Exporter, Report};
use crate::error::{Error, Result};
use crate::plan::Cell;

const HEADER: [&str; 22] = [
    "mode",
    "topology",
    "size_bytes",
    "transport",
    "status",
    "median_ns",
    "low_ns",
    "high_ns",
    "rounds",
    "ratio_median",
    "ratio_low",
    "ratio_high",
    "messages_per_s",
    "mib_per_s",
    "cpu_ns_per_message",
    "p50_ns",
    "p90_ns",
    "p99_ns",
    "p99_9_ns",
    "max_ns",
    "oversubscribed",
    "why",
];

#[derive(Debug)]
pub(crate) struct Csv;

impl Exporter for Csv {
    fn format(&self) -> &'static str {
        "csv"
    }

    fn serialise(&self, report: &Report) -> Result<Vec<u8>> {
        let mut writer = csv::Writer::from_writer(Vec::new());
        let failed = |error: String| Error::Serialise { format: self.format(), reason: error };
        let measured = report.cells.iter().map(measured);
        let without = |cell, status, why| without_number(cell, status, why);
        let lost = report.failed.iter().map(|cell| without(&cell.cell, "failed", &cell.why));
        let missing = report.unavailable.iter().map(|cell| without(&cell.cell, "n/a", &cell.why));
        writer.write_record(HEADER).map_err(|error| failed(error.to_string()))?;
        for record in measured.chain(lost).chain(missing) {
            writer.write_record(record).map_err(|error| failed(error.to_string()))?;
        }
        writer.into_inner().map_err(|error| failed(error.to_string()))
    }
}

fn measured(report: &CellReport) -> Vec<String> {
    let mut record = key(&report.cell, "verified");
    let time = report.time;
    record.extend([time.median, time.low, time.high].map(number));
    record.push(report.rounds.to_string());
    let ratio = report.ratio;
    record.extend(
        ratio.map_or_else(blanks, |ratio| [ratio.median, ratio.low, ratio.high].map(number)),
    );
    record.extend([report.messages_per_s, report.mib_per_s, report.cpu_ns_per_message].map(number));
    record.extend(report.percentiles.map_or_else(blanks, |trips| {
        [trips.p50, trips.p90, trips.p99, trips.p99_9, trips.max].map(|ns| ns.to_string())
    }));
    record.extend([report.oversubscribed.to_string(), String::new()]);
    record
}

fn without_number(cell: &Cell, status: &str, why: &str) -> Vec<String> {
    let mut record = key(cell, status);
    record.resize(HEADER.len() - 1, String::new());
    record.push(why.to_owned());
    record
}

fn key(cell: &Cell, status: &str) -> Vec<String> {
    let Cell { transport, topology, size, mode, .. } = cell;
    let name = transport.name.to_owned();
    vec![mode.name().into(), topology.to_string(), size.to_string(), name, status.to_owned()]
}

fn number(value: f64) -> String {
    format!("{value:.3}")
}

fn blanks<const N: usize>() -> [String; N] {
    [const { String::new() }; N]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_per_cell_and_all_equally_long() {
        let report = super::super::tests::example();
        let bytes = Csv.serialise(report).unwrap();
        // the reader refuses records of unequal length
        let mut reader = csv::Reader::from_reader(bytes.as_slice());
        let records: Vec<csv::StringRecord> = reader.records().map(Result::unwrap).collect();
        assert_eq!(records.len(), 6 * 5 * 4 + 6 + 6);
        assert_eq!(records.iter().filter(|record| &record[4] == "failed").count(), 1);
    }
}
