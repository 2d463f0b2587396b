//! Time stamps: the processor's counter, the same for all processes.

use std::time::Instant;

/// Before an operation: read before anything of the operation begins.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
pub(crate) fn before() -> u64 {
    let (low, high): (u64, u64);
    // SAFETY: reads a counter; changes nothing but the two registers.
    unsafe { std::arch::asm!("rdtsc", "lfence", out("rax") low, out("rdx") high) };
    high << 32 | low
}

/// After an operation: read after all of it is done and, by the fence, seen by the others. Without
/// that, a store may still be on its way when the operation has returned.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
pub(crate) fn after() -> u64 {
    let (low, high): (u64, u64);
    // SAFETY: reads a counter; changes nothing but the three registers.
    unsafe {
        std::arch::asm!("mfence", "rdtscp", out("rax") low, out("rdx") high, out("rcx") _);
    }
    high << 32 | low
}

/// Elsewhere the monotonic clock will do, between full fences.
#[cfg(not(target_arch = "x86_64"))]
pub(crate) fn before() -> u64 {
    use rustix::time::{ClockId, clock_gettime};
    std::sync::atomic::fence(std::sync::atomic::Ordering::SeqCst);
    let time = clock_gettime(ClockId::Monotonic);
    std::sync::atomic::fence(std::sync::atomic::Ordering::SeqCst);
    time.tv_sec.unsigned_abs() * 1_000_000_000 + time.tv_nsec.unsigned_abs()
}

#[cfg(not(target_arch = "x86_64"))]
pub(crate) fn after() -> u64 {
    before()
}

/// How fast the counter runs, known better the longer it is watched.
#[derive(Debug)]
pub(crate) struct Rate {
    ticks: u64,
    start: Instant,
}

impl Rate {
    pub(crate) fn start() -> Self {
        Self { start: Instant::now(), ticks: before() }
    }

    pub(crate) fn elapsed_s(&self) -> f64 {
        self.start.elapsed().as_secs_f64()
    }

    pub(crate) fn ticks_per_us(&self) -> f64 {
        (before() - self.ticks) as f64 / (self.elapsed_s() * 1e6)
    }
}
