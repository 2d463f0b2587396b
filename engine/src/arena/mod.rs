//! Memory for what does not fit a slot, and for the segments of a growing ring.
//!
//! The segment's file is sparse: there is address space for far more than there is memory. It is
//! divided into *blocks*, of one class for ring segments and a few classes for payloads, each four
//! times as large as the one before. A block's pages are reserved before anything is published in
//! them, and given back when it is free.
//!
//! **States**, one word per block, changed by CAS: so nobody can be killed between two of them.
//!
//! ```text
//!            claim                     close (publish)
//!   HOLE ───────────────▶ HELD{line} ──────────────────▶ CLOSED{last}
//!    ▲      ▲               │   │  ▲                        │
//!    │      │ claim         │   │  │       reclaim          │
//!    │    FREE ◀────────────┘   │  └────────────────────────┘
//!    └───────────────────────────┘
//!      give back: keep (FREE) or punch (HOLE)
//! ```
//!
//! A block holds the messages (or, for a ring segment, the slots) of the tickets `first..=last` of its
//! extent. It is in use until `head` is beyond the last, *and* no participant's line names it: a
//! producer announces the ticket whose slot it writes, a consumer holds the block of the message that
//! it has taken by reference. Nobody frees a message: who is done clears its line, and looks whether
//! the block is over. What is left undone (by who was killed or stopped), the next one who looks for a
//! block finds, or a sweep.
//!
//! Why that is enough: who takes by reference holds the block *before* it moves `head` past the ticket,
//! by release; who reclaims sees `head` beyond, by acquire, so it sees the line as well. A producer
//! announces before it claims. Neither can come anew once `head` is beyond: its claim fails.
//!
//! Why nobody leaves a block to the other, and the other to it: of two who are done with it, and of a
//! reader and the producer that closes it, each makes a full fence between what it did and its look.
//!
//! Small payloads are appended to a block of their producer's, one after another, so they cost no
//! search and no state of their own. It is closed when the next does not fit.
//!
//! **The dead.** Only who occupies line L changes a block HELD{L}; who inherits the line from a dead
//! occupant ([`Arena::inherit`]) closes its blocks: `last` was stored before each publication.

mod blocks;
mod claim;
mod segments;

pub use blocks::{Block, Class, Room};
pub use segments::{SegmentSlots, Segments, Unmapped};

use core::fmt;

use crate::layout::cells::Line;
use crate::order::HEAD;
use crate::sync::Word;
use crate::sync::fence::Fences;

/// The class of ring segments; payload classes follow.
pub const SEGMENTS: usize = 0;
/// The first class of payloads.
pub const PAYLOADS: usize = 1;

/// What a lack of memory was a lack of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Limit {
    /// The queue's own `max_bytes`.
    MaxBytes,
    /// The file system of a named segment.
    FileSystem,
    /// The memory of the machine, or of our control group.
    System,
    /// Blocks, or positions, of the size that was needed.
    Blocks,
}

/// There is no memory for this; nothing was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoMemory {
    /// Bytes that were needed.
    pub needed: u64,
    /// What was spent.
    pub limit: Limit,
}

/// Where blocks get their memory from. Offsets are from the beginning of the segment's file.
pub trait Ground: fmt::Debug {
    /// Makes these bytes writable, whatever happens later. May be repeated.
    fn reserve(&self, at: usize, bytes: usize) -> Result<(), NoMemory>;
    /// Gives their memory back; they read as zero from now on.
    fn release(&self, at: usize, bytes: usize);
}

/// The blocks of a queue, over borrowed memory.
#[derive(Debug)]
pub struct Arena<'m> {
    pub(crate) classes: &'m [Class<'m>],
    pub(crate) lines: &'m [Line],
    pub(crate) head: &'m Word,
    pub(crate) ground: &'m (dyn Ground + Send + Sync),
    pub(crate) fences: Fences,
}

/// What the models make and ask.
#[cfg(loom)]
impl<'m> Arena<'m> {
    /// Over these parts.
    pub fn over(
        classes: &'m [Class<'m>],
        lines: &'m [Line],
        head: &'m Word,
        ground: &'m (dyn Ground + Send + Sync),
        fences: Fences,
    ) -> Self {
        Self { classes, lines, head, ground, fences }
    }

    /// Does somebody hold it, or does it hold messages?
    pub fn is_in_use(&self, block: Block) -> bool {
        let state = self.classes[block.class].state(block.index);
        matches!(state, blocks::State::Held { .. } | blocks::State::Closed { .. })
    }

    /// Is it free and without memory?
    pub fn is_hole(&self, block: Block) -> bool {
        self.classes[block.class].state(block.index) == blocks::State::Hole
    }
}

impl Arena<'_> {
    /// Next to take: what lies before is consumed.
    fn head(&self) -> u64 {
        self.head.load(HEAD)
    }

    /// The payload class for a message of `bytes`, if there is one.
    pub fn class_for(&self, bytes: usize) -> Option<usize> {
        let fits = |class: &Class<'_>| class.room.bytes >= bytes;
        Some(PAYLOADS + self.classes.get(PAYLOADS..)?.iter().position(fits)?)
    }
}
