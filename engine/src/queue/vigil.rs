//! Who looks for the dead, and how often.
//!
//! Slots that rest make every operation look at marks. Mostly their writers are slow or stopped, and
//! come back to release them; some are dead. To tell costs system calls, so a participant asks after
//! some slow operations, then after twice as many, and so on: a writer that stays stopped costs the
//! others nearly nothing, a dead one is found soon.

use super::shared::Shared;
use crate::ring::Attention;

/// Slow operations before the first look.
const FIRST: u32 = 64;
/// The most slow operations between two looks.
const MOST: u32 = 1 << 16;

#[derive(Debug)]
pub(super) struct Vigil {
    left: u32,
    interval: u32,
}

impl Vigil {
    pub(super) fn new() -> Self {
        Self { left: FIRST, interval: FIRST }
    }

    /// After an operation that saw `attention`: looks for the dead if it is time to.
    pub(super) fn keep(&mut self, shared: &Shared, attention: Attention) {
        if !attention.has(Attention::SKIPS) {
            return;
        }
        self.left -= 1;
        if self.left > 0 {
            return;
        }
        let found = shared.recover_announced();
        self.interval = if found { FIRST } else { (self.interval * 2).min(MOST) };
        self.left = self.interval;
    }
}
