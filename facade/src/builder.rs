//! What a queue is to be.

use std::fmt;
use std::marker::PhantomData;

use shmq_engine::Options;

use crate::error::CreateError;
use crate::queue::Queue;

/// The default of [`Builder::message_max`], in bytes.
const MESSAGE_MAX: usize = 1024;

/// Options of a new queue; from [`Queue::builder`].
///
/// The queue's memory is reserved when it is created: `maxsize + participants` places, rounded up
/// to a power of two, of `message_max + 16` bytes each, rounded up to 64.
///
/// ```
/// use shmq::Queue;
///
/// let pages: Queue<Vec<u8>> = Queue::builder().maxsize(3).message_max(64 << 10).create()?;
/// assert_eq!(pages.maxsize(), 3);
/// # Ok::<(), shmq::CreateError>(())
/// ```
#[must_use]
pub struct Builder<T> {
    maxsize: usize,
    message_max: usize,
    participants: Option<usize>,
    values: PhantomData<fn(T) -> T>,
}

impl<T> Builder<T> {
    pub(crate) fn new() -> Self {
        Self { maxsize: 0, message_max: MESSAGE_MAX, participants: None, values: PhantomData }
    }

    /// How many values the queue holds: exactly that many, at least 1. It has to be said, because
    /// 0, which means unbounded, is not available yet.
    pub fn maxsize(mut self, values: usize) -> Self {
        self.maxsize = values;
        self
    }

    /// The longest value, in bytes, once encoded; 1024 by default.
    ///
    /// postcard encodes tightly: an integer takes at most its own size and a byte or three, a
    /// string or a vector its bytes and a length of one to ten.
    pub fn message_max(mut self, bytes: usize) -> Self {
        self.message_max = bytes;
        self
    }

    /// How many threads may be at work on the queue at a time, over all processes; 64 by default.
    ///
    /// A process takes as many of these as it ever had threads putting at once, and as many again
    /// for getting, and gives them back when it drops the queue or dies.
    pub fn participants(mut self, most: usize) -> Self {
        self.participants = Some(most);
        self
    }

    /// An anonymous queue: it lives while any process holds it. Hand it on with
    /// [`Queue::inherit`].
    ///
    /// # Errors
    /// [`CreateError::Unbounded`] without a `maxsize`; [`CreateError::Engine`] says which option is
    /// out of range, or what the system refused.
    pub fn create(self) -> Result<Queue<T>, CreateError> {
        let engine = self.options()?.create_anonymous().map_err(CreateError::from_engine)?;
        Ok(Queue::from_engine(engine, None))
    }

    /// A named queue, for [`Queue::open`] in any process of the same user.
    ///
    /// The name, of 1 to 200 letters, digits, `.`, `_` or `-`, is removed when the creator drops
    /// its last clone. If the creator is killed the name stays: see [`unlink`](crate::unlink).
    ///
    /// # Errors
    /// As for [`Builder::create`]; also if the name is taken, or no name.
    pub fn create_named(self, name: &str) -> Result<Queue<T>, CreateError> {
        let engine = self.options()?.create_named(name).map_err(CreateError::from_engine)?;
        Ok(Queue::from_engine(engine, Some(name.to_owned())))
    }

    fn options(&self) -> Result<Options, CreateError> {
        if self.maxsize == 0 {
            return Err(CreateError::Unbounded);
        }
        let options = Options::new(self.maxsize).message_max(self.message_max);
        Ok(self.participants.map_or(options, |most| options.participants(most)))
    }
}

impl<T> fmt::Debug for Builder<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("maxsize", &self.maxsize)
            .field("message_max", &self.message_max)
            .field("participants", &self.participants)
            .finish_non_exhaustive()
    }
}
