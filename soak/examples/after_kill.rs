//! How long does a kill delay the others, if they have a CPU of their own?
//!
//! `cargo run --release -p shmq-soak --example after_kill`: a survivor puts and gets on CPU 1 without
//! end. Beside it producers are killed on CPU 0, 2,000 of them, mostly in the middle of copying a
//! message of 32 KiB. Printed is the time from a kill to the survivor's next success, and its longest
//! operation within 400 µs after it: what it waited for is the patience with a put in progress.

use std::ptr;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::thread::sleep;
use std::time::Duration;

use nix::sched::{CpuSet, sched_setaffinity};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::waitpid;
use nix::unistd::{ForkResult, Pid, fork};
use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous};
use rustix::time::{ClockId, clock_gettime};
use shmq_engine::{Options, Queue};

const LONG: usize = 32 << 10;
const KILLS: u64 = 2_000;
const AFTER: Duration = Duration::from_micros(400);

/// Between the two processes; 0 is "not yet".
#[derive(Debug)]
struct Page {
    killed_ns: AtomicU64,
    success_ns: AtomicU64,
    longest_ns: AtomicU64,
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let queue =
        Options::new(64).message_max(LONG).inline(LONG).participants(16).create_anonymous()?;
    let page = shared_page()?;
    let survivor = child(|| survive(&queue, page))?;
    pin(0)?;
    let (mut successes, mut longest) = (Vec::new(), Vec::new());
    for round in 0..KILLS {
        let victim = child(|| stream(&queue))?;
        sleep(Duration::from_micros(300 + round * 7919 % 700));
        page.success_ns.store(0, SeqCst);
        page.longest_ns.store(0, SeqCst);
        kill(victim, Signal::SIGKILL)?;
        let killed_ns = now_ns();
        page.killed_ns.store(killed_ns, SeqCst);
        waitpid(victim, None)?;
        sleep(AFTER);
        page.killed_ns.store(0, SeqCst);
        let success_ns = page.success_ns.load(SeqCst);
        successes.push(if success_ns == 0 { u64::MAX } else { success_ns - killed_ns });
        longest.push(page.longest_ns.load(SeqCst));
    }
    kill(survivor, Signal::SIGKILL)?;
    waitpid(survivor, None)?;
    report("kill to next success", successes);
    report("longest operation after a kill", longest);
    Ok(())
}

/// The survivor's life.
fn survive(queue: &Queue, page: &Page) -> Result<(), Box<dyn std::error::Error>> {
    pin(1)?;
    let (mut producer, mut consumer) = (queue.producer()?, queue.consumer()?);
    let mut buffer = vec![0; LONG];
    loop {
        let start_ns = now_ns();
        let put = producer.try_push(b"on we go").is_ok();
        let between_ns = now_ns();
        let got = consumer.try_pop(&mut buffer).is_ok();
        let end_ns = now_ns();
        let killed_ns = page.killed_ns.load(SeqCst);
        if killed_ns == 0 {
            continue;
        }
        page.longest_ns.fetch_max((between_ns - start_ns).max(end_ns - between_ns), SeqCst);
        let successes = [(put, between_ns), (got, end_ns)];
        let first = successes.iter().find(|&&(done, at_ns)| done && at_ns > killed_ns);
        if let Some(&(_, at_ns)) = first {
            _ = page.success_ns.compare_exchange(0, at_ns, SeqCst, SeqCst);
        }
    }
}

/// A victim's life.
fn stream(queue: &Queue) -> Result<(), Box<dyn std::error::Error>> {
    let mut producer = queue.producer()?;
    let message = vec![1; LONG];
    loop {
        producer.push(&message)?;
    }
}

/// Runs `life` in a forked child, to its end.
fn child(life: impl FnOnce() -> Result<(), Box<dyn std::error::Error>>) -> nix::Result<Pid> {
    // SAFETY: this process has one thread, so the child may do what any process may.
    match unsafe { fork() }? {
        ForkResult::Parent { child } => Ok(child),
        ForkResult::Child => {
            let died = nix::sys::prctl::set_pdeathsig(Signal::SIGKILL).is_err() || life().is_err();
            std::process::exit(i32::from(died))
        }
    }
}

fn shared_page() -> rustix::io::Result<&'static Page> {
    let access = ProtFlags::READ | ProtFlags::WRITE;
    let len = rustix::param::page_size();
    // SAFETY: a new mapping at an address of the kernel's choice disturbs nothing that exists.
    let page = unsafe { mmap_anonymous(ptr::null_mut(), len, access, MapFlags::SHARED)? };
    // SAFETY: aligned, zeroed, never unmapped; atomics allow whatever the other process stores.
    Ok(unsafe { &*page.cast::<Page>() })
}

fn pin(cpu: usize) -> nix::Result<()> {
    let mut cpus = CpuSet::new();
    cpus.set(cpu)?;
    sched_setaffinity(Pid::from_raw(0), &cpus)
}

fn now_ns() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec.unsigned_abs() * 1_000_000_000 + now.tv_nsec.unsigned_abs()
}

fn report(what: &str, mut times_ns: Vec<u64>) {
    times_ns.sort_unstable();
    let at = |part: f64| times_ns[((times_ns.len() - 1) as f64 * part) as usize] as f64 / 1e3;
    let [p50, p90, p99, max] = [0.5, 0.9, 0.99, 1.0].map(at);
    println!("{what:<32}p50 {p50:.1}, p90 {p90:.1}, p99 {p99:.1}, max {max:.1} µs");
}
