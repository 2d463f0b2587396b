//! Deadlines on the monotonic clock, and short spins measured in cycles.

use core::time::Duration;

/// A moment on the monotonic clock, in nanoseconds, or never.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Deadline(u64);

impl Deadline {
    /// No deadline.
    pub const NEVER: Self = Self(u64::MAX);

    /// At once.
    pub const NOW: Self = Self(0);

    /// That long from now; never, if that is beyond the clock.
    pub fn after(timeout: Duration) -> Self {
        if timeout.is_zero() {
            return Self::NOW;
        }
        let ns = u64::try_from(timeout.as_nanos()).unwrap_or(u64::MAX);
        Self(now_ns().saturating_add(ns))
    }

    /// Has it passed?
    pub(crate) fn is_over(self) -> bool {
        self != Self::NEVER && now_ns() >= self.0
    }

    /// The earlier of this and `ns` from now.
    pub(super) fn within(self, ns: u64) -> Self {
        self.min(Self(now_ns().saturating_add(ns)))
    }

    /// For an absolute wait.
    #[cfg(not(loom))]
    pub(super) fn timespec(self) -> Option<rustix::time::Timespec> {
        const SECOND_NS: u64 = 1_000_000_000;
        (self != Self::NEVER).then(|| rustix::time::Timespec {
            tv_sec: i64::try_from(self.0 / SECOND_NS).unwrap_or(i64::MAX),
            tv_nsec: (self.0 % SECOND_NS) as _,
        })
    }
}

#[cfg(not(loom))]
fn now_ns() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    // The monotonic clock counts from boot: never negative.
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

/// Time stands still in a model.
#[cfg(loom)]
fn now_ns() -> u64 {
    0
}

/// A cheap counter that grows by some two to five a nanosecond. Pauses are counted by it, not in
/// PAUSE instructions, whose length differs fifteen-fold between CPUs.
#[inline(always)]
pub(crate) fn cycles() -> u64 {
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    // SAFETY: every x86-64 has a time stamp counter, and Linux lets user space read it.
    return unsafe { core::arch::x86_64::_rdtsc() };
    #[cfg(not(all(target_arch = "x86_64", not(miri))))]
    return now_ns().wrapping_mul(3);
}
