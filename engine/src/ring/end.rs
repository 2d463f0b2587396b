//! The end of a queue: from shutdown on no put succeeds, and what was put before is still got.
//!
//! There is no lock between who shuts down and who puts, so something must say, of each message that is
//! published meanwhile, on which side of the end it fell. That is the word `end`, `{ticket, final}`:
//! tickets below count. Whoever meets a published ticket while attention says SHUT, its producer or a
//! consumer, moves the end past it, unless the end is final; then it does not count, the producer says so,
//! and consumers move `head` past it. A consumer that finds the queue empty makes the end final at `head`,
//! and only then says that there is nothing more to come.
//!
//! The fence pair again: before a consumer looks, it has seen SHUT and makes a heavy fence. Either it sees
//! what was published, or whoever published it, or has seen it published, sees SHUT behind its light fence
//! and asks the end first. The rest is one CAS against another on one word.
//!
//! Stopped or killed anywhere, nobody leaves anything to be waited for: who shuts down does one CAS.

use super::Ring;
use super::mark::Attention;
use crate::order::{BEGIN, BEGUN, END, ENDED, HEAD, LOST, TAIL};
use crate::sync::fence::{self, Refused};
use crate::sync::step;

/// Tickets below `ticket` count; if it is final, no others ever will.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct End {
    ticket: u64,
    is_final: bool,
}

impl End {
    const fn pack(self) -> u64 {
        self.ticket << 1 | self.is_final as u64
    }

    const fn unpack(word: u64) -> Self {
        Self { ticket: word >> 1, is_final: word & 1 == 1 }
    }
}

/// A look for the end of the queue, begun behind a heavy fence.
#[derive(Debug)]
pub struct Look {
    end: u64,
    head: u64,
}

impl Ring<'_> {
    /// A producer has attached.
    pub fn begin(&self) {
        self.control.posted.begun.fetch_add(1, BEGIN);
    }

    /// How many producers have ever attached.
    pub fn begun(&self) -> u64 {
        self.control.posted.begun.load(BEGUN)
    }

    /// Has the queue been shut down? Then no put begins any more.
    #[inline(always)]
    pub fn is_shut(&self) -> bool {
        self.attention().has(Attention::SHUT)
    }

    /// Shuts the queue down. What is in it stays, and may be taken. False: it was shut already.
    #[cold]
    pub fn shut(&self) -> bool {
        if self.is_shut() {
            return false;
        }
        self.raise(Attention::SHUT);
        // Saves those who take them a CAS each.
        if let Some(last) = self.control.tail.load(TAIL).checked_sub(1) {
            self.counts(last);
        }
        true
    }

    /// Does this ticket, claimed before or after the queue was shut, come before its end?
    #[cold]
    pub(super) fn counts(&self, ticket: u64) -> bool {
        let word = &self.control.posted.end;
        let mut seen = word.load(ENDED);
        loop {
            let end = End::unpack(seen);
            if ticket < end.ticket {
                return true;
            }
            if end.is_final && step("final") {
                return false;
            }
            let moved = End { ticket: ticket + 1, is_final: false }.pack();
            match word.compare_exchange(seen, moved, END, LOST) {
                Ok(_) => return true,
                Err(now) => seen = now,
            }
        }
    }

    /// The queue is shut: may there be something to take? `None`: no, and there never will be. Otherwise
    /// try to; and if it is empty, ask [`Ring::ends`].
    ///
    /// # Errors
    /// [`Refused`]: it cannot be known.
    #[cold]
    pub fn look_for_end(&self) -> Result<Option<Look>, Refused> {
        let end = self.control.posted.end.load(ENDED);
        let head = self.control.head.load(HEAD);
        if End::unpack(end).is_final && head >= End::unpack(end).ticket {
            return Ok(None);
        }
        // Pairs with the light fences behind publish and take: attention (SHUT, seen) before seq.
        if step("look") {
            fence::heavy(self.shape.fences)?;
        }
        Ok(Some(Look { end, head }))
    }

    /// After that look the queue was found empty: is this the end? If somebody was faster, look again.
    #[cold]
    pub fn ends(&self, look: &Look) -> bool {
        // It was empty at this head, for that has not moved.
        if self.control.head.load(HEAD) != look.head {
            return false;
        }
        let ticket = End::unpack(look.end).ticket.max(look.head);
        let ended = End { ticket, is_final: true }.pack();
        self.control.posted.end.compare_exchange(look.end, ended, END, LOST).is_ok()
            && ticket == look.head
    }

    /// Nothing is published at `head`, and somebody has claimed that ticket: does it come after the end?
    pub(super) fn is_beyond(&self, head: u64) -> bool {
        head >= self.last()
    }

    /// Tickets from here on are nobody's.
    pub(super) fn last(&self) -> u64 {
        let end = End::unpack(self.control.posted.end.load(ENDED));
        if self.is_shut() && end.is_final { end.ticket } else { u64::MAX }
    }
}

/// Somebody killed between two steps of shutdown, for the models.
#[cfg(loom)]
impl Ring<'_> {
    /// Shuts the queue down, and counts nothing.
    pub fn shut_only(&self) {
        self.raise(Attention::SHUT);
    }
}
