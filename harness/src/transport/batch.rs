//! Several messages at a time: put together once there are so many, and got as many as there are.

use std::array;
use std::io;

use shmq_engine::{Consumer, Producer, Queue};

use super::shmq::{other, ours, queue};
use super::{End, Link, Receiver, Sender, Transport};
use crate::plan::{Mode, Row};
use crate::worker::run_process;

/// So many messages are collected before they are put, and got at once.
const BATCH: usize = 32;

pub(super) const TRANSPORT: Transport = Transport {
    unavailable,
    ..ours("shmq-batch", "this project's queue, 32 messages at a time", run_process::<BatchLink>)
};

/// Our slots take messages of up to so many bytes.
const SIZE_MAX: usize = 32 << 10;

fn unavailable(row: &Row) -> Option<String> {
    if row.size > SIZE_MAX {
        return Some(format!("messages of over {SIZE_MAX} bytes are put one by one"));
    }
    batches_unavailable(row)
}

/// Why nothing can be done in batches.
pub fn batches_unavailable(row: &Row) -> Option<String> {
    (row.mode == Mode::Rtt).then(|| "round trips are one at a time".into())
}

/// A producer's end that takes several messages.
pub trait PutMany {
    /// Puts the first of `messages`, and says how many. Blocks until it is one.
    ///
    /// # Errors
    /// What fails the cell.
    fn put_many(&mut self, messages: &[&[u8]]) -> io::Result<usize>;
}

/// A consumer's end that gives several messages.
pub trait GetMany {
    /// Shows the next messages to `each`, at most `most`, and says how many. Blocks until it is one.
    ///
    /// # Errors
    /// What fails the cell.
    fn get_many(&mut self, most: usize, each: impl FnMut(&[u8])) -> io::Result<usize>;

    /// Puts a message back, for another consumer.
    ///
    /// # Errors
    /// What fails the cell.
    fn put_back(&mut self, message: &[u8]) -> io::Result<()>;
}

/// Collects what it is given one by one.
#[derive(Debug)]
pub struct BatchSender<P> {
    end: P,
    /// One after the other; the first `kept` are written.
    messages: Vec<u8>,
    size: usize,
    kept: usize,
}

impl<P: PutMany> BatchSender<P> {
    /// For messages of `size` bytes.
    pub fn new(end: P, size: usize) -> Self {
        Self { end, messages: vec![0; BATCH * size], size, kept: 0 }
    }
}

impl<P: PutMany> Sender for BatchSender<P> {
    fn send(&mut self, message: &[u8]) -> io::Result<()> {
        self.send_with(&mut [], |place| place.copy_from_slice(message))
    }

    #[inline]
    fn send_with<R>(
        &mut self,
        _buffer: &mut [u8],
        write: impl FnOnce(&mut [u8]) -> R,
    ) -> io::Result<R> {
        let written = write(&mut self.messages[self.kept * self.size..][..self.size]);
        self.kept += 1;
        if self.kept == BATCH {
            self.flush()?;
        }
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        let views: [&[u8]; BATCH] =
            array::from_fn(|at| &self.messages[at * self.size..][..self.size]);
        let mut rest = &views[..self.kept];
        while !rest.is_empty() {
            rest = &rest[self.end.put_many(rest)?..];
        }
        self.kept = 0;
        Ok(())
    }
}

/// Shows what it gets together.
#[derive(Debug)]
pub struct BatchReceiver<G>(pub G);

impl<G: GetMany> Receiver for BatchReceiver<G> {
    fn recv(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut length = 0;
        self.0.get_many(1, |message| {
            length = message.len();
            buffer.copy_from_slice(message);
        })?;
        Ok(length)
    }

    #[inline]
    fn recv_some(&mut self, _buffer: &mut [u8], read: impl FnMut(&[u8])) -> io::Result<()> {
        self.0.get_many(BATCH, read).map(drop)
    }

    fn put_back(&mut self, message: &[u8]) -> io::Result<()> {
        self.0.put_back(message)
    }
}

#[derive(Debug)]
struct BatchLink;

#[derive(Debug)]
struct Getter {
    queue: Queue,
    consumer: Consumer,
}

impl Link for BatchLink {
    type Sender = BatchSender<Producer>;
    type Receiver = BatchReceiver<Getter>;

    fn sender(end: End, row: &Row) -> io::Result<Self::Sender> {
        let producer = queue(end)?.producer().map_err(other)?;
        Ok(BatchSender::new(producer, row.size))
    }

    fn receiver(end: End, _: &Row) -> io::Result<Self::Receiver> {
        let queue = queue(end)?;
        let consumer = queue.consumer().map_err(other)?;
        Ok(BatchReceiver(Getter { queue, consumer }))
    }
}

impl PutMany for Producer {
    #[inline]
    fn put_many(&mut self, messages: &[&[u8]]) -> io::Result<usize> {
        match self.try_push_many(messages).map_err(other)? {
            // It is full: waits for a place.
            0 => self.push(messages[0]).map(|()| 1).map_err(other),
            put => Ok(put),
        }
    }
}

impl GetMany for Getter {
    #[inline]
    fn get_many(&mut self, most: usize, each: impl FnMut(&[u8])) -> io::Result<usize> {
        self.consumer.pop_many(most, each).map_err(other)
    }

    fn put_back(&mut self, message: &[u8]) -> io::Result<()> {
        let mut producer = self.queue.producer().map_err(other)?;
        producer.push(message).map_err(other)
    }
}
