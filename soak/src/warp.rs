//! Do the counters of different CPUs agree?
//!
//! Two threads on two CPUs hand a cache line to and fro, each with a reading of its counter. Who
//! receives a reading that is later than its own has seen the counter go backwards: by that much,
//! intervals are made longer.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use crate::clock;

/// So many handovers, or as many as there are in the time: on a busy machine each takes a time slice.
const HANDOVERS: u64 = 20_000;
const TIME_MAX: Duration = Duration::from_millis(300);

/// A player that waits looks so often before it lets others run.
const LOOKS: u32 = 1_000;

/// On a line of its own.
#[repr(align(128))]
struct Ball {
    /// `{reading}`, odd or even in its lowest bit by whose turn it is.
    reading: AtomicU64,
    /// Somebody left.
    is_over: AtomicBool,
}

/// What the test found.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Warp {
    /// The farthest backwards, in ticks.
    pub(crate) ticks: u64,
    pub(crate) pairs: usize,
    pub(crate) handovers: u64,
}

/// Each CPU against the next one.
pub(crate) fn measure() -> Result<Warp> {
    let allowed = sched_getaffinity(None).context("sched_getaffinity")?;
    let cpus: Vec<usize> = (0..CpuSet::MAX_CPU).filter(|&cpu| allowed.is_set(cpu)).collect();
    let mut warp = Warp::default();
    for pair in cpus.windows(2) {
        let found = between(pair[0], pair[1])?;
        warp.ticks = warp.ticks.max(found.ticks);
        warp.pairs += 1;
        warp.handovers += found.handovers;
    }
    Ok(warp)
}

fn between(first: usize, second: usize) -> Result<Warp> {
    let ball = Ball { reading: AtomicU64::new(0), is_over: AtomicBool::new(false) };
    let warps = thread::scope(|scope| {
        let player = |cpu, side| {
            let ball = &ball;
            scope.spawn(move || play(ball, cpu, side))
        };
        [player(first, 0), player(second, 1)].map(|player| player.join().ok())
    });
    let mut found = Warp { pairs: 1, ..Warp::default() };
    for warp in warps {
        let Some(warp) = warp else { bail!("a thread of the warp test panicked") };
        let (ticks, handovers) = warp?;
        found.ticks = found.ticks.max(ticks);
        found.handovers += handovers;
    }
    Ok(found)
}

/// The farthest this side saw the counter go backwards, and how often it looked.
fn play(ball: &Ball, cpu: usize, side: u64) -> Result<(u64, u64)> {
    let mut cpus = CpuSet::new();
    cpus.set(cpu);
    let pinned = sched_setaffinity(None, &cpus).with_context(|| format!("pinning to CPU {cpu}"));
    let end = Instant::now() + TIME_MAX;
    let (mut worst, mut handovers) = (0, 0);
    while pinned.is_ok() && handovers < HANDOVERS && Instant::now() < end {
        let Some(received) = receive(ball, side) else { break };
        // The reading that waits for what was received.
        worst = worst.max((received & !1).saturating_sub(clock::after() | 1));
        // ordering: Release, pairs with Acquire in `receive`
        ball.reading.store(clock::after() & !1 | (1 - side), Ordering::Release);
        handovers += 1;
    }
    // ordering: Relaxed, a hint that carries no data
    ball.is_over.store(true, Ordering::Relaxed);
    pinned.map(|()| (worst, handovers))
}

/// The other's reading; `None` if there is no other any more.
fn receive(ball: &Ball, side: u64) -> Option<u64> {
    loop {
        for _ in 0..LOOKS {
            // ordering: Acquire, the reading was made before; pairs with Release in `play`
            let reading = ball.reading.load(Ordering::Acquire);
            if reading & 1 == side {
                return Some(reading);
            }
            std::hint::spin_loop();
        }
        // ordering: Relaxed, a hint that carries no data
        if ball.is_over.load(Ordering::Relaxed) {
            return None;
        }
        thread::yield_now();
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_counters_agree_to_a_microsecond_or_so() {
        let warp = super::measure().unwrap();
        assert!(warp.ticks < 10_000 && (warp.pairs == 0 || warp.handovers > 0), "{warp:?}");
    }
}
