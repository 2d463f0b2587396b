//! One slot: `{seq, length, payload}`, and in each of its lines a word that nobody reads.

use super::take::Reference;
use super::{SLOT_HEAD, payload};
#[cfg(not(loom))]
use crate::order::ASK;
use crate::order::{PAYLOAD, PUBLISH, SEEN};
use crate::sync::Word;

/// A length that means: the payload says where the message lies.
pub(super) const REFERENCE: u32 = u32::MAX;
/// No message in a slot is longer.
pub(super) const LENGTH_MAX: usize = REFERENCE as usize - 1;

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

    /// The length of the message, or [`REFERENCE`].
    #[inline(always)]
    pub(super) fn length(self) -> u32 {
        // SEEN, though it is payload: `head` is looked at after it.
        #[cfg(not(loom))]
        return self.second().halves()[0].load(SEEN);
        #[cfg(loom)]
        return self.second().load(SEEN) as u32;
    }

    #[inline(always)]
    fn set_length(self, length: u32) {
        #[cfg(not(loom))]
        self.second().halves()[0].store(length, PAYLOAD);
        #[cfg(loom)]
        self.second().store(length.into(), PAYLOAD);
    }

    /// The length, and a half that is never read.
    #[inline(always)]
    fn second(self) -> &'m Word {
        // SAFETY: it has a head (Slot::of).
        unsafe { self.words.get_unchecked(1) }
    }

    /// Stores a message.
    ///
    /// # Safety
    /// `bytes` are at most `inline_max`, which a slot's payload holds (Ring::new).
    #[inline(always)]
    pub(super) unsafe fn write(self, bytes: &[u8]) {
        self.set_length(bytes.len() as u32);
        // SAFETY: the contract of this function.
        unsafe { payload::store(self.words, bytes) };
    }

    /// Fills `out` with the beginning of the message, which may be another by now.
    ///
    /// # Safety
    /// `out` is at most `inline_max` long, which a slot's payload holds (Ring::new).
    #[inline(always)]
    pub(super) unsafe fn read(self, out: &mut [u8]) {
        // SAFETY: the contract of this function.
        unsafe { payload::load(self.words, out) };
    }

    /// Stores where the message lies.
    pub(super) fn refer(self, reference: Reference) {
        self.set_length(REFERENCE);
        let words = &self.words[SLOT_HEAD..];
        for (word, value) in words.iter().zip(reference.pack()) {
            word.store(value, PAYLOAD);
        }
    }

    /// Where the message lies, or did. `None`: it is not long enough to say so.
    pub(super) fn reference(self) -> Option<Reference> {
        let words = self.words[SLOT_HEAD..].first_chunk()?;
        // SEEN: as for `length`.
        Some(Reference::unpack(words.each_ref().map(|word| word.load(SEEN))))
    }

    /// Takes its lines from whoever has them, while others are on their way: a store that nobody reads into
    /// each. It changes nothing, so anybody may, whoever's the slot is.
    ///
    /// Not a prefetch for writing: of a line that is here to be read already, which the CPU may have read ahead,
    /// that does nothing on some (docs/PERFORMANCE.md).
    pub(super) fn ask(self) {
        #[cfg(not(loom))]
        {
            self.second().halves()[1].store(0, ASK);
            payload::ask(self.words);
        }
    }

    /// The same for each line of slots that are no longer than one, by the first slot in it.
    pub(super) fn ask_lines(words: &[Word]) {
        #[cfg(not(loom))]
        words.iter().skip(1).step_by(payload::LINE).for_each(|second| {
            second.halves()[1].store(0, ASK);
        });
        #[cfg(loom)]
        let _ = words;
    }
}
