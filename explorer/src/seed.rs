//! The name of one experiment, from which it can be repeated.

use std::fmt;
use std::str::FromStr;

use anyhow::{Context, Result, bail};

use crate::config::Config;
use crate::op::Op;
use crate::state::State;
use crate::tracee::Goal;

/// Kinds of experiments.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// One victim killed.
    Kill,
    /// One victim frozen, and resumed.
    Freeze,
    /// One victim frozen, another's operations stepped and counted.
    Beside,
    /// One victim killed on its way to wake another.
    Sleeper,
    /// One victim killed, and then the queue shut down.
    EndKill,
    /// One victim frozen, the queue shut down, and the victim resumed.
    EndFreeze,
    /// Two victims killed.
    KillPair,
    /// Two victims frozen, and resumed.
    FreezePair,
    /// Two operations with up to two preemptions.
    Schedule,
}

/// All of them, in the order of the table.
pub const KINDS: [Kind; 9] = [
    Kind::Kill,
    Kind::Freeze,
    Kind::Beside,
    Kind::Sleeper,
    Kind::EndKill,
    Kind::EndFreeze,
    Kind::KillPair,
    Kind::FreezePair,
    Kind::Schedule,
];

impl Kind {
    /// As in seeds.
    pub fn name(self) -> &'static str {
        match self {
            Self::Kill => "kill",
            Self::Freeze => "freeze",
            Self::Beside => "beside",
            Self::Sleeper => "sleeper",
            Self::EndKill => "end-kill",
            Self::EndFreeze => "end-freeze",
            Self::KillPair => "kill-pair",
            Self::FreezePair => "freeze-pair",
            Self::Schedule => "schedule",
        }
    }

    /// Two victims?
    pub fn is_of_two(self) -> bool {
        matches!(self, Self::KillPair | Self::FreezePair | Self::Schedule)
    }
}

/// All experiments of one kind on the same operations and state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unit {
    /// What is done.
    pub kind: Kind,
    /// The victim's operation; the first victim's.
    pub op: Op,
    /// The second victim's; the same if there is one victim.
    pub other: Op,
    /// What the queue is like before.
    pub state: State,
    /// What kind of queue.
    pub config: &'static Config,
    /// Points are instructions that touch the segment, not all.
    pub touching: bool,
}

/// One experiment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seed {
    /// Which series.
    pub unit: Unit,
    /// Where the victims are stopped; the second only counts with two.
    pub at: [u64; 2],
}

impl Unit {
    /// Its experiment at these points.
    pub fn at(self, at: [u64; 2]) -> Seed {
        Seed { unit: self, at }
    }

    /// Where to stop a victim for the so-many-th point.
    pub fn goal(&self, at: u64) -> Goal {
        if self.touching { Goal::Touch(at) } else { Goal::Instruction(at) }
    }
}

impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, op, other, state, config, .. } = self;
        let other = if kind.is_of_two() { format!("+{other}") } else { String::new() };
        write!(f, "{}/{op}{other}/{state}/{}", kind.name(), config.name)
    }
}

impl fmt::Display for Seed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { unit, at: [first, second] } = self;
        match (unit.kind.is_of_two(), unit.touching) {
            (true, _) => write!(f, "{unit}/{first},{second}"),
            (false, true) => write!(f, "{unit}/t{first}"),
            (false, false) => write!(f, "{unit}/{first}"),
        }
    }
}

impl FromStr for Seed {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let parts: Vec<_> = text.split('/').collect();
        let [kind, ops, state, config, at] = parts[..] else {
            bail!(
                "a seed is KIND/OPERATION[+OPERATION]/STATE/QUEUE/POINT[,POINT], as in \
                 kill/try_push/half/many-many/17, not {text:?}"
            );
        };
        let Some(kind) = KINDS.into_iter().find(|it| it.name() == kind) else {
            bail!("no kind {kind:?}; there are {}", KINDS.map(Kind::name).join(", "));
        };
        let (op, other) = match ops.split_once('+') {
            Some((op, other)) if kind.is_of_two() => (op.parse()?, other.parse()?),
            None if !kind.is_of_two() => (ops.parse::<Op>()?, ops.parse()?),
            _ => bail!("{} takes {} operations", kind.name(), 1 + usize::from(kind.is_of_two())),
        };
        let (state, config) = (state.parse()?, Config::find(config)?);
        let (touching, at) = match at.strip_prefix('t') {
            Some(at) => (true, at),
            None => (kind.is_of_two(), at),
        };
        let number = |text: &str| text.parse::<u64>().with_context(|| format!("point {text:?}"));
        let at = match at.split_once(',') {
            Some((first, second)) if kind.is_of_two() => [number(first)?, number(second)?],
            None if !kind.is_of_two() => [number(at)?, 0],
            _ => bail!("{} takes {} points", kind.name(), 1 + usize::from(kind.is_of_two())),
        };
        Ok(Unit { kind, op, other, state, config, touching }.at(at))
    }
}

#[cfg(test)]
mod tests {
    use super::Seed;

    #[test]
    fn a_seed_is_printed_as_it_is_read() {
        for text in [
            "kill/try_push/half/many-many/17",
            "freeze/pop/empty/one-one/t3",
            "end-freeze/try_pop/stalled/many-one/5",
            "schedule/try_push+try_pop/full/many-one/3,12",
        ] {
            assert_eq!(text.parse::<Seed>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn a_wrong_seed_is_told_what_is_allowed() {
        let error = |text: &str| format!("{:#}", text.parse::<Seed>().unwrap_err());
        assert!(error("kill/try_push").contains("as in kill/try_push"));
        assert!(error("burn/try_push/half/many-many/1").contains("kill, freeze"));
        assert!(error("kill/push_try/half/many-many/1").contains("try_push, try_pop"));
        assert!(error("kill/try_push/halff/many-many/1").contains("empty, half"));
        assert!(error("kill/try_push/half/many/1").contains("many-many, "));
        assert!(error("kill/try_push/half/many-many/1,2").contains("takes 1 point"));
        assert!(error("schedule/try_push/half/many-many/1,2").contains("takes 2 operations"));
    }
}
