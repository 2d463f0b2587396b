//! Who looks for the dead, and how often.
//!
//! Slots that rest make every operation look at marks. Mostly their writers are slow or stopped, and
//! come back to release them; some are dead. To tell costs system calls, so a participant asks after
//! some slow operations, then after twice as many, and so on: a writer that stays stopped costs the
//! others nearly nothing, a dead one is found soon.
//!
//! Where the queue ends with its producers, a consumer that finds it empty asks after them, now and then.

use super::shared::Shared;
use crate::ring::Attention;
use crate::wait::clock::cycles;

/// Slow operations before the first look.
const FIRST: u32 = 64;
/// The most slow operations between two looks.
const MOST: u32 = 1 << 16;

/// So many cycles, some ten milliseconds, between two looks for producers.
const PRODUCERS: u64 = 1 << 25;

#[derive(Debug)]
pub(super) struct Vigil {
    left: u32,
    interval: u32,
    /// When producers were last looked for, in cycles.
    producers_at: u64,
}

impl Vigil {
    pub(super) fn new() -> Self {
        Self { left: FIRST, interval: FIRST, producers_at: 0 }
    }

    /// After the queue was found empty: looks whether all producers have died, if that matters and it is
    /// time to.
    pub(super) fn keep_producers(&mut self, shared: &Shared) {
        if !shared.request().ends_with_producers {
            return;
        }
        let now = cycles();
        if now.wrapping_sub(self.producers_at) > PRODUCERS {
            self.producers_at = now;
            shared.end_if_producers_died();
        }
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
