//! Where the slots and marks of a run of tickets lie.

use core::cell::Cell;

use super::mark::Marked;
use super::slot::Slot;
use super::take::Reference;
use super::{SLOT_HEAD, Shape, payload};
use crate::layout::cells::{Line, Mark};
use crate::order::{ANNOUNCE, MARK};
use crate::sync::Word;

/// The slots and marks of a run of tickets: of all tickets in a bounded ring, of one segment's in a
/// growing one.
#[derive(Clone, Copy, Debug)]
pub struct Reach<'m> {
    marks: &'m [Mark],
    words: &'m [Word],
    stride: usize,
    first: u64,
    span: u64,
}

impl<'m> Reach<'m> {
    /// The tickets from `first` on, `span` of them, or `None` if the parts are not as `shape` says.
    pub fn of(
        marks: &'m [Mark],
        words: &'m [Word],
        shape: &Shape,
        first: u64,
        span: u64,
    ) -> Option<Self> {
        let slots = usize::try_from(shape.slots).ok()?;
        let fits = slots.is_power_of_two()
            && marks.len() == slots
            && shape.stride >= SLOT_HEAD
            && words.len() == slots.checked_mul(shape.stride)?;
        fits.then_some(Self { marks, words, stride: shape.stride, first, span })
    }

    /// No ticket at all: what a participant of a growing ring begins with.
    pub fn nothing() -> Self {
        Self { marks: &[], words: &[], stride: SLOT_HEAD, first: 0, span: 0 }
    }

    /// The first ticket, if there is any.
    pub fn first(&self) -> Option<u64> {
        (self.span > 0).then_some(self.first)
    }

    /// Does `ticket` lie here? Nothing below may be asked for another.
    #[inline(always)]
    pub fn covers(&self, ticket: u64) -> bool {
        ticket.wrapping_sub(self.first) < self.span
    }

    /// So many tickets lie here from `ticket` on.
    pub(super) fn left_from(&self, ticket: u64) -> u64 {
        self.span.saturating_sub(ticket.wrapping_sub(self.first))
    }

    /// A mask of no slots is all ones; that is why whoever calls must know of `covers`.
    #[inline(always)]
    fn slot_of(&self, ticket: u64) -> usize {
        debug_assert!(self.covers(ticket));
        ticket as usize & (self.marks.len() - 1)
    }

    #[inline(always)]
    pub(super) fn mark(&self, ticket: u64) -> &'m Mark {
        // SAFETY: masked to the number of marks, a power of two (Reach::of), for `covers` is false
        // of every ticket where there are none.
        unsafe { self.marks.get_unchecked(self.slot_of(ticket)) }
    }

    #[inline(always)]
    pub(super) fn slot(&self, ticket: u64) -> Slot<'m> {
        let first = self.slot_of(ticket) * self.stride;
        // SAFETY: as for `mark`, and there are as many times `stride` words (Reach::of).
        let words = unsafe { self.words.get_unchecked(first..first + self.stride) };
        // SAFETY: a slot has at least SLOT_HEAD words (Reach::of).
        unsafe { Slot::of(words) }
    }

    /// Asks for the slots of so many tickets, of those that lie here: they will be written soon.
    #[inline(never)]
    pub(super) fn ask(&self, from: u64, count: u64) {
        let count = count.min(self.left_from(from));
        // One of those that share a line; not if its first is another's.
        let per_line = (payload::LINE as u64 / self.stride as u64).max(1);
        let first = from.next_multiple_of(per_line);
        let lines = (first..from + count).step_by(per_line as usize);
        lines.for_each(|ticket| self.slot(ticket).ask());
    }

    pub(super) fn marked(&self, ticket: u64) -> Marked {
        Marked::unpack(self.mark(ticket).state.load(MARK))
    }

    /// All marks, of a bounded ring.
    pub(super) fn marks(&self) -> impl Iterator<Item = &'m Mark> {
        self.marks.iter()
    }

    /// From `ticket` on, how many tickets later one falls on the slot of `other`.
    pub(super) fn slots_from(&self, ticket: u64, other: u64) -> u64 {
        other.wrapping_sub(ticket) & (self.marks.len() as u64 - 1)
    }
}

/// What a consumer keeps to itself between operations.
#[derive(Debug)]
pub struct Grip<'m> {
    pub(super) line: &'m Line,
    // A waiting consumer looks at slots while it also makes attempts.
    reach: Cell<Reach<'m>>,
    /// What was taken by reference last.
    reference: Cell<Reference>,
}

impl<'m> Grip<'m> {
    pub(super) fn new(line: &'m Line, reach: Reach<'m>) -> Self {
        let nowhere = Reference { len: 0, block: 0, offset: 0 };
        Self { line, reach: Cell::new(reach), reference: Cell::new(nowhere) }
    }

    /// Where the message lies that was taken by reference last.
    pub fn reference(&self) -> Reference {
        self.reference.get()
    }

    pub(super) fn refer(&self, reference: Reference) {
        self.reference.set(reference);
    }

    /// The slots it sees.
    #[inline(always)]
    pub fn reach(&self) -> Reach<'m> {
        self.reach.get()
    }

    /// From now on, these.
    pub fn move_to(&self, reach: Reach<'m>) {
        self.reach.set(reach);
    }

    /// The consumer's line.
    pub fn line(&self) -> &'m Line {
        self.line
    }

    /// The message that was taken by reference has been read: its memory may go.
    pub fn let_go(&self) {
        self.line.held.store(0, ANNOUNCE);
    }
}
