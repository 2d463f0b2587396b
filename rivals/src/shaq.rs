//! shaq: rings of values in shared memory, for one producer and one consumer, or for many.
//!
//! In the ring for many, slots are published, and given back, in the order in which they were reserved: who
//! is not running keeps all others waiting. A message is read where it lies.

use std::fs::File;
use std::io;
use std::num::NonZeroUsize;
use std::os::fd::OwnedFd;

use nix::sys::memfd::{MFdFlags, memfd_create};
use shaq::{mpmc, spsc};
use shmq_harness::{
    BATCH as TOGETHER, BatchReceiver, BatchSender, Channel, During, End, GetMany, Group, Link,
    PutMany, Receiver, Row, Sender, Transport, Unit, batches_unavailable, run_process,
};

use crate::fixed::{by_size, unavailable, value};
use crate::waiting::until;

pub(crate) const MANY: Transport = Transport {
    group: Group::Rival,
    // It has powers of two only.
    capacity: |row| Some(row.capacity.next_power_of_two()),
    unavailable,
    ..Transport::new(
        "shaq",
        "shaq's ring for many; looks, then yields",
        |row| by_size!(row, N => many::<N>(row)).during("creating a shaq queue"),
        |spec| by_size!(spec.row(), N => run_process::<Many<N>>(spec)),
    )
};

pub(crate) const ONE: Transport = Transport {
    name: "shaq-spsc",
    help: "shaq's ring for one producer and one consumer; looks, then yields",
    unavailable: |row| {
        let shared = row.topology.is_shared();
        shared.then(|| "made for one producer and one consumer".into()).or_else(|| unavailable(row))
    },
    open: |row| by_size!(row, N => one::<N>(row)).during("creating a shaq queue"),
    work: |spec| by_size!(spec.row(), N => run_process::<One<N>>(spec)),
    ..MANY
};

pub(crate) const BATCH: Transport = Transport {
    name: "shaq-batch",
    help: "shaq's ring for many, 32 messages at a time; looks, then yields",
    is_default: |_| false,
    unavailable: |row| {
        let few = row.capacity < TOGETHER;
        let few = few.then(|| format!("reserves {TOGETHER} places at once"));
        few.or_else(|| batches_unavailable(row)).or_else(|| unavailable(row))
    },
    work: |spec| by_size!(spec.row(), N => run_process::<Batch<N>>(spec)),
    ..MANY
};

fn memory() -> io::Result<File> {
    Ok(File::from(memfd_create("shmq-rivals-shaq", MFdFlags::MFD_CLOEXEC)?))
}

fn many<const N: usize>(row: &Row) -> io::Result<Channel> {
    let file = memory()?;
    let bytes = mpmc::minimum_file_size::<[u8; N]>(row.capacity);
    // SAFETY: nobody else has the file yet; bytes are bytes in any process
    let queue = unsafe { mpmc::Producer::<[u8; N]>::create(&file, bytes) };
    queue.map_err(io::Error::other)?;
    Channel::shared(OwnedFd::from(file)).map_err(io::Error::other)
}

fn one<const N: usize>(row: &Row) -> io::Result<Channel> {
    let file = memory()?;
    let bytes = spsc::minimum_file_size::<[u8; N]>(row.capacity);
    // SAFETY: nobody else has the file yet; this one is gone before another joins
    let queue = unsafe { spsc::Producer::<[u8; N]>::create(&file, bytes) };
    queue.map_err(io::Error::other)?;
    Channel::shared(OwnedFd::from(file)).map_err(io::Error::other)
}

#[derive(Debug)]
struct Many<const N: usize>;

struct ManyPutter<const N: usize>(mpmc::Producer<[u8; N]>);

struct ManyGetter<const N: usize>(mpmc::Consumer<[u8; N]>);

impl<const N: usize> Link for Many<N> {
    type Sender = ManyPutter<N>;
    type Receiver = ManyGetter<N>;

    fn sender(end: End, _: &Row) -> io::Result<ManyPutter<N>> {
        // SAFETY: the runner made it for these values
        let queue = unsafe { mpmc::Producer::join(&File::from(end.fd()?)) };
        queue.map(ManyPutter).map_err(io::Error::other)
    }

    fn receiver(end: End, _: &Row) -> io::Result<ManyGetter<N>> {
        // SAFETY: the runner made it for these values
        let queue = unsafe { mpmc::Consumer::join(&File::from(end.fd()?)) };
        queue.map(ManyGetter).map_err(io::Error::other)
    }
}

impl<const N: usize> Sender for ManyPutter<N> {
    #[inline]
    fn send(&mut self, message: &[u8]) -> io::Result<()> {
        let value = value::<N>(message)?;
        // SAFETY: it is written before it is dropped
        let slot = until(|| unsafe { self.0.try_reserve_write() });
        slot.write(*value);
        Ok(())
    }
}

impl<const N: usize> Receiver for ManyGetter<N> {
    fn recv(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.recv_with(&mut [], |message| buffer.copy_from_slice(message))?;
        Ok(N)
    }

    #[inline]
    fn recv_with<R>(&mut self, _buffer: &mut [u8], read: impl FnOnce(&[u8]) -> R) -> io::Result<R> {
        let slot = until(|| self.0.try_reserve_read());
        Ok(read(slot.as_ref()))
    }
}

#[derive(Debug)]
struct Batch<const N: usize>;

impl<const N: usize> Link for Batch<N> {
    type Sender = BatchSender<ManyPutter<N>, [u8; N]>;
    type Receiver = BatchReceiver<ManyGetter<N>>;

    fn sender(end: End, row: &Row) -> io::Result<Self::Sender> {
        Ok(BatchSender::new(Many::sender(end, row)?, N))
    }

    fn receiver(end: End, row: &Row) -> io::Result<Self::Receiver> {
        Ok(BatchReceiver(Many::receiver(end, row)?))
    }
}

impl<const N: usize> PutMany for ManyPutter<N> {
    #[inline]
    fn put_many<M: Unit>(&mut self, messages: &[M]) -> io::Result<usize> {
        let Some(count) = NonZeroUsize::new(messages.len()) else { return Ok(0) };
        // SAFETY: all are written before it is dropped
        let mut slots = until(|| unsafe { self.0.try_reserve_write_batch(count) });
        for (at, message) in messages.iter().enumerate() {
            // SAFETY: there is a slot for each message
            let slot = unsafe { slots.as_mut(at) };
            slot.write(*value::<N>(message.as_ref()).expect("all messages have the same length"));
        }
        Ok(messages.len())
    }
}

impl<const N: usize> GetMany for ManyGetter<N> {
    #[inline]
    fn get_many<S: Copy>(
        &mut self,
        most: usize,
        state: S,
        mut read: impl FnMut(S, &[u8]) -> S,
    ) -> io::Result<S> {
        let Some(most) = NonZeroUsize::new(most) else { return Ok(state) };
        let batch = until(|| self.0.try_reserve_read_batch(most));
        let (first, second) = batch.as_slices();
        Ok(first.iter().chain(second).fold(state, |state, message| read(state, message)))
    }

    fn put_back(&mut self, message: &[u8]) -> io::Result<()> {
        ManyPutter(self.0.join_as_producer()).send(message)
    }
}

#[derive(Debug)]
struct One<const N: usize>;

struct OnePutter<const N: usize>(spsc::Producer<[u8; N]>);

struct OneGetter<const N: usize>(spsc::Consumer<[u8; N]>);

impl<const N: usize> Link for One<N> {
    type Sender = OnePutter<N>;
    type Receiver = OneGetter<N>;

    fn sender(end: End, _: &Row) -> io::Result<OnePutter<N>> {
        // SAFETY: the runner made it for these values, and starts one producer
        let queue = unsafe { spsc::Producer::join(&File::from(end.fd()?)) };
        queue.map(OnePutter).map_err(io::Error::other)
    }

    fn receiver(end: End, _: &Row) -> io::Result<OneGetter<N>> {
        // SAFETY: the runner made it for these values, and starts one consumer
        let queue = unsafe { spsc::Consumer::join(&File::from(end.fd()?)) };
        queue.map(OneGetter).map_err(io::Error::other)
    }
}

impl<const N: usize> Sender for OnePutter<N> {
    #[inline]
    fn send(&mut self, message: &[u8]) -> io::Result<()> {
        let value = value::<N>(message)?;
        until(|| self.0.try_write(*value).ok());
        Ok(())
    }
}

impl<const N: usize> Receiver for OneGetter<N> {
    fn recv(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.recv_with(&mut [], |message| buffer.copy_from_slice(message))?;
        Ok(N)
    }

    #[inline]
    fn recv_with<R>(&mut self, _buffer: &mut [u8], read: impl FnOnce(&[u8]) -> R) -> io::Result<R> {
        Ok(read(&until(|| self.0.try_read())))
    }
}
