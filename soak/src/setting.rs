//! What an epoch is like: drawn at random, all from the seed.

use std::fmt;

use rand::RngExt;
use rand::rngs::StdRng;
use rand::seq::{IndexedRandom, SliceRandom};
use serde::{Deserialize, Serialize};
use shmq_engine::{Fences, Options, Role as Side};

use crate::cli::Plan;
use crate::message;
use crate::worker::Role;

/// Where the messages of an epoch's queue lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
pub(crate) enum Memory {
    /// In their slots.
    Slots,
    /// In blocks, if they are not short.
    Blocks,
    /// The same, with as many slots as it takes.
    Unbounded,
}

/// The most memory of a queue that has blocks: such as an unbounded one may reach now and then.
const MAX_BYTES: usize = 64 << 20;
/// A queue without a capacity must hold so many messages.
pub(crate) const UNBOUNDED_PLACES: usize = 500;
/// Some messages lie in slots all the same.
const INLINE: usize = 32;

#[derive(Clone, Debug)]
pub(crate) struct Setting {
    pub(crate) memory: Memory,
    /// `None`: it has none.
    pub(crate) capacity: Option<usize>,
    pub(crate) message_max: usize,
    /// Of a queue that has blocks.
    max_bytes: usize,
    pub(crate) producers: Side,
    pub(crate) consumers: Side,
    pub(crate) participants: usize,
    /// `None`: the engine's choice.
    fences: Option<Fences>,
    /// One worker at a time for each.
    pub(crate) roles: Vec<Role>,
    /// How many operations and kills at least.
    pub(crate) operations: u64,
    pub(crate) kills: u64,
}

impl Setting {
    pub(crate) fn draw(plan: &Plan, random: &mut StdRng, operations: u64, kills: u64) -> Self {
        let memory = plan.memory.unwrap_or_else(|| {
            let all = [Memory::Slots, Memory::Slots, Memory::Blocks, Memory::Unbounded];
            all[random.random_range(0..all.len())]
        });
        // With the last there is room for consumers to fall back, and to ask for lines.
        let capacity = [1, 4, 64, 300].choose(random).copied().unwrap_or(1);
        let capacity = (memory != Memory::Unbounded).then(|| plan.capacity.unwrap_or(capacity));
        let message_max = match memory {
            _ if random.random_bool(0.5) => 3 * message::MIN,
            Memory::Slots => 4096,
            Memory::Blocks | Memory::Unbounded => message::LARGE,
        };
        let message_max = plan.message_max.unwrap_or(message_max);
        // What was asked for must fit. (What is drawn does, or is to find out what happens when it does not.)
        let asked = plan.capacity.is_some() || plan.message_max.is_some();
        let places = capacity.unwrap_or(UNBOUNDED_PLACES);
        let max_bytes = if asked { MAX_BYTES.max(2 * places * message_max) } else { MAX_BYTES };
        let mut side = || if random.random_bool(0.2) { Side::One } else { Side::Many };
        let (producers, consumers) = (side(), side());
        // Two places for each worker and one for the drain are enough if those of the dead are found
        // again; with more, the dead stay longer.
        let spare = if random.random() { 1 } else { 4 * plan.processes };
        Self {
            memory,
            capacity,
            producers,
            consumers,
            message_max,
            max_bytes,
            participants: 2 * plan.processes + spare,
            fences: random.random_bool(0.25).then_some(Fences::Full),
            roles: roles(plan.processes, [producers, consumers], random),
            operations,
            kills,
        }
    }

    pub(crate) fn options(&self) -> Options {
        let options = self.capacity.map_or_else(Options::unbounded, Options::new);
        let options = match self.memory {
            Memory::Slots => options.inline(self.message_max).message_max(self.message_max),
            Memory::Blocks | Memory::Unbounded => options.inline(INLINE).max_bytes(self.max_bytes),
        };
        let options = options
            .participants(self.participants)
            .producers(self.producers)
            .consumers(self.consumers);
        self.fences.map_or(options, |fences| options.fences(fences))
    }
}

/// At least two that put and two that get, so that any one of them can be killed or stopped.
///
/// An exclusive side has one worker, who is killed and stopped all the same.
fn roles(processes: usize, sides: [Side; 2], random: &mut StdRng) -> Vec<Role> {
    let many = |role| vec![role; processes - 1];
    match sides {
        [Side::One, Side::One] => return vec![Role::Putter, Role::Getter],
        [Side::One, Side::Many] => return [vec![Role::Putter], many(Role::Getter)].concat(),
        [Side::Many, Side::One] => return [vec![Role::Getter], many(Role::Putter)].concat(),
        [Side::Many, Side::Many] => {}
    }
    loop {
        let all = [Role::Putter, Role::Getter, Role::Both];
        let mut roles: Vec<Role> =
            (0..processes).map(|_| all[random.random_range(0..all.len())]).collect();
        let puts = roles.iter().filter(|role| role.puts()).count();
        let gets = roles.iter().filter(|role| role.gets()).count();
        if puts >= 2 && gets >= 2 {
            roles.shuffle(random);
            return roles;
        }
    }
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = |wanted| self.roles.iter().filter(|&&role| role == wanted).count();
        write!(
            f,
            "{:?}, capacity {}, {:?} producers, {:?} consumers, messages of {} to {} bytes, {} participants, {} fences, workers: {} put, \
             {} get, {} do both",
            self.memory,
            self.capacity.map_or("none".to_owned(), |capacity| capacity.to_string()),
            self.producers,
            self.consumers,
            message::MIN,
            self.message_max,
            self.participants,
            if self.fences.is_some() { "full" } else { "default" },
            count(Role::Putter),
            count(Role::Getter),
            count(Role::Both),
        )
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use rand::SeedableRng;

    use super::*;

    pub(crate) fn plan(capacity: usize) -> Plan {
        Plan {
            operations: 0,
            kills: 0,
            processes: 2,
            seed: 9,
            message_max: Some(48),
            capacity: Some(capacity),
            memory: Some(Memory::Slots),
            history: Default::default(),
        }
    }

    pub(crate) fn draw(plan: &Plan) -> Setting {
        Setting::draw(plan, &mut StdRng::seed_from_u64(plan.seed), 0, 0)
    }

    #[test]
    fn any_worker_can_be_spared() {
        let mut random = StdRng::seed_from_u64(1);
        for processes in (2..=8).cycle().take(200) {
            let roles = roles(processes, [Side::Many; 2], &mut random);
            assert_eq!(roles.len(), processes);
            for spared in 0..processes {
                let others = || roles.iter().enumerate().filter(|&(at, _)| at != spared);
                assert!(others().any(|(_, role)| role.puts()), "{roles:?}");
                assert!(others().any(|(_, role)| role.gets()), "{roles:?}");
            }
        }
    }
}
