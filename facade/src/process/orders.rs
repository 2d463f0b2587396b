//! What a child is told: who it is, and what to run.
//!
//! The orders lie in a memory file that the child inherits; `SHMQ_TASK=<descriptor>:<nonce>` says
//! where. The nonce is also the file's first bytes: so a variable that travels farther than its
//! descriptor, to a program that a child starts by other means, is known to be stale. The child
//! empties the file when it has read it, and writes into it why its task failed, if it does.

use std::env;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::fs::FileExt;

use rustix::fs::MemfdFlags;
use rustix::rand::{GetRandomFlags, getrandom};
use serde::{Deserialize, Serialize};

use crate::inherit::duplicate;
use crate::wire::{self, Bytes};

pub(crate) const VARIABLE: &str = "SHMQ_TASK";

/// Bytes of the nonce.
const NONCE: usize = 16;

#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Orders {
    pub(crate) name: String,
    pub(crate) daemon: bool,
    /// Its place in the family: of the first child's second child, `[1, 2]`.
    pub(crate) identity: Vec<u32>,
    pub(crate) parent_name: String,
    pub(crate) parent_pid: u32,
    /// A pidfd of the parent.
    pub(crate) parent: RawFd,
    /// Descriptors of the queues among the arguments.
    pub(crate) queues: Vec<RawFd>,
    pub(crate) task: u32,
    pub(crate) task_name: String,
    pub(crate) args: Bytes,
}

/// The memory file, on the parent's side.
#[derive(Debug)]
pub(crate) struct Sent {
    file: File,
    nonce: [u8; NONCE],
}

impl Sent {
    /// Without orders, for a child that needs none.
    pub(crate) fn blank() -> io::Result<Self> {
        let file = rustix::fs::memfd_create("shmq-task", MemfdFlags::CLOEXEC)?;
        // Above those that `Command` moves about in the child.
        let file = File::from(duplicate(&file)?);
        let mut nonce = [0; NONCE];
        getrandom(&mut nonce[..], GetRandomFlags::empty())?;
        Ok(Self { file, nonce })
    }

    pub(crate) fn new(orders: &Orders) -> io::Result<Self> {
        let sent = Self::blank()?;
        let text = wire::to_bytes(orders).map_err(io::Error::other)?;
        sent.file.write_all_at(&sent.nonce, 0)?;
        sent.file.write_all_at(&text, NONCE as u64)?;
        Ok(sent)
    }

    /// The memory file itself, for the child that has a copy of it.
    pub(crate) fn file(&self) -> &File {
        &self.file
    }

    pub(crate) fn fd(&self) -> RawFd {
        self.file.as_raw_fd()
    }

    /// What the environment variable has to say.
    pub(crate) fn value(&self) -> String {
        format!("{}:{}", self.fd(), hex(&self.nonce))
    }

    /// When the child has ended: why its task failed.
    pub(crate) fn failure(&self, is_killed: bool) -> Option<String> {
        let text = read(&self.file).ok()?;
        if text.starts_with(&self.nonce) {
            let why = "it ended before shmq::init; call that first in main";
            return (!is_killed).then(|| why.to_owned());
        }
        (!text.is_empty()).then(|| String::from_utf8_lossy(&text).into_owned())
    }
}

impl Orders {
    /// For this process, if it is a child, with the memory file; an error if they are unreadable.
    pub(crate) fn look() -> Option<io::Result<(File, Self)>> {
        let value = env::var(VARIABLE).ok()?;
        let (number, nonce) = value.split_once(':')?;
        let number = number.parse().ok().filter(|&number: &RawFd| number >= 0)?;
        let mut found = [0; NONCE];
        // SAFETY: not -1. Only read at an offset; if it is not open, the call says so.
        let borrowed = unsafe { BorrowedFd::borrow_raw(number) };
        let len = rustix::io::pread(borrowed, &mut found, 0).ok()?;
        if len != NONCE || hex(&found) != nonce {
            return None;
        }
        // SAFETY: the nonce shows that it is the one that the parent left open for this process.
        let fd = unsafe { own(number) };
        Some(fd.and_then(|fd| Self::open(File::from(fd))))
    }

    fn open(file: File) -> io::Result<(File, Self)> {
        let text = read(&file)?;
        let orders = wire::decode(text.get(NONCE..).unwrap_or_default());
        file.set_len(0)?;
        Ok((file, orders.map_err(io::Error::other)?))
    }
}

/// A descriptor that this process inherited, and that its own children do not.
///
/// # Safety
/// The parent left it open for this process, and nobody here has it yet.
pub(crate) unsafe fn own(number: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: as above.
    let fd = unsafe { OwnedFd::from_raw_fd(number) };
    rustix::io::fcntl_setfd(&fd, rustix::io::FdFlags::CLOEXEC)?;
    Ok(fd)
}

/// From its beginning, wherever the offset is, which parent and child share.
fn read(file: &File) -> io::Result<Vec<u8>> {
    let mut text = vec![0; file.metadata()?.len() as usize];
    file.read_exact_at(&mut text, 0)?;
    Ok(text)
}

fn hex(nonce: &[u8]) -> String {
    nonce.iter().map(|byte| format!("{byte:02x}")).collect()
}
