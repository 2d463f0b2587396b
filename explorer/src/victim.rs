//! The child: attaches, and does one task after the other, each between two traps.

use std::arch::asm;
use std::hint::black_box;
use std::os::fd::BorrowedFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use nix::sys::{prctl, ptrace, signal::Signal};
use nix::unistd::setsid;
use shmq_engine::{Asking, AttachError, Consumer, PopError, Producer, PushError, Queue};

use crate::answer::Answer;
use crate::config::{ASKING_AFTER, Config};
use crate::message::{FILLER, FILLERS, ROOM, fill, identify};
use crate::op::{Op, RUN};
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
pub fn live(fd: BorrowedFd<'_>, config: &Config, slate: &Slate) -> ! {
    // Unwinding further would run the rest of the tracer in the child.
    let lived = catch_unwind(AssertUnwindSafe(|| {
        // Of a session of its own: what a terminal sends to all stops a traced process, ignored or not.
        if prctl::set_pdeathsig(Signal::SIGKILL).is_err()
            || setsid().is_err()
            || ptrace::traceme().is_err()
        {
            return NOT_TRACED;
        }
        let Some(queue) = fd.try_clone_to_owned().ok().and_then(|fd| Queue::from_fd(fd).ok())
        else {
            return NOT_ATTACHED;
        };
        let (message_max, is_growing) = (config.message_max, config.is_growing());
        loop {
            slate.count_gate();
            trap();
            let Some((op, id)) = slate.task() else { return 0 };
            slate.reply(perform(&Task { queue: &queue, message_max, is_growing, id }, op));
        }
    }));
    let code = lived.unwrap_or(PANICKED);
    // SAFETY: ends the process, without the tracer's destructors and buffers.
    unsafe { nix::libc::_exit(code) }
}

struct Task<'a> {
    queue: &'a Queue,
    message_max: usize,
    is_growing: bool,
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
        Op::Commit => task.put(commit),
        Op::Abandon => task.abandon(),
        Op::TryPopRef => task.get_in_place(),
        Op::PushAgain => task.put_behind(4),
        Op::PushOver => task.put_behind(3),
        Op::PopOn => task.get_on(),
        Op::DetachOpen => task.detach_open(),
        Op::TryPushMany => task.put_many(),
        Op::TryPopMany => task.get_many(),
        Op::PopAsking => task.get_asking(),
        Op::ShutDown => {
            trap();
            task.queue.shut_down();
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
        let got = get(&mut consumer, &mut room);
        trap();
        Ok(self.judge(got, &room))
    }

    fn judge(&self, got: Result<usize, PopError>, room: &[u8; ROOM]) -> Answer {
        match got {
            Ok(len) => self.identify(&room[..len]),
            Err(error) => error.into(),
        }
    }

    fn identify(&self, message: &[u8]) -> Answer {
        identify(message, self.message_max).map_or(Answer::Torn, |id| Answer::Got(id.into()))
    }

    fn abandon(&self) -> Result<Answer, AttachError> {
        let mut producer = self.queue.producer()?;
        trap();
        let done = producer.reserve(self.message_max).map(drop);
        trap();
        Ok(done.into())
    }

    /// What is read may be given away while it is read: no copy is made of it before.
    fn get_in_place(&self) -> Result<Answer, AttachError> {
        let mut consumer = self.queue.consumer()?;
        let mut room = [0; ROOM];
        trap();
        let got = consumer.try_pop_ref().map(|message| message.copy_to(0, &mut room));
        trap();
        Ok(self.judge(got, &room))
    }

    /// Behind four large messages, which use up a block; `got` of them were got.
    fn put_behind(&self, got: u64) -> Result<Answer, AttachError> {
        let mut producer = self.queue.producer()?;
        let mut consumer = self.queue.consumer()?;
        let mut room = [0; ROOM];
        for at in 0..4 {
            // The last one is known to the judge.
            let filled = producer.try_push(fill(&mut room, FILLERS + 3 - at, FILLER));
            if at < got {
                let gone = consumer.try_pop(&mut room);
                if gone != Ok(FILLER) {
                    return Ok(Answer::Torn);
                }
            }
            if let Err(error) = filled {
                return Ok(Err(error).into());
            }
        }
        drop(consumer);
        let message = fill(&mut room, self.id, self.message_max);
        trap();
        let done = producer.try_push(message);
        trap();
        Ok(done.into())
    }

    fn get_on(&self) -> Result<Answer, AttachError> {
        let mut consumer = self.queue.consumer()?;
        let mut room = [0; ROOM];
        if let Err(error) = consumer.try_pop(&mut room) {
            return Ok(error.into());
        }
        trap();
        let got = consumer.try_pop(&mut room);
        trap();
        Ok(self.judge(got, &room))
    }

    /// By stores, on whatever machine: prefetches change nothing.
    fn get_asking(&self) -> Result<Answer, AttachError> {
        let mut consumer = self.queue.consumer()?;
        consumer.ask_by(Asking::Stores);
        let mut room = [0; ROOM];
        for _ in 0..ASKING_AFTER {
            if !matches!(consumer.try_pop(&mut []), Err(PopError::TooSmall { .. })) {
                return Ok(Answer::Torn);
            }
        }
        trap();
        let got = consumer.try_pop(&mut room);
        trap();
        Ok(self.judge(got, &room))
    }

    fn put_many(&self) -> Result<Answer, AttachError> {
        let mut producer = self.queue.producer()?;
        let mut rooms = [[0; ROOM]; RUN];
        let ids = Op::TryPushMany.puts(self.id);
        let filled = rooms.iter_mut().zip(ids).map(|(room, id)| fill(room, id, self.message_max));
        let messages: Vec<&[u8]> = filled.collect();
        trap();
        let put = producer.try_push_many(&messages);
        trap();
        Ok(match put {
            Ok(0) => Answer::Refused,
            Ok(RUN) => Answer::Done,
            Ok(count) => Answer::Partly(count as u64),
            Err(error) => Err(error).into(),
        })
    }

    fn get_many(&self) -> Result<Answer, AttachError> {
        let mut consumer = self.queue.consumer()?;
        if self.is_growing {
            // A look at the head, so that it is in its segment: the first message there comes alone.
            _ = consumer.try_pop(&mut []);
        }
        // The allocator joins what the tracer had freed, thousands of pieces: now, not in the operation.
        drop(black_box(Vec::<u8>::with_capacity(ROOM)));
        let mut rooms = [[0; ROOM]; RUN];
        let mut lens = [0; RUN];
        let mut left = rooms.iter_mut().zip(&mut lens);
        trap();
        let got = consumer.try_pop_many(RUN, |message| {
            if let Some((room, len)) = left.next() {
                room[..message.len()].copy_from_slice(message);
                *len = message.len();
            }
        });
        trap();
        let messages = rooms.iter().zip(lens).map(|(room, len)| &room[..len]);
        let ids = messages.map(|message| identify(message, self.message_max));
        Ok(match got {
            Ok(count) => ids.take(count).collect::<Option<_>>().map_or(Answer::Torn, Answer::Got),
            Err(error) => error.into(),
        })
    }

    fn detach_open(&self) -> Result<Answer, AttachError> {
        let mut producer = self.queue.producer()?;
        let mut room = [0; ROOM];
        if let Err(error) = producer.try_push(fill(&mut room, self.id, self.message_max)) {
            return Ok(Err(error).into());
        }
        trap();
        drop(producer);
        trap();
        Ok(Answer::Done)
    }
}

/// In place, as far as there is a place.
fn commit(producer: &mut Producer, message: &[u8]) -> Result<(), PushError> {
    let mut loan = producer.reserve(message.len())?;
    loan.copy_from(0, message);
    loan.try_commit().map_err(|left| left.error)
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
