//! The items of one call, and their answers.

use std::collections::VecDeque;
use std::fmt;
use std::panic::{self, AssertUnwindSafe};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::error::Fault;
use crate::wire::Bytes;

/// What became of one item.
pub(super) type Outcome = Result<Bytes, Fault>;

/// What is called with all outcomes, in order.
pub(super) type Callback = Box<dyn FnOnce(&[Option<Outcome>]) + Send>;

/// The answers to one call, which arrive one by one. Knows no types: who asks decodes.
pub(super) struct Batch {
    answers: Mutex<Answers>,
    arrival: Condvar,
}

struct Answers {
    outcomes: Vec<Option<Outcome>>,
    /// Which have arrived, in that order, for who takes them one by one.
    arrived: VecDeque<usize>,
    missing: usize,
    callbacks: Vec<Callback>,
    /// All have arrived, and the callbacks been called: who waited for the answer sees what they did.
    done: bool,
}

impl Batch {
    pub(super) fn new(items: usize) -> Self {
        let outcomes = (0..items).map(|_| None).collect();
        let (arrived, callbacks) = (VecDeque::new(), Vec::new());
        let answers = Answers { outcomes, arrived, missing: items, callbacks, done: items == 0 };
        Self { answers: Mutex::new(answers), arrival: Condvar::new() }
    }

    fn answers(&self) -> MutexGuard<'_, Answers> {
        // Nothing panics with the lock.
        self.answers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Outcomes of the items from `first` on.
    pub(super) fn deliver(&self, first: usize, outcomes: impl Iterator<Item = Outcome>) {
        let mut answers = self.answers();
        for (at, outcome) in (first..).zip(outcomes) {
            answers.outcomes[at] = Some(outcome);
            answers.arrived.push_back(at);
            answers.missing -= 1;
        }
        while answers.missing == 0 && !answers.callbacks.is_empty() {
            let callbacks = std::mem::take(&mut answers.callbacks);
            let outcomes = answers.outcomes.clone();
            drop(answers);
            callbacks.into_iter().for_each(|callback| call(callback, &outcomes));
            answers = self.answers();
        }
        answers.done = answers.missing == 0;
        self.arrival.notify_all();
    }

    /// Calls it when all have arrived; now, if that is done.
    pub(super) fn when_done(&self, callback: Callback) {
        let mut answers = self.answers();
        if !answers.done {
            answers.callbacks.push(callback);
            return;
        }
        let outcomes = answers.outcomes.clone();
        drop(answers);
        call(callback, &outcomes);
    }

    pub(super) fn is_done(&self) -> bool {
        self.answers().done
    }

    /// Waits until that is done, or until the time is over; then there is nothing to read.
    pub(super) fn read<R>(
        &self,
        timeout: Option<Duration>,
        read: impl FnOnce(&[Option<Outcome>]) -> R,
    ) -> Option<R> {
        let answers = self.wait(timeout, |answers| answers.done.then_some(()))?.0;
        Some(read(&answers.outcomes))
    }

    /// Takes the outcome of item `at`, or whichever arrived next, out of the batch.
    pub(super) fn take(&self, at: Option<usize>, timeout: Option<Duration>) -> Option<Outcome> {
        let next = |answers: &mut Answers| match at {
            Some(at) => answers.outcomes[at].take(),
            None => answers.arrived.pop_front().and_then(|at| answers.outcomes[at].take()),
        };
        Some(self.wait(timeout, next)?.1)
    }

    fn wait<R>(
        &self,
        timeout: Option<Duration>,
        mut look: impl FnMut(&mut Answers) -> Option<R>,
    ) -> Option<(MutexGuard<'_, Answers>, R)> {
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        let mut answers = self.answers();
        loop {
            if let Some(found) = look(&mut answers) {
                return Some((answers, found));
            }
            answers = match deadline {
                None => self.arrival.wait(answers).unwrap_or_else(PoisonError::into_inner),
                Some(deadline) => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        return None;
                    }
                    let waited = self.arrival.wait_timeout(answers, left);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
    }
}

/// A callback that panics has said so; the pool works on.
fn call(callback: Callback, outcomes: &[Option<Outcome>]) {
    _ = panic::catch_unwind(AssertUnwindSafe(|| callback(outcomes)));
}

impl fmt::Debug for Batch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let answers = self.answers();
        f.debug_struct("Batch")
            .field("items", &answers.outcomes.len())
            .field("missing", &answers.missing)
            .finish_non_exhaustive()
    }
}
