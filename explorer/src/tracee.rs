//! One victim, from the tracer's side: taken to a point, killed, frozen, or let go on.

use std::cell::{Cell, RefCell};
use std::fs;
use std::io::Write;
use std::ops::Range;
use std::rc::Rc;

use anyhow::{Context, Result, bail};
use nix::errno::Errno;
use nix::sys::ptrace;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, fork};

use crate::answer::Answer;
use crate::code::{Code, Next};
use crate::lab::Lab;
use crate::op::Op;
use crate::path::{self, Missed, Path};
use crate::slate::Slate;
use crate::victim;

/// An operation that takes more is one that does not end.
pub const STEPS_MAX: u64 = 1_000_000;

/// How far to take a victim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Goal {
    /// Behind so many instructions. Falling asleep, and being woken, count as one each.
    Instruction(u64),
    /// Before the instruction that is, from 0, the so-many-th to touch the segment. Asleep counts.
    Touch(u64),
    /// Until it sleeps.
    Sleep,
    /// To the end.
    End,
}

/// Where it came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reached {
    /// The goal.
    Point,
    /// The goal is a sleep, and it sleeps.
    Asleep,
    /// The operation has ended before the goal.
    End,
}

/// A forked child that attaches to the lab's queue.
#[derive(Debug)]
pub struct Tracee {
    pid: Pid,
    slate: &'static Slate,
    code: Rc<RefCell<Code>>,
    segment: Vec<Range<u64>>,
    /// Points of this operation in the experiment before.
    path: Rc<RefCell<Path>>,
    may_sleep: bool,
    /// Each repeated string instruction is one point: what it copies is nobody else's yet. Otherwise only
    /// one that touches nothing shared is.
    leaps: bool,
    steps: u64,
    touches: u64,
    asleep: bool,
    is_over: bool,
    /// Say every step.
    loud: Rc<Cell<bool>>,
}

impl Tracee {
    /// Forks one; it waits for a task.
    pub fn fork(lab: &Lab, slate: &'static Slate) -> Result<Self> {
        let fd = lab.queue.as_fd().context("an anonymous queue has a descriptor")?;
        // SAFETY: the tracer has one thread, so the child may do what any process may.
        let pid = match unsafe { fork() }.context("forking a victim")? {
            ForkResult::Child => victim::live(fd, lab.config, slate),
            ForkResult::Parent { child } => child,
        };
        let code = Rc::clone(&lab.code);
        let mut tracee = Self {
            pid,
            slate,
            code,
            segment: Vec::new(),
            path: Rc::default(),
            may_sleep: false,
            leaps: lab.config.has_blocks(),
            steps: 0,
            touches: 0,
            asleep: false,
            is_over: false,
            loud: Rc::clone(&lab.loud),
        };
        tracee.await_trap()?;
        ptrace::setoptions(pid, ptrace::Options::PTRACE_O_EXITKILL)?;
        tracee.segment = mapped(pid)?;
        Ok(tracee)
    }

    /// Lets it prepare `op`, up to right before it. An answer: preparing failed with it.
    pub fn begin(
        &mut self,
        op: Op,
        message: u64,
        path: Rc<RefCell<Path>>,
    ) -> Result<Option<Answer>> {
        (self.path, self.may_sleep) = (path, op.may_sleep());
        (self.steps, self.touches, self.asleep) = (0, 0, false);
        let gates = self.slate.gates();
        self.slate.set(op, message);
        self.go_on()?;
        Ok(if self.slate.gates() == gates { None } else { self.slate.answer() })
    }

    /// Takes it to `goal`. Where it sleeps and the goal is beyond, `wake` is to end that.
    pub fn advance(&mut self, goal: Goal, mut wake: impl FnMut() -> Result<()>) -> Result<Reached> {
        self.run_ahead(goal)?;
        loop {
            let (next, place) = self.next()?;
            let touching = matches!(next, Next::Touching | Next::Sleeping);
            if goal == Goal::Instruction(self.steps)
                || touching && goal == Goal::Touch(self.touches)
            {
                self.note(goal, place);
                return Ok(Reached::Point);
            }
            if self.steps > STEPS_MAX {
                bail!("no end after {STEPS_MAX} instructions, at {}", self.place()?);
            }
            self.touches += u64::from(touching);
            self.steps += u64::from(next != Next::Trap);
            ptrace::step(self.pid, None)?;
            if next != Next::Sleeping {
                self.await_trap()?;
                if self.leaps || next == Next::Private {
                    self.leap(place)?;
                }
            } else if !self.await_trap_or_sleep()? {
                self.asleep = true;
                self.path.borrow_mut().note_sleep();
                let wanted =
                    [Goal::Instruction(self.steps), Goal::Touch(self.touches), Goal::Sleep];
                if wanted.contains(&goal) {
                    return Ok(Reached::Asleep);
                }
                (self.touches, self.steps) = (self.touches + 1, self.steps + 1);
                wake()?;
                self.asleep = false;
                self.await_trap()?;
            }
            if next == Next::Trap {
                return Ok(Reached::End);
            }
        }
    }

    /// Behind the string instruction at `place`, if it is in the middle of one.
    fn leap(&mut self, place: u64) -> Result<()> {
        let Some(behind) = self.code.borrow_mut().behind_string(self.pid, place)? else {
            return Ok(());
        };
        if ptrace::getregs(self.pid)?.rip != place {
            return Ok(());
        }
        if path::arm(self.pid, behind).is_ok() {
            ptrace::cont(self.pid, None)?;
            self.await_trap()?;
            return path::disarm(self.pid);
        }
        // A machine without debug registers.
        while ptrace::getregs(self.pid)?.rip == place {
            ptrace::step(self.pid, None)?;
            self.await_trap()?;
        }
        Ok(())
    }

    /// To the goal, or the point before it, if the experiment before was there.
    fn run_ahead(&mut self, goal: Goal) -> Result<()> {
        let (Goal::Instruction(point) | Goal::Touch(point)) = goal else { return Ok(()) };
        let landmark = self.path.borrow().towards(point);
        let Some(landmark) = landmark.filter(|_| self.steps == 0) else { return Ok(()) };
        let is_touch = matches!(goal, Goal::Touch(_));
        if path::arm(self.pid, landmark.place).is_err() {
            // A machine without debug registers: step all the way.
            return Ok(());
        }
        let mut passes = 0;
        loop {
            let registers = ptrace::getregs(self.pid)?;
            let next = self.code.borrow_mut().next(self.pid, &registers, &self.segment)?;
            let counts = !is_touch || next != Next::Private;
            passes += usize::from(registers.rip == landmark.place && counts);
            if passes == landmark.passes {
                break;
            }
            ptrace::cont(self.pid, None)?;
            let trapped = if self.may_sleep {
                self.await_trap_or_sleep()?
            } else {
                self.await_trap().map(|()| true)?
            };
            if !trapped || ptrace::getregs(self.pid)?.rip != landmark.place {
                return Err(Missed.into());
            }
        }
        path::disarm(self.pid)?;
        *if is_touch { &mut self.touches } else { &mut self.steps } = landmark.point;
        Ok(())
    }

    fn note(&self, goal: Goal, place: u64) {
        let (Goal::Instruction(point) | Goal::Touch(point)) = goal else { return };
        self.path.borrow_mut().note(point, place);
    }

    /// Stops it where it is for good, also asleep.
    pub fn freeze(&mut self) -> Result<()> {
        if !std::mem::take(&mut self.asleep) {
            return Ok(());
        }
        kill(self.pid, Signal::SIGSTOP)?;
        match waitpid(self.pid, None)? {
            WaitStatus::Stopped(_, Signal::SIGSTOP) => Ok(()),
            // The sleep ended by itself at that very moment: the step's trap comes first.
            WaitStatus::Stopped(_, Signal::SIGTRAP) => self.swallow_stop(),
            status => self.lost(status),
        }
    }

    /// The SIGSTOP that is still to come: it is delivered before another instruction.
    fn swallow_stop(&mut self) -> Result<()> {
        ptrace::cont(self.pid, None)?;
        match waitpid(self.pid, None)? {
            WaitStatus::Stopped(_, Signal::SIGSTOP) => Ok(()),
            status => self.lost(status),
        }
    }

    /// Waits until a sleeping one is awake, and stops it there.
    pub fn awake(&mut self) -> Result<()> {
        self.asleep = false;
        self.await_trap()
    }

    /// Lets it run to the end of its operation. Where it sleeps, `wake` is to end that.
    pub fn finish(&mut self, op: Op, mut wake: impl FnMut() -> Result<()>) -> Result<()> {
        ptrace::cont(self.pid, None)?;
        while op.is_blocking() && !self.await_trap_or_sleep()? {
            wake()?;
            // Until it is out of this sleep, so that one sleep is answered once.
            while self.is_asleep()? {
                nix::sched::sched_yield()?;
            }
        }
        if !op.is_blocking() {
            self.await_trap()?;
        }
        Ok(())
    }

    /// From the end of an operation: detaches, and gives the answer.
    pub fn leave(&mut self) -> Result<Answer> {
        let gates = self.slate.gates();
        self.go_on()?;
        if self.slate.gates() != gates + 1 {
            bail!("a victim trapped elsewhere than between two tasks");
        }
        self.slate.answer().context("a victim answered nothing")
    }

    /// SIGKILL, and the end of it.
    pub fn kill(mut self) -> Result<()> {
        self.end()
    }

    fn end(&mut self) -> Result<()> {
        if self.is_over {
            return Ok(());
        }
        self.is_over = true;
        kill(self.pid, Signal::SIGKILL)?;
        loop {
            match waitpid(self.pid, None)? {
                WaitStatus::Signaled(..) | WaitStatus::Exited(..) => return Ok(()),
                _ => {}
            }
        }
    }

    /// Instructions of this operation so far.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// Where it is in the source, for people.
    pub fn place(&self) -> Result<String> {
        let rip = ptrace::getregs(self.pid)?.rip;
        let text = self.code.borrow_mut().text(self.pid, rip)?;
        Ok(format!("{text:<36} {}", source_of(rip)))
    }

    /// The next instruction, and where it is.
    fn next(&self) -> Result<(Next, u64)> {
        let registers = ptrace::getregs(self.pid)?;
        let next = self.code.borrow_mut().next(self.pid, &registers, &self.segment)?;
        if self.loud.get() {
            let mark = if matches!(next, Next::Touching | Next::Sleeping) { '*' } else { ' ' };
            let mut out = std::io::stdout();
            writeln!(out, "  {:>5} {mark} {}: {}", self.steps, self.pid, self.place()?)?;
        }
        Ok((next, registers.rip))
    }

    fn go_on(&mut self) -> Result<()> {
        ptrace::cont(self.pid, None)?;
        self.await_trap()
    }

    fn await_trap(&mut self) -> Result<()> {
        match waitpid(self.pid, None)? {
            WaitStatus::Stopped(_, Signal::SIGTRAP) => Ok(()),
            status => self.lost(status),
        }
    }

    /// False: it sleeps.
    fn await_trap_or_sleep(&mut self) -> Result<bool> {
        let mut seen = 0;
        loop {
            match waitpid(self.pid, Some(WaitPidFlag::WNOHANG))? {
                WaitStatus::StillAlive => {}
                WaitStatus::Stopped(_, Signal::SIGTRAP) => return Ok(true),
                status => self.lost(status)?,
            }
            seen = if self.is_asleep()? { seen + 1 } else { 0 };
            if seen == 2 {
                return Ok(false);
            }
            nix::sched::sched_yield()?;
        }
    }

    fn is_asleep(&self) -> Result<bool> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid))?;
        let fields = stat.rsplit_once(')').context("a process has a name")?.1;
        Ok(fields.trim_start().starts_with('S'))
    }

    fn lost(&mut self, status: WaitStatus) -> Result<()> {
        self.is_over = matches!(status, WaitStatus::Exited(..) | WaitStatus::Signaled(..));
        match status {
            WaitStatus::Exited(_, victim::NOT_TRACED) => bail!(
                "ptrace is forbidden here: a container needs the capability SYS_PTRACE (for Docker: \
                 --cap-add=SYS_PTRACE), and its seccomp profile must allow ptrace"
            ),
            WaitStatus::Exited(_, victim::NOT_ATTACHED) => bail!("a victim could not attach"),
            status => bail!("a victim did not trap but ended with {status:?}"),
        }
    }
}

impl Drop for Tracee {
    fn drop(&mut self) {
        match self.end() {
            Ok(()) | Err(_) => {}
        }
    }
}

/// Where a process has the segment mapped: every mapping of it.
fn mapped(pid: Pid) -> Result<Vec<Range<u64>>> {
    let maps = match fs::read_to_string(format!("/proc/{pid}/maps")) {
        Ok(maps) => maps,
        Err(error) => return Err(error).context(Errno::ESRCH.desc()),
    };
    let ranges: Vec<_> = maps
        .lines()
        .filter(|line| line.contains("memfd:shmq"))
        .filter_map(|line| {
            let (first, last) = line.split_whitespace().next()?.split_once('-')?;
            let address = |text| u64::from_str_radix(text, 16).ok();
            Some(address(first)?..address(last)?)
        })
        .collect();
    if ranges.is_empty() {
        bail!("a victim has no segment mapped");
    }
    Ok(ranges)
}

/// `file:line` of an address, the innermost inlined first.
fn source_of(rip: u64) -> String {
    let mut places = Vec::new();
    backtrace::resolve(rip as *mut _, |symbol| {
        if let (Some(file), Some(line)) = (symbol.filename(), symbol.lineno()) {
            let parts: Vec<_> = file.iter().map(|part| part.to_string_lossy()).collect();
            places.push(format!("{}:{line}", parts[parts.len().saturating_sub(2)..].join("/")));
        }
    });
    places.truncate(3);
    places.join(" < ")
}
