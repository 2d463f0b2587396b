//! Unix sockets: a stream, and sequenced packets, whose boundaries any number may share.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;

use rustix::io::retry_on_intr;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socketpair,
};

use super::{Channel, Link, Receiver, Sender, read_whole, whole_or_error, write_whole};
use crate::error::{During, Result};

/// A packet must fit the send buffer, of which the kernel keeps a part for itself
/// (net.core.wmem_default is 208 KiB).
const PACKET_BYTES_MAX: usize = 128 << 10;

pub(crate) fn packet_unavailable(size: usize) -> Option<String> {
    (size > PACKET_BYTES_MAX).then(|| {
        format!(
            "a packet must fit the socket's default send buffer, up to {PACKET_BYTES_MAX} bytes"
        )
    })
}

pub(crate) fn open_stream() -> Result<Channel> {
    open(SocketType::STREAM)
}

pub(crate) fn open_seqpacket() -> Result<Channel> {
    open(SocketType::SEQPACKET)
}

fn open(kind: SocketType) -> Result<Channel> {
    let pair = socketpair(AddressFamily::UNIX, kind, SocketFlags::CLOEXEC, None);
    let (sender, receiver) = pair.during("socketpair")?;
    Ok(Channel { sender, receiver })
}

#[derive(Debug)]
pub(crate) struct StreamLink;

impl Link for StreamLink {
    type Sender = StreamEnd;
    type Receiver = StreamEnd;

    fn sender(fd: OwnedFd, _shared: bool) -> io::Result<StreamEnd> {
        Ok(StreamEnd(UnixStream::from(fd)))
    }

    fn receiver(fd: OwnedFd, _shared: bool) -> io::Result<StreamEnd> {
        Ok(StreamEnd(UnixStream::from(fd)))
    }
}

#[derive(Debug)]
pub(crate) struct StreamEnd(UnixStream);

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
pub(crate) struct SeqpacketLink;

impl Link for SeqpacketLink {
    type Sender = SeqpacketEnd;
    type Receiver = SeqpacketEnd;

    fn sender(fd: OwnedFd, _shared: bool) -> io::Result<SeqpacketEnd> {
        Ok(SeqpacketEnd(fd))
    }

    fn receiver(fd: OwnedFd, _shared: bool) -> io::Result<SeqpacketEnd> {
        Ok(SeqpacketEnd(fd))
    }
}

#[derive(Debug)]
pub(crate) struct SeqpacketEnd(OwnedFd);

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
