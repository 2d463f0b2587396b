//! However the harness ends, none of its workers stays behind.

#[allow(dead_code, reason = "every test file uses its own part")]
mod common;

use std::fs;
use std::io::Read;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use common::{children, is_running_worker};
use rustix::process::{Pid, Signal, kill_process};

const PATIENCE: Duration = Duration::from_secs(30);

/// A harness in the middle of a long trial with four workers.
fn busy_harness() -> (Child, Vec<u32>) {
    harness_with(&Path::new(env!("CARGO_TARGET_TMPDIR")).join("interrupt"), &["--slice-ms=10000"])
}

fn harness_with(folder: &Path, arguments: &[&str]) -> (Child, Vec<u32>) {
    let child = Command::new(env!("CARGO_BIN_EXE_shmq-harness"))
        .args(["--allow-debug", "--transport=pipe", "--topology=2p2c", "--size=8"])
        .args(["--rounds=1", "--out"])
        .arg(folder)
        .args(arguments)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut workers = Vec::new();
    wait_until("four workers run", || {
        workers = children(child.id());
        workers.retain(|&pid| is_running_worker(pid));
        workers.len() == 4
    });
    (child, workers)
}

fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < PATIENCE, "{what}: not within {PATIENCE:?}");
        sleep(Duration::from_millis(5));
    }
}

fn signal(child: &Child, signal: Signal) {
    kill_process(Pid::from_child(child), signal).unwrap();
}

fn assert_gone(workers: &[u32]) {
    wait_until("the workers are gone", || workers.iter().all(|&pid| !is_running_worker(pid)));
}

#[test]
fn interrupted_it_says_so_in_a_line_and_leaves_nobody() {
    for (sent, code) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        let (mut child, workers) = busy_harness();
        signal(&child, sent);
        assert_eq!(child.wait().unwrap().code(), Some(code));
        let mut stderr = String::new();
        child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
        assert_eq!(stderr, "interrupted: the workers are stopped, no report was written\n");
        assert_gone(&workers);
    }
}

#[test]
fn killed_it_leaves_nobody() {
    let (mut child, workers) = busy_harness();
    signal(&child, Signal::KILL);
    assert_eq!(child.wait().unwrap().signal(), Some(9));
    assert_gone(&workers);
}

#[test]
fn a_worker_that_is_killed_fails_its_cell_and_nothing_hangs() {
    let (mut child, workers) = busy_harness();
    let victim = Pid::from_raw(workers[0].try_into().unwrap()).unwrap();
    let start = Instant::now();
    kill_process(victim, Signal::KILL).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(1));
    assert!(start.elapsed() < Duration::from_secs(8), "it waited for the end of the trial");
    let mut stderr = String::new();
    child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
    assert!(stderr.contains("1 of the cells failed"), "{stderr}");
    assert_gone(&workers);
}

#[test]
fn a_worker_that_stands_still_fails_its_cell_and_nothing_hangs() {
    let folder = tempfile::tempdir().unwrap();
    let (mut child, workers) = harness_with(folder.path(), &["--slice-ms=1000", "--patience=1"]);
    let victim = Pid::from_raw(workers[3].try_into().unwrap()).unwrap();
    kill_process(victim, Signal::STOP).unwrap();
    let mut code = None;
    wait_until("the harness ends", || {
        code = child.try_wait().unwrap().map(|status| status.code());
        code.is_some()
    });
    assert_eq!(code, Some(Some(1)));
    assert_gone(&workers);
    let report = fs::read_to_string(folder.path().join("report.json")).unwrap();
    let report: serde_json::Value = serde_json::from_str(&report).unwrap();
    let why = report["failed"][0]["why"].as_str().unwrap();
    assert!(why.contains("not finished 1 s after") && why.contains("at work: "), "{why}");
}
