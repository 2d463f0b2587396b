//! What a queue is to be.

use std::fmt;
use std::marker::PhantomData;

use shmq_engine::Options;

use crate::error::CreateError;
use crate::queue::Queue;

/// Options of a new queue; from [`Queue::builder`].
///
/// The places of a bounded queue are reserved when it is created: `maxsize + participants` of them,
/// rounded up to a power of two, of 64 bytes and 16. What values of more than 48 bytes need besides, and
/// the places of an unbounded queue, is reserved when they are put, and given back when they are got.
///
/// ```
/// use shmq::Queue;
///
/// let pages: Queue<Vec<u8>> = Queue::builder().maxsize(3).max_bytes(64 << 20).create()?;
/// assert_eq!(pages.maxsize(), 3);
/// # Ok::<(), shmq::CreateError>(())
/// ```
#[must_use]
pub struct Builder<T> {
    maxsize: usize,
    message_max: Option<usize>,
    max_bytes: Option<usize>,
    participants: Option<usize>,
    values: PhantomData<fn(T) -> T>,
}

impl<T> Builder<T> {
    pub(crate) fn new() -> Self {
        Self {
            maxsize: 0,
            message_max: None,
            max_bytes: None,
            participants: None,
            values: PhantomData,
        }
    }

    /// How many values the queue holds: exactly that many. 0, the default, is no bound but memory.
    pub fn maxsize(mut self, values: usize) -> Self {
        self.maxsize = values;
        self
    }

    /// The longest value, in bytes, once encoded; by default, what `max_bytes` can hold. If that is at
    /// most 32 KiB, each place is large enough for it, which saves some tens of nanoseconds and costs
    /// the memory.
    ///
    /// postcard encodes tightly: an integer takes at most its own size and a byte or three, a
    /// string or a vector its bytes and a length of one to ten.
    pub fn message_max(mut self, bytes: usize) -> Self {
        self.message_max = Some(bytes);
        self
    }

    /// The most memory that the queue may take, in bytes, at least 1 MiB; by default, as much as the
    /// machine has. A put that needs more is refused, with [`PutError::NoMemory`](crate::PutError).
    pub fn max_bytes(mut self, bytes: usize) -> Self {
        self.max_bytes = Some(bytes);
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
    /// [`CreateError::Engine`] says which option is out of range, or what the system refused.
    pub fn create(self) -> Result<Queue<T>, CreateError> {
        let engine = self.options().create_anonymous().map_err(CreateError::from_engine)?;
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
        let engine = self.options().create_named(name).map_err(CreateError::from_engine)?;
        Ok(Queue::from_engine(engine, Some(name.to_owned())))
    }

    fn options(&self) -> Options {
        let mut options = match self.maxsize {
            0 => Options::unbounded(),
            maxsize => Options::new(maxsize),
        };
        if let Some(bytes) = self.message_max {
            options = options.message_max(bytes);
        }
        if let Some(bytes) = self.max_bytes {
            options = options.max_bytes(bytes);
        }
        self.participants.map_or(options, |most| options.participants(most))
    }
}

impl<T> fmt::Debug for Builder<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("maxsize", &self.maxsize)
            .field("message_max", &self.message_max)
            .field("max_bytes", &self.max_bytes)
            .field("participants", &self.participants)
            .finish_non_exhaustive()
    }
}
