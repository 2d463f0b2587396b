//! Instructions per operation, counted by callgrind: the same on every run of the same binary.

use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::command::Command;
use crate::table::Table;
use crate::workspace::Workspace;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Bytes of a message
    #[arg(long = "size", value_delimiter = ',', default_value = "8,48,256")]
    sizes: Vec<usize>,
}

const OPERATIONS: [&str; 12] = [
    "put",
    "get",
    "put-alone",
    "get-alone",
    "put-32",
    "get-32",
    "put-values",
    "get-values",
    "put-unbounded",
    "get-unbounded",
    "full",
    "empty",
];

/// How lines are asked for, as the engine names it: on AMD's CPUs, and on Intel's.
const ASKING: [&str; 2] = ["stores", "prefetches"];

/// Two runs, which differ by as many operations.
const COUNTS: [u64; 2] = [1024, 2048];

pub(crate) fn run(workspace: &Workspace, args: &Args) -> Result<()> {
    let build = ["build", "--release", "--package", "shmq-engine", "--example", "cost"];
    workspace.cargo(build).run()?;
    let program = workspace.target.join("release/examples/cost");
    let mut table = Table::new(["operation", "bytes", "asking by stores", "by prefetches"]);
    for operation in OPERATIONS {
        for size in args.sizes.iter().filter(|size| has_code(operation, **size)) {
            let [stores, prefetches] =
                ASKING.map(|asking| each(&program, operation, *size, asking));
            table.add([operation.to_owned(), size.to_string(), stores?, prefetches?]);
        }
    }
    print!("{}", table.markdown());
    Ok(())
}

/// Instructions of one operation.
fn each(program: &Path, operation: &str, size: usize, asking: &str) -> Result<String> {
    let [few, many] = COUNTS.map(|count| instructions(program, operation, size, count, asking));
    let each = (many? - few?) as f64 / (COUNTS[1] - COUNTS[0]) as f64;
    Ok(format!("{each:.1}"))
}

/// Values are of types, of which the program has some.
fn has_code(operation: &str, size: usize) -> bool {
    !operation.ends_with("-values") || [8, 48, 256].contains(&size)
}

/// Of the whole program.
fn instructions(
    program: &Path,
    operation: &str,
    size: usize,
    count: u64,
    asking: &str,
) -> Result<u64> {
    let mut valgrind = Command::new("valgrind", "valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(program)
        .args([operation, &size.to_string(), &count.to_string(), asking])
        .into_inner();
    let output = valgrind.output().context("starting valgrind, which must be installed")?;
    let said = String::from_utf8_lossy(&output.stderr);
    let collected = said.lines().find_map(|line| line.split_once("Collected :"));
    match collected.and_then(|(_, count)| count.trim().parse().ok()) {
        Some(count) if output.status.success() => Ok(count),
        _ => bail!("{operation} under valgrind: {}\n{said}", output.status),
    }
}
