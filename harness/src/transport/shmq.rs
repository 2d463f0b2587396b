//! Our own queue, in a sealed memfd that workers inherit.

use std::error::Error as StdError;
use std::io;
use std::thread;

use shmq_engine::{Consumer, Options, Producer, PushError, Queue, Role, Wait};

use super::values::work;
use super::{Channel, End, Group, Link, Receiver, Sender, Transport};
use crate::error::{During, Result};
use crate::plan::Row;
use crate::worker::{Done, Spec, run_process};

const PLACES_MAX: usize = 1024;
const PLACES_MIN: usize = 64;
const PAYLOAD_BYTES: usize = 1 << 20;
/// Messages that are not cheap to hold: fewer places.
const LARGE: usize = 64 << 10;
const LARGE_PLACES_MIN: usize = 4;
/// Longer messages of an unbounded queue go by reference.
const SLOT_BYTES_MAX: usize = 4096;
/// What lies in slots although messages go by reference.
const INLINE: usize = 48;
/// An unbounded queue gets as large as its consumers are slow.
const UNBOUNDED_BYTES: usize = 256 << 20;

/// As the queue waits by default.
const ADAPTIVE: u8 = 0;
/// Looks without pause while it waits.
const LOOK: u8 = 1;
/// Sleeps whenever it waits.
const SLEEP: u8 = 2;

const BOUNDED: Transport =
    ours("shmq", "this project's queue, in an anonymous memfd", work::<ADAPTIVE>);

/// A bounded queue for any number of producers and consumers.
pub(super) const fn ours(
    name: &'static str,
    help: &'static str,
    work: fn(&Spec) -> Done,
) -> Transport {
    let open = |row: &Row| open(&bounded(row), Role::Many, Role::Many);
    Transport {
        group: Group::Ours,
        is_default: |_| false,
        capacity: |row| Some(row.capacity),
        ..Transport::new(name, help, open, work)
    }
}

pub(super) const SHMQ: Transport = Transport { is_default: |_| true, ..BOUNDED };

pub(super) const UNBOUNDED: Transport = Transport {
    name: "shmq-unbounded",
    help: "the same without a bound: it grows and shrinks",
    is_default: |size| size == 64,
    capacity: |_| None,
    open: |row| open(&unbounded(row.size), Role::Many, Role::Many),
    work: run_process::<UnboundedLink>,
    ..BOUNDED
};

pub(super) const REF: Transport = Transport {
    name: "shmq-ref",
    help: "the same, messages by reference even if they would fit a slot",
    unavailable: |row| reference_unavailable(row.size),
    open: |row| open(&by_reference(row), Role::Many, Role::Many),
    ..BOUNDED
};

pub(super) const LOAN: Transport = Transport {
    name: "shmq-loan",
    help: "the same, messages written and read in place",
    work: run_process::<LoanLink>,
    ..REF
};

pub(super) const SPIN: Transport =
    ours("shmq-spin", "this project's queue, looking without pause while it waits", work::<LOOK>);

pub(super) const PARK: Transport =
    ours("shmq-park", "this project's queue, sleeping whenever it waits", work::<SLEEP>);

pub(super) const SPSC: Transport = Transport {
    name: "shmq-spsc",
    help: "this project's queue, made for one producer and one consumer",
    unavailable: |row| one_producer(row).or_else(|| one_consumer(row)),
    open: |row| open(&bounded(row), Role::One, Role::One),
    ..BOUNDED
};

pub(super) const SPMC: Transport = Transport {
    name: "shmq-spmc",
    help: "the same, made for one producer and many consumers",
    unavailable: one_producer,
    open: |row| open(&bounded(row), Role::One, Role::Many),
    ..BOUNDED
};

pub(super) const MPSC: Transport = Transport {
    name: "shmq-mpsc",
    help: "the same, made for many producers and one consumer",
    unavailable: one_consumer,
    open: |row| open(&bounded(row), Role::Many, Role::One),
    ..BOUNDED
};

/// Unless another is asked for: 1024 places, fewer for large messages, about as much payload as the larger pipe holds.
pub(crate) fn capacity(size: usize) -> usize {
    let least =
        if size > LARGE { (PLACES_MIN * LARGE / size).max(LARGE_PLACES_MIN) } else { PLACES_MIN };
    (PAYLOAD_BYTES / size).clamp(least, PLACES_MAX)
}

fn reference_unavailable(size: usize) -> Option<String> {
    (size <= INLINE).then(|| format!("messages of up to {INLINE} bytes lie in their slots"))
}

fn one_producer(row: &Row) -> Option<String> {
    (row.topology.producers > 1).then(|| "made for one producer".into())
}

fn one_consumer(row: &Row) -> Option<String> {
    (row.topology.consumers > 1).then(|| "made for one consumer".into())
}

fn bounded(row: &Row) -> Options {
    Options::new(row.capacity).message_max(row.size)
}

fn by_reference(row: &Row) -> Options {
    bounded(row).inline(INLINE)
}

fn unbounded(size: usize) -> Options {
    let inline = if size <= SLOT_BYTES_MAX { size } else { INLINE };
    let bytes = UNBOUNDED_BYTES.max(8 * size);
    Options::unbounded().inline(inline).message_max(size).max_bytes(bytes)
}

fn open(options: &Options, producers: Role, consumers: Role) -> Result<Channel> {
    let queue = options
        .producers(producers)
        .consumers(consumers)
        .create_anonymous()
        .map_err(other)
        .during("creating a shmq queue")?;
    let fd = queue.as_fd().expect("an anonymous queue has a file descriptor");
    Channel::shared(fd.try_clone_to_owned().during("dup")?)
}

pub(super) fn other(error: impl StdError + Send + Sync + 'static) -> io::Error {
    io::Error::other(error)
}

pub(super) fn queue(end: End) -> io::Result<Queue> {
    Queue::from_fd(end.fd()?).map_err(other)
}

/// Messages of any length. `WAIT`: one of the above.
#[derive(Debug)]
pub(super) struct ShmqLink<const WAIT: u8>;

const fn wait(how: u8) -> Wait {
    match how {
        LOOK => Wait::Spin,
        SLEEP => Wait::Park,
        _ => Wait::Adaptive,
    }
}

impl<const WAIT: u8> Link for ShmqLink<WAIT> {
    type Sender = Producer;
    type Receiver = Consumer;

    fn sender(end: End, _: &Row) -> io::Result<Producer> {
        let mut producer = queue(end)?.producer().map_err(other)?;
        producer.wait_by(wait(WAIT));
        Ok(producer)
    }

    fn receiver(end: End, _: &Row) -> io::Result<Consumer> {
        let mut consumer = queue(end)?.consumer().map_err(other)?;
        consumer.wait_by(wait(WAIT));
        Ok(consumer)
    }
}

impl Sender for Producer {
    #[inline]
    fn send(&mut self, message: &[u8]) -> io::Result<()> {
        self.push(message).map_err(other)
    }
}

impl Receiver for Consumer {
    #[inline]
    fn recv(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.pop(buffer).map_err(other)
    }
}

/// A queue without a bound but that of its memory.
#[derive(Debug)]
struct UnboundedLink;

#[derive(Debug)]
struct UnboundedSender(Producer);

impl Link for UnboundedLink {
    type Sender = UnboundedSender;
    type Receiver = Consumer;

    fn sender(end: End, row: &Row) -> io::Result<UnboundedSender> {
        ShmqLink::<ADAPTIVE>::sender(end, row).map(UnboundedSender)
    }

    fn receiver(end: End, row: &Row) -> io::Result<Consumer> {
        ShmqLink::<ADAPTIVE>::receiver(end, row)
    }
}

impl Sender for UnboundedSender {
    /// Nobody wakes who lacks memory.
    #[inline]
    fn send(&mut self, message: &[u8]) -> io::Result<()> {
        loop {
            match self.0.push(message) {
                Err(PushError::NoMemory { .. }) => thread::yield_now(),
                done => return done.map_err(other),
            }
        }
    }
}

/// Messages are written and read in place.
#[derive(Debug)]
struct LoanLink;

#[derive(Debug)]
struct LoanSender(Producer);

#[derive(Debug)]
struct LoanReceiver(Consumer);

impl Link for LoanLink {
    type Sender = LoanSender;
    type Receiver = LoanReceiver;

    fn sender(end: End, row: &Row) -> io::Result<LoanSender> {
        ShmqLink::<ADAPTIVE>::sender(end, row).map(LoanSender)
    }

    fn receiver(end: End, row: &Row) -> io::Result<LoanReceiver> {
        ShmqLink::<ADAPTIVE>::receiver(end, row).map(LoanReceiver)
    }
}

impl Sender for LoanSender {
    /// For what is there already.
    fn send(&mut self, message: &[u8]) -> io::Result<()> {
        let mut loan = self.0.reserve(message.len()).map_err(other)?;
        loan.copy_from(0, message);
        loan.commit().map_err(|uncommitted| other(uncommitted.error))
    }

    #[inline]
    fn send_with<R>(
        &mut self,
        buffer: &mut [u8],
        write: impl FnOnce(&mut [u8]) -> R,
    ) -> io::Result<R> {
        let mut loan = self.0.reserve(buffer.len()).map_err(other)?;
        // SAFETY: only the workers of this trial are attached, and they are ours
        let written = write(unsafe { loan.as_mut_slice() });
        loan.commit().map_err(|uncommitted| other(uncommitted.error))?;
        Ok(written)
    }
}

impl Receiver for LoanReceiver {
    /// For who needs it for longer.
    fn recv(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let message = self.0.pop_ref().map_err(other)?;
        message.copy_to(0, buffer);
        Ok(message.len())
    }

    #[inline]
    fn recv_with<R>(&mut self, _buffer: &mut [u8], read: impl FnOnce(&[u8]) -> R) -> io::Result<R> {
        let message = self.0.pop_ref().map_err(other)?;
        // SAFETY: only the workers of this trial are attached, and they are ours
        Ok(read(unsafe { message.as_slice() }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_capacity_shrinks_with_the_message() {
        assert_eq!([8, 64, 1024].map(capacity), [1024; 3]);
        assert_eq!(capacity(16384), 64);
        assert_eq!(capacity(1 << 17), 32);
        assert_eq!(capacity(1 << 20), 4);
        assert_eq!(capacity(64 << 20), 4);
    }
}
