//! The operations under test.

use std::fmt;
use std::ops::Range;
use std::str::FromStr;

use anyhow::{Result, bail};
use shmq_engine::Role;

use crate::config::Config;
use crate::state::State;

/// What a victim does between its two traps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "named as the calls are")]
pub enum Op {
    TryPush,
    TryPop,
    Push,
    Pop,
    PushTimeout,
    PopTimeout,
    AttachProducer,
    AttachConsumer,
    DetachProducer,
    DetachConsumer,
    Recover,
    /// `reserve`, written in place, then `try_commit`.
    Commit,
    /// `reserve`, and dropped.
    Abandon,
    /// `try_pop_ref`, read in place.
    TryPopRef,
    /// A `try_push` by who has filled its block with messages that were got.
    PushAgain,
    /// A `try_push` by who has filled its block with messages of which one is still there.
    PushOver,
    /// A `try_pop` by who has got the message before.
    PopOn,
    /// By a producer that has just put its message.
    DetachOpen,
    /// Of [`RUN`] messages.
    TryPushMany,
    /// Of up to [`RUN`] messages; in a growing queue by who has looked at the first before.
    TryPopMany,
    ShutDown,
    /// A `try_pop` by who looks how far it is behind, and asks for lines.
    PopAsking,
}

/// So many messages at once.
pub const RUN: usize = 3;

/// What an operation may do to the messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Puts one, or a run.
    Put,
    /// Gets one, or a run.
    Get,
    /// Neither.
    None,
}

/// All of them, in the order of `--list`.
pub const OPS: [Op; 22] = [
    Op::TryPush,
    Op::TryPop,
    Op::Push,
    Op::Pop,
    Op::PushTimeout,
    Op::PopTimeout,
    Op::AttachProducer,
    Op::AttachConsumer,
    Op::DetachProducer,
    Op::DetachConsumer,
    Op::Recover,
    Op::Commit,
    Op::Abandon,
    Op::TryPopRef,
    Op::PushAgain,
    Op::PushOver,
    Op::PopOn,
    Op::DetachOpen,
    Op::TryPushMany,
    Op::TryPopMany,
    Op::ShutDown,
    Op::PopAsking,
];

impl Op {
    /// As in seeds.
    pub fn name(self) -> &'static str {
        match self {
            Self::TryPush => "try_push",
            Self::TryPop => "try_pop",
            Self::Push => "push",
            Self::Pop => "pop",
            Self::PushTimeout => "push_timeout",
            Self::PopTimeout => "pop_timeout",
            Self::AttachProducer => "attach_producer",
            Self::AttachConsumer => "attach_consumer",
            Self::DetachProducer => "detach_producer",
            Self::DetachConsumer => "detach_consumer",
            Self::Recover => "recover",
            Self::Commit => "commit",
            Self::Abandon => "abandon",
            Self::TryPopRef => "try_pop_ref",
            Self::PushAgain => "push_again",
            Self::PushOver => "push_over",
            Self::PopOn => "pop_on",
            Self::DetachOpen => "detach_open",
            Self::TryPushMany => "try_push_many",
            Self::TryPopMany => "try_pop_many",
            Self::ShutDown => "shut_down",
            Self::PopAsking => "pop_asking",
        }
    }

    /// What it may do to the messages.
    pub fn effect(self) -> Effect {
        match self {
            Self::TryPush | Self::Push | Self::PushTimeout | Self::TryPushMany => Effect::Put,
            Self::Commit | Self::PushAgain | Self::PushOver | Self::DetachOpen => Effect::Put,
            Self::TryPop | Self::Pop | Self::PopTimeout => Effect::Get,
            Self::TryPopRef | Self::PopOn | Self::TryPopMany | Self::PopAsking => Effect::Get,
            _ => Effect::None,
        }
    }

    /// Several messages at once?
    pub fn is_of_many(self) -> bool {
        matches!(self, Self::TryPushMany | Self::TryPopMany)
    }

    fn most(self, effect: Effect) -> usize {
        if self.effect() == effect { if self.is_of_many() { RUN } else { 1 } } else { 0 }
    }

    /// What it puts if its first message is that one.
    pub fn puts(self, first: u64) -> Range<u64> {
        first..first + self.most(Effect::Put) as u64
    }

    /// So many messages it asks for.
    pub fn gets(self) -> usize {
        self.most(Effect::Get)
    }

    /// Does it use the producers' side?
    pub fn is_producer(self) -> bool {
        self.effect() == Effect::Put
            || matches!(self, Self::AttachProducer | Self::DetachProducer | Self::Abandon)
    }

    /// Does it use the consumers' side?
    pub fn is_consumer(self) -> bool {
        self.effect() == Effect::Get || matches!(self, Self::AttachConsumer | Self::DetachConsumer)
    }

    /// Does it sleep until somebody else acts?
    pub fn is_blocking(self) -> bool {
        matches!(self, Self::Push | Self::Pop)
    }

    /// May it sleep?
    pub fn may_sleep(self) -> bool {
        self.is_blocking() || matches!(self, Self::PushTimeout | Self::PopTimeout)
    }

    /// Is it so long that only instructions that touch the segment are points?
    ///
    /// Long is what spins, yields, reads `/proc`, or clears a buffer first: thousands of instructions
    /// between two that anybody else could notice.
    pub fn is_long(self) -> bool {
        !matches!(
            self,
            Self::TryPush
                | Self::TryPop
                | Self::DetachProducer
                | Self::DetachConsumer
                | Self::Commit
                | Self::Abandon
                | Self::TryPopRef
                | Self::PushAgain
                | Self::PopOn
                | Self::DetachOpen
                | Self::TryPushMany
                | Self::ShutDown
                | Self::PopAsking
        )
    }

    /// May it need new memory in that state? Then it looks how much the machine has, which is long.
    pub fn reserves(self, config: &Config, state: State) -> bool {
        // The next put is of a new segment.
        let is_first =
            matches!(state, State::Empty | State::Verge | State::Brim | State::Edge | State::Dead);
        let puts = self.effect() == Effect::Put || self == Self::Abandon;
        // A lone producer leaves no blocks to the pool.
        let is_pooled = state == State::Pooled && config.producers == Role::Many;
        config.has_blocks()
            && puts
            && !matches!(self, Self::PushAgain | Self::DetachOpen)
            && (is_first || config.is_by_reference() && !is_pooled)
    }

    /// Has it a side that is exclusive in this configuration?
    pub fn is_exclusive(self, config: &Config) -> bool {
        self.is_producer() && config.producers == Role::One
            || self.is_consumer() && config.consumers == Role::One
    }
}

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Op {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        match OPS.into_iter().find(|op| op.name() == text) {
            Some(op) => Ok(op),
            None => bail!("no operation {text:?}; there are {}", OPS.map(Self::name).join(", ")),
        }
    }
}
