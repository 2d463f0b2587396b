//! The segments of a growing ring: blocks that hold slots, found through a directory.
//!
//! Tickets go on for ever; segment s holds those from s · slots on. Entry s mod entries of the
//! directory names its block. A producer that finds the next segment missing claims a block and
//! enters it by CAS: of several, one wins, the others give theirs back. There is nothing to close and
//! no pointer to follow: a ticket says where its slot is.
//!
//! A segment is installed before any ticket of it is claimed, and its block is reclaimed like any
//! other: `head` is beyond, and nobody announces a ticket of it. Then it is used for a later segment.
//! A consumer may still look at it, with a ticket that `head` is beyond: it finds a wrong `seq`, or a
//! message whose taking fails, exactly as in a bounded ring whose slot is used for the next lap. Only
//! to take the block's *memory* away must nobody look at it, so consumers pin the block they look at.

use core::fmt;

use super::blocks::{Block, Class};
use super::{Arena, Limit, NoMemory, SEGMENTS};
use crate::layout::cells::{Line, Mark};
use crate::order::{ANNOUNCE, BLOCK, BLOCKS, LOST};
use crate::ring::{Reach, Shape};
use crate::sync::{Word, fence, step};

/// Where the slots of segments lie.
pub trait SegmentSlots<'m>: fmt::Debug {
    /// Marks and slots of a block of the segment class; none, if there is no such block.
    fn parts(&self, index: usize) -> (&'m [Mark], &'m [Word]);
}

/// A directory entry: `{lap + 1, block}`; 0 for none yet.
const BLOCK_BITS: u32 = 24;

/// A growing ring's segments, over an arena.
#[derive(Debug)]
pub struct Segments<'m> {
    pub(crate) directory: &'m [Word],
    pub(crate) directory_at: usize,
    pub(crate) shape: Shape,
    pub(crate) parts: &'m (dyn SegmentSlots<'m> + Send + Sync),
}

/// Why a segment could not be entered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unmapped {
    /// Nobody has installed it.
    Missing,
    /// It is over: `head` has moved.
    Over,
}

/// Entries of the directory that get their memory together.
pub(crate) const ENTERED: usize = 512;

impl<'m> Segments<'m> {
    /// The slots of `segment`, for the producer in `line` that is about to claim a ticket of it.
    pub fn install(
        &self,
        arena: &Arena<'m>,
        segment: u64,
        line: usize,
    ) -> Result<Option<Reach<'m>>, NoMemory> {
        match self.find(arena, segment) {
            Ok(block) => return Ok(self.reach(segment, block)),
            Err(Unmapped::Over) => return Ok(None),
            Err(Unmapped::Missing) => {}
        }
        let class = &arena.classes[SEGMENTS];
        let at = self.entry_of(segment);
        self.describe(arena, at)?;
        let block = arena.claim(SEGMENTS, class.room.bytes, line)?;
        let seen = self.directory[at].load(BLOCK);
        if self.lap_of(seen) == Some(self.lap(segment)) || !self.is_next(seen, segment) {
            // Installed meanwhile, or its ticket is long gone.
            arena.give_back(block, line);
            return Ok(self.find(arena, segment).ok().and_then(|found| self.reach(segment, found)));
        }
        let slots = self.shape.slots;
        class.set_tickets(block.index, segment * slots + 1, (segment + 1) * slots);
        let entry = (self.lap(segment) + 1) << BLOCK_BITS | block.index as u64;
        if self.directory[at].compare_exchange(seen, entry, BLOCKS, LOST).is_err() {
            arena.clear(block);
            arena.give_back(block, line);
            return Ok(self.find(arena, segment).ok().and_then(|found| self.reach(segment, found)));
        }
        if !arena.close(block, line) {
            // Others have used it up meanwhile.
            arena.give_back(block, line);
        }
        Ok(self.reach(segment, block.index))
    }

    /// The slots of `segment` for the consumer of `line`, whose pin keeps them in memory. `head` must
    /// be asked again afterwards: only if it still is of that segment, are they its.
    pub fn enter(
        &self,
        arena: &Arena<'m>,
        segment: u64,
        line: &Line,
    ) -> Result<Reach<'m>, Unmapped> {
        let block = self.find(arena, segment)?;
        if step("pin") {
            line.pin.store(block as u64 + 1, ANNOUNCE);
        }
        // Pairs with the heavy fence in Arena::stays_pinned: our pin before head.
        fence::light(self.shape.fences);
        if arena.head() / self.shape.slots != segment {
            return Err(Unmapped::Over);
        }
        self.reach(segment, block).ok_or(Unmapped::Over)
    }

    /// The consumer of `line` looks at no segment any more.
    pub fn unpin(&self, line: &Line) {
        line.pin.store(0, ANNOUNCE);
    }

    /// The slots of `segment` if it is installed, for a lone producer that begins in `line`. It may be
    /// over already, so this pins it; only if `head` is not beyond it afterwards, has it memory.
    pub fn reach_of(&self, arena: &Arena<'m>, segment: u64, line: &Line) -> Option<Reach<'m>> {
        let block = self.find(arena, segment).ok()?;
        line.pin.store(block as u64 + 1, ANNOUNCE);
        // As in `enter`.
        fence::light(self.shape.fences);
        self.reach(segment, block)
    }

    /// The segment that a consumer has left for another may be over: gives its block back then. False:
    /// it is, but a producer has yet to withdraw from it.
    pub fn leave(&self, arena: &Arena<'m>, segment: u64, line: usize) -> bool {
        self.find(arena, segment)
            .map_or(true, |index| arena.done_with(Block { class: SEGMENTS, index }, line))
    }

    fn find(&self, arena: &Arena<'m>, segment: u64) -> Result<usize, Unmapped> {
        let at = self.entry_of(segment);
        if at >= self.described(&arena.classes[SEGMENTS]) {
            return Err(Unmapped::Missing);
        }
        let entry = self.directory[at].load(BLOCK);
        let index = (entry & ((1 << BLOCK_BITS) - 1)) as usize;
        match self.lap_of(entry) {
            Some(lap)
                if lap == self.lap(segment) && index < arena.classes[SEGMENTS].room.blocks =>
            {
                Ok(index)
            }
            Some(lap) if lap > self.lap(segment) => Err(Unmapped::Over),
            _ => Err(Unmapped::Missing),
        }
    }

    fn reach(&self, segment: u64, index: usize) -> Option<Reach<'m>> {
        let (marks, words) = self.parts.parts(index);
        Reach::of(marks, words, &self.shape, segment * self.shape.slots, self.shape.slots)
    }

    /// May `segment` follow what `seen` names?
    fn is_next(&self, seen: u64, segment: u64) -> bool {
        let lap = self.lap(segment);
        self.lap_of(seen).map_or(lap == 0, |before| before + 1 == lap)
    }

    fn entry_of(&self, segment: u64) -> usize {
        (segment % self.directory.len() as u64) as usize
    }

    fn lap(&self, segment: u64) -> u64 {
        segment / self.directory.len() as u64
    }

    fn lap_of(&self, entry: u64) -> Option<u64> {
        (entry >> BLOCK_BITS).checked_sub(1)
    }

    fn described(&self, class: &Class<'_>) -> usize {
        class.control.directory.load(BLOCK) as usize
    }

    /// Gives entry `at` of the directory its memory.
    fn describe(&self, arena: &Arena<'m>, at: usize) -> Result<(), NoMemory> {
        let class = &arena.classes[SEGMENTS];
        loop {
            let from = self.described(class);
            if at < from {
                return Ok(());
            }
            let end = (from + ENTERED).min(self.directory.len());
            if from >= end {
                return Err(NoMemory { needed: 0, limit: Limit::Blocks });
            }
            let [at, bytes] = [from, end - from].map(|entries| entries * size_of::<Word>());
            arena.ground.reserve(self.directory_at + at, bytes)?;
            let directory = &class.control.directory;
            _ = directory.compare_exchange(from as u64, end as u64, BLOCKS, LOST);
        }
    }
}

/// What the models make and ask, and where they stop.
#[cfg(loom)]
impl<'m> Segments<'m> {
    /// Over these parts.
    pub fn over(
        directory: &'m [Word],
        shape: Shape,
        parts: &'m (dyn SegmentSlots<'m> + Send + Sync),
    ) -> Self {
        Self { directory, directory_at: 0, shape, parts }
    }

    /// The block of `segment`.
    pub fn block_of(&self, arena: &Arena<'m>, segment: u64) -> Option<usize> {
        self.find(arena, segment).ok()
    }

    /// Installs `segment`, which nobody else does, and stops before closing its block.
    pub fn install_only(&self, arena: &Arena<'m>, segment: u64, line: usize) -> Option<Reach<'m>> {
        let class = &arena.classes[SEGMENTS];
        let block = arena.claim(SEGMENTS, class.room.bytes, line).ok()?;
        let slots = self.shape.slots;
        class.set_tickets(block.index, segment * slots + 1, (segment + 1) * slots);
        let entry = (self.lap(segment) + 1) << BLOCK_BITS | block.index as u64;
        let word = &self.directory[self.entry_of(segment)];
        word.compare_exchange(word.load(BLOCK), entry, BLOCKS, LOST).ok()?;
        self.reach(segment, block.index)
    }
}
