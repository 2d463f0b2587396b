//! cloudtoid-interprocess: a ring of bytes in a mapped file, for many producers, and consumers that take
//! turns.

use std::io;

use cloudtoid_interprocess::{Error, Options, Publisher, Subscriber};
use shmq_harness::{End, Group, Link, Receiver, Row, Sender, Transport, run_process};

use crate::scratch::{Scratch, folder_and_name};
use crate::waiting::until;

pub(crate) const TRANSPORT: Transport = Transport {
    group: Group::Rival,
    capacity: |row| Some(row.capacity),
    ..Transport::new(
        "cloudtoid",
        "cloudtoid-interprocess; looks, then yields",
        |_| Scratch::new().map(Scratch::into_channel),
        run_process::<CloudtoidLink>,
    )
};

/// In front of each message, which is padded to whole words.
const HEADER_BYTES: usize = 8;

#[derive(Debug)]
struct CloudtoidLink;

struct Putter(Publisher);

struct Getter(Subscriber);

/// A file beside nothing else, a semaphore with the folder's name in its own.
fn options(end: End, row: &Row) -> io::Result<Options> {
    let (folder, name) = folder_and_name(end.name()?);
    // It wants a multiple of eight.
    let bytes = (row.capacity * (row.size + HEADER_BYTES)).next_multiple_of(8);
    Ok(Options::new(name, bytes).with_path(folder))
}

impl Link for CloudtoidLink {
    type Sender = Putter;
    type Receiver = Getter;

    fn sender(end: End, row: &Row) -> io::Result<Putter> {
        Publisher::open(&options(end, row)?).map(Putter).map_err(io::Error::other)
    }

    fn receiver(end: End, row: &Row) -> io::Result<Getter> {
        Subscriber::open(&options(end, row)?).map(Getter).map_err(io::Error::other)
    }
}

impl Sender for Putter {
    #[inline]
    fn send(&mut self, message: &[u8]) -> io::Result<()> {
        let attempt = || match self.0.try_send(message) {
            Err(Error::Full) => None,
            done => Some(done),
        };
        until(attempt).map_err(io::Error::other)
    }
}

impl Receiver for Getter {
    #[inline]
    fn recv(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        until(|| self.0.try_recv_into(buffer).transpose()).map_err(io::Error::other)
    }
}
