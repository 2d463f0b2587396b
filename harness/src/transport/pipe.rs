//! Pipes. Up to PIPE_BUF a write is atomic, and it leaves the pipe holding a whole number of
//! equal messages; so a read of the same length is atomic too, and readers can compete.

use std::fs::File;
use std::io::{self, Read, Write};

use rustix::pipe::{PipeFlags, fcntl_setpipe_size, pipe_with};

use super::{
    Channel, End, Link, Receiver, Sender, Transport, read_whole, whole_or_error, write_whole,
};
use crate::error::{During, Error, Result};
use crate::plan::Row;
use crate::worker::run_process;

/// The largest write that the kernel does not interleave with another.
const PIPE_BUF: usize = 4096;
const LARGE_BYTES: usize = 1 << 20;

pub(super) const PIPE: Transport = Transport {
    unavailable,
    ..Transport::new(
        "pipe",
        "a pipe with its default buffer of 64 KiB",
        |_| open(None),
        run_process::<PipeLink>,
    )
};

pub(super) const PIPE_1M: Transport = Transport {
    name: "pipe-1m",
    help: "a pipe with a buffer of 1 MiB",
    open: |_| open(Some(LARGE_BYTES)),
    ..PIPE
};

fn unavailable(row: &Row) -> Option<String> {
    (row.topology.is_shared() && row.size > PIPE_BUF).then(|| {
        format!("a shared pipe keeps messages whole only up to PIPE_BUF = {PIPE_BUF} bytes")
    })
}

fn open(buffer_bytes: Option<usize>) -> Result<Channel> {
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
    Ok(Channel::inherited(sender, receiver))
}

#[derive(Debug)]
struct PipeLink;

impl Link for PipeLink {
    type Sender = PipeEnd;
    type Receiver = PipeEnd;

    fn sender(end: End, row: &Row) -> io::Result<PipeEnd> {
        Ok(PipeEnd { file: File::from(end.fd()?), shared: row.topology.is_shared() })
    }

    fn receiver(end: End, row: &Row) -> io::Result<PipeEnd> {
        Ok(PipeEnd { file: File::from(end.fd()?), shared: row.topology.is_shared() })
    }
}

#[derive(Debug)]
struct PipeEnd {
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
