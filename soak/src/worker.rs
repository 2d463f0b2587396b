//! One worker process: puts, gets, or both, and logs every operation.
//!
//! `shmq-soak __worker SPEC` with SPEC in JSON and everything shared as inherited file descriptors.

use std::io;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::process::ExitCode;
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use rustix::process::{Pid, Signal, getppid, set_parent_process_death_signal};
use serde::{Deserialize, Serialize};
use shmq_engine::{Consumer, PopError, Producer, PushError, Queue};
use shmq_soak::history::Value;

use crate::control::Control;
use crate::log::{Call, Log, MANY_MAX, Return, Writer};
use crate::message;
use crate::setting::Memory;

/// How long a producer does something else when there is no memory.
const MEMORY_PAUSE: Duration = Duration::from_micros(300);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Role {
    Putter,
    Getter,
    Both,
}

impl Role {
    pub(crate) fn puts(self) -> bool {
        self != Self::Getter
    }

    pub(crate) fn gets(self) -> bool {
        self != Self::Putter
    }
}

/// What a worker is to do.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Task {
    pub(crate) role: Role,
    pub(crate) memory: Memory,
    pub(crate) message_max: usize,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Spec {
    pub(crate) number: u32,
    pub(crate) task: Task,
    pub(crate) seed: u64,
    pub(crate) parent: i32,
    pub(crate) queue: RawFd,
    pub(crate) control: RawFd,
    pub(crate) log: RawFd,
}

pub(crate) fn main(spec: &str) -> ExitCode {
    match work(spec) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("worker {spec}: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Until it is over, or the log is full.
fn work(spec: &str) -> Result<()> {
    let spec: Spec = serde_json::from_str(spec).context("a worker is started by shmq-soak only")?;
    die_with_parent(spec.parent)?;
    let control = Control::open(inherited(spec.control)).context("the control page")?;
    let log = Log::open(inherited(spec.log)).context("the log")?;
    let queue = Queue::from_fd(inherited(spec.queue)).context("the queue")?;
    let mut worker = Worker::attach(&spec, &queue, log.writer())?;
    while worker.log.has_room() && !control.is_over() {
        worker.operate()?;
    }
    Ok(())
}

/// However the supervisor ends, no worker outlives it.
fn die_with_parent(parent: i32) -> Result<()> {
    set_parent_process_death_signal(Some(Signal::KILL)).context("prctl(PR_SET_PDEATHSIG)")?;
    if Pid::as_raw(getppid()) != parent {
        bail!("the supervisor is gone");
    }
    Ok(())
}

fn inherited(fd: RawFd) -> OwnedFd {
    // SAFETY: the supervisor left this descriptor open for us alone, and each is taken once.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

/// What this worker has attached, and its choices.
struct Worker<'l> {
    number: u32,
    sequence: u32,
    producer: Option<Producer>,
    consumer: Option<Consumer>,
    log: Writer<'l>,
    random: StdRng,
    /// The last operation found the queue full or empty.
    was_refused: bool,
    did_put: bool,
    task: Task,
    buffer: Vec<u8>,
    scratch: Vec<u8>,
}

impl<'l> Worker<'l> {
    fn attach(spec: &Spec, queue: &Queue, log: Writer<'l>) -> Result<Self> {
        let attached = "attaching to the queue";
        Ok(Self {
            number: spec.number,
            sequence: 0,
            producer: spec
                .task
                .role
                .puts()
                .then(|| queue.producer())
                .transpose()
                .context(attached)?,
            consumer: spec
                .task
                .role
                .gets()
                .then(|| queue.consumer())
                .transpose()
                .context(attached)?,
            log,
            random: StdRng::seed_from_u64(spec.seed),
            was_refused: false,
            did_put: false,
            task: spec.task,
            buffer: vec![0; spec.task.message_max],
            scratch: vec![0; spec.task.message_max],
        })
    }

    fn operate(&mut self) -> io::Result<()> {
        let both = self.producer.is_some() && self.consumer.is_some();
        let timeout = self.timeout(both);
        let puts = match (both, self.was_refused) {
            (true, true) => !self.did_put,
            (true, false) => self.random.random(),
            (false, _) => self.producer.is_some(),
        };
        let several = timeout.is_none() && self.random.random_bool(0.2);
        let count = if several { self.random.random_range(2..=MANY_MAX) } else { 1 };
        let returned = match (puts, several) {
            (true, false) => self.put(timeout),
            (false, false) => self.get(timeout),
            (true, true) => self.put_many(count),
            (false, true) => self.get_many(count),
        }?;
        (self.did_put, self.was_refused) = (puts, returned == Return::Refused);
        Ok(())
    }

    /// How long to wait; `None`: not at all. After a refusal mostly some time, for repeating it at
    /// once would fill the log with the same; but who does both goes on with the other, and would
    /// often wait for itself.
    fn timeout(&mut self, both: bool) -> Option<Duration> {
        let random = &mut self.random;
        let tries = match (both, self.was_refused) {
            (true, _) => 0.95,
            (false, false) => 0.7,
            (false, true) => 0.1,
        };
        if random.random_bool(tries) {
            return None;
        }
        let most_us = match random.random_range(0..2048) {
            0 => 150_000,
            1..=32 => 5_000,
            _ => 300,
        };
        Some(Duration::from_micros(random.random_range(0..=most_us)))
    }

    fn put(&mut self, timeout: Option<Duration>) -> io::Result<Return> {
        let producer = self.producer.as_mut().ok_or(io::ErrorKind::Unsupported)?;
        let value = next_value(self.number, &mut self.sequence);
        let message = message::write(&mut self.buffer, value);
        let by_loan = self.random.random_bool(0.3);
        let put = || match timeout {
            _ if by_loan => put_by_loan(producer, message, timeout),
            None => producer.try_push(message),
            Some(timeout) => producer.push_timeout(message, timeout),
        };
        let is_unbounded = self.task.memory == Memory::Unbounded;
        let mut lacks_memory = false;
        let returned = self.log.log(Call::Put(value), put, |put| match put {
            Ok(()) => Ok(Return::Done(None)),
            Err(PushError::Full) if !is_unbounded => Ok(Return::Refused),
            Err(PushError::NoMemory { .. }) if is_unbounded => {
                lacks_memory = true;
                Ok(Return::Refused)
            }
            Err(error) => Err(io::Error::other(error)),
        })?;
        if lacks_memory {
            // No put waits for memory: at once it would only be refused again.
            sleep(MEMORY_PAUSE);
        }
        Ok(returned)
    }

    fn get(&mut self, timeout: Option<Duration>) -> io::Result<Return> {
        let consumer = self.consumer.as_mut().ok_or(io::ErrorKind::Unsupported)?;
        let (buffer, scratch) = (&mut self.buffer[..], &mut self.scratch[..]);
        let in_place = self.random.random_bool(0.3);
        let too_small = self.random.random_bool(0.1);
        let get = move || {
            let got = match timeout {
                _ if in_place => get_in_place(consumer, buffer, timeout),
                None if too_small => match consumer.try_pop(&mut buffer[..message::MIN]) {
                    Err(PopError::TooSmall { .. }) => consumer.try_pop(buffer),
                    done => done,
                },
                None => consumer.try_pop(buffer),
                Some(timeout) => consumer.pop_timeout(buffer, timeout),
            };
            // Moved, so that what is given back may borrow it.
            let buffer = buffer;
            Ok(&buffer[..got?])
        };
        self.log.log(Call::Get, get, |got| match got {
            Ok(message) => Ok(match message::read(message, scratch) {
                Ok(value) => Return::Done(Some(value)),
                Err(began) => Return::Torn(began),
            }),
            Err(PopError::Empty) => Ok(Return::Refused),
            Err(error) => Err(io::Error::other(error)),
        })
    }

    fn put_many(&mut self, count: usize) -> io::Result<Return> {
        let producer = self.producer.as_mut().ok_or(io::ErrorKind::Unsupported)?;
        let values: Vec<Value> =
            (0..count).map(|_| next_value(self.number, &mut self.sequence)).collect();
        let messages: Vec<Vec<u8>> =
            values.iter().map(|&value| message::write(&mut self.buffer, value).to_vec()).collect();
        let calls: Vec<Call> = values.into_iter().map(Call::Put).collect();
        let is_unbounded = self.task.memory == Memory::Unbounded;
        let put = || producer.try_push_many(&messages);
        let returned = self.log.log_many(&calls, put, |put| match put {
            Ok(put) => Ok(then_refused(vec![Return::Done(None); put], count)),
            Err(PushError::NoMemory { .. }) if is_unbounded => Ok(then_refused([], count)),
            Err(error) => Err(io::Error::other(error)),
        })?;
        if is_unbounded && returned == Return::Refused {
            sleep(MEMORY_PAUSE);
        }
        Ok(returned)
    }

    fn get_many(&mut self, count: usize) -> io::Result<Return> {
        let consumer = self.consumer.as_mut().ok_or(io::ErrorKind::Unsupported)?;
        let scratch = &mut self.scratch[..];
        let get = || {
            let mut messages = Vec::with_capacity(count);
            let got = consumer.try_pop_many(count, |message| messages.push(message.to_vec()));
            (got, messages)
        };
        self.log.log_many(&vec![Call::Get; count], get, |(got, messages)| match got {
            Ok(got) if got != messages.len() => {
                Err(io::Error::other(format!("said {got}, gave {} messages", messages.len())))
            }
            Ok(_) => {
                let read = |message: Vec<u8>| match message::read(&message, scratch) {
                    Ok(value) => Return::Done(Some(value)),
                    Err(began) => Return::Torn(began),
                };
                Ok(then_refused(messages.into_iter().map(read), count))
            }
            Err(PopError::Empty) => Ok(then_refused([], count)),
            Err(error) => Err(io::Error::other(error)),
        })
    }
}

/// A new value also after Full: a message that was refused and arrives is out of thin air.
fn next_value(number: u32, sequence: &mut u32) -> Value {
    *sequence += 1;
    Value::new(number, *sequence - 1)
}

/// Of `count` operations in one call these were done, and then one was refused.
fn then_refused(done: impl IntoIterator<Item = Return>, count: usize) -> Vec<Return> {
    let rest = [Return::Refused].into_iter().chain(std::iter::repeat(Return::Unasked));
    done.into_iter().chain(rest).take(count).collect()
}

/// Written where it will lie, in two parts; every so often after a loan that comes to nothing.
fn put_by_loan(
    producer: &mut Producer,
    message: &[u8],
    timeout: Option<Duration>,
) -> Result<(), PushError> {
    if message.len().is_multiple_of(3) {
        drop(producer.reserve(message.len() / 2)?);
    }
    let mut loan = producer.reserve(message.len())?;
    let (first, rest) = message.split_at(message.len() / 2);
    loan.copy_from(0, first);
    loan.copy_from(first.len(), rest);
    let done = match timeout {
        None => loan.try_commit(),
        Some(timeout) => loan.commit_timeout(timeout),
    };
    done.map_err(|left| left.error)
}

/// Read where it lies.
fn get_in_place(
    consumer: &mut Consumer,
    buffer: &mut [u8],
    timeout: Option<Duration>,
) -> Result<usize, PopError> {
    let message = match timeout {
        None => consumer.try_pop_ref()?,
        Some(timeout) => consumer.pop_ref_timeout(timeout)?,
    };
    let half = message.len() / 2;
    let first = message.copy_to(0, &mut buffer[..half]);
    Ok(first + message.copy_to(half, &mut buffer[half..]))
}
