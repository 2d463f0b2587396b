//! How long to look before sleeping, and before passing over.

use std::thread;

use super::clock::{Deadline, cycles};

/// Cycles between two looks at a line that somebody else is about to write: looking more often
/// takes the line from them.
pub(crate) const PAUSE: u64 = 60;
/// Where waits usually last longer than so many cycles messages do not stream: who looks without pause takes
/// the line from nobody who is about to write the next one, and sees the message sooner.
const RUSH: u64 = 250;
/// Cycles between two looks at `head` by a producer that found the queue full: at first, at most for each place, and
/// at most.
const LULL_FIRST: u64 = 3_000;
const LULL_PER_PLACE: u64 = 16;
const LULL_MAX: u64 = 16_000;
/// How an operation waits for the other side.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Wait {
    /// Looks, and never sleeps: the fastest, and takes a whole CPU while it waits. Now and then it offers
    /// the CPU to others, for who it waits for may have no other.
    Spin,
    /// Looks for as long as waits have lately been, if they were short, offers the CPU a few times, then
    /// sleeps. If looking is in vain again and again, as where both have the same CPU, it hardly looks.
    #[default]
    Adaptive,
    /// Sleeps at once.
    Park,
}

/// The most cycles of looking before the CPU is offered to others: about what it costs to sleep and be
/// woken.
const SPIN_MAX: u64 = 60_000;
/// The least, as long as it is of use.
const SPIN_MIN: u64 = 6_000;
/// How often the CPU is offered before sleeping.
const YIELDS: u32 = 20;

/// After so many spins in vain in a row, only one in so many waits spins; in the long run, one in
/// `SELDOM`.
const VAIN_MAX: u32 = 8;
const SELDOM: u32 = 256;
/// Who never sleeps offers the CPU after so many spins.
const SPINS: u32 = 16;

/// Looks for a while before its owner parks.
///
/// It is worth to look about twice as long as waits usually last (the idea of adaptive mutexes), if that
/// is less than it costs to sleep. Whoever we wait for may share our CPU, and then looking only delays
/// them: after some spins in vain we offer the CPU at once, and try a spin again now and then.
#[derive(Debug)]
pub(crate) struct Spin {
    wait: Wait,
    /// Cycles that waits have lately lasted that ended while we looked.
    usual: u64,
    vain: u32,
    sleeps: u64,
    /// Sleeps that ended by themselves beside what they were for.
    late: u64,
}

impl Spin {
    pub(crate) fn new() -> Self {
        Self { wait: Wait::default(), usual: SPIN_MIN / 2, vain: 0, sleeps: 0, late: 0 }
    }

    /// From now on it waits like that.
    pub(crate) fn wait_by(&mut self, wait: Wait) {
        self.wait = wait;
    }

    pub(super) fn slept(&mut self) {
        self.sleeps += 1;
    }

    pub(crate) fn sleeps(&self) -> u64 {
        self.sleeps
    }

    /// What was slept for was there when the sleep ended, and nobody had said so.
    pub(super) fn came_late(&mut self) {
        self.late += 1;
    }

    pub(crate) fn late(&self) -> u64 {
        self.late
    }

    pub(crate) fn wait(&self) -> Wait {
        self.wait
    }

    /// Does it sleep, when it has looked long enough?
    pub(super) fn may_sleep(&self) -> bool {
        self.wait != Wait::Spin
    }

    /// Looks every `pause` cycles until there is something, if and for as long as that is worth it.
    #[inline(always)]
    pub(crate) fn look<R>(&mut self, pause: u64, found: impl FnMut() -> Option<R>) -> Option<R> {
        let most = match self.wait {
            Wait::Park => None,
            Wait::Spin => Some(SPIN_MIN),
            Wait::Adaptive => self.worth(),
        };
        let done = self.look_for(most?, pause, found);
        if done.is_none() {
            self.looked_in_vain();
        }
        done
    }

    /// So many cycles it is worth to look, if it is.
    fn worth(&mut self) -> Option<u64> {
        let seldom = (self.vain / 2).next_power_of_two().clamp(VAIN_MAX, SELDOM);
        if self.vain >= VAIN_MAX && !self.vain.is_multiple_of(seldom) {
            self.vain = self.vain.wrapping_add(1);
            return None;
        }
        Some((2 * self.usual).clamp(SPIN_MIN, SPIN_MAX))
    }

    /// Looks for at most so many cycles, and learns how long it took.
    #[inline(always)]
    fn look_for<R>(
        &mut self,
        most: u64,
        pause: u64,
        found: impl FnMut() -> Option<R>,
    ) -> Option<R> {
        let pause = if pause == PAUSE && self.usual > RUSH { 0 } else { pause };
        let (done, lasted) = look(most, pause, found)?;
        self.vain = 0;
        self.usual = (7 * self.usual + lasted.min(SPIN_MAX)) / 8;
        Some(done)
    }

    #[cold]
    fn looked_in_vain(&mut self) {
        self.vain = self.vain.wrapping_add(1);
        // Longer than it was worth; if waits are getting longer, a longer look will show it.
        self.usual = (7 * self.usual + SPIN_MAX / 2) / 8;
        if self.wait == Wait::Spin && self.vain % SPINS == SPINS - 1 {
            thread::yield_now();
        }
    }

    /// Offers the CPU a few times, until `found` or the deadline. Was it found?
    pub(super) fn offer(&self, deadline: Deadline, found: impl Fn() -> bool) -> bool {
        if self.wait != Wait::Adaptive {
            return false;
        }
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

/// After so many tickets without any that was passed over, it is one doubling less: more than others put while
/// a slow producer's next ticket is waited for, or that would never get through.
const CALM: u64 = 1 << 16;

/// How long a put in progress is waited for before it is passed over.
///
/// A bounded number of own steps. It doubles with every ticket passed over, so that a producer that is alive but
/// slower than expected gets through; not for the tickets of one claim, which its producer gives up when the first
/// of them was passed over.
#[derive(Debug)]
pub(crate) struct Patience {
    least: u64,
    doublings: u32,
    /// The ticket that was waited for last, in vain.
    last: u64,
    /// The first ticket that is not known to be of a claim that was given up.
    hope: u64,
}

impl Patience {
    /// Some four times what copying such a message takes; for the largest less, and they rely on
    /// the doubling.
    pub(crate) fn for_messages_of(bytes: usize) -> Self {
        let least = (3_000 + 4 * bytes as u64).min(LEAST_MAX);
        Self { least, doublings: 0, last: 0, hope: 0 }
    }

    /// Looks until `found`, or patience ends. Was it found?
    pub(crate) fn until(&mut self, ticket: u64, found: impl Fn() -> bool) -> bool {
        if ticket < self.hope {
            return found();
        }
        let calm = (ticket.saturating_sub(self.last) / CALM).min(u64::from(DOUBLINGS_MAX));
        self.doublings = self.doublings.saturating_sub(calm as u32);
        let looked = || found().then_some(());
        let found = look(self.least << self.doublings, PAUSE, looked).is_some();
        if found {
            self.doublings = 0;
        } else {
            self.doublings = (self.doublings + 1).min(DOUBLINGS_MAX);
            self.last = ticket;
        }
        found
    }

    /// One was passed over, and so will be those of the same claim, up to `last`.
    pub(crate) fn give_up(&mut self, last: u64) {
        self.hope = last.saturating_add(1);
    }
}

/// How long a producer leaves `head` alone between two looks.
///
/// A queue stays full while producers are faster. Were each to take the first place it sees, it
/// would ask for `head` once a message, and take its line from the consumers each time. So they get
/// the time to make half of the places free, which it learns; with few places, hardly any.
#[derive(Debug)]
pub(crate) struct Lull {
    cycles: u64,
}

impl Lull {
    pub(crate) fn for_places(capacity: u64) -> Self {
        Self { cycles: capacity.saturating_mul(4).clamp(PAUSE, LULL_FIRST) }
    }

    pub(crate) fn cycles(&self) -> u64 {
        self.cycles
    }

    /// After that so many places of all were free.
    pub(crate) fn found(&mut self, free: u64, capacity: u64) {
        let is_long = free > capacity / 2;
        let step = self.cycles / 8 + 1;
        let cycles = if is_long { self.cycles - step } else { self.cycles + step };
        let most = capacity.saturating_mul(LULL_PER_PLACE).clamp(PAUSE, LULL_MAX);
        self.cycles = cycles.clamp(PAUSE, most);
    }
}

/// So many looks without pause between two looks at the clock, which takes longer than they.
const LOOKS: u32 = 4;

/// Looks for so many cycles, every `pause` of them: at once first, unless pauses are long. What was found,
/// and how long it took.
#[inline(always)]
fn look<R>(patience: u64, pause: u64, mut found: impl FnMut() -> Option<R>) -> Option<(R, u64)> {
    let start = cycles();
    if pause > PAUSE {
        rest(pause);
    }
    let looks = if pause == 0 { LOOKS } else { 1 };
    let mut lasted = 0;
    while lasted <= patience {
        for _ in 0..looks {
            if let Some(found) = found() {
                return Some((found, lasted));
            }
            core::hint::spin_loop();
        }
        if pause > 0 {
            rest(pause);
        }
        lasted = cycles().wrapping_sub(start);
    }
    None
}

pub(super) fn rest(pause: u64) {
    let start = cycles();
    while cycles().wrapping_sub(start) < pause {
        core::hint::spin_loop();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How often such a ticket is looked for, in vain.
    fn looks(patience: &mut Patience, ticket: u64) -> u32 {
        let looks = std::cell::Cell::new(0);
        let found = patience.until(ticket, || {
            looks.set(looks.get() + 1);
            false
        });
        assert!(!found);
        looks.get()
    }

    #[test]
    fn the_rest_of_a_claim_that_was_given_up_is_not_waited_for() {
        let mut patience = Patience::for_messages_of(48);
        assert!(looks(&mut patience, 10) > 1);
        patience.give_up(73);
        assert!((11..=73).all(|ticket| looks(&mut patience, ticket) == 1));
        assert!(looks(&mut patience, 74) > 1);
        patience.give_up(u64::MAX);
        assert_eq!(looks(&mut patience, 75), 1);
    }

    #[test]
    fn patience_doubles_with_what_is_passed_over_and_calms_down_again() {
        let mut patience = Patience::for_messages_of(48);
        for ticket in 0..20 {
            looks(&mut patience, ticket);
        }
        assert_eq!(patience.doublings, DOUBLINGS_MAX);
        // Somebody slow beside others who are fast.
        for _ in 0..3 {
            let next = patience.last + 2_000;
            looks(&mut patience, next);
            assert_eq!(patience.doublings, DOUBLINGS_MAX);
        }
        let late = patience.last + 3 * CALM;
        looks(&mut patience, late);
        assert_eq!(patience.doublings, DOUBLINGS_MAX - 2);
        looks(&mut patience, 1 << 40);
        assert_eq!(patience.doublings, 1);
        assert!(patience.until(1 << 40, || true));
        assert_eq!(patience.doublings, 0);
    }

    /// How long it leaves `head` alone, if consumers take a message in so many cycles.
    fn learned(capacity: u64, each: u64) -> u64 {
        let mut lull = Lull::for_places(capacity);
        for _ in 0..200 {
            let free = (lull.cycles() / each).min(capacity);
            lull.found(free, capacity);
        }
        lull.cycles()
    }

    #[test]
    fn a_producer_leaves_head_alone_until_half_of_the_places_are_free() {
        for each in [5, 10, 25] {
            let taken = learned(1024, each) / each;
            assert!((400..620).contains(&taken), "{taken} of 1024 places, {each} cycles each");
        }
    }

    #[test]
    fn but_not_long_for_slow_consumers_or_few_places() {
        assert_eq!(learned(1024, 1_000_000), LULL_MAX);
        assert_eq!(learned(10, 1_000_000), 10 * LULL_PER_PLACE);
        assert_eq!(learned(1, 1), PAUSE);
        assert_eq!(learned(u64::MAX, 1_000), LULL_MAX);
    }
}
