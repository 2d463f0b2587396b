//! The result of a run, and the forms it is written in.

mod cell;
mod chart;
mod csv;
mod html;
mod json;
mod table;
mod units;

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use serde::{Serialize, Serializer};

pub(crate) use cell::CellReport;

use crate::env::Environment;
use crate::error::{Error, Result};
use crate::plan::{Cell, Mode, Plan, Row, Topology, Unavailable};
use crate::runner::{Record, Schedule};
use crate::transport::Transport;
use crate::warnings::{Signs, Warning, warnings};

/// Grows when a field changes its meaning or goes away.
const SCHEMA: u32 = 1;
const JITTER_MAX: f64 = 1.5;

/// One form of the report.
pub(crate) trait Exporter {
    fn format(&self) -> &'static str;
    fn serialise(&self, report: &Report) -> Result<Vec<u8>>;
}

/// Writes report.json, report.csv and report.html; returns their names for people.
pub(crate) fn write_all(report: &Report, folder: &Path) -> Result<String> {
    fs::create_dir_all(folder)
        .map_err(|source| Error::Write { path: folder.to_owned(), source })?;
    let exporters: [&dyn Exporter; 3] = [&html::Html, &json::Json, &csv::Csv];
    let mut names = Vec::new();
    for exporter in exporters {
        let path = folder.join(format!("report.{}", exporter.format()));
        write(&path, &exporter.serialise(report)?)?;
        names.push(path.display().to_string());
    }
    Ok(names.join(", "))
}

pub(crate) fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    fs::write(path, bytes).map_err(|source| Error::Write { path: path.to_owned(), source })
}

pub(crate) fn json(report: &Report) -> Result<String> {
    text(&json::Json, report)
}

pub(crate) fn table(report: &Report) -> Result<String> {
    text(&table::Table, report)
}

fn text(exporter: &dyn Exporter, report: &Report) -> Result<String> {
    let bytes = exporter.serialise(report)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[derive(Debug, Serialize)]
pub(crate) struct Report {
    /// In order.
    #[serde(skip)]
    transports: Vec<&'static Transport>,
    schema: u32,
    pub(crate) env: Environment,
    pub(crate) cells: Vec<CellReport>,
    pub(crate) unavailable: Vec<Unavailable>,
    pub(crate) failed: Vec<Failed>,
    #[serde(serialize_with = "as_texts")]
    pub(crate) warnings: Vec<Warning>,
}

#[derive(Debug, Serialize)]
pub(crate) struct Failed {
    #[serde(flatten)]
    pub(crate) cell: Cell,
    pub(crate) why: String,
}

/// What a table shows at one place.
#[derive(Debug)]
pub(crate) enum Entry<'a> {
    Measured(&'a CellReport),
    Failed,
    Unavailable,
    Absent,
}

impl Report {
    pub(crate) fn new(
        env: Environment,
        schedule: &Schedule,
        records: Vec<Record>,
        plan: Plan,
    ) -> Report {
        let reference = reference_times(&records);
        let (mut cells, mut failed) = (Vec::new(), Vec::new());
        for (index, Record { cell, result }) in records.into_iter().enumerate() {
            let seed = schedule.seed.wrapping_add(index as u64);
            let evaluated = result.and_then(|outcomes| {
                let ours = reference
                    .get(&cell.row())
                    .filter(|_| !cell.transport.is_reference())
                    .map(Vec::as_slice);
                CellReport::of(cell, &outcomes, ours, &env, seed).ok_or("no rounds were run".into())
            });
            match evaluated {
                Ok(report) => cells.push(report),
                Err(why) => failed.push(Failed { cell, why }),
            }
        }
        let warnings = warnings(&env, &signs(&cells));
        let Plan { transports, unavailable, .. } = plan;
        Report { transports, schema: SCHEMA, env, cells, unavailable, failed, warnings }
    }

    fn all_cells(&self) -> Vec<Cell> {
        let measured = self.cells.iter().map(|cell| cell.cell);
        let failed = self.failed.iter().map(|failed| failed.cell);
        measured.chain(failed).chain(self.unavailable.iter().map(|cell| cell.cell)).collect()
    }

    /// The tables of the report, in order.
    pub(crate) fn groups(&self) -> Vec<(Mode, Topology)> {
        sorted(self.all_cells().iter().map(|cell| (cell.mode, cell.topology)))
    }

    pub(crate) fn sizes(&self, mode: Mode, topology: Topology) -> Vec<usize> {
        let cells = self.all_cells();
        let group = cells.iter().filter(|cell| (cell.mode, cell.topology) == (mode, topology));
        sorted(group.map(|cell| cell.size))
    }

    /// Those that have cells.
    pub(crate) fn transports(&self) -> Vec<&'static Transport> {
        let cells = self.all_cells();
        let has_cells = |of: &&Transport| cells.iter().any(|cell| cell.transport == *of);
        self.transports.iter().copied().filter(has_cells).collect()
    }

    /// Those that are threads of one process, or a thread alone.
    pub(crate) fn in_one_process(&self) -> Vec<&'static str> {
        let transports = self.transports().into_iter();
        transports.filter(|transport| transport.one_process).map(|of| of.name).collect()
    }

    pub(crate) fn entry(
        &self,
        transport: &Transport,
        topology: Topology,
        size: usize,
        mode: Mode,
    ) -> Entry<'_> {
        let is_it = |cell: &Cell| {
            (cell.transport, cell.topology, cell.size, cell.mode)
                == (transport, topology, size, mode)
        };
        if let Some(cell) = self.cells.iter().find(|cell| is_it(&cell.cell)) {
            return Entry::Measured(cell);
        }
        if self.failed.iter().any(|failed| is_it(&failed.cell)) {
            return Entry::Failed;
        }
        let unavailable = self.unavailable.iter().any(|cell| is_it(&cell.cell));
        if unavailable { Entry::Unavailable } else { Entry::Absent }
    }
}

fn sorted<T: Ord>(values: impl Iterator<Item = T>) -> Vec<T> {
    let mut values: Vec<T> = values.collect();
    values.sort_unstable();
    values.dedup();
    values
}

/// Per row, shmq's time in each round.
fn reference_times(records: &[Record]) -> HashMap<Row, Vec<f64>> {
    let ours = records.iter().filter(|record| record.cell.transport.is_reference());
    ours.filter_map(|record| {
        let outcomes = record.result.as_ref().ok()?;
        Some((record.cell.row(), outcomes.iter().map(|outcome| outcome.time_ns).collect()))
    })
    .collect()
}

fn signs(cells: &[CellReport]) -> Signs {
    let jitter = |cell: &&CellReport| {
        let slowest = cell.samples.iter().copied().fold(0.0, f64::max);
        let fastest = cell.samples.iter().copied().fold(f64::INFINITY, f64::min);
        slowest > fastest * JITTER_MAX
    };
    let round_trips = cells.iter().filter(|cell| cell.cell.mode == Mode::Rtt);
    Signs {
        line_ns: line_ns(cells).map(|[least, _, most]| (least, most)),
        processes_max: cells.iter().map(|cell| cell.cell.processes()).max().unwrap_or(0),
        fastest_rtt_ns: round_trips.map(|cell| cell.time.median).min_by(f64::total_cmp),
        jittery: cells.iter().filter(jitter).map(|cell| cell.cell.to_string()).collect(),
    }
}

/// What a cache line took there and back: usually at least, in the median, usually at most.
pub(crate) fn line_ns(cells: &[CellReport]) -> Option<[f64; 3]> {
    let mut all: Vec<f64> = cells.iter().flat_map(|cell| cell.line_ns.iter().copied()).collect();
    all.sort_unstable_by(f64::total_cmp);
    // Not the outermost tenths: a thread without a CPU is no distance.
    let tenth = |tenths| all.get(all.len() * tenths / 10).copied();
    Some([tenth(1)?, tenth(5)?, tenth(9)?])
}

fn as_texts<S: Serializer>(warnings: &[Warning], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(warnings.iter().map(Warning::to_string))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::plan::Selection;
    use crate::transport::BUILT_IN;
    use crate::trial::Outcome;
    use std::sync::OnceLock;
    use std::time::Duration;

    /// shmq takes 10, 20, 30 ns in three rounds; transport n takes n times as long; one fails.
    pub(crate) fn example() -> &'static Report {
        static EXAMPLE: OnceLock<Report> = OnceLock::new();
        EXAMPLE.get_or_init(evaluate_example)
    }

    fn evaluate_example() -> Report {
        let table: Vec<&'static Transport> = BUILT_IN.iter().collect();
        let plan = Plan::new(&Selection::default(), &table);
        let record = |cell: Cell| {
            let place = table.iter().position(|&transport| transport == cell.transport).unwrap();
            let factor = 1.0 + place as f64;
            let outcome = |round: f64| Outcome {
                time_ns: 10.0 * round * factor,
                messages: 1000,
                cpu_ns: 20_000,
                voluntary_switches: 5,
                involuntary_switches: 1,
                trips: vec![(100, 999), (5000, 1)],
                line_ns: Some(80.0 * round),
            };
            let failed = cell.transport.name == "tcp" && cell.size == 8;
            let outcomes = [1.0, 2.0, 3.0].map(outcome).to_vec();
            Record { cell, result: if failed { Err("lost".into()) } else { Ok(outcomes) } }
        };
        let (slice, patience) = (Duration::from_millis(1), Duration::from_secs(1));
        let schedule =
            Schedule { rounds: 3, seed: 1, slice, patience, cpus: vec![0, 1], line_ns: None };
        let mut env = Environment::before(&schedule);
        env.command = "shmq-harness --out <b>&\"here\"".into();
        env.after();
        let records = plan.cells.iter().map(|&cell| record(cell)).collect();
        Report::new(env, &schedule, records, plan)
    }

    #[test]
    fn ratios_come_from_within_the_rounds() {
        let report = example();
        let pipe = report.cells.iter().find(|cell| cell.cell.transport.name == "pipe").unwrap();
        let ratio = pipe.ratio.unwrap();
        // the times differ threefold between rounds, the ratio does not
        assert_eq!((ratio.low, ratio.median, ratio.high), (5.0, 5.0, 5.0));
        assert_eq!((pipe.time.low, pipe.time.high), (50.0, 150.0));
        let compared =
            |cell: &CellReport| cell.ratio.is_some() != cell.cell.transport.is_reference();
        assert!(report.cells.iter().all(compared));
    }

    #[test]
    fn a_failed_cell_is_no_number() {
        let report = example();
        assert_eq!(report.failed.len(), 1);
        let failed = report.failed[0].cell;
        assert!(report.cells.iter().all(|cell| cell.cell != failed));
        let entry = report.entry(failed.transport, failed.topology, failed.size, failed.mode);
        assert!(matches!(entry, Entry::Failed));
    }
}
