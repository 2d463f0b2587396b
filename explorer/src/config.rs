//! The queues under test.

use anyhow::{Result, bail};
use shmq_engine::{Options, Queue, Role};

/// What kind of queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// As in seeds.
    pub name: &'static str,
    /// Messages it holds.
    pub capacity: usize,
    /// Bytes of the longest message.
    pub message_max: usize,
    /// Who may put.
    pub producers: Role,
    /// Who may get.
    pub consumers: Role,
}

/// Places for participants: the tracer's two, two victims, one that is stalled, one to spare.
pub const PARTICIPANTS: usize = 6;

/// One cache line a slot.
const SHORT: usize = 48;
/// Beyond the 256 bytes from which the copy is a string instruction, each byte of which is a step.
const LONG: usize = 320;

const fn config(
    name: &'static str,
    capacity: usize,
    message_max: usize,
    producers: Role,
    consumers: Role,
) -> Config {
    Config { name, capacity, message_max, producers, consumers }
}

/// All of them, the most general first.
pub const CONFIGS: [Config; 8] = [
    config("many-many", 2, SHORT, Role::Many, Role::Many),
    config("many-many-1", 1, SHORT, Role::Many, Role::Many),
    config("many-many-3", 3, SHORT, Role::Many, Role::Many),
    config("many-one", 2, SHORT, Role::Many, Role::One),
    config("one-many", 2, SHORT, Role::One, Role::Many),
    config("one-one", 2, SHORT, Role::One, Role::One),
    config("one-one-3", 3, SHORT, Role::One, Role::One),
    config("many-many-long", 2, LONG, Role::Many, Role::Many),
];

impl Config {
    /// The one of that name.
    pub fn find(name: &str) -> Result<&'static Self> {
        match CONFIGS.iter().find(|config| config.name == name) {
            Some(config) => Ok(config),
            None => {
                let names: Vec<_> = CONFIGS.iter().map(|config| config.name).collect();
                bail!("no configuration {name:?}; there are {}", names.join(", "))
            }
        }
    }

    /// Are messages so long that a copy is hundreds of steps?
    pub fn is_long(&self) -> bool {
        self.message_max == LONG
    }

    /// A queue of this kind.
    pub fn create(&self) -> Result<Queue> {
        let options = Options::new(self.capacity)
            .message_max(self.message_max)
            .participants(PARTICIPANTS)
            .producers(self.producers)
            .consumers(self.consumers);
        Ok(options.create_anonymous()?)
    }
}
