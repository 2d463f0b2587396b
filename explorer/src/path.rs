//! Points that a victim passed in the experiment before: the next one gets there at a run.
//!
//! Every step costs two switches of process. An experiment differs from the one before by its last
//! step or two, so a hardware breakpoint takes the victim to where that one stopped, and only the
//! rest is stepped. Where the way forks anew (a loop that looks at the clock), the run misses its
//! point, and the experiment is repeated step by step.

use anyhow::Result;
use nix::sys::ptrace;
use nix::unistd::Pid;

/// Beyond so many passes through one instruction stepping is no slower: recovery looks at hundreds of
/// blocks, one after the other, behind thousands of other instructions.
const PASSES_MAX: usize = 512;

/// Where the debug registers are in the kernel's `struct user`, and the last of them.
const DEBUG_REGISTERS: usize = 848;
const CONTROL: usize = DEBUG_REGISTERS + 7 * size_of::<u64>();
/// Bit 0 of the control register: stop at the instruction that the first register names.
const EXECUTE_FIRST: i64 = 1;

/// The instruction at each point so far.
#[derive(Debug, Default)]
pub struct Path {
    places: Vec<u64>,
    /// Beyond what is known the victim sleeps, and does not come to further points alone.
    sleeps: bool,
}

/// A place, and how often it is passed up to the point, the point included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Landmark {
    /// Address of the instruction.
    pub place: u64,
    /// The point is the so-many-th pass, from 1.
    pub passes: usize,
    /// Its number.
    pub point: u64,
}

/// The victim came to its end without passing the landmark as it did before.
#[derive(Debug)]
pub struct Missed;

impl std::fmt::Display for Missed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a victim took another way than before")
    }
}

impl std::error::Error for Missed {}

impl Path {
    /// How to get to point number `point`, or else to the last known one before it.
    pub fn towards(&self, point: u64) -> Option<Landmark> {
        let known = self.places.len();
        let passed = &self.places[..known.min(point as usize + 1)];
        let place = *passed.last()?;
        let passes = passed.iter().filter(|&&it| it == place).count();
        let point = passed.len() as u64 - 1;
        (passes <= PASSES_MAX).then_some(Landmark { place, passes, point })
    }

    /// Point number `point` is here; what was known beyond is forgotten.
    pub fn note(&mut self, point: u64, place: u64) {
        let point = point as usize;
        if point < self.places.len() || point == self.places.len() && !self.sleeps {
            self.places.truncate(point);
            self.places.push(place);
        }
    }

    /// The next point is a sleep.
    pub fn note_sleep(&mut self) {
        self.sleeps = true;
    }

    /// Nothing is known.
    pub fn forget(&mut self) {
        *self = Self::default();
    }
}

/// Makes `pid` stop whenever it comes to `place`.
pub fn arm(pid: Pid, place: u64) -> Result<()> {
    ptrace::write_user(pid, DEBUG_REGISTERS as ptrace::AddressType, place.cast_signed())?;
    Ok(ptrace::write_user(pid, CONTROL as ptrace::AddressType, EXECUTE_FIRST)?)
}

/// No more.
pub fn disarm(pid: Pid) -> Result<()> {
    Ok(ptrace::write_user(pid, CONTROL as ptrace::AddressType, 0)?)
}

#[cfg(test)]
mod tests {
    use super::{Landmark, Path};

    #[test]
    fn a_point_is_found_by_its_place_and_passes() {
        let at = |place, passes, point| Some(Landmark { place, passes, point });
        let mut path = Path::default();
        assert_eq!(path.towards(1), None);
        for (point, place) in [(0, 10), (1, 20), (2, 10), (3, 30)] {
            path.note(point, place);
        }
        assert_eq!(path.towards(0), at(10, 1, 0));
        assert_eq!(path.towards(2), at(10, 2, 2));
        assert_eq!(path.towards(3), at(30, 1, 3));
        assert_eq!(path.towards(9), at(30, 1, 3));
        path.note(1, 40);
        assert_eq!(path.towards(9), at(40, 1, 1));
        // A point out of order teaches nothing, nor one behind a sleep.
        path.note(9, 50);
        path.note_sleep();
        path.note(2, 60);
        assert_eq!(path.towards(10), at(40, 1, 1));
    }
}
