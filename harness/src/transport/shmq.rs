//! Our own queue: many producers, many consumers, in a sealed memfd that workers inherit.

use std::error::Error as StdError;
use std::io;
use std::os::fd::OwnedFd;
use std::thread;

use shmq_engine::{Consumer, Options, Producer, PushError, Queue, Role, Wait};

use super::{Channel, Link, Receiver, Sender};
use crate::error::{During, Result};

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

/// 1024 places, fewer for large messages: about as much payload as the larger pipe holds.
pub(crate) fn capacity(size: usize) -> usize {
    let least =
        if size > LARGE { (PLACES_MIN * LARGE / size).max(LARGE_PLACES_MIN) } else { PLACES_MIN };
    (PAYLOAD_BYTES / size).clamp(least, PLACES_MAX)
}

pub(crate) fn reference_unavailable(size: usize) -> Option<String> {
    (size <= INLINE).then(|| format!("messages of up to {INLINE} bytes lie in their slots"))
}

pub(crate) fn bounded(size: usize) -> Options {
    Options::new(capacity(size)).message_max(size)
}

pub(crate) fn by_reference(size: usize) -> Options {
    bounded(size).inline(INLINE)
}

pub(crate) fn unbounded(size: usize) -> Options {
    let inline = if size <= SLOT_BYTES_MAX { size } else { INLINE };
    let bytes = UNBOUNDED_BYTES.max(8 * size);
    Options::unbounded().inline(inline).message_max(size).max_bytes(bytes)
}

/// Both ends are the same memory.
pub(crate) fn open(options: &Options) -> Result<Channel> {
    let queue = options
        .producers(Role::Many)
        .consumers(Role::Many)
        .create_anonymous()
        .map_err(other)
        .during("creating a shmq queue")?;
    let fd = queue.as_fd().expect("an anonymous queue has a file descriptor");
    let sender = fd.try_clone_to_owned().during("dup")?;
    let receiver = fd.try_clone_to_owned().during("dup")?;
    Ok(Channel { sender, receiver })
}

fn other(error: impl StdError + Send + Sync + 'static) -> io::Error {
    io::Error::other(error)
}

#[derive(Debug)]
pub(crate) struct ShmqLink;

impl Link for ShmqLink {
    type Sender = Producer;
    type Receiver = Consumer;

    fn sender(fd: OwnedFd, _shared: bool) -> io::Result<Producer> {
        let queue = Queue::from_fd(fd).map_err(other)?;
        queue.producer().map_err(other)
    }

    fn receiver(fd: OwnedFd, _shared: bool) -> io::Result<Consumer> {
        let queue = Queue::from_fd(fd).map_err(other)?;
        queue.consumer().map_err(other)
    }
}

/// Looks without pause while it waits.
#[derive(Debug)]
pub(crate) struct SpinLink;

/// Sleeps whenever it waits.
#[derive(Debug)]
pub(crate) struct ParkLink;

impl Link for SpinLink {
    type Sender = Producer;
    type Receiver = Consumer;

    fn sender(fd: OwnedFd, shared: bool) -> io::Result<Producer> {
        let mut producer = ShmqLink::sender(fd, shared)?;
        producer.wait_by(Wait::Spin);
        Ok(producer)
    }

    fn receiver(fd: OwnedFd, shared: bool) -> io::Result<Consumer> {
        let mut consumer = ShmqLink::receiver(fd, shared)?;
        consumer.wait_by(Wait::Spin);
        Ok(consumer)
    }
}

impl Link for ParkLink {
    type Sender = Producer;
    type Receiver = Consumer;

    fn sender(fd: OwnedFd, shared: bool) -> io::Result<Producer> {
        let mut producer = ShmqLink::sender(fd, shared)?;
        producer.wait_by(Wait::Park);
        Ok(producer)
    }

    fn receiver(fd: OwnedFd, shared: bool) -> io::Result<Consumer> {
        let mut consumer = ShmqLink::receiver(fd, shared)?;
        consumer.wait_by(Wait::Park);
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
pub(crate) struct UnboundedLink;

#[derive(Debug)]
pub(crate) struct UnboundedSender(Producer);

impl Link for UnboundedLink {
    type Sender = UnboundedSender;
    type Receiver = Consumer;

    fn sender(fd: OwnedFd, shared: bool) -> io::Result<UnboundedSender> {
        ShmqLink::sender(fd, shared).map(UnboundedSender)
    }

    fn receiver(fd: OwnedFd, shared: bool) -> io::Result<Consumer> {
        ShmqLink::receiver(fd, shared)
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
pub(crate) struct LoanLink;

#[derive(Debug)]
pub(crate) struct LoanSender(Producer);

#[derive(Debug)]
pub(crate) struct LoanReceiver(Consumer);

impl Link for LoanLink {
    type Sender = LoanSender;
    type Receiver = LoanReceiver;

    fn sender(fd: OwnedFd, shared: bool) -> io::Result<LoanSender> {
        ShmqLink::sender(fd, shared).map(LoanSender)
    }

    fn receiver(fd: OwnedFd, shared: bool) -> io::Result<LoanReceiver> {
        ShmqLink::receiver(fd, shared).map(LoanReceiver)
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
