//! How many system calls does a message cost, once a queue has the memory it needs? None. And to somebody
//! who sleeps? One, however many sleep.
//!
//! A forked child streams messages to itself; its parent stops it at every system call between two
//! marks (ptrace), and counts.

use std::fs;
use std::process::exit;
use std::thread::sleep;
use std::time::Duration;

use nix::sys::ptrace;
use nix::sys::signal::{Signal, raise};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, fork};
use rustix::process::getppid;
use shmq_engine::{Consumer, Options, Producer, Wait};

const MESSAGES: usize = 200_000;
const WARM_UP: usize = 20_000;

#[derive(Clone, Copy, Debug)]
struct Case {
    name: &'static str,
    options: fn() -> Options,
    size: usize,
    /// Messages that are put before as many are got.
    batch: usize,
    way: Way,
}

#[derive(Clone, Copy, Debug)]
enum Way {
    Copied,
    InPlace,
    /// With one system call for each message, to see that they are counted.
    Noisy,
}

const fn case(
    name: &'static str,
    options: fn() -> Options,
    size: usize,
    batch: usize,
    way: Way,
) -> Case {
    Case { name, options, size, batch, way }
}

const CASES: [Case; 9] = [
    case("bounded, in slots", || Options::new(100).message_max(48), 48, 100, Way::Copied),
    case("unbounded, in slots", || Options::unbounded().inline(64), 64, 100, Way::Copied),
    case("unbounded, in slots, backlog", || Options::unbounded().inline(64), 64, 2000, Way::Copied),
    case("bounded, 100 B by reference", || Options::new(100), 100, 100, Way::Copied),
    case("bounded, 1 KiB by reference", || Options::new(100), 1024, 100, Way::Copied),
    case("unbounded, 1 KiB by reference", Options::unbounded, 1024, 100, Way::Copied),
    case("bounded, 1 KiB in place", || Options::new(100), 1024, 100, Way::InPlace),
    case("bounded, 16 KiB by reference", || Options::new(16), 16_384, 16, Way::Copied),
    case("bounded, 1 MiB in place", || Options::new(4), 1 << 20, 4, Way::InPlace),
];

const CONTROL: Case = case("control", || Options::new(100).message_max(48), 48, 100, Way::Noisy);

fn main() {
    assert_eq!(count(CONTROL).len(), MESSAGES, "the control's system calls are not counted");
    let mut failed = 0;
    for case in CASES {
        let calls = count(case);
        let ended = if calls.is_empty() { "ok" } else { "FAILED" };
        println!("test no_system_call_per_message: {} ... {ended}", case.name);
        if !calls.is_empty() {
            let some = &calls[..calls.len().min(8)];
            println!("  {} calls for {MESSAGES} messages, numbers {some:?}", calls.len());
            failed += 1;
        }
    }
    for sleepers in [1, 16] {
        let wakes = count_wakes(sleepers);
        let ended = if wakes == WAKES { "ok" } else { "FAILED" };
        println!("test one_wake_per_message: {sleepers} asleep ... {ended}");
        if wakes != WAKES {
            println!("  {wakes} futex calls for {WAKES} messages");
            failed += 1;
        }
    }
    exit(failed.min(1));
}

/// Messages to somebody who sleeps.
const WAKES: usize = 100;

/// Futex calls of who puts `WAKES` messages, each while `sleepers` sleep.
fn count_wakes(sleepers: usize) -> usize {
    let queue = Options::new(4).create_anonymous().expect("a queue");
    let sleepers: Vec<_> = (0..sleepers)
        .map(|_| {
            forked(|| {
                let mut consumer = queue.consumer().expect("a line");
                consumer.wait_by(Wait::Park);
                while consumer.pop(&mut [0; 48]).is_ok() {}
            })
        })
        .collect();
    let putter = forked(|| {
        ptrace::traceme().expect("to be traced");
        let mut producer = queue.producer().expect("a line");
        raise(Signal::SIGSTOP).expect("to be stopped");
        _ = getppid();
        for _ in 0..WAKES {
            sleepers.iter().for_each(|&sleeper| wait_until_asleep(sleeper));
            producer.push(b"wake up").expect("there is room");
        }
        _ = getppid();
    });
    let calls = trace(putter);
    queue.shut_down();
    for sleeper in sleepers {
        assert_eq!(waitpid(sleeper, None), Ok(WaitStatus::Exited(sleeper, 0)));
    }
    calls.into_iter().filter(|&call| call == SYS_FUTEX).count()
}

const SYS_FUTEX: u64 = nix::libc::SYS_futex as u64;

/// Until it sleeps, which it does in one place only.
fn wait_until_asleep(pid: Pid) {
    let path = format!("/proc/{pid}/stat");
    while !fs::read_to_string(&path).is_ok_and(|line| line.contains(") S ")) {
        sleep(Duration::from_micros(200));
    }
}

/// A child that does that, and no more.
fn forked(work: impl FnOnce()) -> Pid {
    // SAFETY: this program has one thread, so the child may do what any process may.
    match unsafe { fork() }.expect("a child") {
        ForkResult::Child => {
            work();
            exit(0);
        }
        ForkResult::Parent { child } => child,
    }
}

/// The numbers of the system calls of `MESSAGES` messages.
fn count(case: Case) -> Vec<u64> {
    trace(forked(|| stream(case)))
}

/// What the child does: two system calls that nothing else makes are its marks.
fn stream(case: Case) {
    ptrace::traceme().expect("to be traced");
    let queue = (case.options)().create_anonymous().expect("a queue");
    let (mut producer, mut consumer) =
        (queue.producer().expect("a line"), queue.consumer().expect("a line"));
    let (message, mut buffer) = (vec![7; case.size], vec![7; case.size]);
    let mut batch = || {
        for _ in 0..case.batch {
            put(&mut producer, case.way, &message);
        }
        for _ in 0..case.batch {
            get(&mut consumer, case.way, &mut buffer);
        }
    };
    (0..WARM_UP.div_ceil(case.batch)).for_each(|_| batch());
    raise(Signal::SIGSTOP).expect("to be stopped");
    _ = getppid();
    (0..MESSAGES.div_ceil(case.batch)).for_each(|_| batch());
    _ = getppid();
    assert_eq!(buffer, message);
}

fn put(producer: &mut Producer, way: Way, message: &[u8]) {
    match way {
        Way::Copied => producer.try_push(message).expect("there is room"),
        Way::Noisy => {
            _ = rustix::process::getuid();
            producer.try_push(message).expect("there is room");
        }
        Way::InPlace => {
            let mut loan = producer.reserve(message.len()).expect("there is memory");
            loan.copy_from(0, &message[..8]);
            loan.copy_from(message.len() - 8, &message[..8]);
            assert!(loan.try_commit().is_ok(), "there is room");
        }
    }
}

fn get(consumer: &mut Consumer, way: Way, buffer: &mut [u8]) {
    match way {
        Way::Copied | Way::Noisy => assert_eq!(consumer.try_pop(buffer), Ok(buffer.len())),
        Way::InPlace => {
            let message = consumer.try_pop_ref().expect("a message");
            assert_eq!(message.len(), buffer.len());
            assert_eq!(message.copy_to(0, &mut buffer[..8]), 8);
        }
    }
}

/// `PTRACE_SYSCALL_INFO_ENTRY`.
const ENTRY: u8 = 1;

fn trace(child: Pid) -> Vec<u64> {
    assert_eq!(waitpid(child, None), Ok(WaitStatus::Stopped(child, Signal::SIGSTOP)));
    ptrace::setoptions(child, ptrace::Options::PTRACE_O_TRACESYSGOOD).expect("a tracee");
    let mut calls = Vec::new();
    loop {
        ptrace::syscall(child, None).expect("a tracee");
        match waitpid(child, None).expect("a child") {
            WaitStatus::PtraceSyscall(_) => {
                let info = ptrace::syscall_info(child).expect("a system call");
                if info.op == ENTRY {
                    // SAFETY: at an entry, the kernel has filled in that one.
                    calls.push(unsafe { info.u.entry.nr });
                }
            }
            WaitStatus::Exited(_, 0) => break,
            other => panic!("the child: {other:?}"),
        }
    }
    between_marks(&calls)
}

/// Without the marks, and without what came before or after.
fn between_marks(calls: &[u64]) -> Vec<u64> {
    let mark = calls[0];
    let inner = calls[1..].iter().copied();
    inner.take_while(|&call| call != mark).collect()
}
