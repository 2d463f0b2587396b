//! What an epoch is like: drawn at random, all from the seed.

use std::fmt;

use rand::RngExt;
use rand::rngs::StdRng;
use rand::seq::{IndexedRandom, SliceRandom};
use shmq_engine::{Fences, Options};

use crate::cli::Plan;
use crate::message;
use crate::worker::Role;

#[derive(Clone, Debug)]
pub(crate) struct Setting {
    pub(crate) capacity: usize,
    pub(crate) message_max: usize,
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
        let capacity = [1, 4, 64].choose(random).copied().unwrap_or(1);
        let message_max = if random.random_bool(0.75) { 3 * message::MIN } else { 4096 };
        // Two places for each worker and one for the drain are enough if those of the dead are found
        // again; with more, the dead stay longer.
        let spare = if random.random() { 1 } else { 4 * plan.processes };
        Self {
            capacity: plan.capacity.unwrap_or(capacity),
            message_max: plan.message_max.unwrap_or(message_max),
            participants: 2 * plan.processes + spare,
            fences: random.random_bool(0.25).then_some(Fences::Full),
            roles: roles(plan.processes, random),
            operations,
            kills,
        }
    }

    pub(crate) fn options(&self) -> Options {
        let options = Options::new(self.capacity)
            .message_max(self.message_max)
            .participants(self.participants);
        self.fences.map_or(options, |fences| options.fences(fences))
    }
}

/// At least two that put and two that get, so that any one of them can be killed or stopped.
fn roles(processes: usize, random: &mut StdRng) -> Vec<Role> {
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
            "capacity {}, messages of {} to {} bytes, {} participants, {} fences, workers: {} put, \
             {} get, {} do both",
            self.capacity,
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
            let roles = roles(processes, &mut random);
            assert_eq!(roles.len(), processes);
            for spared in 0..processes {
                let others = || roles.iter().enumerate().filter(|&(at, _)| at != spared);
                assert!(others().any(|(_, role)| role.puts()), "{roles:?}");
                assert!(others().any(|(_, role)| role.gets()), "{roles:?}");
            }
        }
    }
}
