//! The loom models: built once, then run file by file.

use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::command::Command;
use crate::workspace::Workspace;
use crate::{loom, mutants};

/// The file that tests the patched loom itself; its tests are no models.
const CANARY: &str = "canary";

/// Files in the order of running: the checker itself first, then what breaks soonest.
const ORDER: [&str; 10] =
    [CANARY, "pass", "end", "run", "growing_pass", "growing", "arena", "takeover", "wait", "ring"];

#[derive(Debug, Default, clap::Args)]
pub(crate) struct Args {
    /// A file of models/tests (without .rs), or part of a test's name; without it, all
    name: Option<String>,
    /// Explore this mutant of the protocol instead (see `cargo xtask mutants --list`)
    #[arg(long)]
    mutant: Option<String>,
    /// Only prepare the patched loom
    #[arg(long)]
    prepare: bool,
}

pub(crate) fn run(workspace: &Workspace, args: &Args) -> Result<()> {
    loom::prepare(workspace)?;
    if args.prepare {
        return Ok(());
    }
    if let Some(mutant) = &args.mutant {
        mutants::check_name(mutant)?;
    }
    let start = Instant::now();
    let mut models = 0;
    let mut executions = 0;
    let suites = build(workspace)?;
    for suite in &suites {
        let filter = args.name.as_deref().filter(|&name| name != suite.name);
        if filter.is_some_and(|filter| suites.iter().any(|suite| suite.name == filter)) {
            continue;
        }
        let tests = suite.tests(filter)?;
        if tests.is_empty() {
            continue;
        }
        let found = explore(suite, filter, args.mutant.as_deref())?;
        // A model that ended early, or never began, prints nothing.
        if suite.has_models() && found.len() != tests.len() {
            bail!(
                "{} tests of models/tests/{}.rs passed, but only {} models were explored",
                tests.len(),
                suite.name,
                found.len()
            );
        }
        models += found.len();
        executions += found.iter().sum::<u64>();
    }
    if models == 0 && args.name.as_deref() != Some(CANARY) {
        let name = args.name.as_deref().unwrap_or("");
        let files: Vec<_> = suites.iter().map(|suite| suite.name.as_str()).collect();
        bail!(
            "no model was explored: none is named {name:?}, nor is a file of {}",
            files.join(", ")
        );
    }
    let seconds = start.elapsed().as_secs_f64();
    println!("{models} models complete, {executions} executions, {seconds:.1} s");
    Ok(())
}

/// Runs the models of one file. Gives how many executions each of them had.
fn explore(suite: &Suite, filter: Option<&str>, mutant: Option<&str>) -> Result<Vec<u64>> {
    let mut command = suite.command(mutant);
    if let Some(filter) = filter {
        command = command.arg(filter);
    }
    let (done, lines) = command.args(["--nocapture", "--test-threads=2"]).watch();
    done?;
    Ok(lines.iter().filter_map(|line| executions(line)).collect())
}

/// N of `model NAME: N executions, BOUND, complete`, which may follow the test runner's own words.
fn executions(line: &str) -> Option<u64> {
    let (before, rest) = line.strip_suffix(", complete")?.split_once(" executions, ")?;
    if !before.contains("model ") || rest.is_empty() {
        return None;
    }
    before.rsplit_once(": ")?.1.parse().ok().filter(|&count| count > 0)
}

/// A file of models, as a program.
#[derive(Debug)]
pub(crate) struct Suite {
    pub(crate) name: String,
    binary: PathBuf,
    shown: String,
}

impl Suite {
    pub(crate) fn has_models(&self) -> bool {
        self.name != CANARY
    }

    pub(crate) fn command(&self, mutant: Option<&str>) -> Command {
        let command = Command::new(&self.binary, self.shown.as_str());
        match mutant {
            Some(mutant) => command.env("SHMQ_MUTANT", mutant),
            None => command,
        }
    }

    /// The names of its tests that contain `filter`.
    pub(crate) fn tests(&self, filter: Option<&str>) -> Result<Vec<String>> {
        let command = self.command(None).args(filter).args(["--list", "--format=terse"]);
        let list = String::from_utf8(command.output()?)?;
        Ok(list.lines().filter_map(|line| line.strip_suffix(": test")).map(str::to_owned).collect())
    }
}

/// Builds the models, and gives their files in the order of running.
pub(crate) fn build(workspace: &Workspace) -> Result<Vec<Suite>> {
    let command = workspace
        .cargo(["test", "--release", "--no-run", "--manifest-path=models/Cargo.toml", "--tests"])
        .arg("--target-dir")
        .arg(workspace.target.join("models"))
        .arg("--message-format=json-render-diagnostics")
        .rustflags("--cfg loom");
    command.announce();
    let messages = String::from_utf8(command.output()?)?;
    let mut suites: Vec<_> = messages.lines().filter_map(|line| suite(workspace, line)).collect();
    let rank = |suite: &Suite| ORDER.iter().position(|&name| name == suite.name);
    suites.sort_by_key(|suite| (rank(suite).unwrap_or(ORDER.len()), suite.name.clone()));
    suites.first().context("models/tests is empty")?;
    Ok(suites)
}

/// The program that a message of cargo tells of, if that is a file of tests.
fn suite(workspace: &Workspace, message: &str) -> Option<Suite> {
    let message: Value = serde_json::from_str(message).ok()?;
    let target = &message["target"];
    let is_test = target["kind"].as_array()?.iter().any(|kind| kind == "test");
    let binary = PathBuf::from(message["executable"].as_str()?);
    let shown = workspace.shown(&binary);
    is_test.then_some(Suite { name: target["name"].as_str()?.to_owned(), binary, shown })
}

#[cfg(test)]
mod tests {
    use super::executions;

    #[test]
    fn only_a_finished_model_counts() {
        let line = "model 1Px2 1Cx2 cap 1: 4711 executions, <= 3 preemptions, complete";
        assert_eq!(executions(line), Some(4711));
        assert_eq!(executions(&format!("test one_to_one ... {line}")), Some(4711));
        for line in ["model a: 4711 executions, unbounded", "model a: 0 executions, b, complete"] {
            assert_eq!(executions(line), None);
        }
    }
}
