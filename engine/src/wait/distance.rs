//! Keeping a distance from whoever puts, and asking for the lines in between.
//!
//! Who takes each message at the moment it is published meets its producer at every cache line: it takes
//! the line while the next words are written to it, and, as CPUs read ahead, the next lines too, which the
//! producer is about to write. Both then wait for lines, one at a time. Some dozens of slots behind, neither
//! sees the other, and each has many lines on their way at once. So who takes from a stream waits until so
//! many messages are there, takes them all, and waits again.
//!
//! What is known to be there is asked for, some lines at once, as if the consumer were to write it. Merely read,
//! a line would stay with its producer, too, who a lap later must have the consumer's copy thrown away before it
//! can write; and that takes several times as long as to get the line from a consumer who alone has it.
//!
//! Where lines are prefetched instead (Intel's CPUs), a block of them is on its way while the one before is taken.
//!
//! It costs a message of a stream some microseconds, at most some ten, of long ones some tens of them, and only as
//! long as others follow it quickly: the wait is over when they do not, and comes seldomer then.

use std::ops::Range;

use super::clock::cycles;
use super::spin::rest;
use crate::ring::Asking;
use crate::ring::payload::{LINE, has_spare};

/// So many messages between consumer and producer are a distance; twice as many, if two share a line.
const FAR_MAX: u64 = 128;
/// The first of them that are waited for, then twice as many, and so on.
const FIRST: u64 = 8;
/// Takes from one look at the distance to the next where there is none.
const EVERY: u64 = 32;
/// A distance is at most so many cache lines.
const LINES_MAX: u64 = 8192;
/// So many messages are asked for at a time, twice as many if two share a line; but of long ones only as many as have
/// so many lines.
const ASKED: u64 = 16;
const ASKED_LINES: u64 = 64;
/// By prefetches, of which a CPU can have hardly more on their way.
const PREFETCHED_LINES: u64 = 16;
/// For who takes more at a time, at most so many lines: half of a cache of the first level.
const ASKED_LINES_MAX: u64 = 256;
/// Messages that follow each other more slowly are no stream: cycles for each, and for each of its lines. (As
/// slowly they come, between far CPUs, as long as the consumer is near.)
const PACE: u64 = 400;
const PACE_OF_LINE: u64 = 250;
/// Of no more of its lines.
const PACE_LINES_MAX: u64 = 16;
/// The most cycles that a consumer waits for its distance.
const LONGEST_MAX: u64 = 1 << 17;
/// How often the interval is doubled when messages were waited for that did not come.
const DOUBLINGS_MAX: u32 = 6;
/// Cycles between two looks at a slot that is about to be written, if it is one of the first.
const PAUSE: u64 = 200;
/// With fewer places there is no room for a distance.
const PLACES_MIN: u64 = 128;

/// How far a consumer is behind, as it finds out now and then.
#[derive(Debug)]
pub(crate) struct Distance {
    far: u64,
    /// Messages that are asked for at a time.
    block: u64,
    /// The most, for who takes so many at once.
    block_max: u64,
    pace: u64,
    /// Cycles that are waited at most: not as long as a slow stream needs to get so far.
    longest: u64,
    /// What comes before this ticket had been published when we last looked.
    known: u64,
    asking: Asking,
    /// By prefetches, what comes before this ticket has been asked for.
    asked: u64,
    /// Takes from the last look to the next, if it was not far.
    period: u64,
    /// Takes until there is something to do; below 0, it is time.
    left: i64,
    /// When we last looked, in cycles.
    since: u64,
    /// So often in a row, what was waited for did not come.
    vain: u32,
}

impl Distance {
    /// For a queue of so many places, with slots of so many words.
    pub(crate) fn of(capacity: u64, stride: usize, asking: Asking) -> Self {
        let lines = stride.div_ceil(LINE) as u64;
        let far = if stride < LINE { 2 * FAR_MAX } else { FAR_MAX };
        let far = far.min(LINES_MAX / lines).min(capacity / 2);
        let is_worth_it = capacity >= PLACES_MIN && far >= FIRST;
        let far = if is_worth_it { 1 << far.ilog2() } else { 0 };
        let of_lines = |lines: u64| (lines * LINE as u64 / stride as u64).max(1);
        // Of what is prefetched, two blocks at first.
        let (asked_lines, lines_max) = match asking {
            Asking::Stores => (ASKED_LINES, ASKED_LINES_MAX),
            Asking::Prefetches => (PREFETCHED_LINES, ASKED_LINES_MAX / 2),
        };
        let asked = if stride < LINE { 2 * ASKED } else { ASKED };
        Self {
            far,
            block: if has_spare(stride) { asked.min(of_lines(asked_lines)) } else { far },
            block_max: of_lines(lines_max),
            pace: PACE + PACE_OF_LINE * lines.min(PACE_LINES_MAX),
            longest: (far * stride as u64 / LINE as u64 * PACE_OF_LINE).min(LONGEST_MAX),
            known: 0,
            asking,
            asked: 0,
            period: EVERY,
            left: EVERY as i64,
            since: cycles(),
            vain: 0,
        }
    }

    /// How lines are asked for.
    pub(crate) fn asking(&self) -> Asking {
        self.asking
    }

    /// Before a take: is it time to look, or to ask?
    #[inline(always)]
    pub(crate) fn is_due(&mut self) -> bool {
        self.left -= 1;
        self.left < 0
    }

    /// That take was of so many more.
    pub(crate) fn took_more(&mut self, messages: usize) {
        self.left = self.left.saturating_sub_unsigned(messages as u64);
    }

    /// The tickets that are to be asked for, so many at least if they are there: from the head on, which is at
    /// `head`. Looks first, if need be, and in a stream waits until it is far enough, if it `may_wait`.
    /// `is_there`: has the message of that ticket been published, or the last before it that comes before `end`?
    #[cold]
    pub(crate) fn keep(
        &mut self,
        least: usize,
        may_wait: bool,
        end: u64,
        head: impl Fn() -> u64,
        is_there: impl Fn(u64) -> bool,
    ) -> Range<u64> {
        let mut first = head();
        if first >= self.known {
            self.look(cycles, first, may_wait, is_there);
            self.known = self.known.min(end);
            // While we waited, others may have taken some.
            first = head();
        }
        let most = self.known.saturating_sub(first).min(self.far);
        let count = self.block.max(self.block_max.min(least as u64)).min(most);
        if count > 0 {
            // One of them is about to be taken.
            self.left = count as i64 - 1;
        } else if self.known > 0 {
            // Others were faster, or the head is behind the end.
            self.left = self.block as i64;
        }
        if self.asking == Asking::Stores {
            return first..first + count;
        }
        // A block is on its way while the one before is taken.
        let from = self.asked.max(first);
        self.asked = first.saturating_add(2 * count).min(self.known).max(from);
        from..self.asked
    }

    fn look(
        &mut self,
        now: impl Fn() -> u64,
        first: u64,
        may_wait: bool,
        is_there: impl Fn(u64) -> bool,
    ) {
        let streams = may_wait && now().wrapping_sub(self.since) < self.period * self.pace;
        let is_there = |by| is_there(first.saturating_add(by - 1));
        let mut is_far = self.far > 0 && is_there(self.far);
        if self.far > 0 && !is_far && streams {
            is_far = self.fall_back(&now, is_there);
            self.vain = if is_far { 0 } else { (self.vain + 1).min(DOUBLINGS_MAX) };
        }
        self.known = if is_far { first.saturating_add(self.far) } else { 0 };
        self.period = if is_far { self.far } else { EVERY << self.vain };
        self.left = self.period as i64;
        self.since = now();
    }

    /// Waits until it is far, or the stream has ended. Is it far?
    fn fall_back(&self, now: impl Fn() -> u64, is_there: impl Fn(u64) -> bool) -> bool {
        let (mut had, mut next) = (0, FIRST);
        let mut since = now();
        let begun = since;
        while next <= self.far {
            if is_there(next) {
                (had, next, since) = (next, 2 * next, now());
                continue;
            }
            let time = now();
            let is_over = time.wrapping_sub(since) > (next - had) * self.pace;
            if is_over || time.wrapping_sub(begun) > self.longest {
                return false;
            }
            rest(PAUSE * (next - had) / FIRST);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    /// A distance that looked last when time began.
    fn distance() -> Distance {
        Distance { since: 0, ..Distance::of(1024, LINE, Asking::Stores) }
    }

    /// How many takes it lets pass until there is something to do.
    fn takes(distance: &mut Distance) -> usize {
        (0..).find(|_| distance.is_due()).unwrap()
    }

    #[test]
    fn it_looks_once_in_a_while_and_asks_for_what_is_there_block_by_block() {
        let mut distance = distance();
        assert_eq!(takes(&mut distance), EVERY as usize);
        let (head, block) = (Cell::new(100), ASKED);
        let asked = |distance: &mut Distance, is_there| {
            let tickets = distance.keep(0, false, u64::MAX, || head.get(), |_| is_there);
            head.set(head.get() + block);
            tickets
        };
        for from in (100..100 + FAR_MAX).step_by(ASKED as usize) {
            // It looks at the first of them only.
            assert_eq!(asked(&mut distance, from == 100), from..from + block);
            // That take, and those.
            assert_eq!(takes(&mut distance), ASKED as usize - 1);
        }
        assert!(asked(&mut distance, false).is_empty());
        assert_eq!(takes(&mut distance), EVERY as usize);
    }

    #[test]
    fn it_asks_for_no_more_than_is_there_nor_for_what_others_have_taken() {
        let mut distance = distance();
        assert_eq!(distance.keep(1000, false, u64::MAX, || 0, |_| true), 0..FAR_MAX);
        distance.took_more(FAR_MAX as usize);
        assert!(distance.is_due());
        let (end, nothing) = (FAR_MAX, |_| false);
        assert_eq!(distance.keep(20, false, u64::MAX, || end - 30, nothing), end - 30..end - 10);
        assert_eq!(distance.keep(20, false, u64::MAX, || end - 10, nothing), end - 10..end);
        // Nor for what comes behind the end.
        assert_eq!(distance.keep(20, false, end + 3, || end, |_| true), end..end + 3);
        assert!(distance.keep(20, false, end + 3, || end + 3, |_| true).is_empty());
        assert_eq!(takes(&mut distance), ASKED as usize, "it looks soon again");
        // Others take the last while it looks.
        let head = Cell::new(2 * FAR_MAX);
        let taken = distance.keep(20, false, u64::MAX, || head.replace(4 * FAR_MAX), |_| true);
        assert!(taken.is_empty());
    }

    #[test]
    fn who_prefetches_asks_for_a_block_while_the_one_before_is_taken() {
        let mut distance = Distance { since: 0, ..Distance::of(1024, LINE, Asking::Prefetches) };
        let head = Cell::new(100);
        let mut asked = |is_there| {
            let tickets = distance.keep(0, false, u64::MAX, || head.get(), |_| is_there);
            head.set(head.get() + ASKED);
            tickets
        };
        let end = 100 + FAR_MAX;
        assert_eq!(asked(true), 100..100 + 2 * ASKED);
        for from in (100 + 2 * ASKED..end).step_by(ASKED as usize) {
            assert_eq!(asked(false), from..from + ASKED);
        }
        // All that is known to be there is on its way.
        assert!(asked(false).is_empty());
        // Others have taken what it asked for, and more.
        head.set(end + 1000);
        assert_eq!(asked(true), end + 1000..end + 1000 + 2 * ASKED);
    }

    #[test]
    fn a_head_that_nobody_writes_is_no_harm() {
        let mut distance = distance();
        assert_eq!(distance.keep(1, true, u64::MAX, || u64::MAX, |_| true), u64::MAX..u64::MAX);
        let found = distance.keep(1, false, u64::MAX, || (1 << 63) - FAR_MAX, |_| true);
        assert_eq!(found.end - found.start, ASKED);
        assert_eq!(distance.keep(usize::MAX, false, u64::MAX, || 0, |_| true), 0..FAR_MAX);
        assert!(takes(&mut distance) < FAR_MAX as usize, "it looks again");
        // Of 8 lines each.
        let mut distance = Distance::of(1024, 8 * LINE, Asking::Stores);
        let found = distance.keep(usize::MAX, false, u64::MAX, || 0, |_| true);
        assert_eq!(found, 0..ASKED_LINES_MAX / 8);
        let found = distance.keep(1, false, u64::MAX, || 0, |_| true);
        assert_eq!(found, 0..ASKED_LINES / 8);
    }

    #[test]
    fn large_messages_are_waited_for_no_longer() {
        for lines in [1, 8, 40] {
            let distance = Distance::of(1024, lines * LINE, Asking::Stores);
            assert!(distance.longest <= LONGEST_MAX, "{lines} lines");
            let now = Cell::new(0);
            let clock = || now.replace(now.get() + PAUSE);
            assert!(!distance.fall_back(clock, |by| now.get() / (distance.pace - 1) > by));
            assert!(now.get() < LONGEST_MAX + 8 * PAUSE, "{lines} lines: {} cycles", now.get());
        }
    }

    #[test]
    fn who_takes_from_a_stream_falls_back_until_it_is_far() {
        let mut distance = distance();
        // One more message is there at each look, and no time passes.
        let looks = Cell::new(0);
        distance.look(|| 0, 7, true, |ticket| looks.replace(looks.get() + 1) > ticket - 7);
        assert_eq!((distance.period, distance.known), (FAR_MAX, 7 + FAR_MAX));
        assert!(looks.get() > FAR_MAX);
    }

    #[test]
    fn nobody_waits_long_for_messages_that_come_one_by_one() {
        let distance = distance();
        // One each time that so many cycles have passed.
        for (each, is_far) in [(PACE_OF_LINE / 2, true), (distance.pace * 9 / 10, false)] {
            let now = Cell::new(0);
            let clock = || now.replace(now.get() + PAUSE);
            assert_eq!(distance.fall_back(clock, |by| now.get() / each > by), is_far);
            assert!(now.get() < distance.longest + 8 * PAUSE, "{} cycles", now.get());
        }
    }

    #[test]
    fn it_waits_only_while_messages_follow_each_other_quickly() {
        let mut distance = distance();
        let now = Cell::new(0);
        let clock = || now.replace(now.get() + PACE);
        distance.look(clock, 0, true, |ticket| ticket < FIRST);
        assert!(now.get() < 3 * FIRST * distance.pace, "it gives up in {} cycles", now.get());
        assert_eq!((distance.period, distance.known), (2 * EVERY, 0), "and waits seldomer");
        // So many takes have taken longer than those of a stream.
        let looks = Cell::new(0);
        let later = distance.since + distance.period * distance.pace;
        distance.look(|| later, 0, true, |_| looks.replace(looks.get() + 1) > 0);
        assert_eq!((distance.period, looks.get()), (2 * EVERY, 1));
        distance.since = later;
        distance.look(
            || later,
            0,
            true,
            |ticket| ticket == FIRST - 1 || looks.replace(looks.get() + 1) > 2,
        );
        assert_eq!((distance.period, distance.vain), (FAR_MAX, 0));
    }

    #[test]
    fn who_may_not_wait_looks_once() {
        let mut distance = distance();
        let looks = Cell::new(0);
        distance.look(|| 0, 0, false, |_| looks.replace(looks.get() + 1) > 0);
        assert_eq!((looks.get(), distance.vain), (1, 0));
    }

    #[test]
    fn where_there_are_few_places_or_large_ones_it_does_not_look() {
        for (capacity, stride) in [(PLACES_MIN - 1, 1), (1024, LINES_MAX as usize * LINE)] {
            let mut distance = Distance::of(capacity, stride, Asking::Stores);
            let tickets =
                distance.keep(8, true, u64::MAX, || 0, |_| panic!("there is no distance to keep"));
            assert!(tickets.is_empty());
        }
    }
}
