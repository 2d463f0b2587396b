//! Starting this program again.

use std::env;
use std::io::{self, Write};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;

use rustix::io::{Errno, FdFlags, fcntl_setfd};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use super::orders::{Orders, Sent, VARIABLE};
use super::{Call, Plan, ProcessError, Started, State, current_process};
use crate::hand_over;
use crate::inherit::duplicate;
use crate::wire::Bytes;

/// Whatever the program's file is called now, and if it is still there.
const THIS_PROGRAM: &str = "/proc/self/exe";

/// Starts the planned process, or gives the call back.
pub(super) fn launch(plan: &Plan, call: Call) -> Result<Started, (Call, ProcessError)> {
    let (child, pidfd, sent) = match spawn(plan, &call) {
        Ok(spawned) => spawned,
        Err(error) => return Err((call, error)),
    };
    let (pid, owner) = (child.id(), std::process::id());
    Ok(Started { pid, owner, pidfd, sent, state: Mutex::new(State::Running(child, call)) })
}

fn spawn(plan: &Plan, call: &Call) -> Result<(Child, OwnedFd, Sent), ProcessError> {
    let task = (call.find)()?;
    let (args, queues) = hand_over::pack(&call.encode);
    let args = args.map_err(|source| ProcessError::Args { name: plan.name.clone(), source })?;
    let parent = pidfd(std::process::id())?;
    let parent = duplicate(parent).map_err(ProcessError::os("fcntl(F_DUPFD_CLOEXEC)"))?;
    let orders = Orders {
        name: plan.name.clone(),
        daemon: plan.daemon,
        identity: plan.identity.clone(),
        parent_name: current_process().name().to_owned(),
        parent_pid: std::process::id(),
        parent: parent.as_raw_fd(),
        queues: queues.iter().map(AsRawFd::as_raw_fd).collect(),
        task,
        task_name: call.task.to_owned(),
        args: Bytes(args),
    };
    let sent = Sent::new(&orders).map_err(ProcessError::os("memfd_create"))?;
    // What was printed before stays before what the child prints.
    _ = io::stdout().flush();
    let mut command = command(&sent, [parent].into_iter().chain(queues).collect());
    let mut child = command.spawn().map_err(ProcessError::os("execve(/proc/self/exe)"))?;
    // It has not been waited for, so the pid is its own.
    let pidfd = pidfd(child.id()).inspect_err(|_| {
        _ = child.kill();
        _ = child.wait();
    })?;
    Ok((child, pidfd, sent))
}

fn pidfd(pid: u32) -> Result<OwnedFd, ProcessError> {
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
        numbers.try_for_each(clear_cloexec)
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
