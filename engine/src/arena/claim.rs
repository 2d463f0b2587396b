//! Blocks change hands.

use core::ops::Range;

use super::blocks::{Block, Class, State};
use super::{Arena, Limit, NoMemory, PAYLOADS, SEGMENTS};
use crate::order::{HINT, HINTED, LOST, SCAN};
use crate::sync::{fence, step};

impl Arena<'_> {
    /// A block of `class` with memory for `bytes`, held by the occupant of `line`, who must call.
    pub fn claim(&self, class: usize, bytes: usize, line: usize) -> Result<Block, NoMemory> {
        let lacking = NoMemory { needed: bytes as u64, limit: Limit::Blocks };
        let rooms = self.classes.get(class).filter(|of| bytes <= of.room.bytes).ok_or(lacking)?;
        let pooled = self.take_pooled(rooms, line);
        let index = match pooled {
            Some(index) => index,
            None => self.search_all(class, line)?.ok_or(lacking)?,
        };
        let block = Block { class, index };
        let reserved = rooms.reserved(index);
        if reserved < bytes as u64 {
            let at = rooms.room.blocks_at + index * rooms.room.bytes;
            if let Err(lacking) = self.ground.reserve(at, bytes) {
                self.punch(block, line);
                return Err(lacking);
            }
            rooms.set_reserved(index, bytes as u64);
        }
        self.clear(block);
        Ok(block)
    }

    /// A free block with memory.
    fn take_pooled(&self, class: &Class<'_>, line: usize) -> Option<usize> {
        self.take_from(class, 0, line)
    }

    /// The same, not from the first entries of the pool.
    fn take_from(&self, class: &Class<'_>, skip: usize, line: usize) -> Option<usize> {
        class.pool().skip(skip).find_map(|entry| {
            let seen = entry.load(HINTED);
            let index = class.pooled(seen)?;
            let ours = class.change(index, State::Free, State::Held { line });
            if ours {
                _ = entry.compare_exchange(seen, 0, HINT, LOST);
            }
            ours.then_some(index)
        })
    }

    /// Any block of `within` that is free, or has become so.
    fn search(&self, at: usize, mut within: Range<usize>, line: usize) -> Option<usize> {
        let class = &self.classes[at];
        let found = within.find(|&index| match class.state(index) {
            free @ (State::Hole | State::Free) => class.change(index, free, State::Held { line }),
            State::Closed { .. } => self.reclaim(Block { class: at, index }, line),
            State::Held { .. } => false,
        })?;
        class.set_cursor(found + 1);
        Some(found)
    }

    /// From the cursor on; of those that were never used; at last, of all.
    fn search_all(&self, at: usize, line: usize) -> Result<Option<usize>, NoMemory> {
        let class = &self.classes[at];
        let mut from = class.cursor();
        loop {
            let described = class.described();
            let found = self.search(at, from.min(described)..described, line);
            if found.is_some() {
                return Ok(found);
            }
            from = described;
            if !class.describe(self.ground)? {
                // By now: others may have described the last ones.
                return Ok(self.search(at, 0..class.described(), line));
            }
        }
    }

    /// Takes a closed block that nobody needs any more. False: it is not one.
    fn reclaim(&self, block: Block, line: usize) -> bool {
        let class = &self.classes[block.class];
        let State::Closed { last } = class.state(block.index) else { return false };
        // `last` is 1 + the ticket, so this is: `head` is beyond it.
        if self.head() < last {
            return false;
        }
        if self.is_busy(block, last) && step("busy") {
            return false;
        }
        class.change(block.index, State::Closed { last }, State::Held { line })
    }

    /// Does a participant still write or read there?
    fn is_busy(&self, block: Block, last: u64) -> bool {
        if block.class != SEGMENTS {
            let named = block.pack();
            return self.lines.iter().any(|line| line.holds(named));
        }
        let (first, _) = self.classes[SEGMENTS].tickets(block.index);
        self.lines.iter().any(|line| line.announces_in(first, last))
    }

    /// A held block will get, or has, messages for `ticket`, which is about to be published.
    pub fn cover(&self, block: Block, ticket: u64) {
        let class = &self.classes[block.class];
        let (first, _) = class.tickets(block.index);
        let first = if first == 0 { ticket + 1 } else { first };
        class.set_tickets(block.index, first, ticket + 1);
    }

    /// Forgets what a held block was used for before.
    pub fn clear(&self, block: Block) {
        self.classes[block.class].set_tickets(block.index, 0, 0);
    }

    /// The holder puts nothing more into it. False: nobody needs it any more as it is, and it is still
    /// held.
    pub fn close(&self, block: Block, line: usize) -> bool {
        let class = &self.classes[block.class];
        let (_, last) = class.tickets(block.index);
        let held = State::Held { line };
        if last == 0 || !class.change(block.index, held, State::Closed { last }) {
            return false;
        }
        // Whoever has read the last message may have looked before it was closed.
        fence::full();
        !self.reclaim(block, line)
    }

    /// By who has let go of `block`, or left it: gives it back if that was the last thing in it. False:
    /// it is still closed, and somebody is busy there.
    pub fn done_with(&self, block: Block, line: usize) -> bool {
        let Some(class) = self.classes.get(block.class) else { return true };
        // Only a hostile reference names another.
        if block.index >= class.described() {
            return true;
        }
        // We let go of it; now who else does, and is it closed?
        fence::full();
        let (ours, over) = match class.state(block.index) {
            State::Closed { last } => (self.reclaim(block, line), self.head() >= last),
            // It could not give its memory back while we looked at it.
            State::Free if !class.is_pooled(block.index) => {
                (class.change(block.index, State::Free, State::Held { line }), true)
            }
            _ => return true,
        };
        if ours {
            self.give_back(block, line);
        }
        ours || !over
    }

    /// A held block is free again: it keeps its memory if few do, or gives it back.
    pub fn give_back(&self, block: Block, line: usize) {
        let class = &self.classes[block.class];
        let named = block.index as u64 + 1;
        // The entry first: whoever takes the block from there finds it free, or passes by.
        let kept = class.pool().any(|entry| {
            let seen = entry.load(HINTED);
            let vacant = class.pooled(seen).is_none();
            vacant && entry.compare_exchange(seen, named, HINT, LOST).is_ok()
        });
        if kept {
            class.change(block.index, State::Held { line }, State::Free);
        } else {
            self.punch(block, line);
        }
    }

    /// A held block gives its memory back; but not a segment that a consumer still looks at.
    fn punch(&self, block: Block, line: usize) {
        let Block { class: of, index } = block;
        if of == SEGMENTS && self.stays_pinned(index, line) {
            return;
        }
        let class = &self.classes[of];
        class.set_reserved(index, 0);
        self.ground.release(class.room.blocks_at + index * class.room.bytes, class.room.bytes);
        class.change(index, State::Held { line }, State::Hole);
        lower_cursor(class, index);
    }

    /// Does a consumer look at that segment, which we hold? Then it is free, and keeps its memory, until
    /// that one leaves it.
    fn stays_pinned(&self, index: usize, line: usize) -> bool {
        let (class, held) = (&self.classes[SEGMENTS], State::Held { line });
        loop {
            // Pairs with the light fence in Segments::enter: our claim of the block before their pins.
            let refused = fence::heavy(self.fences).is_err();
            if !refused && !self.is_pinned(index) {
                return false;
            }
            class.change(index, held, State::Free);
            lower_cursor(class, index);
            // It may have left before it was free.
            fence::full();
            if refused || self.is_pinned(index) || !class.change(index, State::Free, held) {
                return true;
            }
        }
    }

    /// Does a consumer look at that segment? It may be about to copy a message that is not there any
    /// more, which it will notice; but it must find memory.
    fn is_pinned(&self, index: usize) -> bool {
        self.lines.iter().any(|line| line.pin.load(SCAN) == index as u64 + 1)
    }

    /// By who has inherited line `dead`: what its last occupant held is closed, or given back.
    pub fn inherit(&self, dead: usize) {
        let held = State::Held { line: dead };
        for (at, class) in self.classes.iter().enumerate() {
            for index in (0..class.described()).filter(|&index| class.state(index) == held) {
                let (_, last) = class.tickets(index);
                if last == 0 {
                    self.punch(Block { class: at, index }, dead);
                } else {
                    class.change(index, held, State::Closed { last });
                }
            }
        }
    }

    /// Looks through all blocks: gives back what nobody needs and nobody saw. `line` must be the
    /// caller's. Says how many blocks that were.
    pub fn sweep(&self, line: usize) -> usize {
        let over = |at: usize, class: &Class<'_>, index: usize| match class.state(index) {
            State::Closed { .. } => self.reclaim(Block { class: at, index }, line),
            State::Free if !class.is_pooled(index) => {
                class.change(index, State::Free, State::Held { line })
            }
            _ => false,
        };
        let mut found = 0;
        for (at, class) in self.classes.iter().enumerate() {
            for index in 0..class.described() {
                if over(at, class, index) {
                    self.give_back(Block { class: at, index }, line);
                    found += 1;
                }
            }
        }
        found
    }

    /// Gives back what is kept of the large classes, but for a little: nothing is in the queue now.
    pub fn trim(&self, line: usize) {
        for (at, class) in self.classes.iter().enumerate().skip(PAYLOADS + 1) {
            while let Some(index) = self.take_from(class, class.room.keep_idle, line) {
                self.punch(Block { class: at, index }, line);
            }
        }
    }

    /// Gives back also what is kept for later.
    pub fn empty_pools(&self, line: usize) {
        for (at, class) in self.classes.iter().enumerate() {
            while let Some(index) = self.take_pooled(class, line) {
                self.punch(Block { class: at, index }, line);
            }
        }
    }
}

fn lower_cursor(class: &Class<'_>, index: usize) {
    if index < class.cursor() {
        class.set_cursor(index);
    }
}
