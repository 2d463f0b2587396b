//! What a consumer gives back behind itself.

use super::super::shared::Shared;
use crate::registry::Seat;
use crate::wait::clock::cycles;

/// What a consumer has left behind, and may have to look after.
#[derive(Debug, Default)]
pub(super) struct Trail {
    /// The segment that we left and that was not quite over then.
    pub(super) segment: Option<u64>,
    /// We have given back blocks of which many may keep their memory.
    pub(super) large: bool,
    /// When the queue was first found empty after that, in cycles; 0 if it was not.
    pub(super) empty_since: u64,
}

/// So many cycles, some milliseconds, a queue is found empty before memory is given back that the next
/// messages would need again.
const EMPTY: u64 = 1 << 23;

impl Trail {
    /// Is there nothing to look after?
    pub(super) fn is_clear(&self) -> bool {
        !self.large && self.segment.is_none()
    }

    /// We have left `segment`, if that is one; or there is nothing to do.
    #[cold]
    pub(super) fn follow(&mut self, shared: &Shared, seat: &Seat<'_>, segment: Option<u64>) {
        let (Some(segments), Some(arena)) = (shared.segments(), shared.arena()) else { return };
        let over = |segment: &u64| segments.leave(arena, *segment, seat.at());
        self.segment = self.segment.take().filter(|before| !over(before));
        // Two of them: one is left to whoever looks for a block.
        self.segment = segment.filter(|left| !over(left)).or(self.segment);
    }

    /// The queue is empty.
    #[cold]
    pub(super) fn rest(&mut self, shared: &Shared, seat: &Seat<'_>) {
        self.follow(shared, seat, None);
        if self.empty_since == 0 {
            self.empty_since = cycles();
        } else if self.large && cycles().wrapping_sub(self.empty_since) > EMPTY {
            self.trim(shared, seat);
        }
    }

    /// Nothing is on its way.
    #[cold]
    pub(super) fn trim(&mut self, shared: &Shared, seat: &Seat<'_>) {
        if let Some(arena) = shared.arena().filter(|_| self.large) {
            arena.trim(seat.at());
        }
        self.large = false;
    }
}
