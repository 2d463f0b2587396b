//! Pools of processes, as in `multiprocessing`.

mod answers;
mod batch;
mod builder;
mod error;
mod handler;
mod shared;
mod worker;

use std::any::type_name;
use std::fmt;
use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle, ThreadId};

use serde::Serialize;

pub use answers::{AsyncResult, Imap};
use batch::Batch;
pub use builder::PoolBuilder;
pub use error::PoolError;
pub(crate) use worker::work;

use crate::task::{self, Answer, Task};
use crate::wire;
use handler::{Handler, Plan};
use shared::{Phase, Shared};

/// What a task returns if all goes well.
pub type Returned<F, A> = <<F as Task<A>>::Output as Answer>::Value;

/// Processes that run tasks and send their answers back, as Python's `multiprocessing.Pool`.
///
/// ```standalone_crate
/// use shmq::Pool;
///
/// fn square(number: u64) -> u64 {
///     number * number
/// }
///
/// fn main() -> Result<(), shmq::PoolError> {
///     shmq::init(shmq::tasks![square]);
///     let pool = Pool::new(2)?;
///     assert_eq!(pool.apply(square, (7,))?, 49);
///     assert_eq!(pool.map(square, 0..5, None)?, [0, 1, 4, 9, 16]);
///     let later = pool.apply_async(square, (8,))?;
///     assert_eq!(later.get()?, 64);
///     pool.close();
///     pool.join()
/// }
/// ```
///
/// A task is a function registered with [`init`](crate::init). Its arguments travel encoded, and so does
/// its answer; a [`Queue`](crate::Queue) does not travel that way, but a queue that the
/// [initializer](PoolBuilder::initializer) gets does. Workers are daemons: tasks cannot have children.
///
/// A task that returns an error or panics makes its own answer an error, with the text, and nobody
/// else's.
///
/// # When a worker dies
/// The task that it was running, or had just taken, has [`PoolError::WorkerDied`] for an answer; of
/// tasks that travel together ([`map`](Self::map) with a chunksize), all of them have. A new worker takes
/// its place. No task is run twice, none is forgotten, and nobody waits in vain.
///
/// # The end
/// After [`close`](Self::close) what was called for is done; then [`join`](Self::join) returns. After
/// [`terminate`](Self::terminate), and when the pool is dropped, nothing more is done: whoever waits is
/// told [`PoolError::Terminated`]. The end of the program terminates it, too.
pub struct Pool {
    shared: Arc<Shared>,
    processes: usize,
    handler: Mutex<Option<JoinHandle<()>>>,
    handler_id: ThreadId,
    /// Who made it. A copy that came through `fork` has no workers and no thread.
    owner: u32,
}

impl Pool {
    /// A pool of so many workers. [`cpu_count`](crate::cpu_count) is a good number of them.
    ///
    /// # Errors
    /// [`PoolError::Zero`], [`PoolError::TooMany`]; whatever keeps a worker from being started.
    pub fn new(processes: usize) -> Result<Self, PoolError> {
        Self::builder().processes(processes).create()
    }

    /// A pool with options: an initializer, a limit of tasks for a worker.
    pub fn builder() -> PoolBuilder {
        PoolBuilder::new()
    }

    fn start(shared: Shared, plan: Plan) -> Result<Self, PoolError> {
        // Here, and not again for the successors of workers: see Process::start_unflushed.
        _ = io::stdout().flush();
        let shared = Arc::new(shared);
        let processes = plan.processes;
        let handler = Handler::new(Arc::clone(&shared), plan)?;
        let builder = thread::Builder::new().name("shmq-pool".to_owned());
        let handler = builder.spawn(move || handler.run()).map_err(PoolError::Thread)?;
        let handler_id = handler.thread().id();
        let (handler, owner) = (Mutex::new(Some(handler)), std::process::id());
        Ok(Self { shared, processes, handler, handler_id, owner })
    }

    /// How many workers it has.
    pub fn processes(&self) -> usize {
        self.processes
    }

    /// Calls `task` with `args`, a tuple, in one of the workers, and waits for the answer.
    ///
    /// # Errors
    /// [`PoolError`]: why there is no answer.
    pub fn apply<F: Task<A>, A: Serialize>(
        &self,
        task: F,
        args: A,
    ) -> Result<Returned<F, A>, PoolError> {
        // What it holds is there until the task has had it: the last handle of a queue, say.
        AsyncResult::one(self.call(task, [&args], |_| 1)?.0).get()
    }

    /// Calls `task` with `args`, a tuple, in one of the workers, and does not wait. What `args` refer to
    /// must be there until the worker has it: keep a handle of a queue that travels.
    ///
    /// # Errors
    /// [`PoolError`]: what is wrong with the task, its arguments or the pool.
    pub fn apply_async<F: Task<A>, A: Serialize>(
        &self,
        task: F,
        args: A,
    ) -> Result<AsyncResult<Returned<F, A>>, PoolError> {
        Ok(AsyncResult::one(self.call(task, [args], |_| 1)?.0))
    }

    /// Calls `task` with each of `items`, and waits for all the answers, which are in the order of the
    /// items.
    ///
    /// So many items as `chunksize` says travel together, which saves time if they are small; by default,
    /// a quarter of a worker's share.
    ///
    /// # Errors
    /// [`PoolError`]: why the first item without an answer has none.
    pub fn map<F: Task<(A,)>, A: Serialize>(
        &self,
        task: F,
        items: impl IntoIterator<Item = A>,
        chunksize: Option<usize>,
    ) -> Result<Vec<Returned<F, (A,)>>, PoolError> {
        self.starmap(task, items.into_iter().map(|item| (item,)), chunksize)
    }

    /// As [`Pool::map`], and does not wait.
    ///
    /// # Errors
    /// [`PoolError`]: what is wrong with the task, its arguments or the pool.
    #[expect(clippy::type_complexity, reason = "an alias would hide what is returned")]
    pub fn map_async<F: Task<(A,)>, A: Serialize>(
        &self,
        task: F,
        items: impl IntoIterator<Item = A>,
        chunksize: Option<usize>,
    ) -> Result<AsyncResult<Vec<Returned<F, (A,)>>>, PoolError> {
        self.starmap_async(task, items.into_iter().map(|item| (item,)), chunksize)
    }

    /// As [`Pool::map`], of a task with any number of arguments: each item is a tuple of them.
    ///
    /// # Errors
    /// As for [`Pool::map`].
    pub fn starmap<F: Task<A>, A: Serialize>(
        &self,
        task: F,
        items: impl IntoIterator<Item = A>,
        chunksize: Option<usize>,
    ) -> Result<Vec<Returned<F, A>>, PoolError> {
        // As in apply.
        let items: Vec<_> = items.into_iter().collect();
        self.spread(task, &items, chunksize)?.get()
    }

    /// As [`Pool::starmap`], and does not wait.
    ///
    /// # Errors
    /// As for [`Pool::map_async`].
    pub fn starmap_async<F: Task<A>, A: Serialize>(
        &self,
        task: F,
        items: impl IntoIterator<Item = A>,
        chunksize: Option<usize>,
    ) -> Result<AsyncResult<Vec<Returned<F, A>>>, PoolError> {
        self.spread(task, items, chunksize)
    }

    fn spread<F: Task<A>, A>(
        &self,
        task: F,
        items: impl IntoIterator<Item = impl Serialize>,
        chunksize: Option<usize>,
    ) -> Result<AsyncResult<Vec<Returned<F, A>>>, PoolError> {
        let share = |items: usize| chunksize.unwrap_or(items.div_ceil(4 * self.processes).max(1));
        Ok(AsyncResult::all(self.call(task, items, share)?.0))
    }

    /// Calls `task` with each of `items`, and gives the answers one by one, in the order of the items, as
    /// soon as they arrive. By default, items travel alone. All of them are encoded before this returns, so they
    /// must have an end.
    ///
    /// # Errors
    /// As for [`Pool::map_async`].
    pub fn imap<F: Task<(A,)>, A: Serialize>(
        &self,
        task: F,
        items: impl IntoIterator<Item = A>,
        chunksize: Option<usize>,
    ) -> Result<Imap<Returned<F, (A,)>>, PoolError> {
        self.imap_by(task, items, chunksize, true)
    }

    /// As [`Pool::imap`], with the answers in the order of their arrival.
    ///
    /// # Errors
    /// As for [`Pool::map_async`].
    pub fn imap_unordered<F: Task<(A,)>, A: Serialize>(
        &self,
        task: F,
        items: impl IntoIterator<Item = A>,
        chunksize: Option<usize>,
    ) -> Result<Imap<Returned<F, (A,)>>, PoolError> {
        self.imap_by(task, items, chunksize, false)
    }

    fn imap_by<F: Task<(A,)>, A: Serialize>(
        &self,
        task: F,
        items: impl IntoIterator<Item = A>,
        chunksize: Option<usize>,
        ordered: bool,
    ) -> Result<Imap<Returned<F, (A,)>>, PoolError> {
        let items = items.into_iter().map(|item| (item,));
        let (batch, items) = self.call(task, items, |_| chunksize.unwrap_or(1))?;
        Ok(Imap::new(batch, items, ordered))
    }

    /// Encodes all items here, so that what is wrong with one is the caller's error.
    fn call<F: Task<A>, A>(
        &self,
        task: F,
        items: impl IntoIterator<Item = impl Serialize>,
        chunksize: impl Fn(usize) -> usize,
    ) -> Result<(Arc<Batch>, usize), PoolError> {
        if self.owner != std::process::id() {
            return Err(PoolError::NotRunning);
        }
        // Its type says it all.
        let _ = task;
        let task = task::find::<F>()?;
        let items = items.into_iter().map(|args| wire::to_bytes(&args));
        let items: Vec<_> = items
            .collect::<Result<_, _>>()
            .map_err(|source| PoolError::Args { task: type_name::<F>(), source })?;
        let count = items.len();
        match chunksize(count) {
            0 => Err(PoolError::Zero { what: "the chunksize" }),
            chunksize => Ok((self.shared.submit(task, items, chunksize)?, count)),
        }
    }

    /// No more calls: they fail with [`PoolError::NotRunning`]. The workers end when all is done.
    pub fn close(&self) {
        if self.shared.phase() == Phase::Running {
            self.shared.enter(Phase::Closed);
        }
    }

    /// Ends the workers, whatever they are doing: by SIGTERM, and by SIGKILL after some seconds. Who
    /// waits for an answer is told [`PoolError::Terminated`].
    pub fn terminate(&self) {
        self.shared.enter(Phase::Terminated);
    }

    /// Waits until the workers have ended.
    ///
    /// # Errors
    /// [`PoolError::StillRunning`] before [`Pool::close`] or [`Pool::terminate`];
    /// [`PoolError::NotRunning`] in a copy of the process, by `fork`, which has no workers.
    pub fn join(&self) -> Result<(), PoolError> {
        if self.owner != std::process::id() {
            return Err(PoolError::NotRunning);
        }
        if self.shared.phase() == Phase::Running {
            return Err(PoolError::StillRunning);
        }
        let mut handler = self.handler.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(handler) = handler.take() {
            // What its callbacks panic with is caught.
            _ = handler.join();
        }
        Ok(())
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        if self.owner != std::process::id() {
            return;
        }
        self.terminate();
        // A callback may hold the pool.
        if self.handler_id != thread::current().id() {
            _ = self.join();
        }
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool")
            .field("processes", &self.processes)
            .field("phase", &self.shared.phase())
            .finish_non_exhaustive()
    }
}
