//! A command to which the kernel refuses membarrier, as some containers do: queues fall back to full
//! fences, and everything must work as ever.

use std::collections::BTreeMap;
use std::os::unix::process::CommandExt;
use std::process;

use anyhow::{Context, Result};
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, apply_filter};

use crate::command::Command;
use crate::workspace::Workspace;

/// Tells tests what they are to find.
const TOLD: &str = "SHMQ_TEST_NO_MEMBARRIER";

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The command and its arguments
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true)]
    command: Vec<String>,
}

pub(crate) fn run(_: &Workspace, args: &Args) -> Result<()> {
    apply_filter(&filter()?).context("installing a seccomp filter")?;
    let [program, arguments @ ..] = &args.command[..] else { unreachable!("required") };
    let failed = process::Command::new(program).args(arguments).env(TOLD, "1").exec();
    Err(failed).with_context(|| format!("running {program}"))
}

/// The tests of engine and facade.
pub(crate) fn tests(workspace: &Workspace) -> Command {
    let tests = ["cargo", "test", "-p", "shmq-engine", "-p", "shmq"];
    workspace.cargo(["xtask", "without-membarrier"]).args(tests)
}

fn filter() -> Result<BpfProgram> {
    let membarrier = BTreeMap::from([(libc::SYS_membarrier, Vec::new())]);
    let refuse = SeccompAction::Errno(libc::EPERM as u32);
    let machine = std::env::consts::ARCH.try_into().context("no filters for this machine")?;
    let filter = SeccompFilter::new(membarrier, SeccompAction::Allow, refuse, machine)?;
    Ok(filter.try_into()?)
}
