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
    command(workspace).args(args.arguments.iter().map(String::as_str)).run()
}

fn command(workspace: &Workspace) -> Command {
    workspace
        .cargo(["run", "--release", "--manifest-path=rivals/Cargo.toml", "--target-dir"])
        .arg(workspace.target.join("rivals"))
        .arg("--")
}
