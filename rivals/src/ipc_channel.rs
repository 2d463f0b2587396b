//! ipc-channel, of Servo: a Unix socket of sequenced packets. Its senders can be cloned, its receiver
//! cannot.
//!
//! Its ends travel over channels only, and the first over a server with a name of its own choice. So
//! each producer opens such a server, and writes its name to a file where the consumer finds it.

use std::env;
use std::fs;
use std::io;
use std::path::Path;
use std::process;

use ipc_channel::ipc::{
    IpcBytesReceiver, IpcBytesSender, IpcOneShotServer, IpcSender, bytes_channel,
};
use shmq_harness::{End, Group, Link, Receiver, Row, Sender, Transport, run_process};

use crate::scratch::Scratch;
use crate::waiting::patiently;

pub(crate) const TRANSPORT: Transport = Transport {
    group: Group::Rival,
    unavailable,
    ..Transport::new(
        "ipc-channel",
        "ipc-channel's bytes channel, a Unix socket; sleeps",
        |_| Scratch::new().map(Scratch::into_channel),
        run_process::<IpcLink>,
    )
};

const NAME: &str = "name";

fn unavailable(row: &Row) -> Option<String> {
    (row.topology.consumers > 1).then(|| "its receiver cannot be cloned".into())
}

#[derive(Debug)]
struct IpcLink;

impl Link for IpcLink {
    type Sender = Putter;
    type Receiver = Getter;

    fn sender(end: End, _: &Row) -> io::Result<Putter> {
        let folder = end.name()?;
        // SAFETY: a worker has one thread until it works, and this is before
        unsafe { env::set_var("TMPDIR", &folder) };
        let (server, name) = IpcOneShotServer::new()?;
        let file = Path::new(&folder).join(process::id().to_string());
        fs::write(&file, name)?;
        fs::rename(&file, file.with_extension(NAME))?;
        Ok(Putter::Expecting(Some(server)))
    }

    fn receiver(end: End, row: &Row) -> io::Result<Getter> {
        let (sender, receiver) = bytes_channel()?;
        for name in names(Path::new(&end.name()?), row.topology.producers.into())? {
            IpcSender::connect(name)?.send(sender.clone()).map_err(io::Error::other)?;
        }
        Ok(Getter(receiver))
    }
}

/// Once there are so many.
fn names(folder: &Path, count: usize) -> io::Result<Vec<String>> {
    patiently(|| {
        let paths = fs::read_dir(folder)?.map(|entry| entry.map(|entry| entry.path()));
        let paths = paths.collect::<io::Result<Vec<_>>>()?.into_iter();
        let files = paths.filter(|path| path.extension().is_some_and(|end| end == NAME));
        let names = files.map(fs::read_to_string).collect::<io::Result<Vec<_>>>()?;
        Ok((names.len() == count).then_some(names))
    })
}

enum Putter {
    /// Of the sender. Asked when it is needed, or two who wait for each other would do so for ever.
    Expecting(Option<IpcOneShotServer<IpcBytesSender>>),
    Ready(IpcBytesSender),
}

impl Putter {
    #[cold]
    fn accept(&mut self) -> io::Result<()> {
        if let Putter::Expecting(server) = self
            && let Some(server) = server.take()
        {
            let (_, sender) = server.accept().map_err(io::Error::other)?;
            *self = Putter::Ready(sender);
        }
        Ok(())
    }
}

impl Sender for Putter {
    #[inline]
    fn send(&mut self, message: &[u8]) -> io::Result<()> {
        loop {
            match self {
                Putter::Ready(sender) => return sender.send(message).map_err(io::Error::other),
                Putter::Expecting(None) => return Err(io::Error::other("nobody wants to receive")),
                Putter::Expecting(_) => self.accept()?,
            }
        }
    }
}

#[derive(Debug)]
struct Getter(IpcBytesReceiver);

impl Receiver for Getter {
    fn recv(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.recv_with(&mut [], |message| {
            let length = message.len().min(buffer.len());
            buffer[..length].copy_from_slice(&message[..length]);
            message.len()
        })
    }

    #[inline]
    fn recv_with<R>(&mut self, _buffer: &mut [u8], read: impl FnOnce(&[u8]) -> R) -> io::Result<R> {
        self.0.recv().map(|message| read(&message)).map_err(io::Error::other)
    }
}
