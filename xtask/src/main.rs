//! The project's own commands. `cargo xtask test` is all there is to run before a commit.

mod bench;
mod command;
mod cost;
mod explore;
mod fuzz;
mod leftovers;
mod loom;
mod model;
mod mutants;
mod refused;
mod rivals;
mod soak;
mod table;
mod test;
#[cfg(test)]
mod tidy;
mod workspace;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use workspace::Workspace;

/// Tests, models, fuzzers and benchmarks of shmq.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Runs everything: tests (debug, without membarrier, release), rivals, models, the explorer and the soak in
    /// short, fuzzers, benchmarks once; then looks for leftovers.
    Test(test::Args),
    /// Explores the loom models, under a patched loom that is prepared first.
    Model(model::Args),
    /// Breaks the protocol, one mutant at a time, and shows which model notices.
    Mutants(mutants::Args),
    /// Steps the built operations; kills, freezes and resumes them at every instruction.
    Explore(explore::Args),
    /// Runs the libFuzzer targets on the stable toolchain.
    Fuzz(fuzz::Args),
    /// Kills and stops processes at a queue for some minutes, and checks all they did.
    Soak(soak::Args),
    /// Compares with other queues.
    Rivals(rivals::Args),
    /// Measures single operations with criterion.
    Bench(bench::Args),
    /// Counts the instructions of each operation (needs valgrind).
    Cost(cost::Args),
    /// Runs a command to which membarrier is refused: queues fall back to full fences.
    WithoutMembarrier(refused::Args),
}

fn main() -> ExitCode {
    let task = Cli::parse().task;
    let done = Workspace::find().and_then(|workspace| match &task {
        Task::Test(args) => test::run(&workspace, args),
        Task::Model(args) => model::run(&workspace, args),
        Task::Mutants(args) => mutants::run(&workspace, args),
        Task::Explore(args) => explore::run(&workspace, args),
        Task::Fuzz(args) => fuzz::run(&workspace, args),
        Task::Soak(args) => soak::run(&workspace, args),
        Task::Rivals(args) => rivals::run(&workspace, args),
        Task::Bench(args) => bench::run(&workspace, args),
        Task::Cost(args) => cost::run(&workspace, args),
        Task::WithoutMembarrier(args) => refused::run(&workspace, args),
    });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
