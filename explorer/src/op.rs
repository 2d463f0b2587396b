//! The operations under test.

use std::fmt;
use std::str::FromStr;

use anyhow::{Result, bail};
use shmq_engine::Role;

use crate::config::Config;

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
}

/// What an operation may do to the messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Puts one.
    Put,
    /// Gets one.
    Get,
    /// Neither.
    None,
}

/// All of them, in the order of `--list`.
pub const OPS: [Op; 11] = [
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
        }
    }

    /// What it may do to the messages.
    pub fn effect(self) -> Effect {
        match self {
            Self::TryPush | Self::Push | Self::PushTimeout => Effect::Put,
            Self::TryPop | Self::Pop | Self::PopTimeout => Effect::Get,
            _ => Effect::None,
        }
    }

    /// Does it use the producers' side?
    pub fn is_producer(self) -> bool {
        self.effect() == Effect::Put || matches!(self, Self::AttachProducer | Self::DetachProducer)
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
    /// Long is what spins, yields and reads `/proc`: thousands of instructions between two that
    /// anybody else could notice.
    pub fn is_long(self) -> bool {
        !matches!(self, Self::TryPush | Self::TryPop | Self::DetachProducer | Self::DetachConsumer)
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
