//! What a pool's asynchronous calls return.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::de::DeserializeOwned;

use super::batch::{Batch, Outcome};
use super::error::PoolError;
use crate::wire;

type Decode<R> = fn(&[Option<Outcome>]) -> Result<R, PoolError>;

/// An answer that may not have arrived yet; from [`Pool::apply_async`](crate::Pool::apply_async) and
/// its relatives.
pub struct AsyncResult<R> {
    batch: Arc<Batch>,
    decode: Decode<R>,
}

impl<R: DeserializeOwned> AsyncResult<R> {
    pub(super) fn one(batch: Arc<Batch>) -> Self {
        let decode = |outcomes: &[Option<Outcome>]| decode(&outcomes[0]);
        Self { batch, decode }
    }
}

impl<R: DeserializeOwned> AsyncResult<Vec<R>> {
    pub(super) fn all(batch: Arc<Batch>) -> Self {
        Self { batch, decode: |outcomes| outcomes.iter().map(decode).collect() }
    }
}

fn decode<R: DeserializeOwned>(outcome: &Option<Outcome>) -> Result<R, PoolError> {
    match outcome {
        Some(Ok(bytes)) => wire::decode(bytes).map_err(PoolError::Decode),
        Some(Err(fault)) => Err(fault.clone().into()),
        None => Err(PoolError::Timeout),
    }
}

impl<R> AsyncResult<R> {
    /// Waits for the answer as long as it takes. May be called again.
    ///
    /// # Errors
    /// Why there is none; of several items, why there is none to the first that has none.
    pub fn get(&self) -> Result<R, PoolError> {
        self.get_by(None)
    }

    /// Waits for the answer, no longer than `timeout`.
    ///
    /// # Errors
    /// As for [`AsyncResult::get`], and [`PoolError::Timeout`].
    pub fn get_timeout(&self, timeout: Duration) -> Result<R, PoolError> {
        self.get_by(Some(timeout))
    }

    fn get_by(&self, timeout: Option<Duration>) -> Result<R, PoolError> {
        self.batch.read(timeout, self.decode).unwrap_or(Err(PoolError::Timeout))
    }

    /// Waits until there is an answer, or the certainty that there will be none.
    pub fn wait(&self) {
        self.batch.read(None, |_| ());
    }

    /// Waits as [`AsyncResult::wait`] does, no longer than `timeout`. Is it [`ready`](Self::ready)?
    pub fn wait_timeout(&self, timeout: Duration) -> bool {
        self.batch.read(Some(timeout), |_| ()).is_some()
    }

    /// Is there an answer, or the certainty that there will be none?
    pub fn ready(&self) -> bool {
        self.batch.is_done()
    }

    /// Is there an answer, and not an error? `None` while it is not [`ready`](Self::ready).
    pub fn successful(&self) -> Option<bool> {
        let all = |outcomes: &[Option<Outcome>]| {
            outcomes.iter().all(|outcome| matches!(outcome, Some(Ok(_))))
        };
        self.batch.read(Some(Duration::ZERO), all)
    }
}

impl<R: 'static> AsyncResult<R> {
    /// Calls `callback` with the answer when it arrives, at once if it is [`ready`](Self::ready). Not if
    /// there is none.
    ///
    /// It is called by the pool's own thread, which does nothing else meanwhile: it must not wait for
    /// the pool. Who waits for the answer goes on when it has returned.
    #[must_use = "the answer can still be waited for"]
    pub fn callback(self, callback: impl FnOnce(R) + Send + 'static) -> Self {
        let decode = self.decode;
        self.batch.when_done(Box::new(move |outcomes| _ = decode(outcomes).map(callback)));
        self
    }

    /// Calls `callback` with the error as soon as it is certain that there is no answer.
    ///
    /// As [`AsyncResult::callback`] besides.
    #[must_use = "the answer can still be waited for"]
    pub fn error_callback(self, callback: impl FnOnce(PoolError) + Send + 'static) -> Self {
        let decode = self.decode;
        self.batch.when_done(Box::new(move |outcomes| _ = decode(outcomes).map_err(callback)));
        self
    }
}

impl<R> fmt::Debug for AsyncResult<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("AsyncResult").field(&self.batch).finish()
    }
}

/// Answers one by one; from [`Pool::imap`](crate::Pool::imap) and
/// [`Pool::imap_unordered`](crate::Pool::imap_unordered).
///
/// An item without an answer is an error in its place; the iterator goes on after it.
pub struct Imap<R> {
    batch: Arc<Batch>,
    items: usize,
    taken: usize,
    ordered: bool,
    decode: fn(&Option<Outcome>) -> Result<R, PoolError>,
}

impl<R: DeserializeOwned> Imap<R> {
    pub(super) fn new(batch: Arc<Batch>, items: usize, ordered: bool) -> Self {
        Self { batch, items, taken: 0, ordered, decode }
    }
}

impl<R> Imap<R> {
    /// The next answer, which is waited for no longer than `timeout`: then it is
    /// [`PoolError::Timeout`], and still to come.
    pub fn next_timeout(&mut self, timeout: Duration) -> Option<Result<R, PoolError>> {
        self.next_by(Some(timeout))
    }

    fn next_by(&mut self, timeout: Option<Duration>) -> Option<Result<R, PoolError>> {
        if self.taken == self.items {
            return None;
        }
        let outcome = self.batch.take(self.ordered.then_some(self.taken), timeout);
        self.taken += usize::from(outcome.is_some());
        Some((self.decode)(&outcome))
    }
}

impl<R> Iterator for Imap<R> {
    type Item = Result<R, PoolError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_by(None)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.items - self.taken;
        (left, Some(left))
    }
}

impl<R> ExactSizeIterator for Imap<R> {}

impl<R> fmt::Debug for Imap<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Imap")
            .field("items", &self.items)
            .field("taken", &self.taken)
            .finish_non_exhaustive()
    }
}
