//! The loop of every blocking operation: look, attempt, offer the CPU, park.

use super::Want;
use super::clock::Deadline;
use super::spin::Spin;
use crate::ring::Ring;

impl Want<'_> {
    /// Attempts until one succeeds or the deadline has passed, which gives `None`.
    ///
    /// `ready` looks at one line, and only hints; it is asked every `pause` cycles. An attempt looks
    /// at everything, so it also deals with those who will not come; but it takes lines from the
    /// other side, so it is made when `ready` says so, or has not for a while.
    #[cold]
    pub(crate) fn until<R>(
        self,
        ring: &Ring<'_>,
        deadline: Deadline,
        spin: &mut Spin,
        pause: u64,
        ready: impl Fn() -> bool,
        mut attempt: impl FnMut() -> Option<R>,
    ) -> Option<R> {
        let mut rested = false;
        loop {
            spin.look(pause, &ready);
            loop {
                if let Some(done) = attempt() {
                    // One that was woken and leaves something behind wakes the next.
                    if rested && ready() {
                        self.wake(ring, ring.attention());
                    }
                    return Some(done);
                }
                // What comes now did not come by looking: that must not seem worth it.
                if deadline.is_over() || !Spin::offer(deadline, &ready) {
                    break;
                }
            }
            if deadline.is_over() {
                return None;
            }
            if let Some(done) = self.park(ring, deadline, &mut attempt) {
                return Some(done);
            }
            rested = true;
        }
    }
}
