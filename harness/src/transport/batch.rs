//! Several messages at a time: put together, and got as many as there are.

use std::fmt;
use std::io;
use std::iter;
use std::marker::PhantomData;

use shmq_engine::{Consumer, Producer, PushError, Queue};

use super::shmq::{other, ours, queue};
use super::{End, Link, Receiver, Sender, Transport};
use crate::by_size;
use crate::plan::{Mode, Row};
use crate::worker::{Done, Spec, run_process};

/// So many messages are put at once, and got.
pub const BATCH: usize = 32;

pub(super) const TRANSPORT: Transport = Transport {
    unavailable,
    ..ours("shmq-batch", "this project's queue, 32 messages at a time", work)
};

fn work(spec: &Spec) -> Done {
    by_size!(
        spec.row().size,
        N => run_process::<BatchLink<[u8; N]>>(spec),
        else run_process::<BatchLink<Box<[u8]>>>(spec)
    )
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
pub trait Unit: AsRef<[u8]> + AsMut<[u8]> + fmt::Debug + Sized + 'static {
    /// One of `size` bytes.
    fn of(size: usize) -> Self;

    /// Puts the first of them into a queue of ours, and says how many.
    ///
    /// # Errors
    /// As for `try_push_many`.
    fn try_push(producer: &mut Producer, messages: &[Self]) -> Result<usize, PushError>;
}

impl<const N: usize> Unit for [u8; N] {
    fn of(size: usize) -> Self {
        assert_eq!(size, N, "the size decides which array it is");
        [0; N]
    }

    #[inline]
    fn try_push(producer: &mut Producer, messages: &[Self]) -> Result<usize, PushError> {
        producer.try_push_values(messages)
    }
}

impl Unit for Box<[u8]> {
    fn of(size: usize) -> Self {
        vec![0; size].into()
    }

    fn try_push(producer: &mut Producer, messages: &[Self]) -> Result<usize, PushError> {
        producer.try_push_many(messages)
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
    /// Shows the next messages to `read`, at most `most`. Blocks until it is one.
    ///
    /// # Errors
    /// What fails the cell.
    fn get_many<S: Copy>(
        &mut self,
        most: usize,
        state: S,
        read: impl FnMut(S, &[u8]) -> S,
    ) -> io::Result<S>;

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
    // Not on the stack, of which some batches need more than there is.
    messages: Box<[M; BATCH]>,
}

impl<P: PutMany, M: Unit> BatchSender<P, M> {
    /// For messages of `size` bytes.
    pub fn new(end: P, size: usize) -> Self {
        Self { end, messages: boxed(|| M::of(size)) }
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
        self.0.get_many(1, 0, |_, message| {
            buffer.copy_from_slice(message);
            message.len()
        })
    }

    #[inline]
    fn recv_some<S: Copy>(
        &mut self,
        _buffer: &mut [u8],
        state: S,
        read: impl FnMut(S, &[u8]) -> S,
    ) -> io::Result<S> {
        self.0.get_many(BATCH, state, read)
    }

    fn put_back(&mut self, message: &[u8]) -> io::Result<()> {
        self.0.put_back(message)
    }
}

/// Of arrays, or of slices.
#[derive(Debug)]
struct BatchLink<M>(PhantomData<M>);

/// With room for a batch, if one is got at once.
#[derive(Debug)]
struct Getter<R> {
    queue: Queue,
    consumer: Consumer,
    room: R,
}

impl<const N: usize> Link for BatchLink<[u8; N]> {
    type Sender = BatchSender<Producer, [u8; N]>;
    type Receiver = BatchReceiver<Getter<Box<[[u8; N]; BATCH]>>>;

    fn sender(end: End, row: &Row) -> io::Result<Self::Sender> {
        sender(end, row)
    }

    fn receiver(end: End, _: &Row) -> io::Result<Self::Receiver> {
        receiver(end, boxed(|| [0; N]))
    }
}

impl Link for BatchLink<Box<[u8]>> {
    type Sender = BatchSender<Producer, Box<[u8]>>;
    type Receiver = BatchReceiver<Getter<()>>;

    fn sender(end: End, row: &Row) -> io::Result<Self::Sender> {
        sender(end, row)
    }

    fn receiver(end: End, _: &Row) -> io::Result<Self::Receiver> {
        receiver(end, ())
    }
}

fn boxed<M: fmt::Debug>(make: impl FnMut() -> M) -> Box<[M; BATCH]> {
    let messages: Box<[M]> = iter::repeat_with(make).take(BATCH).collect();
    messages.try_into().expect("so many were taken")
}

fn sender<M: Unit>(end: End, row: &Row) -> io::Result<BatchSender<Producer, M>> {
    let producer = queue(end)?.producer().map_err(other)?;
    Ok(BatchSender::new(producer, row.size))
}

fn receiver<R>(end: End, room: R) -> io::Result<BatchReceiver<Getter<R>>> {
    let queue = queue(end)?;
    let consumer = queue.consumer().map_err(other)?;
    Ok(BatchReceiver(Getter { queue, consumer, room }))
}

impl PutMany for Producer {
    #[inline]
    fn put_many<M: Unit>(&mut self, messages: &[M]) -> io::Result<usize> {
        match M::try_push(self, messages).map_err(other)? {
            // It is full: waits for a place.
            0 => self.push(messages[0].as_ref()).map(|()| 1).map_err(other),
            put => Ok(put),
        }
    }
}

impl<const N: usize> GetMany for Getter<Box<[[u8; N]; BATCH]>> {
    #[inline]
    fn get_many<S: Copy>(
        &mut self,
        most: usize,
        state: S,
        mut read: impl FnMut(S, &[u8]) -> S,
    ) -> io::Result<S> {
        let count = self.consumer.pop_values(&mut self.room[..most]).map_err(other)?;
        Ok(self.room[..count].iter().fold(state, |state, message| read(state, message)))
    }

    fn put_back(&mut self, message: &[u8]) -> io::Result<()> {
        put_back(&self.queue, message)
    }
}

impl GetMany for Getter<()> {
    #[inline]
    fn get_many<S: Copy>(
        &mut self,
        most: usize,
        mut state: S,
        mut read: impl FnMut(S, &[u8]) -> S,
    ) -> io::Result<S> {
        let each = |message: &[u8]| state = read(state, message);
        self.consumer.pop_many(most, each).map_err(other)?;
        Ok(state)
    }

    fn put_back(&mut self, message: &[u8]) -> io::Result<()> {
        put_back(&self.queue, message)
    }
}

fn put_back(queue: &Queue, message: &[u8]) -> io::Result<()> {
    queue.producer().map_err(other)?.push(message).map_err(other)
}
