//! The queue with four members.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::error::{CreateError, GetError, PutError};
use crate::queue::Queue;
use crate::wire::{Decode, Encode};

/// A queue with `put`, `get`, `empty` and `close`, as Python's `multiprocessing.SimpleQueue`.
///
/// It has no bound, so `put` never waits (Python's does when a pipe is full). It travels as an argument of
/// a [`Process`](crate::Process), like a [`Queue`], which has more members and costs the same.
///
/// ```
/// use shmq::SimpleQueue;
///
/// let queue = SimpleQueue::new()?;
/// queue.put("a message".to_owned())?;
/// assert!(!queue.empty());
/// assert_eq!(queue.get()?, "a message");
/// queue.close();
/// assert_eq!(queue.get().unwrap_err().to_string(), "handle is closed");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Deserialize, Serialize)]
#[serde(bound = "")]
pub struct SimpleQueue<T>(Queue<T>);

/// Python's words.
const HANDLE: &str = "handle";

impl<T> SimpleQueue<T> {
    /// An empty queue.
    ///
    /// # Errors
    /// As for [`Queue::new`].
    pub fn new() -> Result<Self, CreateError> {
        Queue::new(0).map(Self)
    }

    /// As [`Queue::empty`].
    pub fn empty(&self) -> bool {
        self.0.empty()
    }

    /// As [`Queue::close`].
    pub fn close(&self) {
        self.0.close();
    }
}

impl<T: Encode> SimpleQueue<T> {
    /// Puts `value`. When this returns, every process sees it.
    ///
    /// # Errors
    /// As for [`Queue::put`].
    pub fn put(&self, value: T) -> Result<(), PutError<T>> {
        self.0.put(value).map_err(|error| match error {
            PutError::Closed { value, .. } => PutError::Closed { value, what: HANDLE.to_owned() },
            error => error,
        })
    }
}

impl<T: Decode> SimpleQueue<T> {
    /// Gets the next value, waiting for one as long as it takes.
    ///
    /// # Errors
    /// As for [`Queue::get`].
    pub fn get(&self) -> Result<T, GetError> {
        self.0.get().map_err(|error| match error {
            GetError::Closed { .. } => GetError::Closed { what: HANDLE.to_owned() },
            error => error,
        })
    }
}

impl<T> Clone for SimpleQueue<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T> fmt::Debug for SimpleQueue<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimpleQueue").field("qsize", &self.0.qsize()).finish_non_exhaustive()
    }
}
