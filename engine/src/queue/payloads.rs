//! Messages that do not fit a slot, on their way in: where they are laid before they are put.

use std::ptr::NonNull;

use super::shared::Shared;
use crate::arena::{Arena, Block, Limit, NoMemory, PAYLOADS};
use crate::error::PushError;
use crate::layout::geometry::COLLECTED;
use crate::registry::Seat;
use crate::ring::Reference;

/// Up to this many bytes, messages are collected in one block.
const SMALL_MAX: usize = COLLECTED / 4;
/// Payloads begin at multiples of it.
const ALIGN: usize = 16;

/// The block in which a producer collects its small payloads.
#[derive(Debug, Default)]
pub(super) struct Payloads {
    open: Option<(Block, usize)>,
    /// How many were placed, and neither put nor abandoned: loans that were forgotten.
    placed: usize,
}

/// Memory for one message.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) block: Block,
    pub(super) offset: usize,
    pub(super) len: usize,
    pub(super) memory: NonNull<u8>,
}

// SAFETY: an address in a segment that the handle keeps mapped; nobody else is given it.
unsafe impl Send for Place {}

impl Place {
    pub(super) fn reference(&self) -> Reference {
        let [len, offset] = [self.len as u64, self.offset as u64];
        Reference { len, block: self.block.pack(), offset }
    }
}

impl Payloads {
    /// Memory for `len` bytes. It is ours until it is put or returned, and nobody waits for that.
    pub(super) fn place(
        &mut self,
        shared: &Shared,
        seat: &Seat<'_>,
        len: usize,
    ) -> Result<Place, PushError> {
        let (block, offset) = self.find(shared, seat, len)?;
        let memory = shared.payload(block, offset as u64, len as u64);
        let memory = memory.ok_or(PushError::Corrupt)?;
        self.placed += 1;
        Ok(Place { block, offset, len, memory })
    }

    fn find(
        &mut self,
        shared: &Shared,
        seat: &Seat<'_>,
        len: usize,
    ) -> Result<(Block, usize), PushError> {
        let max = shared.request().message_max;
        let arena = shared.arena().ok_or(PushError::TooLarge { len, max })?;
        if len > SMALL_MAX {
            // No longer than `max`, but longer than any block: `max_bytes` allows none as large.
            let lacks = PushError::NoMemory { needed: len as u64, limit: Limit::MaxBytes };
            let class = arena.class_for(len).ok_or(lacks)?;
            return Ok((claim(shared, arena, seat, class, len)?, 0));
        }
        if let Some((block, used)) = self.open {
            if used + len <= COLLECTED {
                return Ok((block, used));
            }
            self.open = None;
            if !arena.close(block, seat.at()) {
                // All of it has been read.
                arena.clear(block);
                self.open = Some((block, 0));
                return Ok((block, 0));
            }
        }
        let block = claim(shared, arena, seat, PAYLOADS, COLLECTED)?;
        self.open = Some((block, 0));
        Ok((block, 0))
    }

    /// The message in `place` has been put.
    pub(super) fn put(&mut self, shared: &Shared, seat: &Seat<'_>, place: Place) {
        self.placed -= 1;
        match &mut self.open {
            Some((block, used)) if *block == place.block => {
                *used = (place.offset + place.len).next_multiple_of(ALIGN);
            }
            _ => retire(shared, seat, place.block),
        }
    }

    /// It has not, and will not be.
    pub(super) fn abandon(&mut self, shared: &Shared, seat: &Seat<'_>, place: Place) {
        self.placed -= 1;
        // What is collected is simply laid over the next time.
        if self.open.is_none_or(|(block, _)| block != place.block) {
            retire(shared, seat, place.block);
        }
    }

    /// The producer leaves.
    pub(super) fn close(&mut self, shared: &Shared, seat: &Seat<'_>) {
        if let Some((block, _)) = self.open.take() {
            retire(shared, seat, block);
        }
        if let Some(arena) = shared.arena().filter(|_| self.placed > 0) {
            // As from a dead participant.
            arena.inherit(seat.at());
        }
    }
}

/// Closes a block that gets no more messages, or gives it back if nobody needs it.
fn retire(shared: &Shared, seat: &Seat<'_>, block: Block) {
    let Some(arena) = shared.arena() else { return };
    if !arena.close(block, seat.at()) {
        arena.give_back(block, seat.at());
    }
}

/// Claims a block; if there is no memory, after a look for what the dead have left, or nobody needs.
fn claim(
    shared: &Shared,
    arena: &Arena<'_>,
    seat: &Seat<'_>,
    class: usize,
    bytes: usize,
) -> Result<Block, PushError> {
    relieved(shared, seat, || arena.claim(class, bytes, seat.at()))
}

/// Tries again once, having given back what can be.
pub(super) fn relieved<R>(
    shared: &Shared,
    seat: &Seat<'_>,
    attempt: impl Fn() -> Result<R, NoMemory>,
) -> Result<R, PushError> {
    attempt().or_else(|_| {
        shared.relieve(seat.at());
        attempt().map_err(|NoMemory { needed, limit }| PushError::NoMemory { needed, limit })
    })
}
