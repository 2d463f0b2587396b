//! Do the counters of different CPUs agree?
//!
//! Two threads on two CPUs hand a cache line to and fro, each with a reading of its counter. Who
//! receives a reading that is later than its own has seen the counter go backwards: by that much,
//! intervals are made longer.

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use anyhow::{Context, Result, bail};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use crate::clock;

const HANDOVERS: u64 = 20_000;

/// On a line of its own.
#[repr(align(128))]
struct Ball {
    /// `{reading}`, odd or even in its lowest bit by whose turn it is.
    reading: AtomicU64,
}

/// What the test found.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Warp {
    /// The farthest backwards, in ticks.
    pub(crate) ticks: u64,
    pub(crate) pairs: usize,
}

/// Each CPU against the next one.
pub(crate) fn measure() -> Result<Warp> {
    let allowed = sched_getaffinity(None).context("sched_getaffinity")?;
    let cpus: Vec<usize> = (0..CpuSet::MAX_CPU).filter(|&cpu| allowed.is_set(cpu)).collect();
    let mut warp = Warp { ticks: 0, pairs: 0 };
    for pair in cpus.windows(2) {
        warp.ticks = warp.ticks.max(between(pair[0], pair[1])?);
        warp.pairs += 1;
    }
    Ok(warp)
}

fn between(first: usize, second: usize) -> Result<u64> {
    let ball = Ball { reading: AtomicU64::new(0) };
    let warps = thread::scope(|scope| {
        let player = |cpu, side| {
            let ball = &ball;
            scope.spawn(move || play(ball, cpu, side))
        };
        [player(first, 0), player(second, 1)].map(|player| player.join().ok())
    });
    let mut worst = 0;
    for warp in warps {
        let Some(warp) = warp else { bail!("a thread of the warp test panicked") };
        worst = worst.max(warp?);
    }
    Ok(worst)
}

/// The farthest this side saw the counter go backwards.
fn play(ball: &Ball, cpu: usize, side: u64) -> Result<u64> {
    let mut cpus = CpuSet::new();
    cpus.set(cpu);
    let pinned = sched_setaffinity(None, &cpus).with_context(|| format!("pinning to CPU {cpu}"));
    let mut worst = 0;
    // Also if it is not pinned: the other one waits.
    for _ in 0..HANDOVERS {
        let received = loop {
            // ordering: Acquire, the reading was made before; pairs with Release below
            let reading = ball.reading.load(Ordering::Acquire);
            if reading & 1 == side {
                break reading;
            }
            std::hint::spin_loop();
        };
        // The reading that waits for what was received.
        worst = worst.max((received & !1).saturating_sub(clock::after() | 1));
        // ordering: Release, pairs with Acquire above
        ball.reading.store(clock::after() & !1 | (1 - side), Ordering::Release);
    }
    pinned.map(|()| worst)
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_counters_agree_to_a_microsecond_or_so() {
        let warp = super::measure().unwrap();
        assert!(warp.ticks < 10_000, "{warp:?}");
    }
}
