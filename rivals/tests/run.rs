//! Short but real runs over every rival, and what is left after them.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::Value;

const RIVALS: &str = "shaq,shaq-spsc,shaq-batch,cloudtoid,iceoryx2,ipc-channel,posix-mq,\
    crossbeam-threads,rtrb-threads";
/// Those that have names in the file system.
const NAMED: [&str; 3] = ["cloudtoid", "iceoryx2", "ipc-channel"];
const PATIENCE: Duration = Duration::from_secs(30);

/// One at a time: each looks at what it leaves behind.
static TURN: Mutex<()> = Mutex::new(());

/// The comparison, with a folder of its own for temporary files.
fn rivals(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_shmq-rivals"));
    command.env("TMPDIR", folder).args(["--allow-debug", "--seed=7", "--json=-", "--out"]);
    command.arg(folder.join("out")).args(arguments);
    command
}

/// Runs with tiny trials and returns the report.
fn measure(arguments: &[&str]) -> Value {
    let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let folder = tempfile::tempdir().unwrap();
    let mut command = rivals(folder.path(), &["--rounds=2", "--slice-ms=3"]);
    let output = command.args(arguments).output().unwrap();
    assert_nothing_left(folder.path());
    drop(turn);
    let stderr = String::from_utf8_lossy(&output.stderr);
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{arguments:?}: {stderr}"))
}

fn names(folder: &str) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

fn assert_nothing_left(folder: &Path) {
    let mut left = names("/dev/shm");
    left.retain(|name| name.contains("shmq.rivals."));
    let temporary = names(folder.to_str().unwrap());
    left.extend(temporary.into_iter().filter(|name| name != "out"));
    assert_eq!(left, [""; 0], "left behind");
}

fn cells<'a>(report: &'a Value, kind: &str) -> &'a Vec<Value> {
    report[kind].as_array().unwrap()
}

fn check(report: &Value, count: usize) {
    assert_eq!(cells(report, "failed"), &[] as &[Value]);
    assert_eq!(cells(report, "cells").len(), count);
    for cell in cells(report, "cells") {
        assert_eq!(cell["verified"], true, "{cell}");
        assert!(cell["median"].as_f64().unwrap() > 0.0, "{cell}");
        let threads = cell["transport"].as_str().unwrap().ends_with("-threads");
        assert_eq!(cell["one_process"].as_bool(), threads.then_some(true), "{cell}");
    }
}

#[test]
fn every_rival_streams_and_answers_verified() {
    let report = measure(&["--transport", RIVALS, "--topology=1p1c", "--size=8,64"]);
    let count = RIVALS.split(',').count();
    // All but the one in batches answer.
    check(&report, 2 * count + 2 * (count - 1));
}

#[test]
fn what_can_be_shared_is_verified_and_what_cannot_says_why() {
    let report = measure(&["--transport", RIVALS, "--topology=1p2c,2p1c", "--size=64"]);
    // shaq, shaq-batch, cloudtoid, posix-mq, crossbeam-threads; and of many producers the two
    // that have one consumer.
    check(&report, 2 * 5 + 2);
    let unavailable = cells(&report, "unavailable");
    let reasons = ["one producer and one consumer", "every subscriber", "cannot be cloned"];
    for reason in reasons {
        let has_it = |cell: &Value| cell["why"].as_str().unwrap().contains(reason);
        assert!(unavailable.iter().any(has_it), "{reason}");
    }
}

#[test]
fn sizes_without_code_or_room_say_why() {
    let sizes = ["--topology=1p1c", "--mode=stream", "--size=72,65536"];
    let report = measure(&[&["--transport", RIVALS], &sizes[..]].concat());
    // cloudtoid, iceoryx2, ipc-channel, and posix-mq for what is short.
    check(&report, 2 * 3 + 1);
    for reason in ["there is code for 8, 48, 64,", "msgsize_max"] {
        let has_it = |cell: &Value| cell["why"].as_str().unwrap().contains(reason);
        assert!(cells(&report, "unavailable").iter().any(has_it), "{reason}");
    }
}

/// In the middle of a long trial.
fn busy(folder: &Path, transport: &str) -> (Child, Vec<u32>) {
    let mut command = rivals(folder, &["--rounds=1", "--slice-ms=10000", "--topology=1p1c"]);
    command.args(["--mode=stream", "--size=64", "--transport", transport]);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let workers = busy_workers(child.id());
    (child, workers)
}

/// Two children, once both work.
fn busy_workers(runner: u32) -> Vec<u32> {
    let start = Instant::now();
    loop {
        let children = fs::read_to_string(format!("/proc/{runner}/task/{runner}/children"));
        let children = children.unwrap_or_default();
        let workers = children.split_whitespace().map(|pid| pid.parse().unwrap());
        let workers: Vec<u32> = workers.collect();
        if workers.len() == 2 && workers.iter().all(|&pid| is_busy(pid)) {
            return workers;
        }
        assert!(start.elapsed() < PATIENCE, "no two workers work");
        sleep(Duration::from_millis(5));
    }
}

/// It has used as much CPU time as nobody needs to start.
fn is_busy(pid: u32) -> bool {
    const TICKS: u64 = 3;
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    let times = fields.skip(11).take(2).filter_map(|field| field.parse::<u64>().ok());
    times.sum::<u64>() >= TICKS
}

fn signal(pid: u32, signal: &str) {
    let status = Command::new("kill").args([signal, &pid.to_string()]).status();
    assert!(status.unwrap().success());
}

#[test]
fn a_killed_worker_fails_its_cell_and_leaves_nothing() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    for transport in NAMED {
        for victim in [0, 1] {
            let folder = tempfile::tempdir().unwrap();
            let (child, workers) = busy(folder.path(), transport);
            signal(workers[victim], "-KILL");
            let output = child.wait_with_output().unwrap();
            assert_eq!(output.status.code(), Some(1), "{transport}");
            let report: Value = serde_json::from_slice(&output.stdout).unwrap();
            assert_eq!(cells(&report, "failed").len(), 1, "{transport}");
            assert_nothing_left(folder.path());
        }
    }
}

#[test]
fn an_interrupted_run_leaves_nothing() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    for transport in NAMED {
        let folder = tempfile::tempdir().unwrap();
        let (mut child, _) = busy(folder.path(), transport);
        signal(child.id(), "-INT");
        assert_eq!(child.wait().unwrap().code(), Some(130), "{transport}");
        assert_nothing_left(folder.path());
    }
}
