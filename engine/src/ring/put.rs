//! Claim and publish.

use super::mark::{Attention, Marked, State};
use super::{Corrupt, RESTARTS_MAX, Ring, Role, TICKET_MAX, payload};
use crate::layout::cells::Line;
use crate::order::{
    ADVANCE, ANNOUNCE, BASE, CLAIM, HEAD, LOST, MARK, PAYLOAD, PUBLISH, REMARK, SEEN, TAIL,
    TAIL_GUESS,
};
use crate::sync::{fence, step};

/// What a producer keeps to itself between operations.
#[derive(Debug)]
pub struct Hand<'m> {
    line: &'m Line,
    /// `head` was here, or is further.
    head_seen: u64,
    /// One producer: the next ticket. Many: unused.
    tail_own: u64,
    /// Withdrawals under attention until the next sweep.
    sweep_in: u64,
}

/// How many tickets ahead a slot's lines are asked for. A claim waits until all earlier stores have
/// their lines (its CAS is a full barrier on x86); asked for this early, they are there.
const AHEAD: u64 = 8;

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
}

impl<'m> Ring<'m> {
    /// A producer that announces in `line`, which must be its own.
    pub fn hand(&self, line: &'m Line) -> Hand<'m> {
        let mut hand = Hand { line, head_seen: 0, tail_own: 0, sweep_in: 0 };
        if self.shape.producers == Role::One {
            hand.tail_own = self.repaired_tail();
        }
        hand
    }

    /// Puts `bytes`, at most `message_max` of them, or says Full.
    ///
    /// Lock-free with many producers; wait-free with one.
    #[inline]
    pub fn push(&self, hand: &mut Hand<'_>, bytes: &[u8]) -> Result<Pushed, Corrupt> {
        assert!(bytes.len() <= self.shape.message_max, "longer than message_max");
        if self.shape.producers == Role::One {
            return self.push_alone(hand, bytes);
        }
        for _ in 0..RESTARTS_MAX {
            let Some(claimed) = self.claim(hand)? else { return Ok(Pushed::Full) };
            self.write(claimed.ticket, bytes);
            if let Outcome::Kept { attention } = self.publish(hand, claimed) {
                return Ok(Pushed::Done { attention });
            }
        }
        Err(Corrupt)
    }

    /// Claims the next usable ticket; `None` when the queue is full.
    #[inline(always)]
    pub fn claim(&self, hand: &mut Hand<'_>) -> Result<Option<Claimed>, Corrupt> {
        for _ in 0..RESTARTS_MAX {
            let ticket = self.control.tail.load(TAIL_GUESS);
            if ticket >= TICKET_MAX {
                return Err(Corrupt);
            }
            if !self.has_room(hand, ticket) && !self.has_room_past_skips(ticket) {
                return Ok(None);
            }
            // From here on a slot that this ticket may be stored into cannot be released.
            payload::will_store(self.slot(ticket + AHEAD));
            if self.take_ticket(hand, ticket) && self.may_enter(ticket) {
                return Ok(Some(Claimed { ticket }));
            }
            // Not ours, or passed over; somebody scanning may have waited for either.
            self.withdraw(hand, ticket);
        }
        Err(Corrupt)
    }

    /// Announces `ticket`, then claims it. False: somebody else did.
    #[inline(always)]
    fn take_ticket(&self, hand: &mut Hand<'_>, ticket: u64) -> bool {
        hand.line.announced.store(ticket + 1, ANNOUNCE);
        self.control.tail.compare_exchange(ticket, ticket + 1, CLAIM, LOST).is_ok()
    }

    /// May the claimer of `ticket` write into its slot? Otherwise the ticket is passed over.
    #[inline(always)]
    fn may_enter(&self, ticket: u64) -> bool {
        !self.attention().has(Attention::SKIPS) || self.finds_usable(ticket)
    }

    /// Stores the message of a claimed ticket.
    ///
    /// # Panics
    /// If it is longer than `message_max`.
    #[inline(always)]
    pub fn fill(&self, claimed: &Claimed, bytes: &[u8]) {
        assert!(bytes.len() <= self.shape.message_max, "longer than message_max");
        self.write(claimed.ticket, bytes);
    }

    #[inline(always)]
    fn write(&self, ticket: u64, bytes: &[u8]) {
        self.length(ticket).store(bytes.len() as u64, PAYLOAD);
        // SAFETY: a slot's payload holds message_max bytes (Ring::new), `bytes` is no longer
        // (checked in push).
        unsafe { payload::store(self.payload(ticket), bytes) };
    }

    /// Makes the message visible, and finds out whether it was passed over meanwhile.
    #[inline(always)]
    pub fn publish(&self, hand: &mut Hand<'_>, claimed: Claimed) -> Outcome {
        let ticket = claimed.ticket;
        self.seq(ticket).store(ticket + 1, PUBLISH);
        // Pairs with the heavy fence in pass::finish: seq before attention.
        fence::light(self.shape.fences);
        let attention = self.attention_fenced();
        let kept = !attention.has(Attention::SKIPS) || self.was_kept(ticket);
        self.withdraw(hand, ticket);
        if kept { Outcome::Kept { attention } } else { Outcome::PassedOver }
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
    fn tidy(&self, hand: &mut Hand<'_>, ticket: u64) {
        let due = hand.sweep_in == 0;
        hand.sweep_in = if due { self.sweep_interval() } else { hand.sweep_in - 1 };
        if due {
            self.sweep();
        } else if self.release(ticket) {
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

    /// Where a waiting producer looks: is there a place?
    pub fn has_places(&self) -> bool {
        let head = self.control.head.load(HEAD);
        self.control.tail.load(TAIL_GUESS).saturating_sub(head) < self.shape.capacity
    }

    /// A queue that looks full may hold tickets that were passed over, which take no place. With many
    /// consumers we move `head` past those in front; a lone one will do so, and we need not wait.
    #[cold]
    fn has_room_past_skips(&self, ticket: u64) -> bool {
        if self.is_quiet() {
            return false;
        }
        let mut head = self.control.head.load(HEAD);
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
    fn finds_usable(&self, ticket: u64) -> bool {
        let mark = self.mark(ticket);
        loop {
            let seen = mark.state.load(MARK);
            let marked = Marked::unpack(seen);
            if marked.ticket > ticket {
                return false;
            }
            if marked.ticket == ticket {
                return !marked.is_over();
            }
            if marked.state != State::Passed || !step("burn") {
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
    fn was_kept(&self, ticket: u64) -> bool {
        let mark = self.mark(ticket);
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
    fn push_alone(&self, hand: &mut Hand<'_>, bytes: &[u8]) -> Result<Pushed, Corrupt> {
        let ticket = hand.tail_own;
        if ticket >= TICKET_MAX {
            return Err(Corrupt);
        }
        if !self.has_room(hand, ticket) {
            return Ok(Pushed::Full);
        }
        payload::will_store(self.slot(ticket + AHEAD));
        self.write(ticket, bytes);
        self.seq(ticket).store(ticket + 1, PUBLISH);
        self.control.tail.store(ticket + 1, ADVANCE);
        hand.tail_own = ticket + 1;
        // Pairs with the heavy fence in wait::park: seq before attention.
        fence::light(self.shape.fences);
        Ok(Pushed::Done { attention: self.attention_fenced() })
    }

    /// Where a new lone producer starts: its predecessor may have died between publishing and
    /// moving `tail`.
    fn repaired_tail(&self) -> u64 {
        let tail = self.control.tail.load(TAIL);
        if tail < TICKET_MAX && self.seq(tail).load(SEEN) == tail + 1 {
            self.control.tail.store(tail + 1, ADVANCE);
            return tail + 1;
        }
        tail
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
    pub fn publish_only(&self, claimed: Claimed) {
        self.seq(claimed.ticket).store(claimed.ticket + 1, PUBLISH);
    }

    /// Claims the next ticket, and stops before looking at attention.
    pub fn claim_without_looking(&self, hand: &mut Hand<'_>) -> Claimed {
        let ticket = self.control.tail.load(TAIL_GUESS);
        assert!(self.has_room(hand, ticket) && self.take_ticket(hand, ticket));
        Claimed { ticket }
    }

    /// Goes on from there.
    pub fn look(&self, hand: &mut Hand<'_>, claimed: Claimed) -> Option<Claimed> {
        if self.may_enter(claimed.ticket) {
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
