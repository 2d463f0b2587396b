//! Blocks: their names, classes and states.

use super::NoMemory;
use crate::layout::cells::{ClassControl, Extent};
use crate::order::{BLOCK, BLOCKS, EXTENT, HINT, HINTED, LOST};
use crate::sync::Word;

use super::Ground;

/// Names a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Block {
    /// Its class.
    pub class: usize,
    /// Which of that class.
    pub index: usize,
}

impl Block {
    const INDEX_BITS: u32 = 32;

    /// `{class, index}` in a word.
    pub(crate) fn pack(self) -> u64 {
        (self.class as u64) << Self::INDEX_BITS | self.index as u64
    }

    /// What a reference names, for the models.
    #[cfg(loom)]
    pub fn named(word: u64) -> Self {
        Self::unpack(word)
    }

    /// How a reference names it.
    #[cfg(loom)]
    pub fn name(self) -> u64 {
        self.pack()
    }

    /// The reverse, unchecked.
    pub(crate) fn unpack(word: u64) -> Self {
        let index = word & ((1 << Self::INDEX_BITS) - 1);
        Self { class: (word >> Self::INDEX_BITS) as usize, index: index as usize }
    }
}

/// What may be done with a block, and by whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// Nothing is in it, and it has no memory.
    Hole,
    /// The occupant of that line does with it what it likes.
    Held { line: usize },
    /// Messages of tickets up to this are in it.
    Closed { last: u64 },
    /// Nothing is in it, and `reserved` bytes have memory.
    Free,
}

impl State {
    /// `{value, state}` as `value << 2 | state`: HOLE 0, HELD 1, CLOSED 2, FREE 3.
    pub(super) const fn pack(self) -> u64 {
        match self {
            Self::Hole => 0,
            Self::Held { line } => (line as u64) << 2 | 1,
            Self::Closed { last } => last << 2 | 2,
            Self::Free => 3,
        }
    }

    pub(super) const fn unpack(word: u64) -> Self {
        match word & 3 {
            0 => Self::Hole,
            1 => Self::Held { line: (word >> 2) as usize },
            2 => Self::Closed { last: word >> 2 },
            _ => Self::Free,
        }
    }
}

/// Sizes and places of a class: a private copy, never read again from shared memory.
#[derive(Clone, Copy, Debug)]
pub struct Room {
    /// Bytes of a block: whole pages.
    pub bytes: usize,
    /// How many there are.
    pub blocks: usize,
    /// How many free ones keep their memory; at most [`POOL`](crate::layout::cells::POOL).
    pub keep: usize,
    /// How many still do when the queue has been found empty.
    pub keep_idle: usize,
    /// Where the blocks begin in the file.
    pub blocks_at: usize,
    /// Where their states do.
    pub states_at: usize,
    /// Where their extents do.
    pub extents_at: usize,
}

/// Blocks of one size.
#[derive(Clone, Copy, Debug)]
pub struct Class<'m> {
    /// What is shared about them.
    pub control: &'m ClassControl,
    /// Their states; only the described ones have memory.
    pub states: &'m [Word],
    /// Their extents; as for the states.
    pub extents: &'m [Extent],
    /// Their places.
    pub room: Room,
}

/// Descriptors that get their memory together: a page of states, and the extents to them.
pub(crate) const DESCRIBED: usize = 512;

impl Class<'_> {
    /// So many blocks, from the first, have a state that can be looked at.
    pub(super) fn described(&self) -> usize {
        let described = self.control.described.load(BLOCK);
        usize::try_from(described).map_or(self.room.blocks, |count| count.min(self.room.blocks))
    }

    /// Gives the next descriptors their memory, if there are more blocks.
    pub(super) fn describe(&self, ground: &dyn Ground) -> Result<bool, NoMemory> {
        let from = self.described();
        let end = (from + DESCRIBED).min(self.room.blocks);
        if from == end {
            return Ok(false);
        }
        let more = end - from;
        ground.reserve(self.room.states_at + from * size_of::<Word>(), more * size_of::<Word>())?;
        ground.reserve(
            self.room.extents_at + from * size_of::<Extent>(),
            more * size_of::<Extent>(),
        )?;
        // Lost: somebody else described the same.
        _ = self.control.described.compare_exchange(from as u64, end as u64, BLOCKS, LOST);
        Ok(true)
    }

    pub(super) fn state(&self, index: usize) -> State {
        State::unpack(self.states[index].load(BLOCK))
    }

    /// Changes a state. False: it was another by then.
    pub(super) fn change(&self, index: usize, from: State, to: State) -> bool {
        self.states[index].compare_exchange(from.pack(), to.pack(), BLOCKS, LOST).is_ok()
    }

    /// `first`, `last` of the block's extent, 1 + each.
    pub(super) fn tickets(&self, index: usize) -> (u64, u64) {
        let extent = &self.extents[index];
        (extent.first.load(EXTENT), extent.last.load(EXTENT))
    }

    /// A block whose holder says so now has this extent.
    pub(super) fn set_tickets(&self, index: usize, first: u64, last: u64) {
        let extent = &self.extents[index];
        extent.first.store(first, EXTENT);
        extent.last.store(last, EXTENT);
    }

    pub(super) fn reserved(&self, index: usize) -> u64 {
        self.extents[index].reserved.load(EXTENT)
    }

    pub(super) fn set_reserved(&self, index: usize, bytes: u64) {
        self.extents[index].reserved.store(bytes, EXTENT);
    }

    /// The entries of the pool.
    pub(super) fn pool(&self) -> impl Iterator<Item = &Word> {
        self.control.pool.iter().take(self.room.keep)
    }

    /// The block that an entry of the pool names, if it may still be free, or soon. (A block that was
    /// found in another way leaves its entry behind.)
    pub(super) fn pooled(&self, entry: u64) -> Option<usize> {
        let index = usize::try_from(entry.checked_sub(1)?).ok()?;
        let known = index < self.described();
        let soon = known && matches!(self.state(index), State::Free | State::Held { .. });
        soon.then_some(index)
    }

    pub(super) fn is_pooled(&self, index: usize) -> bool {
        self.pool().any(|entry| entry.load(HINTED) == index as u64 + 1)
    }

    /// Where to look first for a block.
    pub(super) fn cursor(&self) -> usize {
        self.control.cursor.load(HINT) as usize
    }

    pub(super) fn set_cursor(&self, index: usize) {
        self.control.cursor.store(index as u64, HINT);
    }
}

#[cfg(test)]
mod tests {
    use super::{Block, State};

    #[test]
    fn states_and_names_survive_packing() {
        let states = [
            State::Hole,
            State::Free,
            State::Held { line: 0 },
            State::Held { line: 4095 },
            State::Closed { last: 1 },
            State::Closed { last: 1 << 61 },
        ];
        for state in states {
            assert_eq!(State::unpack(state.pack()), state);
        }
        let block = Block { class: 12, index: (1 << 32) - 1 };
        assert_eq!(Block::unpack(block.pack()), block);
    }
}
