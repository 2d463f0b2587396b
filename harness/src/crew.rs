//! The worker processes of one trial: started, listened to, and never left behind.

use std::any::Any;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{Errno, FdFlags, fcntl_setfd};

use crate::error::{During, Error, Result};
use crate::interrupt::Interrupt;
use crate::worker::{Address, Answer, Report, Role, Seat, Spec};

pub(crate) const SUBCOMMAND: &str = "__worker";

/// Dropping a crew kills and reaps whoever is left, then removes what they have left behind.
#[derive(Debug)]
pub(crate) struct Crew<'a> {
    workers: Vec<Worker>,
    seats: usize,
    interrupt: &'a Interrupt,
    guards: Vec<Box<dyn Any>>,
}

#[derive(Debug)]
struct Worker {
    name: String,
    child: Child,
    /// `None` once it has ended.
    stdout: Option<ChildStdout>,
    output: Vec<u8>,
}

impl<'a> Crew<'a> {
    pub(crate) fn new(interrupt: &'a Interrupt) -> Self {
        Self { workers: Vec::new(), seats: 0, interrupt, guards: Vec::new() }
    }

    /// To be dropped when all workers are gone.
    pub(crate) fn keep(&mut self, guard: Option<Box<dyn Any>>) {
        self.guards.extend(guard);
    }

    /// Starts this very binary again; of our descriptors it inherits those in its spec.
    pub(crate) fn spawn(&mut self, spec: &Spec) -> Result<()> {
        // Starting many of them may take longer than a signal waits.
        self.interrupt.check()?;
        let text = serde_json::to_string(spec).map_err(io::Error::from);
        let mut command = Command::new("/proc/self/exe");
        command.arg0("shmq-harness").args([SUBCOMMAND, &text.during("encoding a worker's spec")?]);
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        let inherited = inherited(spec);
        let keep_open = move || inherited.iter().try_for_each(|&fd| clear_cloexec(fd));
        // SAFETY: between fork and exec the closure only calls fcntl
        unsafe { command.pre_exec(keep_open) };
        let mut child = command.spawn().during("starting a worker")?;
        let stdout = child.stdout.take();
        self.workers.push(Worker { name: name(spec), child, stdout, output: Vec::new() });
        self.seats += spec.seats.len();
        Ok(())
    }

    /// How many are to arrive at the barrier.
    pub(crate) fn seats(&self) -> usize {
        self.seats
    }

    /// An error if somebody ended before the work began.
    pub(crate) fn check_alive(&mut self) -> Result<()> {
        self.interrupt.check()?;
        for worker in &mut self.workers {
            if worker.child.try_wait().during("waitpid")?.is_some() {
                worker.read_to_end()?;
                worker.reports()?;
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

    /// Waits for every report; `None` if they are not all there by the `deadline`. The first failure
    /// ends the wait.
    pub(crate) fn reports(&mut self, deadline: Instant) -> Result<Option<Vec<(Role, Report)>>> {
        while self.workers.iter().any(|worker| worker.stdout.is_some()) {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(None);
            }
            self.listen(left)?;
        }
        let mut reports = Vec::new();
        for worker in &mut self.workers {
            reports.extend(worker.reports()?);
        }
        Ok(Some(reports))
    }

    /// Who has not ended.
    pub(crate) fn at_work(&self) -> String {
        let workers = self.workers.iter().filter(|worker| worker.stdout.is_some());
        let names: Vec<&str> = workers.map(|worker| worker.name.as_str()).collect();
        names.join(", ")
    }

    fn listen(&mut self, patience: Duration) -> Result<()> {
        let talking = self.workers.iter_mut().filter(|worker| worker.stdout.is_some());
        let mut talking: Vec<&mut Worker> = talking.collect();
        let mut events: Vec<PollFd<'_>> = talking
            .iter()
            .filter_map(|worker| worker.stdout.as_ref())
            .map(|stdout| PollFd::new(stdout, PollFlags::IN))
            .collect();
        let interrupt = self.interrupt.fd();
        events.push(PollFd::new(&interrupt, PollFlags::IN));
        let timeout = Timespec::try_from(patience).ok();
        match poll(&mut events, timeout.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error).during("poll"),
        }
        self.interrupt.check()?;
        let ready: Vec<bool> = events.iter().map(|event| !event.revents().is_empty()).collect();
        for (worker, _) in talking.iter_mut().zip(ready).filter(|(_, ready)| *ready) {
            worker.read_some()?;
            if worker.stdout.is_none() {
                worker.reports()?;
            }
        }
        Ok(())
    }
}

impl Drop for Crew<'_> {
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

    /// What it had to say; an error if it failed.
    fn reports(&mut self) -> Result<Vec<(Role, Report)>> {
        let status = self.child.wait().during("waitpid")?;
        let Ok(answer) = serde_json::from_slice::<Answer>(&self.output) else {
            return Err(self.failed(&format!("ended without a report ({status})")));
        };
        match answer.error {
            Some(reason) => Err(self.failed(&reason)),
            None => Ok(answer.reports),
        }
    }

    fn failed(&self, reason: &str) -> Error {
        Error::Worker { worker: self.name.clone(), reason: reason.into() }
    }
}

fn name(spec: &Spec) -> String {
    match spec.seats.as_slice() {
        [seat] => seat.role.to_string(),
        _ => "one of the threads".into(),
    }
}

fn inherited(spec: &Spec) -> Vec<RawFd> {
    let addresses = |seat: &Seat| [seat.sender.clone(), seat.receiver.clone()];
    let addresses = spec.seats.iter().flat_map(addresses).flatten();
    let ends = addresses.filter_map(|address| match address {
        Address::Fd(fd) => Some(fd),
        Address::Name(_) => None,
    });
    std::iter::once(spec.barrier).chain(ends).collect()
}

fn clear_cloexec(fd: RawFd) -> io::Result<()> {
    // SAFETY: the runner keeps its endpoints open until all workers are started
    let fd: BorrowedFd<'_> = unsafe { BorrowedFd::borrow_raw(fd) };
    Ok(fcntl_setfd(fd.as_fd(), FdFlags::empty())?)
}
