//! Where the slots and marks of a run of tickets lie.

use core::cell::Cell;
use core::ptr;

use super::asking::{Asking, prefetch_to_read};
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
    /// The first ticket that lies behind.
    end: u64,
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
        let end = first.saturating_add(span);
        fits.then_some(Self { marks, words, stride: shape.stride, first, end })
    }

    /// No ticket at all: what a participant of a growing ring begins with.
    pub fn nothing() -> Self {
        Self { marks: &[], words: &[], stride: SLOT_HEAD, first: 0, end: 0 }
    }

    /// The first ticket, if there is any.
    pub fn first(&self) -> Option<u64> {
        (self.end > 0).then_some(self.first)
    }

    /// Does `ticket` lie here?
    #[inline(always)]
    pub fn covers(&self, ticket: u64) -> bool {
        ticket >= self.first && self.is_before_end(ticket)
    }

    /// The same of a ticket that is not before the first, as `tail` and `head` never are that this reach was
    /// found for; `mark` and `slot` may be asked for no other. (In a damaged segment they may be: then it is
    /// not the right slot.)
    #[inline(always)]
    pub(super) fn is_before_end(&self, ticket: u64) -> bool {
        ticket < self.end
    }

    /// The first ticket that lies behind.
    pub(crate) fn end(&self) -> u64 {
        self.end
    }

    /// A mask of no slots is all ones; that is why whoever calls must know that there are some.
    #[inline(always)]
    fn slot_of(&self, ticket: u64) -> usize {
        debug_assert!(!self.marks.is_empty());
        ticket as usize & (self.marks.len() - 1)
    }

    #[inline(always)]
    pub(super) fn mark(&self, ticket: u64) -> &'m Mark {
        // SAFETY: masked to the number of marks, a power of two (Reach::of), for where there are none every
        // ticket is at or behind the end (Reach::nothing).
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

    /// Prefetches what so many bytes will be written into, so many words ahead of the slot of `ticket`; or, if that is
    /// behind the last, so many back from there.
    #[inline(always)]
    pub(super) fn prefetch(&self, ticket: u64, ahead: usize, back: usize, bytes: usize) {
        let at = self.word_ahead(ticket, ahead, back);
        payload::prefetch(self.words.as_ptr().wrapping_add(at), bytes);
    }

    /// Found from where the slot lies, which then is known before the claim.
    #[inline(always)]
    fn word_ahead(&self, ticket: u64, ahead: usize, back: usize) -> usize {
        let at = self.slot_of(ticket) * self.stride + ahead;
        if at < self.words.len() { at } else { at - back }
    }

    /// The slots of `ticket` and of those that follow, as far as they lie one after the other; none, if it does
    /// not lie here.
    #[inline(always)]
    pub(super) fn slots_in_a_row(&self, ticket: u64) -> impl Iterator<Item = Slot<'m>> {
        let count = self.in_a_row(ticket) as usize;
        let first = if count > 0 { self.slot_of(ticket) } else { 0 };
        let (all, stride) = (self.words, self.stride);
        (first..first + count).map(move |slot| {
            // SAFETY: there are as many times `stride` words as marks (Reach::of), and it is one of those.
            let words = unsafe { all.get_unchecked(slot * stride..(slot + 1) * stride) };
            // SAFETY: a slot has at least SLOT_HEAD words (Reach::of).
            unsafe { Slot::of(words) }
        })
    }

    /// How many those are.
    #[inline(always)]
    pub(super) fn in_a_row(&self, ticket: u64) -> u64 {
        if !self.covers(ticket) {
            return 0;
        }
        // The end may come first only in a damaged segment.
        ((self.marks.len() - self.slot_of(ticket)) as u64).min(self.end - ticket)
    }

    /// Asks for the slots of so many tickets, of those that lie here in a row, if they have words for it. Says how
    /// many those are.
    #[inline(never)]
    pub(super) fn ask(&self, from: u64, count: u64, asking: Asking) -> u64 {
        let in_a_row = count.min(self.in_a_row(from));
        if in_a_row > 0 && payload::has_spare(self.stride) {
            self.ask_row(from, in_a_row as usize, asking);
        }
        in_a_row
    }

    fn ask_row(&self, from: u64, count: usize, asking: Asking) {
        let first = self.slot_of(from) * self.stride;
        let words = self.words.get(first..first + count * self.stride).unwrap_or(&[]);
        // Of slots that share a line, one.
        let rest = first.next_multiple_of(payload::LINE) - first;
        let (beside, lines) = words.split_at(rest.min(words.len()));
        match asking {
            Asking::Prefetches => [beside, lines].into_iter().for_each(|words| {
                words.iter().step_by(payload::LINE).map(ptr::from_ref).for_each(prefetch_to_read);
            }),
            Asking::Stores if self.stride > payload::LINE => words
                .chunks_exact(self.stride)
                // SAFETY: a slot has at least SLOT_HEAD words (Reach::of).
                .for_each(|slot| unsafe { Slot::of(slot) }.ask()),
            Asking::Stores => [beside, lines].into_iter().for_each(Slot::ask_lines),
        }
    }

    pub(super) fn marked(&self, ticket: u64) -> Marked {
        Marked::unpack(self.mark(ticket).state.load(MARK))
    }

    /// So many slots have a line in common, at least one.
    pub(super) fn slots_of_line(&self) -> usize {
        (payload::LINE / self.stride).max(1)
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

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::order::PAYLOAD;
    use crate::ring::Role;
    use crate::sync::fence::Fences;

    const UNTOUCHED: u64 = u64::MAX;

    /// 16 slots, for 10 messages.
    fn shape(stride: usize) -> Shape {
        Shape {
            capacity: 10,
            slots: 16,
            stride,
            inline_max: 8,
            growing: false,
            producers: Role::Many,
            consumers: Role::Many,
            fences: Fences::Full,
        }
    }

    fn with_reach<R>(stride: usize, run: impl FnOnce(&Reach<'_>) -> R) -> R {
        let marks: Vec<Mark> = (0..16).map(|_| Mark::unset()).collect();
        let words: Vec<Word> = (0..16 * stride).map(|_| Word::new(UNTOUCHED)).collect();
        run(&Reach::of(&marks, &words, &shape(stride), 0, u64::MAX).unwrap())
    }

    /// Which words are no longer what they were, after it was asked for those slots.
    fn asked_by(asking: Asking, stride: usize, from: u64, count: u64) -> Vec<usize> {
        with_reach(stride, |reach| {
            reach.ask(from, count, asking);
            let is_touched = |&at: &usize| reach.words[at].load(PAYLOAD) != UNTOUCHED;
            (0..reach.words.len()).filter(is_touched).collect()
        })
    }

    fn asked(stride: usize, from: u64, count: u64) -> Vec<usize> {
        asked_by(Asking::Stores, stride, from, count)
    }

    #[test]
    fn each_line_of_the_slots_is_asked_for_by_a_word_that_nobody_reads() {
        assert_eq!(asked(8, 2, 3), [17, 25, 33]);
        assert_eq!(asked(24, 1, 2), [25, 32, 40, 49, 56, 64]);
        // Two share a line.
        assert_eq!(asked(4, 2, 4), [9, 17]);
        assert_eq!(asked(4, 3, 1), [13]);
        assert_eq!(asked(4, 3, 2), [13, 17]);
        // Up to the end of the slots.
        assert_eq!(asked(8, 14, 9), [113, 121]);
        assert_eq!(asked(4, 15, 9), [61]);
        assert_eq!(asked(8, u64::MAX - 1, 9), [113]);
    }

    #[test]
    fn nothing_is_asked_for_where_there_is_no_such_word_or_no_slot() {
        for (stride, from, count) in
            [(8, 0, 0), (8, u64::MAX, 9), (12, 0, 9), (payload::SHORT + payload::LINE, 0, 9)]
        {
            assert!(asked(stride, from, count).is_empty(), "stride {stride}");
        }
        Reach::nothing().ask(7, 9, Asking::Stores);
    }

    #[test]
    fn prefetches_change_nothing() {
        for stride in [4, 8, 24, 12] {
            assert!(asked_by(Asking::Prefetches, stride, 3, 20).is_empty(), "stride {stride}");
            with_reach(stride, |reach| {
                reach.prefetch(15, 15 * stride, 16 * stride, 2047);
                assert!(reach.words.iter().all(|word| word.load(PAYLOAD) == UNTOUCHED));
            });
        }
        Reach::nothing().ask(7, 9, Asking::Prefetches);
    }

    #[test]
    fn a_producer_prefetches_slots_that_no_message_is_still_to_be_taken_from() {
        let ahead = |asking: Asking, stride| asking.ahead(&shape(stride));
        assert_eq!(ahead(Asking::Stores, 8), 0);
        // Six slots are free, of which each has so many lines.
        assert_eq!([4, 8, 64].map(|stride| ahead(Asking::Prefetches, stride)), [24, 48, 4 * 64]);
        assert_eq!(ahead(Asking::Prefetches, 40 * 8), 40 * 8, "one at least");
        assert_eq!(ahead(Asking::Prefetches, payload::SHORT + payload::LINE), 0);
        let full = Shape { capacity: 16, ..shape(8) };
        assert_eq!(Asking::Prefetches.ahead(&full), 0);
        assert_eq!(Asking::Prefetches.ahead(&Shape { growing: true, ..full }), 16 * 8);
        with_reach(8, |reach| {
            let ahead = |back| [0, 9, 10, 15, 16].map(|ticket| reach.word_ahead(ticket, 48, back));
            assert_eq!(ahead(16 * 8), [48, 120, 0, 40, 48]);
            assert_eq!(
                ahead(48),
                [48, 120, 80, 120, 48],
                "its own slot, if it does not come again"
            );
        });
    }
}
