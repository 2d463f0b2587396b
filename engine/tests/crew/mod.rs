//! Producer processes: this test binary again, running only [`child`].

// Each test file uses its own part of it.
#![allow(dead_code)]

use std::env;
use std::io::{BufRead, BufReader, Read};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::thread;

use rustix::process::{Pid, Signal, kill_process};
use shmq_engine::Queue;

const FD: &str = "SHMQ_TEST_FD";
const ID: &str = "SHMQ_TEST_ID";
const COUNT: &str = "SHMQ_TEST_COUNT";
const LEN: &str = "SHMQ_TEST_LEN";

/// So many messages that only a kill ends it, all alike, so that it does little but put.
pub(crate) const ENDLESS: u64 = u64::MAX;

/// Message n of producer `id`.
fn fill(message: &mut [u8], id: u64, n: u64) {
    let word = (id << 48 | n).to_le_bytes();
    message.chunks_exact_mut(word.len()).for_each(|chunk| chunk.copy_from_slice(&word));
}

/// Which message that is, if it is whole.
pub(crate) fn identify(message: &[u8]) -> (usize, u64) {
    let mut words =
        message.chunks_exact(8).map(|chunk| u64::from_le_bytes(chunk.try_into().unwrap()));
    let word = words.next().unwrap();
    assert!(words.all(|other| other == word), "torn");
    ((word >> 48) as usize, word & ((1 << 48) - 1))
}

/// A producer process. Killed, if nothing else, when dropped.
pub(crate) struct Producer(Child);

impl Producer {
    /// Starts one that puts `count` messages as long as a slot; it has attached when this returns.
    pub(crate) fn start(queue: &Queue, id: u64, count: u64) -> Self {
        Self::start_as(Command::new(env::current_exe().unwrap()), queue, id, count)
    }

    /// The same in a command that runs this binary.
    pub(crate) fn start_as(mut command: Command, queue: &Queue, id: u64, count: u64) -> Self {
        let fd = queue.as_fd().unwrap().try_clone_to_owned().unwrap();
        command.args(["--exact", "crew::child", "--ignored", "--nocapture"]);
        command.env(FD, fd.as_raw_fd().to_string());
        command.env(ID, id.to_string()).env(COUNT, count.to_string());
        command.env(LEN, queue.inline_max().to_string());
        command.stdout(Stdio::piped());
        let keep_open = move || Ok(rustix::io::fcntl_setfd(&fd, rustix::io::FdFlags::empty())?);
        // SAFETY: one system call, which is async-signal-safe.
        unsafe { command.pre_exec(keep_open) };
        let mut child = command.spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.as_mut().unwrap()).lines();
        assert!(lines.any(|line| line.unwrap().contains("attached")), "the child died early");
        Self(child)
    }

    pub(crate) fn pid(&self) -> u32 {
        self.0.id()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.0), signal).unwrap();
    }

    /// SIGKILL, and the end of it.
    pub(crate) fn kill(mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }

    pub(crate) fn join(mut self) {
        let mut rest = String::new();
        self.0.stdout.take().unwrap().read_to_string(&mut rest).unwrap();
        assert!(self.0.wait().unwrap().success(), "{rest}");
    }
}

impl Drop for Producer {
    fn drop(&mut self) {
        _ = self.0.kill();
        _ = self.0.wait();
    }
}

/// Puts `COUNT` numbered messages, then waits to be killed if there were none to put.
#[test]
#[ignore = "the other process of other tests"]
fn child() {
    let Ok(fd) = env::var(FD) else { return };
    let number = |name| env::var(name).unwrap().parse::<u64>().unwrap();
    // SAFETY: inherited for this purpose, and nobody else's here.
    let fd = unsafe { OwnedFd::from_raw_fd(fd.parse().unwrap()) };
    let mut producer = Queue::from_fd(fd).unwrap().producer().unwrap();
    println!("attached");
    let (id, count) = (number(ID), number(COUNT));
    let mut message = vec![0; number(LEN) as usize];
    if count == ENDLESS {
        loop {
            producer.push(&message).unwrap();
        }
    }
    for n in 0..count {
        fill(&mut message, id, n);
        producer.push(&message).unwrap();
    }
    if count == 0 {
        loop {
            thread::park();
        }
    }
}
