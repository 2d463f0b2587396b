//! The queue of values.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Serialize;
use serde::de::DeserializeOwned;
use shmq_engine::{AttachError, Consumer, PopError, Producer, PushError};

use crate::builder::Builder;
use crate::error::{CreateError, GetError, PutError};
use crate::handles::{Handle, Handles, Lent};
use crate::wire;

/// A first-in-first-out queue of values, between any threads of any processes.
///
/// Clones are the same queue. All methods take `&self` and may be called by many threads at once;
/// one that blocks holds up no other. What a method says about the queue is true at an instant of
/// the call: others may change it before you look.
///
/// ```
/// use shmq::Queue;
///
/// let queue = Queue::new(3)?;
/// queue.put("a message".to_owned())?;
/// assert_eq!(queue.qsize(), 1);
/// assert_eq!(queue.get_nowait()?, "a message");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Queue<T> {
    inner: Arc<Inner>,
    // Values are made and read here, and kept as bytes.
    values: PhantomData<fn(T) -> T>,
}

struct Inner {
    engine: shmq_engine::Queue,
    name: Option<String>,
    producers: Handles<Producer>,
    consumers: Handles<Consumer>,
}

impl<T> Queue<T> {
    /// An anonymous queue of at most `maxsize` values; 0 for as many as there is memory for.
    ///
    /// # Errors
    /// [`CreateError::Engine`] if `maxsize` is out of range, or the system refused.
    pub fn new(maxsize: usize) -> Result<Self, CreateError> {
        Self::builder().maxsize(maxsize).create()
    }

    /// A queue with options: larger values, more participants, a name.
    pub fn builder() -> Builder<T> {
        Builder::new()
    }

    /// Attaches to the queue of that name, which any process of the same user may have created with
    /// [`Builder::create_named`]. Waits up to half a second for a creator that has not finished.
    ///
    /// `T` must be the creator's.
    ///
    /// # Errors
    /// Whatever is wrong with the name or the segment, told apart by [`AttachError`].
    pub fn open(name: &str) -> Result<Self, AttachError> {
        let engine = shmq_engine::Queue::open(name)?;
        Ok(Self::from_engine(engine, Some(name.to_owned())))
    }

    pub(crate) fn from_engine(engine: shmq_engine::Queue, name: Option<String>) -> Self {
        let (producers, consumers) = (Handles::new(), Handles::new());
        let inner = Arc::new(Inner { engine, name, producers, consumers });
        Self { inner, values: PhantomData }
    }

    pub(crate) fn engine(&self) -> &shmq_engine::Queue {
        &self.inner.engine
    }

    /// The name it was created with or opened by, if it has one.
    pub fn name(&self) -> Option<&str> {
        self.inner.name.as_deref()
    }

    /// How many values are in the queue, puts in progress included.
    pub fn qsize(&self) -> usize {
        self.engine().len()
    }

    /// Is nothing in the queue, not even a put in progress?
    pub fn empty(&self) -> bool {
        self.engine().is_empty()
    }

    /// Do values and puts in progress fill the queue? Never, if it is unbounded.
    pub fn full(&self) -> bool {
        self.engine().is_full()
    }

    /// How many values the queue can hold; 0 if that is not bounded.
    pub fn maxsize(&self) -> usize {
        match self.engine().capacity() {
            usize::MAX => 0,
            maxsize => maxsize,
        }
    }

    /// Bytes of memory that the queue takes now, over all processes.
    pub fn resident_bytes(&self) -> u64 {
        self.engine().resident_bytes()
    }

    /// The longest value, in bytes, once encoded.
    pub fn message_max(&self) -> usize {
        self.engine().message_max()
    }
}

impl<T: Serialize> Queue<T> {
    /// Puts `value`, waiting for a place as long as it takes. When this returns, every process sees
    /// the value. If this process is killed meanwhile, the value is in the queue, whole, or not.
    ///
    /// # Errors
    /// [`PutError`], but not [`PutError::Full`]. The value comes back in it; a value that is too
    /// large, cannot be encoded, or finds no memory is refused at once, and uses no place.
    pub fn put(&self, value: T) -> Result<(), PutError<T>> {
        self.put_by(value, Producer::push)
    }

    /// Puts `value`, waiting for a place no longer than `timeout`. Zero means now.
    ///
    /// # Errors
    /// As for [`Queue::put`], and [`PutError::Full`] after `timeout`, never earlier.
    pub fn put_timeout(&self, value: T, timeout: Duration) -> Result<(), PutError<T>> {
        self.put_by(value, |producer, message| producer.push_timeout(message, timeout))
    }

    /// Puts `value` now, or says [`PutError::Full`]. Never blocks.
    ///
    /// # Errors
    /// As for [`Queue::put`], and [`PutError::Full`].
    pub fn put_nowait(&self, value: T) -> Result<(), PutError<T>> {
        self.put_by(value, Producer::try_push)
    }

    fn put_by(
        &self,
        value: T,
        push: impl FnOnce(&mut Producer, &[u8]) -> Result<(), PushError>,
    ) -> Result<(), PutError<T>> {
        let mut lent = match self.inner.producer() {
            Ok(lent) => lent,
            Err(source) => return Err(PutError::Attach { value, source }),
        };
        let Handle { side: producer, buffer } = &mut *lent;
        if let Err(source) = wire::encode(&value, buffer) {
            return Err(PutError::Encode { value, source });
        }
        let done = push(producer, buffer);
        forget_large(buffer);
        done.map_err(|error| match error {
            PushError::Full => PutError::Full(value),
            PushError::TooLarge { len, max } => PutError::TooLarge { value, len, max },
            source @ PushError::NoMemory { .. } => PutError::NoMemory { value, source },
            source => PutError::Engine { value, source },
        })
    }
}

impl<T: DeserializeOwned> Queue<T> {
    /// Gets the next value, waiting for one as long as it takes. If this process is killed
    /// meanwhile, the value is still in the queue, or gone with the process.
    ///
    /// # Errors
    /// [`GetError`], but not [`GetError::Empty`]. After [`GetError::Decode`] the message is gone.
    pub fn get(&self) -> Result<T, GetError> {
        self.get_by(Consumer::pop)
    }

    /// Gets the next value, waiting for one no longer than `timeout`. Zero means now.
    ///
    /// # Errors
    /// As for [`Queue::get`], and [`GetError::Empty`] after `timeout`, never earlier.
    pub fn get_timeout(&self, timeout: Duration) -> Result<T, GetError> {
        let start = Instant::now();
        self.get_by(|consumer, buffer| {
            consumer.pop_timeout(buffer, timeout.saturating_sub(start.elapsed()))
        })
    }

    /// Gets the next value now, or says [`GetError::Empty`]. Never blocks.
    ///
    /// # Errors
    /// As for [`Queue::get`], and [`GetError::Empty`].
    pub fn get_nowait(&self) -> Result<T, GetError> {
        self.get_by(Consumer::try_pop)
    }

    fn get_by(
        &self,
        pop: impl Fn(&mut Consumer, &mut [u8]) -> Result<usize, PopError>,
    ) -> Result<T, GetError> {
        let mut lent = self.inner.consumer().map_err(|source| GetError::Attach { source })?;
        let Handle { side: consumer, buffer } = &mut *lent;
        let len = loop {
            match pop(consumer, buffer) {
                Ok(len) => break len,
                // The buffer grows to the longest value so far; somebody else may take this one.
                Err(PopError::TooSmall { len }) => buffer.resize(len.next_power_of_two(), 0),
                Err(PopError::Empty) => return Err(GetError::Empty),
                Err(source) => return Err(GetError::Engine { source }),
            }
        };
        let value = wire::decode(&buffer[..len]);
        forget_large(buffer);
        value.map_err(|source| GetError::Decode { source })
    }
}

impl Inner {
    fn producer(&self) -> Result<Lent<'_, Producer>, AttachError> {
        self.producers.lend(0, || attach(|| self.engine.producer(), &self.consumers))
    }

    fn consumer(&self) -> Result<Lent<'_, Consumer>, AttachError> {
        let attach = || attach(|| self.engine.consumer(), &self.producers);
        self.consumers.lend(self.engine.inline_max(), attach)
    }
}

/// A handle does not keep a buffer larger than this.
const KEPT_MAX: usize = 1 << 20;

/// After a value that was larger, the memory is given back.
fn forget_large(buffer: &mut Vec<u8>) {
    if buffer.capacity() > KEPT_MAX {
        *buffer = Vec::new();
    }
}

/// Attaches; where there is no room, in place of idle handles of the other side.
fn attach<S, O>(
    attach: impl Fn() -> Result<S, AttachError>,
    others: &Handles<O>,
) -> Result<S, AttachError> {
    match attach() {
        Err(AttachError::Crowded { .. }) if others.detach_idle() => attach(),
        done => done,
    }
}

impl<T> Clone for Queue<T> {
    fn clone(&self) -> Self {
        Self { inner: Arc::clone(&self.inner), values: PhantomData }
    }
}

impl<T> fmt::Debug for Queue<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Queue")
            .field("name", &self.inner.name)
            .field("maxsize", &self.maxsize())
            .field("qsize", &self.qsize())
            .finish_non_exhaustive()
    }
}
