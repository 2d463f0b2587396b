//! The command line.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::builder::{PossibleValue, PossibleValuesParser};
use clap::{Args, Command, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum};

use crate::Program;
use crate::line::{self, Range};
use crate::plan::{Mode, Selection, Topology, parse_size};

/// Where the report goes unless told otherwise.
const OUT_DEFAULT: &str = "target/shmq-report";

/// What every comparison does.
const ABOUT: &str = "\
Without arguments: streaming throughput at 8, 64, 1024 and 16384 bytes for 1p1c, 1p2c, 2p1c, 2p2c and \
4p4c (producers and consumers), and round trips at 64 bytes. Every message is verified; a cell that \
fails is never printed as a number.";

#[derive(Debug, Parser)]
#[command(version, subcommand_negates_reqs = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) hidden: Option<Hidden>,
    #[command(flatten)]
    pub(crate) run: Run,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Hidden {
    #[command(name = crate::crew::SUBCOMMAND, hide = true)]
    Worker { spec: String },
}

#[derive(Debug, Args)]
pub(crate) struct Run {
    /// A first impression in some seconds: shorter trials, wider intervals
    #[arg(long)]
    pub(crate) quick: bool,

    /// Folder for report.json, report.csv and report.html
    #[arg(long, value_name = "DIR", default_value = OUT_DEFAULT)]
    pub(crate) out: PathBuf,

    /// Also write the JSON report to FILE; "-" is standard output, with nothing else on it
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,

    /// Only these transports
    // The names are those of the program's table: see `Cli::command_of`.
    #[arg(long, value_name = "NAME,..", value_delimiter = ',')]
    pub(crate) transport: Vec<String>,

    /// Only these message sizes in bytes: multiples of 8 up to 67108864 (64 MiB)
    #[arg(long, value_name = "BYTES,..", value_delimiter = ',', allow_negative_numbers = true)]
    #[arg(value_parser = parse_size)]
    pub(crate) size: Vec<usize>,

    /// Only these topologies: NpMc is N producers and M consumers, each up to 32
    #[arg(long, value_name = "NpMc,..", value_delimiter = ',')]
    pub(crate) topology: Vec<Topology>,

    /// Only these modes; round trips run with 1p1c only
    #[arg(long, value_name = "MODE,..", value_delimiter = ',')]
    pub(crate) mode: Vec<Mode>,

    /// How many messages each queue has places for, where that can be chosen (not of pipes and sockets)
    /// [default: 1024, fewer from 2 KiB on]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    #[arg(value_parser = |text: &str| whole(text, 1_usize, 1 << 20))]
    pub(crate) capacity: Option<usize>,

    /// How often every cell is measured [default: 5, quick: 3]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    #[arg(value_parser = |text: &str| whole(text, 1_u32, 1000))]
    pub(crate) rounds: Option<u32>,

    /// How long one trial produces [default: what fits the minute, 10 to 200]
    #[arg(long, value_name = "MS", allow_negative_numbers = true)]
    #[arg(value_parser = |text: &str| whole(text, 1_u64, 10_000))]
    pub(crate) slice_ms: Option<u64>,

    /// How much longer a trial may take until its cell counts as failed, in seconds
    #[arg(long, value_name = "S", allow_negative_numbers = true, default_value_t = 20)]
    #[arg(value_parser = |text: &str| whole(text, 1_u64, 3600))]
    pub(crate) patience: u64,

    /// Seed of the order of trials and of the intervals [default: from the clock]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    #[arg(value_parser = |text: &str| whole(text, 0, u64::MAX))]
    pub(crate) seed: Option<u64>,

    /// Where the workers run
    #[arg(long, value_enum, default_value = "auto")]
    pub(crate) pin: Pin,

    /// Only while a cache line takes so long between the first two CPUs and back, in ns: other trials are
    /// made again. For machines whose host moves the CPUs
    #[arg(long, value_name = "LEAST..MOST", value_parser = line::parse_range)]
    pub(crate) line_ns: Option<Range>,

    /// Print what would be measured, and what cannot be and why; measure nothing
    #[arg(long)]
    pub(crate) list: bool,

    /// Measure although this is a debug build; the report says so
    #[arg(long, hide = true)]
    pub(crate) allow_debug: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Pin {
    /// one after the other on the allowed CPUs, producers first
    Auto,
    /// wherever the scheduler puts them
    None,
}

fn whole<N: FromStr + PartialOrd + fmt::Display>(
    text: &str,
    least: N,
    most: N,
) -> Result<N, String> {
    let number = text.parse().ok().filter(|number| (&least..=&most).contains(&number));
    number.ok_or_else(|| format!("allowed: whole numbers from {least} to {most}"))
}

impl Cli {
    /// The arguments of this process; ends it if they are wrong.
    pub(crate) fn of(program: &Program) -> Self {
        let parsed = Self::from_arg_matches(&Self::command_of(program).get_matches());
        parsed.unwrap_or_else(|error| error.exit())
    }

    fn command_of(program: &Program) -> Command {
        let names = program.transports.iter();
        let names = names.map(|transport| PossibleValue::new(transport.name).help(transport.help));
        let names = PossibleValuesParser::new(names);
        Self::command()
            .name(program.name)
            .about(program.about)
            .long_about(format!("{}\n\n{ABOUT}", program.about))
            .mut_arg("transport", |arg| arg.value_parser(names))
    }
}

impl Run {
    pub(crate) fn selection(&self) -> Selection {
        Selection {
            transports: self.transport.clone(),
            topologies: self.topology.clone(),
            sizes: self.size.clone(),
            modes: self.mode.clone(),
            capacity: self.capacity,
        }
    }

    pub(crate) fn rounds(&self) -> u32 {
        self.rounds.unwrap_or(if self.quick { 3 } else { 5 })
    }

    pub(crate) fn budget(&self) -> Duration {
        Duration::from_secs(if self.quick { 8 } else { 55 })
    }

    /// `--json -`
    pub(crate) fn json_to_stdout(&self) -> bool {
        self.json.as_ref().is_some_and(|file| file.as_os_str() == "-")
    }
}

#[cfg(test)]
mod tests {
    use super::{Cli, Program};
    use crate::transport::BUILT_IN;

    #[test]
    fn the_command_line_is_consistent() {
        let transports = BUILT_IN.iter().collect();
        Cli::command_of(&Program { name: "x", about: "y", transports }).debug_assert();
    }
}
