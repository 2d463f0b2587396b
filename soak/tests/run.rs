//! The program as a process.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::sys::signal::{SigHandler, Signal as NixSignal, signal};
use rustix::process::{Pid, Signal, kill_process};

fn soak(arguments: &[&str]) -> assert_cmd::Command {
    let mut command = assert_cmd::Command::new(env!("CARGO_BIN_EXE_shmq-soak"));
    command.args(arguments);
    command
}

/// N of `N what, ...` in the closing line.
fn number(line: &str, what: &str) -> u64 {
    let part = line.split([',', ':']).find_map(|part| part.trim().strip_suffix(what));
    part.and_then(|number| number.trim().parse().ok()).unwrap_or_else(|| panic!("{what}: {line}"))
}

#[test]
fn a_quick_run_finds_nothing_wrong_and_says_so() {
    for (processes, seed) in [("4", "1"), ("2", "2"), ("8", "3")] {
        let arguments = ["--quick", "--processes", processes, "--seed", seed];
        let output = soak(&arguments).output().unwrap();
        let stdout = String::from_utf8(output.stdout).unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{stdout}{stderr}");
        let closing = stdout.lines().last().unwrap();
        assert!(closing.ends_with(" epochs: 0 violations"), "{closing}");
        assert!(number(closing, "operations") >= 300_000, "{closing}");
        assert!(number(closing, "kills") >= 40, "{closing}");
        assert!(number(closing, "stops") > 0 && number(closing, "epochs") > 1, "{closing}");
        assert!(stderr.contains(&format!("seed {seed}; {processes} processes")), "{stderr}");
        assert!(stdout.contains("kill to next success"), "{stdout}");
        println!("{processes} processes: {closing}");
    }
}

#[test]
fn values_out_of_range_are_refused_with_what_is_allowed() {
    for (arguments, allowed) in [
        (["--processes", "9"], "9 is not in 2..=8"),
        (["--processes", "1"], "1 is not in 2..=8"),
        (
            ["--operations", "many"],
            "use a whole number from 0 to 1000000000000, such as 5000 or 1e8",
        ),
        (["--kills", "-3"], "use a whole number from 0 to 1000000000000"),
        (["--message-max", "15"], "15 is not in 16..=1048576"),
        (["--capacity", "0"], "0 is not in 1..=65536"),
    ] {
        let arguments = [format!("{}={}", arguments[0], arguments[1])];
        let output = soak(&[&arguments[0]]).output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && stderr.contains(allowed), "{arguments:?}: {stderr}");
    }
}

/// A soak in the middle of its work, and its workers, one of them stopped perhaps.
fn busy() -> (Child, Vec<u32>) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_shmq-soak"));
    command.args(["--processes=4", "--kills=0", "--seed=1"]);
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let heed_interrupts = || {
        // Who runs tests in the background may have them ignore it, and children with them.
        // SAFETY: SIG_DFL is no handler of ours.
        unsafe { signal(NixSignal::SIGINT, SigHandler::SigDfl) }?;
        Ok(())
    };
    // SAFETY: one system call, which is async-signal-safe.
    unsafe { command.pre_exec(heed_interrupts) };
    let child = command.spawn().unwrap();
    let mut workers = Vec::new();
    // On a busy machine they are seldom all there at once.
    wait_until("workers run", || {
        workers = children(child.id());
        !workers.is_empty()
    });
    (child, workers)
}

/// Pids of the children of `parent` that are workers by now and have not ended.
fn children(parent: u32) -> Vec<u32> {
    let of_parent = format!("PPid:\t{parent}\n");
    let entries = fs::read_dir("/proc").unwrap().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(|&pid| is_worker(pid) && status(pid).contains(&of_parent)).collect()
}

fn status(pid: u32) -> String {
    fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("status")).unwrap_or_default()
}

fn is_worker(pid: u32) -> bool {
    let path = Path::new("/proc").join(pid.to_string()).join("cmdline");
    let command = fs::read_to_string(path).unwrap_or_default();
    command.contains("__worker") && !status(pid).contains("State:\tZ")
}

fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < Duration::from_secs(30), "{what}: not within 30 s");
        sleep(Duration::from_millis(5));
    }
}

#[test]
fn however_it_ends_it_leaves_nobody() {
    for signal in [Signal::INT, Signal::TERM, Signal::KILL] {
        let (mut child, workers) = busy();
        kill_process(Pid::from_child(&child), signal).unwrap();
        child.wait().unwrap();
        wait_until("the workers are gone", || workers.iter().all(|&pid| !is_worker(pid)));
    }
}

/// A worker that somebody else kills is a failure, and no kill of ours.
#[test]
fn a_worker_that_dies_by_itself_is_an_error() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_shmq-soak"))
        .args(["--processes=2", "--kills=0", "--seed=5"])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut workers = Vec::new();
    wait_until("a worker runs", || {
        workers = children(child.id());
        !workers.is_empty()
    });
    let victim = Pid::from_raw(workers[0].try_into().unwrap()).unwrap();
    kill_process(victim, Signal::KILL).unwrap();
    let mut stderr = String::new();
    std::io::Read::read_to_string(&mut child.stderr.take().unwrap(), &mut stderr).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(1));
    assert!(stderr.contains("of seed 5") && stderr.contains("failed by itself"), "{stderr}");
}
