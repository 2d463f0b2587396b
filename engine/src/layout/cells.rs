//! The atomics of a queue as the protocol borrows them: from a mapping, or from plain vectors in
//! the models. No field is ever read through anything but an atomic.

use crossbeam_utils::CachePadded;

use crate::order::{LOST, OCCUPANT, OCCUPY, SCAN};
use crate::sync::{Word, Word32};

/// The shared words of the ring, each on cache lines of its own.
#[derive(Debug)]
#[cfg_attr(not(loom), repr(C))]
pub struct Control {
    /// `{version, room wanted, items wanted, skips}`: read for every message, written rarely.
    pub(crate) attention: CachePadded<Word>,
    /// The next ticket to claim.
    pub(crate) tail: CachePadded<Word>,
    /// The next ticket to take.
    pub(crate) head: CachePadded<Word>,
}

impl Control {
    /// Control words of an empty ring whose next ticket is `first`.
    pub fn starting_at(first: u64) -> Self {
        Self {
            attention: CachePadded::new(Word::new(0)),
            tail: CachePadded::new(Word::new(first)),
            head: CachePadded::new(Word::new(first)),
        }
    }
}

/// What is known of one slot besides its message; looked at only while attention says skips.
#[derive(Debug)]
#[cfg_attr(not(loom), repr(C))]
pub struct Mark {
    /// `{ticket, state}`, see [`crate::ring`].
    pub(crate) state: Word,
    /// The first ticket of the slot's latest unusable period. Only grows.
    pub(crate) base: Word,
}

impl Mark {
    /// A mark that nobody has set.
    pub fn unset() -> Self {
        Self { state: Word::new(0), base: Word::new(0) }
    }
}

/// Where sleepers of one kind wait.
#[derive(Debug)]
#[cfg_attr(not(loom), repr(C))]
pub struct Gate {
    /// Grows with every wake; the futex word.
    pub(crate) epoch: Word32,
    #[cfg(loom)]
    pub(crate) bed: crate::wait::bed::Bed,
}

impl Gate {
    /// A gate nobody has slept at.
    pub fn unused() -> Self {
        Self {
            epoch: Word32::new(0),
            #[cfg(loom)]
            bed: crate::wait::bed::Bed::new(),
        }
    }
}

/// One participant's line: who it is, and the ticket it is busy with.
#[derive(Debug)]
#[cfg_attr(not(loom), repr(C, align(128)))]
pub struct Line {
    /// 0, or 1 + the ticket its producer is about to claim, holds, or has just settled.
    pub(crate) announced: Word,
    /// Who occupies it, in one word, see [`crate::registry`]; 0 for nobody.
    pub(crate) occupant: Word,
}

impl Line {
    /// A line that occupant 1 has, for the models.
    #[cfg(loom)]
    pub fn occupied() -> Self {
        Self { announced: Word::new(0), occupant: Word::new(1) }
    }

    /// Does it name a ticket that may still be stored for?
    pub(crate) fn is_announcing(&self) -> bool {
        self.announced.load(SCAN) != 0
    }

    pub(crate) fn is_occupied(&self) -> bool {
        self.occupant() != 0
    }

    pub(crate) fn occupant(&self) -> u64 {
        self.occupant.load(OCCUPANT)
    }

    /// Takes a vacant line for `occupant`. False: it is not vacant.
    pub fn occupy(&self, occupant: u64) -> bool {
        self.occupant.compare_exchange(0, occupant, OCCUPY, LOST).is_ok()
    }

    /// Vacates the line of `occupant`: who leaves, or is dead. False: it is not its line any more.
    pub fn vacate(&self, occupant: u64) -> bool {
        self.occupant.compare_exchange(occupant, 0, OCCUPY, LOST).is_ok()
    }
}

#[cfg(not(loom))]
mod pinned {
    use super::{Control, Gate, Line, Mark};
    use core::mem::{offset_of, size_of};

    // The header diagram (layout) is exact only where a padded line is 128 bytes.
    const _: () = assert!(size_of::<Control>() == 384);
    const _: () = assert!(offset_of!(Control, tail) == 128);
    const _: () = assert!(offset_of!(Control, head) == 256);
    const _: () = assert!(size_of::<Mark>() == 16);
    const _: () = assert!(size_of::<Gate>() == 4);
    const _: () = assert!(size_of::<Line>() == 128);
    const _: () = assert!(offset_of!(Line, occupant) == 8);
}
