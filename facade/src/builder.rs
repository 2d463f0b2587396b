//! What a queue is to be.

use std::fmt;
use std::marker::PhantomData;

use shmq_engine::{Fences, Options, Wait};

use crate::error::CreateError;
use crate::joinable::JoinableQueue;
use crate::queue::Queue;

/// Options of a new queue; from [`Queue::builder`].
///
/// The places of a bounded queue are reserved when it is created: `maxsize`, and up to 16 spare ones for each of
/// `participants` (not more than `maxsize` in all, but one for each), rounded up to a power of two, of 64 bytes and 16 (32 and 16, if `message_max` is 16 or less; as many lines of
/// 64 bytes as the longest value needs, if that is up to 32 KiB). What values of more than 48 bytes need besides, where
/// a place has no room for them, and the places of an unbounded queue, is reserved when they are put, and given back
/// when they are got.
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
    ends_with_producers: bool,
    wait: Wait,
    fences: Option<Fences>,
    values: PhantomData<fn(T) -> T>,
}

/// The engine's default, and the most that it allows.
pub(crate) const PARTICIPANTS: usize = 64;
pub(crate) const PARTICIPANTS_MAX: usize = 4096;

impl<T> Builder<T> {
    pub(crate) fn new() -> Self {
        Self {
            maxsize: 0,
            message_max: None,
            max_bytes: None,
            participants: None,
            ends_with_producers: false,
            wait: Wait::default(),
            fences: None,
            values: PhantomData,
        }
    }

    /// How many values the queue holds: exactly that many, 2^30 at most. 0, the default, is no bound but memory.
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

    /// The most memory that the queue may take, in bytes, from 1 MiB to 16 TiB; by default, as much as
    /// the machine has. A put that needs more is refused, with [`PutError::NoMemory`](crate::PutError).
    pub fn max_bytes(mut self, bytes: usize) -> Self {
        self.max_bytes = Some(bytes);
        self
    }

    /// How many places there are at the queue for threads that use it, over all processes; 64 by default, 4096 at
    /// most.
    ///
    /// A process takes as many of these as it ever had threads putting at once, and as many again
    /// for getting, and gives them back when it drops the queue or dies; or idle ones of one side when it
    /// lacks one of the other. So 32 processes may both put and get, or 64 do one of the two.
    pub fn participants(mut self, most: usize) -> Self {
        self.participants = Some(most);
        self
    }

    /// The queue is [shut down](Queue::shutdown) when its last producer has gone, so that consumers get
    /// what is left and then know that it was all.
    ///
    /// A process is a producer from its first put until it drops or [closes](Queue::close) its last
    /// handle, or dies, by whatever. Before the first put of all, the queue waits for one. Who first puts when all
    /// others have gone again finds the queue shut: where producers come and go, rather have whoever
    /// knows them all call [`Queue::shutdown`]. A death is noticed by a consumer that waits, within some
    /// 100 ms.
    ///
    /// Give the queue participants enough: a process that runs out of them gives up its idle places,
    /// also as a producer.
    pub fn ends_with_producers(mut self) -> Self {
        self.ends_with_producers = true;
        self
    }

    /// How this handle waits, its clones, and those that children are given as arguments. By default it
    /// looks for a moment, then sleeps.
    pub fn wait(mut self, wait: Wait) -> Self {
        self.wait = wait;
        self
    }

    /// How the queue's participants order their memory accesses: by default as the system allows. Full fences
    /// cost some nanoseconds each, and work where a process, now or later, may not use membarrier(2).
    pub fn fences(mut self, fences: Fences) -> Self {
        self.fences = Some(fences);
        self
    }

    /// An anonymous queue: it lives while any process holds it. Hand it on as an
    /// argument of a [`Process`](crate::Process), or with [`Queue::inherit`].
    ///
    /// # Errors
    /// [`CreateError::Engine`] says which option is out of range, or what the system refused.
    pub fn create(self) -> Result<Queue<T>, CreateError> {
        let engine = self.options().create_anonymous().map_err(CreateError::from_engine)?;
        Ok(Queue::from_engine(engine, None, self.wait))
    }

    /// An anonymous queue that counts unfinished tasks.
    ///
    /// # Errors
    /// As for [`Builder::create`].
    pub fn create_joinable(self) -> Result<JoinableQueue<T>, CreateError> {
        JoinableQueue::create(self)
    }

    /// For the parts of a joinable queue, of which a thread may use both sides at once.
    pub(crate) fn participants_of_parts(&self) -> usize {
        self.participants.unwrap_or(PARTICIPANTS).saturating_mul(2).min(PARTICIPANTS_MAX)
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
        Ok(Queue::from_engine(engine, Some(name.to_owned()), self.wait))
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
        if let Some(most) = self.participants {
            options = options.participants(most);
        }
        if let Some(fences) = self.fences {
            options = options.fences(fences);
        }
        if self.ends_with_producers { options.ends_with_producers() } else { options }
    }
}

impl<T> fmt::Debug for Builder<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("maxsize", &self.maxsize)
            .field("message_max", &self.message_max)
            .field("max_bytes", &self.max_bytes)
            .field("participants", &self.participants)
            .field("ends_with_producers", &self.ends_with_producers)
            .field("wait", &self.wait)
            .field("fences", &self.fences)
            .finish_non_exhaustive()
    }
}
