//! TCP over the loopback interface, Nagle's algorithm off.

use std::io;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;

use super::{
    Channel, End, Link, Receiver, Sender, Transport, read_whole, stream_unavailable, write_whole,
};
use crate::error::{During, Result};
use crate::plan::Row;
use crate::worker::run_process;

pub(super) const TCP: Transport = Transport {
    two_way: true,
    unavailable: stream_unavailable,
    ..Transport::new(
        "tcp",
        "a TCP connection over 127.0.0.1, with TCP_NODELAY",
        open,
        run_process::<TcpLink>,
    )
};

/// A port of the kernel's choice, closed again as soon as the connection stands.
fn open(_: &Row) -> Result<Channel> {
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
    Ok(Channel::inherited(OwnedFd::from(sender), OwnedFd::from(receiver)))
}

#[derive(Debug)]
struct TcpLink;

impl Link for TcpLink {
    type Sender = TcpEnd;
    type Receiver = TcpEnd;

    fn sender(end: End, _: &Row) -> io::Result<TcpEnd> {
        Ok(TcpEnd(TcpStream::from(end.fd()?)))
    }

    fn receiver(end: End, _: &Row) -> io::Result<TcpEnd> {
        Ok(TcpEnd(TcpStream::from(end.fd()?)))
    }
}

#[derive(Debug)]
struct TcpEnd(TcpStream);

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
