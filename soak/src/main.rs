//! `shmq-soak`: processes work on a queue, are killed and stopped at random moments, and everything
//! they did is checked.
//!
//! The supervisor ([`campaign`]) runs epochs ([`epoch`]) of workers ([`worker`], this binary again),
//! each of which keeps a log ([`log`]) that outlives it.

mod campaign;
mod cli;
mod clock;
mod control;
mod crew;
mod epoch;
mod gather;
mod latency;
mod log;
mod mapping;
mod message;
mod report;
mod setting;
mod warp;
mod whole;
mod worker;

use std::env;
use std::process::ExitCode;

use clap::Parser;

use crate::campaign::Ended;
use crate::cli::Cli;

fn main() -> ExitCode {
    // Not by the command line parser: workers are started in their thousands.
    let mut arguments = env::args().skip(1);
    if arguments.next().as_deref() == Some(crew::SUBCOMMAND) {
        return worker::main(&arguments.next().unwrap_or_default());
    }
    match Cli::parse().plan().and_then(|plan| campaign::run(&plan)) {
        Ok(Ended::Whole) => ExitCode::SUCCESS,
        Ok(Ended::Violated) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
