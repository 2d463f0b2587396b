//! Marks and the attention word: the two packed words of the protocol.

/// What has been decided about a slot, and for which ticket.
///
/// A mark only ever grows, ticket first, then state: every change is a CAS from the value seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Marked {
    pub(crate) ticket: u64,
    pub(crate) state: State,
}

/// The states of a mark. `Passed` is the only one in which the slot must not be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// Nobody has decided anything.
    Unset = 0,
    /// Somebody wants this ticket passed over; its publisher or taker may still refuse.
    Requested = 1,
    /// Refused: the ticket was published in time.
    Kept = 2,
    /// This ticket, and those of earlier laps since the period's base, were passed over; one of
    /// their writers may still store into the slot.
    Passed = 3,
    /// As `Passed` for the ticket, but all those writers are done: later tickets may use the slot.
    Released = 4,
}

impl Marked {
    /// `{ticket, state}` as `ticket << 3 | state`: tickets stay below 2^61.
    pub(crate) const fn pack(self) -> u64 {
        self.ticket << 3 | self.state as u64
    }

    /// The reverse; bits that no participant writes count as [`State::Unset`].
    pub(crate) const fn unpack(word: u64) -> Self {
        let state = match word & 7 {
            1 => State::Requested,
            2 => State::Kept,
            3 => State::Passed,
            4 => State::Released,
            _ => State::Unset,
        };
        Self { ticket: word >> 3, state }
    }

    /// Was the ticket passed over (whether or not the slot is usable again)?
    pub(crate) const fn is_over(self) -> bool {
        matches!(self.state, State::Passed | State::Released)
    }
}

/// The attention word `{version, shut, room wanted, items wanted, skips}` as `version << 4 | bits`, as
/// somebody saw it: zero bits mean that nobody need look any further.
///
/// A raise always moves the version on, so a clearing CAS from an older value fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attention(pub(crate) u64);

impl Attention {
    /// Some mark may concern somebody: look at it.
    pub(crate) const SKIPS: u64 = 1;
    /// Consumers are parked, or about to be.
    pub(crate) const ITEMS_WANTED: u64 = 2;
    /// Producers are parked, or about to be.
    pub(crate) const ROOM_WANTED: u64 = 4;
    /// The queue has been shut down. Never cleared.
    pub(crate) const SHUT: u64 = 8;

    /// What may be to be seen to after a put.
    pub(crate) const AFTER_PUT: u64 = Self::SKIPS | Self::SHUT | Self::ITEMS_WANTED;
    /// And after a take.
    pub(crate) const AFTER_TAKE: u64 = Self::SKIPS | Self::ROOM_WANTED;

    /// Any of these.
    pub(crate) const ANYTHING: u64 = Self::VERSION - 1;

    /// Nothing to look at.
    pub(crate) const NOTHING: Self = Self(0);

    const VERSION: u64 = 16;

    /// Is any of `bits` set?
    #[inline(always)]
    pub(crate) const fn has(self, bits: u64) -> bool {
        self.0 & bits != 0
    }

    /// The next version, with `bit` set.
    pub(crate) const fn raised(self, bit: u64) -> Self {
        Self(self.0.wrapping_add(Self::VERSION) | bit)
    }

    /// The same version, with `bit` clear.
    pub(crate) const fn without(self, bit: u64) -> Self {
        Self(self.0 & !bit)
    }
}

#[cfg(test)]
mod tests {
    use super::{Marked, State};

    #[test]
    fn every_mark_survives_packing_and_grows() {
        let states = [State::Unset, State::Requested, State::Kept, State::Passed, State::Released];
        let mut last = None;
        for ticket in [0, 1, 77, (1 << 61) - 1] {
            for state in states {
                let word = Marked { ticket, state }.pack();
                assert_eq!(Marked::unpack(word), Marked { ticket, state });
                assert!(last < Some(word));
                last = Some(word);
            }
        }
    }
}
