//! The ways between two processes that are compared: a table, and small traits behind it.
//!
//! The runner opens a channel, the workers are given its ends and turn them into a [`Sender`] or a
//! [`Receiver`]. The worker loop is generic over both: one loop for all, and no dynamic call per
//! message.

mod bare;
mod batch;
mod lines;
mod memcpy;
mod pipe;
mod shmq;
mod tcp;
mod unix;
mod values;

use std::any::Any;
use std::io;
use std::os::fd::OwnedFd;

use serde::{Serialize, Serializer};

pub use batch::{BATCH, BatchReceiver, BatchSender, GetMany, PutMany, Unit, batches_unavailable};
pub(crate) use shmq::capacity;
pub use values::SIZES;

use crate::error::{During, Result};
use crate::plan::Row;
use crate::worker::{Done, Spec};

/// What is compared by the main program. Older reports have them in this order, too: new ones come
/// last.
pub static BUILT_IN: &[Transport] = &[
    shmq::SHMQ,
    shmq::UNBOUNDED,
    shmq::REF,
    shmq::LOAN,
    pipe::PIPE,
    pipe::PIPE_1M,
    unix::STREAM,
    unix::SEQPACKET,
    tcp::TCP,
    shmq::SPIN,
    shmq::PARK,
    bare::LINE,
    bare::FUTEX,
    shmq::SPSC,
    shmq::SPMC,
    shmq::MPSC,
    batch::TRANSPORT,
    memcpy::TRANSPORT,
    lines::TRANSPORT,
];

/// The one that the others are compared with.
const REFERENCE: &str = "shmq";

/// A way to hand messages on.
#[derive(Clone, Copy, Debug)]
pub struct Transport {
    /// In reports and on the command line.
    pub name: &'static str,
    /// For `--help`: what it is, and how it waits.
    pub help: &'static str,
    /// Whose it is.
    pub group: Group,
    /// All workers are threads of one process.
    pub one_process: bool,
    /// And they are one thread.
    pub one_thread: bool,
    /// Whoever holds an end of a channel can both send and receive.
    pub two_way: bool,
    /// Does a run show messages of this size that was not asked for it?
    pub is_default: fn(usize) -> bool,
    /// Why it cannot do this natively; `None` if it can.
    pub unavailable: fn(&Row) -> Option<String>,
    /// How many messages a channel holds, where that is ours to choose.
    pub capacity: fn(&Row) -> Option<usize>,
    /// Opens a channel in the runner; not asked for in one process.
    pub open: fn(&Row) -> Result<Channel>,
    /// What a worker does, from its specification on: [`run_process`](crate::run_process) or
    /// [`run_threads`](crate::run_threads), usually.
    pub work: fn(&Spec) -> Done,
}

/// Whose a transport is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    /// This project's.
    Ours,
    /// The kernel's.
    System,
    /// Nobody's: no queue, but what one can be measured against.
    Bare,
    /// Somebody else's.
    Rival,
}

impl Transport {
    /// One that can do everything and is shown by default. What differs is said after it:
    /// `Transport { group: Group::Rival, ..Transport::new(..) }`.
    pub const fn new(
        name: &'static str,
        help: &'static str,
        open: fn(&Row) -> Result<Channel>,
        work: fn(&Spec) -> Done,
    ) -> Self {
        Self {
            name,
            help,
            group: Group::System,
            one_process: false,
            one_thread: false,
            two_way: false,
            is_default: |_| true,
            unavailable: |_| None,
            capacity: |_| None,
            open,
            work,
        }
    }

    /// One whose workers are threads of one process, which open the queue themselves.
    pub const fn in_one_process(
        name: &'static str,
        help: &'static str,
        work: fn(&Spec) -> Done,
    ) -> Self {
        let open = |_: &Row| Err(io::Error::from(io::ErrorKind::Unsupported)).during("opening");
        Self { one_process: true, ..Self::new(name, help, open, work) }
    }

    pub(crate) fn is_ours(&self) -> bool {
        self.group == Group::Ours
    }

    pub(crate) fn is_reference(&self) -> bool {
        self.name == REFERENCE
    }
}

/// Names are unique.
impl PartialEq for Transport {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Transport {}

impl Serialize for Transport {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name)
    }
}

/// One direction, as the runner opens it.
#[derive(Debug)]
pub struct Channel {
    /// For each producer.
    pub sender: End,
    /// For each consumer.
    pub receiver: End,
    /// Dropped when the workers are gone: removes what they would leave behind.
    pub guard: Option<Box<dyn Any>>,
}

/// What a worker makes an endpoint of.
#[derive(Debug)]
pub enum End {
    /// Inherited.
    Fd(OwnedFd),
    /// Something to find it by.
    Name(String),
}

impl Channel {
    /// One whose ends are inherited; nothing of it outlives its descriptors.
    pub fn inherited(sender: OwnedFd, receiver: OwnedFd) -> Self {
        Self { sender: End::Fd(sender), receiver: End::Fd(receiver), guard: None }
    }

    /// One whose ends are the same memory.
    ///
    /// # Errors
    /// If there is no descriptor left.
    pub fn shared(memory: OwnedFd) -> Result<Self> {
        Ok(Self::inherited(memory.try_clone().during("dup")?, memory))
    }

    /// One that is found by `name`.
    pub fn named(name: &str, guard: impl Any) -> Self {
        let end = || End::Name(name.to_owned());
        Self { sender: end(), receiver: end(), guard: Some(Box::new(guard)) }
    }

    /// The way back, where ends are two-way.
    pub(crate) fn reversed(&self) -> Result<Self> {
        let (sender, receiver) = (self.receiver.try_clone()?, self.sender.try_clone()?);
        Ok(Self { sender, receiver, guard: None })
    }
}

impl End {
    fn try_clone(&self) -> Result<Self> {
        Ok(match self {
            End::Fd(fd) => End::Fd(fd.try_clone().during("dup")?),
            End::Name(name) => End::Name(name.clone()),
        })
    }

    /// The descriptor that was inherited.
    ///
    /// # Errors
    /// If it is a name.
    pub fn fd(self) -> io::Result<OwnedFd> {
        match self {
            End::Fd(fd) => Ok(fd),
            End::Name(name) => Err(io::Error::other(format!("{name:?} instead of a descriptor"))),
        }
    }

    /// The name that was given.
    ///
    /// # Errors
    /// If it is a descriptor.
    pub fn name(self) -> io::Result<String> {
        match self {
            End::Name(name) => Ok(name),
            End::Fd(_) => Err(io::Error::other("a descriptor instead of a name")),
        }
    }
}

/// An endpoint that messages are put into.
pub trait Sender {
    /// Blocks until there is room for the whole message.
    ///
    /// # Errors
    /// What fails the cell.
    fn send(&mut self, message: &[u8]) -> io::Result<()>;

    /// Sends what `write` writes: to `buffer`, or where the message will lie, if the transport can
    /// lend that. Both have the message's length.
    ///
    /// # Errors
    /// What fails the cell.
    #[inline]
    fn send_with<R>(
        &mut self,
        buffer: &mut [u8],
        write: impl FnOnce(&mut [u8]) -> R,
    ) -> io::Result<R> {
        let written = write(buffer);
        self.send(buffer)?;
        Ok(written)
    }

    /// Sends a message that `write` writes, or several, if the transport sends several at once.
    ///
    /// # Errors
    /// What fails the cell.
    #[inline]
    fn send_some(&mut self, buffer: &mut [u8], write: impl FnMut(&mut [u8])) -> io::Result<()> {
        self.send_with(buffer, write)
    }
}

/// An endpoint that messages are got from.
pub trait Receiver {
    /// Blocks until a whole message is there. All messages of a cell have `buffer`'s length.
    ///
    /// # Errors
    /// What fails the cell.
    fn recv(&mut self, buffer: &mut [u8]) -> io::Result<usize>;

    /// Shows the next message to `read`: in `buffer`, or where it lies.
    ///
    /// # Errors
    /// What fails the cell.
    #[inline]
    fn recv_with<R>(&mut self, buffer: &mut [u8], read: impl FnOnce(&[u8]) -> R) -> io::Result<R> {
        let length = self.recv(buffer)?;
        Ok(read(&buffer[..length]))
    }

    /// Shows the next message to `read`, or several, if the transport gets several at once: a fold of them, for
    /// what is handed on from message to message can stay in registers.
    ///
    /// # Errors
    /// What fails the cell.
    #[inline]
    fn recv_some<S: Copy>(
        &mut self,
        buffer: &mut [u8],
        state: S,
        mut read: impl FnMut(S, &[u8]) -> S,
    ) -> io::Result<S> {
        self.recv_with(buffer, |message| read(state, message))
    }

    /// Of several messages shown at once, this one is for another consumer.
    ///
    /// # Errors
    /// What fails the cell.
    fn put_back(&mut self, _message: &[u8]) -> io::Result<()> {
        Ok(())
    }
}

/// How a worker makes endpoints of what it was given.
pub trait Link {
    /// Of a producer.
    type Sender: Sender;
    /// Of a consumer.
    type Receiver: Receiver;

    /// Called by each producer.
    ///
    /// # Errors
    /// What fails the cell.
    fn sender(end: End, row: &Row) -> io::Result<Self::Sender>;

    /// Called by each consumer.
    ///
    /// # Errors
    /// What fails the cell.
    fn receiver(end: End, row: &Row) -> io::Result<Self::Receiver>;
}

/// A queue between threads.
pub trait Local {
    /// Of a producer.
    type Sender: Sender + Send + 'static;
    /// Of a consumer.
    type Receiver: Receiver + Send + 'static;

    /// Opens a queue: an end for every producer, and for every consumer.
    fn open(row: &Row) -> (Vec<Self::Sender>, Vec<Self::Receiver>);
}

fn stream_unavailable(row: &Row) -> Option<String> {
    row.topology.is_shared().then(|| {
        "a byte stream has no message boundary that several writers or readers could share".into()
    })
}

/// Writes all of it, however the kernel cuts it into pieces.
fn write_whole(file: &mut impl io::Write, message: &[u8]) -> io::Result<()> {
    file.write_all(message)
}

/// Reads the whole message; a stream that ends first is an error.
fn read_whole(file: &mut impl io::Read, buffer: &mut [u8]) -> io::Result<usize> {
    file.read_exact(buffer).map(|()| buffer.len())
}

/// For what promises a message per call: anything less would tear it.
fn whole_or_error(done: usize, size: usize) -> io::Result<usize> {
    if done == size {
        return Ok(done);
    }
    Err(io::Error::other(format!("{done} bytes of a message of {size} were transferred at once")))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::plan::{Mode, Topology};
    use std::collections::BTreeSet;

    /// The built-in transport of that name.
    pub(crate) fn find(name: &str) -> &'static Transport {
        BUILT_IN.iter().find(|transport| transport.name == name).expect("a name of the table")
    }

    fn row(mode: Mode, producers: u16, consumers: u16, size: usize) -> Row {
        Row { mode, topology: Topology { producers, consumers }, size, capacity: capacity(size) }
    }

    fn stream(producers: u16, consumers: u16, size: usize) -> Row {
        row(Mode::Stream, producers, consumers, size)
    }

    #[test]
    fn names_are_unique_and_plain_and_those_of_json() {
        let names: BTreeSet<_> = BUILT_IN.iter().map(|transport| transport.name).collect();
        assert_eq!(names.len(), BUILT_IN.len());
        for transport in BUILT_IN {
            let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
            assert!(transport.name.chars().all(plain), "{}", transport.name);
            let json = serde_json::to_string(transport).unwrap();
            assert_eq!(json, format!("\"{}\"", transport.name));
        }
        assert_eq!(find(REFERENCE).group, Group::Ours);
    }

    #[test]
    fn what_is_not_native_says_why() {
        let cases = [
            ("bare-line", stream(1, 1, 8), "stream"),
            ("bare-stream", stream(2, 1, 8), "one to one"),
            ("bare-stream", row(Mode::Rtt, 1, 1, 8), "no way back"),
            ("bare-stream", stream(1, 1, 1032), "1024 bytes"),
            ("bare-memcpy", stream(2, 1, 8), "one thread"),
            ("bare-memcpy", row(Mode::Rtt, 1, 1, 8), "one thread"),
            ("unix-stream", stream(1, 2, 8), "readers"),
            ("tcp", stream(2, 1, 8), "writers"),
            ("pipe", stream(2, 1, 16384), "PIPE_BUF"),
            ("pipe-1m", stream(1, 2, 16384), "PIPE_BUF"),
            ("unix-seqpacket", stream(1, 1, 1 << 20), "send buffer"),
            ("shmq-ref", stream(1, 1, 48), "slots"),
            ("shmq-spsc", stream(2, 1, 8), "one producer"),
            ("shmq-spsc", stream(1, 2, 8), "one consumer"),
            ("shmq-spmc", stream(2, 2, 8), "one producer"),
            ("shmq-mpsc", stream(2, 2, 8), "one consumer"),
            ("shmq-batch", row(Mode::Rtt, 1, 1, 8), "one at a time"),
        ];
        for (name, row, word) in cases {
            let why = (find(name).unavailable)(&row).expect("not native");
            assert!(why.contains(word), "{name}: {why}");
        }
    }

    #[test]
    fn what_is_native_is_available() {
        for transport in BUILT_IN {
            let size = if transport.name.starts_with("bare") { 48 } else { 16384 };
            let streams = ["shmq-batch", "bare-stream", "bare-memcpy"].contains(&transport.name);
            let mode = if streams { Mode::Stream } else { Mode::Rtt };
            assert_eq!((transport.unavailable)(&row(mode, 1, 1, size)), None);
        }
        let cases = [
            ("shmq-loan", stream(4, 4, 64 << 20)),
            ("shmq-batch", stream(4, 4, 64)),
            ("shmq-spmc", stream(1, 4, 64)),
            ("shmq-mpsc", stream(4, 1, 64)),
            ("pipe", stream(4, 4, 4096)),
            ("unix-seqpacket", stream(4, 4, 16384)),
        ];
        for (name, row) in cases {
            assert_eq!((find(name).unavailable)(&row), None, "{name}");
        }
    }

    #[test]
    fn an_end_is_a_descriptor_or_a_name() {
        assert!(End::Name("x".into()).fd().unwrap_err().to_string().contains("descriptor"));
        assert_eq!(End::Name("x".into()).name().unwrap(), "x");
        let Channel { sender, .. } = (find("pipe").open)(&stream(1, 1, 8)).unwrap();
        assert!(sender.name().is_err());
    }
}
