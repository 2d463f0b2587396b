//! The queue of values.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use shmq_engine::{AttachError, Consumer, PopError, Producer, Wait};

use crate::builder::Builder;
use crate::error::{CreateError, GetError, PartlyGot, PartlyPut, PutError, Refused};
use crate::handles::{Handle, Handles, Lent};
use crate::wire::{Decode, Encode};

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
///
/// # Coming from Python
/// | Python | here |
/// |---|---|
/// | `put(x)`, `put(x, True)`, `put(x, True, None)` | [`put(x)`](Queue::put) |
/// | `put(x, True, t)`, `put(x, timeout=t)` | [`put_timeout(x, t)`](Queue::put_timeout); `t` ≤ 0 is `Duration::ZERO`, which means now |
/// | `put(x, False)`, `put(x, False, t)`, `put_nowait(x)` | [`put_nowait(x)`](Queue::put_nowait) |
/// | `get()`, `get(True)`, `get(True, None)` | [`get()`](Queue::get) |
/// | `get(True, t)`, `get(timeout=t)` | [`get_timeout(t)`](Queue::get_timeout) |
/// | `get(False)`, `get(False, t)`, `get_nowait()` | [`get_nowait()`](Queue::get_nowait) |
/// | `queue.Full`, `queue.Empty`, `queue.ShutDown` | [`PutError::Full`], [`GetError::Empty`], [`PutError::ShutDown`] and [`GetError::ShutDown`] |
/// | `ValueError: Queue <...> is closed` | [`PutError::Closed`], [`GetError::Closed`] |
/// | `iter(queue.get, None)` with a `None` for each consumer | `for value in &queue`, until [`shutdown`](Queue::shutdown) |
pub struct Queue<T> {
    inner: Arc<Inner>,
    // Values are made and read here, and kept as bytes.
    values: PhantomData<fn(T) -> T>,
}

struct Inner {
    engine: shmq_engine::Queue,
    name: Option<String>,
    wait: Wait,
    closed: AtomicBool,
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
        Ok(Self::from_engine(engine, Some(name.to_owned()), Wait::default()))
    }

    pub(crate) fn from_engine(
        engine: shmq_engine::Queue,
        name: Option<String>,
        wait: Wait,
    ) -> Self {
        let (producers, consumers) = (Handles::new(), Handles::new());
        let closed = AtomicBool::new(false);
        let inner = Arc::new(Inner { engine, name, wait, closed, producers, consumers });
        Self { inner, values: PhantomData }
    }

    pub(crate) fn engine(&self) -> &shmq_engine::Queue {
        &self.inner.engine
    }

    pub(crate) fn wait(&self) -> Wait {
        self.inner.wait
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

    /// Shuts the queue down, for all processes and for good, as `shutdown` of Python 3.13's
    /// `queue.Queue`: from now on puts fail with [`PutError::ShutDown`], gets take what is left and then
    /// fail with [`GetError::ShutDown`], and who waits for either is woken. `immediate`: what is left is
    /// dropped. Says how many values that were.
    ///
    /// May be called again, also with `immediate` after without. Killed meanwhile: the queue is shut down
    /// or not.
    ///
    /// ```
    /// # use shmq::{GetError, Queue};
    /// let queue = Queue::new(0)?;
    /// queue.put('a')?;
    /// queue.shutdown(false)?;
    /// assert!(queue.put('b').unwrap_err().is_shut_down());
    /// assert_eq!(queue.get()?, 'a');
    /// assert!(matches!(queue.get(), Err(GetError::ShutDown)));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// Only if `immediate`: [`GetError::Attach`], [`GetError::Engine`]. It is shut down then, and not all
    /// that was left has been dropped.
    pub fn shutdown(&self, immediate: bool) -> Result<usize, GetError> {
        self.engine().shut_down();
        if !immediate {
            return Ok(0);
        }
        let mut dropped = 0;
        loop {
            match self.discard()? {
                0 => return Ok(dropped),
                more => dropped += more,
            }
        }
    }

    /// Has the queue been shut down?
    pub fn is_shut_down(&self) -> bool {
        self.engine().is_shut_down()
    }

    /// Closes this handle and its clones, in this process: puts and gets fail from now on with
    /// [`PutError::Closed`] and [`GetError::Closed`]. Other processes are not affected, nor are other
    /// handles here that were opened or received by themselves; for the end of the queue see
    /// [`shutdown`](Queue::shutdown). Calls that are under way go on. What the queue says about itself
    /// (`qsize` and so on) it still says.
    ///
    /// This process is no producer any more: see
    /// [`ends_with_producers`](Builder::ends_with_producers).
    ///
    /// Python's `join_thread` and `cancel_join_thread` are missing because there is no thread that they
    /// could be about: what was put is in the queue when `put` returns.
    pub fn close(&self) {
        // ordering: Relaxed, who must not put any more has been told so by other means
        self.inner.closed.store(true, Ordering::Relaxed);
        self.inner.producers.close();
        self.inner.consumers.close();
    }

    /// Drops the values that are in the queue now, without looking at them; not those that are put
    /// meanwhile. Says how many: others may get some of them.
    ///
    /// # Errors
    /// [`GetError::Closed`], [`GetError::Attach`], [`GetError::Engine`].
    pub fn clear(&self) -> Result<usize, GetError> {
        self.ensure_open().map_err(|what| GetError::Closed { what })?;
        self.discard()
    }

    /// Also of a closed handle.
    fn discard(&self) -> Result<usize, GetError> {
        let mut lent = self.inner.consumer().map_err(|source| GetError::Attach { source })?;
        lent.side.clear().map_err(GetError::new)
    }

    /// Or what is closed.
    fn ensure_open(&self) -> Result<(), String> {
        // ordering: Relaxed, as in close
        if self.inner.closed.load(Ordering::Relaxed) {
            return Err(self.inner.what());
        }
        Ok(())
    }

    pub(crate) fn producer(&self) -> Result<Lent<'_, Producer>, Refused> {
        self.ensure_open().map_err(|what| Refused::Closed { what })?;
        self.inner.producer().map_err(Refused::Attach)
    }

    pub(crate) fn consumer(&self) -> Result<Lent<'_, Consumer>, GetError> {
        self.ensure_open().map_err(|what| GetError::Closed { what })?;
        self.inner.consumer().map_err(|source| GetError::Attach { source })
    }
}

impl<T: Encode> Queue<T> {
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

    /// Puts all `values`, waiting for places as long as it takes. Several at a time are put together,
    /// which costs less than one by one; they stay in order, but others' values may come between. The iterator
    /// is asked for 64 values before the first of them is put: if it waits for something that depends on them,
    /// put them one by one.
    ///
    /// ```
    /// # use shmq::Queue;
    /// let queue = Queue::new(0)?;
    /// queue.put_many(0..100)?;
    /// assert_eq!(queue.get_many(3)?, [0, 1, 2]);
    /// assert_eq!(queue.qsize(), 97);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`PartlyPut`]: how many were put, and the first that was not, in a [`PutError`] as of
    /// [`Queue::put`]. Values that the iterator has not yielded yet are lost, unless it is lent:
    /// `put_many(&mut values)`.
    pub fn put_many(&self, values: impl IntoIterator<Item = T>) -> Result<(), PartlyPut<T>> {
        let mut values = values.into_iter();
        let mut done = 0;
        loop {
            let run: Vec<_> = values.by_ref().take(RUN).collect();
            let len = run.len();
            if len == 0 {
                return Ok(());
            }
            match self.put_run(run) {
                Ok(()) => done += len,
                Err(partly) => return Err(PartlyPut { put: done + partly.put, ..partly }),
            }
        }
    }

    fn put_run(&self, mut run: Vec<T>) -> Result<(), PartlyPut<T>> {
        let mut buffers = vec![Vec::new(); run.len()];
        let mut messages = Vec::with_capacity(run.len());
        let mut unencodable = None;
        for (value, buffer) in run.iter().zip(&mut buffers) {
            match value.encoded(buffer) {
                Ok(message) => messages.push(message),
                Err(source) => {
                    unencodable = Some(source);
                    break;
                }
            }
        }
        let (put, why) = match self.producer() {
            Ok(mut lent) => match lent.side.push_many(&messages) {
                Ok(()) => (messages.len(), None),
                Err(partly) => (partly.put, Some(Refused::Push(partly.error))),
            },
            Err(refused) => (0, Some(refused)),
        };
        let mut rest = run.split_off(put).into_iter();
        let Some(value) = rest.next() else { return Ok(()) };
        let source = match (why, unencodable) {
            (Some(refused), _) => PutError::new(value, refused),
            (None, Some(source)) => PutError::Encode { value, source },
            (None, None) => unreachable!("all that was encoded was put"),
        };
        Err(PartlyPut { put, source, rest: rest.collect() })
    }

    pub(crate) fn put_by<R: Into<Refused>>(
        &self,
        value: T,
        push: impl FnOnce(&mut Producer, &[u8]) -> Result<(), R>,
    ) -> Result<(), PutError<T>> {
        let mut lent = match self.producer() {
            Ok(lent) => lent,
            Err(refused) => return Err(PutError::new(value, refused)),
        };
        let Handle { side: producer, buffer } = &mut *lent;
        let done = match value.encoded(buffer) {
            Ok(message) => push(producer, message),
            Err(source) => return Err(PutError::Encode { value, source }),
        };
        forget_large(buffer);
        done.map_err(|error| PutError::new(value, error.into()))
    }
}

impl<T: Decode> Queue<T> {
    /// Gets the next value, waiting for one as long as it takes. If this process is killed
    /// meanwhile, the value is still in the queue, or gone with the process. (In a stream of values it may wait
    /// though there is one, for at most some 50 µs, so that the others get ahead: what comes then costs less. Not with
    /// [`Wait::Spin`] or [`Wait::Park`].)
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

    /// Gets the next value now, or says [`GetError::Empty`]. Never sleeps; a put that is just in progress is waited for
    /// for a bounded time, microseconds as a rule.
    ///
    /// # Errors
    /// As for [`Queue::get`], and [`GetError::Empty`].
    pub fn get_nowait(&self) -> Result<T, GetError> {
        self.get_by(Consumer::try_pop)
    }

    /// Gets what is there, at most `most` values, waiting for the first as long as it takes. Several at
    /// a time are taken together, which costs less than one by one. If there are fewer, others may wait
    /// behind one that is just being put. If decoding panics, those taken together with that value are lost.
    ///
    /// # Errors
    /// [`PartlyGot`]: none, for a reason as of [`Queue::get`]; or a message was no value, and here are the
    /// others.
    pub fn get_many(&self, most: usize) -> Result<Vec<T>, PartlyGot<T>> {
        let (got, _, error) = self.get_run(most);
        match error {
            Some(source) => Err(PartlyGot { got, source }),
            None => Ok(got),
        }
    }

    /// The values that were got, how many messages were none, and the first error.
    pub(crate) fn get_run(&self, most: usize) -> (Vec<T>, usize, Option<GetError>) {
        let (mut got, mut lost, mut why) = (Vec::new(), 0, None);
        let each = |message: &[u8]| match T::decoded(message) {
            Ok(value) => got.push(value),
            Err(source) => {
                lost += 1;
                why.get_or_insert(GetError::Decode { source });
            }
        };
        let done = self
            .consumer()
            .and_then(|mut lent| lent.side.pop_many(most, each).map_err(GetError::new));
        (got, lost, done.err().or(why))
    }

    /// The values that come, until the queue is shut down and empty: each item waits for the next. An
    /// item may be an error; what is no value ([`GetError::Decode`]) is passed over, any other error is the
    /// last item.
    ///
    /// ```
    /// # use shmq::Queue;
    /// let queue = Queue::new(0)?;
    /// queue.put_many(1..=3)?;
    /// queue.shutdown(false)?;
    /// let mut sum = 0;
    /// for value in &queue {
    ///     sum += value?;
    /// }
    /// assert_eq!(sum, 6);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn iter(&self) -> Iter<'_, T> {
        Iter::new(|| self.get())
    }

    /// The values that are there, until the queue is empty. Never waits. Errors are as for
    /// [`Queue::iter`].
    pub fn drain(&self) -> Iter<'_, T> {
        Iter::new(|| self.get_nowait())
    }

    fn get_by(
        &self,
        pop: impl Fn(&mut Consumer, &mut [u8]) -> Result<usize, PopError>,
    ) -> Result<T, GetError> {
        let mut lent = self.consumer()?;
        let Handle { side: consumer, buffer } = &mut *lent;
        let got = loop {
            match pop(consumer, buffer) {
                // The buffer grows to the longest value so far; somebody else may take this one.
                Err(PopError::TooSmall { len }) if grow(buffer, len) => {}
                got => break got,
            }
        };
        let value = match got {
            Ok(len) => T::decoded(&buffer[..len]).map_err(|source| GetError::Decode { source }),
            Err(source) => Err(GetError::new(source)),
        };
        forget_large(buffer);
        value
    }
}

impl Inner {
    fn producer(&self) -> Result<Lent<'_, Producer>, AttachError> {
        self.producers.lend(0, || {
            let mut producer = attach(|| self.engine.producer(), &self.consumers)?;
            producer.wait_by(self.wait);
            Ok(producer)
        })
    }

    fn consumer(&self) -> Result<Lent<'_, Consumer>, AttachError> {
        self.consumers.lend(self.engine.inline_max(), || {
            let mut consumer = attach(|| self.engine.consumer(), &self.producers)?;
            consumer.wait_by(self.wait);
            Ok(consumer)
        })
    }

    /// As Python calls it in "Queue <...> is closed".
    fn what(&self) -> String {
        match &self.name {
            Some(name) => format!("Queue <shmq::Queue named {name:?}>"),
            None => format!("Queue <shmq::Queue {:016x}>", self.engine.uuid()[0]),
        }
    }
}

/// How many values are put together.
const RUN: usize = 64;

/// A handle does not keep a buffer larger than this.
const KEPT_MAX: usize = 1 << 20;

/// Makes room for a message of `len` bytes, or says that there is no memory for it.
fn grow(buffer: &mut Vec<u8>, len: usize) -> bool {
    let room = if len <= KEPT_MAX { len.next_power_of_two() } else { len };
    let has_room = buffer.try_reserve_exact(room.saturating_sub(buffer.len())).is_ok();
    if has_room {
        buffer.resize(room, 0);
    }
    has_room
}

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

/// How an iterator gets the next value.
type Get<'q, T> = Box<dyn FnMut() -> Result<T, GetError> + Send + 'q>;

/// The values that come, from [`Queue::iter`], or those that are there, from [`Queue::drain`].
pub struct Iter<'q, T> {
    get: Get<'q, T>,
    is_over: bool,
}

impl<'q, T> Iter<'q, T> {
    pub(crate) fn new(get: impl FnMut() -> Result<T, GetError> + Send + 'q) -> Self {
        Self { get: Box::new(get), is_over: false }
    }
}

impl<T> Iterator for Iter<'_, T> {
    type Item = Result<T, GetError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.is_over {
            return None;
        }
        let got = (self.get)();
        self.is_over = !matches!(got, Ok(_) | Err(GetError::Decode { .. }));
        (!matches!(got, Err(GetError::Empty | GetError::ShutDown))).then_some(got)
    }
}

impl<T> fmt::Debug for Iter<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Iter").field("is_over", &self.is_over).finish_non_exhaustive()
    }
}

impl<'q, T: Decode> IntoIterator for &'q Queue<T> {
    type Item = Result<T, GetError>;
    type IntoIter = Iter<'q, T>;

    fn into_iter(self) -> Iter<'q, T> {
        self.iter()
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

#[cfg(test)]
mod tests {
    use super::{KEPT_MAX, grow};

    #[test]
    fn a_buffer_grows_to_what_there_is_memory_for() {
        let mut buffer = vec![0; 48];
        assert!(grow(&mut buffer, 49) && buffer.len() == 64);
        assert!(grow(&mut buffer, KEPT_MAX + 1) && buffer.len() == KEPT_MAX + 1);
        assert!(!grow(&mut buffer, usize::MAX / 2) && buffer.len() == KEPT_MAX + 1);
    }
}
