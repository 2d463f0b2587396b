//! The test command: everything, in order, up to the first failure.

use std::time::{Duration, Instant};

use anyhow::Result;

use crate::leftovers::Before;
use crate::table::Table;
use crate::workspace::Workspace;
use crate::{bench, explore, fuzz, model, refused, rivals};

/// How long each fuzz target runs.
const FUZZ_SECONDS: u64 = 20;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

/// One of the steps, as one could type it, and what it does.
struct Step<'a> {
    name: &'a str,
    line: String,
    run: Box<dyn Fn() -> Result<()> + 'a>,
}

impl<'a> Step<'a> {
    fn new(name: &'a str, line: &str, run: impl Fn() -> Result<()> + 'a) -> Self {
        Self { name, line: line.to_owned(), run: Box::new(run) }
    }
}

pub(crate) fn run(workspace: &Workspace, _: &Args) -> Result<()> {
    let before = Before::look();
    let debug = || workspace.cargo(["test", "--workspace", "--all-features"]);
    let refused = || refused::tests(workspace);
    let release = || {
        let packages = ["-p", "shmq-engine", "-p", "shmq", "-p", "shmq-harness", "-p", "shmq-soak"];
        workspace.cargo(["test", "--release", "--all-features"]).args(packages)
    };
    let others = || rivals::tests(workspace);
    let all_models = model::Args::default();
    let fuzz = format!("cargo xtask fuzz --seconds {FUZZ_SECONDS}");
    follow(&[
        Step::new("debug tests", debug().shown(), || debug().run()),
        Step::new("without membarrier", refused().shown(), || refused().run()),
        Step::new("release tests", release().shown(), || release().run()),
        Step::new("rivals", others().shown(), || others().run()),
        Step::new("models", "cargo xtask model", || model::run(workspace, &all_models)),
        Step::new("explorer", "cargo xtask explore --quick", || explore::quick(workspace)),
        Step::new("fuzz", &fuzz, || fuzz::all(workspace, FUZZ_SECONDS)),
        Step::new("benches, once", "cargo xtask bench --once", || bench::once(workspace)),
        Step::new("leftovers", "segments in /dev/shm, processes", || before.check()),
    ])
}

/// Runs the steps up to the first that fails, and sums up.
fn follow(steps: &[Step<'_>]) -> Result<()> {
    let mut table = Table::new(["step", "result", "time", "command"]);
    let mut passed = 0;
    let mut failure = None;
    for (at, Step { name, line, run }) in steps.iter().enumerate() {
        let mut add = |result: &str, time: Option<Duration>| {
            let time = time.map_or("-".to_owned(), |time| format!("{:.1} s", time.as_secs_f64()));
            table.add([name, result, &time, line.as_str()].map(str::to_owned));
        };
        if failure.is_some() {
            add("not run", None);
            continue;
        }
        println!("\n=== {}/{}: {name}: {line}", at + 1, steps.len());
        let start = Instant::now();
        let done = run();
        let time = start.elapsed();
        let result = if done.is_ok() { "passed" } else { "FAILED" };
        println!("=== {}/{}: {name}: {result} in {:.1} s", at + 1, steps.len(), time.as_secs_f64());
        add(result, Some(time));
        match done {
            Ok(()) => passed += 1,
            Err(error) => failure = Some(error.context(format!("step {name:?} failed"))),
        }
    }
    println!("\n{}", table.text());
    println!("{passed} passed, {} failed", usize::from(failure.is_some()));
    failure.map_or(Ok(()), Err)
}

#[cfg(test)]
mod tests {
    use super::{Step, follow};
    use anyhow::bail;
    use std::cell::Cell;

    #[test]
    fn the_first_failure_ends_it_and_is_named() {
        let runs = Cell::new(0);
        let good = || {
            runs.set(runs.get() + 1);
            Ok(())
        };
        let bad = || bail!("why");
        let steps = [
            Step::new("one", "1", good),
            Step::new("two", "2", bad),
            Step::new("three", "3", good),
        ];
        let error = follow(&steps).unwrap_err();
        assert_eq!(format!("{error:#}"), "step \"two\" failed: why");
        assert_eq!(runs.get(), 1);
    }
}
