//! Puts and takes that nothing is in the way of.
//!
//! That is what most are: there is a place, or a message in its slot; nobody else is after the same ticket,
//! nobody waits and no slot rests. Each is one straight line without a call. At whatever else it meets it
//! stops, says where, and leaves the rest to `put` and `take`.

use super::mark::Attention;
use super::put::Hand;
use super::reach::Grip;
use super::{Ring, Role};
use crate::order::{ANNOUNCE, HEAD, TAIL_GUESS};
use crate::sync::fence;

/// How far a put came; with which ticket, its hand knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plain {
    /// The message is visible to all, and nobody waits for it.
    Done,
    /// Nothing has been done: there may be no place, or the queue has been shut down.
    Refused,
    /// It is announced, and was claimed by somebody else.
    Missed,
    /// It is claimed; attention must be looked at before its slot is written.
    Claimed,
    /// It is published, no more: somebody may want to know.
    Published,
    /// All is done but for resting slots, of which one may have waited for this.
    Withdrawn,
}

/// How far a take came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlainTake {
    /// Nothing has been taken.
    Stopped,
    /// The message is in the buffer, and nobody else's.
    Taken {
        /// Its length, in bytes.
        len: usize,
        /// Somebody may wait for its place, or slots rest.
        calls: bool,
    },
}

impl Ring<'_> {
    /// Puts `bytes`, at most `inline_max` of them, if nothing is in the way.
    ///
    /// # Panics
    /// If there are more.
    #[inline(always)]
    pub fn push_plain(&self, hand: &mut Hand<'_>, bytes: &[u8]) -> Plain {
        if self.shape.producers == Role::One {
            return self.push_plain_alone(hand, bytes);
        }
        let ticket = self.control.tail.load(TAIL_GUESS);
        if ticket >= hand.limit || self.is_shut() {
            return Plain::Refused;
        }
        // Its address need not wait for the claim.
        let slot = hand.reach.slot(ticket);
        hand.ask_ahead(ticket, bytes.len());
        // From here on a slot that this ticket may be stored into cannot be released.
        if !self.take_ticket(hand, ticket) {
            return hand.stop(Plain::Missed, ticket);
        }
        if self.attention().has(Attention::SKIPS) {
            return hand.stop(Plain::Claimed, ticket);
        }
        self.write(slot, bytes);
        slot.publish(ticket);
        // Pairs with the heavy fences in pass::finish, wait::park and Ring::look_for_end: seq before attention.
        fence::light(self.shape.fences);
        if self.attention_fenced().has(Attention::AFTER_PUT) {
            return hand.stop(Plain::Published, ticket);
        }
        hand.line.announced.store(0, ANNOUNCE);
        // Pairs with the heavy fence in pass::release: announcement before attention.
        fence::light(self.shape.fences);
        if self.attention_fenced().has(Attention::SKIPS) {
            return hand.stop(Plain::Withdrawn, ticket);
        }
        Plain::Done
    }

    #[inline(always)]
    fn push_plain_alone(&self, hand: &mut Hand<'_>, bytes: &[u8]) -> Plain {
        let ticket = hand.tail_own;
        if ticket >= hand.limit || self.is_shut() {
            return Plain::Refused;
        }
        let slot = hand.reach.slot(ticket);
        hand.ask_ahead(ticket, bytes.len());
        self.write(slot, bytes);
        self.publish_alone(slot, ticket);
        // Pairs with the heavy fences in wait::park and Ring::look_for_end: seq before attention.
        fence::light(self.shape.fences);
        if self.attention_fenced().has(Attention::AFTER_PUT) {
            return hand.stop(Plain::Published, ticket);
        }
        hand.tail_own = ticket + 1;
        Plain::Done
    }

    /// Takes the message at the head, if it lies in its slot and fits `out`, and nothing is in the way.
    #[inline(always)]
    pub fn pop_plain(&self, grip: &Grip<'_>, out: &mut [u8]) -> PlainTake {
        let head = self.control.head.load(HEAD);
        let reach = grip.reach();
        if !reach.is_before_end(head) {
            return PlainTake::Stopped;
        }
        let slot = reach.slot(head);
        if slot.seq() != head + 1 {
            return PlainTake::Stopped;
        }
        // Pairs with the heavy fences in pass::finish and Ring::look_for_end: seq (seen) before attention.
        fence::light(self.shape.fences);
        if self.attention_fenced().has(Attention::SKIPS | Attention::SHUT) {
            return PlainTake::Stopped;
        }
        let len = slot.length() as usize;
        if len > self.shape.inline_max || len > out.len() {
            return PlainTake::Stopped;
        }
        // The same twice: how long `out` is, the compiler may know.
        let out = if len == out.len() { out } else { &mut out[..len] };
        // SAFETY: a slot's payload holds inline_max bytes (Ring::new), and this is no longer.
        unsafe { slot.read(out) };
        if !self.advance(head) {
            return PlainTake::Stopped;
        }
        // Pairs with the heavy fence in wait::park: head before attention.
        fence::light(self.shape.fences);
        let calls = self.attention_fenced().has(Attention::AFTER_TAKE);
        PlainTake::Taken { len, calls }
    }
}

impl Hand<'_> {
    #[inline(always)]
    fn stop(&mut self, stopped: Plain, ticket: u64) -> Plain {
        self.stopped_at = ticket;
        stopped
    }
}
