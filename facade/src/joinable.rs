//! The queue that knows when all is done.
//!
//! The count of unfinished tasks is a queue itself, of as many tokens of one byte: put with a token before
//! the value, done with taking one out. So it counts between processes as a queue does, whoever is killed
//! or stopped. The count comes first, for otherwise a value could be done with before it counts, and
//! `join` believe that all is done. So a put that does not succeed takes its token back, and one that has to
//! wait for a place waits without it: a process that is killed while it waits has counted nothing.
//!
//! Is the count zero? Who asks tries to take a token into a buffer of no bytes, which leaves it where it is.
//! Unlike a look at the queue's length that also passes over the tokens of the dead which never got there.

use std::fmt;
use std::mem;
use std::ops::{Deref, DerefMut};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use shmq_engine::{PopError, Producer, PushError, Uncommitted, Wait};

use crate::builder::Builder;
use crate::error::{CreateError, GetError, PartlyGot, PartlyPut, PutError, Refused, TaskDoneError};
use crate::process;
use crate::queue::{Iter, Queue};
use crate::signal::{Deadline, Signal};
use crate::wire::{Decode, Encode};

/// A [`Queue`] that counts the tasks which were put and are not done yet, as Python's
/// `multiprocessing.JoinableQueue`.
///
/// Every put counts one more, every [`task_done`](JoinableQueue::task_done) one less;
/// [`join`](JoinableQueue::join) waits until there are none, in any process.
///
/// ```standalone_crate
/// use shmq::{GetError, JoinableQueue, Process};
///
/// fn work(tasks: JoinableQueue<u64>) -> Result<(), GetError> {
///     loop {
///         let task = tasks.get_task()?;
///         println!("{} squared is {}", *task, *task * *task);
///         // Dropped here, it is done: also if a panic had dropped it.
///     }
/// }
///
/// fn main() -> Result<(), Box<dyn std::error::Error>> {
///     shmq::init(shmq::tasks![work]);
///     let tasks = JoinableQueue::new(0)?;
///     let worker = Process::new(work, (tasks.clone(),)).daemon(true);
///     worker.start()?;
///     tasks.put_many(0..10)?;
///     tasks.join()?;
///     Ok(())
/// }
/// ```
///
/// Clones are the same queue. It travels as an argument of a [`Process`](crate::Process), like a
/// [`Queue`]; one that travels anywhere is made by
/// [`Manager::joinable_queue`](crate::Manager::joinable_queue). It has no name, and does not go to
/// children of other programs.
///
/// # When a process dies
/// A process that got a task and dies before it says `task_done` leaves it unfinished, and `join` waits,
/// as in Python: nobody can know how much of it was done. [`get_task`](JoinableQueue::get_task) says it
/// even if the task panics, but not if the process is killed or exits. So who
/// watches the workers says [`task_done`](JoinableQueue::task_done) for those that died with a task in
/// hand, or puts the task again; or joins with
/// [`join_timeout`](JoinableQueue::join_timeout) and looks at
/// [`unfinished_tasks`](JoinableQueue::unfinished_tasks).
///
/// A put counts, then puts. A process that is killed between the two, which are less than a microsecond
/// apart, leaves the count one too high, and no value: the same remedy helps. (A process that does nothing
/// but put small values is at that point a good part of its time.) Killed anywhere else in a
/// put (while it waits for a place, encodes or copies) it leaves the count right. No death
/// wakes `join` too early, or leaves it asleep when the count is zero: at worst it is woken 100 ms late.
#[derive(Deserialize, Serialize)]
#[serde(bound = "")]
pub struct JoinableQueue<T> {
    values: Queue<T>,
    /// One for each unfinished task.
    tokens: Queue<u8>,
    /// Rings when the count is zero.
    zero: Signal,
    /// Rings when a bounded queue has a place.
    room: Signal,
}

const TOKEN: u8 = 0;

impl<T> JoinableQueue<T> {
    /// A queue of at most `maxsize` values; 0 for as many as there is memory for. What was got and is not
    /// done yet takes no place.
    ///
    /// # Errors
    /// As for [`Queue::new`].
    pub fn new(maxsize: usize) -> Result<Self, CreateError> {
        Queue::builder().maxsize(maxsize).create_joinable()
    }

    pub(crate) fn create(builder: Builder<T>) -> Result<Self, CreateError> {
        let participants = builder.participants_of_parts();
        let tokens = Queue::builder().message_max(1).participants(participants);
        Ok(Self {
            values: builder.create()?,
            tokens: tokens.create()?,
            zero: Signal::new(participants)?,
            room: Signal::new(participants)?,
        })
    }

    pub(crate) fn engines(&self) -> [&shmq_engine::Queue; 4] {
        let Self { values, tokens, zero, room } = self;
        [values.engine(), tokens.engine(), zero.engine(), room.engine()]
    }

    pub(crate) fn from_engines(engines: [shmq_engine::Queue; 4], wait: Wait) -> Self {
        let [values, tokens, zero, room] = engines;
        Self {
            values: Queue::from_engine(values, None, wait),
            tokens: Queue::from_engine(tokens, None, Wait::default()),
            zero: Signal::from_engine(zero),
            room: Signal::from_engine(room),
        }
    }

    pub(crate) fn wait(&self) -> Wait {
        self.values.wait()
    }

    /// As [`Queue::qsize`].
    pub fn qsize(&self) -> usize {
        self.values.qsize()
    }

    /// As [`Queue::empty`].
    pub fn empty(&self) -> bool {
        self.values.empty()
    }

    /// As [`Queue::full`].
    pub fn full(&self) -> bool {
        self.values.full()
    }

    /// As [`Queue::maxsize`].
    pub fn maxsize(&self) -> usize {
        self.values.maxsize()
    }

    /// As [`Queue::message_max`].
    pub fn message_max(&self) -> usize {
        self.values.message_max()
    }

    /// How many tasks are not done yet: in the queue, in somebody's hands, and being put just now.
    pub fn unfinished_tasks(&self) -> usize {
        self.tokens.qsize()
    }

    /// Says that a task which was got is done. Any process may say so.
    ///
    /// # Errors
    /// [`TaskDoneError::TooMany`] if all that was put is done already.
    pub fn task_done(&self) -> Result<(), TaskDoneError> {
        match self.tokens.get_nowait() {
            Ok(_) => {}
            Err(GetError::Empty) => return Err(TaskDoneError::TooMany),
            Err(source) => return Err(TaskDoneError::Queue { source }),
        }
        if self.tokens.empty() {
            self.zero.ring();
        }
        Ok(())
    }

    /// Waits until all that was put is done. A moment without unfinished tasks between two
    /// puts may go unnoticed.
    ///
    /// # Errors
    /// [`GetError::Attach`], [`GetError::Engine`].
    pub fn join(&self) -> Result<(), GetError> {
        self.join_by(Deadline::Never).map(drop)
    }

    /// The same, no longer than `timeout`. Is all done?
    ///
    /// # Errors
    /// As for [`JoinableQueue::join`].
    pub fn join_timeout(&self, timeout: Duration) -> Result<bool, GetError> {
        self.join_by(Deadline::after(timeout))
    }

    fn join_by(&self, deadline: Deadline) -> Result<bool, GetError> {
        let mut has_waited = false;
        while !self.is_done()? {
            if !self.zero.wait(deadline) {
                return Ok(false);
            }
            has_waited = true;
        }
        if has_waited {
            // Others may wait, too.
            self.zero.ring();
        }
        Ok(true)
    }

    fn is_done(&self) -> Result<bool, GetError> {
        match self.tokens.consumer()?.side.try_pop(&mut []) {
            Err(PopError::TooSmall { .. }) => Ok(false),
            Err(PopError::Empty) => Ok(true),
            Ok(_) => Err(GetError::new(PopError::Corrupt)),
            Err(error) => Err(GetError::new(error)),
        }
    }

    /// As [`Queue::shutdown`]; what is dropped because of `immediate` is done. So `join` may return though
    /// nobody has worked on it.
    ///
    /// # Errors
    /// As for [`Queue::shutdown`].
    pub fn shutdown(&self, immediate: bool) -> Result<usize, GetError> {
        let dropped = self.values.shutdown(immediate);
        self.drop_tasks(*dropped.as_ref().unwrap_or(&0));
        dropped
    }

    /// As [`Queue::is_shut_down`].
    pub fn is_shut_down(&self) -> bool {
        self.values.is_shut_down()
    }

    /// As [`Queue::close`]. `task_done` and `join` work on.
    pub fn close(&self) {
        self.values.close();
    }

    /// As [`Queue::clear`]. What is dropped is done.
    ///
    /// # Errors
    /// As for [`Queue::clear`].
    pub fn clear(&self) -> Result<usize, GetError> {
        let dropped = self.values.clear()?;
        self.drop_tasks(dropped);
        Ok(dropped)
    }

    /// So many values have been taken that nobody will work on.
    fn drop_tasks(&self, dropped: usize) {
        // Too many: somebody was hasty, and said so for one that was still in the queue.
        (0..dropped).for_each(|_| _ = self.task_done());
        self.took();
    }

    /// Something has been taken out.
    fn took(&self) {
        if self.maxsize() > 0 {
            self.room.ring();
        }
    }
}

impl<T: Encode> JoinableQueue<T> {
    /// As [`Queue::put`], and counts it.
    ///
    /// # Errors
    /// As for [`Queue::put`]; it does not count then.
    pub fn put(&self, value: T) -> Result<(), PutError<T>> {
        self.put_by(value, Deadline::Never)
    }

    /// As [`Queue::put_timeout`], and counts it.
    ///
    /// # Errors
    /// As for [`Queue::put_timeout`]; it does not count then.
    pub fn put_timeout(&self, value: T, timeout: Duration) -> Result<(), PutError<T>> {
        self.put_by(value, Deadline::after(timeout))
    }

    /// As [`Queue::put_nowait`], and counts it.
    ///
    /// # Errors
    /// As for [`Queue::put_nowait`]; it does not count then.
    pub fn put_nowait(&self, value: T) -> Result<(), PutError<T>> {
        self.put_by(value, Deadline::Now)
    }

    /// Puts all `values` and counts them, one after the other.
    ///
    /// # Errors
    /// As for [`Queue::put_many`]; nothing but the first value that was not put has been taken from the
    /// iterator.
    pub fn put_many(&self, values: impl IntoIterator<Item = T>) -> Result<(), PartlyPut<T>> {
        for (put, value) in values.into_iter().enumerate() {
            self.put(value).map_err(|source| PartlyPut { put, source, rest: Vec::new() })?;
        }
        Ok(())
    }

    fn put_by(&self, value: T, deadline: Deadline) -> Result<(), PutError<T>> {
        self.values.put_by(value, |producer, message| self.put_message(producer, message, deadline))
    }

    fn put_message(
        &self,
        producer: &mut Producer,
        message: &[u8],
        deadline: Deadline,
    ) -> Result<(), Refused> {
        // All but the last step is done before it counts.
        let mut loan = producer.reserve(message.len())?;
        loan.copy_from(0, message);
        let mut has_waited = false;
        let done = loop {
            self.tokens.put_nowait(TOKEN).map_err(PutError::into_refused)?;
            let Err(Uncommitted { loan: kept, error }) = loan.try_commit() else { break Ok(()) };
            _ = self.task_done();
            if error != PushError::Full || !self.room.wait(deadline) {
                break Err(error);
            }
            has_waited = true;
            loan = kept;
        };
        if has_waited && (!self.full() || self.is_shut_down()) {
            // There is something for others, who wait, too.
            self.room.ring();
        }
        Ok(done?)
    }
}

impl<T: Decode> JoinableQueue<T> {
    /// As [`Queue::get`]. Say [`task_done`](JoinableQueue::task_done) when it is. (What was no value,
    /// [`GetError::Decode`], is done.)
    ///
    /// # Errors
    /// As for [`Queue::get`].
    pub fn get(&self) -> Result<T, GetError> {
        self.got(Queue::get)
    }

    /// As [`Queue::get_timeout`], else as [`JoinableQueue::get`].
    ///
    /// # Errors
    /// As for [`Queue::get_timeout`].
    pub fn get_timeout(&self, timeout: Duration) -> Result<T, GetError> {
        self.got(|values| values.get_timeout(timeout))
    }

    /// As [`Queue::get_nowait`], else as [`JoinableQueue::get`].
    ///
    /// # Errors
    /// As for [`Queue::get_nowait`].
    pub fn get_nowait(&self) -> Result<T, GetError> {
        self.got(Queue::get_nowait)
    }

    /// As [`Queue::get_many`]. Say [`task_done`](JoinableQueue::task_done) as many times. (If decoding panics,
    /// what was taken together with that value stays unfinished.)
    ///
    /// # Errors
    /// As for [`Queue::get_many`].
    pub fn get_many(&self, most: usize) -> Result<Vec<T>, PartlyGot<T>> {
        let (got, lost, error) = self.values.get_run(most);
        self.drop_tasks(lost);
        match error {
            Some(source) => Err(PartlyGot { got, source }),
            None => Ok(got),
        }
    }

    /// Gets the next value, waiting for one as long as it takes, with a guard around it: when that is
    /// dropped, the task is done.
    ///
    /// # Errors
    /// As for [`Queue::get`].
    pub fn get_task(&self) -> Result<Unfinished<T>, GetError> {
        self.get().map(|value| self.guard(value))
    }

    /// The same, waiting no longer than `timeout`.
    ///
    /// # Errors
    /// As for [`Queue::get_timeout`].
    pub fn get_task_timeout(&self, timeout: Duration) -> Result<Unfinished<T>, GetError> {
        self.get_timeout(timeout).map(|value| self.guard(value))
    }

    /// The same, without waiting.
    ///
    /// # Errors
    /// As for [`Queue::get_nowait`].
    pub fn get_task_nowait(&self) -> Result<Unfinished<T>, GetError> {
        self.get_nowait().map(|value| self.guard(value))
    }

    /// As [`Queue::iter`]. Say [`task_done`](JoinableQueue::task_done) for every value.
    pub fn iter(&self) -> Iter<'_, T> {
        Iter::new(|| self.get())
    }

    /// As [`Queue::drain`]. Say [`task_done`](JoinableQueue::task_done) for every value.
    pub fn drain(&self) -> Iter<'_, T> {
        Iter::new(|| self.get_nowait())
    }

    fn guard(&self, value: T) -> Unfinished<T> {
        let given_away = process::is_given_away();
        Unfinished { value: Some(value), queue: self.clone(), given_away }
    }

    fn got(&self, get: impl FnOnce(&Queue<T>) -> Result<T, GetError>) -> Result<T, GetError> {
        /// Only decoding panics, which is code of others; the value has been taken by then.
        struct Lost<'q, T>(&'q JoinableQueue<T>);

        impl<T> Drop for Lost<'_, T> {
            fn drop(&mut self) {
                self.0.drop_tasks(1);
            }
        }

        let lost = Lost(self);
        let got = get(&self.values);
        mem::forget(lost);
        match got {
            Ok(_) => self.took(),
            // Nobody else can say that it is done.
            Err(GetError::Decode { .. }) => self.drop_tasks(1),
            Err(_) => {}
        }
        got
    }
}

impl<'q, T: Decode> IntoIterator for &'q JoinableQueue<T> {
    type Item = Result<T, GetError>;
    type IntoIter = Iter<'q, T>;

    fn into_iter(self) -> Iter<'q, T> {
        self.iter()
    }
}

impl<T> Clone for JoinableQueue<T> {
    fn clone(&self) -> Self {
        let Self { values, tokens, zero, room } = self;
        Self {
            values: values.clone(),
            tokens: tokens.clone(),
            zero: zero.clone(),
            room: room.clone(),
        }
    }
}

impl<T> fmt::Debug for JoinableQueue<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinableQueue")
            .field("maxsize", &self.maxsize())
            .field("qsize", &self.qsize())
            .field("unfinished_tasks", &self.unfinished_tasks())
            .finish_non_exhaustive()
    }
}

/// A value whose task is done when this is dropped, whatever drops it; from
/// [`JoinableQueue::get_task`].
///
/// A process that is killed, or ends by `std::process::exit`, drops nothing. What the closure of
/// [`Process::fork`](crate::Process::fork) captured is the child's, once that is started.
pub struct Unfinished<T> {
    /// Until it is finished.
    value: Option<T>,
    queue: JoinableQueue<T>,
    /// It was got while something else was being given away.
    given_away: bool,
}

impl<T> Unfinished<T> {
    /// The task is done; what remains is the value.
    ///
    /// # Errors
    /// As for [`JoinableQueue::task_done`].
    pub fn finish(mut self) -> Result<T, TaskDoneError> {
        let done = self.queue.task_done();
        if let Err(error @ TaskDoneError::Queue { .. }) = done {
            // The drop tries again.
            return Err(error);
        }
        let value = self.value.take().expect("there until it is finished");
        done.map(|()| value)
    }
}

impl<T> Deref for Unfinished<T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.value.as_ref().expect("there until it is finished")
    }
}

impl<T> DerefMut for Unfinished<T> {
    fn deref_mut(&mut self) -> &mut T {
        self.value.as_mut().expect("there until it is finished")
    }
}

impl<T> Drop for Unfinished<T> {
    fn drop(&mut self) {
        let is_childs = process::is_given_away() && !self.given_away;
        if self.value.take().is_some() && !is_childs {
            // Too many: somebody else has said so for us.
            _ = self.queue.task_done();
        }
    }
}

impl<T: fmt::Debug> fmt::Debug for Unfinished<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Unfinished").field(&self.value).finish()
    }
}
