//! What a child does: instead of `main`, or after `fork`.

use std::env;
use std::ffi::CString;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::exit;
use std::thread;

use rustix::process::{Signal, getpid, kill_process};

use super::family::{self, CurrentProcess, ParentProcess};
use super::orders::{Orders, own};
use super::{sigterm, wait};
use crate::hand_over;
use crate::task::{self, Failure};

/// A failed task's exit code, as that of an uncaught exception.
pub(super) const FAILED: i32 = 1;

/// Runs the task that this process was started for, if it was, and ends the process.
pub(crate) fn run_if_child() {
    let (note, orders) = match Orders::look() {
        None => return,
        Some(Ok(orders)) => orders,
        Some(Err(error)) => {
            let own = getpid();
            _ = writeln!(io::stderr(), "shmq: the orders of process {own} are unreadable: {error}");
            exit(FAILED);
        }
    };
    let name = orders.name.clone();
    exit(report(follow(orders), &name, &note));
}

/// The exit code. Why the task failed is printed, and left in `note` for the parent.
pub(super) fn report(done: Result<(), Failure>, name: &str, note: &File) -> i32 {
    let Err(why) = done else { return 0 };
    // Without it the parent still has the exit code.
    _ = note.write_all_at(why.to_string().as_bytes(), 0);
    // What a panic says has been printed by its hook.
    if !matches!(why, Failure::Panicked(_)) {
        // It may be that nobody reads it.
        _ = writeln!(io::stderr(), "{name}: {why}");
    }
    FAILED
}

/// Takes this process's place in its family.
pub(super) fn be(
    name: String,
    daemon: bool,
    identity: Vec<u32>,
    parent: ParentProcess,
) -> Result<(), Failure> {
    if daemon {
        parent.pidfd.try_clone().and_then(end_with).map_err(unready)?;
    }
    family::be(CurrentProcess::new(name, daemon, identity, Some(parent)));
    Ok(())
}

fn unready(error: io::Error) -> Failure {
    Failure::Args(error.to_string())
}

fn follow(orders: Orders) -> Result<(), Failure> {
    show_name();
    let Orders { name, daemon, identity, parent_name, parent_pid, queues, .. } = orders;
    // SAFETY: the parent left it open for this process; init, hence this, runs once.
    let pidfd = unsafe { own(orders.parent) }.map_err(unready)?;
    be(name, daemon, identity, ParentProcess { name: parent_name, pid: parent_pid, pidfd })?;
    let own_queue = |number: RawFd| {
        // SAFETY: as above; the list has each once.
        unsafe { own(number) }
    };
    let queues = queues.into_iter().map(own_queue).collect::<io::Result<_>>();
    hand_over::receive(queues.map_err(unready)?);

    let registered = task::table().get(orders.task as usize);
    let found = registered.map_or("nothing", |task| task.name());
    let Some(registered) = registered.filter(|_| found == orders.task_name) else {
        let Orders { task, task_name: expected, .. } = orders;
        return Err(Failure::Args(format!(
            "this process was started to run task {task}, {expected}, and has {found} in that \
             place; call shmq::init with the same tasks in every process of a program"
        )));
    };
    registered.run(&orders.args)
}

/// So that `ps` shows the program's name, not that of the link it was started by.
fn show_name() {
    let program = env::args_os().next().unwrap_or_default();
    let name = Path::new(&program).file_name().unwrap_or(&program);
    if let Ok(name) = CString::new(name.as_bytes()) {
        _ = rustix::thread::set_name(&name);
    }
}

/// Ends this process when its parent has ended, however that ended. (What the kernel offers for
/// this, PR_SET_PDEATHSIG, strikes when the parent's *thread* ends.)
fn end_with(parent: OwnedFd) -> io::Result<()> {
    let watch = move || {
        if let Ok(true) = wait::ended(parent.as_fd(), None) {
            _ = kill_process(getpid(), Signal::KILL);
        }
    };
    let builder = thread::Builder::new().name("shmq-daemon".to_owned()).stack_size(64 << 10);
    // A task that blocks it to wait for it finds it in no other thread.
    let mask = sigterm::block();
    let spawned = builder.spawn(watch).map(drop);
    sigterm::restore(&mask);
    spawned
}
