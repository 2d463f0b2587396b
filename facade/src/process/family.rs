//! Who this process is, and who its relatives are.

use std::num::NonZero;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::thread;
use std::time::Duration;

use super::{Process, Shared, Started, wait};

/// Set in a child; its absence is the main process.
static CHILD: OnceLock<CurrentProcess> = OnceLock::new();

static MAIN: CurrentProcess =
    CurrentProcess { name: String::new(), daemon: false, identity: Vec::new(), parent: None };

/// How many children were made.
static CHILDREN: AtomicU32 = AtomicU32::new(0);

/// Those that were started. The ended ones are removed by whoever looks.
static STARTED: Mutex<Vec<Member>> = Mutex::new(Vec::new());

/// A child that was started.
struct Member {
    handle: Weak<Shared>,
    /// Whoever holds the last handle waits for the process when it is dropped; this waits for nothing.
    started: Weak<Started>,
}

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
    reap();
    let children: Vec<_> = members().iter().filter_map(|member| member.handle.upgrade()).collect();
    children.into_iter().map(|shared| Process { shared }).filter(Process::is_alive).collect()
}

fn members() -> MutexGuard<'static, Vec<Member>> {
    STARTED.lock().unwrap_or_else(PoisonError::into_inner)
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
    members().retain(|member| member.handle.strong_count() > 0 && !is_ended(member));
}

pub(super) fn add(handle: Weak<Shared>, started: Weak<Started>) {
    members().push(Member { handle, started });
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
