//! TCP over the loopback interface, Nagle's algorithm off.

use std::io;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;

use super::{Channel, Link, Receiver, Sender, read_whole, write_whole};
use crate::error::{During, Result};

/// A port of the kernel's choice, closed again as soon as the connection stands.
pub(crate) fn open() -> Result<Channel> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).during("bind to 127.0.0.1")?;
    let address = listener.local_addr().during("getsockname")?;
    let sender = TcpStream::connect(address).during("connect to 127.0.0.1")?;
    let ours = sender.local_addr().during("getsockname")?;
    let receiver = loop {
        let (stream, peer) = listener.accept().during("accept")?;
        if peer == ours {
            break stream;
        }
    };
    sender.set_nodelay(true).during("setsockopt(TCP_NODELAY)")?;
    receiver.set_nodelay(true).during("setsockopt(TCP_NODELAY)")?;
    Ok(Channel { sender: OwnedFd::from(sender), receiver: OwnedFd::from(receiver) })
}

#[derive(Debug)]
pub(crate) struct TcpLink;

impl Link for TcpLink {
    type Sender = TcpEnd;
    type Receiver = TcpEnd;

    fn sender(fd: OwnedFd, _shared: bool) -> io::Result<TcpEnd> {
        Ok(TcpEnd(TcpStream::from(fd)))
    }

    fn receiver(fd: OwnedFd, _shared: bool) -> io::Result<TcpEnd> {
        Ok(TcpEnd(TcpStream::from(fd)))
    }
}

#[derive(Debug)]
pub(crate) struct TcpEnd(TcpStream);

impl Sender for TcpEnd {
    #[inline]
    fn send(&mut self, message: &[u8]) -> io::Result<()> {
        write_whole(&mut self.0, message)
    }
}

impl Receiver for TcpEnd {
    #[inline]
    fn recv(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        read_whole(&mut self.0, buffer)
    }
}
