//! Waiting: spin a little, park, be woken.
//!
//! Nobody who puts or takes makes a system call, or pays for a fence, while nobody is parked on the
//! other side: it looks at the attention word, which it reads anyway.
//!
//! **Park**: read the gate's epoch, raise my bit in attention, heavy fence, try once more, sleep on
//! the epoch. **Wake**, by whoever published (or made room) and saw the bit behind its light fence:
//! epoch + 1, wake one sleeper. Either the waker sees the bit, or the sleeper's last try sees the
//! message: the fence pair again. A wake between the read of the epoch and the sleep changes the
//! epoch, and the kernel refuses the sleep.
//!
//! The bit stays while anybody may sleep. A waker that wakes nobody clears it, by CAS from the word
//! it saw: a sleeper that registered since has moved the version on. So there is no counter of
//! sleepers that the death of one could falsify; the price is one futile call after a rest.
//!
//! A waker killed between publishing and waking, or a sleeper killed after being woken for a
//! message, leave others asleep beside a message: every sleep ends after [`RECHECK_NS`] to look.

#[cfg(loom)]
pub mod bed;
#[cfg(not(loom))]
mod bed;
mod blocking;
pub mod clock;
#[cfg(not(loom))]
pub(crate) mod distance;
pub(crate) mod spin;

use crate::layout::cells::Gate;
use crate::order::{EPOCH, WAKE};
use crate::ring::{Attention, Ring};
use crate::sync::{fence, step};
use clock::Deadline;
pub use spin::Wait;

/// The longest sleep without looking: the bound on what a killed waker can cost.
pub const RECHECK_NS: u64 = 100_000_000;

/// The same where a wake can be missed, for want of a fence.
const RECHECK_UNFENCED_NS: u64 = 1_000_000;

/// What a sleeper waits for.
#[derive(Clone, Copy, Debug)]
pub struct Want<'m> {
    gate: &'m Gate,
    bit: u64,
}

/// How a sleep ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rest {
    /// By a waker, or for no reason.
    Woken,
    /// By itself.
    TimeUp,
}

impl<'m> Want<'m> {
    /// Messages.
    pub fn items(gate: &'m Gate) -> Self {
        Self { gate, bit: Attention::ITEMS_WANTED }
    }

    /// Places.
    pub fn room(gate: &'m Gate) -> Self {
        Self { gate, bit: Attention::ROOM_WANTED }
    }

    /// Sleeps until woken, the deadline, or the next look; `attempt` is made once more first, and if it
    /// succeeds there is no sleep.
    pub fn park<R>(
        self,
        ring: &Ring<'_>,
        deadline: Deadline,
        attempt: impl FnOnce() -> Option<R>,
    ) -> Result<R, Rest> {
        let epoch = self.gate.epoch.load(EPOCH);
        if step("register") {
            ring.raise(self.bit);
        }
        // Pairs with the light fences behind publish and take: attention before seq and head.
        let fenced = fence::heavy(ring.shape().fences);
        // Without the fence a wake can be missed: look again soon.
        let longest = if fenced.is_ok() { RECHECK_NS } else { RECHECK_UNFENCED_NS };
        attempt().ok_or_else(|| match bed::sleep(self.gate, epoch, deadline.within(longest)) {
            // Whoever woke came when we had just ended by ourselves.
            Rest::TimeUp if self.gate.epoch.load(EPOCH) != epoch => Rest::Woken,
            rest => rest,
        })
    }

    /// Sleeps as [`Want::park`] does, for any of several things.
    #[cfg(not(loom))]
    pub(crate) fn park_for_any<'r, R>(
        wants: impl Iterator<Item = (Self, &'r Ring<'m>)>,
        deadline: Deadline,
        attempt: impl FnOnce() -> Option<R>,
    ) -> Result<R, Rest>
    where
        'm: 'r,
    {
        let mut fenced = true;
        let mut gates = Vec::new();
        for (want, ring) in wants {
            gates.push((want.gate, want.gate.epoch.load(EPOCH)));
            ring.raise(want.bit);
            // As in `park`.
            fenced &= fence::heavy(ring.shape().fences).is_ok();
        }
        let longest = if fenced { RECHECK_NS } else { RECHECK_UNFENCED_NS };
        attempt().ok_or_else(|| bed::sleep_at_any(&gates, deadline.within(longest)))
    }

    /// Wakes all sleepers: there is nothing more to wait for.
    #[cold]
    pub fn wake_all(self) {
        self.gate.epoch.fetch_add(1, WAKE);
        bed::wake_all(self.gate);
    }

    /// Wakes one sleeper, if `seen` says that somebody sleeps.
    #[cold]
    pub fn wake(self, ring: &Ring<'_>, seen: Attention) {
        if !seen.has(self.bit) {
            return;
        }
        if step("epoch") {
            self.gate.epoch.fetch_add(1, WAKE);
        }
        if bed::wake_one(self.gate) == 0 {
            ring.lower(self.bit, seen);
        }
    }
}
