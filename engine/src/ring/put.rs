//! Claim and publish.

use super::asking::Asking;
use super::mark::{Attention, Marked, State};
use super::plain::Plain;
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
    /// There was a place for each ticket below, when we last looked.
    room: u64,
    /// Those of them that also lie in reach.
    pub(super) limit: u64,
    /// One producer: the next ticket.
    pub(super) tail_own: u64,
    /// The ticket of a plain put that stopped.
    pub(super) stopped_at: u64,
    pub(super) asking: Asking,
    /// So many words ahead it prefetches; 0 if it does not.
    pub(super) ahead: usize,
    /// Where that is behind the last word, so many words before it: the beginning of a bounded ring; of a growing one,
    /// its own slot, for the segment is not written again.
    pub(super) back: usize,
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

/// Why nothing was claimed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
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

impl From<Refusal> for Pushed {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Full => Self::Full,
            Refusal::Shut => Self::Shut,
            Refusal::Elsewhere { segment } => Self::Elsewhere { segment },
        }
    }
}

/// How a claim ended.
#[derive(Debug, PartialEq, Eq)]
pub enum Claim {
    /// With a ticket.
    Claimed(Claimed),
    /// With none.
    Refused(Refusal),
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
        let mut hand = Hand {
            line,
            reach: Reach::nothing(),
            room: self.room_behind(self.control.head.load(HEAD)),
            limit: 0,
            tail_own: 0,
            stopped_at: 0,
            asking: Asking::Stores,
            ahead: 0,
            back: 0,
            sweep_in: 0,
        };
        self.ask_by(&mut hand, Asking::here());
        hand.move_to(self.whole);
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
        hand.move_to(reach.unwrap_or(hand.reach));
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
    pub fn push(&self, hand: &mut Hand<'_>, bytes: &[u8]) -> Result<Pushed, Corrupt> {
        let stopped = self.push_plain(hand, bytes);
        self.push_on(hand, stopped, bytes)
    }

    /// Goes on with putting `bytes` from where [`Ring::push_plain`] stopped.
    ///
    /// # Panics
    /// As for that.
    pub fn push_on(
        &self,
        hand: &mut Hand<'_>,
        stopped: Plain,
        bytes: &[u8],
    ) -> Result<Pushed, Corrupt> {
        self.go_on(hand, stopped, |_, slot| self.write(slot, bytes))
    }

    /// Puts the message that `reference` leads to. `cover` is told each ticket it may get, before
    /// anybody can see it.
    pub fn push_reference(
        &self,
        hand: &mut Hand<'_>,
        reference: Reference,
        cover: impl Fn(u64),
    ) -> Result<Pushed, Corrupt> {
        self.go_on(hand, Plain::Refused, |ticket, slot| {
            cover(ticket);
            slot.refer(reference);
        })
    }

    /// Goes on from there, as often as it is passed over.
    fn go_on(
        &self,
        hand: &mut Hand<'_>,
        stopped: Plain,
        write: impl Fn(u64, Slot<'_>),
    ) -> Result<Pushed, Corrupt> {
        if self.shape.producers == Role::One {
            return self.go_on_alone(hand, stopped, write);
        }
        let put = |hand: &mut Hand<'_>, claimed: Claimed| {
            write(claimed.ticket, hand.reach.slot(claimed.ticket));
            self.publish(hand, claimed)
        };
        let ticket = hand.stopped_at;
        // What was not put is put again, as if it had been passed over.
        let mut outcome = match stopped {
            Plain::Done => return Ok(Pushed::Done { attention: Attention::NOTHING }),
            Plain::Refused => Outcome::PassedOver,
            Plain::Missed => {
                self.withdraw(hand, ticket);
                Outcome::PassedOver
            }
            Plain::Claimed => match self.enter(hand, ticket) {
                Some(claimed) => put(hand, claimed),
                None => Outcome::PassedOver,
            },
            Plain::Published => self.settle_put(hand, ticket),
            Plain::Withdrawn => {
                self.tidy(hand, ticket);
                Outcome::Kept { attention: self.attention() }
            }
        };
        for _ in 0..RESTARTS_MAX {
            match outcome {
                Outcome::Kept { attention } => return Ok(Pushed::Done { attention }),
                Outcome::TooLate => return Ok(Pushed::Shut),
                Outcome::PassedOver => {}
            }
            outcome = match self.claim(hand)? {
                Claim::Claimed(claimed) => put(hand, claimed),
                Claim::Refused(refusal) => return Ok(refusal.into()),
            };
        }
        Err(Corrupt)
    }

    /// Claims the next usable ticket.
    pub fn claim(&self, hand: &mut Hand<'_>) -> Result<Claim, Corrupt> {
        for _ in 0..RESTARTS_MAX {
            let ticket = self.control.tail.load(TAIL_GUESS);
            if let Some(refusal) = self.refusal(hand, ticket)? {
                return Ok(Claim::Refused(refusal));
            }
            // From here on a slot that this ticket may be stored into cannot be released.
            if !self.take_ticket(hand, ticket) {
                // Somebody scanning may have waited for this announcement.
                self.withdraw(hand, ticket);
            } else if let Some(claimed) = self.enter(hand, ticket) {
                return Ok(Claim::Claimed(claimed));
            }
        }
        Err(Corrupt)
    }

    /// There is a place for each ticket below, if `head` is there.
    fn room_behind(&self, head: u64) -> u64 {
        head.saturating_add(self.shape.capacity).min(TICKET_MAX)
    }

    /// Why may `ticket` not be claimed?
    pub(super) fn refusal(
        &self,
        hand: &mut Hand<'_>,
        ticket: u64,
    ) -> Result<Option<Refusal>, Corrupt> {
        if ticket >= TICKET_MAX {
            return Err(Corrupt);
        }
        if self.is_shut() {
            return Ok(Some(Refusal::Shut));
        }
        if ticket < hand.limit {
            return Ok(None);
        }
        // Possibly full by what we knew; really full?
        let head = self.control.head.load(HEAD);
        hand.room = self.room_behind(head);
        hand.move_to(hand.reach);
        let has_room = ticket.saturating_sub(head) < self.shape.capacity;
        if !has_room && !self.has_room_past_skips(ticket) {
            return Ok(Some(Refusal::Full));
        }
        let elsewhere = Refusal::Elsewhere { segment: self.segment_of(ticket) };
        Ok((!hand.reach.covers(ticket)).then_some(elsewhere))
    }

    /// Announces `ticket`, then claims it. False: somebody else did.
    #[inline(always)]
    pub(super) fn take_ticket(&self, hand: &mut Hand<'_>, ticket: u64) -> bool {
        hand.line.announced.store(ticket + 1, ANNOUNCE);
        self.control.tail.compare_exchange(ticket, ticket + 1, CLAIM, LOST).is_ok()
    }

    /// May I, who claimed `ticket`, write into its slot? Otherwise it is passed over, and taken back.
    fn enter(&self, hand: &mut Hand<'_>, ticket: u64) -> Option<Claimed> {
        if !self.attention().has(Attention::SKIPS) || self.finds_usable(&hand.reach, ticket) {
            return Some(Claimed { ticket });
        }
        self.withdraw(hand, ticket);
        None
    }

    /// Stores the message of a claimed ticket.
    ///
    /// # Panics
    /// If it is longer than `inline_max`.
    #[cfg(loom)]
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
    pub fn publish(&self, hand: &mut Hand<'_>, claimed: Claimed) -> Outcome {
        hand.reach.slot(claimed.ticket).publish(claimed.ticket);
        self.settle_put(hand, claimed.ticket)
    }

    /// I have published `ticket`: was it passed over?
    fn settle_put(&self, hand: &mut Hand<'_>, ticket: u64) -> Outcome {
        // Pairs with the heavy fences in pass::finish and Ring::look_for_end: seq before attention.
        fence::light(self.shape.fences);
        let attention = self.attention_fenced();
        let outcome = if attention.has(Attention::SKIPS | Attention::SHUT) {
            self.outcome(&hand.reach, ticket, attention)
        } else {
            Outcome::Kept { attention }
        };
        self.withdraw(hand, ticket);
        outcome
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

    /// Where a waiting producer looks: is there a place, or will there never be one?
    pub fn has_places(&self) -> bool {
        self.places() > 0 || self.is_shut()
    }

    /// How many places there are, as far as `head` and `tail` say.
    pub fn places(&self) -> u64 {
        let head = self.control.head.load(HEAD);
        let used = self.control.tail.load(TAIL_GUESS).saturating_sub(head);
        self.shape.capacity.saturating_sub(used)
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
    fn go_on_alone(
        &self,
        hand: &mut Hand<'_>,
        stopped: Plain,
        write: impl Fn(u64, Slot<'_>),
    ) -> Result<Pushed, Corrupt> {
        if stopped == Plain::Published {
            return Ok(self.settle_alone(hand, hand.stopped_at));
        }
        if stopped == Plain::Done {
            return Ok(Pushed::Done { attention: Attention::NOTHING });
        }
        let ticket = hand.tail_own;
        if let Some(refusal) = self.refusal(hand, ticket)? {
            return Ok(refusal.into());
        }
        let slot = hand.reach.slot(ticket);
        write(ticket, slot);
        self.publish_alone(slot, ticket);
        Ok(self.settle_alone(hand, ticket))
    }

    #[inline(always)]
    pub(super) fn publish_alone(&self, slot: Slot<'_>, ticket: u64) {
        slot.publish(ticket);
        self.control.tail.store(ticket + 1, ADVANCE);
    }

    fn settle_alone(&self, hand: &mut Hand<'_>, ticket: u64) -> Pushed {
        // Pairs with the heavy fences in wait::park and Ring::look_for_end: seq before attention.
        fence::light(self.shape.fences);
        let attention = self.attention_fenced();
        hand.tail_own = ticket + 1;
        if attention.has(Attention::SHUT) && step("too-late") && !self.counts(ticket) {
            return Pushed::Shut;
        }
        Pushed::Done { attention }
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
        self.limit = self.room.min(reach.end());
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
        let refusal = self.refusal(hand, ticket);
        assert!(matches!(refusal, Ok(None)) && self.take_ticket(hand, ticket));
        Claimed { ticket }
    }

    /// Goes on from there.
    pub fn look(&self, hand: &mut Hand<'_>, claimed: Claimed) -> Option<Claimed> {
        self.enter(hand, claimed.ticket)
    }
}

#[cfg(loom)]
impl Claimed {
    /// The claim of `ticket`, made by another thread for this one.
    pub fn resumed(ticket: u64) -> Self {
        Self { ticket }
    }
}
