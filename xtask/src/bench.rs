//! Criterion benchmarks of single operations. Comparisons are the harness's business.

use anyhow::Result;

use crate::workspace::Workspace;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Run each benchmark once, to see that it works
    #[arg(long)]
    once: bool,
    /// Only benchmarks whose name contains this
    filter: Option<String>,
}

pub(crate) fn run(workspace: &Workspace, args: &Args) -> Result<()> {
    let once = args.once.then_some("--test");
    command(workspace).arg("--").args(once).args(args.filter.as_deref()).run()
}

/// Runs each benchmark once.
pub(crate) fn once(workspace: &Workspace) -> Result<()> {
    run(workspace, &Args { once: true, filter: None })
}

fn command(workspace: &Workspace) -> crate::command::Command {
    // The library has no benchmark of its own, and would not know criterion's options.
    workspace.cargo(["bench", "--package", "shmq-benches", "--benches"])
}
