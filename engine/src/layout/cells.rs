//! The atomics of a queue as the protocol borrows them: from a mapping, or from plain vectors in
//! the models. No field is ever read through anything but an atomic.

use crossbeam_utils::CachePadded;

use crate::order::{LOST, OCCUPANT, OCCUPY, SCAN};
use crate::sync::{Word, Word32};

/// The shared words of the ring, each on cache lines of its own.
#[derive(Debug)]
#[cfg_attr(not(loom), repr(C))]
pub struct Control {
    /// Read for every message, written rarely.
    pub(crate) posted: CachePadded<Posted>,
    /// The next ticket to claim.
    pub(crate) tail: CachePadded<Word>,
    /// The next ticket to take.
    pub(crate) head: CachePadded<Word>,
}

/// What everybody must know.
#[derive(Debug)]
#[cfg_attr(not(loom), repr(C))]
pub struct Posted {
    /// `{version, shut, room wanted, items wanted, skips}`.
    pub(crate) attention: Word,
    /// Where a queue that is shut ends, see [`crate::ring`].
    pub(crate) end: Word,
    /// How many producers have attached.
    pub(crate) begun: Word,
}

impl Control {
    /// Control words of an empty ring whose next ticket is `first`.
    pub fn starting_at(first: u64) -> Self {
        let [attention, end, begun] = [0; 3].map(Word::new);
        Self {
            posted: CachePadded::new(Posted { attention, end, begun }),
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

    /// The same in memory that comes and goes, for the models.
    #[cfg(loom)]
    pub fn within(memory: &std::sync::Arc<crate::sync::memory::Memory>) -> Self {
        Self { state: Word::within(memory), base: Word::within(memory) }
    }

    /// Its memory is gone.
    #[cfg(loom)]
    pub fn wipe(&self) {
        self.state.wipe();
        self.base.wipe();
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

/// One participant's line: who it is, and what it is busy with.
#[derive(Debug)]
#[cfg_attr(not(loom), repr(C, align(128)))]
pub struct Line {
    /// 0, or 1 + the ticket its producer is about to claim, holds, or has just settled.
    pub(crate) announced: Word,
    /// Who occupies it, in one word, see [`crate::registry`]; 0 for nobody.
    pub(crate) occupant: Word,
    /// 0, or 1 + the block of the message that its consumer is about to take by reference, or reads.
    pub(crate) held: Word,
    /// 0, or 1 + the segment block that its consumer looks at.
    pub(crate) pin: Word,
    /// So many tickets after the announced one are announced as well.
    pub(crate) further: Word,
}

/// What is known of one block of the arena besides its state; written by who holds it.
#[derive(Debug)]
#[cfg_attr(not(loom), repr(C))]
pub struct Extent {
    /// 0, or 1 + the first ticket of this use of the block.
    pub(crate) first: Word,
    /// 0, or 1 + the last ticket so far.
    pub(crate) last: Word,
    /// Bytes at its beginning that are certainly reserved.
    pub(crate) reserved: Word,
    pub(crate) spare: Word,
}

impl Extent {
    /// Of a block that nobody has used.
    pub fn unused() -> Self {
        let [first, last, reserved, spare] = [0; 4].map(Word::new);
        Self { first, last, reserved, spare }
    }
}

/// Free blocks of one class that keep their memory, at most.
#[cfg(not(loom))]
pub const POOL: usize = 125;
/// As few as a model needs: each costs it time.
#[cfg(loom)]
pub const POOL: usize = 2;

/// What is shared about one class of blocks. Hints but for `described`: states decide.
#[derive(Debug)]
#[cfg_attr(not(loom), repr(C))]
pub struct ClassControl {
    /// So many descriptors, from the first, have memory.
    pub(crate) described: Word,
    /// Below this there is hardly a free block.
    pub(crate) cursor: Word,
    /// For the segments: so many entries of the directory have memory.
    pub(crate) directory: Word,
    /// 0, or 1 + a block that is, was, or will be free and keeps its memory.
    pub(crate) pool: [Word; POOL],
}

impl ClassControl {
    /// Of a class without blocks in use.
    pub fn unused() -> Self {
        let [described, cursor, directory] = [0; 3].map(Word::new);
        Self { described, cursor, directory, pool: [0; POOL].map(Word::new) }
    }

    /// The same, with so many descriptors and entries of the directory in memory, for the models.
    #[cfg(loom)]
    pub fn described(blocks: usize, directory: usize) -> Self {
        let [described, directory] = [blocks, directory].map(|count| Word::new(count as u64));
        Self { described, directory, ..Self::unused() }
    }
}

impl Line {
    /// A line that occupant 1 has, for the models.
    #[cfg(loom)]
    pub fn occupied() -> Self {
        let [announced, occupant, held, pin, further] = [0, 1, 0, 0, 0].map(Word::new);
        Self { announced, occupant, held, pin, further }
    }

    /// Does it name a ticket that may still be stored for?
    pub(crate) fn is_announcing(&self) -> bool {
        self.announced.load(SCAN) != 0
    }

    /// The first ticket it announces, and how many further ones. The second is read last: if it is
    /// less than it was for the first, that announcement is over.
    pub(crate) fn announcement(&self) -> Option<(u64, u64)> {
        let first = self.announced.load(SCAN).checked_sub(1)?;
        Some((first, self.further.load(SCAN)))
    }

    /// Does it announce a ticket of `first..=last`, 1 + each?
    pub(crate) fn announces_in(&self, first: u64, last: u64) -> bool {
        self.announcement().is_some_and(|(ticket, further)| {
            ticket < last && ticket.saturating_add(further).saturating_add(1) >= first
        })
    }

    /// Does its consumer hold that block?
    pub(crate) fn holds(&self, block: u64) -> bool {
        self.held.load(SCAN) == block + 1
    }

    pub(crate) fn is_occupied(&self) -> bool {
        self.occupant() != 0
    }

    pub(crate) fn occupant(&self) -> u64 {
        self.occupant.load(OCCUPANT)
    }

    /// Takes a vacant line for `occupant`. False: it is not vacant.
    pub fn occupy(&self, occupant: u64) -> bool {
        self.inherit(0, occupant)
    }

    /// Takes the line of a dead occupant. False: it is not its line any more.
    pub fn inherit(&self, dead: u64, heir: u64) -> bool {
        self.occupant.compare_exchange(dead, heir, OCCUPY, LOST).is_ok()
    }

    /// Vacates the line of `occupant`, who leaves. False: it is not its line any more.
    pub fn vacate(&self, occupant: u64) -> bool {
        self.inherit(occupant, 0)
    }
}

#[cfg(not(loom))]
mod pinned {
    use super::{ClassControl, Control, Extent, Gate, Line, Mark};
    use core::mem::{offset_of, size_of};

    // The header diagram (layout) is exact only where a padded line is 128 bytes.
    const _: () = assert!(size_of::<Control>() == 384);
    const _: () = assert!(offset_of!(Control, tail) == 128);
    const _: () = assert!(offset_of!(Control, head) == 256);
    const _: () = assert!(size_of::<Mark>() == 16);
    const _: () = assert!(size_of::<Gate>() == 4);
    const _: () = assert!(size_of::<Line>() == 128);
    const _: () = assert!(offset_of!(Line, occupant) == 8);
    const _: () = assert!(size_of::<Extent>() == 32);
    const _: () = assert!(size_of::<ClassControl>() == 1024);
}
