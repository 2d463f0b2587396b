//! The harness as a child process, and the processes below it.

use std::fs;
use std::path::Path;

use assert_cmd::Command;

/// Tests also run in debug builds, which refuse to measure unless told otherwise.
pub(crate) fn harness(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_shmq-harness"));
    command.args(arguments);
    command
}

/// A run as short as it can be, with its report in `folder`.
pub(crate) fn tiny(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = harness(&["--allow-debug", "--rounds=2", "--slice-ms=3", "--seed=7"]);
    command.arg("--out").arg(folder).args(arguments);
    command
}

/// Pids of the living children of `parent`.
pub(crate) fn children(parent: u32) -> Vec<u32> {
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(|&pid| state_and_parent(pid).is_some_and(|(_, of)| of == parent)).collect()
}

/// A worker of ours that has not ended: not gone, not a zombie, not another process by now.
pub(crate) fn is_running_worker(pid: u32) -> bool {
    let command = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let running = state_and_parent(pid).is_some_and(|(state, _)| state != 'Z');
    running && command.contains("__worker")
}

/// `pid (name) state ppid ..`, where the name may contain anything.
fn state_and_parent(pid: u32) -> Option<(char, u32)> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    Some((fields.next()?.chars().next()?, fields.next()?.parse().ok()?))
}
