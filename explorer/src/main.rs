//! Explores the built operations of a queue, instruction by instruction.

use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::Parser;
use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;
use shmq_explorer::explore;
use shmq_explorer::plan::{Extent, units};
use shmq_explorer::seed::{Seed, Unit};

/// Steps queue operations of this build with ptrace; kills, freezes and resumes them at every
/// instruction, and finds out whether anybody else notices.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100)]
struct Cli {
    /// Only what the test command has time for
    #[arg(long)]
    quick: bool,
    /// Only series whose name contains this, such as kill/ or freeze/try_pop or /stalled/
    #[arg(long, value_name = "PART")]
    only: Option<String>,
    /// Only name what would be run
    #[arg(long, conflicts_with = "replay")]
    list: bool,
    /// Repeat one experiment, and print every instruction
    #[arg(long, value_name = "SEED", conflicts_with_all = ["quick", "only"])]
    replay: Option<Seed>,
    /// The CPU to run on, with all victims: switching is fastest there
    #[arg(long, value_name = "NUMBER")]
    cpu: Option<usize>,
}

fn main() -> ExitCode {
    match run(&Cli::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: &Cli) -> Result<bool> {
    if let Some(seed) = cli.replay {
        pin(cli.cpu)?;
        explore::replay(seed).with_context(|| format!("--replay {seed}"))?;
        return Ok(true);
    }
    let mut units = units(if cli.quick { Extent::Quick } else { Extent::Full });
    if let Some(part) = &cli.only {
        units.retain(|unit| listed(unit).contains(part));
        if units.is_empty() {
            bail!("no series has {part:?} in its name; --list names them");
        }
    }
    if cli.list {
        units.iter().for_each(|unit| println!("{}", listed(unit)));
        println!("{} series", units.len());
        return Ok(true);
    }
    pin(cli.cpu)?;
    explore::all(&units)
}

/// Its name as `--list` has it, which ends each part.
fn listed(unit: &Unit) -> String {
    format!("{unit}{}", if unit.touching { "/t" } else { "/" })
}

/// Tracer and victims take turns: on one CPU a turn costs least.
fn pin(cpu: Option<usize>) -> Result<()> {
    let cpu = cpu.map_or_else(nix::sched::sched_getcpu, Ok)?;
    let mut set = CpuSet::new();
    set.set(cpu).with_context(|| format!("CPU {cpu}"))?;
    sched_setaffinity(Pid::from_raw(0), &set).with_context(|| format!("running on CPU {cpu}"))
}
