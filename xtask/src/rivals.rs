//! The comparison with other queues, which lies in a workspace of its own.

use anyhow::Result;

use crate::command::Command;
use crate::workspace::Workspace;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// What the comparison understands: see `cargo xtask rivals -- --help`
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<String>,
}

pub(crate) fn run(workspace: &Workspace, args: &Args) -> Result<()> {
    let command = beside(workspace, workspace.cargo(["run", "--release"]));
    command.arg("--").args(args.arguments.iter().map(String::as_str)).run()
}

/// Each of them, shortly.
pub(crate) fn tests(workspace: &Workspace) -> Command {
    beside(workspace, workspace.cargo(["test"]))
}

fn beside(workspace: &Workspace, command: Command) -> Command {
    let target = workspace.target.join("rivals");
    command.arg("--manifest-path=rivals/Cargo.toml").arg("--target-dir").arg(target)
}
