//! The queues under test.

use anyhow::{Result, bail};
use shmq_engine::{Options, Queue, Role};

use crate::op::RUN;

/// What kind of queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// As in seeds.
    pub name: &'static str,
    /// Messages it holds; of a growing queue, as many as count for full where states are built.
    pub capacity: usize,
    /// Bytes of the longest message that is put.
    pub message_max: usize,
    /// Where messages lie, and how many there may be.
    pub memory: Memory,
    /// Who may put.
    pub producers: Role,
    /// Who may get.
    pub consumers: Role,
}

/// Where the messages of a queue lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Memory {
    /// All in their slots.
    Slots,
    /// In blocks, if they have more than so many bytes.
    Blocks {
        /// The longest in a slot.
        inline: usize,
    },
    /// The same, with slots in segments that come and go.
    Growing {
        /// The longest in a slot.
        inline: usize,
    },
}

/// Places for participants: the tracer's two, two victims, one that is stalled, one to spare.
pub const PARTICIPANTS: usize = 6;

/// The most memory of queues that have blocks: little, for it is copied for every experiment.
pub const MAX_BYTES: usize = 1 << 22;

/// One cache line a slot.
const SHORT: usize = 48;
/// Of several lines; in a block, beyond the 256 bytes from which the copy is a string instruction, which is one step.
const LONG: usize = 320;
/// Beyond the 16 KiB from which a message has a block to itself.
const HUGE: usize = 20_000;
/// Slots of a growing queue that are so large that a segment has no more than 64: of lines, and in one piece.
const WIDE: usize = 1_000;
const WHOLE: usize = 2_300;

const fn config(
    name: &'static str,
    capacity: usize,
    message_max: usize,
    producers: Role,
    consumers: Role,
) -> Config {
    Config { name, capacity, message_max, memory: Memory::Slots, producers, consumers }
}

const fn blocks(name: &'static str, capacity: usize, message_max: usize, role: Role) -> Config {
    let memory = Memory::Blocks { inline: 16 };
    Config { name, capacity, message_max, memory, producers: role, consumers: role }
}

const fn growing(name: &'static str, inline: usize, message_max: usize, role: Role) -> Config {
    let memory = Memory::Growing { inline };
    Config { name, capacity: 4, message_max, memory, producers: role, consumers: role }
}

/// One claim is of at most as many messages as there are spare slots for each participant: here that
/// is a whole [`RUN`], so this queue is for runs.
pub const RUNS: &str = "many-many-12";

/// Consumers look how far they are behind, and ask for the lines in between, where there are places enough.
pub const ASKING: &str = "many-many-128";
/// From the first attempt on, after so many.
pub const ASKING_AFTER: usize = 32;
/// For so many lines.
pub const ASKED: usize = 16;

/// All of them, the most general first.
pub const CONFIGS: [Config; 16] = [
    config("many-many", 2, SHORT, Role::Many, Role::Many),
    config("many-many-1", 1, SHORT, Role::Many, Role::Many),
    config("many-many-3", 3, SHORT, Role::Many, Role::Many),
    config(RUNS, 12, SHORT, Role::Many, Role::Many),
    config(ASKING, 128, SHORT, Role::Many, Role::Many),
    config("many-one", 2, SHORT, Role::Many, Role::One),
    config("one-many", 2, SHORT, Role::One, Role::Many),
    config("one-one", 2, SHORT, Role::One, Role::One),
    config("one-one-3", 3, SHORT, Role::One, Role::One),
    config("many-many-long", 2, LONG, Role::Many, Role::Many),
    blocks("by-reference", 8, LONG, Role::Many),
    blocks("by-reference-one", 2, LONG, Role::One),
    blocks("by-reference-huge", 2, HUGE, Role::Many),
    growing("growing", WIDE, SHORT, Role::Many),
    growing("growing-one", WIDE, SHORT, Role::One),
    growing("growing-by-reference", WHOLE, WHOLE + LONG, Role::Many),
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
        self.message_max == LONG && self.memory == Memory::Slots
    }

    /// Has it no capacity?
    pub fn is_growing(&self) -> bool {
        matches!(self.memory, Memory::Growing { .. })
    }

    /// So many messages at most are claimed at once, if it has so many slots and there are places.
    pub fn claim_max(&self, slots: u64) -> u64 {
        if self.is_growing() || self.producers == Role::One {
            return RUN as u64;
        }
        ((slots - self.capacity as u64) / PARTICIPANTS as u64).clamp(1, RUN as u64)
    }

    /// Has it blocks of memory?
    pub fn has_blocks(&self) -> bool {
        self.memory != Memory::Slots
    }

    /// Do the messages lie in blocks?
    pub fn is_by_reference(&self) -> bool {
        match self.memory {
            Memory::Slots => false,
            Memory::Blocks { inline } | Memory::Growing { inline } => self.message_max > inline,
        }
    }

    /// Are messages collected in a block?
    pub fn collects(&self) -> bool {
        self.is_by_reference() && self.message_max < HUGE
    }

    /// A queue of this kind.
    pub fn create(&self) -> Result<Queue> {
        let options = match self.memory {
            Memory::Slots => Options::new(self.capacity).message_max(self.message_max),
            Memory::Blocks { inline } => {
                Options::new(self.capacity).inline(inline).max_bytes(MAX_BYTES)
            }
            Memory::Growing { inline } => Options::unbounded().inline(inline).max_bytes(MAX_BYTES),
        };
        let options =
            options.participants(PARTICIPANTS).producers(self.producers).consumers(self.consumers);
        Ok(options.create_anonymous()?)
    }
}

#[cfg(test)]
mod tests {
    use super::{Config, RUNS};
    use crate::op::RUN;
    use crate::segment::Segment;

    #[test]
    fn a_run_is_claimed_at_once_where_it_should_be() {
        let claim_max = |name| {
            let config = Config::find(name).unwrap();
            let queue = config.create().unwrap();
            config.claim_max(Segment::map(config, &queue).unwrap().slots())
        };
        for name in [RUNS, "one-one-3", "growing", "growing-one"] {
            assert_eq!(claim_max(name), RUN as u64, "{name}");
        }
        assert_eq!(claim_max("many-many"), 1);
    }
}
