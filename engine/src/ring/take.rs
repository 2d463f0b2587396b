//! Take: copy first, then claim the copy.

use super::mark::{Attention, Marked, State};
use super::pass::Stalled;
use super::{Corrupt, REPEATS_MAX, RESTARTS_MAX, Ring, Role, TICKET_MAX, payload};
use crate::order::{HEAD, LOST, MARK, REMARK, SEEN, TAIL, TAKE};
use crate::sync::{fence, step};

/// How a take ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// The message is in the buffer, and nobody else's.
    Message {
        /// Its length, in bytes.
        len: usize,
        /// As it was when the message had been taken.
        attention: Attention,
    },
    /// No message, and no put in progress.
    Empty,
    /// The message at the head does not fit the buffer; it stays.
    TooSmall {
        /// Its length, in bytes.
        len: usize,
    },
    /// The ticket at the head is claimed and not published: wait a little, then pass it over.
    Stalled(Stalled),
}

impl Ring<'_> {
    /// Takes the message at the head into `out`.
    ///
    /// Lock-free with many consumers; wait-free with one.
    #[inline]
    pub fn pop(&self, out: &mut [u8]) -> Result<Taken, Corrupt> {
        let mut last = TICKET_MAX;
        let mut repeats = 0;
        for _ in 0..RESTARTS_MAX {
            let head = self.control.head.load(HEAD);
            // Whatever makes us start over also moves `head`; a wrong mark or `seq` does not.
            repeats = if head == last { repeats + 1 } else { 0 };
            last = head;
            if head >= TICKET_MAX || repeats > REPEATS_MAX {
                return Err(Corrupt);
            }
            let seq = self.seq(head).load(SEEN);
            let taken = if seq == head + 1 {
                self.take(head, out)
            } else if seq > head {
                // A later lap is published here, so `head` has moved.
                None
            } else {
                self.absent(head)
            };
            if let Some(taken) = taken {
                return Ok(taken);
            }
        }
        Err(Corrupt)
    }

    /// Where a waiting consumer looks: has the message at the head been published?
    #[inline(always)]
    pub fn is_ready(&self) -> bool {
        self.is_published(self.control.head.load(HEAD))
    }

    /// The message at `head` is published: copies it, then makes it ours. `None`: start over.
    #[inline(always)]
    fn take(&self, head: u64, out: &mut [u8]) -> Option<Taken> {
        // Pairs with the heavy fence in pass::finish: seq (seen) before attention and mark.
        fence::light(self.shape.fences);
        if self.attention_fenced().has(Attention::SKIPS) && !self.may_take(head) {
            return None;
        }
        // SEEN, though a length is payload: `head` is looked at after it below.
        let len = self.length(head).load(SEEN);
        let fits = usize::try_from(len).ok().filter(|&len| len <= self.shape.message_max);
        // Otherwise overwritten since, or never valid.
        let len = fits?;
        let Some(out) = out.get_mut(..len) else {
            let moved = self.control.head.load(HEAD) != head;
            return if moved { None } else { Some(Taken::TooSmall { len }) };
        };
        // SAFETY: a slot's payload holds message_max bytes (Ring::new), `out` is no longer.
        unsafe { payload::load(self.payload(head), out) };
        if !self.advance(head) {
            return None;
        }
        // Pairs with the heavy fence in wait::park: head before attention.
        fence::light(self.shape.fences);
        Some(Taken::Message { len, attention: self.attention_fenced() })
    }

    /// Moves `head` past ticket `head`: taken or passed over. False: somebody else did.
    #[inline(always)]
    pub(super) fn advance(&self, head: u64) -> bool {
        if self.shape.consumers == Role::One {
            self.control.head.store(head + 1, TAKE);
            return true;
        }
        self.control.head.compare_exchange(head, head + 1, TAKE, LOST).is_ok()
    }

    /// May the published message of `head` be taken? Settles a request to pass it over.
    #[cold]
    fn may_take(&self, head: u64) -> bool {
        let mark = self.mark(head);
        loop {
            let seen = mark.state.load(MARK);
            let marked = Marked::unpack(seen);
            if marked.ticket != head || matches!(marked.state, State::Unset | State::Kept) {
                return marked.ticket <= head;
            }
            if marked.is_over() {
                self.advance(head);
                return false;
            }
            if !step("settle") {
                return true;
            }
            let kept = Marked { ticket: head, state: State::Kept }.pack();
            if mark.state.compare_exchange(seen, kept, REMARK, LOST).is_ok() {
                return true;
            }
        }
    }

    /// Nothing is published at `head`: is the queue empty, or is a put in progress?
    #[cold]
    fn absent(&self, head: u64) -> Option<Taken> {
        let tail = self.control.tail.load(TAIL);
        if tail <= head {
            // `head` never passes `tail`, and was here before: at the load of `tail` they met. (A
            // lone producer's `tail` trails its `seq`.)
            let trails = u64::from(self.shape.producers == Role::One);
            return if tail + trails >= head { Some(Taken::Empty) } else { None };
        }
        // A lone producer publishes before it moves `tail`: look again.
        if tail - head > self.shape.slots || self.shape.producers == Role::One {
            return None;
        }
        let marked = self.marked(head);
        if marked.ticket == head && marked.is_over() {
            self.advance(head);
            return None;
        }
        // Kept: published by now. A later ticket: `head` has moved. Either is seen next time.
        let settled = marked.ticket == head && marked.state == State::Kept;
        if settled || marked.ticket > head {
            return None;
        }
        Some(Taken::Stalled(Stalled { ticket: head }))
    }
}
