//! What tests must not leave behind: named segments, and processes.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::command::MARK;

/// Named segments of ours begin with this.
const PREFIX: &str = "shmq.";

/// Whoever is just ending gets this long.
const GRACE: Duration = Duration::from_secs(5);

/// What there was before.
#[derive(Debug)]
pub(crate) struct Before {
    segments: BTreeSet<OsString>,
}

impl Before {
    pub(crate) fn look() -> Self {
        Self { segments: segments() }
    }

    /// Fails if there is a segment that was not there before, or a process started by us.
    pub(crate) fn check(&self) -> Result<()> {
        let start = Instant::now();
        loop {
            let mut left: Vec<String> = segments()
                .difference(&self.segments)
                .map(|name| format!("/dev/shm/{}", name.display()))
                .collect();
            left.extend(processes());
            if left.is_empty() {
                println!("no segment and no process is left behind");
                return Ok(());
            }
            if start.elapsed() > GRACE {
                bail!("left behind: {}", left.join(", "));
            }
            thread::sleep(Duration::from_millis(100));
        }
    }
}

fn segments() -> BTreeSet<OsString> {
    let entries = fs::read_dir("/dev/shm").into_iter().flatten().flatten();
    let names = entries.map(|entry| entry.file_name());
    names.filter(|name| name.as_encoded_bytes().starts_with(PREFIX.as_bytes())).collect()
}

/// Processes that we started, or that those started, whoever is their parent by now.
fn processes() -> Vec<String> {
    let own = std::process::id();
    let mark = format!("{MARK}={own}");
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.filter(|&pid| pid != own && has_mark(pid, &mark)).filter_map(shown).collect()
}

/// Not so for those of other users and for zombies, whose environment nobody can read.
fn has_mark(pid: u32, mark: &str) -> bool {
    let Ok(environment) = fs::read(format!("/proc/{pid}/environ")) else {
        return false;
    };
    environment.split(|&byte| byte == 0).any(|variable| variable == mark.as_bytes())
}

/// `None` if it is gone, or a compiler's cache that stays by design.
fn shown(pid: u32) -> Option<String> {
    let program = fs::read_link(format!("/proc/{pid}/exe")).ok()?;
    let name = program.file_name()?;
    let wrapper = std::env::var_os("RUSTC_WRAPPER");
    let is_cache =
        name == "sccache" || wrapper.is_some_and(|w| Path::new(&w).file_name() == Some(name));
    let line = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let line = String::from_utf8_lossy(&line).replace('\0', " ");
    (!is_cache).then(|| format!("process {pid} ({})", line.trim()))
}

#[cfg(test)]
mod tests {
    use super::{MARK, has_mark, shown};
    use std::process::{Command, Stdio};

    #[test]
    fn a_process_left_behind_is_found_by_its_mark() {
        let child = Command::new("cat").env(MARK, "test").stdin(Stdio::piped()).spawn();
        let mut child = child.expect("cat starts");
        let mark = format!("{MARK}=test");
        while !has_mark(child.id(), &mark) {
            std::thread::yield_now();
        }
        assert!(shown(child.id()).is_some_and(|shown| shown.contains("cat")));
        drop(child.stdin.take());
        child.wait().expect("cat ends with its input");
        assert!(!has_mark(child.id(), &mark));
    }
}
