//! Clocks and counters of this process and of the machine.

use rustix::time::{ClockId, clock_gettime};

/// CLOCK_MONOTONIC: one clock for all processes.
#[inline]
pub(crate) fn now_ns() -> u64 {
    read_ns(ClockId::Monotonic)
}

/// Whose use of the machine is counted.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Usage {
    Process,
    /// The calling one.
    Thread,
}

impl Usage {
    /// What it has spent on all CPUs, in user and kernel mode.
    pub(crate) fn cpu_ns(self) -> u64 {
        read_ns(match self {
            Usage::Process => ClockId::ProcessCPUTime,
            Usage::Thread => ClockId::ThreadCPUTime,
        })
    }

    /// Its voluntary and involuntary context switches; of a process, its first thread's.
    pub(crate) fn switches(self) -> (u64, u64) {
        let status = std::fs::read_to_string(match self {
            Usage::Process => "/proc/self/status",
            Usage::Thread => "/proc/thread-self/status",
        });
        let status = status.unwrap_or_default();
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            line.and_then(|value| value.trim().parse().ok()).unwrap_or(0)
        };
        (field("voluntary_ctxt_switches:"), field("nonvoluntary_ctxt_switches:"))
    }
}

#[inline]
fn read_ns(clock: ClockId) -> u64 {
    let time = clock_gettime(clock);
    time.tv_sec.unsigned_abs() * 1_000_000_000 + time.tv_nsec.unsigned_abs()
}

/// The median cost of reading the clock, part of every round trip measured.
pub(crate) fn overhead_ns() -> f64 {
    const READS: u64 = 1000;
    const BATCHES: usize = 21;
    let mut batches = [0.0; BATCHES];
    for batch in &mut batches {
        let start_ns = now_ns();
        let mut last_ns = start_ns;
        for _ in 0..READS {
            last_ns = now_ns();
        }
        *batch = (last_ns - start_ns) as f64 / READS as f64;
    }
    crate::stats::median(&batches).unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_advances_and_costs_little() {
        let before = now_ns();
        assert!((0.0..10_000.0).contains(&overhead_ns()));
        assert!(now_ns() > before);
    }

    #[test]
    fn a_thread_is_a_part_of_its_process() {
        let thread = || (Usage::Thread.cpu_ns(), Usage::Thread.switches());
        let other = std::thread::spawn(move || {
            std::thread::sleep(std::time::Duration::from_millis(1));
            thread()
        });
        let (cpu_ns, (voluntary, _)) = other.join().unwrap();
        assert!(0 < cpu_ns && cpu_ns <= Usage::Process.cpu_ns());
        assert!(voluntary > 0, "it has slept");
    }
}
