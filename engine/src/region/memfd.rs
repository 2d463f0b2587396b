//! Anonymous segments: a memory file, sealed against resizing, handed on by its descriptor.
//!
//! Not bound by the size of /dev/shm, gone with its last holder, and nobody can shrink it under us
//! (which would be a SIGBUS).

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::ptr::NonNull;

use rustix::fs::{MemfdFlags, SealFlags};
use rustix::io::Errno;
use rustix::mm::{MapFlags, ProtFlags};

use super::{attach_failed, check_file_size, create_failed, reserve_fixed};
use crate::error::{AttachError, CreateError};

const WHAT: &str = "an anonymous segment";

#[derive(Debug)]
pub(crate) struct Memfd {
    base: NonNull<u8>,
    len: usize,
    fd: OwnedFd,
}

impl Memfd {
    /// A new one of `len` zeroed bytes, the first `fixed` of them reserved.
    pub(crate) fn create(len: usize, fixed: usize) -> Result<Self, CreateError> {
        check_file_size(len)?;
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        let fd = rustix::fs::memfd_create("shmq", flags)
            .map_err(|errno| create_failed("memfd_create", WHAT, errno))?;
        rustix::fs::ftruncate(&fd, len as u64)
            .map_err(|errno| create_failed("ftruncate", WHAT, errno))?;
        reserve_fixed(fd.as_fd(), fixed, WHAT)?;
        rustix::fs::fcntl_add_seals(&fd, SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL)
            .map_err(|errno| create_failed("fcntl(F_ADD_SEALS)", WHAT, errno))?;
        let base = map(fd.as_fd(), len).map_err(|errno| match errno {
            Errno::NOMEM => CreateError::AddressSpace { needed: len as u64 },
            errno => create_failed("mmap", WHAT, errno),
        })?;
        Ok(Self { base, len, fd })
    }

    /// The one behind `fd`, if it cannot shrink and has at least `least` bytes.
    pub(crate) fn open(fd: OwnedFd, least: usize) -> Result<Self, AttachError> {
        let stat = rustix::fs::fstat(&fd).map_err(|errno| attach_failed("fstat", WHAT, errno))?;
        let len = super::named::usable_len(stat.st_size, least)?;
        let seals = rustix::fs::fcntl_get_seals(&fd).unwrap_or(SealFlags::empty());
        if !seals.contains(SealFlags::SHRINK) {
            return Err(AttachError::Unsealed);
        }
        let base = map(fd.as_fd(), len).map_err(|errno| match errno {
            Errno::NOMEM => AttachError::AddressSpace { needed: len as u64 },
            errno => attach_failed("mmap", WHAT, errno),
        })?;
        Ok(Self { base, len, fd })
    }

    pub(crate) fn base(&self) -> NonNull<u8> {
        self.base
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

fn map(fd: BorrowedFd<'_>, len: usize) -> rustix::io::Result<NonNull<u8>> {
    let access = ProtFlags::READ | ProtFlags::WRITE;
    // SAFETY: a new mapping at an address of the kernel's choice disturbs nothing that exists.
    let base =
        unsafe { rustix::mm::mmap(std::ptr::null_mut(), len, access, MapFlags::SHARED, fd, 0)? };
    NonNull::new(base.cast()).ok_or(rustix::io::Errno::NOMEM)
}

impl Drop for Memfd {
    fn drop(&mut self) {
        // SAFETY: mapped by `map` with this length; handles that borrow it are gone, for they own
        // a share of the region.
        _ = unsafe { rustix::mm::munmap(self.base.as_ptr().cast(), self.len) };
    }
}
