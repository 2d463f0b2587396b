//! The loop of every blocking operation: attempt, offer the CPU, park, look.

use super::clock::Deadline;
use super::spin::Spin;
#[cfg(loom)]
use super::spin::Wait;
use super::{Rest, Want};
use crate::ring::Ring;

impl Want<'_> {
    /// Attempts until one succeeds or the deadline has passed, which gives `None`. Whoever calls has looked
    /// for a while.
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
            loop {
                if let Some(done) = attempt() {
                    if rested {
                        self.relay(ring, &ready);
                    }
                    return Some(done);
                }
                // What comes now did not come by looking: that must not seem worth it.
                if deadline.is_over() || !spin.offer(deadline, &ready) {
                    break;
                }
            }
            if deadline.is_over() {
                return None;
            }
            if spin.may_sleep() {
                let rest = match self.park(ring, deadline, &mut attempt) {
                    Ok(done) => return Some(done),
                    Err(rest) => rest,
                };
                rested = true;
                spin.slept();
                if rest == Rest::TimeUp
                    && let Some(done) = attempt()
                {
                    spin.came_late();
                    self.relay(ring, &ready);
                    return Some(done);
                }
            }
            spin.look(pause, || ready().then_some(()));
        }
    }

    /// The same of one who sleeps at once, as often as it takes: what a model can follow.
    #[cfg(loom)]
    pub fn until_done<R>(
        self,
        ring: &Ring<'_>,
        ready: impl Fn() -> bool,
        attempt: impl FnMut() -> Option<R>,
    ) -> R {
        let mut spin = Spin::new();
        spin.wait_by(Wait::Park);
        let done = self.until(ring, Deadline::NEVER, &mut spin, 0, ready, attempt);
        done.expect("there is no deadline")
    }

    /// One that was woken and leaves something behind wakes the next.
    fn relay(self, ring: &Ring<'_>, ready: impl Fn() -> bool) {
        if ready() {
            self.wake(ring, ring.attention());
        }
    }
}
