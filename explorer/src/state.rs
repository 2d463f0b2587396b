//! The states that experiments begin in.

use std::fmt;
use std::str::FromStr;

use anyhow::{Result, bail};
use shmq_engine::Role;

use crate::config::Config;

/// What is in the queue before the victim acts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Nothing.
    Empty,
    /// Half of what fits.
    Half,
    /// All that fits.
    Full,
    /// Half, several laps on.
    Wrapped,
    /// Half, shortly before positions end.
    High,
    /// A live producer is stopped between claim and publication at the head; messages behind it.
    Stalled,
    /// The same was passed over: its slot rests. Half.
    Resting,
    /// And the next ticket falls on that slot.
    Burning,
    /// The same, with that producer dead.
    Dead,
    /// Half, with every line, and every exclusive side, held by the dead.
    Graves,
    /// Half, in a growing queue: two more puts, and the next is the first of another segment.
    Verge,
    /// Half, in a growing queue: the next put is the first of a segment that nobody has installed.
    Brim,
    /// As brim, with nothing in the queue: the last segment is over, and nobody has noticed.
    Edge,
    /// Two messages, the first the last of its segment.
    Across,
    /// Half, with free blocks that keep their memory; in a growing queue, as brim.
    Pooled,
    /// As across, with as many free blocks as may keep their memory.
    Punching,
}

/// All of them, in the order of `--list`.
pub const STATES: [State; 16] = [
    State::Empty,
    State::Half,
    State::Full,
    State::Wrapped,
    State::High,
    State::Stalled,
    State::Resting,
    State::Burning,
    State::Dead,
    State::Graves,
    State::Verge,
    State::Brim,
    State::Edge,
    State::Across,
    State::Pooled,
    State::Punching,
];

impl State {
    /// As in seeds.
    pub fn name(self) -> &'static str {
        match self {
            Self::Empty => "empty",
            Self::Half => "half",
            Self::Full => "full",
            Self::Wrapped => "wrapped",
            Self::High => "high",
            Self::Stalled => "stalled",
            Self::Resting => "resting",
            Self::Burning => "burning",
            Self::Dead => "dead",
            Self::Graves => "graves",
            Self::Verge => "verge",
            Self::Brim => "brim",
            Self::Edge => "edge",
            Self::Across => "across",
            Self::Pooled => "pooled",
            Self::Punching => "punching",
        }
    }

    /// Does it need a producer that was stopped between claim and publication?
    pub fn has_stalled(self) -> bool {
        matches!(self, Self::Stalled | Self::Resting | Self::Burning | Self::Dead)
    }

    /// Can such a queue be in it? A lone producer claims nothing; a growing queue is never full, its
    /// slots do not rest, and its directory has no entry for positions that nobody came to.
    pub fn exists_in(self, config: &Config) -> bool {
        match self {
            Self::Full | Self::High | Self::Burning if config.is_growing() => false,
            Self::Verge | Self::Brim | Self::Edge => config.is_growing(),
            Self::Across | Self::Punching => config.is_growing(),
            Self::Pooled => config.is_growing() || config.is_by_reference(),
            _ => !self.has_stalled() || config.producers == Role::Many,
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for State {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        match STATES.into_iter().find(|state| state.name() == text) {
            Some(state) => Ok(state),
            None => bail!("no state {text:?}; there are {}", STATES.map(Self::name).join(", ")),
        }
    }
}
