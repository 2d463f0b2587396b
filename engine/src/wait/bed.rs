//! Where a parked participant sleeps: the futex of the gate's epoch, or loom's condition variable.

#[cfg(not(loom))]
pub(super) use futex::{sleep, sleep_at_any, wake_all, wake_one};
#[cfg(loom)]
pub use modelled::Bed;
#[cfg(loom)]
pub(super) use modelled::{sleep, wake_all, wake_one};

#[cfg(not(loom))]
mod futex {
    use core::num::NonZeroU32;

    use rustix::io::Errno;
    use rustix::thread::{ClockId, futex};

    use crate::layout::cells::Gate;
    use crate::wait::Rest;
    use crate::wait::clock::Deadline;

    /// Sleeps while the epoch is `epoch`. May return early for no reason.
    pub(in crate::wait) fn sleep(gate: &Gate, epoch: u32, until: Deadline) -> Rest {
        // Not PRIVATE: sleepers and wakers are in different processes. Whatever the call returns
        // (woken, the epoch moved, a signal, the time is up), the caller looks for itself.
        let slept = futex::wait_bitset(
            gate.epoch.as_atomic(),
            futex::Flags::empty(),
            epoch,
            until.timespec().as_ref(),
            NonZeroU32::MAX,
        );
        if slept == Err(Errno::TIMEDOUT) { Rest::TimeUp } else { Rest::Woken }
    }

    /// So many futexes one system call can wait for.
    const MANY: usize = 128;
    /// Between two looks at what no system call waits for.
    const LOOK_NS: u64 = 1_000_000;

    /// Sleeps while all the epochs are these. May return early for no reason.
    pub(in crate::wait) fn sleep_at_any(gates: &[(&Gate, u32)], until: Deadline) -> Rest {
        let gate = |&(gate, epoch): &(&Gate, u32)| {
            let mut wait = futex::Wait::new();
            wait.val = u64::from(epoch);
            wait.uaddr = futex::WaitPtr::new(gate.epoch.as_atomic().as_ptr().cast());
            wait.flags = futex::WaitFlags::SIZE_U32;
            wait
        };
        let waits: Vec<_> = gates.iter().take(MANY).map(gate).collect();
        let soon = until.within(LOOK_NS);
        let until = if gates.len() > MANY { soon } else { until };
        let time = until.timespec();
        let none = futex::WaitvFlags::empty();
        let slept = futex::waitv(&waits, none, time.as_ref(), ClockId::Monotonic);
        match (slept, gates) {
            (Ok(_) | Err(Errno::AGAIN | Errno::INTR), _) => Rest::Woken,
            (Err(Errno::TIMEDOUT), _) => Rest::TimeUp,
            // An older kernel, or a filter that refuses what it does not know.
            (Err(_), &[(first, epoch), ..]) => sleep(first, epoch, soon),
            (Err(_), []) => Rest::Woken,
        }
    }

    /// Wakes at most one sleeper, and says how many that were.
    pub(in crate::wait) fn wake_one(gate: &Gate) -> usize {
        futex::wake(gate.epoch.as_atomic(), futex::Flags::empty(), 1).unwrap_or(0)
    }

    pub(in crate::wait) fn wake_all(gate: &Gate) {
        const ALL: u32 = i32::MAX as u32;
        _ = futex::wake(gate.epoch.as_atomic(), futex::Flags::empty(), ALL);
    }
}

#[cfg(loom)]
mod modelled {
    use loom::sync::{Condvar, Mutex};

    use crate::layout::cells::Gate;
    use crate::order::EPOCH;
    use crate::wait::Rest;
    use crate::wait::clock::Deadline;

    /// The kernel's queue of sleepers: compares and sleeps under one lock, as a futex does.
    #[derive(Debug)]
    pub struct Bed {
        state: Mutex<State>,
        woken: Condvar,
    }

    #[derive(Debug)]
    struct State {
        sleepers: usize,
        /// The time of every sleep is up.
        over: bool,
    }

    impl Bed {
        pub(crate) fn new() -> Self {
            let state = State { sleepers: 0, over: false };
            Self { state: Mutex::new(state), woken: Condvar::new() }
        }
    }

    impl Gate {
        /// Ends all sleeps, and lets no later one begin: the bound on a sleep without a look.
        pub fn let_time_pass(&self) {
            let mut state = self.bed.state.lock().unwrap();
            state.over = true;
            state.sleepers = 0;
            self.bed.woken.notify_all();
        }
    }

    /// Sleeps until woken, or for ever: time passes in a model only where it says so, so a lost
    /// wake-up is a deadlock.
    pub(in crate::wait) fn sleep(gate: &Gate, epoch: u32, _until: Deadline) -> Rest {
        let mut state = gate.bed.state.lock().unwrap();
        if state.over || gate.epoch.load(EPOCH) != epoch {
            return Rest::Woken;
        }
        state.sleepers += 1;
        drop(gate.bed.woken.wait(state).unwrap());
        Rest::Woken
    }

    pub(in crate::wait) fn wake_one(gate: &Gate) -> usize {
        let mut state = gate.bed.state.lock().unwrap();
        let woken = usize::from(state.sleepers > 0);
        state.sleepers -= woken;
        gate.bed.woken.notify_one();
        woken
    }

    pub(in crate::wait) fn wake_all(gate: &Gate) {
        let mut state = gate.bed.state.lock().unwrap();
        state.sleepers = 0;
        gate.bed.woken.notify_all();
    }
}
