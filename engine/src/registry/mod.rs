//! Who is attached: lines of the header, each occupied by a word that says by whom.
//!
//! Everything about an occupant is in that one word, `{started, world, side, pid}`. So to attach is
//! one CAS from 0, to detach one CAS to 0, and to inherit the line of a dead participant one CAS from
//! *its* word to the heir's: there is no state between, in which a participant could be killed and
//! leave something that nobody can judge. A dead one's word never comes back, so whoever inherits late
//! inherits nothing.
//!
//! The heir settles what the line names (an announced ticket, a held message, blocks), and vacates it.
//! Killed meanwhile, it is a dead occupant itself, for the next heir. What that leaves unused (slots,
//! blocks), a sweep by anybody gives back.

mod identity;

use crate::arena::Arena;
use crate::error::AttachError;
use crate::layout::cells::Line;
use crate::layout::geometry::WORLDS;
use crate::lineage::Lineage;
use crate::order::{ANNOUNCE, LOST, OCCUPANT, OCCUPY};
use crate::ring::{Ring, Role};
use crate::sync::Word;
use crate::sync::fence::{self, Fences};
use identity::{Identity, Own};

/// Producer or consumer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Producer = 0,
    Consumer = 1,
}

impl Side {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Producer => "producer",
            Self::Consumer => "consumer",
        }
    }
}

/// Who occupies a line: `{started: 36, world: 5, side: 1, pid: 22}`, most significant first. Never 0,
/// for a pid is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Occupant(u64);

impl Occupant {
    const PID: u64 = (1 << 22) - 1;
    const WORLD: u64 = (1 << 5) - 1;

    /// `world` is a place in the segment's list, from 1, or 0 for a world that nobody can judge.
    fn new(Identity { pid, started }: Identity, world: u64, side: Side) -> Self {
        const { assert!(WORLDS as u64 <= Self::WORLD, "a place in the list has 5 bits") };
        // Linux has no pids beyond 22 bits; a kernel that had would get participants for life.
        let (pid, started) = match u64::from(pid) {
            pid @ 1..=Self::PID => (pid, started),
            _ => (Self::PID, 0),
        };
        Self(started << 28 | world << 23 | (side as u64) << 22 | pid)
    }

    fn identity(self) -> Identity {
        Identity { pid: (self.0 & Self::PID) as u32, started: self.0 >> 28 }
    }

    fn is_producer(self) -> bool {
        self.0 != 0 && self.0 >> 22 & 1 == Side::Producer as u64
    }

    fn world(self) -> u64 {
        self.0 >> 23 & Self::WORLD
    }
}

/// The lines, the role words and the list of worlds of a queue.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Registry<'m> {
    pub(crate) lines: &'m [Line],
    /// The occupant that holds a One side, or 0; by [`Side`].
    pub(crate) soles: &'m [Word; 2],
    /// Hashes of the worlds that participants came from, each set once; 0 where none is yet.
    pub(crate) worlds: &'m [Word; WORLDS],
}

/// What [`Queue::recover`](crate::Queue::recover) gave back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Recovered {
    /// Places of dead participants that were vacated.
    pub participants: usize,
    /// Slots that rested and can be used again.
    pub slots: usize,
    /// Blocks of memory that were nobody's.
    pub blocks: usize,
}

/// Where participants may have left something.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Estate<'m> {
    pub(crate) ring: &'m Ring<'m>,
    pub(crate) arena: Option<&'m Arena<'m>>,
}

impl Estate<'_> {
    /// By who has inherited the line.
    fn settle(self, at: usize, line: &Line) {
        self.ring.settle(line);
        if let Some(arena) = self.arena {
            arena.inherit(at);
        }
    }
}

/// A line that is ours until dropped.
#[derive(Debug)]
pub(crate) struct Seat<'m> {
    line: &'m Line,
    /// Which line that is.
    at: usize,
    occupant: Occupant,
    /// The role word that we hold, if the side is exclusive.
    sole: Option<&'m Word>,
    lineage: Lineage,
    has_left: bool,
}

impl<'m> Registry<'m> {
    /// Takes a line, and the side if that is exclusive.
    pub(crate) fn join(
        self,
        estate: Estate<'_>,
        side: Side,
        role: Role,
    ) -> Result<Seat<'m>, AttachError> {
        if estate.ring.shape().fences == Fences::Asymmetric {
            // Before the first light fence of this process, which may be a forked child.
            fence::register().map_err(|errno| AttachError::Membarrier { source: errno.into() })?;
        }
        let own = Own::get().map_err(|source| {
            let what = "/proc, to be known by".to_owned();
            AttachError::Os { call: "open", what, source }
        })?;
        let occupant = self.occupant(own, side);
        // Whoever vacated the lines of the dead, we or another: look again.
        let at = self.occupy(occupant).or_else(|| {
            self.recover(estate);
            self.occupy(occupant)
        });
        let at = at.ok_or(AttachError::Crowded { lines: self.lines.len() })?;
        let line = &self.lines[at];
        let mut seat =
            Seat { line, at, occupant, sole: None, lineage: Lineage::own(), has_left: false };
        if role == Role::One {
            let predecessor = seat.exclude_others(self, side)?;
            if predecessor.is_some() {
                self.recover(estate);
            }
        }
        Ok(seat)
    }

    /// While there are descriptors: to attach then needs none.
    pub(crate) fn know_ourselves(self) {
        // If there is a reason why not, who attaches is told.
        _ = Own::get();
    }

    /// Gives back what dead participants held, as far as that can be known. Says what it was.
    pub(crate) fn recover(self, estate: Estate<'_>) -> Recovered {
        // First: whoever takes a side over from a dead one recovers.
        self.free_soles();
        let participants = self.reap(estate, |_| true);
        let slots = estate.ring.sweep();
        let blocks = estate.arena.map_or(0, |arena| self.visit(|line| arena.sweep(line)));
        Recovered { participants, slots, blocks }
    }

    /// Whoever asks next may not be able to judge who held an exclusive side.
    fn free_soles(self) {
        let Ok(own) = Own::get() else { return };
        for sole in self.soles {
            let seen = Occupant(sole.load(OCCUPANT));
            if seen.0 != 0 && self.is_dead(seen, own.world) {
                _ = sole.compare_exchange(seen.0, 0, OCCUPY, LOST);
            }
        }
    }

    /// Does something from a line that is ours meanwhile; nothing, if none is vacant.
    fn visit(self, work: impl FnOnce(usize) -> usize) -> usize {
        let Ok(own) = Own::get() else { return 0 };
        let visitor = self.occupant(own, Side::Consumer);
        let Some(at) = self.occupy(visitor) else { return 0 };
        let done = work(at);
        self.lines[at].vacate(visitor.0);
        done
    }

    /// Settles and vacates the lines of the dead among those that `concerns` us. Says how many.
    ///
    /// Reads /proc for each such line: for rare occasions.
    pub(crate) fn reap(self, estate: Estate<'_>, concerns: impl Fn(&Line) -> bool) -> usize {
        // An heir that nobody could judge would have the line for ever.
        let Ok(own) = Own::get() else { return 0 };
        let settled = |&(at, line): &(usize, &Line)| {
            let occupant = Occupant(line.occupant());
            if occupant.0 == 0 || !concerns(line) || !self.is_dead(occupant, own.world) {
                return false;
            }
            let heir = self.occupant(own, Side::Consumer);
            let ours = line.inherit(occupant.0, heir.0);
            if ours {
                estate.settle(at, line);
                line.vacate(heir.0);
            }
            ours
        };
        self.lines.iter().enumerate().filter(settled).count()
    }

    fn occupant(self, own: Own, side: Side) -> Occupant {
        Occupant::new(own.identity, self.place_of(own.world), side)
    }

    /// Is any producer attached, as far as is known? Dead ones are looked for if `thoroughly`.
    pub(crate) fn has_producers(self, estate: Estate<'_>, thoroughly: bool) -> bool {
        let is_producer = |line: &Line| Occupant(line.occupant()).is_producer();
        if thoroughly {
            self.reap(estate, is_producer);
        }
        self.lines.iter().any(is_producer)
    }

    /// The lines that are taken, by the living or the dead.
    pub(crate) fn occupied(self) -> usize {
        self.lines.iter().filter(|line| line.is_occupied()).count()
    }

    fn occupy(self, occupant: Occupant) -> Option<usize> {
        self.lines.iter().position(|line| !line.is_occupied() && line.occupy(occupant.0))
    }

    /// Is that participant certainly gone, as far as one can judge from `world`, which is ours?
    fn is_dead(self, occupant: Occupant, world: u64) -> bool {
        let at = (occupant.world() as usize).checked_sub(1);
        let theirs = at.and_then(|at| self.worlds.get(at)).map_or(0, |word| word.load(OCCUPANT));
        world != 0 && theirs == world && occupant.identity().is_dead()
    }

    /// Our world's place in the list, from 1; 0 if it is unknown or the list is full.
    fn place_of(self, own: u64) -> u64 {
        if own == 0 {
            return 0;
        }
        let is_ours = |word: &Word| {
            let seen = word.load(OCCUPANT);
            let seen = if seen == 0 {
                word.compare_exchange(0, own, OCCUPY, LOST).map_or_else(|now| now, |_| own)
            } else {
                seen
            };
            seen == own
        };
        self.worlds.iter().position(is_ours).map_or(0, |at| at as u64 + 1)
    }
}

impl<'m> Seat<'m> {
    pub(crate) fn line(&self) -> &'m Line {
        self.line
    }

    /// Which line it is.
    pub(crate) fn at(&self) -> usize {
        self.at
    }

    /// Are we the process that took it, and not a forked child of that?
    #[inline(always)]
    pub(crate) fn is_own(&self) -> bool {
        self.lineage.is_own()
    }

    /// The same, by a glance that may miss it: if not, ask [`Seat::is_own`].
    #[inline(always)]
    pub(crate) fn is_surely_own(&self) -> bool {
        self.lineage.is_surely_own()
    }

    /// Gives the seat up.
    pub(crate) fn leave(&mut self) {
        // A forked child has a copy of the handle, not the seat.
        if !self.is_own() || self.has_left {
            return;
        }
        if let Some(sole) = self.sole {
            _ = sole.compare_exchange(self.occupant.0, 0, OCCUPY, LOST);
        }
        // A message may have been forgotten while it was held.
        for word in [&self.line.announced, &self.line.further, &self.line.held, &self.line.pin] {
            word.store(0, ANNOUNCE);
        }
        self.line.vacate(self.occupant.0);
        self.has_left = true;
    }

    /// Claims the exclusive side, from nobody or from a dead one, which is given.
    fn exclude_others(
        &mut self,
        registry: Registry<'m>,
        side: Side,
    ) -> Result<Option<Occupant>, AttachError> {
        let sole = &registry.soles[side as usize];
        loop {
            let seen = Occupant(sole.load(OCCUPANT));
            let world = Own::get().map_or(0, |own| own.world);
            if seen.0 != 0 && !registry.is_dead(seen, world) {
                let pid = seen.identity().pid;
                return Err(AttachError::Taken { role: Role::One, side: side.name(), pid });
            }
            if sole.compare_exchange(seen.0, self.occupant.0, OCCUPY, LOST).is_ok() {
                self.sole = Some(sole);
                return Ok((seen.0 != 0).then_some(seen));
            }
        }
    }
}

impl Drop for Seat<'_> {
    fn drop(&mut self) {
        self.leave();
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::{Identity, Line, Occupant, Own, Registry, Side, Word};
    use crate::order::OCCUPANT;

    #[test]
    fn an_exclusive_side_of_a_dead_participant_is_freed_and_of_a_living_one_not() {
        let mut child = Command::new("true").spawn().unwrap();
        let dead = Identity { pid: child.id(), started: Identity::STARTED };
        child.wait().unwrap();
        let own = Own::get().unwrap();
        let worlds = std::array::from_fn(|_| Word::new(0));
        let lines: [Line; 0] = [];
        let registry = Registry { lines: &lines, soles: &[0; 2].map(Word::new), worlds: &worlds };
        let living = registry.occupant(own, Side::Consumer).0;
        let dead = registry.occupant(Own { identity: dead, ..own }, Side::Producer).0;
        let soles = [dead, living].map(Word::new);
        Registry { soles: &soles, ..registry }.free_soles();
        assert_eq!([&soles[0], &soles[1]].map(|sole| sole.load(OCCUPANT)), [0, living]);
    }

    #[test]
    fn an_occupant_is_packed_and_unpacked() {
        let identity = Identity { pid: 4_194_303, started: Identity::STARTED };
        let occupant = Occupant::new(identity, 30, Side::Consumer);
        assert_eq!(occupant.identity(), identity);
        assert_eq!(occupant.world(), 30);
        assert_ne!(occupant, Occupant::new(identity, 30, Side::Producer));
        // Beyond what fits: a participant that is never thought dead.
        let odd = Occupant::new(Identity { pid: 1 << 22, started: 7 }, 1, Side::Producer);
        assert_eq!(odd.identity().started, 0);
    }
}
