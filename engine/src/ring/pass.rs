//! Passing over a ticket that is not published in time, and making its slot usable again.

use super::mark::{Attention, Marked, State};
use super::reach::{Grip, Reach};
use super::{RESTARTS_MAX, Ring};
use crate::layout::cells::{Line, Mark};
use crate::order::{ANNOUNCE, BASE, HEAD, LOST, MARK, REMARK, SCAN};
use crate::sync::fence::{self, Refused};
use crate::sync::step;

/// A ticket at the head that was claimed and not published when we looked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stalled {
    pub(super) ticket: u64,
}

impl Ring<'_> {
    /// Has the ticket been published since?
    #[inline]
    pub fn is_back(&self, grip: &Grip<'_>, stalled: Stalled) -> bool {
        let reach = grip.reach();
        reach.covers(stalled.ticket) && reach.slot(stalled.ticket).is_published(stalled.ticket)
    }

    /// Passes the ticket over, unless it is published first. Anybody may do it, any number may do
    /// it at once, and any of them may stop anywhere.
    #[cold]
    pub fn pass(&self, grip: &Grip<'_>, stalled: Stalled) -> Result<(), Refused> {
        let ticket = stalled.ticket;
        let reach = grip.reach();
        if !reach.covers(ticket) {
            return Ok(());
        }
        let done = self.decide(&reach, ticket);
        if self.shape.growing {
            self.quiet_growing();
        }
        done
    }

    fn decide(&self, reach: &Reach<'_>, ticket: u64) -> Result<(), Refused> {
        let mark = reach.mark(ticket);
        for _ in 0..RESTARTS_MAX {
            let seen = mark.state.load(MARK);
            let marked = Marked::unpack(seen);
            if marked.ticket > ticket {
                return Ok(());
            }
            let ours = marked.ticket == ticket && marked.state != State::Unset;
            if ours {
                match marked.state {
                    State::Requested => return self.finish(reach, ticket),
                    State::Passed | State::Released => _ = self.advance(ticket),
                    State::Kept | State::Unset => {}
                }
                return Ok(());
            }
            // An earlier writer is still in the slot: its later tickets cannot be published.
            let unusable = marked.state == State::Passed && !self.shape.growing;
            let state = if unusable { State::Passed } else { State::Requested };
            let wish = Marked { ticket, state }.pack();
            if mark.state.compare_exchange(seen, wish, REMARK, LOST).is_ok() {
                if unusable {
                    self.advance(ticket);
                    return Ok(());
                }
                return self.finish(reach, ticket);
            }
        }
        Ok(())
    }

    /// Decides an open request, ours or another's.
    fn finish(&self, reach: &Reach<'_>, ticket: u64) -> Result<(), Refused> {
        let mark = reach.mark(ticket);
        let requested = Marked { ticket, state: State::Requested }.pack();
        if step("raise") {
            self.raise(Attention::SKIPS);
        }
        // Pairs with the light fences in publish and take: attention and mark before seq.
        fence::heavy(self.shape.fences)?;
        // Also a later lap's seq: a request that comes late must not end in PASSED.
        if reach.slot(ticket).is_published(ticket) {
            let kept = Marked { ticket, state: State::Kept }.pack();
            _ = mark.state.compare_exchange(requested, kept, REMARK, LOST);
            return Ok(());
        }
        begin_period(mark, ticket);
        let passed = Marked { ticket, state: State::Passed }.pack();
        let now = match mark.state.compare_exchange(requested, passed, REMARK, LOST) {
            Ok(_) => passed,
            Err(now) => now,
        };
        let now = Marked::unpack(now);
        if now.ticket == ticket && now.is_over() {
            self.advance(ticket);
        }
        Ok(())
    }

    /// Passes over a ticket that is our own, and that we have not published and will not. So there is
    /// nobody to ask; attention is raised for those who count places.
    #[cold]
    pub(super) fn abandon(&self, reach: &Reach<'_>, ticket: u64) {
        let mark = reach.mark(ticket);
        let passed = Marked { ticket, state: State::Passed }.pack();
        loop {
            let seen = mark.state.load(MARK);
            let marked = Marked::unpack(seen);
            if seen >= passed {
                return;
            }
            if marked.state != State::Passed || self.shape.growing {
                begin_period(mark, ticket);
            }
            if mark.state.compare_exchange(seen, passed, REMARK, LOST).is_ok() {
                break;
            }
        }
        self.raise(Attention::SKIPS);
    }

    /// Makes the slot of `ticket` usable again if no announced ticket may still be stored there.
    /// Called by whoever has withdrawn such an announcement, or sweeps. True if it was this call that
    /// did it.
    #[cold]
    pub(crate) fn release(&self, ticket: u64) -> bool {
        let mark = self.whole.mark(ticket);
        for _ in 0..RESTARTS_MAX {
            let seen = mark.state.load(MARK);
            let marked = Marked::unpack(seen);
            if marked.state != State::Passed {
                return false;
            }
            // Pairs with the light fence in withdraw, and with itself: of two who withdraw, one
            // sees the other gone. A refused fence leaves the slot resting.
            if fence::heavy(self.shape.fences).is_err() {
                return false;
            }
            if step("scan") && self.is_announced(mark.base.load(BASE), marked.ticket) {
                return false;
            }
            let released = Marked { ticket: marked.ticket, state: State::Released }.pack();
            if mark.state.compare_exchange(seen, released, REMARK, LOST).is_ok() {
                return true;
            }
        }
        false
    }

    /// Does a participant announce a ticket of this slot between `base` and `last`?
    fn is_announced(&self, base: u64, last: u64) -> bool {
        self.lines.iter().any(|line| {
            let Some((first, further)) = line.announcement() else { return false };
            // Of a run, the only ticket on this slot: it is shorter than a lap.
            let by = self.whole.slots_from(first, last);
            let ticket = first + by;
            by <= further && base <= ticket && ticket <= last
        })
    }

    /// By who has inherited `line` from a dead participant: withdraws what that announced, held and
    /// looked at.
    pub fn settle(&self, line: &Line) {
        if step("settle-line") {
            line.announced.store(0, ANNOUNCE);
        }
        for word in [&line.further, &line.held, &line.pin] {
            word.store(0, ANNOUNCE);
        }
        // Pairs with the heavy fence in release, as in withdraw.
        fence::light(self.shape.fences);
    }

    /// Releases every slot that nobody can store into any more, and quiets attention if it can.
    /// Says how many slots that were. Anybody may do it at any time: it needs no knowledge of who
    /// rested a slot, so it also ends what somebody began who was killed meanwhile.
    #[cold]
    pub fn sweep(&self) -> usize {
        if self.is_quiet() {
            return 0;
        }
        if self.shape.growing {
            self.quiet_growing();
            return 0;
        }
        let resting = self.whole.marks().filter_map(|mark| {
            let marked = Marked::unpack(mark.state.load(MARK));
            (marked.state == State::Passed).then_some(marked.ticket)
        });
        let released = resting.filter(|&ticket| self.release(ticket)).count();
        self.quiet();
        released
    }

    /// Clears the skip bit if no mark needs to be looked at any more.
    #[cold]
    pub(crate) fn quiet(&self) {
        let seen = self.attention();
        if !seen.has(Attention::SKIPS) {
            return;
        }
        let head = self.control.head.load(HEAD);
        let calm = self.whole.marks().all(|mark| {
            let marked = Marked::unpack(mark.state.load(MARK));
            let ahead = marked.ticket >= head && marked.state != State::Unset;
            marked.state != State::Passed && (!ahead || !step("quiet-head"))
        });
        if calm {
            self.lower(Attention::SKIPS, seen);
        }
    }

    /// In a growing ring `head` is moved past a passed ticket at once, and a segment is not used again
    /// while somebody may write there: so what needs attention is only a writer whose ticket is not
    /// beyond `head`, or was passed over, and who has yet to look. A passer needs none: as long as its
    /// request is open, the ticket's writer has not looked. What dead ones leave behind is harmless: a
    /// message published by one after it was passed over is nobody else's, and it is taken or not.
    fn quiet_growing(&self) {
        let seen = self.attention();
        let head = self.control.head.load(HEAD);
        let is_calm = |line: &Line| match line.announced.load(SCAN) {
            0 => true,
            announced => announced > head + 1 || !step("quiet-announced"),
        };
        if seen.has(Attention::SKIPS) && self.lines.iter().all(is_calm) {
            self.lower(Attention::SKIPS, seen);
        }
    }
}

/// Remembers where a slot's unusable period begins, before it does.
fn begin_period(mark: &Mark, ticket: u64) {
    let base = &mark.base;
    let mut seen = base.load(BASE);
    while seen < ticket {
        match base.compare_exchange(seen, ticket, BASE, LOST) {
            Ok(_) => return,
            Err(now) => seen = now,
        }
    }
}

/// Passers stopped between two steps, for the models.
#[cfg(loom)]
impl Ring<'_> {
    /// Passes over a ticket of a growing ring that nobody publishes meanwhile, and stops before moving
    /// `head`.
    pub fn pass_only(&self, grip: &Grip<'_>, stalled: Stalled) {
        let ticket = stalled.ticket;
        let mark = grip.reach().mark(ticket);
        self.raise(Attention::SKIPS);
        begin_period(mark, ticket);
        let passed = Marked { ticket, state: State::Passed }.pack();
        let seen = mark.state.load(MARK);
        assert!(mark.state.compare_exchange(seen, passed, REMARK, LOST).is_ok());
    }
}
