//! Claim and publish.

use super::mark::{Attention, Marked, State};
use super::reach::Reach;
use super::run::RUN_MAX;
use super::slot::Slot;
use super::take::Reference;
use super::{Corrupt, RESTARTS_MAX, Ring, Role, TICKET_MAX};
use crate::layout::cells::Line;
use crate::order::{ADVANCE, ANNOUNCE, BASE, CLAIM, HEAD, LOST, MARK, REMARK, TAIL, TAIL_GUESS};
use crate::sync::{fence, step};

/// What a producer keeps to itself between operations.
#[derive(Debug)]
pub struct Hand<'m> {
    pub(super) line: &'m Line,
    pub(super) reach: Reach<'m>,
    /// `head` was here, or is further.
    head_seen: u64,
    /// One producer: the next ticket. Many: the one after my last put.
    pub(super) tail_own: u64,
    /// Withdrawals under attention until the next sweep.
    sweep_in: u64,
}

/// How a push ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pushed {
    /// The message is visible to all.
    Done {
        /// As it was after the publication.
        attention: Attention,
    },
    /// Messages and puts in progress fill the queue.
    Full,
    /// The queue has been shut down.
    Shut,
    /// The next ticket is of a segment that this hand has no reach of.
    Elsewhere {
        /// Which.
        segment: u64,
    },
}

/// How a claim ended.
#[derive(Debug, PartialEq, Eq)]
pub enum Claim {
    /// With a ticket.
    Claimed(Claimed),
    /// As for [`Pushed::Full`].
    Full,
    /// As for [`Pushed::Shut`].
    Shut,
    /// As for [`Pushed::Elsewhere`].
    Elsewhere {
        /// Which segment.
        segment: u64,
    },
}

/// A claimed ticket: its slot is ours to write until we publish or withdraw.
#[derive(Debug, PartialEq, Eq)]
pub struct Claimed {
    ticket: u64,
}

/// Did the message stay where it was published?
#[derive(Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It did, or has been taken.
    Kept {
        /// As it was after the publication.
        attention: Attention,
    },
    /// The ticket had been passed over: put the message again.
    PassedOver,
    /// The queue had been shut down: nobody will get the message.
    TooLate,
}

impl<'m> Ring<'m> {
    /// A producer that announces in `line`, which must be its own. In a growing ring it has no reach
    /// yet.
    pub fn hand(&self, line: &'m Line) -> Hand<'m> {
        let mut hand = Hand { line, reach: self.whole, head_seen: 0, tail_own: 0, sweep_in: 0 };
        if self.shape.producers == Role::One && !self.shape.growing {
            hand.tail_own = self.repaired_tail(&self.whole);
        }
        hand
    }

    /// The segment that a lone producer of a growing ring begins in.
    pub fn segment_of_tail(&self) -> u64 {
        self.segment_of(self.control.tail.load(TAIL))
    }

    /// The lone producer of a growing ring begins where `reach`, of the segment of `tail`, says.
    pub fn begin_alone(&self, hand: &mut Hand<'m>, reach: Option<Reach<'m>>) {
        hand.reach = reach.unwrap_or(hand.reach);
        hand.tail_own = self.repaired_tail(&hand.reach);
        // What `head` is not beyond, stays.
        hand.line.pin.store(0, ANNOUNCE);
    }

    /// Puts `bytes`, at most `inline_max` of them, or says Full.
    ///
    /// Lock-free with many producers; wait-free with one.
    ///
    /// # Panics
    /// If there are more.
    #[inline(always)]
    pub fn push(&self, hand: &mut Hand<'_>, bytes: &[u8]) -> Result<Pushed, Corrupt> {
        // Before anything is claimed.
        assert!(bytes.len() <= self.shape.inline_max, "longer than inline_max");
        // SAFETY: just checked.
        self.push_by(hand, |_, slot| unsafe { slot.write(bytes) })
    }

    /// Puts the message that `reference` leads to. `cover` is told each ticket it may get, before
    /// anybody can see it.
    pub fn push_reference(
        &self,
        hand: &mut Hand<'_>,
        reference: Reference,
        cover: impl Fn(u64),
    ) -> Result<Pushed, Corrupt> {
        self.push_by(hand, |ticket, slot| {
            cover(ticket);
            slot.refer(reference);
        })
    }

    #[inline(always)]
    fn push_by(
        &self,
        hand: &mut Hand<'_>,
        write: impl Fn(u64, Slot<'_>),
    ) -> Result<Pushed, Corrupt> {
        if self.shape.producers == Role::One {
            return self.push_alone(hand, write);
        }
        match self.push_once(hand, &write)? {
            Some(pushed) => Ok(pushed),
            None => self.push_again(hand, write),
        }
    }

    /// As often as it is passed over.
    #[cold]
    fn push_again(
        &self,
        hand: &mut Hand<'_>,
        write: impl Fn(u64, Slot<'_>),
    ) -> Result<Pushed, Corrupt> {
        for _ in 0..RESTARTS_MAX {
            if let Some(pushed) = self.push_once(hand, &write)? {
                return Ok(pushed);
            }
        }
        Err(Corrupt)
    }

    /// `None`: it was passed over.
    #[inline(always)]
    fn push_once(
        &self,
        hand: &mut Hand<'_>,
        write: impl Fn(u64, Slot<'_>),
    ) -> Result<Option<Pushed>, Corrupt> {
        // A copy in registers, so that a slot's address does not wait for the claim.
        let reach = hand.reach;
        let claimed = match self.claim(hand)? {
            Claim::Claimed(claimed) => claimed,
            Claim::Full => return Ok(Some(Pushed::Full)),
            Claim::Shut => return Ok(Some(Pushed::Shut)),
            Claim::Elsewhere { segment } => return Ok(Some(Pushed::Elsewhere { segment })),
        };
        let slot = reach.slot(claimed.ticket);
        write(claimed.ticket, slot);
        Ok(match self.publish_in(slot, hand, claimed.ticket) {
            Outcome::Kept { attention } => Some(Pushed::Done { attention }),
            Outcome::TooLate => Some(Pushed::Shut),
            Outcome::PassedOver => None,
        })
    }

    /// Claims the next usable ticket.
    #[inline(always)]
    pub fn claim(&self, hand: &mut Hand<'_>) -> Result<Claim, Corrupt> {
        match self.claim_once(hand)? {
            Some(claim) => Ok(claim),
            None => self.claim_again(hand),
        }
    }

    #[cold]
    fn claim_again(&self, hand: &mut Hand<'_>) -> Result<Claim, Corrupt> {
        for _ in 0..RESTARTS_MAX {
            if let Some(claim) = self.claim_once(hand)? {
                return Ok(claim);
            }
        }
        Err(Corrupt)
    }

    /// `None`: somebody else got the ticket, or it is passed over.
    #[inline(always)]
    fn claim_once(&self, hand: &mut Hand<'_>) -> Result<Option<Claim>, Corrupt> {
        let ticket = self.control.tail.load(TAIL_GUESS);
        if ticket >= TICKET_MAX {
            return Err(Corrupt);
        }
        if self.is_shut() {
            return Ok(Some(Claim::Shut));
        }
        if !self.has_room(hand, ticket) && !self.has_room_past_skips(ticket) {
            return Ok(Some(Claim::Full));
        }
        if !hand.reach.covers(ticket) {
            return Ok(Some(Claim::Elsewhere { segment: self.segment_of(ticket) }));
        }
        // From here on a slot that this ticket may be stored into cannot be released.
        if self.take_ticket(hand, ticket) && self.may_enter(&hand.reach, ticket) {
            return Ok(Some(Claim::Claimed(Claimed { ticket })));
        }
        // Not ours, or passed over; somebody scanning may have waited for either.
        self.withdraw(hand, ticket);
        Ok(None)
    }

    /// Announces `ticket`, then claims it. False: somebody else did.
    #[inline(always)]
    fn take_ticket(&self, hand: &mut Hand<'_>, ticket: u64) -> bool {
        hand.line.announced.store(ticket + 1, ANNOUNCE);
        self.control.tail.compare_exchange(ticket, ticket + 1, CLAIM, LOST).is_ok()
    }

    /// May the claimer of `ticket` write into its slot? Otherwise the ticket is passed over.
    #[inline(always)]
    fn may_enter(&self, reach: &Reach<'_>, ticket: u64) -> bool {
        !self.attention().has(Attention::SKIPS) || self.finds_usable(reach, ticket)
    }

    /// Stores the message of a claimed ticket.
    ///
    /// # Panics
    /// If it is longer than `inline_max`.
    #[inline(always)]
    pub fn fill(&self, hand: &Hand<'_>, claimed: &Claimed, bytes: &[u8]) {
        self.write(hand.reach.slot(claimed.ticket), bytes);
    }

    /// # Panics
    /// If that is longer than `inline_max`.
    #[inline(always)]
    pub(super) fn write(&self, slot: Slot<'_>, bytes: &[u8]) {
        assert!(bytes.len() <= self.shape.inline_max, "longer than inline_max");
        // SAFETY: just checked.
        unsafe { slot.write(bytes) };
    }

    /// Makes the message visible, and finds out whether it was passed over meanwhile.
    #[inline(always)]
    pub fn publish(&self, hand: &mut Hand<'_>, claimed: Claimed) -> Outcome {
        self.publish_in(hand.reach.slot(claimed.ticket), hand, claimed.ticket)
    }

    #[inline(always)]
    fn publish_in(&self, slot: Slot<'_>, hand: &mut Hand<'_>, ticket: u64) -> Outcome {
        slot.publish(ticket);
        // Pairs with the heavy fences in pass::finish and Ring::look_for_end: seq before attention.
        fence::light(self.shape.fences);
        let attention = self.attention_fenced();
        let outcome = if attention.has(Attention::SKIPS | Attention::SHUT) {
            self.outcome(&hand.reach, ticket, attention)
        } else {
            Outcome::Kept { attention }
        };
        // While it is announced: that keeps its segment from being given back.
        self.ask_ahead(hand, ticket);
        self.withdraw(hand, ticket);
        outcome
    }

    /// I have put `ticket`. If it is the last of those whose slots were asked for, asks for the next ones; not
    /// if others put in between, for those slots will be theirs.
    #[inline(always)]
    fn ask_ahead(&self, hand: &mut Hand<'_>, ticket: u64) {
        let next = ticket + 1;
        if next & self.asks == 0 && hand.tail_own == ticket {
            hand.reach.ask(next, self.asks + 1);
        }
        hand.tail_own = next;
    }

    /// What became of a published ticket, under attention.
    #[cold]
    fn outcome(&self, reach: &Reach<'_>, ticket: u64, attention: Attention) -> Outcome {
        if attention.has(Attention::SKIPS) && !self.was_kept(reach, ticket) {
            if self.shape.growing && step("leave-behind") {
                // While somebody announces this ticket, attention stays; after that nobody may find it,
                // published as it looks, at the head.
                self.advance(ticket);
            }
            return Outcome::PassedOver;
        }
        let counts = !attention.has(Attention::SHUT) || !step("too-late") || self.counts(ticket);
        if counts { Outcome::Kept { attention } } else { Outcome::TooLate }
    }

    /// Takes my announcement back; if slots are unusable, mine may have been waiting for that.
    #[inline(always)]
    fn withdraw(&self, hand: &mut Hand<'_>, ticket: u64) {
        hand.line.announced.store(0, ANNOUNCE);
        // Pairs with the heavy fence in pass::release: announcement before attention.
        fence::light(self.shape.fences);
        if self.attention_fenced().has(Attention::SKIPS) {
            self.tidy(hand, ticket);
        }
    }

    /// Under attention: releases the slot I may have been the last to hold, and sweeps, which looks
    /// at every mark, once in as many withdrawals as there are marks.
    #[cold]
    pub(super) fn tidy(&self, hand: &mut Hand<'_>, ticket: u64) {
        let due = hand.sweep_in == 0;
        hand.sweep_in = if due { self.sweep_interval() } else { hand.sweep_in - 1 };
        if due {
            self.sweep();
        } else if !self.shape.growing && self.release(ticket) {
            self.quiet();
        }
    }

    fn sweep_interval(&self) -> u64 {
        if cfg!(loom) { 0 } else { self.shape.slots }
    }

    /// Is there a place for `ticket`, as far as `head` is known or can be learned?
    #[inline(always)]
    fn has_room(&self, hand: &mut Hand<'_>, ticket: u64) -> bool {
        let capacity = self.shape.capacity;
        // Possibly full by what we knew; refresh; really full?
        ticket.saturating_sub(hand.head_seen) < capacity || {
            hand.head_seen = self.control.head.load(HEAD);
            ticket.saturating_sub(hand.head_seen) < capacity
        }
    }

    /// How many places are there for tickets from `ticket` on, as far as `head` is known or, if that is
    /// none, can be learned?
    pub(super) fn places(&self, hand: &mut Hand<'_>, ticket: u64) -> u64 {
        if !self.has_room(hand, ticket) {
            return 0;
        }
        self.shape.capacity - ticket.saturating_sub(hand.head_seen)
    }

    /// Where a waiting producer looks: is there a place, or will there never be one?
    pub fn has_places(&self) -> bool {
        let head = self.control.head.load(HEAD);
        let used = self.control.tail.load(TAIL_GUESS).saturating_sub(head);
        used < self.shape.capacity || self.is_shut()
    }

    /// Is it full, at some moment of the call? No may be wrong, where tickets were passed over.
    pub fn is_full(&self) -> bool {
        // In this order: what `head` moves meanwhile makes it look emptier, and all that was passed over
        // lies before `head` as we see it.
        let tail = self.control.tail.load(TAIL);
        let quiet = self.is_quiet();
        let used = tail.saturating_sub(self.control.head.load(HEAD));
        quiet && used >= self.shape.capacity
    }

    /// A queue that looks full may hold tickets that were passed over, which take no place. With many
    /// consumers we move `head` past those in front; a lone one will do so, and we need not wait.
    #[cold]
    fn has_room_past_skips(&self, ticket: u64) -> bool {
        if self.shape.growing {
            return false;
        }
        let quiet = self.is_quiet();
        let mut head = self.control.head.load(HEAD);
        if quiet {
            // Quiet since all that was passed over lies before `head`: as we see it now.
            return ticket.saturating_sub(head) < self.shape.capacity;
        }
        while self.shape.consumers == Role::Many && head < ticket && self.is_over(head) {
            self.advance(head);
            head += 1;
        }
        // A slot is not used twice before `head` itself has passed it.
        let used = ticket.saturating_sub(head);
        used < self.shape.slots && used - self.passed_over(head, ticket) < self.shape.capacity
    }

    /// Is the slot of the claimed `ticket` usable, and the ticket not passed over? If an earlier
    /// writer is still in the slot, the ticket is passed over here.
    #[cold]
    fn finds_usable(&self, reach: &Reach<'_>, ticket: u64) -> bool {
        let mark = reach.mark(ticket);
        loop {
            let seen = mark.state.load(MARK);
            let marked = Marked::unpack(seen);
            if marked.ticket > ticket {
                return false;
            }
            if marked.ticket == ticket {
                return !marked.is_over();
            }
            // A segment is not used again before its writers are done.
            if marked.state != State::Passed || self.shape.growing || !step("burn") {
                return true;
            }
            let burned = Marked { ticket, state: State::Passed }.pack();
            if mark.state.compare_exchange(seen, burned, REMARK, LOST).is_ok() {
                return false;
            }
        }
    }

    /// Was the published `ticket` kept? Settles a request that is still open.
    #[cold]
    pub(super) fn was_kept(&self, reach: &Reach<'_>, ticket: u64) -> bool {
        let mark = reach.mark(ticket);
        loop {
            let seen = mark.state.load(MARK);
            let marked = Marked::unpack(seen);
            if marked.ticket < ticket {
                return true;
            }
            if marked.ticket > ticket {
                // Our announcement stands, so a period that covers us would not have ended.
                return marked.state != State::Passed || mark.base.load(BASE) > ticket;
            }
            if marked.state != State::Requested {
                return !marked.is_over();
            }
            let kept = Marked { ticket, state: State::Kept }.pack();
            if mark.state.compare_exchange(seen, kept, REMARK, LOST).is_ok() {
                return true;
            }
        }
    }

    /// One producer: no claim, no mark, nobody to wait for.
    #[inline(always)]
    fn push_alone(
        &self,
        hand: &mut Hand<'_>,
        write: impl Fn(u64, Slot<'_>),
    ) -> Result<Pushed, Corrupt> {
        let ticket = hand.tail_own;
        if ticket >= TICKET_MAX {
            return Err(Corrupt);
        }
        if self.is_shut() {
            return Ok(Pushed::Shut);
        }
        if !self.has_room(hand, ticket) {
            return Ok(Pushed::Full);
        }
        if !hand.reach.covers(ticket) {
            return Ok(Pushed::Elsewhere { segment: self.segment_of(ticket) });
        }
        let slot = hand.reach.slot(ticket);
        write(ticket, slot);
        slot.publish(ticket);
        self.control.tail.store(ticket + 1, ADVANCE);
        // Pairs with the heavy fences in wait::park and Ring::look_for_end: seq before attention.
        fence::light(self.shape.fences);
        let attention = self.attention_fenced();
        self.ask_ahead(hand, ticket);
        if attention.has(Attention::SHUT) && step("too-late") && !self.counts(ticket) {
            return Ok(Pushed::Shut);
        }
        Ok(Pushed::Done { attention })
    }

    /// Where a new lone producer starts: its predecessor may have died between publishing, one or a
    /// run of them, and moving `tail`.
    fn repaired_tail(&self, reach: &Reach<'_>) -> u64 {
        let tail = self.control.tail.load(TAIL);
        // What has been taken was published, and in a growing ring its segment may be gone already.
        let taken = self.control.head.load(HEAD).min(tail.saturating_add(RUN_MAX as u64));
        let mut next = tail.max(taken);
        let is_published = |ticket| reach.covers(ticket) && reach.slot(ticket).seq() == ticket + 1;
        while next < TICKET_MAX && next - tail < RUN_MAX as u64 && is_published(next) {
            next += 1;
        }
        if next > tail {
            self.control.tail.store(next, ADVANCE);
        }
        next
    }
}

impl<'m> Hand<'m> {
    /// From now on it sees these slots.
    pub fn move_to(&mut self, reach: Reach<'m>) {
        self.reach = reach;
    }
}

/// Producers stopped between two steps, for the models to resume, or not.
#[cfg(loom)]
impl<'m> Ring<'m> {
    /// Announces the next ticket, and stops before claiming it.
    pub fn announce_only(&self, hand: &mut Hand<'_>) {
        let ticket = self.control.tail.load(TAIL_GUESS);
        hand.line.announced.store(ticket + 1, ANNOUNCE);
    }

    /// Publishes, and stops before looking at attention.
    pub fn publish_only(&self, hand: &Hand<'_>, claimed: Claimed) {
        hand.reach.slot(claimed.ticket).publish(claimed.ticket);
    }

    /// As a lone producer, publishes, and stops before moving `tail`.
    pub fn publish_alone_only(&self, hand: &Hand<'_>, bytes: &[u8]) {
        let ticket = hand.tail_own;
        let slot = hand.reach.slot(ticket);
        self.write(slot, bytes);
        slot.publish(ticket);
    }

    /// Claims the next ticket, and stops before looking at attention.
    pub fn claim_without_looking(&self, hand: &mut Hand<'_>) -> Claimed {
        let ticket = self.control.tail.load(TAIL_GUESS);
        assert!(self.has_room(hand, ticket) && self.take_ticket(hand, ticket));
        Claimed { ticket }
    }

    /// Goes on from there.
    pub fn look(&self, hand: &mut Hand<'_>, claimed: Claimed) -> Option<Claimed> {
        if self.may_enter(&hand.reach, claimed.ticket) {
            return Some(claimed);
        }
        self.withdraw(hand, claimed.ticket);
        None
    }
}

#[cfg(loom)]
impl Claimed {
    /// The claim of `ticket`, made by another thread for this one.
    pub fn resumed(ticket: u64) -> Self {
        Self { ticket }
    }
}
