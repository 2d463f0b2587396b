//! The ways between two processes that are compared, behind two small traits.
//!
//! The runner opens a channel, the workers inherit its file descriptors and turn them into a
//! [`Sender`] or a [`Receiver`]. The worker loop is generic over both: one loop for all, and
//! no dynamic call per message.

mod bare;
mod pipe;
mod shmq;
mod tcp;
mod unix;

use std::io;
use std::os::fd::OwnedFd;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

pub(crate) use bare::BareLink;
pub(crate) use pipe::PipeLink;
pub(crate) use shmq::{LoanLink, ParkLink, ShmqLink, SpinLink, UnboundedLink};
pub(crate) use tcp::TcpLink;
pub(crate) use unix::{SeqpacketLink, StreamLink};

use crate::error::Result;
use crate::plan::{Mode, Topology};

pub(crate) trait Sender {
    /// Blocks until there is room for the whole message.
    fn send(&mut self, message: &[u8]) -> io::Result<()>;

    /// Sends what `write` writes: to `buffer`, or where the message will lie, if the transport can
    /// lend that. Both have the message's length.
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
}

pub(crate) trait Receiver {
    /// Blocks until a whole message is there. All messages of a cell have `buffer`'s length.
    fn recv(&mut self, buffer: &mut [u8]) -> io::Result<usize>;

    /// Shows the next message to `read`: in `buffer`, or where it lies.
    #[inline]
    fn recv_with<R>(&mut self, buffer: &mut [u8], read: impl FnOnce(&[u8]) -> R) -> io::Result<R> {
        let length = self.recv(buffer)?;
        Ok(read(&buffer[..length]))
    }
}

/// How a worker makes endpoints of the file descriptors it inherited.
pub(crate) trait Link {
    type Sender: Sender;
    type Receiver: Receiver;

    /// `shared`: other workers use the same direction of the channel.
    fn sender(fd: OwnedFd, shared: bool) -> io::Result<Self::Sender>;
    fn receiver(fd: OwnedFd, shared: bool) -> io::Result<Self::Receiver>;
}

/// One direction, as the runner opens it.
#[derive(Debug)]
pub(crate) struct Channel {
    pub(crate) sender: OwnedFd,
    pub(crate) receiver: OwnedFd,
}

/// Both directions, for a round trip: what the two sides hold.
#[derive(Debug)]
pub(crate) struct Duplex {
    pub(crate) ping: Channel,
    pub(crate) echo: Channel,
}

#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, ValueEnum, Serialize, Deserialize,
)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Transport {
    /// this project's queue, in an anonymous memfd
    Shmq,
    /// the same without a bound: it grows and shrinks
    ShmqUnbounded,
    /// the same, messages by reference even if they would fit a slot
    ShmqRef,
    /// the same, messages written and read in place
    ShmqLoan,
    /// a pipe with its default buffer of 64 KiB
    Pipe,
    /// a pipe with a buffer of 1 MiB
    #[value(name = "pipe-1m")]
    #[serde(rename = "pipe-1m")]
    Pipe1m,
    /// a Unix stream socket pair
    UnixStream,
    /// a Unix sequenced-packet socket pair
    UnixSeqpacket,
    /// a TCP connection over 127.0.0.1, with TCP_NODELAY
    Tcp,
    /// this project's queue, looking without pause while it waits
    ShmqSpin,
    /// this project's queue, sleeping whenever it waits
    ShmqPark,
    /// no queue: a cache line that two processes write in turns
    BareLine,
    /// no queue: the same, each asleep until the other wakes it
    BareFutex,
}

impl Transport {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Transport::Shmq => "shmq",
            Transport::ShmqUnbounded => "shmq-unbounded",
            Transport::ShmqRef => "shmq-ref",
            Transport::ShmqLoan => "shmq-loan",
            Transport::ShmqSpin => "shmq-spin",
            Transport::ShmqPark => "shmq-park",
            Transport::BareLine => "bare-line",
            Transport::BareFutex => "bare-futex",
            Transport::Pipe => "pipe",
            Transport::Pipe1m => "pipe-1m",
            Transport::UnixStream => "unix-stream",
            Transport::UnixSeqpacket => "unix-seqpacket",
            Transport::Tcp => "tcp",
        }
    }

    /// Does a run show it that was not asked for it?
    pub(crate) fn is_default(self, size: usize) -> bool {
        match self {
            Transport::ShmqUnbounded => size == 64,
            Transport::ShmqRef | Transport::ShmqLoan => false,
            Transport::ShmqSpin | Transport::ShmqPark => false,
            Transport::BareLine | Transport::BareFutex => false,
            _ => true,
        }
    }

    pub(crate) fn is_ours(self) -> bool {
        use Transport::{Shmq, ShmqLoan, ShmqPark, ShmqRef, ShmqSpin, ShmqUnbounded};
        matches!(self, Shmq | ShmqUnbounded | ShmqRef | ShmqLoan | ShmqSpin | ShmqPark)
    }

    /// Why the transport cannot do this natively; `None` if it can.
    pub(crate) fn unavailable(self, mode: Mode, topology: Topology, size: usize) -> Option<String> {
        match self {
            Transport::Shmq | Transport::ShmqUnbounded => None,
            Transport::ShmqSpin | Transport::ShmqPark => None,
            Transport::BareLine | Transport::BareFutex => bare::unavailable(mode, size),
            Transport::ShmqRef | Transport::ShmqLoan => shmq::reference_unavailable(size),
            Transport::Pipe | Transport::Pipe1m => pipe::unavailable(topology, size),
            Transport::UnixStream | Transport::Tcp => stream_unavailable(topology),
            Transport::UnixSeqpacket => unix::packet_unavailable(size),
        }
    }

    /// How many messages the channel holds, where that is ours to choose.
    pub(crate) fn capacity(self, size: usize) -> Option<usize> {
        let bounded = self.is_ours() && self != Transport::ShmqUnbounded;
        bounded.then(|| shmq::capacity(size))
    }

    pub(crate) fn open(self, size: usize) -> Result<Channel> {
        match self {
            Transport::Shmq | Transport::ShmqSpin | Transport::ShmqPark => {
                shmq::open(&shmq::bounded(size))
            }
            Transport::BareLine | Transport::BareFutex => bare::open(),
            Transport::ShmqUnbounded => shmq::open(&shmq::unbounded(size)),
            Transport::ShmqRef | Transport::ShmqLoan => shmq::open(&shmq::by_reference(size)),
            Transport::Pipe => pipe::open(None),
            Transport::Pipe1m => pipe::open(Some(pipe::LARGE_BYTES)),
            Transport::UnixStream => unix::open_stream(),
            Transport::UnixSeqpacket => unix::open_seqpacket(),
            Transport::Tcp => tcp::open(),
        }
    }

    /// A socket answers on itself; what has one direction is opened twice.
    pub(crate) fn open_duplex(self, size: usize) -> Result<Duplex> {
        let there = self.open(size)?;
        match self {
            Transport::UnixStream | Transport::UnixSeqpacket | Transport::Tcp => two_way(there),
            _ => {
                let back = self.open(size)?;
                Ok(Duplex {
                    ping: Channel { sender: there.sender, receiver: back.receiver },
                    echo: Channel { sender: back.sender, receiver: there.receiver },
                })
            }
        }
    }
}

/// Each side sends and receives on its own end of the socket.
fn two_way(socket: Channel) -> Result<Duplex> {
    use crate::error::During;
    let ping = socket.sender.try_clone().during("dup")?;
    let echo = socket.receiver.try_clone().during("dup")?;
    Ok(Duplex {
        ping: Channel { sender: socket.sender, receiver: ping },
        echo: Channel { sender: echo, receiver: socket.receiver },
    })
}

fn stream_unavailable(topology: Topology) -> Option<String> {
    let shared = topology.producers > 1 || topology.consumers > 1;
    shared.then(|| {
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
mod tests {
    use super::*;

    fn topology(producers: u16, consumers: u16) -> Topology {
        Topology { producers, consumers }
    }

    #[test]
    fn the_names_are_those_of_the_command_line_and_of_json() {
        for transport in Transport::value_variants() {
            let value = transport.to_possible_value().unwrap();
            assert_eq!(value.get_name(), transport.name());
            let json = serde_json::to_string(transport).unwrap();
            assert_eq!(json, format!("\"{}\"", transport.name()));
        }
    }

    #[test]
    fn what_is_not_native_says_why() {
        let cases = [
            (Transport::BareLine, topology(1, 1), 8, "stream"),
            (Transport::UnixStream, topology(1, 2), 8, "readers"),
            (Transport::Tcp, topology(2, 1), 8, "writers"),
            (Transport::Pipe, topology(2, 1), 16384, "PIPE_BUF"),
            (Transport::Pipe1m, topology(1, 2), 16384, "PIPE_BUF"),
            (Transport::UnixSeqpacket, topology(1, 1), 1 << 20, "send buffer"),
            (Transport::ShmqRef, topology(1, 1), 48, "slots"),
        ];
        for (transport, topology, size, word) in cases {
            let why = transport.unavailable(Mode::Stream, topology, size).expect("not native");
            assert!(why.contains(word), "{why}");
        }
    }

    #[test]
    fn what_is_native_is_available() {
        for transport in Transport::value_variants() {
            let bare = matches!(transport, Transport::BareLine | Transport::BareFutex);
            let size = if bare { 48 } else { 16384 };
            assert_eq!(transport.unavailable(Mode::Rtt, topology(1, 1), size), None);
        }
        assert_eq!(Transport::ShmqLoan.unavailable(Mode::Stream, topology(4, 4), 64 << 20), None);
        assert_eq!(Transport::Pipe.unavailable(Mode::Stream, topology(4, 4), 4096), None);
        assert_eq!(Transport::UnixSeqpacket.unavailable(Mode::Stream, topology(4, 4), 16384), None);
    }
}
