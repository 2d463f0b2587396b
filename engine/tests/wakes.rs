//! Processes that put each other to sleep and wake each other, under random delays, kills and stops: no
//! wake-up is lost but those that die with who should have made them.
//!
//! Without libtest, whose threads would make each child's registration with membarrier wait for all CPUs.

use std::env;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{MemfdFlags, memfd_create};
use rustix::io::{FdFlags, fcntl_setfd};
use rustix::process::{Pid, Signal, kill_process};
use shmq_engine::{Fences, Options, Queue, Wait};

const QUEUE: &str = "SHMQ_WAKES_QUEUE";
const TALLY: &str = "SHMQ_WAKES_TALLY";
const PLACE: &str = "SHMQ_WAKES_PLACE";
/// How many sleeps, instead of what a test has time for.
const SLEEPS: &str = "SHMQ_WAKES";

/// What a child has written of itself: sleeps, late wakes.
const ENTRY: usize = 2 * size_of::<u64>();

/// Two that put and two that get, through one place.
const CREW: usize = 4;

/// A small random number generator (xorshift).
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

struct Stage {
    queue: Queue,
    tally: File,
    started: usize,
}

impl Stage {
    fn new(fences: Fences) -> Self {
        let queue = Options::new(1).fences(fences).create_anonymous().unwrap();
        let tally = File::from(memfd_create("tally", MemfdFlags::CLOEXEC).unwrap());
        Self { queue, tally, started: 0 }
    }

    /// Starts a child in the place of number `at` of the crew.
    fn start(&mut self, at: usize) -> Child {
        let mut command = Command::new(env::current_exe().unwrap());
        command.stdout(Stdio::piped());
        let [queue, tally] = [
            self.queue.as_fd().unwrap().try_clone_to_owned().unwrap(),
            self.tally.try_clone().unwrap().into(),
        ];
        command.env(QUEUE, queue.as_raw_fd().to_string());
        command.env(TALLY, tally.as_raw_fd().to_string());
        command.env(PLACE, (self.started * CREW + at).to_string());
        self.started += 1;
        let keep_open = move || {
            fcntl_setfd(&queue, FdFlags::empty())?;
            Ok(fcntl_setfd(&tally, FdFlags::empty())?)
        };
        // SAFETY: two system calls, which are async-signal-safe.
        unsafe { command.pre_exec(keep_open) };
        let mut child = command.spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.as_mut().unwrap()).lines();
        assert!(lines.any(|line| line.unwrap().contains("attached")), "the child died early");
        child
    }

    /// Sleeps and late wakes of all children there ever were.
    fn count(&self) -> (u64, u64) {
        let mut bytes = vec![0; self.tally.metadata().unwrap().len() as usize];
        self.tally.read_exact_at(&mut bytes, 0).unwrap();
        let word = |bytes: &[u8]| u64::from_le_bytes(bytes.try_into().unwrap());
        let entries = bytes.chunks_exact(ENTRY);
        entries.fold((0, 0), |(sleeps, late), entry| {
            (sleeps + word(&entry[..8]), late + word(&entry[8..]))
        })
    }
}

/// Puts, or gets, until it is killed, and sleeps whenever it must wait.
fn child(queue: &str) -> ! {
    let inherited = |fd: &str| {
        // SAFETY: inherited for this purpose, and nobody else's here.
        unsafe { OwnedFd::from_raw_fd(fd.parse().unwrap()) }
    };
    let place: u64 = env::var(PLACE).unwrap().parse().unwrap();
    let tally = File::from(inherited(&env::var(TALLY).unwrap()));
    let queue = Queue::from_fd(inherited(queue)).unwrap();
    let (mut producer, mut consumer) = (queue.producer().unwrap(), queue.consumer().unwrap());
    producer.wait_by(Wait::Park);
    consumer.wait_by(Wait::Park);
    println!("attached");
    let mut dice = Dice(place + 1);
    loop {
        if place.is_multiple_of(2) {
            producer.push(b"x").unwrap();
        } else {
            consumer.pop(&mut [0; 48]).unwrap();
        }
        let sleeps = producer.sleeps() + consumer.sleeps();
        let late = producer.late_wakes() + consumer.late_wakes();
        let entry: Vec<u8> = [sleeps, late].into_iter().flat_map(u64::to_le_bytes).collect();
        tally.write_all_at(&entry, place * ENTRY as u64).unwrap();
        let until = Instant::now() + Duration::from_nanos(dice.below(20_000));
        while Instant::now() < until {
            std::hint::spin_loop();
        }
    }
}

fn sleeps_asked_for() -> u64 {
    let usual = if cfg!(debug_assertions) { 5_000 } else { 100_000 };
    env::var(SLEEPS).map_or(usual, |asked| asked.parse().expect("SHMQ_WAKES is a number"))
}

fn run(fences: Fences, seed: u64) {
    let asked = sleeps_asked_for();
    let mut stage = Stage::new(fences);
    let mut dice = Dice(seed);
    let mut crew: Vec<_> = (0..CREW).map(|at| stage.start(at)).collect();
    let (mut kills, mut stops) = (0, 0);
    let start = Instant::now();
    while stage.count().0 < asked {
        thread::sleep(Duration::from_micros(500 + dice.below(8_000)));
        let at = dice.below(CREW as u64) as usize;
        if dice.below(3) == 0 {
            crew[at].kill().unwrap();
            crew[at].wait().unwrap();
            kills += 1;
            crew[at] = stage.start(at);
        } else {
            let pid = Pid::from_child(&crew[at]);
            kill_process(pid, Signal::STOP).unwrap();
            thread::sleep(Duration::from_micros(dice.below(5_000)));
            kill_process(pid, Signal::CONT).unwrap();
            stops += 1;
        }
    }
    for mut child in crew {
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let (sleeps, late) = stage.count();
    let took = start.elapsed();
    assert!(late <= kills, "{late} wake-ups were lost, and only {kills} processes killed");
    println!(
        "test wakes::{fences:?} ... ok: {sleeps} sleeps, {kills} kills, {stops} stops in {took:?}: {late} late"
    );
}

fn main() {
    if let Ok(queue) = env::var(QUEUE) {
        child(&queue);
    }
    println!("\nrunning 2 tests");
    run(Options::new(1).create_heap().unwrap().fences(), 7);
    run(Fences::Full, 7);
    println!("\ntest result: ok. 2 passed; 0 failed");
}
