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
}

/// All of them, in the order of `--list`.
pub const STATES: [State; 10] = [
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
        }
    }

    /// Does it need a producer that was stopped between claim and publication?
    pub fn has_stalled(self) -> bool {
        matches!(self, Self::Stalled | Self::Resting | Self::Burning | Self::Dead)
    }

    /// Can such a queue be in it? A lone producer claims nothing.
    pub fn exists_in(self, config: &Config) -> bool {
        !self.has_stalled() || config.producers == Role::Many
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
