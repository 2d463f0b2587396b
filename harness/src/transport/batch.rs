//! Several messages at a time: put together, and got as many as there are.
//!
//! A program that puts values knows at compile time how long they are, so the usual lengths are known here.

use std::array;
use std::fmt;
use std::io;
use std::marker::PhantomData;

use shmq_engine::{Consumer, Producer, Queue};

use super::shmq::{other, ours, queue};
use super::{End, Link, Receiver, Sender, Transport};
use crate::plan::{Mode, Row};
use crate::worker::{Done, Spec, run_process};

/// So many messages are put at once, and got.
const BATCH: usize = 32;

pub(super) const TRANSPORT: Transport = Transport {
    unavailable,
    ..ours("shmq-batch", "this project's queue, 32 messages at a time", work)
};

fn work(spec: &Spec) -> Done {
    match spec.row().size {
        8 => run_process::<BatchLink<[u8; 8]>>(spec),
        48 => run_process::<BatchLink<[u8; 48]>>(spec),
        64 => run_process::<BatchLink<[u8; 64]>>(spec),
        256 => run_process::<BatchLink<[u8; 256]>>(spec),
        _ => run_process::<BatchLink<Box<[u8]>>>(spec),
    }
}

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

/// A message: an array, or of a length that only its row knows.
pub trait Unit: AsRef<[u8]> + AsMut<[u8]> + fmt::Debug + 'static {
    /// One of `size` bytes.
    fn of(size: usize) -> Self;

    /// Shows `bytes` to `read`, so that the compiler knows how many they are, if they are as many as in these.
    fn show(bytes: &[u8], read: impl FnMut(&[u8]));
}

impl<const N: usize> Unit for [u8; N] {
    fn of(size: usize) -> Self {
        assert_eq!(size, N, "the size decides which array it is");
        [0; N]
    }

    #[inline]
    fn show(bytes: &[u8], mut read: impl FnMut(&[u8])) {
        match <&Self>::try_from(bytes) {
            Ok(array) => read(array),
            Err(_) => read(bytes),
        }
    }
}

impl Unit for Box<[u8]> {
    fn of(size: usize) -> Self {
        vec![0; size].into()
    }

    #[inline]
    fn show(bytes: &[u8], mut read: impl FnMut(&[u8])) {
        read(bytes);
    }
}

/// A producer's end that takes several messages.
pub trait PutMany {
    /// Puts the first of `messages`, and says how many. Blocks until it is one.
    ///
    /// # Errors
    /// What fails the cell.
    fn put_many<M: Unit>(&mut self, messages: &[M]) -> io::Result<usize>;
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

/// Puts so many together.
#[derive(Debug)]
pub struct BatchSender<P, M> {
    end: P,
    messages: [M; BATCH],
}

impl<P: PutMany, M: Unit> BatchSender<P, M> {
    /// For messages of `size` bytes.
    pub fn new(end: P, size: usize) -> Self {
        Self { end, messages: array::from_fn(|_| M::of(size)) }
    }
}

impl<P: PutMany, M: Unit> Sender for BatchSender<P, M> {
    fn send(&mut self, message: &[u8]) -> io::Result<()> {
        self.messages[0].as_mut().copy_from_slice(message);
        self.end.put_many(&self.messages[..1]).map(drop)
    }

    #[inline]
    fn send_some(
        &mut self,
        _buffer: &mut [u8],
        mut write: impl FnMut(&mut [u8]),
    ) -> io::Result<()> {
        self.messages.iter_mut().for_each(|message| write(message.as_mut()));
        let mut rest = &self.messages[..];
        while !rest.is_empty() {
            rest = &rest[self.end.put_many(rest)?..];
        }
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
struct BatchLink<M>(PhantomData<M>);

#[derive(Debug)]
struct Getter<M> {
    queue: Queue,
    consumer: Consumer,
    messages: PhantomData<M>,
}

impl<M: Unit> Link for BatchLink<M> {
    type Sender = BatchSender<Producer, M>;
    type Receiver = BatchReceiver<Getter<M>>;

    fn sender(end: End, row: &Row) -> io::Result<Self::Sender> {
        let producer = queue(end)?.producer().map_err(other)?;
        Ok(BatchSender::new(producer, row.size))
    }

    fn receiver(end: End, _: &Row) -> io::Result<Self::Receiver> {
        let queue = queue(end)?;
        let consumer = queue.consumer().map_err(other)?;
        Ok(BatchReceiver(Getter { queue, consumer, messages: PhantomData }))
    }
}

impl PutMany for Producer {
    #[inline]
    fn put_many<M: Unit>(&mut self, messages: &[M]) -> io::Result<usize> {
        match self.try_push_many(messages).map_err(other)? {
            // It is full: waits for a place.
            0 => self.push(messages[0].as_ref()).map(|()| 1).map_err(other),
            put => Ok(put),
        }
    }
}

impl<M: Unit> GetMany for Getter<M> {
    #[inline]
    fn get_many(&mut self, most: usize, mut each: impl FnMut(&[u8])) -> io::Result<usize> {
        self.consumer.pop_many(most, |message| M::show(message, &mut each)).map_err(other)
    }

    fn put_back(&mut self, message: &[u8]) -> io::Result<()> {
        let mut producer = self.queue.producer().map_err(other)?;
        producer.push(message).map_err(other)
    }
}
