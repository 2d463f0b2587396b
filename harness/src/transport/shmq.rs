//! Our own queue: many producers, many consumers, in a sealed memfd that workers inherit.

use std::error::Error as StdError;
use std::io;
use std::os::fd::OwnedFd;

use shmq_engine::{Consumer, Options, Producer, Queue, Role};

use super::{Channel, Link, Receiver, Sender};
use crate::error::{During, Result};

const PLACES_MAX: usize = 1024;
const PLACES_MIN: usize = 64;
const PAYLOAD_BYTES: usize = 1 << 20;

/// 1024 places, fewer for large messages: about as much payload as the larger pipe holds.
pub(crate) fn capacity(size: usize) -> usize {
    (PAYLOAD_BYTES / size).clamp(PLACES_MIN, PLACES_MAX)
}

/// Both ends are the same memory.
pub(crate) fn open(size: usize) -> Result<Channel> {
    let queue = Options::new(capacity(size))
        .message_max(size)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_capacity_shrinks_with_the_message() {
        assert_eq!([8, 64, 1024].map(capacity), [1024; 3]);
        assert_eq!(capacity(16384), 64);
        assert_eq!(capacity(1 << 20), 64);
    }
}
