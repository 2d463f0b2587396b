//! Who this process is, and who its relatives are.

use std::fmt;
use std::num::NonZero;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::process;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::thread;
use std::time::Duration;

use rustix::process::Signal;

use super::{Process, Shared, Started, wait};

/// Whoever began without a parent of ours.
static MAIN: CurrentProcess = CurrentProcess::new(String::new(), false, Vec::new(), None);

/// A child that was started.
struct Member {
    handle: Weak<Shared>,
    /// Whoever holds the last handle waits for the process when it is dropped; this waits for nothing.
    started: Weak<Started>,
}

/// This process; from [`current_process`].
pub struct CurrentProcess {
    name: String,
    daemon: bool,
    identity: Vec<u32>,
    parent: Option<ParentProcess>,
    /// How many children were made.
    children: AtomicU32,
    /// Those that were started. The ended ones are removed by whoever looks.
    started: Mutex<Vec<Member>>,
    /// The pid, once a child was started. A copy of this that came through `fork` has another.
    waits_as: AtomicU32,
    /// In a forked child, who that is. What the parent was is not touched: its locks may be held for ever.
    child: OnceLock<Box<CurrentProcess>>,
}

/// This process. The main one has the name `MainProcess`, and is no daemon.
pub fn current_process() -> &'static CurrentProcess {
    let mut process = &MAIN;
    while let Some(child) = process.child.get() {
        process = child;
    }
    process
}

/// The process that started this one by [`Process::start`]; `None` in the main process.
pub fn parent_process() -> Option<&'static ParentProcess> {
    current_process().parent.as_ref()
}

/// How many CPUs this process may use: what its affinity and its control group allow.
pub fn cpu_count() -> usize {
    thread::available_parallelism().map_or(1, NonZero::get)
}

/// The children of this process that are alive. The ended ones are waited for in passing, so that
/// none stays a zombie.
pub fn active_children() -> Vec<Process> {
    reap();
    let children: Vec<_> = members().iter().filter_map(|member| member.handle.upgrade()).collect();
    let own = process::id();
    let is_own = |shared: &Arc<Shared>| shared.started.get().is_some_and(|it| it.owner == own);
    let children = children.into_iter().filter(is_own).map(|shared| Process { shared });
    children.filter(Process::is_alive).collect()
}

fn members() -> MutexGuard<'static, Vec<Member>> {
    current_process().started.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Waits for those that have ended. Never blocks.
pub(super) fn reap() {
    let started: Vec<_> = members().iter().filter_map(|member| member.started.upgrade()).collect();
    // Not with the lock: the arguments are dropped, and may do anything.
    let ended: Vec<_> = started.iter().filter(|child| child.exitcode().is_some()).collect();
    let is_ended = |member: &Member| {
        let child = member.started.as_ptr();
        ended.iter().any(|ended| std::ptr::eq(child, &raw const ***ended))
    };
    members().retain(|member| member.started.strong_count() > 0 && !is_ended(member));
}

pub(super) fn add(handle: Weak<Shared>, started: Weak<Started>) {
    members().push(Member { handle, started });
    let own = process::id();
    // ordering: Relaxed, who ends the process while another thread starts a child may miss that one
    if current_process().waits_as.swap(own, Ordering::Relaxed) != own {
        // SAFETY: it may be called at any time, and does not unwind.
        unsafe { libc::atexit(end_children) };
    }
}

/// As CPython does at the end of a program: terminates the daemons among the children that somebody still has
/// a handle of, then waits for all of these.
pub(super) extern "C" fn end_children() {
    let own = process::id();
    // ordering: Relaxed, as in add
    if current_process().waits_as.load(Ordering::Relaxed) != own {
        return;
    }
    let children: Vec<_> = members().iter().filter_map(|member| member.started.upgrade()).collect();
    let children: Vec<_> = children.iter().filter(|child| child.owner == own).collect();
    children.iter().filter(|child| child.daemon).for_each(|child| _ = child.signal(Signal::TERM));
    // Not reaped: that drops arguments, and it is late for code of others.
    children.iter().for_each(|child| _ = wait::ended(child.pidfd.as_fd(), None));
}

/// The place of a new child in the family.
pub(super) fn next_identity() -> Vec<u32> {
    let current = current_process();
    let mut identity = current.identity.clone();
    // ordering: Relaxed, a counter and nothing else.
    identity.push(current.children.fetch_add(1, Ordering::Relaxed) + 1);
    identity
}

/// In a child, once, before anybody asks.
pub(super) fn be(child: CurrentProcess) {
    current_process().child.get_or_init(|| Box::new(child));
}

impl CurrentProcess {
    pub(super) const fn new(
        name: String,
        daemon: bool,
        identity: Vec<u32>,
        parent: Option<ParentProcess>,
    ) -> Self {
        Self {
            name,
            daemon,
            identity,
            parent,
            children: AtomicU32::new(0),
            started: Mutex::new(Vec::new()),
            waits_as: AtomicU32::new(0),
            child: OnceLock::new(),
        }
    }

    /// The name given by [`Process::name`]; by default `Process-1`, `Process-1:2` for its second
    /// child, and so on.
    pub fn name(&self) -> &str {
        if self.identity.is_empty() { "MainProcess" } else { &self.name }
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        process::id()
    }

    /// Does it end with its parent? Then it may not have children.
    pub fn daemon(&self) -> bool {
        self.daemon
    }
}

impl fmt::Debug for CurrentProcess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CurrentProcess")
            .field("name", &self.name())
            .field("daemon", &self.daemon)
            .field("parent", &self.parent)
            .finish_non_exhaustive()
    }
}

/// The process that started this one; from [`parent_process`].
#[derive(Debug)]
pub struct ParentProcess {
    pub(super) name: String,
    pub(super) pid: u32,
    pub(super) pidfd: OwnedFd,
}

impl ParentProcess {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its process id, which may be another's once it has ended.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Has it not ended?
    pub fn is_alive(&self) -> bool {
        !self.join_timeout(Duration::ZERO)
    }

    /// Waits until it has ended, no longer than `timeout`. Has it?
    pub fn join_timeout(&self, timeout: Duration) -> bool {
        wait::ended(self.sentinel(), Some(timeout)).unwrap_or(false)
    }

    /// A descriptor that is readable once it has ended.
    pub fn sentinel(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }
}
