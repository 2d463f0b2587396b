//! Pipes. Up to PIPE_BUF a write is atomic, and it leaves the pipe holding a whole number of
//! equal messages; so a read of the same length is atomic too, and readers can compete.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;

use rustix::pipe::{PipeFlags, fcntl_setpipe_size, pipe_with};

use super::{Channel, Link, Receiver, Sender, read_whole, whole_or_error, write_whole};
use crate::error::{During, Error, Result};
use crate::plan::Topology;

/// The largest write that the kernel does not interleave with another.
const PIPE_BUF: usize = 4096;
pub(crate) const LARGE_BYTES: usize = 1 << 20;

pub(crate) fn unavailable(topology: Topology, size: usize) -> Option<String> {
    let shared = topology.producers > 1 || topology.consumers > 1;
    (shared && size > PIPE_BUF).then(|| {
        format!("a shared pipe keeps messages whole only up to PIPE_BUF = {PIPE_BUF} bytes")
    })
}

pub(crate) fn open(buffer_bytes: Option<usize>) -> Result<Channel> {
    let (receiver, sender) = pipe_with(PipeFlags::CLOEXEC).during("pipe2")?;
    if let Some(wanted) = buffer_bytes {
        let got = fcntl_setpipe_size(&sender, wanted).during("fcntl(F_SETPIPE_SZ)")?;
        if got < wanted {
            let why = format!("the pipe got a buffer of {got} bytes instead of {wanted}");
            return Err(Error::System {
                call: "fcntl(F_SETPIPE_SZ)",
                source: io::Error::other(why),
            });
        }
    }
    Ok(Channel { sender, receiver })
}

#[derive(Debug)]
pub(crate) struct PipeLink;

impl Link for PipeLink {
    type Sender = PipeEnd;
    type Receiver = PipeEnd;

    fn sender(fd: OwnedFd, shared: bool) -> io::Result<PipeEnd> {
        Ok(PipeEnd { file: File::from(fd), shared })
    }

    fn receiver(fd: OwnedFd, shared: bool) -> io::Result<PipeEnd> {
        Ok(PipeEnd { file: File::from(fd), shared })
    }
}

#[derive(Debug)]
pub(crate) struct PipeEnd {
    file: File,
    /// Then a message must move in one call, or not at all.
    shared: bool,
}

impl Sender for PipeEnd {
    #[inline]
    fn send(&mut self, message: &[u8]) -> io::Result<()> {
        if !self.shared {
            return write_whole(&mut self.file, message);
        }
        loop {
            match self.file.write(message) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                done => return whole_or_error(done?, message.len()).map(drop),
            }
        }
    }
}

impl Receiver for PipeEnd {
    #[inline]
    fn recv(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if !self.shared {
            return read_whole(&mut self.file, buffer);
        }
        loop {
            match self.file.read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                done => return whole_or_error(done?, buffer.len()),
            }
        }
    }
}
