//! One slot: `{seq, length, payload}`.

use super::take::Reference;
use super::{SLOT_HEAD, payload};
use crate::order::{PAYLOAD, PUBLISH, SEEN};
use crate::sync::Word;

/// The words of a slot: of a ticket that is ours to write, or that we look at.
#[derive(Clone, Copy, Debug)]
pub(super) struct Slot<'m> {
    words: &'m [Word],
}

impl<'m> Slot<'m> {
    /// # Safety
    /// There are at least `SLOT_HEAD` words.
    #[inline(always)]
    pub(super) unsafe fn of(words: &'m [Word]) -> Self {
        debug_assert!(words.len() >= SLOT_HEAD);
        Self { words }
    }

    #[inline(always)]
    pub(super) fn seq(self) -> u64 {
        // SAFETY: it has a head (Slot::of).
        unsafe { self.words.get_unchecked(0) }.load(SEEN)
    }

    /// Is the message of `ticket`, or of a later lap, published?
    #[inline(always)]
    pub(super) fn is_published(self, ticket: u64) -> bool {
        self.seq() > ticket
    }

    /// Makes the message of `ticket` visible.
    #[inline(always)]
    pub(super) fn publish(self, ticket: u64) {
        // SAFETY: it has a head (Slot::of).
        unsafe { self.words.get_unchecked(0) }.store(ticket + 1, PUBLISH);
    }

    #[inline(always)]
    pub(super) fn length(self) -> &'m Word {
        // SAFETY: it has a head (Slot::of).
        unsafe { self.words.get_unchecked(1) }
    }

    #[inline(always)]
    pub(super) fn payload(self) -> &'m [Word] {
        // SAFETY: it has a head (Slot::of).
        unsafe { self.words.get_unchecked(SLOT_HEAD..) }
    }

    /// Stores a message.
    ///
    /// # Safety
    /// `bytes` are at most `inline_max`, which a slot's payload holds (Ring::new).
    #[inline(always)]
    pub(super) unsafe fn write(self, bytes: &[u8]) {
        self.length().store(bytes.len() as u64, PAYLOAD);
        // SAFETY: the contract of this function.
        unsafe { payload::store(self.payload(), bytes) };
    }

    /// Stores where the message lies.
    pub(super) fn refer(self, reference: Reference) {
        let [length, block, offset] = reference.pack();
        self.length().store(length, PAYLOAD);
        self.payload()[0].store(block, PAYLOAD);
        self.payload()[1].store(offset, PAYLOAD);
    }

    /// Asks for its first lines, to be written soon.
    #[inline(always)]
    pub(super) fn expect(self) {
        payload::will_store(self.words);
    }
}
