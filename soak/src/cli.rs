//! The command line.

use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Result, bail};
use clap::{Parser, value_parser};

use crate::setting::Memory;

/// Kills and stops processes at a queue, and checks what all of them did.
///
/// Producers and consumers work on one queue in shared memory and log every operation with its
/// interval. At random moments some of them are killed (SIGKILL), stopped (SIGSTOP) and continued.
/// After each epoch the whole history is checked: it must be one that a FIFO queue can have had,
/// with Empty and Full answered truly, and nothing lost but what the killed ones held. Then the
/// queue's capacity and its places for participants must be whole again.
#[derive(Debug, Parser)]
#[command(name = "shmq-soak", version, max_term_width = 100)]
pub(crate) struct Cli {
    /// How many operations at least, Full and Empty included; 1e8 is understood
    /// [default: 1e8, or 3e5 with --quick]
    #[arg(long, value_name = "N", value_parser = count)]
    operations: Option<u64>,
    /// How many workers to kill at least [default: 10000, or 40 with --quick]
    #[arg(long, value_name = "N", value_parser = count)]
    kills: Option<u64>,
    /// How many workers at a time, 2 to 8
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = value_parser!(u8).range(2..=8))]
    processes: u8,
    /// Determines the supervisor's choices [default: from the clock]
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// A few seconds only
    #[arg(long)]
    quick: bool,
    /// The longest message in bytes, 16 to 1048576 [default: 48 or 4096, by epoch]
    #[arg(long, value_name = "BYTES", value_parser = value_parser!(u32).range(16..=1 << 20))]
    message_max: Option<u32>,
    /// The queue's capacity, 1 to 65536 [default: 1, 4, 64 or 300, by epoch]
    #[arg(long, value_name = "N", value_parser = value_parser!(u32).range(1..=1 << 16))]
    capacity: Option<u32>,
    /// Where messages lie [default: by epoch]
    #[arg(long, value_name = "WHERE")]
    memory: Option<Memory>,
    /// Where to write the history of an epoch that went wrong
    #[arg(long, value_name = "FILE", default_value = "shmq-soak-history.txt")]
    history: PathBuf,
}

/// What to do, with nothing left open.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) operations: u64,
    pub(crate) kills: u64,
    pub(crate) processes: usize,
    pub(crate) seed: u64,
    pub(crate) message_max: Option<usize>,
    pub(crate) capacity: Option<usize>,
    pub(crate) memory: Option<Memory>,
    pub(crate) history: PathBuf,
}

impl Cli {
    pub(crate) fn plan(self) -> Result<Plan> {
        let (operations, kills) = if self.quick { (300_000, 40) } else { (100_000_000, 10_000) };
        if (self.operations, self.kills) == (Some(0), Some(0)) {
            bail!(
                "--operations 0 --kills 0: nothing would be done; leave one of them out, or ask for more"
            );
        }
        let seed = match self.seed {
            Some(seed) => seed,
            None => SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs(),
        };
        Ok(Plan {
            operations: self.operations.unwrap_or(operations),
            kills: self.kills.unwrap_or(kills),
            processes: usize::from(self.processes),
            seed,
            message_max: self.message_max.map(|bytes| bytes as usize),
            capacity: self.capacity.map(|capacity| capacity as usize),
            memory: self.memory,
            history: self.history,
        })
    }
}

/// A whole number, perhaps as 1e8 or 100_000_000.
fn count(text: &str) -> Result<u64, String> {
    const MOST: u64 = 1_000_000_000_000;
    let plain = text.replace('_', "");
    let number = match plain.split_once(['e', 'E']) {
        Some((digits, zeros)) => {
            let zeros = zeros.parse().ok().and_then(|zeros| 10_u64.checked_pow(zeros));
            digits.parse::<u64>().ok().zip(zeros).and_then(|(a, b)| a.checked_mul(b))
        }
        None => plain.parse().ok(),
    };
    number
        .filter(|&number| number <= MOST)
        .ok_or_else(|| format!("use a whole number from 0 to {MOST}, such as 5000 or 1e8"))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::{Cli, count};

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn counts_are_whole_numbers() {
        assert_eq!(count("1e8"), Ok(100_000_000));
        assert_eq!(count("1_000"), Ok(1000));
        for wrong in ["", "-1", "1.5", "e", "1e", "1e99", "x", "1e13"] {
            assert!(count(wrong).is_err(), "{wrong}");
        }
    }
}
