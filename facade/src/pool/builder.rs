//! What a pool is to be.

use std::fmt;
use std::sync::Arc;

use serde::Serialize;

use super::error::PoolError;
use super::handler::Plan;
use super::shared::Shared;
use super::worker::{Args, Initializer};
use super::{Pool, task, wire};
use crate::builder::{PARTICIPANTS, PARTICIPANTS_MAX};
use crate::process::cpu_count;
use crate::queue::Queue;
use crate::task::{Task, UnknownTask};

/// All workers take part in a queue, their successors while the places of the dead are not free yet, and
/// threads of this process.
const OTHERS: usize = 32;
const PROCESSES_MAX: usize = (PARTICIPANTS_MAX - OTHERS) / 2;

/// Options of a new pool; from [`Pool::builder`].
#[must_use]
pub struct PoolBuilder {
    processes: usize,
    initializer: Option<Result<Initializer, UnknownTask>>,
    jobs_max: Option<u64>,
}

impl PoolBuilder {
    pub(super) fn new() -> Self {
        Self { processes: cpu_count(), initializer: None, jobs_max: None }
    }

    /// How many workers; by default, as many as there are CPUs to use.
    pub fn processes(mut self, processes: usize) -> Self {
        self.processes = processes;
        self
    }

    /// What every worker calls first. A [`Queue`] among the arguments is the same queue in all
    /// workers, which may keep it in a static for their tasks.
    ///
    /// If it fails the pool is broken: all tasks have [`PoolError::Broken`] for an answer.
    pub fn initializer<F, A>(mut self, task: F, args: A) -> Self
    where
        F: Task<A>,
        A: Serialize + Send + Sync + 'static,
    {
        // Its type says it all.
        let _ = task;
        let args = Args::Here(Arc::new(move || wire::to_bytes(&args)));
        self.initializer = Some(task::find::<F>().map(|task| Initializer { task, args }));
        self
    }

    /// A worker ends after so many tasks, and is replaced. (Items that travel together are one task.)
    pub fn maxtasksperchild(mut self, tasks: u64) -> Self {
        self.jobs_max = Some(tasks);
        self
    }

    /// Starts the workers.
    ///
    /// # Errors
    /// [`PoolError::Zero`], [`PoolError::TooMany`]; whatever keeps a worker from being started.
    pub fn create(self) -> Result<Pool, PoolError> {
        for (what, number) in [
            ("the number of processes", self.processes as u64),
            ("maxtasksperchild", self.jobs_max.unwrap_or(1)),
        ] {
            if number == 0 {
                return Err(PoolError::Zero { what });
            }
        }
        if self.processes > PROCESSES_MAX {
            return Err(PoolError::TooMany { given: self.processes, max: PROCESSES_MAX });
        }
        let participants = (2 * self.processes + OTHERS).max(PARTICIPANTS);
        let events = Queue::builder().participants(participants).create()?;
        let initializer = self.initializer.transpose()?;
        let plan = Plan { processes: self.processes, initializer, jobs_max: self.jobs_max };
        Pool::start(Shared::new(events), plan)
    }
}

impl fmt::Debug for PoolBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PoolBuilder")
            .field("processes", &self.processes)
            .field("maxtasksperchild", &self.jobs_max)
            .finish_non_exhaustive()
    }
}
