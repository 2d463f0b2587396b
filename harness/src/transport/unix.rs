//! Unix sockets: a stream, and sequenced packets, whose boundaries any number may share.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;

use rustix::io::retry_on_intr;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socketpair,
};

use super::{
    Channel, End, Link, Receiver, Sender, Transport, read_whole, stream_unavailable,
    whole_or_error, write_whole,
};
use crate::error::{During, Result};
use crate::plan::Row;
use crate::worker::run_process;

/// A packet must fit the send buffer, of which the kernel keeps a part for itself
/// (net.core.wmem_default is 208 KiB).
const PACKET_BYTES_MAX: usize = 128 << 10;

pub(super) const STREAM: Transport = Transport {
    two_way: true,
    unavailable: stream_unavailable,
    ..Transport::new(
        "unix-stream",
        "a Unix stream socket pair",
        |_| open(SocketType::STREAM),
        run_process::<StreamLink>,
    )
};

pub(super) const SEQPACKET: Transport = Transport {
    two_way: true,
    unavailable: packet_unavailable,
    ..Transport::new(
        "unix-seqpacket",
        "a Unix sequenced-packet socket pair",
        |_| open(SocketType::SEQPACKET),
        run_process::<SeqpacketLink>,
    )
};

fn packet_unavailable(row: &Row) -> Option<String> {
    (row.size > PACKET_BYTES_MAX).then(|| {
        format!(
            "a packet must fit the socket's default send buffer, up to {PACKET_BYTES_MAX} bytes"
        )
    })
}

fn open(kind: SocketType) -> Result<Channel> {
    let pair = socketpair(AddressFamily::UNIX, kind, SocketFlags::CLOEXEC, None);
    let (sender, receiver) = pair.during("socketpair")?;
    Ok(Channel::inherited(sender, receiver))
}

#[derive(Debug)]
struct StreamLink;

impl Link for StreamLink {
    type Sender = StreamEnd;
    type Receiver = StreamEnd;

    fn sender(end: End, _: &Row) -> io::Result<StreamEnd> {
        Ok(StreamEnd(UnixStream::from(end.fd()?)))
    }

    fn receiver(end: End, _: &Row) -> io::Result<StreamEnd> {
        Ok(StreamEnd(UnixStream::from(end.fd()?)))
    }
}

#[derive(Debug)]
struct StreamEnd(UnixStream);

impl Sender for StreamEnd {
    #[inline]
    fn send(&mut self, message: &[u8]) -> io::Result<()> {
        write_whole(&mut self.0, message)
    }
}

impl Receiver for StreamEnd {
    #[inline]
    fn recv(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        read_whole(&mut self.0, buffer)
    }
}

#[derive(Debug)]
struct SeqpacketLink;

impl Link for SeqpacketLink {
    type Sender = SeqpacketEnd;
    type Receiver = SeqpacketEnd;

    fn sender(end: End, _: &Row) -> io::Result<SeqpacketEnd> {
        end.fd().map(SeqpacketEnd)
    }

    fn receiver(end: End, _: &Row) -> io::Result<SeqpacketEnd> {
        end.fd().map(SeqpacketEnd)
    }
}

#[derive(Debug)]
struct SeqpacketEnd(OwnedFd);

impl Sender for SeqpacketEnd {
    #[inline]
    fn send(&mut self, message: &[u8]) -> io::Result<()> {
        let sent = retry_on_intr(|| send(&self.0, message, SendFlags::NOSIGNAL))?;
        whole_or_error(sent, message.len()).map(drop)
    }
}

impl Receiver for SeqpacketEnd {
    #[inline]
    fn recv(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        // TRUNC: the packet's true length, so that one too long is noticed
        let (_, length) = retry_on_intr(|| recv(&self.0, &mut *buffer, RecvFlags::TRUNC))?;
        whole_or_error(length, buffer.len())
    }
}
