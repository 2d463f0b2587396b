//! The worker processes of one trial: started, listened to, and never left behind.

use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{Errno, FdFlags, fcntl_setfd};

use crate::error::{During, Error, Result};
use crate::worker::{Report, Role, Spec};

pub(crate) const SUBCOMMAND: &str = "__worker";

/// Dropping a crew kills and reaps whoever is left.
#[derive(Debug, Default)]
pub(crate) struct Crew {
    workers: Vec<Worker>,
}

#[derive(Debug)]
struct Worker {
    role: Role,
    child: Child,
    /// `None` once it has ended.
    stdout: Option<ChildStdout>,
    output: Vec<u8>,
}

impl Crew {
    /// Starts this very binary again; of our descriptors it inherits those in its spec.
    pub(crate) fn spawn(&mut self, spec: &Spec) -> Result<()> {
        let text = serde_json::to_string(spec).map_err(io::Error::from);
        let mut command = Command::new("/proc/self/exe");
        command.arg0("shmq-harness").args([SUBCOMMAND, &text.during("encoding a worker's spec")?]);
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        let inherited: Vec<RawFd> =
            [Some(spec.barrier), spec.sender, spec.receiver].into_iter().flatten().collect();
        let keep_open = move || inherited.iter().try_for_each(|&fd| clear_cloexec(fd));
        // SAFETY: between fork and exec the closure only calls fcntl
        unsafe { command.pre_exec(keep_open) };
        let mut child = command.spawn().during("starting a worker")?;
        let stdout = child.stdout.take();
        self.workers.push(Worker { role: spec.role, child, stdout, output: Vec::new() });
        Ok(())
    }

    pub(crate) fn len(&self) -> usize {
        self.workers.len()
    }

    /// An error if somebody ended before the work began.
    pub(crate) fn check_alive(&mut self) -> Result<()> {
        for worker in &mut self.workers {
            if worker.child.try_wait().during("waitpid")?.is_some() {
                worker.read_to_end()?;
                worker.report()?;
                return Err(worker.failed("ended before it was told to start"));
            }
        }
        Ok(())
    }

    /// Lets the workers work for a while; an error if somebody fails meanwhile.
    pub(crate) fn watch(&mut self, slice: Duration) -> Result<()> {
        let end = Instant::now() + slice;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            self.listen(left)?;
        }
    }

    /// Waits for every report. The first failure, or the deadline, ends the wait.
    pub(crate) fn reports(mut self, deadline: Instant) -> Result<Vec<(Role, Report)>> {
        while self.workers.iter().any(|worker| worker.stdout.is_some()) {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(Error::Hung);
            }
            self.listen(left)?;
        }
        self.workers.iter_mut().map(|worker| Ok((worker.role, worker.report()?))).collect()
    }

    fn listen(&mut self, patience: Duration) -> Result<()> {
        let talking = self.workers.iter_mut().filter(|worker| worker.stdout.is_some());
        let mut talking: Vec<&mut Worker> = talking.collect();
        let mut events: Vec<PollFd<'_>> = talking
            .iter()
            .filter_map(|worker| worker.stdout.as_ref())
            .map(|stdout| PollFd::new(stdout, PollFlags::IN))
            .collect();
        let timeout = Timespec::try_from(patience).ok();
        match poll(&mut events, timeout.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error).during("poll"),
        }
        let ready: Vec<bool> = events.iter().map(|event| !event.revents().is_empty()).collect();
        for (worker, _) in talking.iter_mut().zip(ready).filter(|(_, ready)| *ready) {
            worker.read_some()?;
            if worker.stdout.is_none() {
                worker.report()?;
            }
        }
        Ok(())
    }
}

impl Drop for Crew {
    fn drop(&mut self) {
        for worker in &mut self.workers {
            let _ = worker.child.kill();
        }
        for worker in &mut self.workers {
            let _ = worker.child.wait();
        }
    }
}

impl Worker {
    fn read_some(&mut self) -> Result<()> {
        let Some(stdout) = &mut self.stdout else {
            return Ok(());
        };
        let mut bytes = [0; 16384];
        match stdout.read(&mut bytes).during("reading a worker's report")? {
            0 => self.stdout = None,
            length => self.output.extend_from_slice(&bytes[..length]),
        }
        Ok(())
    }

    fn read_to_end(&mut self) -> Result<()> {
        while self.stdout.is_some() {
            self.read_some()?;
        }
        Ok(())
    }

    fn report(&mut self) -> Result<Report> {
        let status = self.child.wait().during("waitpid")?;
        let Ok(mut report) = serde_json::from_slice::<Report>(&self.output) else {
            return Err(self.failed(&format!("ended without a report ({status})")));
        };
        match report.error.take() {
            Some(reason) => Err(self.failed(&reason)),
            None => Ok(report),
        }
    }

    fn failed(&self, reason: &str) -> Error {
        let worker = match self.role {
            Role::Producer(id) => format!("producer {id}"),
            Role::Consumer => "consumer".into(),
            Role::Ping => "ping".into(),
            Role::Echo => "echo".into(),
        };
        Error::Worker { worker, reason: reason.into() }
    }
}

fn clear_cloexec(fd: RawFd) -> io::Result<()> {
    // SAFETY: the runner keeps its endpoints open until all workers are started
    let fd: BorrowedFd<'_> = unsafe { BorrowedFd::borrow_raw(fd) };
    Ok(fcntl_setfd(fd.as_fd(), FdFlags::empty())?)
}
