//! Handles whose waits are futures, for tokio.

use std::io;

use tokio::io::unix::AsyncFd;

use super::bell::Bell;
use super::consumer::Consumer;
use super::producer::Producer;
use crate::error::{PopError, PushError};

/// Gets messages, and yields to other tasks where a [`Consumer`] would block.
///
/// Dropping a future of it, at any point, takes no message along.
#[derive(Debug)]
pub struct AsyncConsumer {
    consumer: Consumer,
    bell: AsyncFd<Bell>,
}

/// Puts messages, and yields to other tasks where a [`Producer`] would block.
///
/// Dropping a future of it, at any point, puts nothing.
#[derive(Debug)]
pub struct AsyncProducer {
    producer: Producer,
    bell: AsyncFd<Bell>,
}

impl Consumer {
    /// The same consumer for asynchronous code. Starts a thread, see [`Bell`]. Must be called in a tokio
    /// runtime with I/O enabled.
    ///
    /// # Errors
    /// If there is no descriptor or no thread to be had.
    pub fn into_async(self) -> io::Result<AsyncConsumer> {
        let bell = registered(self.bell()?)?;
        Ok(AsyncConsumer { consumer: self, bell })
    }
}

impl AsyncConsumer {
    /// Gets the next message of any size, when there is one: `buffer` holds the message afterwards, and
    /// nothing else.
    ///
    /// # Errors
    /// As for [`Consumer::pop_vec`], or [`io::Error`] of the runtime.
    pub async fn pop_vec(&mut self, buffer: &mut Vec<u8>) -> io::Result<Result<(), PopError>> {
        loop {
            match self.consumer.try_pop_ref() {
                Ok(message) => {
                    message.move_to(buffer);
                    return Ok(Ok(()));
                }
                Err(PopError::Empty) => rung(&self.bell).await?,
                Err(error) => return Ok(Err(error)),
            }
        }
    }

    /// The consumer, for what does not wait.
    pub fn get_mut(&mut self) -> &mut Consumer {
        &mut self.consumer
    }
}

impl Producer {
    /// The same producer for asynchronous code. Starts a thread, see [`Bell`]. Must be called in a tokio
    /// runtime with I/O enabled.
    ///
    /// # Errors
    /// If there is no descriptor or no thread to be had.
    pub fn into_async(self) -> io::Result<AsyncProducer> {
        let bell = registered(self.bell()?)?;
        Ok(AsyncProducer { producer: self, bell })
    }
}

impl AsyncProducer {
    /// Puts `message`, when there is a place. Does not wait for memory.
    ///
    /// # Errors
    /// As for [`Producer::push`], or [`io::Error`] of the runtime.
    pub async fn push(&mut self, message: &[u8]) -> io::Result<Result<(), PushError>> {
        loop {
            match self.producer.try_push(message) {
                Err(PushError::Full) => rung(&self.bell).await?,
                done => return Ok(done),
            }
        }
    }

    /// The producer, for what does not wait.
    pub fn get_mut(&mut self) -> &mut Producer {
        &mut self.producer
    }
}

fn registered(bell: Bell) -> io::Result<AsyncFd<Bell>> {
    // SAFETY: a bell has one descriptor, which it keeps open for as long as it lives.
    let registered = unsafe { AsyncFd::register(bell) };
    Ok(registered?)
}

/// Arms the bell and waits until it rings.
async fn rung(bell: &AsyncFd<Bell>) -> io::Result<()> {
    bell.get_ref().arm();
    let mut ready = bell.readable().await?;
    bell.get_ref().quiet();
    ready.clear_ready();
    Ok(())
}
