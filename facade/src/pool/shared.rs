//! What the pool's thread and its callers share.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::batch::{Batch, Outcome};
use super::error::{Fault, PoolError};
use super::worker::{Event, Job};
use crate::queue::Queue;
use crate::task::{Failure, chain};
use crate::wire::Bytes;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Running,
    /// No more calls; what was called for is done.
    Closed,
    /// Nothing more is done.
    Terminated,
}

#[derive(Debug)]
pub(super) struct Shared {
    pub(super) events: Queue<Event>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    phase: Phase,
    /// Why no more can be done, if so.
    broken: Option<String>,
    /// Those that no worker has.
    backlog: VecDeque<Job>,
    /// Who waits for each job that is not done.
    waiting: HashMap<u64, Waiting>,
    jobs_made: u64,
    /// The thread has been told to look, and has not looked yet.
    told_to_look: bool,
}

/// The items from `first` on of a batch.
#[derive(Debug)]
struct Waiting {
    batch: Arc<Batch>,
    first: usize,
    items: usize,
}

impl Shared {
    pub(super) fn new(events: Queue<Event>) -> Self {
        let state = State {
            phase: Phase::Running,
            broken: None,
            backlog: VecDeque::new(),
            waiting: HashMap::new(),
            jobs_made: 0,
            told_to_look: false,
        };
        Self { events, state: Mutex::new(state) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Whole at any time, and no code of others runs with the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn phase(&self) -> Phase {
        self.state().phase
    }

    /// Moves on to a later phase.
    pub(super) fn enter(&self, phase: Phase) {
        let mut state = self.state();
        if state.phase == Phase::Terminated {
            return;
        }
        state.phase = phase;
        // If there is no memory to say so, the thread sees it at its next event.
        _ = self.tell(state);
    }

    /// Calls `task` with each of `items`, so many in a job.
    pub(super) fn submit(
        &self,
        task: u32,
        items: Vec<Bytes>,
        chunksize: usize,
    ) -> Result<Arc<Batch>, PoolError> {
        let mut state = self.state();
        if let Some(why) = state.broken.clone() {
            return Err(PoolError::Broken { why });
        }
        if state.phase != Phase::Running {
            return Err(PoolError::NotRunning);
        }
        let batch = Arc::new(Batch::new(items.len()));
        let mut first = 0;
        let mut items = items.into_iter();
        loop {
            let items: Vec<_> = items.by_ref().take(chunksize).collect();
            if items.is_empty() {
                break;
            }
            let id = state.jobs_made;
            state.jobs_made += 1;
            let waiting = Waiting { batch: Arc::clone(&batch), first, items: items.len() };
            first += items.len();
            state.waiting.insert(id, waiting);
            state.backlog.push_back(Job { id, task, items });
        }
        self.tell(state)?;
        Ok(batch)
    }

    /// Has the thread look, unless it is about to.
    fn tell(&self, mut state: MutexGuard<'_, State>) -> Result<(), PoolError> {
        if std::mem::replace(&mut state.told_to_look, true) {
            return Ok(());
        }
        drop(state);
        self.events.put(Event::Look).map_err(|error| {
            self.looks();
            PoolError::Broken { why: chain(&error) }
        })
    }

    /// The thread looks from now on.
    pub(super) fn looks(&self) {
        self.state().told_to_look = false;
    }

    pub(super) fn next_job(&self) -> Option<Job> {
        self.state().backlog.pop_front()
    }

    /// A job that was given to a worker which never took it.
    pub(super) fn take_back(&self, job: Job) {
        let mut state = self.state();
        if state.waiting.contains_key(&job.id) {
            state.backlog.push_front(job);
        }
    }

    /// The outcomes of a job's items; those that are too few are lost, those too many superfluous.
    pub(super) fn deliver(&self, job: u64, outcomes: impl Iterator<Item = Outcome>) {
        let Some(waiting) = self.state().waiting.remove(&job) else { return };
        let Waiting { batch, first, items } = waiting;
        let lost = || Err(Fault::Task(Failure::Answer("it is missing".to_owned())));
        batch.deliver(first, outcomes.chain(std::iter::repeat_with(lost)).take(items));
    }

    /// May a worker that has ended be missed?
    pub(super) fn needs_workers(&self) -> bool {
        let state = self.state();
        let open = state.phase == Phase::Running || !state.waiting.is_empty();
        open && state.broken.is_none()
    }

    /// Was it closed, and is everything done?
    pub(super) fn is_finished(&self) -> bool {
        let state = self.state();
        state.phase == Phase::Closed && state.waiting.is_empty()
    }

    /// There will be no more answers.
    pub(super) fn break_down(&self, why: String) {
        self.state().broken.get_or_insert_with(|| why.clone());
        self.fail_all(&Fault::Broken(why));
    }

    pub(super) fn fail_all(&self, fault: &Fault) {
        let mut state = self.state();
        state.backlog.clear();
        let waiting = std::mem::take(&mut state.waiting);
        drop(state);
        for Waiting { batch, first, items } in waiting.into_values() {
            batch.deliver(first, std::iter::repeat_n(Err(fault.clone()), items));
        }
    }
}
