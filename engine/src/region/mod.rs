//! Where a queue's memory comes from. The protocol only borrows it.

mod heap;
mod memfd;
mod named;

use std::os::fd::BorrowedFd;
use std::ptr::NonNull;

use rustix::io::Errno;

pub(crate) use heap::Heap;
pub(crate) use memfd::Memfd;
pub use named::unlink;
pub(crate) use named::{Named, check_name};

use crate::error::{AttachError, CreateError};

/// Readable, writable, zeroed when new, aligned to 128 bytes, and at this address until dropped.
#[derive(Debug)]
pub(crate) enum Region {
    /// An anonymous, sealed memory file.
    Memfd(Memfd),
    /// A named segment.
    Named(Named),
    /// Memory of this process.
    Heap(Heap),
}

impl Region {
    /// The first byte.
    pub(crate) fn base(&self) -> NonNull<u8> {
        match self {
            Self::Memfd(memfd) => memfd.base(),
            Self::Named(named) => named.base(),
            Self::Heap(heap) => heap.base(),
        }
    }

    /// How many bytes there are.
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Memfd(memfd) => memfd.len(),
            Self::Named(named) => named.len(),
            Self::Heap(heap) => heap.len(),
        }
    }

    /// The descriptor to hand on, if there is one.
    pub(crate) fn fd(&self) -> Option<BorrowedFd<'_>> {
        match self {
            Self::Memfd(memfd) => Some(memfd.fd()),
            Self::Named(_) | Self::Heap(_) => None,
        }
    }
}

// SAFETY: a region is plain memory that stays where it is; all access goes through atomics.
unsafe impl Send for Region {}
// SAFETY: as for Send; no method changes the region itself.
unsafe impl Sync for Region {}

fn create_failed(call: &'static str, what: &str, errno: Errno) -> CreateError {
    CreateError::Os { call, what: what.to_owned(), source: errno.into() }
}

fn attach_failed(call: &'static str, what: &str, errno: Errno) -> AttachError {
    AttachError::Os { call, what: what.to_owned(), source: errno.into() }
}

/// Reserves pages now, so that a full file system is an error here and not a SIGBUS later.
fn reserve(fd: BorrowedFd<'_>, bytes: usize, what: &str) -> Result<(), CreateError> {
    let needed = bytes as u64;
    // The kernel would rather kill somebody than refuse pages of an unlimited file system.
    let available = memory_available();
    if needed > available {
        return Err(CreateError::Memory { needed, available });
    }
    loop {
        match rustix::fs::fallocate(fd, rustix::fs::FallocateFlags::empty(), 0, needed) {
            Ok(()) => return Ok(()),
            Err(Errno::INTR) => {}
            Err(Errno::NOSPC | Errno::NOMEM | Errno::FBIG) => {
                let left = rustix::fs::fstatvfs(fd).map_or(0, |stat| stat.f_bavail * stat.f_frsize);
                return Err(CreateError::Memory { needed, available: left.min(available) });
            }
            Err(errno) => return Err(create_failed("fallocate", what, errno)),
        }
    }
}

/// `MemAvailable` of the system, in bytes; everything if it cannot be learned.
fn memory_available() -> u64 {
    let Ok(text) = std::fs::read_to_string("/proc/meminfo") else { return u64::MAX };
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"));
    let kib = line.and_then(|rest| rest.trim().trim_end_matches(" kB").parse::<u64>().ok());
    kib.map_or(u64::MAX, |kib| kib.saturating_mul(1024))
}
