//! Starting children: this program again, or a copy of this process.

use std::env;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::{self, Command, Stdio};
use std::sync::{Mutex, MutexGuard, TryLockError};
use std::thread;
use std::time::Duration;

use rustix::io::{Errno, FdFlags, fcntl_setfd};
use rustix::process::{Pid, PidfdFlags, Signal, WaitOptions, kill_process, pidfd_open, waitpid};

use super::fork::fork;
use super::orders::{Orders, Sent, VARIABLE};
use super::{Call, Plan, ProcessError, Started, State, Work, current_process, sigterm};
use crate::hand_over;
use crate::inherit::duplicate;

/// Whatever the program's file is called now, and if it is still there.
const THIS_PROGRAM: &str = "/proc/self/exe";

/// A child that runs.
pub(super) struct Launched {
    pid: u32,
    pidfd: OwnedFd,
    sent: Sent,
}

/// Starts the planned process, or gives back what it is to do.
pub(super) fn launch(plan: &Plan, work: Work) -> Result<Started, (Work, ProcessError)> {
    let (launched, call) = match work {
        Work::Call(call) => match spawn(plan, &call) {
            Ok(launched) => (launched, Some(call)),
            Err(error) => return Err((Work::Call(call), error)),
        },
        Work::Closure(closure) => match fork(plan, closure) {
            Ok(launched) => (launched, None),
            Err((closure, error)) => return Err((Work::Closure(closure), error)),
        },
    };
    let Launched { pid, pidfd, sent } = launched;
    let (owner, daemon) = (process::id(), plan.daemon);
    let state = Mutex::new(State::Running(call));
    Ok(Started { pid, owner, daemon, pidfd, sent, state })
}

fn spawn(plan: &Plan, call: &Call) -> Result<Launched, ProcessError> {
    let task = (call.find)()?;
    let (args, queues) = hand_over::pack(&call.encode);
    let args = args.map_err(|source| ProcessError::Args { name: plan.name.clone(), source })?;
    let parent = pidfd(process::id())?;
    let parent = duplicate(parent).map_err(ProcessError::os("fcntl(F_DUPFD_CLOEXEC)"))?;
    let orders = Orders {
        name: plan.name.clone(),
        daemon: plan.daemon,
        identity: plan.identity.clone(),
        parent_name: current_process().name().to_owned(),
        parent_pid: process::id(),
        parent: parent.as_raw_fd(),
        queues: queues.iter().map(AsRawFd::as_raw_fd).collect(),
        task,
        task_name: call.task.to_owned(),
        args,
    };
    let sent = Sent::new(&orders).map_err(ProcessError::os("memfd_create"))?;
    let mut command = command(&sent, [parent].into_iter().chain(queues).collect());
    let spawned = {
        let _alone = alone();
        command.spawn()
    };
    adopt(spawned.map_err(ProcessError::os("execve(/proc/self/exe)"))?.id(), sent)
}

/// No other thread starts a child of ours while this is held. `Command` waits for the end of a pipe that its
/// child closes by execve; a copy of this process made meanwhile would keep that open as long as it lives.
///
/// Not for ever: a copy that was not made by us may have it locked, or keep that pipe open.
pub(super) fn alone() -> Option<MutexGuard<'static, ()>> {
    static ALONE: Mutex<()> = Mutex::new(());
    (0..ALONE_TRIES).find_map(|_| match ALONE.try_lock() {
        Ok(alone) => Some(alone),
        Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
        Err(TryLockError::WouldBlock) => {
            thread::sleep(Duration::from_millis(1));
            None
        }
    })
}

/// A millisecond each.
const ALONE_TRIES: u32 = 2_000;

/// A child that nobody has waited for, so the pid is its own. If there is an error, there is no child.
pub(super) fn adopt(pid: u32, sent: Sent) -> Result<Launched, ProcessError> {
    let pidfd = pidfd(pid).inspect_err(|_| {
        let pid = Pid::from_raw(pid.cast_signed());
        _ = pid.map(|pid| kill_process(pid, Signal::KILL));
        _ = waitpid(pid, WaitOptions::empty());
    })?;
    Ok(Launched { pid, pidfd, sent })
}

pub(super) fn pidfd(pid: u32) -> Result<OwnedFd, ProcessError> {
    let pid = Pid::from_raw(pid.cast_signed()).ok_or(Errno::SRCH);
    let pidfd = pid.and_then(|pid| pidfd_open(pid, PidfdFlags::empty()));
    pidfd.map_err(ProcessError::os("pidfd_open"))
}

/// This program with its arguments, and with these descriptors.
fn command(sent: &Sent, handed: Vec<OwnedFd>) -> Command {
    let mut words = env::args_os();
    let mut command = Command::new(THIS_PROGRAM);
    if let Some(name) = words.next() {
        command.arg0(name);
    }
    command.args(words).env(VARIABLE, sent.value()).stdin(Stdio::null());
    let orders = sent.fd();
    // Only the child's copies lose the flag: no other child can inherit them.
    let keep_open = move || {
        let mut numbers = handed.iter().map(AsRawFd::as_raw_fd).chain([orders]);
        numbers.try_for_each(clear_cloexec)?;
        sigterm::accept();
        Ok(())
    };
    // SAFETY: system calls only, which are async-signal-safe; it allocates nothing.
    unsafe { command.pre_exec(keep_open) };
    command
}

fn clear_cloexec(number: RawFd) -> io::Result<()> {
    // SAFETY: open: `handed` belongs to the command, and `sent` outlives its only spawn.
    let fd = unsafe { BorrowedFd::borrow_raw(number) };
    Ok(fcntl_setfd(fd, FdFlags::empty())?)
}
