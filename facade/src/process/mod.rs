//! Processes, as in `multiprocessing`.
//!
//! A child is this program started again, by `/proc/self/exe`: the same file even if that was
//! rebuilt or deleted meanwhile. Its `main` gets no farther than [`init`](crate::init), which runs
//! the task instead. So nothing is copied but the arguments, and no lock of the parent's can be
//! held in the child, as after `fork`. Who needs a copy can have one: [`Process::fork`].

pub(crate) mod child;
mod error;
mod family;
mod fork;
mod launch;
mod orders;
mod sigterm;
mod wait;

use std::any::type_name;
use std::fmt;
use std::io::{self, Write};
use std::ops::Neg;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use rustix::io::Errno;
use rustix::process::{Signal, WaitId, WaitIdOptions, waitid};
use serde::Serialize;

pub use error::ProcessError;
pub use family::{
    CurrentProcess, ParentProcess, active_children, cpu_count, current_process, parent_process,
};
pub(crate) use fork::is_given_away;
use orders::Sent;

use crate::task::{self, Answer, Failure, Task, UnknownTask};
use crate::wire::{self, Bytes, EncodeError};

/// A process that runs one function, as Python's `multiprocessing.Process`.
///
/// ```standalone_crate
/// use shmq::{Process, Queue};
///
/// fn writer(queue: Queue<String>) -> Result<(), Box<dyn std::error::Error>> {
///     queue.put("a message".to_owned())?;
///     Ok(())
/// }
///
/// fn main() -> Result<(), Box<dyn std::error::Error>> {
///     shmq::init(shmq::tasks![writer]);
///     let queue = Queue::new(3)?;
///     let process = Process::new(writer, (queue.clone(),));
///     process.start()?;
///     process.join()?;
///     assert_eq!(process.exitcode(), Some(0));
///     assert_eq!(queue.get()?, "a message");
///     Ok(())
/// }
/// ```
///
/// # The child
/// It is this program, started again (a copy, if it is made by [`Process::fork`]); the first statement of `main` must be [`init`](crate::init),
/// which runs the function in the child and never returns there. The arguments travel encoded; a
/// [`Queue`](crate::Queue) among them, or anywhere in them, is the same queue in the child. The
/// environment and the arguments of `main` are the parent's (and `SHMQ_TASK` is set). Its standard
/// input is empty.
///
/// # Exit codes
/// 0 if the function returned `()`, a value (which nobody gets), or `Ok`; 1 if it panicked or returned
/// an error, whose text is printed and is [`Process::failure`]; *n* after `std::process::exit(n)`; -*s*
/// if signal *s* ended it.
///
/// # The end
/// Clones are the same process. When the last one is dropped the process is waited for; a daemon is
/// terminated first. So no child outlives its handle. If this process ends before that, because `main`
/// returns or somebody calls `std::process::exit`, it does the same with all its children first, as
/// CPython does. After the end by a signal, or by `abort`, daemons end too; others go on.
///
/// A child that waits for a message which nobody sends is waited for as long, also by a thread that
/// panics and drops the handle. Make it a daemon, or terminate it.
#[derive(Clone)]
pub struct Process {
    shared: Arc<Shared>,
}

/// What all clones share.
struct Shared {
    plan: Mutex<Plan>,
    started: OnceLock<Arc<Started>>,
}

/// What can change.
struct Plan {
    name: String,
    daemon: bool,
    identity: Vec<u32>,
    /// Until it is started.
    work: Option<Work>,
    closed: bool,
}

/// What it is to do.
enum Work {
    Call(Call),
    Closure(Closure),
}

/// For a copy of this process.
type Closure = Box<dyn FnOnce() -> Result<(), Failure> + Send>;

/// A task and its arguments.
struct Call {
    find: fn() -> Result<u32, UnknownTask>,
    task: &'static str,
    encode: Box<dyn Fn() -> Result<Bytes, EncodeError> + Send>,
}

/// A process that was started.
struct Started {
    pid: u32,
    /// Who started it. A copy of this that came through `fork` is nobody's parent.
    owner: u32,
    daemon: bool,
    pidfd: OwnedFd,
    sent: Sent,
    state: Mutex<State>,
}

enum State {
    /// With the call, if it is one: the arguments may hold the last handle of a named queue that the
    /// child has not opened yet.
    Running(#[expect(dead_code, reason = "held, not read")] Option<Call>),
    Ended(i32),
}

impl Process {
    /// A process that will call `task` with `args`, a tuple, once it is started.
    ///
    /// A closure with captures is refused by the compiler: what it captures cannot cross into
    /// another process. Pass that as arguments.
    ///
    /// ```compile_fail,E0080
    /// let name = String::from("captured");
    /// let process = shmq::Process::new(move || println!("{}", name.len()), ());
    /// ```
    #[must_use = "a process runs when it is started"]
    pub fn new<A, F>(task: F, args: A) -> Self
    where
        A: Serialize + Send + 'static,
        F: Task<A>,
    {
        // Its type says it all.
        let _ = task;
        let encode = Box::new(move || wire::to_bytes(&args));
        Self::of(Work::Call(Call { find: task::find::<F>, task: type_name::<F>(), encode }))
    }

    /// A process that will run `task` in a copy of this one, by fork(2), once it is started.
    ///
    /// The copy has all of this process's memory, so `task` may be a closure with captures, and neither
    /// [`init`](crate::init) nor serde is needed. What is captured is moved to the child; a
    /// [`Queue`](crate::Queue) is the same queue there, and an [`Unfinished`](crate::Unfinished) task is the
    /// child's to do. Do not capture the last handle of a [`Process`] or a [`Pool`](crate::Pool): these stay
    /// this process's children, and `start` drops what is captured, which waits for them or terminates them.
    /// Exit codes, failures, panics and the end are as for
    /// other processes: `task` is all that runs in the child, which then waits for its own children and ends
    /// without running this process's destructors. Its standard input is empty, but for what `std`
    /// has already read ahead of this process's, which both get. What was printed is printed once. A [`Pool`](crate::Pool) of this process does not run there.
    ///
    /// ```
    /// use shmq::{Process, Queue};
    ///
    /// let (queue, greeting) = (Queue::new(3)?, String::from("hello"));
    /// let to = queue.clone();
    /// // SAFETY: this process has no other threads.
    /// let process = unsafe { Process::fork(move || to.put(greeting)) };
    /// process.start()?;
    /// process.join()?;
    /// assert_eq!((process.exitcode(), queue.get()?), (Some(0), "hello".to_owned()));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Safety
    /// If there are other threads when it is started, none of them is in the copy. A lock that one of them
    /// held at that moment stays locked there for ever, and what it was changing stays half changed. So
    /// `task`, with all that it calls and drops, must not rely on what another thread may have been using:
    /// strictly, fork(2) allows async-signal-safe functions only. Besides, these can be relied on: queues
    /// of this crate, the allocator of glibc, printing by `std`. Threads of libraries count, too, and so do
    /// those of a [`Pool`](crate::Pool).
    ///
    /// Another thread's `std::process::Command::spawn`, if it is under way just then, does not return before the
    /// copy has ended: the copy has the pipe that it waits on. (Processes and pools of this crate take turns.)
    #[must_use = "a process runs when it is started"]
    pub unsafe fn fork<F, R>(task: F) -> Self
    where
        F: FnOnce() -> R + Send + 'static,
        R: Answer,
    {
        let run = || task().into_value().map(drop).map_err(Failure::Failed);
        Self::of(Work::Closure(Box::new(|| task::attempt(run))))
    }

    fn of(work: Work) -> Self {
        let identity = family::next_identity();
        let numbers: Vec<_> = identity.iter().map(u32::to_string).collect();
        let plan = Plan {
            name: format!("Process-{}", numbers.join(":")),
            daemon: false,
            identity,
            work: Some(work),
            closed: false,
        };
        Self { shared: Arc::new(Shared { plan: Mutex::new(plan), started: OnceLock::new() }) }
    }

    /// Names it, in place of `Process-1` and so on. Has no effect once it is started.
    #[must_use = "a process runs when it is started"]
    pub fn name(self, name: impl Into<String>) -> Self {
        self.change(|plan| plan.name = name.into())
    }

    /// Is it to end with this process? It must have no children of its own then. Has no effect once it
    /// is started.
    #[must_use = "a process runs when it is started"]
    pub fn daemon(self, daemon: bool) -> Self {
        self.change(|plan| plan.daemon = daemon)
    }

    fn change(self, change: impl FnOnce(&mut Plan)) -> Self {
        let mut plan = self.shared.plan();
        if plan.work.is_some() {
            change(&mut plan);
        }
        drop(plan);
        self
    }

    /// Starts it. When this returns the process exists, and has not necessarily begun to run the task.
    ///
    /// # Errors
    /// [`ProcessError`]: what is wrong with the task, its arguments or this process; the system's
    /// refusals. It may be tried again, unless it was started.
    pub fn start(&self) -> Result<(), ProcessError> {
        // What was printed before stays before what the child prints.
        _ = io::stdout().flush();
        self.start_unflushed()
    }

    /// The same for a thread of ours: it must not wait for somebody who keeps stdout locked.
    pub(crate) fn start_unflushed(&self) -> Result<(), ProcessError> {
        // Those that have ended meanwhile are not left zombies.
        family::reap();
        let mut plan = self.shared.plan();
        if plan.closed {
            return Err(ProcessError::Closed);
        }
        if current_process().daemon() {
            return Err(ProcessError::Daemonic);
        }
        let work = plan.work.take().ok_or(ProcessError::StartedTwice)?;
        let started = match launch::launch(&plan, work) {
            Ok(started) => Arc::new(started),
            Err((work, error)) => {
                plan.work = Some(work);
                return Err(error);
            }
        };
        family::add(Arc::downgrade(&self.shared), Arc::downgrade(&started));
        // Whoever takes the work out is alone.
        _ = self.shared.started.set(started);
        Ok(())
    }

    /// Waits until it has ended.
    ///
    /// # Errors
    /// [`ProcessError::NotStarted`], [`ProcessError::Closed`]; [`ProcessError::Os`] if a system call fails.
    pub fn join(&self) -> Result<(), ProcessError> {
        self.started("join")?.wait(None).map(drop)
    }

    /// Waits until it has ended, no longer than `timeout`. Has it?
    ///
    /// # Errors
    /// As for [`Process::join`].
    pub fn join_timeout(&self, timeout: Duration) -> Result<bool, ProcessError> {
        self.started("join")?.wait(Some(timeout))
    }

    /// Was it started, and has it not ended? (Also of a forked copy of who started it.)
    pub fn is_alive(&self) -> bool {
        self.shared.started.get().is_some_and(|started| started.exitcode().is_none())
    }

    /// How it ended: see [above](Self#exit-codes). `None` until then.
    ///
    /// 255 if somebody else waited for it: nobody knows then. So it is, too, in a forked copy of who started it.
    pub fn exitcode(&self) -> Option<i32> {
        self.shared.started.get()?.exitcode()
    }

    /// Once it has ended: the text of the panic or of the error that made its task fail, if so.
    pub fn failure(&self) -> Option<String> {
        let started = self.shared.started.get()?;
        let is_killed = started.exitcode()? < 0;
        started.sent.failure(is_killed)
    }

    /// Sends SIGTERM, which ends it, unless the task has made other arrangements; those of this process do not
    /// count. Does nothing if it has ended.
    ///
    /// A process that is ended at any instruction leaves the queues it uses whole and working.
    ///
    /// # Errors
    /// As for [`Process::join`].
    pub fn terminate(&self) -> Result<(), ProcessError> {
        self.started("terminate")?.signal(Signal::TERM)
    }

    /// Sends SIGKILL, which ends it. Does nothing if it has ended.
    ///
    /// # Errors
    /// As for [`Process::join`].
    pub fn kill(&self) -> Result<(), ProcessError> {
        self.started("kill")?.signal(Signal::KILL)
    }

    /// Its process id, once it is started.
    pub fn pid(&self) -> Option<u32> {
        Some(self.shared.started.get()?.pid)
    }

    /// Its name.
    pub fn get_name(&self) -> String {
        self.shared.plan().name.clone()
    }

    /// Does it end with this process?
    pub fn is_daemon(&self) -> bool {
        self.shared.plan().daemon
    }

    /// A descriptor (a pidfd) that is readable once it has ended, for `poll` and its relatives.
    ///
    /// # Errors
    /// As for [`Process::join`].
    pub fn sentinel(&self) -> Result<BorrowedFd<'_>, ProcessError> {
        Ok(self.started("wait for")?.pidfd.as_fd())
    }

    /// No more is to be done with it; its descriptors are closed when the last clone is dropped.
    /// Most methods fail from now on.
    ///
    /// # Errors
    /// [`ProcessError::StillRunning`].
    pub fn close(&self) -> Result<(), ProcessError> {
        if self.is_alive() {
            return Err(ProcessError::StillRunning);
        }
        self.shared.plan().closed = true;
        Ok(())
    }

    fn started(&self, what: &'static str) -> Result<&Started, ProcessError> {
        if self.shared.plan().closed {
            return Err(ProcessError::Closed);
        }
        let started = self.shared.started.get().ok_or(ProcessError::NotStarted { what })?;
        Ok(started)
    }
}

impl fmt::Debug for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Process")
            .field("name", &self.get_name())
            .field("pid", &self.pid())
            .field("daemon", &self.is_daemon())
            .field("exitcode", &self.exitcode())
            .finish_non_exhaustive()
    }
}

impl Shared {
    fn plan(&self) -> MutexGuard<'_, Plan> {
        // Whole at any time.
        self.plan.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        let Some(started) = self.started.get() else { return };
        if started.owner != std::process::id() {
            return;
        }
        if started.daemon {
            _ = started.signal(Signal::TERM);
        }
        _ = started.wait(None);
    }
}

impl Started {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait(&self, timeout: Option<Duration>) -> Result<bool, ProcessError> {
        let ended = wait::ended(self.pidfd.as_fd(), timeout).map_err(ProcessError::os("poll"))?;
        if ended {
            self.exitcode();
        }
        Ok(ended)
    }

    /// Reaps it if it has ended.
    fn exitcode(&self) -> Option<i32> {
        let mut state = self.state();
        let code = match &mut *state {
            State::Ended(code) => return Some(*code),
            // Not a child of this copy: waitid says no more than that.
            State::Running(_) if self.owner != std::process::id() => {
                match wait::ended(self.pidfd.as_fd(), Some(Duration::ZERO)) {
                    Ok(false) => return None,
                    _ => UNKNOWN,
                }
            }
            State::Running(_) => {
                let now = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
                match waitid(WaitId::PidFd(self.pidfd.as_fd()), now) {
                    Ok(None) => return None,
                    Ok(Some(status)) => {
                        let signal = status.terminating_signal().map(Neg::neg);
                        status.exit_status().or(signal).unwrap_or(UNKNOWN)
                    }
                    Err(_) => UNKNOWN,
                }
            }
        };
        let running = std::mem::replace(&mut *state, State::Ended(code));
        // Whatever dropping the arguments does, it may ask for the exit code.
        drop(state);
        drop(running);
        Some(code)
    }

    fn signal(&self, signal: Signal) -> Result<(), ProcessError> {
        match rustix::process::pidfd_send_signal(&self.pidfd, signal) {
            Ok(()) | Err(Errno::SRCH) => Ok(()),
            Err(errno) => Err(ProcessError::os("pidfd_send_signal")(errno)),
        }
    }
}

/// The exit code of a process that somebody else waited for.
const UNKNOWN: i32 = 255;
