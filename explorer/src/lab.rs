//! A queue, the tracer's views of it, and the victims that are used again.

use std::cell::{Cell, RefCell};
use std::os::fd::BorrowedFd;
use std::rc::Rc;

use anyhow::{Context, Result, bail};
use shmq_engine::Queue;

use crate::code::Code;
use crate::config::Config;
use crate::op::Op;
use crate::path::Path;
use crate::segment::{Bytes, Segment};
use crate::slate::Slate;
use crate::tracee::Tracee;

/// Victims that may exist at a time: A and B of an experiment, and the one that an image needs.
pub const VICTIMS: usize = 3;
/// See [`VICTIMS`].
pub const A: usize = 0;
/// See [`VICTIMS`].
pub const B: usize = 1;
/// See [`VICTIMS`].
pub const STALLED: usize = 2;

/// One queue under test.
#[derive(Debug)]
pub struct Lab {
    /// What kind of queue.
    pub config: &'static Config,
    /// The tracer's own way in.
    pub queue: Queue,
    /// Its bytes.
    pub segment: Segment,
    /// Those of the empty queue.
    pub blank: Bytes,
    /// Decoded instructions.
    pub code: Rc<RefCell<Code>>,
    /// Say every step.
    pub loud: Rc<Cell<bool>>,
    /// How victims came to their points before.
    pub paths: [Rc<RefCell<Path>>; VICTIMS],
    slates: [&'static Slate; VICTIMS],
    idle: RefCell<[Option<Tracee>; VICTIMS]>,
}

impl Lab {
    /// A new queue of that kind, empty.
    pub fn open(config: &'static Config, slates: [&'static Slate; VICTIMS]) -> Result<Self> {
        let queue = config.create()?;
        let segment = Segment::map(config, &queue)?;
        let blank = segment.read(fd(&queue)?)?;
        let (code, loud, idle) = (Rc::default(), Rc::default(), RefCell::default());
        let paths = <[Rc<RefCell<Path>>; VICTIMS]>::default();
        let lab = Self { config, queue, segment, blank, code, loud, paths, slates, idle };
        // If nothing can be traced here, that is said now, not by every experiment.
        lab.keep(A, Tracee::fork(&lab, slates[A])?);
        Ok(lab)
    }

    /// All bytes of the queue.
    pub fn read(&self) -> Result<Bytes> {
        self.segment.read(fd(&self.queue)?)
    }

    /// Makes the queue like that again.
    pub fn restore(&self, image: &Bytes) -> Result<()> {
        self.segment.restore(fd(&self.queue)?, image)
    }

    /// Victim number `who`, right before `op`.
    pub fn start(&self, who: usize, op: Op, message: u64) -> Result<Tracee> {
        let idle = self.idle.borrow_mut()[who].take();
        let mut tracee = match idle {
            Some(tracee) => tracee,
            None => Tracee::fork(self, self.slates[who])?,
        };
        match tracee.begin(op, message, Rc::clone(&self.paths[who]))? {
            None => Ok(tracee),
            Some(answer) => bail!("a victim could not prepare {op}: {answer:?}"),
        }
    }

    /// Keeps a victim that is between two tasks for the next experiment.
    pub fn keep(&self, who: usize, tracee: Tracee) {
        self.idle.borrow_mut()[who] = Some(tracee);
    }
}

fn fd(queue: &Queue) -> Result<BorrowedFd<'_>> {
    queue.as_fd().context("an anonymous queue has a descriptor")
}
