//! The child: attaches, and does one task after the other, each between two traps.

use std::arch::asm;
use std::os::fd::BorrowedFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use nix::sys::{prctl, ptrace, signal::Signal};
use shmq_engine::{AttachError, Consumer, PopError, Producer, PushError, Queue};

use crate::answer::Answer;
use crate::message::{ROOM, fill, identify};
use crate::op::Op;
use crate::slate::Slate;

/// Long enough to sleep at all, short enough to wait for.
const TIMEOUT: Duration = Duration::from_millis(2);

/// Exit codes that say how far a victim came.
pub const NOT_TRACED: i32 = 81;
/// See [`NOT_TRACED`].
pub const NOT_ATTACHED: i32 = 82;
const PANICKED: i32 = 83;

/// Gives the tracer the word.
#[inline(always)]
fn trap() {
    // SAFETY: a breakpoint; the tracer goes on behind it. It clobbers memory as far as the compiler
    // knows, so that nothing moves across.
    unsafe { asm!("int3", options(nostack)) };
}

/// What the child does instead of returning.
pub fn live(fd: BorrowedFd<'_>, message_max: usize, slate: &Slate) -> ! {
    // Unwinding further would run the rest of the tracer in the child.
    let lived = catch_unwind(AssertUnwindSafe(|| {
        if prctl::set_pdeathsig(Signal::SIGKILL).is_err() || ptrace::traceme().is_err() {
            return NOT_TRACED;
        }
        let Some(queue) = fd.try_clone_to_owned().ok().and_then(|fd| Queue::from_fd(fd).ok())
        else {
            return NOT_ATTACHED;
        };
        loop {
            slate.count_gate();
            trap();
            let Some((op, id)) = slate.task() else { return 0 };
            slate.reply(perform(&Task { queue: &queue, message_max, id }, op));
        }
    }));
    let code = lived.unwrap_or(PANICKED);
    // SAFETY: ends the process, without the tracer's destructors and buffers.
    unsafe { nix::libc::_exit(code) }
}

struct Task<'a> {
    queue: &'a Queue,
    message_max: usize,
    id: u64,
}

fn perform(task: &Task<'_>, op: Op) -> Answer {
    let done = match op {
        Op::TryPush => task.put(Producer::try_push),
        Op::Push => task.put(Producer::push),
        Op::PushTimeout => task.put(|producer, message| producer.push_timeout(message, TIMEOUT)),
        Op::TryPop => task.get(Consumer::try_pop),
        Op::Pop => task.get(Consumer::pop),
        Op::PopTimeout => task.get(|consumer, buffer| consumer.pop_timeout(buffer, TIMEOUT)),
        Op::AttachProducer => attach(|| task.queue.producer()),
        Op::AttachConsumer => attach(|| task.queue.consumer()),
        Op::DetachProducer => detach(|| task.queue.producer()),
        Op::DetachConsumer => detach(|| task.queue.consumer()),
        Op::Recover => {
            trap();
            task.queue.recover();
            trap();
            Ok(Answer::Done)
        }
    };
    done.unwrap_or_else(Answer::from)
}

impl Task<'_> {
    #[inline(always)]
    fn put(
        &self,
        put: impl FnOnce(&mut Producer, &[u8]) -> Result<(), PushError>,
    ) -> Result<Answer, AttachError> {
        let mut producer = self.queue.producer()?;
        let mut room = [0; ROOM];
        let message = fill(&mut room, self.id, self.message_max);
        trap();
        let done = put(&mut producer, message);
        trap();
        Ok(done.into())
    }

    #[inline(always)]
    fn get(
        &self,
        get: impl FnOnce(&mut Consumer, &mut [u8]) -> Result<usize, PopError>,
    ) -> Result<Answer, AttachError> {
        let mut consumer = self.queue.consumer()?;
        let mut room = [0; ROOM];
        trap();
        let got = get(&mut consumer, &mut room[..self.message_max]);
        trap();
        Ok(match got {
            Ok(len) => identify(&room[..len], self.message_max).map_or(Answer::Torn, Answer::Got),
            Err(error) => error.into(),
        })
    }
}

#[inline(always)]
fn attach<H>(attach: impl FnOnce() -> Result<H, AttachError>) -> Result<Answer, AttachError> {
    trap();
    let handle = attach();
    trap();
    handle.map(|_| Answer::Done)
}

#[inline(always)]
fn detach<H>(attach: impl FnOnce() -> Result<H, AttachError>) -> Result<Answer, AttachError> {
    let handle = attach()?;
    trap();
    drop(handle);
    trap();
    Ok(Answer::Done)
}
