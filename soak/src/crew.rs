//! The worker processes of an epoch: started, signalled, and never left behind.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus, Stdio};

use anyhow::{Context, Result, bail};
use rustix::io::{FdFlags, fcntl_setfd};
use rustix::process::{Pid, Signal, kill_process};
use shmq_engine::Queue;
use shmq_soak::history::NEVER;

use crate::clock;
use crate::control::Control;
use crate::log::Log;
use crate::worker::{Role, Spec, Task};

pub(crate) const SUBCOMMAND: &str = "__worker";

/// A worker that is alive, or not yet known to be dead.
#[derive(Debug)]
pub(crate) struct Worker {
    pub(crate) number: u32,
    pub(crate) role: Role,
    pub(crate) is_stopped: bool,
    pub(crate) log: Log,
    child: Child,
}

/// One that is dead, with its log.
#[derive(Debug)]
pub(crate) struct Gone {
    pub(crate) number: u32,
    pub(crate) log: Log,
    /// `None`: it ended by itself.
    pub(crate) death: Option<Death>,
}

/// When a worker was killed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Death {
    /// The signal had been sent by then.
    pub(crate) sent: u64,
    /// It was certainly dead by then.
    pub(crate) dead: u64,
    /// What it held had been recovered by then; [`NEVER`] so far.
    pub(crate) settled: u64,
}

/// What a worker needs of us.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shared<'s> {
    pub(crate) queue: &'s Queue,
    pub(crate) control: &'s Control,
}

impl Worker {
    /// Starts this very binary again; of our descriptors it inherits those in its spec.
    pub(crate) fn spawn(
        shared: Shared<'_>,
        number: u32,
        task: Task,
        seed: u64,
        log: Log,
    ) -> Result<Self> {
        let queue = shared.queue.as_fd().context("an anonymous queue has a descriptor")?;
        let raw = |fd: BorrowedFd<'_>| fd.as_raw_fd();
        let spec = Spec {
            number,
            task,
            seed,
            parent: std::process::id().try_into()?,
            queue: raw(queue),
            control: raw(shared.control.fd()),
            log: raw(log.fd()),
        };
        let inherited = [spec.queue, spec.control, spec.log];
        let mut command = Command::new("/proc/self/exe");
        command.arg0("shmq-soak").args([SUBCOMMAND, &serde_json::to_string(&spec)?]);
        command.stdin(Stdio::null()).stdout(Stdio::null());
        let keep_open = move || inherited.iter().try_for_each(|&fd| clear_cloexec(fd));
        // SAFETY: between fork and exec the closure only calls fcntl.
        unsafe { command.pre_exec(keep_open) };
        let child = command.spawn().context("starting a worker")?;
        Ok(Self { number, role: task.role, is_stopped: false, log, child })
    }

    /// SIGSTOP and SIGCONT.
    pub(crate) fn set_stopped(&mut self, stopped: bool) -> Result<()> {
        let signal = if stopped { Signal::STOP } else { Signal::CONT };
        // Not reaped, so the pid is still its own.
        kill_process(Pid::from_child(&self.child), signal).context("signalling a worker")?;
        self.is_stopped = stopped;
        Ok(())
    }

    /// SIGKILL, and the end of it.
    pub(crate) fn kill(mut self) -> Result<Gone> {
        self.child.kill().context("killing a worker")?;
        let sent = clock::after();
        let status = self.child.wait().context("waitpid")?;
        let dead = clock::after();
        let death = Death { sent, dead, settled: NEVER };
        // It may have ended by itself right before.
        let death = (status.signal() == Some(Signal::KILL.as_raw())).then_some(death);
        self.check(status, death.is_some())?;
        Ok(self.gone(death))
    }

    /// Has it ended by itself? Then it must have ended well.
    pub(crate) fn has_ended(&mut self) -> Result<bool> {
        let Some(status) = self.child.try_wait().context("waitpid")? else { return Ok(false) };
        self.check(status, false)?;
        Ok(true)
    }

    pub(crate) fn gone(self, death: Option<Death>) -> Gone {
        Gone { number: self.number, log: self.log, death }
    }

    fn check(&self, status: ExitStatus, was_killed: bool) -> Result<()> {
        if !status.success() && !was_killed {
            bail!("worker {} failed by itself: {status}; see its own message", self.number);
        }
        Ok(())
    }

    /// Kills it without ado.
    pub(crate) fn abandon(&mut self) {
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

fn clear_cloexec(fd: RawFd) -> io::Result<()> {
    // SAFETY: the supervisor keeps what it shares open until the worker is started.
    let fd: BorrowedFd<'_> = unsafe { BorrowedFd::borrow_raw(fd) };
    Ok(fcntl_setfd(fd, FdFlags::empty())?)
}
