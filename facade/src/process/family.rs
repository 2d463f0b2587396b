//! Who this process is, and who its relatives are.

use std::num::NonZero;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError, Weak};
use std::thread;
use std::time::Duration;

use super::{Process, Shared, wait};

/// Set in a child; its absence is the main process.
static CHILD: OnceLock<CurrentProcess> = OnceLock::new();

static MAIN: CurrentProcess =
    CurrentProcess { name: String::new(), daemon: false, identity: Vec::new(), parent: None };

/// How many children were made.
static CHILDREN: AtomicU32 = AtomicU32::new(0);

/// Those that were started. The ended ones are removed by whoever looks.
static STARTED: Mutex<Vec<Weak<Shared>>> = Mutex::new(Vec::new());

/// This process; from [`current_process`].
#[derive(Debug)]
pub struct CurrentProcess {
    name: String,
    daemon: bool,
    identity: Vec<u32>,
    parent: Option<ParentProcess>,
}

/// This process. The main one has the name `MainProcess`, and is no daemon.
pub fn current_process() -> &'static CurrentProcess {
    CHILD.get().unwrap_or(&MAIN)
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
    let mut started = STARTED.lock().unwrap_or_else(PoisonError::into_inner);
    let children: Vec<_> = started.iter().filter_map(Weak::upgrade).collect();
    started.retain(|child| child.strong_count() > 0);
    // Whoever is the last to drop one waits for it: not with the lock.
    drop(started);
    let children = children.into_iter().map(|shared| Process { shared });
    let (alive, ended): (Vec<_>, Vec<_>) = children.partition(Process::is_alive);
    forget(&ended);
    alive
}

fn forget(ended: &[Process]) {
    let mut started = STARTED.lock().unwrap_or_else(PoisonError::into_inner);
    let is = |child: &Weak<Shared>, ended: &Process| std::ptr::eq(child.as_ptr(), &*ended.shared);
    started.retain(|child| !ended.iter().any(|ended| is(child, ended)));
}

pub(super) fn add(child: Weak<Shared>) {
    STARTED.lock().unwrap_or_else(PoisonError::into_inner).push(child);
}

/// The place of a new child in the family.
pub(super) fn next_identity() -> Vec<u32> {
    let mut identity = current_process().identity.clone();
    // ordering: Relaxed, a counter and nothing else.
    identity.push(CHILDREN.fetch_add(1, Ordering::Relaxed) + 1);
    identity
}

/// In a child, once, before anybody asks.
pub(super) fn be(name: String, daemon: bool, identity: Vec<u32>, parent: ParentProcess) {
    let parent = Some(parent);
    CHILD.get_or_init(|| CurrentProcess { name, daemon, identity, parent });
}

impl CurrentProcess {
    /// The name given by [`Process::name`]; by default `Process-1`, `Process-1:2` for its second
    /// child, and so on.
    pub fn name(&self) -> &str {
        if self.identity.is_empty() { "MainProcess" } else { &self.name }
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        std::process::id()
    }

    /// Does it end with its parent? Then it may not have children.
    pub fn daemon(&self) -> bool {
        self.daemon
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
