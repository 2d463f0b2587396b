//! The rounds: every transport once per round, in an order that is shuffled anew.
//!
//! What is compared with each other (one mode, topology and size) runs back to back, so that a
//! slow minute of the machine hits all transports alike and drops out of their ratios.

use std::time::Duration;

use rand::SeedableRng;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;

use crate::error::{Error, Result};
use crate::interrupt::Interrupt;
use crate::line;
use crate::plan::{Cell, Row};
use crate::progress::Progress;
use crate::trial::{self, Outcome};

/// Starting and reaping the workers of one trial, about.
const START_COST: Duration = Duration::from_millis(6);
/// A trial is made at most so often, for one at the right distance.
const TRIALS_MAX: u32 = 200;
const SLICE_MIN: Duration = Duration::from_millis(10);
const SLICE_MAX: Duration = Duration::from_millis(200);

#[derive(Debug)]
pub(crate) struct Schedule {
    pub(crate) rounds: u32,
    pub(crate) seed: u64,
    /// How long the producers of one trial produce.
    pub(crate) slice: Duration,
    /// A trial that takes this much longer never ends.
    pub(crate) patience: Duration,
    /// Where to pin the workers; empty leaves them free.
    pub(crate) cpus: Vec<usize>,
    /// How far apart they are to be.
    pub(crate) line_ns: Option<line::Range>,
}

/// A cell and its rounds, all of them verified, or why there is no number for it.
#[derive(Debug)]
pub(crate) struct Record {
    pub(crate) cell: Cell,
    pub(crate) result: Result<Vec<Outcome>, String>,
}

/// Only an interrupt is an error: it fails no cell, but ends the run.
pub(crate) fn run(
    cells: &[Cell],
    schedule: &Schedule,
    interrupt: &Interrupt,
    progress: &Progress,
) -> Result<Vec<Record>> {
    let mut random = StdRng::seed_from_u64(schedule.seed);
    let mut records: Vec<Record> =
        cells.iter().map(|&cell| Record { cell, result: Ok(Vec::new()) }).collect();
    for round in 1..=schedule.rounds {
        for index in shuffled(cells, &mut random) {
            let Record { cell, result } = &mut records[index];
            progress.trial(round, cell);
            let Ok(outcomes) = result else { continue };
            match at_a_distance(cell, schedule, interrupt) {
                Ok(outcome) => outcomes.push(outcome),
                Err(error @ Error::Interrupted(_)) => return Err(error),
                Err(error) => *result = Err(format!("round {round}: {error}")),
            }
        }
        progress.round(round);
    }
    progress.finish();
    Ok(records)
}

/// A trial while the CPUs are as far apart as they are to be, before it and after it.
fn at_a_distance(cell: &Cell, schedule: &Schedule, interrupt: &Interrupt) -> Result<Outcome> {
    let distance = || line::round_trip_ns(&schedule.cpus);
    let Some(range) = &schedule.line_ns else {
        let line_ns = distance();
        return Ok(Outcome { line_ns, ..trial::run(cell, schedule, interrupt)? });
    };
    let unknown =
        || Error::Usage("nobody can tell how far apart the CPUs are: leave --line-ns out".into());
    let mut found = [f64::NAN; 2];
    for _ in 0..TRIALS_MAX {
        let before = distance().ok_or_else(unknown)?;
        // Also at the wrong distance: the host moves busy CPUs, not idle ones.
        let outcome = trial::run(cell, schedule, interrupt)?;
        found = [before, distance().ok_or_else(unknown)?];
        if found.iter().all(|&ns| range.contains(&(ns as u32))) {
            return Ok(Outcome { line_ns: Some(before), ..outcome });
        }
    }
    Err(Error::Distance { range: range.clone(), found_ns: found, trials: TRIALS_MAX })
}

/// As long as the budget allows, shared equally.
pub(crate) fn slice(budget: Duration, cells: usize, rounds: u32) -> Duration {
    let trials = u32::try_from(cells).unwrap_or(u32::MAX).saturating_mul(rounds).max(1);
    (budget / trials).saturating_sub(START_COST).clamp(SLICE_MIN, SLICE_MAX)
}

/// Indices of `cells`: the rows in random order, and within each its transports.
fn shuffled(cells: &[Cell], random: &mut StdRng) -> Vec<usize> {
    let mut rows: Vec<(Row, Vec<usize>)> = Vec::new();
    for (index, cell) in cells.iter().enumerate() {
        match rows.iter_mut().find(|(row, _)| *row == cell.row()) {
            Some((_, members)) => members.push(index),
            None => rows.push((cell.row(), vec![index])),
        }
    }
    rows.shuffle(random);
    let transports = rows.into_iter().flat_map(|(_, mut members)| {
        members.shuffle(random);
        members
    });
    transports.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{Plan, Selection};
    use crate::transport::BUILT_IN;

    fn default_cells() -> Vec<Cell> {
        Plan::new(&Selection::default(), &BUILT_IN.iter().collect::<Vec<_>>()).cells
    }

    #[test]
    fn every_cell_once_per_round_and_rows_together() {
        let cells = default_cells();
        let order = shuffled(&cells, &mut StdRng::seed_from_u64(1));
        let mut sorted = order.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, (0..cells.len()).collect::<Vec<_>>());
        let mut rows: Vec<Row> = order.iter().map(|&index| cells[index].row()).collect();
        rows.dedup();
        assert_eq!(rows.len(), 5 * 4 + 1, "a row was interrupted by another");
    }

    #[test]
    fn the_seed_decides_the_order() {
        let cells = default_cells();
        let order = |seed| shuffled(&cells, &mut StdRng::seed_from_u64(seed));
        assert_eq!(order(7), order(7));
        assert_ne!(order(7), order(8));
    }

    #[test]
    fn the_slice_fits_the_budget_within_limits() {
        assert_eq!(slice(Duration::from_secs(60), 1, 5), SLICE_MAX);
        assert_eq!(slice(Duration::from_secs(1), 1000, 5), SLICE_MIN);
        assert_eq!(slice(Duration::from_secs(53), 100, 5), Duration::from_millis(100));
    }
}
