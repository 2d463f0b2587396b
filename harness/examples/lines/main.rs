//! What a ring cannot avoid: cache lines that one CPU writes and another one reads, again and again. Two threads, on
//! two CPUs. First they take turns with the lines ([`turns`]), then they stream through them, both at once
//! ([`streams`]). Says what each line takes.
//!
//! `cargo run --release -p shmq-harness --example lines -- [SECONDS]`

use std::env;
use std::error::Error;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

mod streams;
mod turns;

#[repr(align(128))]
#[derive(Default)]
struct Word(AtomicU64);

fn main() -> Result<(), Box<dyn Error>> {
    let seconds = env::args().nth(1).map_or(Ok(10), |text| text.parse())?;
    let allowed = sched_getaffinity(None)?;
    let mut cpus = (0..CpuSet::MAX_CPU).filter(|&cpu| allowed.is_set(cpu));
    let (Some(first), Some(second)) = (cpus.next(), cpus.next()) else {
        return Err("two CPUs are wanted, and one is allowed".into());
    };
    let lasts = Duration::from_secs(seconds);
    turns::show([first, second], lasts);
    println!();
    streams::show([first, second], lasts);
    Ok(())
}

fn pin(cpu: usize) {
    let mut cpus = CpuSet::new();
    cpus.set(cpu);
    sched_setaffinity(None, &cpus).expect("the CPU was allowed a moment ago");
}

fn median(times: &[f64]) -> f64 {
    let mut times = times.to_vec();
    times.sort_unstable_by(f64::total_cmp);
    times.get(times.len() / 2).copied().unwrap_or(f64::NAN)
}
