//! How far the run is: a bar on a terminal, a line per round elsewhere.

use std::io::IsTerminal;
use std::time::Instant;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::plan::Cell;

const TEMPLATE: &str = "{bar:20} {percent:>3} %  round {prefix}, about {eta} left  {wide_msg}";

#[derive(Debug)]
pub(crate) struct Progress {
    bar: ProgressBar,
    plain: bool,
    rounds: u32,
    start: Instant,
}

impl Progress {
    /// Redrawn between trials only: no ticker competes with the workers for a CPU.
    pub(crate) fn new(cells: usize, rounds: u32) -> Progress {
        let trials = cells as u64 * u64::from(rounds);
        let bar = ProgressBar::with_draw_target(Some(trials), ProgressDrawTarget::stderr());
        bar.set_style(ProgressStyle::with_template(TEMPLATE).expect("the template is valid"));
        let plain = !std::io::stderr().is_terminal();
        Progress { bar, plain, rounds, start: Instant::now() }
    }

    /// About to run `cell`.
    pub(crate) fn trial(&self, round: u32, cell: &Cell) {
        self.bar.set_prefix(format!("{round}/{}", self.rounds));
        self.bar.set_message(cell.to_string());
        self.bar.inc(1);
    }

    pub(crate) fn round(&self, round: u32) {
        if self.plain {
            let seconds = self.start.elapsed().as_secs_f64();
            eprintln!("round {round} of {} done after {seconds:.0} s", self.rounds);
        }
    }

    pub(crate) fn finish(&self) {
        self.bar.finish_and_clear();
    }
}
