//! The libFuzzer targets, without cargo-fuzz and without a nightly compiler.
//!
//! Coverage needs only compiler passes that stable has. What stable has not is the address
//! sanitizer: accesses out of bounds are found by the standard library's own checks of unchecked
//! indexing, which debug assertions switch on.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context, Result, bail};
use clap::value_parser;

use crate::command::Command;
use crate::workspace::Workspace;

const FLAGS: &str = "-Cpasses=sancov-module \
    -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
    -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares \
    -Ccodegen-units=1 --cfg fuzzing";

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// A file of fuzz/fuzz_targets (without .rs); without it, all
    target: Option<String>,
    /// How long each target runs
    #[arg(long, value_name = "N", default_value_t = 60, allow_negative_numbers = true)]
    #[arg(value_parser = value_parser!(u64).range(1..=1_000_000))]
    seconds: u64,
    /// Run the target on this one input instead, as after a crash
    #[arg(long, value_name = "FILE", requires = "target")]
    input: Option<PathBuf>,
}

pub(crate) fn run(workspace: &Workspace, args: &Args) -> Result<()> {
    let mut targets = targets(workspace)?;
    if let Some(wanted) = &args.target {
        if !targets.contains(wanted) {
            bail!("there is no fuzz target {wanted:?}; there are {}", targets.join(", "));
        }
        targets.retain(|target| target == wanted);
    }
    let programs = build(workspace)?;
    for target in &targets {
        let path = programs.join(target);
        let program = Command::new(&path, workspace.shown(&path)).directory(&workspace.root);
        match &args.input {
            Some(input) => program.arg(input).run()?,
            None => fuzz(workspace, target, program, args.seconds)?,
        }
    }
    Ok(())
}

/// Every target for so long.
pub(crate) fn all(workspace: &Workspace, seconds: u64) -> Result<()> {
    run(workspace, &Args { target: None, seconds, input: None })
}

fn targets(workspace: &Workspace) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(workspace.root.join("fuzz/fuzz_targets"))? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "rs") {
            names.extend(path.file_stem().map(|stem| stem.to_string_lossy().into_owned()));
        }
    }
    names.sort();
    Ok(names)
}

/// Builds all targets. Gives the directory of the programs.
fn build(workspace: &Workspace) -> Result<PathBuf> {
    let directory = workspace.target.join("fuzz");
    let host = host()?;
    workspace
        .cargo(["build", "--release", "--manifest-path=fuzz/Cargo.toml", "--bins"])
        // Named although it is the host: build scripts are not instrumented then.
        .args(["--target", &host, "--target-dir"])
        .arg(&directory)
        .rustflags(FLAGS)
        .run()?;
    Ok(directory.join(host).join("release"))
}

fn host() -> Result<String> {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let version = String::from_utf8(Command::new(rustc, "rustc").arg("-vV").output()?)?;
    let host = version.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(host.context("rustc -vV names no host")?.to_owned())
}

fn fuzz(workspace: &Workspace, target: &str, program: Command, seconds: u64) -> Result<()> {
    let corpus = workspace.target.join("fuzz/corpus").join(target);
    // Where cargo-fuzz would put them, too.
    let artifacts = workspace.root.join("fuzz/artifacts").join(target);
    fs::create_dir_all(&corpus)?;
    fs::create_dir_all(&artifacts)?;
    let start = SystemTime::now();
    let (done, lines) = program
        .arg(&corpus)
        .arg(format!("-artifact_prefix={}/", workspace.shown(&artifacts)))
        .arg(format!("-max_total_time={seconds}"))
        // Of one input, in seconds; half of the memory of a small machine, in MiB.
        .args(["-timeout=10", "-rss_limit_mb=2048", "-print_final_stats=1"])
        .watch_errors(is_noise);
    if let Err(error) = done {
        let Some(input) = newest(&artifacts, start)? else {
            return Err(error);
        };
        let input = workspace.shown(&input);
        bail!("{target} fails on {input}; run `cargo xtask fuzz {target} --input {input}`");
    }
    if !lines.iter().any(|line| line.contains("inline 8-bit counters")) {
        bail!("{target} was built without coverage");
    }
    let stat = |name| lines.iter().find_map(|line| line.strip_prefix(name)?.trim().parse().ok());
    let executions: u64 = stat("stat::number_of_executed_units:").unwrap_or(0);
    let rate: u64 = stat("stat::average_exec_per_sec:").unwrap_or(0);
    if executions == 0 {
        bail!("{target} executed nothing");
    }
    let inputs = fs::read_dir(&corpus)?.count();
    println!(
        "fuzz {target}: {executions} executions in {seconds} s ({rate} per second), \
         {inputs} inputs in the corpus, no crash"
    );
    Ok(())
}

/// Lines of libFuzzer's, by the hundred, about single inputs.
fn is_noise(line: &str) -> bool {
    ["\tNEW ", "\tREDUCE ", "# Uses: "].iter().any(|part| line.contains(part))
}

/// The latest input written since `start`.
fn newest(directory: &Path, start: SystemTime) -> Result<Option<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        found.push((entry.metadata()?.modified()?, entry.path()));
    }
    let latest = found.into_iter().max();
    Ok(latest.filter(|(written, _)| *written >= start).map(|(_, path)| path))
}
