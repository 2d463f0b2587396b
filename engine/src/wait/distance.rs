//! Keeping a distance from whoever puts.
//!
//! Who takes each message at the moment it is published meets its producer at every cache line: it takes
//! the line while the next words are written to it, and, as CPUs read ahead, the next lines too. Both
//! then wait for lines most of the time. Some dozens of slots behind, neither sees the other. So a
//! consumer of a stream that has come near lets the producer get ahead, for a moment and once, and then
//! has messages to take at its own speed.
//!
//! It costs a message of a stream up to [`REST_MAX`] once in a while, and others nothing: who takes what
//! comes now and then never finds so many in front of it.

use super::spin::rest;

/// So many slots between consumer and producer are a distance.
const FAR_MAX: u64 = 64;
/// Takes from one look at the distance to the next.
const EVERY: u64 = 32;
/// So many cycles, some microsecond, the producer gets to get ahead.
const REST_MAX: u64 = 4_000;
/// With fewer places there is no room for a distance.
const PLACES_MIN: u64 = 128;

/// How far a consumer is behind, as it finds out now and then.
#[derive(Debug)]
pub(crate) struct Distance {
    far: u64,
    rest: u64,
    /// Takes until the next look.
    left: u64,
    /// At the last look there were so many messages.
    flows: bool,
}

impl Distance {
    /// For a queue of so many places.
    pub(crate) fn for_capacity(capacity: u64) -> Self {
        let far = if capacity < PLACES_MIN { 0 } else { (capacity / 16).min(FAR_MAX) };
        let rest = capacity.saturating_mul(4).min(REST_MAX);
        Self { far, rest, left: EVERY, flows: false }
    }

    /// Before at most so many takes: is it time to look?
    #[inline(always)]
    pub(crate) fn is_due(&mut self, takes: u64) -> bool {
        let left = self.left.checked_sub(takes);
        self.left = left.unwrap_or(EVERY);
        left.is_none()
    }

    /// Looks, and rests if it has come near. `is_ahead`: is the message so many places on published?
    #[cold]
    pub(crate) fn keep(&mut self, is_ahead: impl FnOnce(u64) -> bool) {
        if self.far > 0 && self.has_come_near(is_ahead) {
            rest(self.rest);
        }
    }

    /// Was it far at the last look, and no longer is?
    fn has_come_near(&mut self, is_ahead: impl FnOnce(u64) -> bool) -> bool {
        let flowed = self.flows;
        self.flows = is_ahead(self.far);
        flowed && !self.flows
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How often it is asked how far it is in so many takes, of one at a time.
    fn looks(distance: &mut Distance, takes: u64) -> usize {
        (0..takes).filter(|_| distance.is_due(1)).count()
    }

    #[test]
    fn it_looks_once_in_a_while() {
        let mut distance = Distance::for_capacity(1024);
        assert_eq!(looks(&mut distance, 10 * (EVERY + 1)), 10);
        assert!(distance.is_due(u64::MAX));
    }

    #[test]
    fn who_has_come_near_rests_once() {
        let mut distance = Distance::for_capacity(1024);
        let mut rests = |is_far| distance.has_come_near(|by| by == FAR_MAX && is_far);
        assert_eq!(
            [false, true, true, false, false].map(&mut rests),
            [false, false, false, true, false]
        );
    }

    #[test]
    fn where_there_are_few_places_it_does_not_look() {
        Distance::for_capacity(PLACES_MIN - 1).keep(|_| panic!("there is no distance to keep"));
    }
}
