//! What a child does instead of `main`.

use std::env;
use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::exit;
use std::thread;

use rustix::process::{Signal, getpid, kill_process};

use super::family::{self, ParentProcess};
use super::orders::{Orders, Received, own};
use super::wait;
use crate::hand_over;
use crate::task::{self, Failure};

/// A failed task's exit code, as that of an uncaught exception.
const FAILED: i32 = 1;

/// Runs the task that this process was started for, if it was, and ends the process.
pub(crate) fn run_if_child() {
    let (received, orders) = match Received::look() {
        None => return,
        Some(Ok(orders)) => orders,
        Some(Err(error)) => {
            eprintln!("shmq: the orders of process {} are unreadable: {error}", getpid());
            exit(FAILED);
        }
    };
    let name = orders.name.clone();
    let why = match follow(orders) {
        Ok(()) => exit(0),
        Err(failure) => failure,
    };
    // What a panic says has been printed by its hook.
    if !matches!(why, Failure::Panicked(_)) {
        eprintln!("{name}: {why}");
    }
    received.fail(&why.to_string());
    exit(FAILED);
}

fn follow(orders: Orders) -> Result<(), Failure> {
    show_name();
    let unready = |error: io::Error| Failure::Args(error.to_string());
    let Orders { name, daemon, identity, parent_name, parent_pid, queues, .. } = orders;
    // SAFETY: the parent left it open for this process; init, hence this, runs once.
    let pidfd = unsafe { own(orders.parent) }.map_err(unready)?;
    if daemon {
        end_with(pidfd.try_clone().map_err(unready)?).map_err(unready)?;
    }
    let parent = ParentProcess { name: parent_name, pid: parent_pid, pidfd };
    family::be(name, daemon, identity, parent);
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
    registered.run(&orders.args.0).map(drop)
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
    builder.spawn(watch).map(drop)
}
