//! Counts, tables, and failures as they are found.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use comfy_table::{CellAlignment, Table, presets};
use indicatif::{ProgressBar, ProgressStyle};

use crate::seed::{KINDS, Kind, Seed, Unit};
use crate::single::Longest;

/// What has been run of one kind.
#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    units: u64,
    points: u64,
    failures: u64,
    time: Duration,
}

/// The account of a run.
#[derive(Debug)]
pub struct Report {
    bar: ProgressBar,
    tallies: [Tally; KINDS.len()],
    failed: Vec<Seed>,
    /// Instructions of puts and gets, with nobody else and beside each stopped operation.
    longest: BTreeMap<String, Longest>,
    start: Instant,
    /// When it last said how far it was.
    said: Instant,
}

/// Where there is no bar it says so now and then.
const SAY_EVERY: Duration = Duration::from_secs(60);

impl Report {
    /// Nothing has been run yet of so many units.
    pub fn new(units: usize) -> Self {
        let bar = ProgressBar::new(units as u64);
        let style = ProgressStyle::with_template("{wide_bar} {pos}/{len} {elapsed} {msg}");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        Self {
            bar,
            tallies: [Tally::default(); KINDS.len()],
            failed: Vec::new(),
            longest: BTreeMap::new(),
            start: Instant::now(),
            said: Instant::now(),
        }
    }

    /// Another unit begins.
    pub fn begin(&self, unit: &Unit) {
        self.bar.set_message(unit.to_string());
    }

    /// The unit is done, or given up.
    pub fn end(&mut self, kind: Kind, points: u64, time: Duration) {
        let tally = self.tally(kind);
        tally.units += 1;
        tally.points += points;
        tally.time += time;
        self.bar.inc(1);
        if self.said.elapsed() > SAY_EVERY {
            self.say();
        }
    }

    /// How far it is, where there is no bar that shows it.
    fn say(&mut self) {
        self.said = Instant::now();
        if self.bar.is_hidden() {
            let sum = |of: fn(&Tally) -> u64| self.tallies.iter().map(of).sum::<u64>();
            let (units, points) = (sum(|tally| tally.units), sum(|tally| tally.points));
            let all = self.bar.length().unwrap_or_default();
            let (failures, time) = (self.failed.len(), self.start.elapsed().as_secs());
            println!(
                "{units} of {all} series, {points} experiments, {failures} failures, {time} s"
            );
        }
    }

    /// An experiment failed.
    pub fn accuse(&mut self, seed: Seed, why: &anyhow::Error) {
        self.tally(seed.unit.kind).failures += 1;
        self.failed.push(seed);
        let line = format!("FAILED: --replay {seed}: {why:#}");
        // A bar that is not shown swallows lines.
        if self.bar.is_hidden() { println!("{line}") } else { self.bar.println(line) }
    }

    /// Where instructions in that company are counted.
    pub fn longest(&mut self, company: String) -> &Longest {
        self.longest.entry(company).or_default()
    }

    fn tally(&mut self, kind: Kind) -> &mut Tally {
        let at = KINDS.iter().position(|&it| it == kind).unwrap_or(0);
        &mut self.tallies[at]
    }

    /// Prints it all. True: nothing failed.
    pub fn finish(&self) -> bool {
        self.bar.finish_and_clear();
        println!("{}\n", self.counts());
        if !self.longest.is_empty() {
            println!("{}\n", self.lengths());
        }
        let points = |kinds: &[Kind]| -> u64 {
            let counted = KINDS.iter().zip(&self.tallies).filter(|(kind, _)| kinds.contains(kind));
            counted.map(|(_, tally)| tally.points).sum()
        };
        let pairs = points(&[Kind::KillPair, Kind::FreezePair]);
        let schedules = points(&[Kind::Schedule]);
        let (singles, failures) = (points(&KINDS) - pairs - schedules, self.failed.len());
        let seconds = self.start.elapsed().as_secs_f64();
        println!("{seconds:.1} s");
        println!("{singles} points, {pairs} pairs, {schedules} schedules: {failures} failures");
        failures == 0
    }

    fn counts(&self) -> Table {
        let mut table = plain(["kind", "series", "experiments", "failures", "time"]);
        for (kind, tally) in KINDS.iter().zip(&self.tallies) {
            let time = format!("{:.1} s", tally.time.as_secs_f64());
            let counts = [tally.units, tally.points, tally.failures].map(|it| it.to_string());
            let [units, points, failures] = counts;
            table.add_row([kind.name().to_owned(), units, points, failures, time]);
        }
        table
    }

    fn lengths(&self) -> Table {
        let mut table = plain(["most instructions", "try_push", "try_pop"]);
        for (company, longest) in &self.longest {
            let [put, get] = [&longest.put, &longest.get].map(|it| it.get().to_string());
            table.add_row([company.clone(), put, get]);
        }
        table
    }
}

/// Columns set apart by blanks, numbers to the right.
fn plain<const N: usize>(heading: [&str; N]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(heading);
    for column in 1..N {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}
