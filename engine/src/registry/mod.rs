//! Who is attached: lines of the header, claimed by CAS, each with an identity.
//!
//! A line's state is `{pid, generation, line, side, phase}`, unlike that of any other line. Only LIVE lines carry an identity that can
//! be tested; JOINING and REAPING are short, and count as alive: a participant killed inside them
//! costs its line, nothing else.

mod identity;

use crate::error::AttachError;
use crate::layout::cells::Line;
use crate::layout::geometry::LINES_MAX;
use crate::order::{ANNOUNCE, IDENTITY, LOST, OCCUPANT, OCCUPY, SCAN};
use crate::ring::{Ring, Role};
use crate::sync::Word;
use identity::Identity;
pub(crate) use identity::own_pid;

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

const VACANT: u64 = 0;
const JOINING: u64 = 1;
const LIVE: u64 = 2;
const REAPING: u64 = 3;

/// `{pid, generation, line, side, phase}` as
/// `pid << 32 | generation << 20 | line << 8 | side << 4 | phase`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct State(u64);

impl State {
    fn phase(self) -> u64 {
        self.0 & 0xf
    }

    fn pid(self) -> u32 {
        (self.0 >> 32) as u32
    }

    fn with(self, phase: u64) -> Self {
        Self(self.0 & !0xf | phase)
    }

    /// Line `at`, a generation on, taken by `pid`.
    fn taken(self, at: usize, pid: u32, side: Side) -> Self {
        const { assert!(LINES_MAX <= 1 << 12, "a line's number has 12 bits") };
        let generation = (self.0 >> 20).wrapping_add(1) & 0xfff;
        let who = u64::from(pid) << 32 | generation << 20;
        Self(who | (at as u64) << 8 | (side as u64) << 4 | JOINING)
    }

    /// Which line it is the state of.
    fn line(self) -> usize {
        (self.0 >> 8) as usize & 0xfff
    }
}

/// The lines and the two role words of a queue.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Registry<'m> {
    pub(crate) lines: &'m [Line],
    /// `{state}` of the line that holds a One side, or 0; by [`Side`].
    pub(crate) soles: &'m [Word; 2],
}

/// A line that is ours until dropped.
#[derive(Debug)]
pub(crate) struct Seat<'m> {
    registry: Registry<'m>,
    line: &'m Line,
    state: State,
    side: Side,
    pid: u32,
}

impl<'m> Registry<'m> {
    /// Takes a line, and the side if that is exclusive.
    pub(crate) fn join(
        self,
        ring: &Ring<'_>,
        side: Side,
        role: Role,
    ) -> Result<Seat<'m>, AttachError> {
        let seat = match self.occupy(side) {
            Some(seat) => seat,
            None if self.reap(ring) > 0 => self.occupy(side).ok_or_else(|| self.crowded())?,
            None => return Err(self.crowded()),
        };
        if role == Role::One {
            seat.exclude_others(ring)?;
        }
        Ok(seat)
    }

    fn crowded(&self) -> AttachError {
        AttachError::Crowded { lines: self.lines.len() }
    }

    fn occupy(self, side: Side) -> Option<Seat<'m>> {
        let own = Identity::own();
        self.lines.iter().enumerate().find_map(|(at, line)| {
            let seen = State(line.state.load(OCCUPANT));
            if seen.phase() != VACANT {
                return None;
            }
            let joining = seen.taken(at, own.pid, side);
            line.state.compare_exchange(seen.0, joining.0, OCCUPY, LOST).ok()?;
            line.started.store(own.started, IDENTITY);
            line.world.store(own.world, IDENTITY);
            line.announced.store(0, ANNOUNCE);
            let state = joining.with(LIVE);
            // Nobody changes a JOINING line but its owner.
            _ = line.state.compare_exchange(joining.0, state.0, OCCUPY, LOST);
            Some(Seat { registry: self, line, state, side, pid: own.pid })
        })
    }

    /// Vacates the lines of the dead, and lets their slots be used again. Says how many.
    fn reap(self, ring: &Ring<'_>) -> usize {
        self.lines.iter().filter(|line| self.reap_line(ring, line)).count()
    }

    fn reap_line(self, ring: &Ring<'_>, line: &Line) -> bool {
        let seen = State(line.state.load(OCCUPANT));
        if seen.phase() != LIVE || !is_dead(line, seen) {
            return false;
        }
        let reaping = seen.with(REAPING);
        if line.state.compare_exchange(seen.0, reaping.0, OCCUPY, LOST).is_err() {
            return false;
        }
        let announced = line.announced.load(SCAN);
        line.announced.store(0, ANNOUNCE);
        if announced != 0 && ring.release(announced - 1) {
            ring.quiet();
        }
        line.state.compare_exchange(reaping.0, reaping.with(VACANT).0, OCCUPY, LOST).is_ok()
    }

    /// Is the participant that `state` names still that one, and not certainly dead?
    fn holds(self, state: State) -> bool {
        self.lines
            .get(state.line())
            .is_some_and(|line| State(line.state.load(OCCUPANT)) == state && !is_dead(line, state))
    }
}

/// Is the participant in this state certainly gone?
fn is_dead(line: &Line, state: State) -> bool {
    // Acquire, so that the second look at the state comes after: the identity read must belong to
    // the state read.
    let identity = Identity {
        pid: state.pid(),
        started: line.started.load(OCCUPANT),
        world: line.world.load(OCCUPANT),
    };
    State(line.state.load(OCCUPANT)) == state && identity.is_dead()
}

impl<'m> Seat<'m> {
    pub(crate) fn line(&self) -> &'m Line {
        self.line
    }

    /// Claims the exclusive side, from nobody or from the dead.
    fn exclude_others(&self, ring: &Ring<'_>) -> Result<(), AttachError> {
        let sole = &self.registry.soles[self.side as usize];
        loop {
            let seen = sole.load(OCCUPANT);
            if seen != 0 && self.registry.holds(State(seen)) {
                return Err(AttachError::Taken {
                    role: Role::One,
                    side: self.side.name(),
                    pid: State(seen).pid(),
                });
            }
            if sole.compare_exchange(seen, self.state.0, OCCUPY, LOST).is_ok() {
                if seen != 0 {
                    self.registry.reap(ring);
                }
                return Ok(());
            }
        }
    }
}

impl Drop for Seat<'_> {
    fn drop(&mut self) {
        // A forked child has a copy of the handle, not the seat.
        if own_pid() != self.pid {
            return;
        }
        let sole = &self.registry.soles[self.side as usize];
        _ = sole.compare_exchange(self.state.0, 0, OCCUPY, LOST);
        let vacant = self.state.with(VACANT);
        _ = self.line.state.compare_exchange(self.state.0, vacant.0, OCCUPY, LOST);
    }
}
