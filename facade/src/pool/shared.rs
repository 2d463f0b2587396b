//! What the pool's thread and its callers share.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use super::batch::{Batch, Outcome};
use super::error::{Fault, PoolError};
use super::worker::{Event, Job};
use crate::error::PutError;
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

/// How often something is told to a queue that has no memory for it.
const TRIES: u32 = 1_000;

/// Tries until it is done, for some seconds: if there is no memory, there may be some soon.
pub(super) fn insist(is_done: impl Fn() -> bool) {
    for _ in 0..TRIES {
        if is_done() {
            return;
        }
        thread::sleep(Duration::from_millis(10));
    }
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
        drop(state);
        // If that fails, the thread sees it at its next event.
        insist(|| !matches!(self.tell(&mut self.state()), Err(PutError::NoMemory { .. })));
    }

    /// Calls `task` with each of `items`, so many in a job.
    pub(super) fn submit(
        &self,
        task: u32,
        items: Vec<Bytes>,
        chunksize: usize,
    ) -> Result<Arc<Batch>, PoolError> {
        let state = &mut *self.state();
        if let Some(why) = state.broken.clone() {
            return Err(PoolError::Broken { why });
        }
        if state.phase != Phase::Running {
            return Err(PoolError::NotRunning);
        }
        let batch = Arc::new(Batch::new(items.len()));
        let older = state.backlog.len();
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
        if let Err(error) = self.tell(state) {
            // Who is told so may call again: nothing of this is to be done.
            for job in state.backlog.drain(older..) {
                state.waiting.remove(&job.id);
            }
            return Err(PoolError::Broken { why: chain(&error) });
        }
        Ok(batch)
    }

    /// Has the thread look, unless it is about to. With the lock, so that nobody relies on a try that fails;
    /// the queue has no bound, so this does not block.
    fn tell(&self, state: &mut State) -> Result<(), PutError<Event>> {
        if !state.told_to_look {
            self.events.put(Event::Look)?;
            state.told_to_look = true;
        }
        Ok(())
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

#[cfg(test)]
mod tests {
    use super::{Phase, Shared};
    use crate::pool::worker::Event;
    use crate::queue::Queue;
    use crate::wire;

    #[test]
    fn calls_that_nobody_can_be_told_of_are_forgotten() {
        let events = Queue::builder().max_bytes(1 << 20).create().unwrap();
        let shared = Shared::new(events.clone());
        while events.put(Event::Look).is_ok() {}
        let items = || vec![wire::to_bytes(&7).unwrap(); 5];
        for _ in 0..2 {
            assert!(shared.submit(0, items(), 2).is_err());
            assert!(shared.next_job().is_none());
        }
        let full = events.qsize();
        std::thread::scope(|scope| {
            let closing = scope.spawn(|| shared.enter(Phase::Closed));
            while shared.phase() == Phase::Running {}
            assert!(!closing.is_finished());
            assert_eq!(events.clear().unwrap(), full);
        });
        assert!(events.qsize() == 1 && shared.is_finished());
    }
}
