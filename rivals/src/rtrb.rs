//! rtrb: a wait-free ring for one producer and one consumer, two threads.

use std::io;

use rtrb::{Consumer, Producer, RingBuffer};
use shmq_harness::{Group, Local, Receiver, Row, Sender, Transport, run_threads};

use crate::fixed::{by_size, unavailable, value};
use crate::waiting::until;

pub(crate) const TRANSPORT: Transport = Transport {
    group: Group::Rival,
    capacity: |row| Some(row.capacity),
    unavailable: |row| {
        let shared = row.topology.is_shared();
        shared.then(|| "made for one producer and one consumer".into()).or_else(|| unavailable(row))
    },
    ..Transport::in_one_process(
        "rtrb-threads",
        "threads: rtrb, one to one; looks, then yields",
        |spec| by_size!(spec.row(), N => run_threads::<Rtrb<N>>(spec)),
    )
};

#[derive(Debug)]
struct Rtrb<const N: usize>;

#[derive(Debug)]
struct Putter<const N: usize>(Producer<[u8; N]>);

#[derive(Debug)]
struct Getter<const N: usize>(Consumer<[u8; N]>);

impl<const N: usize> Local for Rtrb<N> {
    type Sender = Putter<N>;
    type Receiver = Getter<N>;

    fn open(row: &Row) -> (Vec<Putter<N>>, Vec<Getter<N>>) {
        let (producer, consumer) = RingBuffer::new(row.capacity);
        (vec![Putter(producer)], vec![Getter(consumer)])
    }
}

impl<const N: usize> Sender for Putter<N> {
    #[inline]
    fn send(&mut self, message: &[u8]) -> io::Result<()> {
        let value = value(message)?;
        until(|| self.0.push(*value).ok());
        Ok(())
    }
}

impl<const N: usize> Receiver for Getter<N> {
    fn recv(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.recv_with(&mut [], |message| buffer.copy_from_slice(message))?;
        Ok(N)
    }

    #[inline]
    fn recv_with<R>(&mut self, _buffer: &mut [u8], read: impl FnOnce(&[u8]) -> R) -> io::Result<R> {
        Ok(read(&until(|| self.0.pop().ok())))
    }
}
