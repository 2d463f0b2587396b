//! Where a queue's memory comes from. The protocol only borrows it.

mod cgroup;
mod heap;
mod memfd;
mod named;

use std::os::fd::BorrowedFd;
use std::ptr::NonNull;

use rustix::fs::FallocateFlags;
use rustix::io::Errno;

pub(crate) use heap::Heap;
pub(crate) use memfd::Memfd;
pub use named::unlink;
pub(crate) use named::{Named, check_name};

use crate::error::{AttachError, CreateError};

/// Bytes that are reserved by one call.
const PIECE: usize = 4 << 20;

/// Readable, writable, zeroed when new, aligned to 128 bytes, and at this address until dropped.
#[derive(Debug)]
pub(crate) enum Region {
    /// An anonymous, sealed memory file.
    Memfd(Memfd),
    /// A named segment.
    Named(Named),
    /// As `Memfd`, of this process alone.
    Private(Memfd),
    /// Memory of this process that is all there from the beginning.
    Heap(Heap),
}

impl Region {
    /// The first byte.
    pub(crate) fn base(&self) -> NonNull<u8> {
        match self {
            Self::Memfd(memfd) | Self::Private(memfd) => memfd.base(),
            Self::Named(named) => named.base(),
            Self::Heap(heap) => heap.base(),
        }
    }

    /// How many bytes there are.
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Memfd(memfd) | Self::Private(memfd) => memfd.len(),
            Self::Named(named) => named.len(),
            Self::Heap(heap) => heap.len(),
        }
    }

    /// The descriptor to hand on, if there is one.
    pub(crate) fn fd(&self) -> Option<BorrowedFd<'_>> {
        match self {
            Self::Memfd(memfd) => Some(memfd.fd()),
            Self::Named(_) | Self::Private(_) | Self::Heap(_) => None,
        }
    }

    /// The file it is a mapping of.
    fn file(&self) -> Option<BorrowedFd<'_>> {
        match self {
            Self::Memfd(memfd) | Self::Private(memfd) => Some(memfd.fd()),
            Self::Named(named) => Some(named.fd()),
            Self::Heap(_) => None,
        }
    }

    /// Bytes of memory that its pages take; all of it, if that cannot be learned.
    pub(crate) fn resident(&self) -> u64 {
        let stat = self.file().and_then(|fd| rustix::fs::fstat(fd).ok());
        stat.map_or(self.len() as u64, |stat| stat.st_blocks.cast_unsigned() * 512)
    }

    /// Reserves pages in the sparse part.
    pub(crate) fn reserve(&self, at: usize, bytes: usize) -> rustix::io::Result<()> {
        let Some(fd) = self.file() else { return Ok(()) };
        allocate_in_pieces(fd, FallocateFlags::KEEP_SIZE, at, bytes)
    }

    /// Gives the pages in that range back.
    pub(crate) fn release(&self, at: usize, bytes: usize) {
        let Some(fd) = self.file() else { return };
        // The kernel has no reason to refuse; if it does, the memory stays.
        _ = allocate(fd, FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE, at, bytes);
    }

    /// Reads the file at an offset, past the mapping.
    pub(crate) fn read_file(&self, at: usize, out: &mut [u8]) -> bool {
        let Some(fd) = self.file() else { return false };
        rustix::io::pread(fd, &mut *out, at as u64).is_ok_and(|read| read == out.len())
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
fn reserve_fixed(fd: BorrowedFd<'_>, bytes: usize, what: &str) -> Result<(), CreateError> {
    let needed = bytes as u64;
    // The kernel would rather kill somebody than refuse pages of an unlimited file system.
    let available = memory_available();
    if needed > available {
        return Err(CreateError::Memory { needed, available });
    }
    allocate_in_pieces(fd, FallocateFlags::empty(), 0, bytes).map_err(|errno| match errno {
        Errno::NOSPC | Errno::NOMEM | Errno::FBIG => {
            let left = rustix::fs::fstatvfs(fd).map_or(0, |stat| stat.f_bavail * stat.f_frsize);
            CreateError::Memory { needed, available: left.min(available) }
        }
        errno => create_failed("fallocate", what, errno),
    })
}

/// What a signal interrupts the kernel undoes, and begins again: a large piece would never be done beside a timer. If
/// there is an error, what came before stays.
fn allocate_in_pieces(
    fd: BorrowedFd<'_>,
    how: FallocateFlags,
    at: usize,
    bytes: usize,
) -> rustix::io::Result<()> {
    (0..bytes)
        .step_by(PIECE)
        .try_for_each(|done| allocate(fd, how, at + done, PIECE.min(bytes - done)))
}

fn allocate(
    fd: BorrowedFd<'_>,
    how: FallocateFlags,
    at: usize,
    bytes: usize,
) -> rustix::io::Result<()> {
    loop {
        match rustix::fs::fallocate(fd, how, at as u64, bytes as u64) {
            Err(Errno::INTR) => {}
            done => return done,
        }
    }
}

/// A file beyond RLIMIT_FSIZE would be a SIGXFSZ.
fn check_file_size(bytes: usize) -> Result<(), CreateError> {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Fsize).current;
    match limit {
        Some(limit) if bytes as u64 > limit => {
            Err(CreateError::FileSize { needed: bytes as u64, limit })
        }
        _ => Ok(()),
    }
}

/// Memory that can be had without anybody being killed, in bytes: of the system, and of our control
/// group; everything if it cannot be learned.
pub(crate) fn memory_available() -> u64 {
    system_available().min(cgroup::available())
}

/// `MemAvailable` of the system.
fn system_available() -> u64 {
    let Ok(text) = std::fs::read_to_string("/proc/meminfo") else { return u64::MAX };
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"));
    let kib = line.and_then(|rest| rest.trim().trim_end_matches(" kB").parse::<u64>().ok());
    kib.map_or(u64::MAX, |kib| kib.saturating_mul(1024))
}

/// All memory of the machine, in bytes.
pub(crate) fn memory_total() -> u64 {
    let info = rustix::system::sysinfo();
    info.totalram.saturating_mul(u64::from(info.mem_unit).max(1))
}
