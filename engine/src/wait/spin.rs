//! How long to look before sleeping, and before passing over.

use std::thread;

use super::clock::{Deadline, cycles};

/// Cycles between two looks at a line that somebody else is about to write: looking more often
/// takes the line from them.
pub(crate) const PAUSE: u64 = 60;
/// The most cycles between two looks at `head` by a producer that found the queue full.
const ROOM_PAUSE_MAX: u64 = 3_000;
/// Cycles of looking before the CPU is offered to others.
const SPIN: u64 = 6_000;
/// How often the CPU is offered before sleeping.
const YIELDS: u32 = 20;

/// After so many spins in vain in a row, only one in so many waits spins.
const VAIN_MAX: u32 = 8;

/// Looks for a while before its owner parks.
///
/// Whoever we wait for may share our CPU, and then spinning only delays them: after some spins in
/// vain we offer the CPU at once, and try a spin again now and then.
#[derive(Debug, Default)]
pub(crate) struct Spin {
    vain: u32,
}

impl Spin {
    /// Looks every `pause` cycles until `found`, for some microseconds, if that is worth it.
    pub(super) fn look(&mut self, pause: u64, found: impl Fn() -> bool) {
        let try_it = self.vain < VAIN_MAX || self.vain.is_multiple_of(VAIN_MAX);
        let found = try_it && look(SPIN, pause, &found);
        self.vain = if found { 0 } else { self.vain.wrapping_add(1) };
    }

    /// Offers the CPU a few times, until `found` or the deadline. Was it found?
    pub(super) fn offer(deadline: Deadline, found: impl Fn() -> bool) -> bool {
        for _ in 0..YIELDS {
            thread::yield_now();
            if found() {
                return true;
            }
            if deadline.is_over() {
                return false;
            }
        }
        false
    }
}

/// The most cycles that a put in progress is waited for at first.
const LEAST_MAX: u64 = 1 << 20;
/// How often that doubles.
const DOUBLINGS_MAX: u32 = 8;

/// How long a put in progress is waited for before it is passed over.
///
/// A bounded number of own steps. It doubles with every ticket passed over in a row, so that a
/// producer that is alive but slower than expected gets through.
#[derive(Debug)]
pub(crate) struct Patience {
    least: u64,
    in_a_row: u32,
}

impl Patience {
    /// Some four times what copying such a message takes; for the largest less, and they rely on
    /// the doubling.
    pub(crate) fn for_messages_of(bytes: usize) -> Self {
        Self { least: (3_000 + 4 * bytes as u64).min(LEAST_MAX), in_a_row: 0 }
    }

    /// Looks until `found`, or patience ends. Was it found?
    pub(crate) fn until(&mut self, found: impl Fn() -> bool) -> bool {
        let found = look(self.least << self.in_a_row, PAUSE, &found);
        self.in_a_row = if found { 0 } else { (self.in_a_row + 1).min(DOUBLINGS_MAX) };
        found
    }
}

/// How long a producer leaves `head` alone between two looks.
///
/// A queue stays full while producers are faster. Were each to take the first place it sees, it
/// would ask for `head` once a message, and take its line from the consumers each time. So they get
/// the time to make some eighth of the places free; with few places, hardly any.
pub(crate) fn pause_for_room(capacity: u64) -> u64 {
    capacity.saturating_mul(4).clamp(PAUSE, ROOM_PAUSE_MAX)
}

/// Looks for so many cycles, every `pause` of them: at once first, unless pauses are long.
fn look(patience: u64, pause: u64, found: &impl Fn() -> bool) -> bool {
    let start = cycles();
    if pause > PAUSE {
        rest(pause);
    }
    loop {
        if found() {
            return true;
        }
        if cycles().wrapping_sub(start) > patience {
            return false;
        }
        rest(pause);
    }
}

fn rest(pause: u64) {
    let start = cycles();
    while cycles().wrapping_sub(start) < pause {
        core::hint::spin_loop();
    }
}
