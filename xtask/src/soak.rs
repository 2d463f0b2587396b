//! The soak: processes killed and stopped at a queue, and every history checked.

use anyhow::Result;

use crate::workspace::Workspace;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// What the soak understands: see `cargo xtask soak -- --help`
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<String>,
}

pub(crate) fn run(workspace: &Workspace, args: &Args) -> Result<()> {
    let command = workspace.cargo(["run", "--release", "--package", "shmq-soak", "--"]);
    command.args(args.arguments.iter().map(String::as_str)).run()
}
