//! Take: copy first, then claim the copy.

use super::mark::{Attention, Marked, State};
use super::pass::Stalled;
use super::reach::Grip;
use super::run::RUN_MAX;
use super::slot::{REFERENCE, Slot};
use super::{Corrupt, REPEATS_MAX, RESTARTS_MAX, Ring, Role, TICKET_MAX};
use crate::layout::cells::Line;
use crate::order::{ANNOUNCE, HEAD, LOST, MARK, REMARK, TAIL, TAKE};
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
    /// The message is nobody else's, and lies elsewhere: where [`Grip::reference`] says. The consumer's
    /// line holds its block until [`Grip::let_go`].
    Reference {
        /// As it was when the message had been taken.
        attention: Attention,
    },
    /// Another took that message first. We held its block meanwhile, so whoever was done with the block
    /// may have left it to us.
    Overtaken {
        /// The block, as the arena names it.
        block: u64,
    },
    /// No message, and no put in progress.
    Empty,
    /// The message at the head is of a segment that this grip has no reach of.
    Elsewhere {
        /// Which.
        segment: u64,
    },
    /// The message at the head does not fit the buffer; it stays.
    TooSmall {
        /// Its length, in bytes.
        len: usize,
    },
    /// The ticket at the head is claimed and not published: wait a little, then pass it over.
    Stalled(Stalled),
}

/// Where in the arena a message lies: three words of its slot's payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reference {
    /// Bytes of the message.
    pub len: u64,
    /// The block, as the arena names it.
    pub block: u64,
    /// Bytes from its beginning.
    pub offset: u64,
}

impl Reference {
    pub(super) fn pack(self) -> [u64; 3] {
        [self.len, self.block, self.offset]
    }

    pub(super) fn unpack([len, block, offset]: [u64; 3]) -> Self {
        Self { len, block, offset }
    }
}

/// What was found at a head.
enum At {
    Taken(Taken),
    /// Nothing is published.
    Absent,
    /// `head` has moved.
    Gone,
}

impl<'m> Ring<'m> {
    /// A consumer that holds and announces in `line`, which must be its own. In a growing ring it has
    /// no reach yet.
    pub fn grip(&self, line: &'m Line) -> Grip<'m> {
        Grip::new(line, self.whole)
    }

    /// Takes the message at the head: into `out` if it lies in its slot, by reference if it does not
    /// and has at most `longest` bytes.
    ///
    /// Lock-free with many consumers; wait-free with one.
    pub fn pop(&self, grip: &Grip<'_>, out: &mut [u8], longest: usize) -> Result<Taken, Corrupt> {
        let head = self.control.head.load(HEAD);
        match self.pop_at(grip, head, out, longest) {
            At::Taken(taken) => Ok(taken),
            found => self.pop_on(grip, head, found, out, longest),
        }
    }

    /// The same, if the message is there. `None` says nothing more: whether the queue is empty costs a look
    /// at `tail`, and takes its line from the producers.
    #[inline(always)]
    pub fn pop_ready(&self, grip: &Grip<'_>, out: &mut [u8], longest: usize) -> Option<Taken> {
        let head = self.control.head.load(HEAD);
        match self.pop_at(grip, head, out, longest) {
            At::Taken(Taken::Elsewhere { .. }) if self.control.tail.load(TAIL) <= head => None,
            At::Taken(taken) => Some(taken),
            At::Absent | At::Gone => None,
        }
    }

    /// Goes on from what was found at `head`.
    #[cold]
    fn pop_on(
        &self,
        grip: &Grip<'_>,
        mut head: u64,
        mut found: At,
        out: &mut [u8],
        longest: usize,
    ) -> Result<Taken, Corrupt> {
        let mut last = TICKET_MAX;
        let mut repeats = 0;
        for _ in 0..RESTARTS_MAX {
            // Whatever makes us start over also moves `head`; a wrong mark or `seq` does not.
            repeats = if head == last { repeats + 1 } else { 0 };
            last = head;
            if head >= TICKET_MAX || repeats > REPEATS_MAX {
                return Err(Corrupt);
            }
            let taken = match found {
                At::Taken(taken) => Some(taken),
                At::Absent => self.absent(grip, head),
                At::Gone => None,
            };
            if let Some(taken) = taken {
                return Ok(taken);
            }
            head = self.control.head.load(HEAD);
            found = self.pop_at(grip, head, out, longest);
        }
        Err(Corrupt)
    }

    #[inline(always)]
    fn pop_at(&self, grip: &Grip<'_>, head: u64, out: &mut [u8], longest: usize) -> At {
        let reach = grip.reach();
        if !reach.covers(head) {
            return At::Taken(Taken::Elsewhere { segment: self.segment_of(head) });
        }
        let slot = reach.slot(head);
        let seq = slot.seq();
        if seq != head.wrapping_add(1) {
            // A later lap is published here, so `head` has moved; or nothing is.
            return if seq > head { At::Gone } else { At::Absent };
        }
        self.take(grip, slot, head, out, longest).map_or(At::Gone, At::Taken)
    }

    /// Is there nothing to take, nor a put in progress, nor anything that anybody must be told?
    pub fn is_plainly_empty(&self) -> bool {
        // In this order, as `absent` does.
        let head = self.control.head.load(HEAD);
        self.control.tail.load(TAIL) == head && !self.attention().has(Attention::ANYTHING)
    }

    /// Where a waiting consumer looks: has the message at the head been published?
    #[inline(always)]
    pub fn is_ready(&self, grip: &Grip<'_>) -> bool {
        let head = self.control.head.load(HEAD);
        let reach = grip.reach();
        if reach.covers(head) {
            reach.slot(head).is_published(head)
        } else {
            // Of a growing ring: the first of another segment.
            self.control.tail.load(TAIL) > head
        }
    }

    /// The next ticket to take, for who keeps a distance: a take looks again.
    pub fn next(&self) -> u64 {
        self.control.head.load(HEAD)
    }

    /// Has the message of `ticket` been published, which is not before the head; or, in a growing ring, the last
    /// before it that lies in reach?
    pub fn is_there(&self, grip: &Grip<'_>, ticket: u64) -> bool {
        let reach = grip.reach();
        let Some(last) = reach.end().checked_sub(1) else { return true };
        let ticket = ticket.min(last);
        reach.slot(ticket).is_published(ticket)
    }

    /// Is there nothing in the segment of `head`, which no grip can reach, for nobody has claimed a
    /// ticket of it?
    pub fn is_untouched(&self) -> bool {
        let head = self.control.head.load(HEAD);
        self.control.tail.load(TAIL) <= head
    }

    /// The message at `head` is published: copies it, then makes it ours. `None`: start over.
    #[inline(always)]
    fn take(
        &self,
        grip: &Grip<'_>,
        slot: Slot<'_>,
        head: u64,
        out: &mut [u8],
        longest: usize,
    ) -> Option<Taken> {
        // Pairs with the heavy fences in pass::finish and Ring::look_for_end: seq (seen) before attention and
        // mark.
        fence::light(self.shape.fences);
        let attention = self.attention_fenced();
        if attention.has(Attention::SKIPS | Attention::SHUT)
            && !self.may_take(grip, head, attention)
        {
            return None;
        }
        let len = slot.length() as usize;
        if len > self.shape.inline_max {
            // By reference; or overwritten since, or never valid.
            return self.take_reference(grip, slot, head, longest);
        }
        let Some(out) = out.get_mut(..len) else {
            return self.too_small(head, len);
        };
        // SAFETY: a slot's payload holds inline_max bytes (Ring::new), `out` is no longer.
        unsafe { slot.read(out) };
        if !self.advance(head) {
            return None;
        }
        // Pairs with the heavy fence in wait::park: head before attention.
        fence::light(self.shape.fences);
        Some(Taken::Message { len, attention: self.attention_fenced() })
    }

    /// Takes a message that lies elsewhere: holds its block, then claims it. Nobody uses the block again
    /// while it is held; nor before `head` has passed it.
    #[cold]
    fn take_reference(
        &self,
        grip: &Grip<'_>,
        slot: Slot<'_>,
        head: u64,
        longest: usize,
    ) -> Option<Taken> {
        if slot.length() != REFERENCE {
            return None;
        }
        let reference = slot.reference()?;
        let Reference { len, block, .. } = reference;
        if usize::try_from(len).is_ok_and(|len| len > longest) {
            return self.too_small(head, len as usize);
        }
        if step("hold") {
            grip.line.held.store(block.wrapping_add(1), ANNOUNCE);
        }
        if !self.advance(head) {
            grip.let_go();
            return Some(Taken::Overtaken { block });
        }
        // Pairs with the heavy fence in wait::park: head before attention.
        fence::light(self.shape.fences);
        grip.refer(reference);
        Some(Taken::Reference { attention: self.attention_fenced() })
    }

    fn too_small(&self, head: u64, len: usize) -> Option<Taken> {
        let moved = self.control.head.load(HEAD) != head;
        if moved { None } else { Some(Taken::TooSmall { len }) }
    }

    /// Moves `head` past ticket `head`: taken or passed over. False: somebody else did.
    #[inline(always)]
    pub(super) fn advance(&self, head: u64) -> bool {
        if self.takes_alone {
            self.control.head.store(head + 1, TAKE);
            return true;
        }
        self.control.head.compare_exchange(head, head + 1, TAKE, LOST).is_ok()
    }

    /// May the published message of `head` be taken, under attention?
    #[cold]
    fn may_take(&self, grip: &Grip<'_>, head: u64, attention: Attention) -> bool {
        if attention.has(Attention::SKIPS) && !self.is_kept(grip, head) {
            return false;
        }
        let is_shut = attention.has(Attention::SHUT) && step("past-the-end");
        let counts = !is_shut || self.counts(head);
        if !counts {
            self.advance(head);
        }
        counts
    }

    /// Was the published ticket at `head` not passed over? Settles a request to do so.
    fn is_kept(&self, grip: &Grip<'_>, head: u64) -> bool {
        let mark = grip.reach().mark(head);
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
    fn absent(&self, grip: &Grip<'_>, head: u64) -> Option<Taken> {
        let tail = self.control.tail.load(TAIL);
        if tail <= head {
            // `head` never passes `tail`, and was here before: at the load of `tail` they met. (A
            // lone producer's `tail` trails its `seq`.)
            let alone = self.shape.producers == Role::One;
            let trails = if alone { RUN_MAX as u64 } else { 0 };
            return if tail + trails >= head { Some(Taken::Empty) } else { None };
        }
        // A lone producer publishes before it moves `tail`: look again.
        let beyond = !self.shape.growing && tail - head > self.shape.slots;
        if beyond || self.shape.producers == Role::One {
            return None;
        }
        let marked = grip.reach().marked(head);
        let is_over = marked.ticket == head && marked.is_over();
        if is_over || self.is_beyond(head) {
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
