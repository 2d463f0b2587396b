//! Keeping a distance from whoever puts.
//!
//! Who takes each message at the moment it is published meets its producer at every cache line: it takes
//! the line while the next words are written to it, and, as CPUs read ahead, the next lines too, which the
//! producer has just asked for. Both then wait for lines, one at a time. Some dozens of slots behind, neither
//! sees the other, and each has many lines on their way at once. So who takes from a stream waits until so
//! many messages are there, takes them all, and waits again.
//!
//! It costs a message of a stream some microseconds, of long ones some tens of them, and only as long as others
//! follow it quickly: the wait is over when they do not, and comes seldomer then.

use super::clock::cycles;
use super::spin::rest;
use crate::ring::payload::LINE;

/// So many messages between consumer and producer are a distance; twice as many, if two share a line.
const FAR_MAX: u64 = 64;
/// The first of them that are waited for, then twice as many, and so on.
const FIRST: u64 = 8;
/// Takes from one look at the distance to the next where there is none.
const EVERY: u64 = 32;
/// A distance is at most so many cache lines.
const LINES_MAX: u64 = 8192;
/// Messages that follow each other more slowly are no stream: cycles for each, and for each of its lines.
const PACE: u64 = 250;
const PACE_OF_LINE: u64 = 50;
/// Of no more of its lines.
const PACE_LINES_MAX: u64 = 16;
/// How often the interval is doubled when messages were waited for that did not come.
const DOUBLINGS_MAX: u32 = 6;
/// Cycles between two looks at a slot that is about to be written.
const PAUSE: u64 = 200;
/// With fewer places there is no room for a distance.
const PLACES_MIN: u64 = 128;

/// How far a consumer is behind, as it finds out now and then.
#[derive(Debug)]
pub(crate) struct Distance {
    far: u64,
    pace: u64,
    /// Takes from the last look to the next, and how many of them are left; below 0, it is time to look.
    period: u64,
    left: i64,
    /// When that began, in cycles.
    since: u64,
    /// So often in a row, what was waited for did not come.
    vain: u32,
}

impl Distance {
    /// For a queue of so many places, with slots of so many words.
    pub(crate) fn of(capacity: u64, stride: usize) -> Self {
        let lines = stride.div_ceil(LINE) as u64;
        let far = if stride < LINE { 2 * FAR_MAX } else { FAR_MAX };
        let far = far.min(LINES_MAX / lines).min(capacity / 2);
        let is_worth_it = capacity >= PLACES_MIN && far >= FIRST;
        Self {
            far: if is_worth_it { 1 << far.ilog2() } else { 0 },
            pace: PACE + PACE_OF_LINE * lines.min(PACE_LINES_MAX),
            period: EVERY,
            left: EVERY as i64,
            since: cycles(),
            vain: 0,
        }
    }

    /// Before a take: is it time to look?
    #[inline(always)]
    pub(crate) fn is_due(&mut self) -> bool {
        self.left -= 1;
        self.left < 0
    }

    /// That take was of so many more.
    pub(crate) fn took_more(&mut self, messages: usize) {
        self.left = self.left.saturating_sub_unsigned(messages as u64);
    }

    /// Not this time.
    pub(crate) fn put_off(&mut self) {
        self.left = self.period as i64;
    }

    /// Looks, and in a stream waits until it is far enough. `is_there`: is the message so many places after
    /// the next one published?
    #[cold]
    pub(crate) fn keep(&mut self, is_there: impl Fn(u64) -> bool) {
        self.keep_by(cycles, is_there);
    }

    fn keep_by(&mut self, now: impl Fn() -> u64, is_there: impl Fn(u64) -> bool) {
        let streams = now().wrapping_sub(self.since) < self.period * self.pace;
        let mut is_far = self.far > 0 && is_there(self.far - 1);
        if self.far > 0 && !is_far && streams {
            is_far = self.fall_back(&now, is_there);
            self.vain = if is_far { 0 } else { (self.vain + 1).min(DOUBLINGS_MAX) };
        }
        self.period = if is_far { self.far } else { EVERY << self.vain };
        self.put_off();
        self.since = now();
    }

    /// Waits until it is far, or the stream has ended. Is it far?
    fn fall_back(&self, now: impl Fn() -> u64, is_there: impl Fn(u64) -> bool) -> bool {
        let (mut had, mut next) = (0, FIRST);
        let mut since = now();
        while next <= self.far {
            if is_there(next - 1) {
                (had, next) = (next, 2 * next);
                since = now();
            } else if now().wrapping_sub(since) > (next - had) * self.pace {
                return false;
            } else {
                rest(PAUSE);
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    /// How often it is asked how far it is in so many takes, of one at a time.
    fn looks(distance: &mut Distance, takes: u64) -> usize {
        (0..takes).filter(|_| distance.is_due()).count()
    }

    #[test]
    fn it_looks_once_in_a_while() {
        let mut distance = Distance::of(1024, LINE);
        assert_eq!(looks(&mut distance, EVERY), 0);
        assert_eq!(looks(&mut distance, 1), 1);
        distance.keep(|_| true);
        assert_eq!(looks(&mut distance, FAR_MAX), 0);
        distance.keep(|_| true);
        assert!(!distance.is_due());
        distance.took_more(FAR_MAX as usize);
        assert!(distance.is_due());
    }

    #[test]
    fn who_takes_from_a_stream_falls_back_until_it_is_far() {
        let mut distance = Distance { since: 0, ..Distance::of(1024, LINE) };
        // One more message is there at each look, and no time passes.
        let looks = Cell::new(0);
        distance.keep_by(|| 0, |by| looks.replace(looks.get() + 1) > by);
        assert_eq!(distance.period, FAR_MAX);
        assert!(looks.get() > FAR_MAX);
    }

    #[test]
    fn it_waits_only_while_messages_follow_each_other_quickly() {
        let mut distance = Distance { since: 0, ..Distance::of(1024, LINE) };
        let now = Cell::new(0);
        let clock = || now.replace(now.get() + PACE);
        distance.keep_by(clock, |by| by < FIRST);
        assert!(now.get() < 3 * FIRST * distance.pace, "it gives up in {} cycles", now.get());
        assert_eq!(distance.period, 2 * EVERY, "and waits seldomer");
        // So many takes have taken longer than those of a stream.
        let looks = Cell::new(0);
        let later = distance.since + distance.period * distance.pace;
        distance.keep_by(|| later, |_| looks.replace(looks.get() + 1) > 0);
        assert_eq!((distance.period, looks.get()), (2 * EVERY, 1));
        distance.since = later;
        distance.keep_by(|| later, |by| by == FIRST - 1 || looks.replace(looks.get() + 1) > 2);
        assert_eq!((distance.period, distance.vain), (FAR_MAX, 0));
    }

    #[test]
    fn where_there_are_few_places_or_large_ones_it_does_not_look() {
        for (capacity, stride) in [(PLACES_MIN - 1, 1), (1024, LINES_MAX as usize * LINE)] {
            Distance::of(capacity, stride).keep(|_| panic!("there is no distance to keep"));
        }
    }
}
