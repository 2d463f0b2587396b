//! Compares ways to hand messages on, between real processes.
//!
//! A program brings a table of [`Transport`]s, for example [`BUILT_IN`], and calls [`run`] in `main`.
//! The runner (`runner`) starts every cell of the `plan` as a handful of worker processes
//! (`worker`), verifies what they did (`trial`) and reports it (`report`).

mod barrier;
mod cli;
mod clock;
mod crew;
mod env;
mod error;
mod interrupt;
mod line;
mod message;
mod plan;
mod progress;
mod report;
mod runner;
mod stats;
mod transport;
mod trial;
mod warnings;
mod worker;

use std::fmt::Write as _;
use std::io::{self, Write};
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

pub use crate::error::{During, Error, Result};
pub use crate::message::is_end;
pub use crate::plan::{Mode, Row, Topology};
pub use crate::transport::{
    BATCH, BUILT_IN, BatchReceiver, BatchSender, Channel, End, GetMany, Group, Link, Local,
    PutMany, Receiver, SIZES, Sender, Transport, Unit, batches_unavailable,
};
pub use crate::worker::{Done, Report, Role, Spec, run_process, run_threads};

use crate::cli::{Cli, Hidden, Pin, Run};
use crate::env::Environment;
use crate::interrupt::Interrupt;
use crate::plan::Plan;
use crate::progress::Progress;
use crate::runner::Schedule;

/// What a comparison is called, and what it compares.
#[derive(Debug)]
pub struct Program {
    /// Of the binary.
    pub name: &'static str,
    /// For `--help`: a sentence.
    pub about: &'static str,
    /// In the order of reports. One of them is `shmq`, with which the others are compared.
    pub transports: Vec<&'static Transport>,
}

/// All of `main`. It is also what workers run: they are the same binary, started again.
pub fn run(program: &Program) -> ExitCode {
    let cli = Cli::of(program);
    if let Some(Hidden::Worker { spec }) = cli.hidden {
        return worker::main(&spec, &program.transports);
    }
    match main_job(&cli.run, program) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            match error {
                Error::Interrupted(_) => eprintln!("{error}"),
                _ => eprintln!("error: {error}"),
            }
            error.exit_code()
        }
    }
}

fn main_job(options: &Run, program: &Program) -> Result<()> {
    let plan = Plan::new(&options.selection(), &program.transports);
    if options.list {
        return print(&list(&plan));
    }
    refuse_debug(options)?;
    refuse_empty(&plan)?;
    let interrupt = Interrupt::watch()?;

    let schedule = schedule(options, &plan);
    refuse_distance(&schedule)?;
    let mut environment = Environment::before(&schedule);
    let progress = Progress::new(plan.cells.len(), schedule.rounds);
    let records = runner::run(&plan.cells, &schedule, &interrupt, &progress)?;
    environment.after();

    let report = report::Report::new(environment, &schedule, records, plan);
    publish(&report, options)?;
    match report.failed.len() {
        0 => Ok(()),
        failed => Err(Error::CellsFailed(failed)),
    }
}

fn schedule(options: &Run, plan: &Plan) -> Schedule {
    let rounds = options.rounds();
    let slice = options
        .slice_ms
        .map(Duration::from_millis)
        .unwrap_or_else(|| runner::slice(options.budget(), plan.cells.len(), rounds));
    let clock_seed = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Schedule {
        rounds,
        seed: options.seed.unwrap_or_else(|| clock_seed().as_secs()),
        slice,
        patience: Duration::from_secs(options.patience),
        cpus: if options.pin == Pin::Auto { env::allowed_cpus() } else { Vec::new() },
        line_ns: options.line_ns.clone(),
    }
}

fn refuse_distance(schedule: &Schedule) -> Result<()> {
    if schedule.line_ns.is_none() || schedule.cpus.len() > 1 {
        return Ok(());
    }
    Err(Error::Usage(
        "--line-ns asks how far apart two CPUs are, and the workers are not pinned to two: leave it out, \
         or allow two CPUs and --pin auto"
            .into(),
    ))
}

/// Standard output is for people, or for one JSON document.
fn publish(report: &report::Report, options: &Run) -> Result<()> {
    // What has been measured is shown, whatever becomes of the files.
    if options.json_to_stdout() {
        print(&report::json(report)?)?;
        for failed in &report.failed {
            eprintln!("FAILED: {}: {}", failed.cell, failed.why);
        }
    } else {
        print(&report::table(report)?)?;
        if let Some(file) = &options.json {
            report::write(file, report::json(report)?.as_bytes())?;
        }
    }
    for warning in &report.warnings {
        eprintln!("warning: {warning}");
    }
    eprintln!("report: {}", report::write_all(report, &options.out)?);
    Ok(())
}

fn list(plan: &Plan) -> String {
    let mut text = String::new();
    for cell in &plan.cells {
        let _ = writeln!(text, "{cell}");
    }
    for unavailable in &plan.unavailable {
        let _ = writeln!(text, "{}  N/A: {}", unavailable.cell, unavailable.why);
    }
    text
}

/// A reader that went away (`| head`) is no error.
fn print(text: &str) -> Result<()> {
    match io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        done => done.during("writing to standard output"),
    }
}

fn refuse_debug(options: &Run) -> Result<()> {
    if cfg!(debug_assertions) && !options.allow_debug {
        let why = "this is a debug build, its numbers would mean nothing; use: cargo run --release";
        return Err(Error::Usage(why.into()));
    }
    Ok(())
}

fn refuse_empty(plan: &Plan) -> Result<()> {
    if !plan.cells.is_empty() {
        return Ok(());
    }
    let mut why = String::from("nothing to measure: none of the selected cells is available");
    match plan.unavailable.first() {
        Some(cell) => {
            let _ = write!(why, " ({}: {})", cell.cell, cell.why);
        }
        None => why.push_str(" (round trips, --mode rtt, need --topology 1p1c)"),
    }
    Err(Error::Usage(why))
}
