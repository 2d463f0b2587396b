//! Passing over a ticket that is not published in time, and making its slot usable again.

use super::mark::{Attention, Marked, State};
use super::reach::{Grip, Reach};
use super::run::RUN_MAX;
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

impl Stalled {
    /// Which.
    pub fn ticket(self) -> u64 {
        self.ticket
    }
}

impl Ring<'_> {
    /// If it was passed over: the last ticket of the same claim, as far as its producer still announces that.
    pub fn last_passed_over(&self, grip: &Grip<'_>, stalled: Stalled) -> Option<u64> {
        let (reach, ticket) = (grip.reach(), stalled.ticket);
        if !reach.covers(ticket) {
            return None;
        }
        let marked = reach.marked(ticket);
        if marked.ticket != ticket || !marked.is_over() {
            return None;
        }
        let lasts = self.lines.iter().filter_map(|line| {
            let (first, further) = line.announcement()?;
            let last = first.saturating_add(further.min(RUN_MAX as u64 - 1));
            (first..=last).contains(&ticket).then_some(last)
        });
        // Of several that announce it, all but one have not claimed it.
        lasts.min()
    }

    /// Has the ticket been published since?
    #[inline]
    pub fn is_back(&self, grip: &Grip<'_>, stalled: Stalled) -> bool {
        let reach = grip.reach();
        reach.covers(stalled.ticket) && reach.slot(stalled.ticket).is_published(stalled.ticket)
    }

    /// Passes the ticket over, unless it is published first. Anybody may do it, any number may do
    /// it at once, and any of them may stop anywhere. Gives attention as it was then.
    #[cold]
    pub fn pass(&self, grip: &Grip<'_>, stalled: Stalled) -> Result<Attention, Refused> {
        let ticket = stalled.ticket;
        let reach = grip.reach();
        if reach.covers(ticket) {
            let done = self.decide(&reach, ticket);
            if self.shape.growing {
                self.quiet_growing();
            }
            done?;
        }
        // Pairs with the heavy fence in wait::park: head before attention.
        fence::light(self.shape.fences);
        Ok(self.attention_fenced())
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
            let ticket = first.saturating_add(by);
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
            announced => announced > head.saturating_add(1) || !step("quiet-announced"),
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

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::layout::cells::Control;
    use crate::ring::{Role, Shape, Taken};
    use crate::sync::Word;
    use crate::sync::fence::Fences;

    const SLOTS: u64 = 16;

    struct Parts {
        control: Control,
        lines: [Line; 3],
        marks: Vec<Mark>,
        words: Vec<Word>,
    }

    impl Parts {
        fn new() -> Self {
            let line = || {
                let [announced, occupant, held, pin, further] = [0, 1, 0, 0, 0].map(Word::new);
                Line { announced, occupant, held, pin, further }
            };
            Self {
                control: Control::starting_at(0),
                lines: [line(), line(), line()],
                marks: (0..SLOTS).map(|_| Mark::unset()).collect(),
                words: (0..4 * SLOTS).map(|_| Word::new(0)).collect(),
            }
        }

        fn ring(&self, producers: Role) -> Ring<'_> {
            let shape = Shape {
                capacity: 2,
                slots: SLOTS,
                stride: 4,
                inline_max: 8,
                growing: false,
                producers,
                consumers: Role::Many,
                fences: Fences::Full,
            };
            Ring::new(&self.control, &self.lines, &self.marks, &self.words, shape).unwrap()
        }

        /// As by a producer that stopped after that: line, first ticket, how many.
        fn claim(&self, line: usize, first: u64, count: u64) {
            self.lines[line].further.store(count - 1, ANNOUNCE);
            self.lines[line].announced.store(first + 1, ANNOUNCE);
            self.control.tail.store(first + count, ANNOUNCE);
        }
    }

    #[test]
    fn who_passes_over_one_ticket_of_a_claim_knows_the_others() {
        let parts = Parts::new();
        let ring = parts.ring(Role::Many);
        let grip = ring.grip(&parts.lines[2]);
        parts.claim(0, 0, 4);
        // Another announced a ticket, and lost it.
        parts.lines[1].announced.store(3, ANNOUNCE);
        let stalled = |expected| match ring.pop(&grip, &mut [0; 8], 8) {
            Ok(Taken::Stalled(stalled)) if stalled.ticket() == expected => stalled,
            taken => panic!("{taken:?} instead of {expected}"),
        };
        for (ticket, last) in [(0, 3), (1, 3), (2, 2)] {
            let stalled = stalled(ticket);
            assert_eq!(ring.last_passed_over(&grip, stalled), None);
            ring.pass(&grip, stalled).unwrap();
            assert_eq!(ring.last_passed_over(&grip, stalled), Some(last));
        }
        // The fourth comes after all.
        let stalled = stalled(3);
        parts.ring(Role::Many).whole.slot(3).publish(3);
        ring.pass(&grip, stalled).unwrap();
        assert_eq!(ring.last_passed_over(&grip, stalled), None);
    }

    #[test]
    fn what_was_passed_over_takes_no_place() {
        let parts = Parts::new();
        let ring = parts.ring(Role::Many);
        let grip = ring.grip(&parts.lines[2]);
        parts.claim(0, 0, 3);
        ring.abandon(&ring.whole, 1);
        ring.whole.slot(0).publish(0);
        ring.whole.slot(2).publish(2);
        assert!(ring.is_full_of_messages() && !ring.has_places() && !ring.is_empty());
        assert!(matches!(ring.pop(&grip, &mut [0; 8], 8), Ok(Taken::Message { .. })));
        // By `head` and `tail` alone there is no place.
        assert!(!ring.is_full_of_messages() && !ring.has_places() && !ring.is_empty());
        assert_eq!(ring.len(), 1);
        ring.abandon(&ring.whole, 2);
        assert_eq!((ring.is_empty(), ring.len()), (true, 0));
    }

    #[test]
    fn what_a_lone_producer_left_published_is_there() {
        let parts = Parts::new();
        let ring = parts.ring(Role::One);
        assert!(ring.is_empty());
        ring.whole.slot(0).publish(0);
        assert!(!ring.is_empty());
    }
}
