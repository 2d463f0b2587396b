//! Processes that play a part of this test binary, and do not outlive their test.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const PART: &str = "SHMQ_TEST_PART";

/// How long anything may take before it counts as lost.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// The part this process is to play, as words.
pub(crate) fn own_part() -> Option<String> {
    std::env::var(PART).ok()
}

/// This test binary, running its test `part` with that part.
pub(crate) fn command(part: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "part", "--ignored", "--nocapture"]);
    command.env(PART, part).stdin(Stdio::null()).stdout(Stdio::null());
    command
}

/// Children; killed when dropped, should a test fail.
#[derive(Debug, Default)]
pub(crate) struct Crew(Vec<Child>);

impl Crew {
    pub(crate) fn start(&mut self, mut command: Command) {
        self.0.push(command.spawn().unwrap());
    }

    /// SIGKILL for the last one started.
    pub(crate) fn kill_last(&mut self) {
        let mut child = self.0.pop().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Have all ended, successfully?
    pub(crate) fn is_done(&mut self) -> bool {
        let mut running = 0;
        for child in &mut self.0 {
            match child.try_wait().unwrap() {
                Some(status) => assert!(status.success(), "a child failed"),
                None => running += 1,
            }
        }
        running == 0
    }

    /// Waits until all have ended, successfully.
    pub(crate) fn join(mut self) {
        let started = Instant::now();
        while !self.is_done() {
            assert!(started.elapsed() < PATIENCE, "a child hangs");
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

impl Drop for Crew {
    fn drop(&mut self) {
        for child in &mut self.0 {
            _ = child.kill();
            _ = child.wait();
        }
    }
}
