//! The explorer, as the release build that it is about.

use anyhow::Result;

use crate::command::Command;
use crate::workspace::Workspace;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Options of the explorer: --quick, --only PART, --list, --replay SEED; see --help there
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "OPTION")]
    options: Vec<String>,
}

pub(crate) fn run(workspace: &Workspace, args: &Args) -> Result<()> {
    command(workspace).args(args.options.iter().map(String::as_str)).run()
}

/// The part that belongs to the tests.
pub(crate) fn quick(workspace: &Workspace) -> Result<()> {
    command(workspace).arg("--quick").run()
}

fn command(workspace: &Workspace) -> Command {
    workspace.cargo(["run", "--release", "--quiet", "-p", "shmq-explorer", "--"])
}
