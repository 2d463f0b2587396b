//! `shmq-harness`: compares shmq with pipes and sockets, between real processes.
//!
//! The runner ([`runner`]) starts every cell of the [`plan`] as a handful of worker processes
//! ([`worker`]), verifies what they did ([`trial`]) and reports it ([`report`]).

mod barrier;
mod cli;
mod clock;
mod crew;
mod env;
mod error;
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
use std::io::{self, IsTerminal, Write};
use std::process::{ExitCode, exit};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::Parser;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::cli::{Cli, Hidden, Pin, Run};
use crate::env::Environment;
use crate::error::{During, Error, Result};
use crate::plan::Plan;
use crate::progress::Progress;
use crate::report::Report;
use crate::runner::Schedule;

fn main() -> ExitCode {
    let cli = Cli::parse();
    if let Some(Hidden::Worker { spec }) = cli.hidden {
        return worker::main(&spec);
    }
    match main_job(&cli.run) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            error.exit_code()
        }
    }
}

fn main_job(options: &Run) -> Result<()> {
    let plan = Plan::new(&options.selection());
    if options.list {
        return print(&list(&plan));
    }
    refuse_debug(options)?;
    refuse_empty(&plan)?;
    leave_on_signals()?;

    let schedule = schedule(options, &plan);
    let mut environment = Environment::before(&schedule);
    let progress = Progress::new(plan.cells.len(), schedule.rounds);
    let records = runner::run(&plan.cells, &schedule, &progress);
    environment.after();

    let report = Report::new(environment, &schedule, records, plan.unavailable);
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
        cpus: if options.pin == Pin::Auto { env::allowed_cpus() } else { Vec::new() },
    }
}

/// Standard output is for people, or for one JSON document.
fn publish(report: &Report, options: &Run) -> Result<()> {
    let files = report::write_all(report, &options.out)?;
    if options.json_to_stdout() {
        print(&report::json(report)?)?;
        for failed in &report.failed {
            eprintln!("FAILED: {}: {}", failed.cell, failed.why);
        }
    } else {
        if let Some(file) = &options.json {
            report::write(file, report::json(report)?.as_bytes())?;
        }
        print(&report::table(report)?)?;
    }
    for warning in &report.warnings {
        eprintln!("warning: {warning}");
    }
    eprintln!("report: {files}");
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

/// The workers end with us (see `worker::die_with_parent`), and there is nothing else to undo.
fn leave_on_signals() -> Result<()> {
    let mut signals = Signals::new([SIGINT, SIGTERM]).during("sigaction")?;
    thread::spawn(move || {
        if let Some(signal) = signals.forever().next() {
            let clear = if io::stderr().is_terminal() { "\r\x1b[2K" } else { "" };
            eprintln!("{clear}interrupted: the workers are stopped, no report was written");
            exit(128 + signal);
        }
    });
    Ok(())
}
