//! crossbeam's ArrayQueue: a bounded ring for any number of threads, the algorithm of Dmitry Vyukov.

use std::io;
use std::sync::Arc;

use crossbeam_queue::ArrayQueue;
use shmq_harness::{Group, Local, Receiver, Row, Sender, Transport, run_threads};

use crate::fixed::{by_size, unavailable, value};
use crate::waiting::until;

pub(crate) const TRANSPORT: Transport = Transport {
    group: Group::Rival,
    capacity: |row| Some(row.capacity),
    unavailable,
    ..Transport::in_one_process(
        "crossbeam-threads",
        "threads: crossbeam's ArrayQueue; looks, then yields",
        |spec| by_size!(spec.row(), N => run_threads::<Crossbeam<N>>(spec)),
    )
};

#[derive(Debug)]
struct Crossbeam<const N: usize>;

#[derive(Debug)]
struct End<const N: usize>(Arc<ArrayQueue<[u8; N]>>);

impl<const N: usize> Local for Crossbeam<N> {
    type Sender = End<N>;
    type Receiver = End<N>;

    fn open(row: &Row) -> (Vec<End<N>>, Vec<End<N>>) {
        let queue = Arc::new(ArrayQueue::new(row.capacity));
        let ends = |count| (0..count).map(|_| End(Arc::clone(&queue))).collect();
        (ends(row.topology.producers), ends(row.topology.consumers))
    }
}

impl<const N: usize> Sender for End<N> {
    #[inline]
    fn send(&mut self, message: &[u8]) -> io::Result<()> {
        let value = value(message)?;
        until(|| self.0.push(*value).ok());
        Ok(())
    }
}

impl<const N: usize> Receiver for End<N> {
    fn recv(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.recv_with(&mut [], |message| buffer.copy_from_slice(message))?;
        Ok(N)
    }

    #[inline]
    fn recv_with<R>(&mut self, _buffer: &mut [u8], read: impl FnOnce(&[u8]) -> R) -> io::Result<R> {
        Ok(read(&until(|| self.0.pop())))
    }
}
